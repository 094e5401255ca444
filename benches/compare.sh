#!/usr/bin/env bash
# Compares claimlog with redis-server under redis-benchmark and benches/load, on this machine and one disk.
#
#   benches/compare.sh [--rows NAME,NAME] [--seconds N] [--turns N] [--only-always] [--sustained]
#
#   --rows         which rows, in that order (see below); otherwise all of them
#   --seconds      about how long each turn of each server takes; 3 unless said otherwise
#   --turns        how many turns each server has in each row, one after the other; 3. The median counts
#   --only-always  leaves out the Redis that writes no log
#   --sustained    one turn of 120 seconds each, and unless --rows says otherwise only rows that can go on for so long:
#                  a short run may end before the first snapshot
#
# claimlog runs as it comes (appendfsync always, a snapshot for each 64 MiB of log; in the row p99_snapshot none but those
# asked for). Redis runs with --appendonly yes --appendfsync always, and once more without any log. Each row starts all of
# them anew, on free ports of the loopback; whose turn it is not is idle.
#
# Data lies under ${TMPDIR:-/var/tmp}, which must be a disk. CLAIMLOG_BINARY, LOAD_BINARY: these programs instead of ones
# that are built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# ---- Rows -----------------------------------------------------------------------------------------------------------
# A row says what it is called and what redis-benchmark is told to do (`bench`), and may say what has to be there before
# each turn (`prepare`, which is told how many requests come) and another way to measure (`measure`, which may measure
# something else than requests a second: then `unit` says what). For benches/load it says what that is told (`load`), which
# of its figures counts (`figure`) and which others get lines of their own (`more`: name, unit, title). Streams are trimmed
# where they would grow, so that memory stays flat.

all_rows=(xadd_1 xadd_50 xadd_50_p16 xadd_1k_p16 xadd_500 xreadgroup_1 xreadgroup_100 xreadgroup_100_50 xclaim_50
    xautoclaim_sweep xrevrange p99_snapshot memory_pending memory_entries memory_streams memory_groups
    readers_own readers_one readers_group readers_group_one)
sustained_rows=(xadd_1 xadd_50 xadd_50_p16 xadd_1k_p16 xadd_500 xreadgroup_100_50 xclaim_50)
xadd=(XADD jobs MAXLEN '~' 100000 '*' task resize)

row_xadd_1() {
    title="XADD, 1 client"
    bench=(-c 1 "${xadd[@]}")
}

row_xadd_50() {
    title="XADD, 50 clients"
    bench=(-c 50 "${xadd[@]}")
}

row_xadd_50_p16() {
    title="XADD, 50 clients, pipelines of 16"
    bench=(-c 50 -P 16 "${xadd[@]}")
}

row_xadd_1k_p16() {
    title="XADD of 1 KiB, 50 clients, pipelines of 16"
    bench=(-c 50 -P 16 XADD jobs MAXLEN '~' 10000 '*' task "$(printf '%01024d' 0)")
}

row_xadd_500() {
    title="XADD, 500 clients"
    bench=(-c 500 "${xadd[@]}")
}

row_xreadgroup_1() {
    title="XREADGROUP COUNT 1, 50 clients"
    prepare=as_many_entries
    bench=(-c 50 XREADGROUP GROUP workers anna COUNT 1 STREAMS jobs '>')
}

row_xreadgroup_100() {
    title="XREADGROUP COUNT 100 and XACK of those, 1 client, piped (pairs)"
    measure=by_pipe
    bench=()
}

row_xreadgroup_100_50() {
    title="XREADGROUP COUNT 100, then XACK of those, 50 clients (pairs)"
    prepare=a_million_entries
    measure=by_load
    load=(pairs --clients 50)
    more=("p99_ms| ms|its p99")
}

row_xclaim_50() {
    title="XCLAIM of 1 in 100,000 pending, 50 clients"
    prepare=pending_entries
    bench=(-c 50 -r 100000 XCLAIM jobs workers ben 0 1-__rand_int__)
}

row_xautoclaim_sweep() {
    title="XAUTOCLAIM COUNT 1000 over 1,000,000 pending, none of them idle enough, 1 client, piped (sweeps)"
    measure=by_sweep
    bench=()
}

