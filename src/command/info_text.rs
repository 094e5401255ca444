//! The text of INFO, section by section.

use std::fmt::Write;
use std::time::Duration;

use super::call::Outside;
use super::context::unix_time;
use super::{Context, REDIS_VERSION, table};
use crate::config::sync_mode_name;

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

fn server(out: &mut String, context: &Context, _: &Outside) {
    let up = context.started.elapsed().as_secs();
    let now = unix_time();
    line(out, "redis_version", REDIS_VERSION);
    line(out, "redis_git_sha1", "00000000");
    line(out, "redis_git_dirty", 0);
    line(out, "claimlog_version", env!("CARGO_PKG_VERSION"));
    line(out, "redis_mode", "standalone");
    line(out, "os", std::env::consts::OS);
    line(out, "arch_bits", usize::BITS);
    line(out, "multiplexing_api", "epoll");
    line(out, "process_id", std::process::id());
    line(out, "run_id", &context.run_id);
    line(out, "tcp_port", context.config.borrow().port);
    line(out, "server_time_usec", now.as_micros());
    line(out, "uptime_in_seconds", up);
    line(out, "uptime_in_days", up / 86_400);
    line(out, "executable", std::env::current_exe().unwrap_or_default().display());
    line(out, "config_file", "");
}

fn clients(out: &mut String, context: &Context, outside: &Outside) {
    let clients = context.clients.borrow();
    line(out, "connected_clients", clients.len());
    line(out, "cluster_connections", 0);
    line(out, "maxclients", context.config.borrow().clients_max);
    let largest =
        |bytes: fn(&super::Client) -> usize| clients.values().map(|client| bytes(client)).max().unwrap_or(0);
    line(out, "client_recent_max_input_buffer", largest(|client| client.received_bytes.get()));
    line(out, "client_recent_max_output_buffer", largest(|client| client.unsent_bytes.get()));
    line(out, "blocked_clients", outside.stats.waiters);
    line(out, "tracking_clients", 0);
    line(out, "clients_in_timeout_table", 0);
}

/// What the kernel says about this process: resident bytes now and at most.
fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (kilobytes("VmRSS:"), kilobytes("VmHWM:"))
}

fn human(bytes: u64) -> String {
    match bytes as f64 {
        small if small < 1024.0 => format!("{bytes}B"),
        kilo if kilo < 1_048_576.0 => format!("{:.2}K", kilo / 1024.0),
        mega if mega < 1_073_741_824.0 => format!("{:.2}M", mega / 1_048_576.0),
        giga => format!("{:.2}G", giga / 1_073_741_824.0),
    }
}

fn memory(out: &mut String, _: &Context, _: &Outside) {
    let (now, most) = resident_bytes();
    for (name, bytes) in
        [("used_memory", now), ("used_memory_rss", now), ("used_memory_peak", most), ("maxmemory", 0)]
    {
        line(out, name, bytes);
        line(out, &format!("{name}_human"), human(bytes));
    }
    line(out, "maxmemory_policy", "noeviction");
    line(out, "mem_fragmentation_ratio", "1.00");
    line(out, "mem_allocator", "libc");
}

fn persistence(out: &mut String, context: &Context, outside: &Outside) {
    line(out, "loading", 0);
    line(out, "async_loading", 0);
    let snapshots = &outside.stats.snapshots;
    let newest = snapshots.stores.iter().filter_map(|store| store.seq).max().unwrap_or_default();
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| time.as_secs() as i64);
    let status = if snapshots.last_error.is_none() { "ok" } else { "err" };
    line(out, "rdb_changes_since_last_save", outside.stats.applied.saturating_sub(newest.get()));
    line(out, "rdb_bgsave_in_progress", u8::from(snapshots.running.is_some()));
    line(out, "rdb_last_save_time", context.last_save_unix_secs(snapshots));
    line(out, "rdb_last_bgsave_status", status);
    line(out, "rdb_last_bgsave_time_sec", seconds(snapshots.last.as_ref().map(|last| last.took)));
    line(out, "rdb_current_bgsave_time_sec", seconds(snapshots.running));
    line(out, "rdb_saves", snapshots.taken);
    line(out, "aof_enabled", 1);
    line(out, "aof_rewrite_in_progress", 0);
    line(out, "aof_rewrite_scheduled", 0);
    line(out, "aof_last_bgrewrite_status", "ok");
    // As in Redis: an error while writes are refused.
    line(out, "aof_last_write_status", if outside.stats.log_full.is_some() { "err" } else { "ok" });
    line(out, "claimlog_appendfsync", sync_mode_name(outside.settings.sync_mode));
    line(out, "claimlog_applied_seq", outside.stats.applied);
    line(out, "claimlog_durable_seq", outside.stats.durable);
    line(out, "claimlog_commits", outside.stats.commits);
    line(out, "claimlog_log_bytes_written", outside.stats.log_bytes_written);
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
    let recovery = context.recovery.borrow();
    line(out, "claimlog_recovery_ms", recovery.millis);
    line(out, "claimlog_recovery", one_line(&recovery.text));
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

fn stats(out: &mut String, context: &Context, _: &Outside) {
    let stats = &context.stats;
    line(out, "total_connections_received", stats.connections.get());
    line(out, "total_commands_processed", stats.commands.get());
    line(out, "instantaneous_ops_per_sec", 0);
    line(out, "total_net_input_bytes", stats.bytes_in.get());
    line(out, "total_net_output_bytes", stats.bytes_out.get());
    line(out, "rejected_connections", stats.connections_refused.get());
    line(out, "expired_keys", 0);
    line(out, "evicted_keys", 0);
    line(out, "keyspace_hits", 0);
    line(out, "keyspace_misses", 0);
    line(out, "pubsub_channels", 0);
    line(out, "pubsub_patterns", 0);
    line(out, "latest_fork_usec", 0);
    line(out, "total_error_replies", stats.errors.get());
    line(out, "total_reads_processed", stats.reads.get());
    line(out, "total_writes_processed", stats.writes.get());
}

fn replication(out: &mut String, context: &Context, _: &Outside) {
    line(out, "role", "master");
    line(out, "connected_slaves", 0);
    line(out, "master_failover_state", "no-failover");
    line(out, "master_replid", &context.run_id);
    line(out, "master_replid2", "0".repeat(40));
    line(out, "master_repl_offset", 0);
    line(out, "second_repl_offset", -1);
    line(out, "repl_backlog_active", 0);
    line(out, "repl_backlog_size", 1_048_576);
    line(out, "repl_backlog_first_byte_offset", 0);
    line(out, "repl_backlog_histlen", 0);
}

/// The fields after the name of /proc/self/stat: user and system time in ticks of 10 ms.
fn cpu(out: &mut String, _: &Context, _: &Outside) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let seconds = |index: usize| {
        let ticks: f64 = fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(0.0);
        format!("{:.6}", ticks / 100.0)
    };
    line(out, "used_cpu_sys", seconds(12));
    line(out, "used_cpu_user", seconds(11));
    line(out, "used_cpu_sys_children", seconds(14));
    line(out, "used_cpu_user_children", seconds(13));
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

fn keyspace(out: &mut String, _: &Context, outside: &Outside) {
    for (index, keys) in outside.stats.keys.iter().enumerate().filter(|(_, keys)| **keys > 0) {
        line(out, &format!("db{index}"), format!("keys={keys},expires=0,avg_ttl=0"));
    }
}
