//! MEMORY: where the memory goes, as far as the system tells.

use claimlog::op::Object;

use super::args::{SYNTAX, Words, integer, is};
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, MemoryUse, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "memory",
    arity: Arity::at_least(2),
    summary: "A container for memory diagnostics commands",
    since: "4.0.0",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static DOCTOR: CommandSpec = CommandSpec {
    name: "memory|doctor",
    arity: Arity::exactly(2),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    summary: "Outputs memory problems report",
    since: "4.0.0",
    group: "server",
    complexity: "O(1)",
    run: doctor,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "memory|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "4.0.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static MALLOC_STATS: CommandSpec = CommandSpec {
    name: "memory|malloc-stats",
    arity: Arity::exactly(2),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    summary: "Show allocator internal stats",
    since: "4.0.0",
    group: "server",
    complexity: "Depends on how much memory is allocated, could be slow",
    run: malloc_stats,
    ..CommandSpec::DEFAULT
};

static PURGE: CommandSpec = CommandSpec {
    name: "memory|purge",
    arity: Arity::exactly(2),
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    summary: "Ask the allocator to release memory",
    since: "4.0.0",
    group: "server",
    complexity: "Depends on how much memory is allocated, could be slow",
    run: purge,
    ..CommandSpec::DEFAULT
};

static STATS: CommandSpec = CommandSpec {
    name: "memory|stats",
    arity: Arity::exactly(2),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    summary: "Show memory usage details",
    since: "4.0.0",
    group: "server",
    complexity: "O(1)",
    run: stats,
    ..CommandSpec::DEFAULT
};

static USAGE: CommandSpec = CommandSpec {
    name: "memory|usage",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Readonly]),
    keys: &[KeySpec::index(2, 0, 1).flags(&["RO"])],
    summary: "Estimate the memory usage of a key",
    since: "4.0.0",
    group: "server",
    complexity: "O(N) where N is the number of samples.",
    args: &[Arg::key("key"), Arg::integer("count").after("SAMPLES").optional()],
    run: usage,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn doctor(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let outside = call.outside();
    call.after = call.after.max(claimlog::Seq::new(outside.stats.applied));
    let memory = MemoryUse::now(call.context, outside.stats.memory_bytes);
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let text = format!(
        "The data take {} MiB, clients {} MiB, and the process has {} MiB of the system. What a key takes says MEMORY \
         USAGE.\n",
        mib(memory.data),
        mib(memory.clients),
        mib(memory.resident)
    );
    call.reply.verbatim(text.as_bytes());
    Ok(Outcome::Done)
}

fn malloc_stats(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.bulk(b"Stats not supported for the current allocator");
    Ok(Outcome::Done)
}

/// The allocator gives back what it can by itself.
fn purge(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.ok();
    Ok(Outcome::Done)
}

/// Nothing is sampled: it is counted, so SAMPLES makes no difference.
fn usage(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut words = Words::new(&call.words[3..]);
    while let Some(option) = words.next() {
        if !is(option, "SAMPLES") || integer(words.value()?)? < 0 {
            return Err(SYNTAX);
        }
    }
    match call.execute(&Object { key: call.key(2) })? {
        Some(object) => call.reply.count(object.memory_bytes),
        None => call.reply.null(),
    }
    Ok(Outcome::Done)
}

fn stats(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let outside = call.outside();
    // It counts keys: that is a look at the state (I1).
    call.after = call.after.max(claimlog::Seq::new(outside.stats.applied));
    let memory = MemoryUse::now(call.context, outside.stats.memory_bytes);
    let keys: u64 = outside.stats.keys.iter().sum();
    let each = memory.data.checked_div(keys).unwrap_or(0);
    let count = |bytes: u64| Number::Count(bytes);
    let pairs = [
        ("peak.allocated", count(memory.peak)),
        ("total.allocated", count(memory.used)),
        ("startup.allocated", count(memory.startup)),
        ("replication.backlog", count(0)),
        ("clients.slaves", count(0)),
        ("clients.normal", count(memory.clients)),
        ("cluster.links", count(0)),
        ("aof.buffer", count(0)),
        ("lua.caches", count(0)),
        ("functions.caches", count(0)),
        ("overhead.total", count(memory.overhead())),
        ("keys.count", count(keys)),
        ("keys.bytes-per-key", count(each)),
        ("dataset.bytes", count(memory.data)),
        ("dataset.percentage", Number::Part(percent(memory.data, memory.used - memory.startup))),
        ("peak.percentage", Number::Part(percent(memory.used, memory.peak))),
        ("allocator.allocated", count(memory.used)),
        ("allocator.active", count(memory.resident)),
        ("allocator.resident", count(memory.resident)),
        ("allocator-fragmentation.ratio", Number::Part(1.0)),
        ("allocator-fragmentation.bytes", count(0)),
        ("allocator-rss.ratio", Number::Part(1.0)),
        ("allocator-rss.bytes", count(0)),
        ("rss-overhead.ratio", Number::Part(1.0)),
        ("rss-overhead.bytes", count(0)),
        ("fragmentation", Number::Part(memory.fragmentation())),
        ("fragmentation.bytes", count(memory.resident.saturating_sub(memory.used))),
    ];
    call.reply.map(pairs.len());
    for (name, value) in pairs {
        call.reply.bulk(name.as_bytes());
        match value {
            Number::Count(value) => call.reply.count(value),
            Number::Part(value) => call.reply.double(value),
        }
    }
    Ok(Outcome::Done)
}

enum Number {
    Count(u64),
    Part(f64),
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
