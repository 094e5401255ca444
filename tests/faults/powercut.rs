//! Power cuts under the real server on real sled: one run is recorded, and cut at any place of the record.
//!
//! What the disk then holds is worked out from the record ([`crate::disk`]), and a server is started on that. It must
//! open by itself and have all that was answered before the cut, and nothing that was not sent. One cut of four is
//! followed by another one while that server recovers.
//!
//! - `CLAIMLOG_POWERCUT_RUNS`: how many runs are recorded (1),
//! - `CLAIMLOG_POWERCUT_CUTS`: how many cuts are made in each (60),
//! - `CLAIMLOG_SEED`: the seed. It decides on commands and cuts; how threads take turns while a run is recorded is not
//!   repeated, so a directory that fails is kept, before and after.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{Rng, Server, env_u64, seed};
use crate::disk::{Cut, Disk, Said, records};
use crate::load::Load;
use crate::shim::{self, Shim};

const CLIENTS: usize = 3;

/// In memory if that can be: nothing is synced to a real disk here, and there are many.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { env!("CARGO_TARGET_TMPDIR").into() }
}

/// What the clients of a trace had said.
#[derive(Clone)]
struct Talk(Vec<(usize, usize)>);

impl Talk {
    fn hear(&mut self, said: Said) {
        match said {
            Said::Sent(client, number) => self.0[client].1 = self.0[client].1.max(number),
            Said::Answered(client, number) => {
                let (answered, sent) = &mut self.0[client];
                *answered = number;
                *sent = (*sent).max(number);
            }
        }
    }
}

/// A server under load, ended in several ways, all of it written down.
fn record(shim: &Shim, rng: &mut Rng) -> Load {
    // A start begins with a segment of 4 MiB, which is left behind in the course of each life.
    let mut load = Load::new(CLIENTS, rng.next(), 700).with_long_entries(90_000);
    let options = shim.traced().with("--snapshot-log-bytes", "16k");
    let trace = shim.trace();
    for life in 0..4 {
        let mut server = options.start();
        load.resume(&server, Some(&trace)).unwrap();
        // A sync takes some time, so that there are several commands in one.
        let kill = if life % 2 == 0 {
            format!("mutate * {} 1 kill\n", rng.between(100, 900))
        } else {
            String::new()
        };
        shim.rules(&format!("{kill}sync log/ 1 * sleep 1\n"));
        load.run(&server, 70, Some(&trace));
        if server.is_alive() {
            server.signal("TERM");
        }
        server.wait_exit(Duration::from_secs(20)).expect("it ends");
        shim.rules("");
    }
    let mut server = options.start();
    load.resume(&server, Some(&trace)).unwrap();
    server.signal("TERM");
    assert!(server.wait_exit(Duration::from_secs(20)).is_some_and(|status| status.success()));
    load
}

fn assert_same(real: &Path, worked_out: &Path) {
    let mut names: Vec<_> = fs::read_dir(real).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut others: Vec<_> =
        fs::read_dir(worked_out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    others.sort();
    assert_eq!(names, others, "in {}", real.display());
    for name in names {
        let (real, worked_out) = (real.join(&name), worked_out.join(&name));
        if real.is_dir() {
            assert_same(&real, &worked_out);
        } else {
            let (left, right) = (fs::read(&real).unwrap(), fs::read(&worked_out).unwrap());
            let differs = left.iter().zip(&right).position(|(left, right)| left != right);
            let lengths = (left.len(), right.len());
            assert!(left == right, "{}: {lengths:?}, the first difference at {differs:?}", real.display());
        }
    }
}

#[derive(Debug, Default)]
struct Sums {
    cuts: u64,
    second_cuts: u64,
    snapshots: u64,
    warnings: u64,
    torn: u64,
    fresh: u64,
}

struct Checker<'a> {
    load: &'a Load,
    sums: Sums,
    what: String,
}

impl Checker<'_> {
    fn failed(&self, shim: Shim, before: &Path, why: &str) -> ! {
        let kept = shim.keep();
        let copy = kept.join("as-the-power-cut-left-it");
        let _ = fs::rename(before, &copy);
        panic!("{}: {why}\n  kept in {}", self.what, kept.display());
    }

    /// Starts a server on what is in `shim`'s directory and looks; `traced`: writes down how it recovers.
    fn check(&mut self, shim: Shim, said: &[(usize, usize)], traced: bool) -> Shim {
        let before = tempfile::tempdir_in(place()).unwrap();
        crate::copy_tree(&shim.disk(), before.path());
        let options = if traced { shim.traced() } else { shim.plain() };
        let mut server = options.with("--snapshot-log-bytes", "16k").spawn();
        if let Err(why) = server.wait_until_ready(Duration::from_secs(30)) {
            self.failed(shim, before.path(), &why);
        }
        if let Err(why) = self.load.check(&server, said) {
            let output = server.output();
            drop(server);
            self.failed(shim, before.path(), &format!("{why}\n  the server said:\n{output}"));
        }
        let output = server.output();
        self.count(&output);
        if output.contains("panicked") || output.contains("bug") {
            self.failed(shim, before.path(), &output);
        }
        self.goes_on(&mut server, &shim);
        drop(server);
        shim
    }

    fn count(&mut self, output: &str) {
        self.sums.snapshots += u64::from(output.contains("snapshot a-") || output.contains("snapshot b-"));
        self.sums.torn += u64::from(output.contains("\ncut: "));
        self.sums.fresh += u64::from(output.contains("opening 1 in segment 1;"));
        if output.contains("warning") {
            self.sums.warnings += 1;
            if env_u64("CLAIMLOG_POWERCUT_SHOW", 0) > 0 {
                let lines: Vec<&str> = output.lines().filter(|line| line.contains("warning")).collect();
                println!("{}: {}", self.what, lines.join("\n"));
            }
        }
    }

    /// What was handed out is not handed out again, and it can be written to.
    fn goes_on(&self, server: &mut Server, shim: &Shim) {
        let mut client = server.client();
        for stream in &self.load.streams {
            let before = client.call(&["XINFO", "STREAM", &stream.key()]).unwrap();
            if before.is_error() {
                continue;
            }
            let last = before.get("last-generated-id").text();
            let id = client.call(&["XADD", &stream.key(), "*", "f", "v"]).unwrap().text();
            let parts = |id: &str| {
                id.split_once('-').map(|(ms, n)| (ms.parse::<u64>().unwrap(), n.parse::<u64>().unwrap()))
            };
            assert!(
                parts(&id) > parts(&last),
                "{}: {id} after {last}, in {}",
                self.what,
                shim.disk().display()
            );
        }
    }
}

