#!/usr/bin/env bash
# How much of everything a run of the tests did, by what they print of it.
#
#   tests/counts.sh LOG_OF_CTEST
set -euo pipefail

awk '
    / Testing: / { name = $NF; is_shown = 0 }
    # What cargo test shows of the tests that passed, without its list of them.
    name ~ /^rust-(crash|damage|postgres|postgres-failover|soak|two-sqlites)$/ {
        if (/^---- .* stdout ----$/) {
            sub(/ stdout ----$/, "")
            sub(/^---- /, "")
            print "\n" name ": " $0
            is_shown = 1
            next
        }
        if (/^(successes|failures):$/ || /^test result: /) is_shown = 0
    }
    name == "rust-model" {
        if (/^Output:$/) print "\n" name
        # Not the traces of the flaws that it finds.
        is_shown = /executions|^  [a-z ]+: [0-9]+$|^[A-Z][A-Za-z]+: .*, after [0-9]+: /
    }
    is_shown && NF { print "    " substr($0, 1, 200) }
' "$1"
