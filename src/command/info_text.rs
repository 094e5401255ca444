//! The text of INFO, section by section.

use std::fmt::Write;
use std::time::Duration;

use super::call::Outside;
use super::context::unix_time;
use super::{Context, MemoryUse, REDIS_VERSION, process, table};
use crate::config::sync_mode_name;
use claimlog::engine::Spread;

/// Writes one section.
type Section = fn(&mut String, &Context, &Outside);

/// All sections, in Redis's order, and whether plain INFO has them.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, |_, _, _| {}),
    ("Commandstats", false, commandstats),
    ("Errorstats", true, errorstats),
    ("Latencystats", false, latencystats),
    ("Cluster", true, |out, _, _| line(out, "cluster_enabled", 0)),
    ("Keyspace", true, keyspace),
];

/// The wanted sections (lower case); none: the default ones.
pub(crate) fn text(context: &Context, outside: &Outside, wanted: &[String]) -> String {
    let has = |name: &str| wanted.iter().any(|word| word == name);
    let all = has("all") || has("everything");
    let default = wanted.is_empty() || has("default");
    let mut out = String::new();
    for (name, in_default, section) in SECTIONS {
        if all || (default && *in_default) || has(&name.to_lowercase()) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            out.push_str(&format!("# {name}\r\n"));
            section(&mut out, context, outside);
        }
    }
    out
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{name}:{value}\r\n");
}

/// How values are spread, in a unit so many times as large as theirs.
fn spread(out: &mut String, name: &str, spread: &Spread, unit: u64) {
    let Spread { count, p50, p99, p999, most, .. } = spread;
    let [p50, p99, p999, most] = [p50, p99, p999, most].map(|value| value.div_ceil(unit));
    line(out, name, format_args!("count={count},p50={p50},p99={p99},p99.9={p999},max={most}"));
}

fn lines(out: &mut String, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        line(out, name, value);
    }
}

/// What clients look for and is not there: none of it ever happens here.
fn zeros(out: &mut String, names: &[&str]) {
    for name in names {
        line(out, name, 0);
    }
}

fn server(out: &mut String, context: &Context, _: &Outside) {
    let up = context.started.elapsed().as_secs();
    let now = unix_time();
    let config = context.config.borrow();
    lines(out, &[("redis_version", REDIS_VERSION), ("redis_git_sha1", "00000000"), ("redis_git_dirty", "0")]);
    line(out, "redis_build_id", "0");
    line(out, "claimlog_version", env!("CARGO_PKG_VERSION"));
    line(out, "redis_mode", "standalone");
    line(out, "os", process::system());
    line(out, "arch_bits", usize::BITS);
    lines(out, &[("monotonic_clock", "POSIX clock_gettime"), ("multiplexing_api", "epoll")]);
    line(out, "process_id", std::process::id());
    line(out, "process_supervised", "no");
    line(out, "run_id", &context.run_id);
    line(out, "tcp_port", config.port);
    line(out, "server_time_usec", now.as_micros());
    line(out, "uptime_in_seconds", up);
    line(out, "uptime_in_days", up / 86_400);
    // How often it looks for what nobody tells it of, and what was set. Timeouts have timers of their own.
    line(out, "hz", 1);
    line(out, "configured_hz", config.hz);
    line(out, "lru_clock", now.as_secs() & 0x00ff_ffff);
    line(out, "executable", std::env::current_exe().unwrap_or_default().display());
    let file = config.file.as_ref().map_or_else(String::new, |path| path.display().to_string());
    line(out, "config_file", one_line(&file));
    line(out, "io_threads_active", 0);
    for (index, address) in config.bind.iter().enumerate() {
        line(out, &format!("listener{index}"), format!("name=tcp,bind={address},port={}", config.port));
    }
}

fn clients(out: &mut String, context: &Context, outside: &Outside) {
    let clients = context.living_clients();
    line(out, "connected_clients", clients.len());
    line(out, "cluster_connections", 0);
    line(out, "maxclients", context.config.borrow().clients_max);
    let largest =
        |bytes: fn(&super::Client) -> usize| clients.iter().map(|client| bytes(client)).max().unwrap_or(0);
    line(out, "client_recent_max_input_buffer", largest(|client| client.received_bytes.get()));
    line(out, "client_recent_max_output_buffer", largest(|client| client.unsent_bytes.get()));
    let blocked = clients.iter().filter(|client| client.blocked.get()).count();
    line(out, "blocked_clients", blocked);
    zeros(out, &["tracking_clients", "pubsub_clients"]);
    let watched =
        clients.iter().filter_map(|client| client.watch.borrow().as_ref().map(|watch| watch.keys().len()));
    let watched: Vec<usize> = watched.filter(|keys| *keys > 0).collect();
    line(out, "watching_clients", watched.len());
    line(out, "clients_in_timeout_table", 0);
    line(out, "total_watched_keys", watched.iter().sum::<usize>());
    line(out, "total_blocking_keys", outside.stats.awaited_keys);
    line(out, "total_blocking_keys_on_nokey", outside.stats.awaited_group_keys);
}

