#!/usr/bin/env bash
# The limits that docs/operations.md lists are those of the header.
#
#   tests/docs/limits.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

# As a reader writes it: 100000 is 100,000, and 16777216 is 16 MiB.
readable() {
    if (($1 % 1048576 == 0)); then
        echo "$(($1 / 1048576)) MiB"
    else
        sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta' <<<"$1"
    fi
}

failed=0
while read -r macro row; do
    value=$(sed -n "s/^#define $macro \([0-9]*\)\$/\1/p" include/dcb.h)
    if [ -z "$value" ] || ! grep -qxF "| $row | $(readable "$value") |" docs/operations.md; then
        echo "$macro is '$value' in the header; docs/operations.md: $(grep -F "| $row |" docs/operations.md)"
        failed=1
    fi
done <<'LIMITS'
DCB_MAX_NAME_BYTES bytes of a type, a tag, an id
DCB_MAX_EVENTS_PER_APPEND events in one append
DCB_MAX_TAGS_PER_EVENT tags on one event
DCB_MAX_ITEMS_PER_QUERY items in one query
DCB_MAX_NAMES_PER_QUERY types and tags in one query, all together
DCB_MAX_CONDITIONS_PER_APPEND conditions in one append
DCB_MAX_DATA_BYTES bytes of `data`, and of `metadata`
DCB_MAX_REQUEST_BYTES bytes of one request
DCB_MAX_JSON_DEPTH depth of nested JSON
LIMITS
exit $failed
