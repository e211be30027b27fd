#!/usr/bin/env bash
# Every place that states a version number states the same one: that of Cargo.toml.
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
exit $failed