fn human(bytes: u64) -> String {
    match bytes as f64 {
        small if small < 1024.0 => format!("{bytes}B"),
        kilo if kilo < 1_048_576.0 => format!("{:.2}K", kilo / 1024.0),
        mega if mega < 1_073_741_824.0 => format!("{:.2}M", mega / 1_048_576.0),
        giga => format!("{:.2}G", giga / 1_073_741_824.0),
    }
}

fn percent(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    format!("{percent:.2}%")
}

fn memory(out: &mut String, context: &Context, outside: &Outside) {
    let memory = MemoryUse::now(context, outside.stats.memory_bytes);
    let MemoryUse { used, data, resident, peak, .. } = memory;
    for (name, bytes) in [("used_memory", used), ("used_memory_rss", resident), ("used_memory_peak", peak)] {
        line(out, name, bytes);
        line(out, &format!("{name}_human"), human(bytes));
    }
    line(out, "used_memory_peak_perc", percent(used, peak));
    line(out, "used_memory_overhead", memory.overhead());
    line(out, "used_memory_startup", memory.startup);
    line(out, "used_memory_dataset", data);
    line(out, "used_memory_dataset_perc", percent(data, (used - memory.startup).max(1)));
    line(out, "allocator_allocated", used);
    for name in ["allocator_active", "allocator_resident"] {
        line(out, name, resident);
    }
    line(out, "total_system_memory", process::machine_bytes());
    line(out, "total_system_memory_human", human(process::machine_bytes()));
    zeros(out, &["used_memory_lua", "used_memory_vm_eval"]);
    line(out, "used_memory_lua_human", human(0));
    zeros(out, &["used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions"]);
    zeros(out, &["number_of_libraries", "used_memory_vm_functions", "used_memory_vm_total"]);
    line(out, "used_memory_vm_total_human", human(0));
    zeros(out, &["used_memory_functions", "used_memory_scripts"]);
    line(out, "used_memory_scripts_human", human(0));
    let most = outside.settings.max_memory_bytes;
    line(out, "maxmemory", most);
    line(out, "maxmemory_human", human(most));
    line(out, "maxmemory_policy", "noeviction");
    for part in ["allocator_frag", "allocator_rss", "rss_overhead"] {
        line(out, &format!("{part}_ratio"), "1.00");
        line(out, &format!("{part}_bytes"), 0);
    }
    line(out, "mem_fragmentation_ratio", format!("{:.2}", memory.fragmentation()));
    line(out, "mem_fragmentation_bytes", resident as i64 - used as i64);
    // As in Redis: without it, what is used is compared with maxmemory. Buffers have limits of their own.
    line(out, "mem_not_counted_for_evict", memory.overhead());
    zeros(out, &["mem_replication_backlog", "mem_total_replication_buffers", "mem_clients_slaves"]);
    line(out, "mem_clients_normal", memory.clients);
    zeros(out, &["mem_cluster_links", "mem_aof_buffer"]);
    line(out, "mem_allocator", "libc");
    zeros(out, &["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"]);
}

