#!/usr/bin/env bash
# Checks that a program of unit tests fails each of the test cases that are wrong, says why, and
# ends with another status than 0: notices.sh PROGRAM
set -euo pipefail

if output=$("$1" memory --no-skip --test-suite=wrong 2>&1); then
    echo "$1 ends with 0, and says:" >&2
    echo "$output" >&2
    exit 1
fi

failed=0
# With any number of blanks where the text has one.
while read -r text; do
    grep -qE -- "${text// / +}" <<<"$output" || {
        echo "the output lacks: $text" >&2
        failed=1
    }
done <<'END'
wrong_test\.cpp:[0-9]+: ERROR: CHECK
CHECK\( 1 == 2 \)
CHECK\( course:c1 == course:c2 \)
CHECK\( \[1, 2\] == \[1, 3\] \)
CHECK\( invalid_argument \(tag: .*\) == too_large \)
CHECK\( ok \(no exception\) == busy \)
CHECK\( ok == busy \)
"another message", dcb::error \) threw a DIFFERENT exception
std::string\(value\) := b
CHECK\( busy == ok \)
ERROR: test case THREW exception: uncaught
test cases: 8 \| 0 passed \| 8 failed
END
[ "$failed" = 0 ] || echo "$output" >&2
exit "$failed"
