#!/usr/bin/env bash
# Shows a claim surviving kill -9 through redis-py: builds claimlog, makes a virtual environment, runs xclaim.py.
# Works from a clean checkout; needs Rust, a C compiler and python3 with its venv module.
# CLAIMLOG_BINARY: use this program instead of building one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -n "${CLAIMLOG_BINARY:-}" ]; then
    binary=$CLAIMLOG_BINARY
else
    (cd "$root" && cargo build --release --bin claimlog)
    binary=${CARGO_TARGET_DIR:-$root/target}/release/claimlog
fi

venv=${CLAIMLOG_VENV:-$root/.venv}
stamp=$venv/requirements.txt
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi

exec "$venv/bin/python" "$here/xclaim.py" "$binary"