/// A cut at one place of the trace, and sometimes another one while the next server recovers.
fn cut(checker: &mut Checker<'_>, disk: &Disk, rng: &mut Rng, talk: &Talk) {
    let how = Cut::any(rng, disk.now);
    let seed = seed();
    checker.what = format!("CLAIMLOG_SEED={seed}, cut at record {}, {how:?}", disk.now);
    checker.sums.cuts += 1;
    let shim = Shim::at(&place());
    disk.leave(&how, &shim.disk());
    if !rng.chance(25) {
        checker.check(shim, &talk.0, false);
        return;
    }
    let mut second = Disk::of(&shim.disk(), rng.chance(50));
    // It is killed somewhere on the way, or not at all.
    shim.rules(&format!("mutate * {} 1 kill\n", rng.between(1, 60)));
    let mut server = shim.traced().spawn();
    let _ = server.wait_until_ready(Duration::from_secs(30));
    drop(server);
    shim.rules("");
    let trace = fs::read(shim.trace()).unwrap_or_default();
    let all = records(&trace);
    let stop = rng.index(all.len() + 1);
    for record in &all[..stop] {
        second.play(record);
    }
    let how = Cut::any(rng, second.now);
    checker.what += &format!(", then at record {stop} of the recovery, {how:?}");
    checker.sums.second_cuts += 1;
    let shim = Shim::at(&place());
    second.leave(&how, &shim.disk());
    checker.check(shim, &talk.0, false);
}

fn run(rng: &mut Rng, cuts: u64) -> Sums {
    let shim = Shim::at(&place());
    let untouched = tempfile::tempdir_in(place()).unwrap();
    // The numbers of files are part of the trace, so these have to be the same.
    let mut disks: Vec<Disk> = [true, false].map(|counts| Disk::of(&shim.disk(), counts)).into();
    let load = record(&shim, rng);
    let trace = fs::read(shim.trace()).unwrap();
    let all = records(&trace);
    let mut places: Vec<u64> = (0..cuts).map(|_| rng.below(all.len() as u64 + 1)).collect();
    places.sort_unstable();
    let mut checker = Checker { load: &load, sums: Sums::default(), what: String::new() };
    let mut talk = Talk(vec![(0, 0); CLIENTS]);
    let mut next = places.into_iter().peekable();
    for at in 0..=all.len() {
        while next.next_if_eq(&(at as u64)).is_some() {
            let disk = &disks[rng.index(2)];
            cut(&mut checker, disk, rng, &talk);
        }
        if let Some(record) = all.get(at) {
            let said = disks.iter_mut().map(|disk| disk.play(record)).last().flatten();
            said.into_iter().for_each(|said| talk.hear(said));
        }
    }
    // The record is true: with nothing lost it gives what is there.
    let nothing_lost =
        Cut { bytes: crate::disk::Keep::Everything, names: crate::disk::Keep::Everything, salt: 0 };
    disks[0].leave(&nothing_lost, untouched.path());
    assert_same(&shim.disk(), untouched.path());
    let segments = all.iter().filter(|record| record[0] == 6 && record.ends_with(b".seg")).count();
    // How many there are depends on where the kills fell.
    assert!(segments >= 7, "{segments} segments were named, five of them by openings");
    println!("{} commands answered, {} records in the trace", load.answered(), all.len());
    checker.sums
}

#[test]
fn a_power_cut_anywhere() {
    if shim::skipped() {
        return;
    }
    let (runs, cuts, seed) =
        (env_u64("CLAIMLOG_POWERCUT_RUNS", 1), env_u64("CLAIMLOG_POWERCUT_CUTS", 60), seed());
    println!(
        "{runs} runs of {cuts} cuts; again with: CLAIMLOG_SEED={seed} cargo test --test faults a_power_cut_anywhere"
    );
    let mut rng = Rng::new(seed);
    let began = Instant::now();
    for _ in 0..runs {
        let sums = run(&mut rng, cuts);
        println!("{sums:?}; {:.1} s", began.elapsed().as_secs_f64());
        assert!(
            sums.cuts == cuts && (cuts < 50 || sums.snapshots > cuts / 4),
            "it must meet what it is about: {sums:?}"
        );
    }
}
