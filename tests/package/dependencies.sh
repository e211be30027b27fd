#!/usr/bin/env bash
# What the library is linked from: each package from crates.io and under a licence that this file
# names, and none in two versions. `make deny` looks at more (deny.toml), and has to be installed;
# this needs nothing but what the build has, and no network.
#
#   tests/package/dependencies.sh SOURCE_FOLDER
set -euo pipefail
cd "$1"

# As in deny.toml. rusqlite and postgres-protocol use different versions of one small crate,
# ring and rand of another.
known_twice='fallible-iterator|getrandom'
allowed='MIT|Apache-2\.0|Zlib|Unicode-3\.0|ISC|BSD-3-Clause'

# packages FORMAT: a line for each package that the library is built from, itself left out.
packages() {
    cargo tree --locked --offline -p dcb -e normal,build --prefix none -f "$1" | sed 's/ (\*)$//' |
        sort -u | grep -v '^dcb '
}

[ "$(packages '{p}' | wc -l)" -gt 10 ] || {
    echo "hardly a package was found: cargo tree prints something else now" >&2
    exit 1
}

failed=0
complain() {
    echo "$1" >&2
    failed=1
}

while IFS='|' read -r package licence; do
    case $package in
    *' (proc-macro)') ;;
    # A folder, or another repository.
    *'('*) complain "$package is not from crates.io" ;;
    esac
    # Of what OR joins one has to be allowed, of what AND joins all.
    licence=${licence//\//' OR '}
    all=1
    while IFS= read -r part; do
        part=$(sed 's/[()]//g; s/ OR /\n/g' <<<"$part")
        grep -qxE " *($allowed) *" <<<"$part" || all=0
    done < <(sed 's/ AND /\n/g' <<<"$licence")
    [ "$all" = 1 ] || complain "$package: its licence is $licence"
done < <(packages '{p}|{l}')

twice=$(packages '{p}' | cut -d ' ' -f 1 | uniq -d | grep -vxE "$known_twice" || true)
[ -z "$twice" ] || complain "in more than one version: $twice"
exit "$failed"