row_xrevrange() {
    title="XREVRANGE COUNT 100, 50 clients, pipelines of 4"
    prepare=pending_entries
    bench=(-c 50 -P 4 XREVRANGE jobs + - COUNT 100)
}

row_p99_snapshot() {
    title="p99 of XADD while snapshots are written, 50 clients, 1,000,000 entries (less is better)"
    prepare=a_million_entries
    measure=by_load
    unit=" ms"
    snapshot_log_bytes=64g
    load=(xadd --clients 50 --turns 1)
    figure=p99_ms_during
    more=("p99_ms_without| ms|without" "p99_ratio||as many times as long" "rate_during|/s|XADD while they are written"
        "rate_without|/s|without")
}

row_memory_pending() {
    title="memory: 1,000,000 entries that 10 consumers have pending (entries for each MiB of RSS)"
    prepare=pending_of_ten
    measure=by_memory
    unit=/MiB
    bench=()
}

row_memory_entries() {
    title="memory: 2,000,000 entries of 64 bytes (entries for each MiB of RSS)"
    prepare=entries_of_64_bytes
    measure=by_memory
    unit=/MiB
    bench=()
}

row_memory_streams() {
    title="memory: 100,000 streams of one entry (streams for each MiB of RSS)"
    prepare=streams
    measure=by_memory
    unit=/MiB
    bench=()
}

row_memory_groups() {
    title="memory: the same, each with a group (streams for each MiB of RSS)"
    prepare=streams_with_groups
    measure=by_memory
    unit=/MiB
    bench=()
}

row_readers_own() {
    title="10,000 readers in XREAD BLOCK, a stream each: until one has its entry (less is better)"
    readers_and_one_of_them
}

row_readers_one() {
    title="10,000 readers in XREAD BLOCK, one stream: until all have their entry (less is better)"
    readers
    load+=(--one-stream)
    unit=" ms"
    figure=wake_all_p50_ms
}

row_readers_group() {
    title="10,000 readers in XREADGROUP BLOCK, a stream each: until one has its entry (less is better)"
    readers_and_one_of_them
    load+=(--group)
}

row_readers_group_one() {
    title="10,000 readers in XREADGROUP BLOCK, one stream and group: until one has its entry (less is better)"
    readers_and_one_of_them
    load+=(--group --one-stream)
}

readers_and_one_of_them() {
    readers
    unit=" us"
    figure=wake_one_p50_us
    more+=("wake_all_p50_ms| ms|until all have")
}

readers() {
    measure=by_load
    anew=yes
    clients_max=10100
    load=(readers --readers 10000 --idle-seconds 5 --wakes 100)
    more=("reader_bytes| B|RSS for each reader" "idle_cpu_ms_per_s| ms|CPU a second while nothing happens")
}

# ---- What has to be there before a turn -----------------------------------------------------------------------------

nothing() { :; }

# A group, and an entry for each request.
as_many_entries() {
    quietly XGROUP CREATE jobs workers 0 MKSTREAM
    benchmark -n "$1" -c 50 -P 64 XADD jobs '*' task resize >/dev/null
}

a_million_entries() { as_many_entries 1000000; }

# Each with an entry.
streams() {
    requests=100000
    awk -v count="$requests" 'BEGIN { for (i = 0; i < count; i++) print "XADD jobs:" i " 1-1 task resize\r" }' | pipe
}

streams_with_groups() {
    streams
    awk -v count="$requests" 'BEGIN { for (i = 0; i < count; i++) print "XGROUP CREATE jobs:" i " workers 0\r" }' | pipe
}

# Entries 1-0 and so on, and a group that has them all pending. Id 0-0 is none, so they begin with 1.
pending_entries() {
    numbered_entries 100000
    quietly XREADGROUP GROUP workers anna COUNT 100000 STREAMS jobs '>'
}

# So many entries with ids 1-0, 1-1 and so on, none of them delivered.
numbered_entries() {
    quietly XGROUP CREATE jobs workers 0 MKSTREAM
    awk -v count="$1" 'BEGIN { for (i = 0; i < count; i++) print "XADD jobs 1-" i " task resize\r" }' | pipe
}

# A million entries, delivered to ten consumers by the thousand.
pending_of_ten() {
    requests=1000000
    as_many_entries "$requests"
    awk -v count="$requests" 'BEGIN {
        for (i = 0; i < count / 1000; i++) print "XREADGROUP GROUP workers c" i % 10 " COUNT 1000 STREAMS jobs >\r"
    }' | pipe
}

