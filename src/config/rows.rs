//! All settings by name: what CONFIG GET answers, what CONFIG SET and the configuration file may say.

use claimlog::op::DbIndex;
use claimlog::resp::parse_integer;

use super::{Accepted, Config, DebugCommand, sync_mode, sync_mode_name};

/// One setting.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) get: fn(&Config) -> String,
    pub(crate) set: Set,
    pub(crate) when: When,
}

/// When a setting may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// In the file, on the command line, by CONFIG SET.
    Always,
    /// Not by CONFIG SET.
    Start,
}

/// What a setting may be.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    /// Only what it is: a name that clients know, and whose value can't be another here.
    Fixed,
    /// Any whole number from .. to ..
    Number(i64, i64, fn(&mut Config, u64)),
    /// As [`Set::Number`], and `k`, `m`, `g` may follow.
    Bytes(i64, i64, fn(&mut Config, u64)),
    /// `yes` or `no`.
    Switch(fn(&mut Config, bool)),
    /// Whatever it accepts.
    Text(fn(&mut Config, &str) -> Result<(), String>),
}

const fn row_of(name: &'static str, get: fn(&Config) -> String, set: Set) -> Row {
    Row { name, get, set, when: When::Always }
}

const fn start(name: &'static str, get: fn(&Config) -> String, set: Set) -> Row {
    Row { name, get, set, when: When::Start }
}

/// A setting that can't be another.
macro_rules! fixed {
    ($name:literal, $value:expr) => {
        row_of($name, |_| $value.to_string(), Set::Fixed)
    };
}

/// One that Redis doesn't let be set either.
macro_rules! immutable {
    ($name:literal, $value:expr) => {
        start($name, |_| $value.to_string(), Set::Fixed)
    };
}

/// A switch that clients and test suites turn, and that nothing here depends on.
macro_rules! accepted {
    ($name:literal, $which:expr) => {
        row_of(
            $name,
            |config| yes_or_no(config.accepted[$which as usize]),
            Set::Switch(|config, on| config.accepted[$which as usize] = on),
        )
    };
}

