#!/usr/bin/env bash
# Runs an example on each store, and compares what it prints with what it should print.
#
#   expect.sh EXPECTED PROGRAM
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for uri in memory: "sqlite:$work/store.db"; do
    "$2" "$uri" >"$work/output"
    diff "$1" "$work/output"
done
