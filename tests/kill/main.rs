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

mod client;
#[path = "../common/mod.rs"]
mod common;
mod observe;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use claimlog::history::{Crash, History, Op, Outcome, Report, Rules};
use client::{Histories, Worker};
use common::{Kind, Options, Rng, Server, env_u64, now_ms, seed, server};

const CLIENTS: u64 = 7;
const SHARED: &str = "shared";
const SNAPSHOT_LOG_BYTES: &str = "48k";

/// Whether a real Redis stands in for us, to prove the rest.
pub(crate) fn itself() -> u64 {
    static ITSELF: LazyLock<u64> = LazyLock::new(|| env_u64("CLAIMLOG_KILL_SELF", 0));
    *ITSELF
}

struct Load {
    workers: Vec<Worker>,
    histories: Histories,
}

impl Load {
    fn new(rng: &mut Rng) -> Self {
        let workers: Vec<Worker> = (0..CLIENTS).map(|at| Worker::new(at, SHARED, rng.next())).collect();
        // What stands in for us is a 7.0.
        let newer = itself() == 0;
        let rules = Rules { nothing_makes_consumers: newer, set_id_above_deleted: newer, ..Rules::default() };
        let keys = workers.iter().map(|worker| worker.key().clone()).chain([SHARED.into()]);
        let histories = keys.map(|key| (key, Mutex::new(History::new(rules)))).collect();
        Self { workers, histories }
    }

    /// The group that all work in.
    fn prepare(&mut self, server: &Server) {
        let create =
            Op::CreateGroup { key: SHARED.into(), group: "g".into(), at: Some(claimlog::EntryId::MIN) };
        let history = self.histories.get_mut(SHARED).unwrap().get_mut().unwrap();
        let call = history.call("setup", create.clone(), now_ms());
        let reply = server.client().call(&create.commands()[0]).unwrap();
        history.answer(call, wire::outcome(&create, &reply), now_ms());
        assert_eq!(wire::outcome(&create, &reply), Outcome::Ok);
    }

    /// Everybody works; after `length` the server is killed, or everybody told to stop.
    fn run(&mut self, server: &mut Server, length: Duration, kill: bool) {
        let (port, stop, histories) = (server.port, AtomicBool::new(false), &self.histories);
        std::thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| worker.work(port, histories, &stop));
            }
            std::thread::sleep(length);
            if kill {
                server.kill();
            }
            stop.store(true, Ordering::Relaxed);
        });
        if kill {
            for history in self.histories.values_mut() {
                history.get_mut().unwrap().crash(Crash::Strict, now_ms());
            }
        }
    }

    /// What is there, against all that was sent and told.
    fn check(&mut self, server: &Server) -> Result<(), String> {
        let mut client = server.client();
        for (key, history) in &mut self.histories {
            let history = history.get_mut().unwrap();
            let found = observe::observe(&mut client, key)?;
            history.observe(key, found, now_ms());
            history.check().map_err(|finding| format!("{key}:\n{finding}"))?;
            // Nothing that matters is out of sight here, and the past is long.
            history.settle();
        }
        Ok(())
    }

    fn answered(&self) -> u64 {
        self.workers.iter().map(|worker| worker.answered).sum()
    }

    fn report(&mut self) -> Report {
        let mut all = Report::default();
        for history in self.histories.values_mut() {
            let one = history.get_mut().unwrap().report();
            all.took_place += one.took_place;
            all.did_not += one.did_not;
            all.steps += one.steps;
        }
        all
    }
}

/// The bytes of the files in a folder.
fn bytes_below(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn what_was_answered_survives_kill_9() {
    let itself = itself();
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
    let mut load = Load::new(&mut rng);
    load.prepare(&server);
    let mut killed_in_recovery = 0;
    let mut longest_start = Duration::ZERO;
    let (mut snapshots, mut most_bytes) = (0, 0);
    for round in 0..rounds {
        // From the first moments of a fresh start to a well-filled pipe.
        let length = Duration::from_micros(rng.below(300_000));
        load.run(&mut server, length, kill);
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
        if let Err(what) = load.check(&server) {
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
        load.run(&mut server, Duration::from_millis(100), false);
        server.signal("TERM");
        let status = server.wait_exit(Duration::from_secs(10)).expect("SIGTERM ends it");
        assert!(status.success(), "SIGTERM ends with {status}:\n{}", server.output());
        let server = options.start();
        load.check(&server).unwrap_or_else(|what| panic!("after SIGTERM, CLAIMLOG_SEED={seed}: {what}"));
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
