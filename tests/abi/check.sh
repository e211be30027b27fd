#!/usr/bin/env bash
# Holds the C interface against its checked-in description, libdcb.abi: every change of a function,
# a struct or a type is seen, and has to be meant.
#
#   tests/abi/check.sh LIBRARY        DCB_UPDATE_ABI=1 writes the description anew
#
# What is described is what C callers are compiled against: the headers' functions, given bodies and
# compiled. (abidw does not read what rustc writes.) That the library exports these and no others
# is held against its symbols. Ends with 77 where abidw and abidiff are not installed.
set -euo pipefail

library=$1
here=$(cd "$(dirname "$0")" && pwd)
headers=$here/../../include
description=$here/libdcb.abi

for tool in abidw abidiff; do
    command -v $tool >/dev/null || { echo "$tool is not installed (Debian: abigail-tools)"; exit 77; }
done

# The sizes in it are those of one architecture.
[ "$(uname -m)" = x86_64 ] || { echo "described for x86_64 only"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
header=$work/all.h
sed '/^#include "dcb.h"$/d' "$headers/dcb.h" "$headers/dcb_host.h" >"$header"

compile() { # compile HEADER NAME
    # A function in a struct is a pointer, which has no body.
    "${CC:-cc}" -fpreprocessed -dD -E -P "$1" |
        sed '/^typedef struct {/,/^}/!s/);/) { __builtin_trap(); }/' >"$2.c"
    "${CC:-cc}" -std=c99 -g -O0 -fPIC -shared -Wl,-soname,libdcb.so -o "$2.so" "$2.c"
}

exported() { nm --dynamic --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort; }

compile "$header" described
diff <(exported described.so) <(exported "$library") || {
    echo "the library does not export what the headers declare"
    exit 1
}

if [ "${DCB_UPDATE_ABI:-}" = 1 ]; then
    abidw --no-corpus-path --no-comp-dir-path --no-show-locs --out-file "$description" described.so
fi

abidiff --no-show-locs "$description" described.so || {
    echo "the interface has changed: if it is meant, write its description anew (DCB_UPDATE_ABI=1)"
    exit 1
}

# A comparison that sees nothing is worth nothing: each of these breaks has to be seen.
breaks=(
    's/int64_t position;/int32_t position;/'           # a field's type
    's/char message\[240\];/char message[248];/'       # a struct's size
    's/^void dcb_close(dcb_store \*store);//'          # a function that is gone
    's/size_t max,/uint32_t max,/'                     # an argument's type
    's/void (\*finish)(void \*connection);//'            # a callback that is gone
    's/^typedef int32_t dcb_status;/typedef int64_t dcb_status;/'
)
for change in "${breaks[@]}"; do
    sed "$change" "$header" >broken.h
    if cmp -s broken.h "$header"; then
        echo "this changes nothing any more: $change"
        exit 1
    fi
    compile broken.h broken
    if abidiff --no-show-locs "$description" broken.so >/dev/null; then
        echo "abidiff does not see this break: $change"
        exit 1
    fi
done
