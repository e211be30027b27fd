#!/usr/bin/env bash
# Every link of the documentation that leads to a file of the repository finds it, and the heading
# in it that the link names.
#
#   tests/docs/links.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

# The anchors of a page's headings, as GitHub and mdBook make them.
anchors() {
    sed -n '/^```/,/^```/d; s/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

failed=0
for page in *.md docs/*.md docs/internals/*.md tests/*.md tests/*/*.md benches/*.md bindings/*/*.md; do
    [ -e "$page" ] || continue
    while IFS= read -r link; do
        case $link in
        http://* | https://* | mailto:*) continue ;;
        esac
        path=${link%%#*}
        target=$page
        [ -n "$path" ] && target=$(dirname "$page")/$path
        if [ ! -e "$target" ]; then
            echo "$page: $link leads nowhere"
            failed=1
        elif [[ $link == *'#'* && $target == *.md ]] && ! anchors "$target" | grep -qxF -- "${link#*#}"; then
            echo "$page: $link names no heading of $target"
            failed=1
        fi
    done < <(sed '/^```/,/^```/d' "$page" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//')
done
exit $failed
