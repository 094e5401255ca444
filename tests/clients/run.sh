#!/usr/bin/env bash
# Programs on real Redis clients, each with a kill -9 in the middle: tests/clients/README.md says what they prove.
#
#     tests/clients/run.sh [--list] [name ...]
#
# CLAIMLOG_BINARY: use this program instead of building one.
# CLAIMLOG_CLIENTS_SELF=1: run them on the redis-server in the PATH (or in CLAIMLOG_TEST_REDIS), without the kill. All
# must pass: what they expect is what Redis does. With 2 it is killed, and as it writes nothing, all must fail.
#
# A program whose packages can't be installed is SKIPPED, and the rest goes on; the exit status says if any FAILED.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/clients
names=(redis-py redis-py-asyncio faststream walrus ioredis node-redis redis-rs)
# No program takes a tenth of that.
patience=180

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${names[@]}"
    exit
fi
for name in "$@"; do
    case " ${names[*]} " in
        *" $name "*) ;;
        *) echo "no such program: $name (there are ${names[*]})" >&2; exit 2 ;;
    esac
done
[ $# -eq 0 ] || names=("$@")

# Data directories lie on the disk that is built on, never on a tmpfs: durability is what we are here for.
mkdir -p "$work/tmp"
export TMPDIR=$work/tmp PYTHONDONTWRITEBYTECODE=1

unset CLAIMLOG_CLIENTS_REDIS
if [ -n "${CLAIMLOG_CLIENTS_SELF:-}" ]; then
    redis=${CLAIMLOG_TEST_REDIS:-$(command -v redis-server || true)}
    if [ -z "$redis" ]; then
        echo "CLAIMLOG_CLIENTS_SELF needs a redis-server" >&2
        exit 2
    fi
    export CLAIMLOG_CLIENTS_REDIS=$redis
    echo "on $("$redis" --version | cut -d' ' -f1-3)"
elif [ -n "${CLAIMLOG_BINARY:-}" ]; then
    CLAIMLOG_BINARY=$(realpath "$CLAIMLOG_BINARY")
else
    (cd "$root" && cargo build --release --bin claimlog)
    CLAIMLOG_BINARY=${CARGO_TARGET_DIR:-$root/target}/release/claimlog
fi
export CLAIMLOG_BINARY=${CLAIMLOG_BINARY:-}
# A server started by a program takes its settings from that program alone.
unset CLAIMLOG_PORT CLAIMLOG_BIND CLAIMLOG_DIR CLAIMLOG_APPENDFSYNC CLAIMLOG_REQUIREPASS CLAIMLOG_MAXCLIENTS

# Each install_* makes what its programs need, once: a stamp says which requirements are there. What it says on failure
# is in target/clients/install-*.log.
install_python() {
    local venv=$work/python wanted=$here/python/requirements.txt
    cmp -s "$wanted" "$venv/requirements.txt" && return
    rm -rf "$venv"
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install --disable-pip-version-check --require-hashes --only-binary :all: \
            -r "$wanted" && cp "$wanted" "$venv/requirements.txt"
}

install_node() {
    local modules=$work/node wanted=$here/node/package-lock.json
    cmp -s "$wanted" "$modules/installed.json" && return
    mkdir -p "$modules" && cp "$here"/node/package*.json "$modules/" &&
        (cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline) &&
        cp "$wanted" "$modules/installed.json"
}

install_rust() {
    # What can't be fetched is a reason to skip, what can't be compiled is a failure: see run_program.
    (cd "$here/redis-rs" && cargo fetch --locked)
}

kind() {
    case $1 in
        redis-rs) echo rust ;;
        ioredis | node-redis) echo node ;;
        *) echo python ;;
    esac
}

run_program() {
    case $1 in
        redis-rs)
            # Without optimisation: it waits for the server anyway, and is built in seconds.
            (cd "$here/redis-rs" && cargo build --locked --target-dir "$work/redis-rs") &&
                timeout "$patience" "$work/redis-rs/debug/clients-redis-rs" ;;
        ioredis | node-redis)
            # Imports are looked up from where a program lies, so it is run beside the modules.
            cp "$here"/node/*.mjs "$work/node/" && timeout "$patience" node "$work/node/$1.mjs" ;;
        *) timeout "$patience" "$work/python/bin/python" "$here/python/run_${1//-/_}.py" ;;
    esac
}

passed=0 failed=0 skipped=0
declare -A installed=()
for name in "${names[@]}"; do
    needs=$(kind "$name")
    log=$work/$name.log
    if [ -z "${installed[$needs]:-}" ]; then
        installed[$needs]=no
        if "install_$needs" >"$work/install-$needs.log" 2>&1; then installed[$needs]=yes; fi
    fi
    begin=$SECONDS
    if [ "${installed[$needs]}" = no ]; then
        skipped=$((skipped + 1))
        printf '%-17s SKIPPED: its packages could not be installed, see %s\n' "$name" "$work/install-$needs.log"
        tail -n 3 "$work/install-$needs.log" | sed 's/^/    /'
    elif run_program "$name" >"$log" 2>&1; then
        passed=$((passed + 1))
        # The last line of a program says which versions it spoke and what it left out.
        printf '%-17s ok       %3d s  %s\n' "$name" $((SECONDS - begin)) "$(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        printf '%-17s FAILED   %3d s  the end of %s:\n' "$name" $((SECONDS - begin)) "$log"
        tail -n 40 "$log" | sed 's/^/    /'
    fi
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