entries_of_64_bytes() {
    requests=2000000
    benchmark -n "$requests" -c 50 -P 64 XADD jobs '*' data "$(printf '%064d' 0)" >/dev/null
}

# ---- Ways to measure: each sets `rate`, `p99` (ms) and `requests` ---------------------------------------------------

# redis-benchmark takes a number of requests and not a time: a first short run says how many there may be.
by_benchmark() {
    local known=${calibrated[$server]:-} row
    if [ -z "$known" ]; then
        "$prepare" 5000
        row=$(benchmark -n 5000 "${bench[@]}")
        known=$(field 1 "$row")
        quietly FLUSHALL
        "$prepare" "$(requests_for "$known" 1 2)"
        row=$(benchmark -n "$(requests_for "$known" 1 2)" "${bench[@]}")
        calibrated[$server]=$(field 1 "$row")
        known=${calibrated[$server]}
        quietly FLUSHALL
    fi
    requests=$(requests_for "$known" "$seconds" 1)
    "$prepare" "$requests"
    begin_cpu
    row=$(benchmark -n "$requests" "${bench[@]}")
    end_cpu
    rate=$(field 1 "$row")
    p99=$(field 6 "$row")
    client=$(awk -v n="$requests" '{ print ($1 + $2) * 1e6 / n }' "$work/client_cpu")
}

# redis-benchmark can't send two commands in turn: redis-cli sends what was written down before.
by_pipe() {
    local pairs=$((2000 * seconds)) begin end
    numbered_entries $((100 * pairs))
    awk -v pairs="$pairs" 'BEGIN {
        for (pair = 0; pair < pairs; pair++) {
            print "XREADGROUP GROUP workers anna COUNT 100 STREAMS jobs >\r"
            line = "XACK jobs workers"
            for (i = 0; i < 100; i++) line = line " 1-" (pair * 100 + i)
            print line "\r"
        }
    }' >"$work/pairs"
    begin_cpu
    begin=$(date +%s%N)
    pipe <"$work/pairs"
    end=$(date +%s%N)
    end_cpu
    requests=$pairs
    rate=$(awk -v pairs="$pairs" -v ns=$((end - begin)) 'BEGIN { print pairs * 1e9 / ns }')
    p99=
}

# Whole sweeps from 0-0 on. COUNT 1000 looks at 10,000 rows, so it is known which cursors there will be.
by_sweep() {
    numbered_entries 1000000
    quietly XREADGROUP GROUP workers anna COUNT 1000000 STREAMS jobs '>'
    if [ "$(cli XAUTOCLAIM jobs workers ben 3600000 0-0 COUNT 1000 | head -n 1)" != 1-10000 ]; then
        die "$server: another cursor was expected"
    fi
    if [ -z "${calibrated[$server]:-}" ]; then
        sweep 1
        sweep "$(sweeps_for 4)"
        calibrated[$server]=$(sweeps_for 1)
    fi
    sweep "${calibrated[$server]}"
    p99=
}

# At the rate that was found last, so many take `seconds` / `divisor`.
sweeps_for() { awk -v rate="$rate" -v seconds="$seconds" -v divisor="$1" 'BEGIN { print int(rate * seconds / divisor) + 1 }'; }

sweep() {
    local begin end
    requests=$1
    awk -v sweeps="$requests" 'BEGIN {
        for (sweep = 0; sweep < sweeps; sweep++)
            for (at = 0; at < 1000000; at += 10000) print "XAUTOCLAIM jobs workers ben 3600000 1-" at " COUNT 1000\r"
    }' >"$work/sweeps"
    begin_cpu
    begin=$(date +%s%N)
    pipe <"$work/sweeps"
    end=$(date +%s%N)
    end_cpu
    rate=$(awk -v sweeps="$requests" -v ns=$((end - begin)) 'BEGIN { print sweeps * 1e9 / ns }')
}

