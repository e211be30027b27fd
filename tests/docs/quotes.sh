#!/usr/bin/env bash
# A code block that says `<!-- quoted from FILE -->` is FILE, to the letter, and one that says `<!-- quoted in part
# from FILE -->` is lines of FILE that follow each other; so what the pages show is what is compiled and run. Prints
# how many there are.
#
#   tests/docs/quotes.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

failed=0
quotes=0
for page in *.md docs/*.md docs/internals/*.md; do
    while IFS=: read -r line comment; do
        file=$(sed -E 's/^<!-- quoted (in part )?from (.*) -->$/\2/' <<<"$comment")
        block=$(tail -n "+$((line + 2))" "$page" | sed '/^```$/,$d')
        if [[ $comment == *" in part "* ]]; then
            if [[ -z $block || $'\n'$(<"$file")$'\n' != *$'\n'"$block"$'\n'* ]]; then
                echo "$page:$line: the block is no part of $file"
                failed=1
            fi
        elif ! diff -u --label "$page" --label "$file" <(printf '%s\n' "$block") "$file"; then
            failed=1
        fi
        quotes=$((quotes + 1))
    done < <(grep -nE '^<!-- quoted (in part )?from ' "$page" || true)
done
echo "$quotes blocks are quoted"
[ $quotes -gt 0 ] && exit $failed