fn persistence(out: &mut String, context: &Context, outside: &Outside) {
    let recovery = context.recovery.borrow();
    zeros(out, &["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    line(out, "current_fork_perc", "0.00");
    zeros(out, &["current_save_keys_processed", "current_save_keys_total"]);
    let snapshots = &outside.stats.snapshots;
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| time.as_secs() as i64);
    let status = if snapshots.last_error.is_none() { "ok" } else { "err" };
    line(out, "rdb_changes_since_last_save", outside.stats.unsaved_changes);
    line(out, "rdb_bgsave_in_progress", u8::from(snapshots.running.is_some()));
    line(out, "rdb_last_save_time", context.last_save_unix_secs(snapshots));
    line(out, "rdb_last_bgsave_status", status);
    line(out, "rdb_last_bgsave_time_sec", seconds(snapshots.last.as_ref().map(|last| last.took)));
    line(out, "rdb_current_bgsave_time_sec", seconds(snapshots.running));
    line(out, "rdb_saves", snapshots.taken);
    zeros(out, &["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    line(out, "rdb_last_load_keys_loaded", recovery.keys);
    line(out, "aof_enabled", 1);
    zeros(out, &["aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    lines(out, &[("aof_last_rewrite_time_sec", "-1"), ("aof_current_rewrite_time_sec", "-1")]);
    line(out, "aof_last_bgrewrite_status", "ok");
    zeros(out, &["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    // As in Redis: an error while writes are refused.
    line(out, "aof_last_write_status", if outside.stats.log_full.is_some() { "err" } else { "ok" });
    zeros(out, &["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    // The part of the log that the next start would replay.
    line(out, "aof_current_size", snapshots.unsnapshotted_bytes);
    zeros(out, &["aof_base_size", "aof_pending_rewrite", "aof_buffer_length", "aof_pending_bio_fsync"]);
    line(out, "aof_delayed_fsync", 0);
    line(out, "claimlog_appendfsync", sync_mode_name(outside.settings.sync_mode));
    line(out, "claimlog_applied_seq", outside.stats.applied);
    line(out, "claimlog_durable_seq", outside.stats.durable);
    line(out, "claimlog_commits", outside.stats.commits);
    line(out, "claimlog_log_bytes_written", outside.stats.log_bytes_written);
    let commit = &outside.stats.commit;
    spread(out, "claimlog_commit_batches", &commit.batches, 1);
    spread(out, "claimlog_commit_write_us", &commit.write_ns, 1000);
    spread(out, "claimlog_commit_sync_us", &commit.sync_ns, 1000);
    spread(out, "claimlog_commit_wait_us", &commit.wait_ns, 1000);
    spread(out, "claimlog_core_lock_ns", &commit.lock_held_ns, 1);
    line(out, "claimlog_unsnapshotted_bytes", snapshots.unsnapshotted_bytes);
    line(out, "claimlog_snapshots_failed", snapshots.failed);
    line(out, "claimlog_last_snapshot_error", one_line(snapshots.last_error.as_deref().unwrap_or_default()));
    if let Some(last) = &snapshots.last {
        line(out, "claimlog_last_snapshot_store", &last.store);
        line(out, "claimlog_last_snapshot_parts", last.parts);
        line(out, "claimlog_last_snapshot_bytes", last.bytes);
        line(out, "claimlog_last_snapshot_ms", last.took.as_millis());
        line(out, "claimlog_last_snapshot_lock_us", last.lock_held.as_micros());
    }
    for store in &snapshots.stores {
        let status =
            store.trouble.as_deref().map_or("ok".into(), |why| format!("rebuild: {}", one_line(why)));
        let value = format!("seq={},status={status}", store.seq.unwrap_or_default());
        line(out, &format!("claimlog_snapshot_store_{}", store.name), value);
    }
    let verify = &outside.stats.verify;
    line(out, "claimlog_verify_in_progress", u8::from(verify.running));
    line(out, "claimlog_verify_rounds", verify.rounds);
    line(out, "claimlog_verify_last_round_time", verify.last_round_at_ms.map_or(0, |at_ms| at_ms / 1000));
    line(out, "claimlog_verify_last_round_ms", verify.last_round_took.as_millis());
    line(out, "claimlog_verify_bytes", verify.bytes);
    line(out, "claimlog_verify_findings", verify.findings);
    line(out, "claimlog_verify_unhealed", verify.unhealed.len());
    let finding = verify.last_finding.as_ref().map_or_else(String::new, ToString::to_string);
    line(out, "claimlog_verify_last_finding", one_line(&finding));
    line(out, "claimlog_recovery_ms", recovery.millis);
    line(out, "claimlog_recovery", one_line(&recovery.text));
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

fn stats(out: &mut String, context: &Context, outside: &Outside) {
    let stats = &context.stats;
    let rates = stats.rates.get();
    line(out, "total_connections_received", stats.connections.get());
    line(out, "total_commands_processed", stats.commands.get());
    line(out, "instantaneous_ops_per_sec", rates.commands.round());
    line(out, "total_net_input_bytes", stats.bytes_in.get());
    line(out, "total_net_output_bytes", stats.bytes_out.get());
    zeros(out, &["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    line(out, "instantaneous_input_kbps", format!("{:.2}", rates.bytes_in / 1024.0));
    line(out, "instantaneous_output_kbps", format!("{:.2}", rates.bytes_out / 1024.0));
    lines(out, &[("instantaneous_input_repl_kbps", "0.00"), ("instantaneous_output_repl_kbps", "0.00")]);
    line(out, "rejected_connections", stats.connections_refused.get());
    zeros(out, &["sync_full", "sync_partial_ok", "sync_partial_err", "expired_subkeys"]);
    line(out, "expired_keys", outside.stats.expired_keys);
    line(out, "expired_stale_perc", "0.00");
    zeros(out, &["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys"]);
    zeros(out, &["evicted_clients", "evicted_scripts", "total_eviction_exceeded_time"]);
    zeros(out, &["current_eviction_exceeded_time", "keyspace_hits", "keyspace_misses", "pubsub_channels"]);
    zeros(out, &["pubsub_patterns", "pubsubshard_channels", "latest_fork_usec", "total_forks"]);
    zeros(out, &["migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits"]);
    zeros(out, &["active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    zeros(out, &["total_active_defrag_time", "current_active_defrag_time", "tracking_total_keys"]);
    zeros(out, &["tracking_total_items", "tracking_total_prefixes", "unexpected_error_replies"]);
    line(out, "total_error_replies", stats.errors.get());
    line(out, "dump_payload_sanitizations", 0);
    line(out, "total_reads_processed", stats.reads.get());
    line(out, "total_writes_processed", stats.writes.get());
    zeros(out, &["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    line(out, "client_query_buffer_limit_disconnections", stats.dropped_for_input.get());
    line(out, "client_output_buffer_limit_disconnections", stats.dropped_for_output.get());
    zeros(out, &["reply_buffer_shrinks", "reply_buffer_expands", "acl_access_denied_auth"]);
    zeros(out, &["acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel"]);
    line(out, "claimlog_clients_at_most", stats.clients_at_most.get());
    line(out, "claimlog_errors_of_too_many_kinds", stats.errors_of_too_many_kinds.get());
}

fn replication(out: &mut String, context: &Context, _: &Outside) {
    line(out, "role", "master");
    line(out, "connected_slaves", 0);
    line(out, "master_failover_state", "no-failover");
    line(out, "master_replid", context.replication_id());
    line(out, "master_replid2", "0".repeat(40));
    line(out, "master_repl_offset", 0);
    line(out, "second_repl_offset", -1);
    line(out, "repl_backlog_active", 0);
    line(out, "repl_backlog_size", 1_048_576);
    line(out, "repl_backlog_first_byte_offset", 0);
    line(out, "repl_backlog_histlen", 0);
}

fn cpu(out: &mut String, _: &Context, _: &Outside) {
    let [system, user, system_children, user_children] = process::processor_seconds("self");
    let [system_main, user_main, ..] = process::processor_seconds("thread-self");
    for (name, seconds) in [
        ("used_cpu_sys", system),
        ("used_cpu_user", user),
        ("used_cpu_sys_children", system_children),
        ("used_cpu_user_children", user_children),
        ("used_cpu_sys_main_thread", system_main),
        ("used_cpu_user_main_thread", user_main),
    ] {
        line(out, name, format!("{seconds:.6}"));
    }
}

fn commandstats(out: &mut String, context: &Context, _: &Outside) {
    let calls = context.stats.calls.borrow();
    for (spec, calls) in table::all().zip(calls.iter()) {
        if calls.calls == 0 && calls.rejected == 0 {
            continue;
        }
        let micros = calls.time.as_nanos() as f64 / 1000.0;
        let each = if calls.calls == 0 { 0.0 } else { micros / calls.calls as f64 };
        let value = format!(
            "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            calls.calls,
            calls.time.as_micros(),
            calls.rejected,
            calls.failed
        );
        line(out, &format!("cmdstat_{}", spec.name), value);
    }
}

fn errorstats(out: &mut String, context: &Context, _: &Outside) {
    for (code, count) in &*context.stats.error_codes.borrow() {
        line(out, &format!("errorstat_{code}"), format!("count={count}"));
    }
}

fn latencystats(out: &mut String, context: &Context, _: &Outside) {
    let percentiles = context.config.borrow().latency_percentiles.clone();
    let histograms = context.stats.histograms.borrow();
    for (spec, histogram) in table::all().zip(histograms.iter()) {
        let Some(histogram) = histogram else { continue };
        let value = |percent: &f64| format!("p{percent}={:.3}", histogram.percentile_micros(*percent));
        let values: Vec<String> = percentiles.iter().map(value).collect();
        line(out, &format!("latency_percentiles_usec_{}", spec.name), values.join(","));
    }
}

fn keyspace(out: &mut String, _: &Context, outside: &Outside) {
    for (index, keys) in outside.stats.keys.iter().enumerate().filter(|(_, keys)| **keys > 0) {
        let expires = outside.stats.expiring_keys.get(index).unwrap_or(&0);
        // How long they have on average, Redis only guesses: 0 is what it says when it has not.
        let value = format!("keys={keys},expires={expires},avg_ttl=0,subexpiry=0");
        line(out, &format!("db{index}"), value);
    }
}
