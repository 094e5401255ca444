//! Everything at once, for as long as you like: a mixed load on a real disk with kill -9 and restarts in between, while
//! clients misbehave and settings change. Nothing that was answered may be lost, and memory, descriptors and disk must
//! not keep growing.
//!
//! - `CLAIMLOG_SOAK_SECONDS`: how long (8). Ten minutes, and a night:
//!   `CLAIMLOG_SOAK_SECONDS=600 cargo test --release --test soak -- --nocapture`
//! - `CLAIMLOG_SEED`: the seed, printed by every run. The load is random by seed; the moments are not.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

mod bell;
#[path = "../common/mod.rs"]
mod common;
// Clients that are judged by all that they were told.
#[path = "../kill/judged/mod.rs"]
mod judged;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bell::{Bell, Listeners};
use claimlog::history::Rules;
use common::abuse::{self, Abuse};
use common::usage::Usage;
use common::{Client, Kind, Options, Rng, Server, env_u64, seed};
use queue::{Ledger, Worker};

const STREAMS: [&str; 3] = ["jobs:a", "jobs:b", "jobs:c"];
const PRODUCERS: usize = 2;
const WORKERS: usize = 4;
const LISTENERS: usize = 40;
const JUDGED: u64 = 3;
const ABUSERS: usize = 2;
/// So many connections of abusers stay open at a time.
const ABUSED_MAX: usize = 50;

/// Settings that are changed all the time, and must not change what is promised.
const SETTINGS: [&str; 12] = [
    "CONFIG SET appendfsync always",
    "CONFIG SET appendfsync everysec",
    "CONFIG SET appendfsync no",
    "CONFIG SET maxmemory 1gb",
    "CONFIG SET maxmemory 0",
    "CONFIG SET client-output-buffer-limit 'normal 16mb 8mb 5'",
    "CONFIG SET client-output-buffer-limit 'normal 0 0 0'",
    "CONFIG SET client-query-buffer-limit 8mb",
    "CONFIG SET slowlog-log-slower-than 0",
    "CONFIG SET latency-tracking no",
    "CONFIG SET latency-tracking yes",
    "CONFIG SET tcp-keepalive 10",
];

struct Load {
    ledger: Ledger,
    bell: Bell,
    listeners: Listeners,
    judged: judged::Load,
    rng: Rng,
}

