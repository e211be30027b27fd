#!/usr/bin/env bash
# A code block that says `<!-- quoted from FILE -->` is FILE, to the letter; so what the pages
# show is what is compiled and run. Prints how many there are.
#
#   tests/docs/quotes.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

failed=0
quotes=0
for page in *.md docs/*.md docs/internals/*.md; do
    while IFS=: read -r line comment; do
        file=$(sed 's/^<!-- quoted from \(.*\) -->$/\1/' <<<"$comment")
        block=$(tail -n "+$((line + 2))" "$page" | sed '/^```$/,$d')
        if ! diff -u --label "$page" --label "$file" <(printf '%s\n' "$block") "$file"; then
            failed=1
        fi
        quotes=$((quotes + 1))
    done < <(grep -n '^<!-- quoted from ' "$page" || true)
done
echo "$quotes blocks are quoted"
[ $quotes -gt 0 ] && exit $failed