# What redis-benchmark does not do.
by_load() {
    local words
    if [ -n "$anew" ]; then
        stop "$server"
        start "$server"
        words=("${load[@]}" --port "${port[$server]}")
    else
        words=("${load[@]}" --port "${port[$server]}" --seconds "$seconds")
    fi
    if [ "${load[0]} $server" = "xadd always" ]; then
        words+=(--snapshot-command BGREWRITEAOF)
    fi
    "$prepare"
    begin_cpu
    timeout $((seconds * 20 + 300)) "$load_binary" "${words[@]}" >"$work/figures" || die "$server: load ${words[*]} failed"
    end_cpu
    requests=$(figure_of requests)
    requests=${requests:-1}
    rate=$(figure_of "$figure")
    p99=$(figure_of p99_ms)
}

# A figure that benches/load printed last.
figure_of() { awk -v name="$1" '$1 == name { print $2 }' "$work/figures"; }

# How much fits a MiB of what the process has of the system, in a server that has just been started.
by_memory() {
    local rss_kib
    stop "$server"
    start "$server"
    begin_cpu
    "$prepare"
    end_cpu
    sleep 2
    rss_kib=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/${pid[$server]}/status")
    rate=$(awk -v count="$requests" -v kib="$rss_kib" 'BEGIN { print count * 1024 / kib }')
    p99=
}

# ---- Servers --------------------------------------------------------------------------------------------------------

declare -A port pid calibrated

# Sets `words`: how that server is started, on that port, in that directory.
words_of() {
    local redis=(redis-server --bind 127.0.0.1 --port "$2" --dir "$3" --save '')
    case $1 in
        claimlog)
            words=("$binary" serve --bind 127.0.0.1 --port "$2" --dir "$3")
            if [ -n "${snapshot_log_bytes:-}" ]; then
                words+=(--snapshot-log-bytes "$snapshot_log_bytes")
            fi
            ;;
        always) words=("${redis[@]}" --appendonly yes --appendfsync always) ;;
        nolog) words=("${redis[@]}" --appendonly no) ;;
    esac
    if [ -n "${clients_max:-}" ]; then
        words+=(--maxclients "$clients_max")
    fi
}

# A free port is found by trying: another process may have it, and then ours ends.
start() {
    local server=$1 attempt wait words
    for attempt in 1 2 3 4 5; do
        port[$server]=$((20000 + RANDOM % 20000))
        rm -rf "${work:?}/$server"
        mkdir "$work/$server"
        words_of "$server" "${port[$server]}" "$work/$server"
        "${words[@]}" </dev/null >"$work/$server.log" 2>&1 &
        pid[$server]=$!
        for ((wait = 0; wait < 200; wait++)); do
            kill -0 "${pid[$server]}" 2>/dev/null || break
            if cli INFO server 2>/dev/null | grep -q "^process_id:${pid[$server]}"; then
                return
            fi
            sleep 0.05
        done
        stop "$server"
    done
    cat "$work/$server.log" >&2
    die "$server does not start (attempt $attempt)"
}

stop() {
    if [ -n "${pid[$1]:-}" ]; then
        kill -9 "${pid[$1]}" 2>/dev/null || true
        wait "${pid[$1]}" 2>/dev/null || true
        unset "pid[$1]"
    fi
    rm -rf "${work:?}/$1"
}

clean_up() {
    local server
    for server in "${!pid[@]}"; do
        stop "$server"
    done
    rm -rf "${work:?}"
}

cli() { timeout 60 redis-cli -p "${port[$server]}" "$@"; }

quietly() {
    cli "$@" >"$work/reply" || die "$server: redis-cli $1 failed"
    # Errors come alone and in capitals; ids, entries and OK do not look like that.
    if grep -m 1 -E '^(ERR|[A-Z]{4,}) ' "$work/reply" >&2; then
        die "$server: $1 was refused"
    fi
}

pipe() {
    cli --pipe >"$work/pipe" 2>&1 || { cat "$work/pipe" >&2; die "$server: redis-cli --pipe failed"; }
    grep -q '^errors: 0,' "$work/pipe" || { cat "$work/pipe" >&2; die "$server: piped commands were refused"; }
}

# The last line that redis-benchmark prints: the command, then numbers.
# How much processor time it took is left in a file.
benchmark() {
    local TIMEFORMAT='%U %S'
    if ! { time timeout $((seconds * 20 + 60)) redis-benchmark -p "${port[$server]}" --csv "$@" \
        2>"$work/benchmark" | tail -n 1; } 2>"$work/client_cpu"; then
        cat "$work/benchmark" >&2
        die "$server: redis-benchmark failed"
    fi
}