/// Runs something again and again, whatever breaks, until `stop`.
fn again(stop: &AtomicBool, mut once: impl FnMut()) {
    while !stop.load(Ordering::Relaxed) {
        once();
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Load {
    /// Everybody works, until `watch` says that it is enough; then the server is ended by `end`, under load.
    fn run(
        &mut self,
        server: &mut Server,
        watch: impl FnOnce(&Server, &Ledger),
        end: impl FnOnce(&mut Server),
    ) {
        let (port, stop) = (server.port, AtomicBool::new(false));
        let (ledger, bell, stop) = (&self.ledger, &self.bell, &stop);
        let rng = &mut self.rng;
        std::thread::scope(|scope| {
            let mut worker = |name: String, careless| Worker {
                ledger,
                streams: &STREAMS,
                name,
                rng: Rng::new(rng.next()),
                stop,
                careless,
            };
            for at in 0..PRODUCERS {
                let mut producer = worker(format!("p{at}"), false);
                scope.spawn(move || again(stop, || drop(producer.produce(port))));
            }
            for at in 0..WORKERS {
                let mut worker = worker(format!("w{at}"), true);
                scope.spawn(move || again(stop, || drop(worker.work(port))));
            }
            let mut reaper = worker("reaper".into(), false);
            scope.spawn(move || again(stop, || drop(reaper.reap(port))));
            scope.spawn(move || again(stop, || drop(bell.ring(port, ledger, stop))));
            let listeners = &mut self.listeners;
            scope.spawn(move || again(stop, || drop(listeners.listen(port, bell, ledger, stop))));
            self.judged.start(scope, port, stop);
            for _ in 0..ABUSERS {
                let rng = Rng::new(rng.next());
                scope.spawn(move || abuse_all(port, rng, stop));
            }
            let rng = Rng::new(rng.next());
            scope.spawn(move || change_settings(port, rng, stop));
            watch(server, ledger);
            end(server);
            stop.store(true, Ordering::Relaxed);
        });
        self.judged.lost();
    }

    /// With the server up again and nobody working: everything that was answered is there.
    fn check(&mut self, server: &Server) -> Result<(), String> {
        let mut client = server.client();
        client.set_patience(Duration::from_secs(60));
        self.ledger.check(&mut client, &STREAMS);
        let wrong = self.ledger.wrong.lock().unwrap();
        if !wrong.is_empty() {
            return Err(format!("{} wrong:\n  {}", wrong.len(), wrong.join("\n  ")));
        }
        self.judged.check(&mut client)
    }
}

fn abuse_all(port: u16, mut rng: Rng, stop: &AtomicBool) {
    let mut open = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let abuse = Abuse::ALL[rng.index(Abuse::ALL.len())];
        open.extend(abuse.commit(port, &mut rng));
        if open.len() > ABUSED_MAX {
            open.pop_front();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn change_settings(port: u16, mut rng: Rng, stop: &AtomicBool) {
    again(stop, || {
        let Ok(mut client) = Client::connect(port) else { return };
        for _ in 0..20 {
            let line = if rng.chance(10) { "BGSAVE" } else { rng.pick(&SETTINGS) };
            // A snapshot may be under way already.
            if client.call(&common::words(line)).is_err() || stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// Figures of the run: what the process took in each of its thirds at most.
struct Figures {
    started: Instant,
    length: Duration,
    thirds: [Usage; 3],
    said: Instant,
    said_answered: u64,
    every: Duration,
}

impl Figures {
    fn new(length: Duration) -> Self {
        let now = Instant::now();
        let every =
            if length < Duration::from_secs(60) { Duration::from_secs(2) } else { Duration::from_secs(10) };
        Self { started: now, length, thirds: [Usage::default(); 3], said: now, said_answered: 0, every }
    }

    fn take(&mut self, server: &Server, ledger: &Ledger) {
        let usage = Usage::of(server);
        let share = self.started.elapsed().as_secs_f64() / self.length.as_secs_f64();
        let third = &mut self.thirds[((share * 3.0) as usize).min(2)];
        *third = third.max(usage);
        let since = self.said.elapsed();
        if since >= self.every {
            let answered = ledger.answered.load(Ordering::Relaxed);
            println!(
                "{:>6.0} s: {:>6.0} commands/s, {:>4} MiB resident, {:>4} descriptors, log {:>4} MiB, snapshots {:>5} \
                 KiB; jobs: {} added, {} done, {} open",
                self.started.elapsed().as_secs_f64(),
                (answered - self.said_answered) as f64 / since.as_secs_f64(),
                usage.resident_bytes >> 20,
                usage.descriptors,
                usage.log_bytes >> 20,
                usage.snapshot_bytes >> 10,
                ledger.added.load(Ordering::Relaxed),
                ledger.done.load(Ordering::Relaxed),
                ledger.open_jobs(),
            );
            (self.said, self.said_answered) = (Instant::now(), answered);
        }
    }

    /// What kept growing from the first third to the last, with much room for chance.
    fn growth(&self) -> Result<(), String> {
        let [first, _, last] = self.thirds;
        for (what, first, last, slack) in [
            ("memory", first.resident_bytes, last.resident_bytes, 100 << 20),
            ("descriptors", first.descriptors, last.descriptors, 100),
            ("the disk", first.disk_bytes(), last.disk_bytes(), 300 << 20),
        ] {
            println!("{what}: {first} at most in the first third, {last} in the last");
            if last > first * 3 / 2 + slack {
                return Err(format!("{what} keeps growing: {first} in the first third, {last} in the last"));
            }
        }
        Ok(())
    }
}

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let length = Duration::from_secs(env_u64("CLAIMLOG_SOAK_SECONDS", 8));
    let seed = seed();
    println!("{length:?}; again with: CLAIMLOG_SEED={seed} cargo test --test soak");
    let mut rng = Rng::new(seed);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options =
        Options::new(Kind::Claimlog).dir(&home.path().join("data")).with("--snapshot-log-bytes", "8m");
    let mut server = options.start();
    let mut client = server.client();
    queue::prepare(&mut client, &STREAMS);
    abuse::prepare(&mut client);
    let mut load = Load {
        ledger: Ledger::default(),
        bell: Bell::default(),
        listeners: Listeners::new(LISTENERS),
        judged: judged::Load::new(JUDGED, "judged:", Rules::default(), &mut rng),
        rng: Rng::new(rng.next()),
    };
    load.judged.prepare(&server);
    let mut figures = Figures::new(length);
    // Long enough to leak, short enough for many ends.
    let epoch = (length / 12).clamp(Duration::from_secs(2), Duration::from_secs(300));
    let (mut killed, mut ended) = (0, 0);
    while figures.started.elapsed() < length {
        let until = Instant::now() + epoch.mul_f64(0.5 + rng.below(100) as f64 / 100.0);
        let politely = rng.chance(20);
        let mut exit = None;
        load.run(
            &mut server,
            |server, ledger| {
                while Instant::now() < until && ledger.wrong.lock().unwrap().is_empty() {
                    figures.take(server, ledger);
                    std::thread::sleep(Duration::from_millis(250));
                }
            },
            |server| {
                if politely {
                    server.signal("TERM");
                    exit = server.wait_exit(Duration::from_secs(60));
                } else {
                    server.kill();
                }
            },
        );
        if politely {
            assert!(exit.is_some_and(|status| status.success()), "{exit:?}: {}", server.output());
            ended += 1;
        } else {
            killed += 1;
        }
        assert!(!server.output().contains("warning"), "CLAIMLOG_SEED={seed}: {}", server.output());
        server = options.start();
        if let Err(what) = load.check(&server) {
            let (output, kept) = (server.output(), home.keep());
            panic!(
                "CLAIMLOG_SEED={seed}: {what}\n  data kept in {}\n  the server said:\n{output}",
                kept.display()
            );
        }
    }

    // What is left is worked off; nobody dies any more.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ledger, port) = (&load.ledger, server.port);
        let mut worker = |name: &str| Worker {
            ledger,
            streams: &STREAMS,
            name: name.into(),
            rng: Rng::new(rng.next()),
            stop: &stop,
            careless: false,
        };
        let (mut one, mut reaper) = (worker("last"), worker("reaper"));
        scope.spawn(move || drop(one.work(port)));
        scope.spawn(move || drop(reaper.reap(port)));
        let (mut client, end) = (server.client(), Instant::now() + Duration::from_secs(120));
        while queue::jobs_there(&mut client, &STREAMS) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    load.check(&server).unwrap_or_else(|what| panic!("at the end, CLAIMLOG_SEED={seed}: {what}"));
    let judged = load.judged.report();
    let ledger = &load.ledger;
    assert_eq!(ledger.open_jobs(), 0, "jobs were left: CLAIMLOG_SEED={seed}");
    let number = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{killed} kills, {ended} polite ends; {} commands answered; {} jobs added, {} done, {} of them claimed from \
         who had left them; {} rings heard; {} commands judged, and of \
         those that an end left without a reply {} took place and {} did not",
        number(&ledger.answered),
        number(&ledger.added),
        number(&ledger.done),
        number(&ledger.claimed),
        number(&load.bell.heard),
        load.judged.answered(),
        judged.took_place,
        judged.did_not,
    );
    assert!(number(&ledger.done) >= number(&ledger.added), "more were added than done");
    assert!(number(&ledger.claimed) > 0 && number(&load.bell.heard) > 0, "hardly any load");
    figures.growth().unwrap_or_else(|what| panic!("CLAIMLOG_SEED={seed}: {what}"));
}
