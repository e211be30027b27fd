#!/usr/bin/env bash
# Imports events, breaks off, imports all of them again: import_test.sh PROGRAM
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for i in $(seq 2500); do
    printf '{"type": "Imported", "tags": ["line:%d"], "data": {"n": %d}}\n' "$i" "$i"
done >"$work/events.ndjson"

import() { "$1" "sqlite:$work/store.db" <"$2"; }

expect() {
    [ "$1" = "$2" ] || { echo "expected '$2', got '$1'"; exit 1; }
}

# The batches of an import that broke off end where those of a whole one do, or it is not the same
# append: so it is cut at a thousand.
head -n 1000 "$work/events.ndjson" >"$work/part.ndjson"
expect "$(import "$1" "$work/part.ndjson")" "1000 lines, 1000 events stored"
expect "$(import "$1" "$work/events.ndjson")" "2500 lines, 1500 events stored"
expect "$(import "$1" "$work/events.ndjson")" "2500 lines, 0 events stored"
if import "$1" <(echo 'no event') 2>"$work/error"; then exit 1; fi
expect "$(cat "$work/error")" "line 1: not an event"