# Of its numbers the n-th: requests a second, then milliseconds: mean, least, p50, p95, p99, most.
field() { awk -F'","' -v at=$(($1 + 1)) '{ gsub(/"/, "", $at); print $at }' <<<"$2"; }

# So many requests take `seconds` / `divisor`, in thousands.
requests_for() {
    awk -v rate="$1" -v seconds="$2" -v divisor="$3" \
        'BEGIN { n = int(rate * seconds / divisor / 1000) * 1000; print n < 1000 ? 1000 : n }'
}

# Ticks of CPU that the server has used, all its threads.
ticks() { sed 's/.*) //' "/proc/${pid[$server]}/stat" | awk '{ print $12 + $13 }'; }
begin_cpu() { ticks_before=$(ticks); }
end_cpu() { ticks_used=$(($(ticks) - ticks_before)); }

# ---- The table ------------------------------------------------------------------------------------------------------

die() {
    echo "compare.sh: $*" >&2
    exit 1
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

# Three significant digits; thousands as k.
short() {
    awk -v value="${1:-0}" 'BEGIN {
        if (value == 0) print "-"
        else if (value >= 1e6) printf "%.2fM\n", value / 1e6
        else if (value >= 1e5) printf "%.0fk\n", value / 1e3
        else if (value >= 1e3) printf "%.1fk\n", value / 1e3
        else printf "%.3g\n", value
    }'
}

ratio() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (a > 0 && b > 0) printf "%.2f\n", a / b; else print "-" }'; }

# Requests a second that take so many microseconds of the server and so many of the client, which has one thread, if all
# processors did nothing else.
carried_by() {
    awk -v server="${1:-0}" -v client="${2:-0}" -v cores="$(nproc)" 'BEGIN {
        if (client > 0) { both = cores / (server + client); alone = 1 / client; print (both < alone ? both : alone) * 1e6 }
    }'
}

# The RSS of a server that has `requests` entries, so many of them for each MiB.
mib_for() { awk -v requests="$requests" -v rate="${1:-0}" 'BEGIN { if (rate > 0) print requests / rate }'; }

# A line of numbers: title, unit, then claimlog, always, nolog.
table_line() {
    local line
    line="| $1 | $(short "$2")$5 | $(short "$3")$5 |"
    if [ -n "$with_nolog" ]; then
        line+=" $(short "$4")$5 |"
    fi
    line+=" $(ratio "$2" "$3") |"
    if [ -n "$with_nolog" ]; then
        line+=" $(ratio "$2" "$4") |"
    fi
    table+=("$line $6 |")
}

# The lines of `more`, under the row's own.
more_lines() {
    local line name unit title server
    local -A of
    for line in "${more[@]}"; do
        IFS='|' read -r name unit title <<<"$line"
        for server in "${servers[@]}"; do
            of[$server]=$(printf '%s' "${others[$server $name]}" | median)
        done
        table_line "*$title*" "${of[claimlog]}" "${of[always]}" "${of[nolog]:-}" "$unit" ""
    done
}

