#!/usr/bin/env bash
# Every status of the header is in the table of docs/reliability.md, and the test that the table
# names produces it.
#
#   tests/docs/statuses.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

failed=0
complain() {
    echo "$*"
    failed=1
}

while read -r macro; do
    name=$(tr '[:upper:]' '[:lower:]' <<<"${macro#DCB_}")
    row=$(grep -E "^\| \`$name\` \|" docs/reliability.md) || { complain "$name is not in the table"; continue; }
    file=$(sed -E 's/.*`(tests\/[a-z_/]+\.(c|rs))`.*/\1/' <<<"$row")
    test=$(sed -E 's/.*`([a-z0-9_]+)` \|$/\1/' <<<"$row")
    [ -f "$file" ] || { complain "$name: no file $file"; continue; }
    # The body of the function, or of one that it calls in the same file.
    body=$(awk -v test="$test" '$0 ~ "^(static void|fn) " test "\\(" { on = 1 } on { print } on && /^}/ { exit }' "$file")
    [ -n "$body" ] || { complain "$name: no test $test in $file"; continue; }
    grep -q "$macro\b" <<<"$body" || complain "$name: $test does not ask for $macro"
done < <(sed -nE 's/^#define (DCB_[A-Z_]+) ([0-9]|1[0-6])$/\1/p' include/dcb.h | grep -vE '^DCB_(ABI|VERSION|MAX|VALUE)')
exit $failed
