#!/usr/bin/env bash
# Every place that states a version number states the same one: that of Cargo.toml. The modules of Go
# also agree on the version of Go, and on those of the modules that several of them name.
#
#   tests/package/versions.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail

build=$1
source=$2
failed=0

agree() { # agree WHAT FOUND WANTED
    [ "$2" = "$3" ] && return
    echo "$1 says '$2', and should say '$3'"
    failed=1
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source/Cargo.toml" | head -n 1)
header=$source/include/dcb.h
macro() { sed -n "s/^#define $1 \"\{0,1\}\([0-9.]*\)\"\{0,1\}\$/\1/p" "$header"; }
soname=$(readelf -d "$build/lib/libdcb.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')

agree Cargo.lock "$(sed -n '/^name = "dcb"$/{n;s/^version = "\(.*\)"$/\1/p}' "$source/Cargo.lock")" "$version"
agree DCB_VERSION "$(macro DCB_VERSION)" "$version"
agree "DCB_VERSION_MAJOR, _MINOR and _PATCH" \
    "$(macro DCB_VERSION_MAJOR).$(macro DCB_VERSION_MINOR).$(macro DCB_VERSION_PATCH)" "$version"
agree dcb.pc "$(PKG_CONFIG_PATH=$build pkg-config --modversion dcb)" "$version"
agree "the library's file name" "$(basename "$(readlink -f "$build/lib/libdcb.so")")" "libdcb.so.$version"
agree "the library's SONAME" "$soname" "libdcb.so.$(macro DCB_ABI_VERSION)"
macro() { sed -n "s/^#define $1 \([0-9]*\)\$/\1/p" "$source/bindings/go/library.h"; }
agree "the Go package's library.h" \
    "$(macro DCB_GO_NEEDS_MAJOR).$(macro DCB_GO_NEEDS_MINOR).$(macro DCB_GO_NEEDS_PATCH)" "$version"

modules=$(cd "$source" && find bindings examples -name go.mod | sort)
[ "$(wc -l <<<"$modules")" -ge 2 ] || { echo "no go.mod was found"; exit 1; }
go=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$source/bindings/go/go.mod")
declare -A named # the versions of the modules that a go.mod names itself
while read -r module; do
    agree "the version of Go in $module" \
        "$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$source/$module")" "$go"
    while read -r name own; do
        case $name in
        github.com/libdcb/libdcb/*) agree "$name in $module" "$own" "v$version" ;;
        *)
            agree "$name in $module" "$own" "${named[$name]:=$own}" ;;
        esac
    done < <(sed -n '/ => /d; /\/\/ indirect/d; s/^require *//; s/^\t*\([a-z][^ ]*\.[^ ]*\/[^ ]*\) \(v[0-9][^ ]*\)$/\1 \2/p' \
        "$source/$module")
done <<<"$modules"
while IFS=: read -r page own; do
    agree "the Go package in $page" "${own##*@}" "v$version"
done < <(cd "$source" && grep -rHo --include='*.md' 'libdcb/bindings/go@v[0-9.]*[0-9]' README.md docs bindings examples)
exit $failed
