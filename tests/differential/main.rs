//! claimlog beside a real redis-server 7.0.15: random sequences of commands, and every reply the same.
//!
//! - `CLAIMLOG_DIFF_SEQUENCES`: how many sequences (2000, or as many as 25 seconds are enough for on a busy machine).
//! - `CLAIMLOG_SEED`: the seed, printed by every run.
//! - `CLAIMLOG_TEST_REDIS`: the redis-server to compare with (else the one in PATH; without one the test says so).
//! - `CLAIMLOG_DIFF_FAILURES`: how many differences to look for before the test gives up (1).
//! - `CLAIMLOG_DIFF_SELF=1`: Redis on both sides, to prove the generator and the normalisation.
//!
//! Commands that claimlog does not have are left out only while `NOT_YET` in `tests/common/features.rs` names them, and
//! the output says so; any other that is missing fails the test.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

#[path = "../common/mod.rs"]
mod common;
mod generate;
mod normal;
mod run;
mod shrink;

use std::time::{Duration, Instant};

use common::{Kind, Rng, env_u64, features::Features, seed, server};
use run::{Pair, Stats};

/// How long a run goes on that was not asked for a number of sequences.
const PATIENCE: Duration = Duration::from_secs(25);

#[test]
fn replies_are_those_of_redis() {
    let Some(version) = server::redis_version() else {
        println!("SKIPPED: no redis-server in PATH or CLAIMLOG_TEST_REDIS, nothing was compared");
        return;
    };
    if version != "7.0.15" {
        println!(
            "SKIPPED: the redis-server here is {version}; the replies are those of 7.0.15, nothing was compared"
        );
        return;
    }
    let itself = env_u64("CLAIMLOG_DIFF_SELF", 0) == 1;
    let sequences = env_u64("CLAIMLOG_DIFF_SEQUENCES", 2000);
    let wanted = env_u64("CLAIMLOG_DIFF_FAILURES", 1);
    let seed = seed();
    println!("{sequences} sequences, CLAIMLOG_SEED={seed}");

    let started = Instant::now();
    let mut pair = Pair::start(if itself { Kind::Redis } else { Kind::Claimlog });
    let features = if itself { Features::all() } else { pair.features() };
    let wrong = if itself { Vec::new() } else { features.wrong() };
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in features.missing() {
        println!("NOT COMPARED: claimlog does not have {name} yet");
    }
    let mut stats = Stats::default();
    let mut failures = 0;
    let asked = std::env::var_os("CLAIMLOG_DIFF_SEQUENCES").is_some();
    for at in 0..sequences {
        if !asked && at >= 500 && started.elapsed() > PATIENCE {
            println!("{at} sequences took {PATIENCE:?}: the others are left out");
            break;
        }
        let steps =
            generate::sequence(&mut Rng::new(seed.wrapping_add(at.wrapping_mul(0x1_0000_0001))), &features);
        if let Some(failure) = pair.run(&steps, &mut stats) {
            failures += 1;
            println!("\nsequence {at} of seed {seed} fails: {}", failure.why);
            let (steps, failure) = shrink::shrink(&mut pair, steps, failure);
            println!("{}", shrink::report(&steps, &failure));
            if failures >= wanted {
                break;
            }
        }
    }
    print_stats(&stats);
    println!("{:.1} s; known differences from Redis {version}:", started.elapsed().as_secs_f64());
    for (what, how) in normal::KNOWN {
        println!("- {what}: {how}");
    }
    assert!(failures == 0, "{failures} sequences differ, see above; replay with CLAIMLOG_SEED={seed}");
    if sequences >= 500 {
        generator_gets_somewhere(&stats, &features);
    }
}

fn print_stats(stats: &Stats) {
    println!("{:<28} {:>7} {:>7} {:>7} {:>9}", "command", "calls", "errors", "content", "er. kinds");
    for (name, count) in &stats.by_command {
        if count.calls >= 5 {
            let kinds = count.texts.len();
            println!("{name:<28} {:>7} {:>7} {:>7} {kinds:>9}", count.calls, count.errors, count.content);
        }
    }
    if env_u64("CLAIMLOG_DIFF_TEXTS", 0) == 1 {
        for (name, count) in &stats.by_command {
            for (text, times) in &count.texts {
                println!("{name}: {times} x {text}");
            }
        }
    }
    println!(
        "blocked {}, woken {} (with an error {}), replies only RESP3 has {}, sequences ended early {}",
        stats.blocked, stats.served, stats.served_with_error, stats.resp3, stats.ended_early
    );
}

/// A comparison of nothing but errors would prove nothing.
fn generator_gets_somewhere(stats: &Stats, features: &Features) {
    let deep =
        ["XADD", "XRANGE", "XREADGROUP", "XCLAIM", "XAUTOCLAIM", "XPENDING", "XACK", "XDEL", "XTRIM", "EXEC"];
    let keys = [
        "COPY",
        "EXPIRE",
        "EXPIREAT",
        "EXPIRETIME",
        "MEMORY",
        "MOVE",
        "OBJECT",
        "PERSIST",
        "PEXPIRE",
        "PEXPIREAT",
        "PEXPIRETIME",
        "PTTL",
        "RANDOMKEY",
        "RENAME",
        "RENAMENX",
        "SWAPDB",
        "TOUCH",
        "TTL",
    ];
    for name in deep {
        let count = &stats.by_command[name];
        assert!(count.content * 10 >= count.calls, "{name}: hardly any reply has content: {count:?}");
        assert!(count.errors > 0, "{name} never failed");
    }
    // Rarer, and 0 is what some of them mostly say.
    for name in keys {
        if features.has(&name.to_ascii_lowercase()) && (name != "MEMORY" || features.has("memory|usage")) {
            let count = &stats.by_command[name];
            assert!(count.content > 0, "{name}: no reply has content: {count:?}");
        }
    }
    assert!(stats.served > 0 && stats.served_with_error > 0, "no blocked reader was woken");
    assert!(stats.resp3 > 0, "RESP3 was never spoken");
}