run_row() {
    local row=$1 turn server at requests rate p99 client='' ticks_before ticks_used snapshots micros
    local title prepare=nothing measure=by_benchmark unit=/s bench=()
    local load=() figure=rate more=() anew='' clients_max='' snapshot_log_bytes='' name
    local -A rates=() p99s=() cpus=() clients=() mid=() late=() cpu=() client_cpu=() carried=() others=()
    local syncs='' most
    "row_$row"
    calibrated=()
    for server in "${servers[@]}"; do
        start "$server"
    done
    for ((turn = 0; turn < turns; turn++)); do
        if [ "$row" = xadd_1 ]; then
            syncs+="$(sync_micros)"$'\n'
        fi
        for ((at = 0; at < ${#servers[@]}; at++)); do
            # Another one begins each time.
            server=${servers[$(((at + turn) % ${#servers[@]}))]}
            "$measure"
            quietly FLUSHALL
            micros=$(awk -v ticks="$ticks_used" -v hz="$(getconf CLK_TCK)" -v n="$requests" \
                'BEGIN { print ticks / hz * 1e6 / n }')
            rates[$server]+="$rate"$'\n'
            p99s[$server]+="$p99"$'\n'
            cpus[$server]+="$micros"$'\n'
            clients[$server]+="$client"$'\n'
            for name in "${more[@]%%|*}"; do
                others[$server $name]+="$(figure_of "$name")"$'\n'
            done
            printf '%-16s turn %d  %-9s %12.0f%s  p99 %s ms  cpu %s us' \
                "$row" $((turn + 1)) "$server" "$rate" "$unit" "${p99:--}" "$micros" >&2
            [ -z "$client" ] || printf ', client %s us' "$client" >&2
            for name in "${more[@]%%|*}"; do
                printf '  %s %s' "$name" "$(figure_of "$name")" >&2
            done
            echo >&2
        done
    done
    for server in "${servers[@]}"; do
        mid[$server]=$(printf '%s' "${rates[$server]}" | median)
        late[$server]=$(printf '%s' "${p99s[$server]}" | median)
        cpu[$server]=$(printf '%s' "${cpus[$server]}" | median)
        client_cpu[$server]=$(printf '%s' "${clients[$server]}" | median)
        carried[$server]=$(carried_by "${cpu[$server]}" "${client_cpu[$server]}")
    done
    server=claimlog
    snapshots=$(cli INFO persistence | sed -n 's/^rdb_saves:\([0-9]*\).*/\1/p')
    table_line "$title" "${mid[claimlog]}" "${mid[always]}" "${mid[nolog]:-}" "$unit" "$snapshots"
    if [ "$row" = xadd_1 ] && [ -n "$with_nolog" ]; then
        most=$(awk -v rate="${mid[nolog]}" -v sync="$(printf '%s' "$syncs" | median)" \
            'BEGIN { print 1e6 / (1e6 / rate + sync) }')
        table_line "*Redis no log, with one sync more each: about what the disk allows*" "$most" "${mid[always]}" "${mid[nolog]}" "$unit" ""
    fi
    if [ "$row" = xadd_50 ]; then
        table_line "*its p99 (less is better)*" "${late[claimlog]}" "${late[always]}" "${late[nolog]:-}" " ms" ""
        table_line "*its CPU per XADD, server (less is better)*" \
            "${cpu[claimlog]}" "${cpu[always]}" "${cpu[nolog]:-}" " us" ""
    fi
    if [ -n "$client" ] && [ "$row" != xadd_1 ]; then
        table_line "*what the processors would carry if none of them were ever idle*" \
            "${carried[claimlog]}" "${carried[always]}" "${carried[nolog]:-}" "$unit" ""
    fi
    more_lines
    if [ "$measure" = by_memory ]; then
        table_line "*its RSS (less is better)*" "$(mib_for "${mid[claimlog]}")" "$(mib_for "${mid[always]}")" \
            "$(mib_for "${mid[nolog]:-}")" " MiB" ""
    fi
    case $measure in
        by_pipe)
            commands+=("$row: redis-cli -p PORT --pipe, with lines of XREADGROUP GROUP workers anna COUNT 100 STREAMS jobs > and XACK jobs workers 1-0 1-1 ...")
            ;;
        by_sweep)
            commands+=("$row: redis-cli -p PORT --pipe, with lines of XAUTOCLAIM jobs workers ben 3600000 1-0 COUNT 1000, 1-10000, ...")
            ;;
        by_load)
            name="$row: load ${load[*]} --port PORT"
            if [ -z "$anew" ]; then name+=" --seconds $seconds"; fi
            if [ -n "$snapshot_log_bytes" ]; then name+="; claimlog with --snapshot-log-bytes $snapshot_log_bytes"; fi
            if [ -n "$clients_max" ]; then name+="; all servers with --maxclients $clients_max"; fi
            commands+=("$name")
            ;;
        by_memory) commands+=("$row: VmRSS in /proc/PID/status, 2 s after the last request") ;;
        by_benchmark) commands+=("$row: redis-benchmark -p PORT --csv -n N ${bench[*]/%0000000000*/0...}") ;;
    esac
    for server in "${servers[@]}"; do
        stop "$server"
    done
}

# How long a write of 512 bytes and a sync take, in a file that is there already.
sync_micros() {
    local count=200 begin end
    dd if=/dev/zero of="$work/sync" bs=512 count=$count conv=fsync status=none
    begin=$(date +%s%N)
    dd if=/dev/zero of="$work/sync" bs=512 count=$count oflag=dsync conv=notrunc status=none
    end=$(date +%s%N)
    echo $(((end - begin) / count / 1000))
}

seconds=3
turns=3
with_nolog=yes
sustained=
rows=()
while [ $# -gt 0 ]; do
    case $1 in
        --rows) IFS=, read -ra rows <<<"${2:?--rows needs names}" && shift ;;
        --seconds) seconds=${2:?--seconds needs a number} && shift ;;
        --turns) turns=${2:?--turns needs a number} && shift ;;
        --only-always) with_nolog= ;;
        --sustained) sustained=yes seconds=120 turns=1 ;;
        -h | --help)
            sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"
            echo "Rows: ${all_rows[*]}"
            echo "With --sustained: ${sustained_rows[*]}"
            exit 0
            ;;
        *) die "what is $1? See --help" ;;
    esac
    shift