/// All settings, sorted by name.
pub(crate) static ROWS: &[Row] = &[
    row_of(
        "active-expire-effort",
        |config| config.expire_effort.to_string(),
        Set::Number(1, 10, |config, value| config.expire_effort = value),
    ),
    fixed!("activedefrag", "no"),
    accepted!("aof-use-rdb-preamble", Accepted::AofUseRdbPreamble),
    row_of(
        "appendfsync",
        |config| sync_mode_name(config.engine.sync_mode).into(),
        Set::Text(set_appendfsync),
    ),
    fixed!("appendonly", "yes"),
    start("bind", addresses, Set::Text(set_bind)),
    row_of(
        "client-output-buffer-limit",
        |config| config.output_limits.text(),
        Set::Text(|config, value| config.output_limits.set(value, size)),
    ),
    row_of(
        "client-query-buffer-limit",
        |config| config.query_bytes_max.to_string(),
        Set::Bytes(1024 * 1024, i64::MAX, |config, value| config.query_bytes_max = value),
    ),
    fixed!("close-on-replica-write", "yes"),
    immutable!("cluster-enabled", "no"),
    immutable!("daemonize", "no"),
    immutable!("databases", DbIndex::COUNT),
    start("dir", absolute_dir, Set::Text(set_dir)),
    accepted!("dynamic-hz", Accepted::DynamicHz),
    start("enable-debug-command", debug_command, Set::Text(set_debug_command)),
    immutable!("enable-module-command", "no"),
    immutable!("enable-protected-configs", "no"),
    // As in Redis, what is out of range is taken for the nearest that is not.
    row_of(
        "hz",
        |config| config.hz.to_string(),
        Set::Number(i64::MIN, i64::MAX, |config, value| {
            config.hz = value.cast_signed().clamp(1, 500).cast_unsigned();
        }),
    ),
    immutable!("io-threads", 1),
    row_of(
        "latency-monitor-threshold",
        |config| config.latency_threshold_ms.to_string(),
        Set::Number(0, i64::MAX, |config, value| config.latency_threshold_ms = value),
    ),
    row_of(
        "latency-tracking",
        |config| yes_or_no(config.latency_tracking),
        Set::Switch(|config, on| config.latency_tracking = on),
    ),
    row_of("latency-tracking-info-percentiles", percentiles, Set::Text(set_percentiles)),
    accepted!("lazyfree-lazy-eviction", Accepted::LazyEviction),
    accepted!("lazyfree-lazy-expire", Accepted::LazyExpire),
    accepted!("lazyfree-lazy-server-del", Accepted::LazyServerDel),
    accepted!("lazyfree-lazy-user-del", Accepted::LazyUserDel),
    accepted!("lazyfree-lazy-user-flush", Accepted::LazyUserFlush),
    immutable!("logfile", ""),
    fixed!("loglevel", "notice"),
    start(
        "max-batch-bytes",
        |config| config.batch_bytes_max.to_string(),
        Set::Bytes(1024 * 1024, BATCH_BYTES_MAX, |config, value| {
            config.batch_bytes_max = u32::try_from(value).unwrap_or(config.batch_bytes_max);
        }),
    ),
    start(
        "max-reply-bytes",
        |config| config.reply_bytes_max.to_string(),
        Set::Bytes(64 * 1024, i64::MAX, |config, value| config.reply_bytes_max = value),
    ),
    row_of("maxclients", |config| config.clients_max.to_string(), Set::Text(set_maxclients)),
    row_of(
        "maxmemory",
        |config| config.engine.max_memory_bytes.to_string(),
        Set::Bytes(0, i64::MAX, |config, value| config.engine.max_memory_bytes = value),
    ),
    fixed!("maxmemory-clients", 0),
    fixed!("maxmemory-policy", "noeviction"),
    fixed!("min-replicas-max-lag", 10),
    fixed!("min-replicas-to-write", 0),
    fixed!("min-slaves-max-lag", 10),
    fixed!("min-slaves-to-write", 0),
    fixed!("no-appendfsync-on-rewrite", "no"),
    fixed!("notify-keyspace-events", ""),
    start("port", |config| config.port.to_string(), Set::Number(0, 65_535, set_port)),
    fixed!("protected-mode", "no"),
    row_of(
        "proto-max-bulk-len",
        |config| config.bulk_bytes_max.to_string(),
        Set::Bytes(1024 * 1024, 512 * 1024 * 1024, |config, value| config.bulk_bytes_max = value),
    ),
    fixed!("replica-priority", 100),
    fixed!("replica-read-only", "yes"),
    fixed!("replica-serve-stale-data", "yes"),
    fixed!("replicaof", ""),
    row_of("requirepass", |config| config.password.clone().unwrap_or_default(), Set::Text(set_password)),
    fixed!("save", ""),
    fixed!("slave-priority", 100),
    fixed!("slave-read-only", "yes"),
    fixed!("slave-serve-stale-data", "yes"),
    fixed!("slaveof", ""),
    row_of("slowlog-log-slower-than", |config| config.slow_micros.to_string(), Set::Text(set_slow_micros)),
    row_of(
        "slowlog-max-len",
        |config| config.slow_entries_max.to_string(),
        Set::Number(0, i64::MAX, |config, value| config.slow_entries_max = value),
    ),
    start(
        "snapshot-copies",
        |config| config.snapshot_copies.to_string(),
        Set::Number(1, 2, |config, value| config.snapshot_copies = if value == 1 { 1 } else { 2 }),
    ),
    start(
        "snapshot-log-bytes",
        |config| config.snapshot_log_bytes.to_string(),
        Set::Bytes(1, i64::MAX, |config, value| config.snapshot_log_bytes = value),
    ),
    start(
        "snapshot-patience-ms",
        |config| config.snapshot_patience_ms.to_string(),
        Set::Number(100, 3_600_000, |config, value| config.snapshot_patience_ms = value),
    ),
    fixed!("stop-writes-on-bgsave-error", "no"),
    row_of(
        "stream-idmp-duration",
        |config| config.engine.stream_idmp_duration_secs.to_string(),
        Set::Number(1, 86_400, |config, value| config.engine.stream_idmp_duration_secs = value),
    ),
    row_of(
        "stream-idmp-maxsize",
        |config| config.engine.stream_idmp_maxsize.to_string(),
        Set::Number(1, 10_000, |config, value| config.engine.stream_idmp_maxsize = value),
    ),
    row_of(
        "stream-node-max-bytes",
        |config| config.engine.stream_node_max_bytes.to_string(),
        Set::Bytes(0, i64::MAX, |config, value| config.engine.stream_node_max_bytes = value),
    ),
    row_of(
        "stream-node-max-entries",
        |config| config.engine.stream_node_max_entries.to_string(),
        Set::Number(0, i64::MAX, |config, value| config.engine.stream_node_max_entries = value),
    ),
    immutable!("supervised", "no"),
    row_of(
        "tcp-keepalive",
        |config| config.keepalive_secs.to_string(),
        Set::Number(0, 2_147_483_647, |config, value| config.keepalive_secs = value),
    ),
    row_of(
        "timeout",
        |config| config.idle_secs_max.to_string(),
        Set::Number(0, 2_147_483_647, |config, value| config.idle_secs_max = value),
    ),
    fixed!("tls-port", 0),
    immutable!("unixsocket", ""),
    row_of(
        "verify-bytes-per-second",
        |config| config.engine.verify_bytes_per_second.to_string(),
        Set::Bytes(0, 1 << 40, |config, value| config.engine.verify_bytes_per_second = value),
    ),
    row_of(
        "verify-interval",
        |config| config.engine.verify_interval_secs.to_string(),
        Set::Number(0, 31_536_000, |config, value| config.engine.verify_interval_secs = value),
    ),
];

