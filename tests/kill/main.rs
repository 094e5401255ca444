//! kill -9 at random moments under load, on a real disk, over and over on the same data; after every restart,
//! everything that was ever answered must be there.
//!
//! - `CLAIMLOG_KILL_ROUNDS`: how often (100).
//! - `CLAIMLOG_SEED`: the seed, printed by every run. The load is random by seed; the moment a command is cut at is
//!   not, so a replay runs the same commands, not the same crash.
//! - `CLAIMLOG_KILL_SELF=1`: a real Redis 7.0 that is not killed instead, to prove the model.
//! - `CLAIMLOG_KILL_SELF=2`: a real Redis with `appendfsync always` that is killed: this must fail (history reads and
//!   claims of deleted entries are not in its log), which proves that the checks look.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

#[path = "../common/mod.rs"]
mod common;
mod judged;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claimlog::history::Rules;
use common::{Kind, Options, Rng, Server, env_u64, seed, server};
use judged::Load;

const CLIENTS: u64 = 7;
const SNAPSHOT_LOG_BYTES: &str = "48k";

/// Everybody works; after `length` the server is killed, or everybody told to stop.
fn work(load: &mut Load, server: &mut Server, length: Duration, kill: bool) {
    let (port, stop) = (server.port, AtomicBool::new(false));
    std::thread::scope(|scope| {
        load.start(scope, port, &stop);
        std::thread::sleep(length);
        if kill {
            server.kill();
        }
        stop.store(true, Ordering::Relaxed);
    });
    if kill {
        load.lost();
    }
}

/// The bytes of the files in a folder.
fn bytes_below(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn what_was_answered_survives_kill_9() {
    let itself = env_u64("CLAIMLOG_KILL_SELF", 0);
    if itself > 0 && server::redis_server().is_none() {
        println!("SKIPPED: no redis-server to prove the model with");
        return;
    }
    let rounds = env_u64("CLAIMLOG_KILL_ROUNDS", 100);
    let seed = seed();
    println!("{rounds} rounds; again with: CLAIMLOG_SEED={seed} cargo test --test kill");
    let mut rng = Rng::new(seed);
    let started = Instant::now();

    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = dir.path().join("data");
    let kill = itself != 1;
    let options = Options::new(if itself > 0 { Kind::Redis } else { Kind::Claimlog }).dir(&data);
    let options = options.appendfsync(if kill { "always" } else { "no" });
    // A snapshot every few hundred commands: kills fall into every step of it, and into sled's own openings.
    let options = options.with("--snapshot-log-bytes", SNAPSHOT_LOG_BYTES);
    let mut server = options.start();
    // What stands in for us is a 7.0.
    let newer = itself == 0;
    let rules = Rules { nothing_makes_consumers: newer, set_id_above_deleted: newer, ..Rules::default() };
    let mut load = Load::new(CLIENTS, "", rules, &mut rng);
    load.prepare(&server);
    let mut killed_in_recovery = 0;
    let mut longest_start = Duration::ZERO;
    let (mut snapshots, mut most_bytes) = (0, 0);
    for round in 0..rounds {
        // From the first moments of a fresh start to a well-filled pipe.
        let length = Duration::from_micros(rng.below(300_000));
        work(&mut load, &mut server, length, kill);
        if kill {
            // Sometimes the next start does not get far either.
            while rng.chance(30) {
                let mut short = options.spawn();
                std::thread::sleep(Duration::from_micros(rng.below(120_000)));
                short.kill();
                killed_in_recovery += 1;
            }
            let begin = Instant::now();
            server = options.start();
            longest_start = longest_start.max(begin.elapsed());
        }
        if itself == 0 {
            let said = server.output();
            assert!(!said.contains("warning"), "round {round}, CLAIMLOG_SEED={seed}: {said}");
            snapshots += u64::from(said.contains("snapshot a-") || said.contains("snapshot b-"));
            most_bytes = most_bytes.max(bytes_below(&data.join("log")));
        }
        if let Err(what) = load.check(&mut server.client()) {
            let kept = dir.keep();
            panic!(
                "round {round}, CLAIMLOG_SEED={seed}: {what}\n  data kept in {}\n  the server said:\n{}",
                kept.display(),
                server.output()
            );
        }
    }
    if kill {
        // And a polite end loses nothing either.
        work(&mut load, &mut server, Duration::from_millis(100), false);
        server.signal("TERM");
        let status = server.wait_exit(Duration::from_secs(10)).expect("SIGTERM ends it");
        assert!(status.success(), "SIGTERM ends with {status}:\n{}", server.output());
        let server = options.start();
        load.check(&mut server.client())
            .unwrap_or_else(|what| panic!("after SIGTERM, CLAIMLOG_SEED={seed}: {what}"));
    }

    let report = load.report();
    println!(
        "{} commands answered; of those in flight at a kill {} took place and {} did not; {killed_in_recovery} \
         starts killed; {snapshots} starts from a snapshot; the log had {most_bytes} bytes at most; slowest start \
         {longest_start:?}; {} states looked at; {:.1} s",
        load.answered(),
        report.took_place,
        report.did_not,
        report.steps,
        started.elapsed().as_secs_f64()
    );
    // The segments ahead, those in use and those kept for use again; without a cut it would grow with every start.
    assert!(itself > 0 || most_bytes < 7 * 64 * 1024 * 1024, "the log is not cut: {most_bytes} bytes");
    assert!(itself > 0 || rounds < 20 || snapshots > rounds / 2, "hardly any snapshot");
    assert!(load.answered() > rounds * 20, "hardly any load: {} commands", load.answered());
}
