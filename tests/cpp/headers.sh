#!/usr/bin/env bash
# Compiles each header alone, included twice: headers.sh COMPILER STANDARD FLAG...
# Exits with 77, which ctest reports as skipped, if the compiler does not know the standard.
set -euo pipefail
compiler=$1
standard=$2
shift 2

accepts() { echo | "$compiler" "-std=$1" -x c++ -fsyntax-only - 2>/dev/null; }

# Until a standard is published, compilers call it by a name such as c++2b.
option=c++$standard
if ! accepts "$option"; then
    [ "$standard" = 23 ] && option=c++2b
    accepts "$option" || exit 77
fi

include=bindings/cpp/include
# Debian keeps the headers of libpq in a folder of their own.
libpq=$(pg_config --includedir 2>/dev/null || echo /usr/include/postgresql)
failed=0
checked=0
for header in "$include"/*.hpp "$include"/dcb/*.hpp "$include"/dcb/*/*.hpp; do
    name=${header#"$include/"}
    printf '#include <%s>\n#include <%s>\n' "$name" "$name" |
        "$compiler" "-std=$option" "$@" -I"$include" -Iinclude -idirafter "$libpq" -x c++ -fsyntax-only - || {
        echo "$name does not compile alone as $option" >&2
        failed=1
    }
    checked=$((checked + 1))
done
[ "$checked" -ge 10 ]
exit "$failed"