done
if [ ${#rows[@]} -eq 0 ]; then
    rows=("${all_rows[@]}")
    if [ -n "$sustained" ]; then
        rows=("${sustained_rows[@]}")
    fi
fi
for row in "${rows[@]}"; do
    declare -F "row_$row" >/dev/null || die "there is no row $row; there are: ${all_rows[*]}"
done
for number in "$seconds" "$turns"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "$number is no number above 0"
done
for tool in redis-server redis-benchmark redis-cli; do
    command -v $tool >/dev/null || die "$tool is not here: install Redis 7 (apt-get install redis-server redis-tools)"
done
servers=(claimlog always)
if [ -n "$with_nolog" ]; then
    servers+=(nolog)
fi

if [ -n "${CLAIMLOG_BINARY:-}" ]; then
    binary=$CLAIMLOG_BINARY
else
    (cd "$here/.." && cargo build --quiet --release --bin claimlog)
    binary=${CARGO_TARGET_DIR:-$here/../target}/release/claimlog
fi
load_binary=${LOAD_BINARY:-}
if [ -z "$load_binary" ] && [[ " ${rows[*]} " =~ " xreadgroup_100_50 "|" p99_snapshot "|" readers_" ]]; then
    (cd "$here/.." && cargo build --quiet --release --example load)
    load_binary=${CARGO_TARGET_DIR:-$here/../target}/release/examples/load
fi
# Descriptors for 10,000 readers: as many as this process may have.
ulimit -n "$(ulimit -Hn)"
# Settings of whoever runs this are not to be measured.
for name in CONFIG PORT BIND DIR APPENDFSYNC SNAPSHOT_LOG_BYTES SNAPSHOT_COPIES SNAPSHOT_PATIENCE_MS \
    VERIFY_BYTES_PER_SECOND REQUIREPASS MAXCLIENTS MAXMEMORY MAX_BATCH_BYTES MAX_REPLY_BYTES ENABLE_DEBUG_COMMAND; do
    unset "CLAIMLOG_$name"
done

work=$(mktemp -d "${TMPDIR:-/var/tmp}/claimlog-compare.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
file_system=$(df --output=fstype "$work" | tail -n 1)
case $file_system in
    tmpfs | ramfs) die "$work is memory, not a disk: set TMPDIR" ;;
esac

table=()
commands=()
for row in "${rows[@]}"; do
    run_row "$row"
done

echo
echo "$(nproc) cores, Linux $(uname -r), $file_system, a write of 512 bytes and its sync $(sync_micros) us;"
echo "$(redis-server --version | awk '{ print "Redis", substr($3, 3) }'); median of $turns turns of about $seconds s; load $(cut -d' ' -f1 /proc/loadavg) at the end"
echo
if [ -n "$with_nolog" ]; then
    echo "| | claimlog | Redis always | Redis no log | claimlog / always | claimlog / no log | snapshots |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
else
    echo "| | claimlog | Redis always | claimlog / always | snapshots |"
    echo "| --- | --- | --- | --- | --- |"
fi
printf '%s\n' "${table[@]}"
echo
for server in "${servers[@]}"; do
    words_of "$server" PORT DIR
    words[0]=${words[0]##*/}
    printf '%s:' "$server"
    for word in "${words[@]}"; do
        printf ' %s' "${word:-''}"
    done
    echo
done
printf '%s\n' "${commands[@]}"
