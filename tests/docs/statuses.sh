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

# body_of FUNCTION FILE
body_of() {
    awk -v name="$1" '$0 ~ "^(static void|fn) " name "\\(" { on = 1 } on { print } on && /^}/ { exit }' "$2"
}

while read -r macro; do
    name=$(tr '[:upper:]' '[:lower:]' <<<"${macro#DCB_}")
    row=$(grep -E "^\| \`$name\` \|" docs/reliability.md) || { complain "$name is not in the table"; continue; }
    file=$(sed -E 's/.*`(tests\/[a-z_/]+\.(c|rs))`.*/\1/' <<<"$row")
    test=$(sed -E 's/.*`([a-z0-9_]+)` \|$/\1/' <<<"$row")
    [ -f "$file" ] || { complain "$name: no file $file"; continue; }
    body=$(body_of "$test" "$file")
    # What the test does in a child is in a function of its own.
    child=$(sed -nE 's/.*in_a_child\(([a-z0-9_]+)\);.*/\1/p' <<<"$body")
    [ -z "$child" ] || body+=$(body_of "$child" "$file")
    [ -n "$body" ] || { complain "$name: no test $test in $file"; continue; }
    grep -q "$macro\b" <<<"$body" || complain "$name: $test does not ask for $macro"
done < <(sed -nE 's/^#define (DCB_[A-Z_]+) ([0-9]|1[0-6])$/\1/p' include/dcb.h | grep -vE '^DCB_(ABI|VERSION|MAX|VALUE)')
exit $failed