/// The log takes no larger batch.
const BATCH_BYTES_MAX: i64 = 1 << 30;

/// The setting of that name, in any case.
pub(crate) fn row(name: &[u8]) -> Option<&'static Row> {
    ROWS.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()))
}

/// Gives a setting another value, or says why not. The texts are Redis's.
pub(crate) fn change(row: &Row, config: &mut Config, value: &str) -> Result<(), String> {
    match row.set {
        Set::Fixed => {
            let is = (row.get)(config);
            if value.eq_ignore_ascii_case(&is) {
                Ok(())
            } else if as_switch(&is).is_some() && as_switch(value).is_none() {
                Err(NO_SWITCH.into())
            } else {
                Err(format!("this can't be changed here, it is '{is}'"))
            }
        }
        Set::Number(least, most, put) => {
            put(config, number(value, least, most)?.cast_unsigned());
            Ok(())
        }
        Set::Bytes(least, most, put) => {
            let bytes = bytes(value).filter(|bytes| *bytes >= 0).ok_or("argument must be a memory value")?;
            put(config, within(bytes, least, most)?.cast_unsigned());
            Ok(())
        }
        Set::Switch(put) => {
            put(config, as_switch(value).ok_or(NO_SWITCH)?);
            Ok(())
        }
        Set::Text(put) => put(config, value),
    }
}

const NO_SWITCH: &str = "argument must be 'yes' or 'no'";

fn as_switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn number(value: &str, least: i64, most: i64) -> Result<i64, String> {
    let number = parse_integer(value.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    within(number, least, most)
}

fn within(number: i64, least: i64, most: i64) -> Result<i64, String> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("argument must be between {least} and {most} inclusive"))
}

/// A number of bytes, with Redis's units: `k`, `m` and `g` are powers of 1000, `kb`, `mb` and `gb` of 1024.
fn bytes(text: &str) -> Option<i64> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number = Some(number).filter(|number| !number.starts_with('+'))?;
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit))
}

/// A number of bytes, or none.
fn size(text: &str) -> Option<u64> {
    bytes(text).and_then(|bytes| u64::try_from(bytes).ok())
}

/// As the command line takes it.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let found = size(text).filter(|bytes| *bytes > 0);
    found.ok_or_else(|| "a number of bytes, as in 67108864 or 64mb".to_owned())
}

fn yes_or_no(on: bool) -> String {
    if on { "yes".into() } else { "no".into() }
}

