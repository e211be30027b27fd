#!/usr/bin/env bash
# dcb.pc names the system libraries that Rust's standard library needs, as rustc reports them.
#
#   tests/package/link_flags.sh BUILD_FOLDER
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
reported=$(rustc --crate-type staticlib --crate-name flags --print native-static-libs \
    -o "$work/flags.a" - 2>&1 </dev/null | sed -n 's/^note: native-static-libs: //p')
named=$(sed -n 's/^Libs.private: //p' "$1/dcb.pc")
[ -n "$reported" ]
for flag in $reported; do
    # The unwinder as a static library (cmake/Library.cmake).
    [ "$flag" = -lgcc_s ] && flag=-lgcc_eh
    case " $named " in
    *" $flag "*) ;;
    *)
        echo "rustc reports '$reported', dcb.pc has '$named': $flag is missing"
        exit 1
        ;;
    esac
done
