#!/usr/bin/env bash
# What the README says about building and running its programs is so: they are built here by its own
# commands, from its own text. The Rust program is an example of the crate, which quotes.sh compares
# with the README.
#
#   tests/docs/readme.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail

build=$1
source=$2
readme=$source/README.md

# A shell splits what `$(pkg-config ...)` prints at blanks. So that the README's commands work
# where a folder has one in its name, the compilers reach the folders by links that have none.
temporary=${TMPDIR:-/tmp}
[[ $temporary != *[[:space:]]* ]] || temporary=/tmp
work=$(mktemp -d -p "$temporary")
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$build" build
ln -s "$source" libdcb
mkdir linked
pc=$(<"$build/dcb.pc")
pc=${pc//"${build// /\\ }"/"$work/build"}
pc=${pc//"${source// /\\ }"/"$work/libdcb"}
printf '%s\n' "$pc" >linked/dcb.pc

# block LANGUAGE: the README's first code block in that language.
block() { awk -v open="\`\`\`$1" '$0 == open { on = 1; next } on && /^```$/ { exit } on' "$readme"; }

# command BEGINNING: the README's command that begins so.
command_of() { grep -m 1 "^$1" "$readme"; }

fail() {
    echo "README.md: $*" >&2
    exit 1
}

for language in c cpp go; do block $language >claim.$language; done

for command in "go mod init" "go mod edit -require" "go mod edit -replace" "cc claim" "c++ " "go build"; do
    line=$(command_of "$command") || fail "has no command '$command'"
    case $command in
    # Go keeps what pkg-config says in its cache, so that it has to stay true.
    go*) pkgconfig=$build ;;
    *) pkgconfig=$work/linked ;;
    esac
    here=${line//\/path\/to\/libdcb/"$(printf %q "$source")"}
    PKG_CONFIG_PATH=$pkgconfig GOFLAGS="-overlay=$work/build/go/overlay.json" \
        bash -ec "$here" 2>log || { cat log; fail "its command fails: $line"; }
done

line=$(command_of "cargo run") || fail "has no command 'cargo run'"
(cd "$source" && eval "${line/run/build --locked --quiet}") || fail "its command fails: $line"
cp "${CARGO_TARGET_DIR:-$source/target}/debug/examples/claim" claim-rust

# expect PROGRAM ANSWER
expect() {
    answer=$("./$1")
    [[ $answer == $2 ]] || fail "$1 answers '$answer', not '$2'"
}

for first in claim-c claim-cpp claim-go claim-rust; do
    rm -f names.db*
    expect "$first" "ada is ours*"
    expect claim-c "condition_failed: *"
    expect claim-cpp "ada was claimed by event 1"
    expect claim-go "*append condition failed*"
    expect claim-rust "ada was claimed by event 1"
done