fn addresses(config: &Config) -> String {
    config.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn set_bind(config: &mut Config, value: &str) -> Result<(), String> {
    let words = value.split([' ', ',']).filter(|word| !word.is_empty());
    let parsed: Result<Vec<_>, _> = words.map(str::parse).collect();
    config.bind = parsed.map_err(|_| "argument must be one or more IP addresses")?;
    if config.bind.is_empty() { Err("argument must be one or more IP addresses".into()) } else { Ok(()) }
}

fn absolute_dir(config: &Config) -> String {
    std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone()).display().to_string()
}

fn set_dir(config: &mut Config, value: &str) -> Result<(), String> {
    config.dir = value.into();
    Ok(())
}

fn set_port(config: &mut Config, value: u64) {
    config.port = u16::try_from(value).unwrap_or(config.port);
}

fn set_appendfsync(config: &mut Config, value: &str) -> Result<(), String> {
    let mode = sync_mode(value);
    config.engine.sync_mode = mode.ok_or("argument(s) must be one of the following: everysec, always, no")?;
    Ok(())
}

fn set_password(config: &mut Config, value: &str) -> Result<(), String> {
    config.password = (!value.is_empty()).then(|| value.to_owned());
    Ok(())
}

fn set_maxclients(config: &mut Config, value: &str) -> Result<(), String> {
    let wanted = number(value, 1, 4_294_967_295)?;
    let possible = config.clients_possible;
    match u32::try_from(wanted) {
        Ok(wanted) if wanted <= possible => config.clients_max = wanted,
        _ => {
            return Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ));
        }
    }
    Ok(())
}

fn set_slow_micros(config: &mut Config, value: &str) -> Result<(), String> {
    config.slow_micros = number(value, -1, i64::MAX)?;
    Ok(())
}

fn percentiles(config: &Config) -> String {
    config.latency_percentiles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn set_percentiles(config: &mut Config, value: &str) -> Result<(), String> {
    let parsed: Result<Vec<f64>, _> = value.split_whitespace().map(str::parse).collect();
    let parsed = parsed.map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
    if !parsed.iter().all(|one| (0.0..=100.0).contains(one)) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
    }
    config.latency_percentiles = parsed;
    Ok(())
}

fn debug_command(config: &Config) -> String {
    match config.debug_command {
        DebugCommand::Nobody => "no".into(),
        DebugCommand::Everybody => "yes".into(),
        DebugCommand::Local => "local".into(),
    }
}

fn set_debug_command(config: &mut Config, value: &str) -> Result<(), String> {
    config.debug_command = match value.to_ascii_lowercase().as_str() {
        "no" => DebugCommand::Nobody,
        "yes" => DebugCommand::Everybody,
        "local" => DebugCommand::Local,
        _ => return Err("argument(s) must be one of the following: no, yes, local".into()),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|one, next| one.name < next.name));
    }

    /// What GET says, SET accepts: else a rewritten file could not be read.
    #[test]
    fn every_value_can_be_set_again() {
        for row in ROWS {
            let mut config = Config::default();
            let value = (row.get)(&config);
            assert_eq!(change(row, &mut config, &value), Ok(()), "{}", row.name);
            assert_eq!((row.get)(&config), value, "{}", row.name);
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let try_it = |name: &str, value: &str| {
            change(row(name.as_bytes()).unwrap(), &mut Config::default(), value).is_ok()
        };
        for (name, value) in [
            ("timeout", "-1"),
            ("timeout", "x"),
            ("proto-max-bulk-len", "1k"),
            ("latency-tracking", "maybe"),
            ("appendonly", "no"),
            ("maxmemory", "-1"),
            ("maxmemory", "1%"),
            ("maxmemory-policy", "allkeys-lru"),
            ("client-query-buffer-limit", "1000"),
            ("max-batch-bytes", "2g"),
            ("latency-tracking-info-percentiles", "50 101"),
            ("bind", ""),
        ] {
            assert!(!try_it(name, value), "{name} {value}");
        }
        assert!(try_it("proto-max-bulk-len", "1mb"));
        assert!(try_it("slowlog-log-slower-than", "-1"));
        assert!(try_it("latency-tracking-info-percentiles", ""));
    }
}
