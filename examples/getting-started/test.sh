#!/usr/bin/env bash
# Whatever the order and the language: two students get a seat, and the third is told why not.
#
#   examples/getting-started/test.sh FOLDER     FOLDER holds subscribe-c, -cpp and -go
set -euo pipefail

folder=$1
work=$(mktemp -d "$folder/getting-started.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

for order in "c cpp go" "go c cpp" "cpp go c"; do
    rm -f courses.db*
    read -r first second third <<<"$order"
    "$folder/subscribe-$first" ada | grep -x "ada has a seat"
    "$folder/subscribe-$second" grace | grep -x "grace has a seat"
    { "$folder/subscribe-$third" barbara || true; } | grep -x "the course is full"
done
