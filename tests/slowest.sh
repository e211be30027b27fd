#!/usr/bin/env bash
# The tests of a run that took longest, by ctest's log of it.
#
#   tests/slowest.sh LOG_OF_CTEST [HOW_MANY]
set -euo pipefail

echo
echo "The slowest tests, in seconds:"
awk '
    # "3/97 Testing: NAME" begins a test, and "Test time = SECONDS sec" ends its output.
    /^[0-9]+\/[0-9]+ Testing: / { name = $3 }
    name != "" && /^Test time = +[0-9.]+ sec$/ { printf "%9.2f  %s\n", $4, name; name = "" }
' "$1" | sort -rn | sed -n "1,${2:-10}p"
