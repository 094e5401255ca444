//! The log on a simulated disk: crashes at every operation, damage in every place.
//!
//! Each random test prints its seed when it fails. To replay one:
//! `CLAIMLOG_SEED=<seed> cargo test --test wal`; to search further: `CLAIMLOG_SEED=1000..9000`.

use std::fmt::Write as _;
use std::sync::Arc;

use claimlog::Seq;
use claimlog::io::Dir;
use claimlog::io::real::RealDir;
use claimlog::io::sim::{CrashStyle, SimDisk, SimRng};
use claimlog::wal::{
    Buffer, LogError, LogOptions, OpenError, Opened, Replay, Report, Room, Spares, Use, Writer, open,
};

/// Small segments, so that short runs cross many.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 4096,
    alignment: 512,
    max_batch_bytes: 64 * 1024,
    spares: 1,
    saved: Seq::ZERO,
    read_ahead: false,
    new_store_id: || *b"sixteen bytes id",
};

fn seeds(default: std::ops::Range<u64>) -> Vec<u64> {
    let number = |text: &str| text.parse().expect("CLAIMLOG_SEED is a number, or two with .. between them");
    match std::env::var("CLAIMLOG_SEED") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => (number(from)..number(to)).collect(),
            None => vec![number(&text)],
        },
        Err(_) => default.collect(),
    }
}

/// What batch `seq` holds: anyone can tell whether it is the right one.
fn content(seq: u64, bytes: usize) -> Vec<u8> {
    let mut rng = SimRng::new(seq);
    let mut content = format!("batch {seq} of {bytes} bytes:").into_bytes();
    content.resize_with(bytes.max(content.len()), || rng.next_u64().to_le_bytes()[0]);
    content
}

/// Collects what is replayed and checks that it is in order.
#[derive(Default)]
struct Collect {
    base: u64,
    batches: Vec<Vec<u8>>,
}

impl Replay for Collect {
    fn batch(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), String> {
        assert_eq!(seq.get(), self.base + self.batches.len() as u64 + 1, "batches come in order");
        self.batches.push(bytes.to_vec());
        Ok(())
    }
}

fn reopen(disk: &SimDisk, base: u64, proven: u64) -> Result<(Opened, Vec<Vec<u8>>), OpenError> {
    let mut found = Collect { base, batches: Vec::new() };
    let opened = open(&disk.dir(), &OPTIONS, Seq::new(base), Seq::new(proven), &mut found)?;
    assert_eq!(opened.report.batches, found.batches.len() as u64);
    assert_eq!(opened.buffer.next_seq().get(), base + found.batches.len() as u64 + 1);
    Ok((opened, found.batches))
}

/// A log in use, and what it has promised.
struct Run {
    buffer: Buffer,
    writer: Writer,
    spares: Arc<Spares>,
    ledger: Ledger,
}

/// What was appended and what was promised, over all lives of a store.
#[derive(Clone, Default)]
struct Ledger {
    /// Batch n is at n - 1.
    appended: Vec<Vec<u8>>,
    acknowledged: u64,
    /// The snapshot: what is up to here may be cut from the log.
    base: u64,
}

impl Ledger {
    /// Checks what an opening found, and takes it for what there is.
    fn check(&mut self, found: &[Vec<u8>], context: &str) {
        let last = self.base + found.len() as u64;
        assert!(
            last >= self.acknowledged,
            "batch {} is lost, {last} is the last: {context}",
            self.acknowledged
        );
        assert!(last <= self.appended.len() as u64, "batch {last} was never appended: {context}");
        for (at, batch) in found.iter().enumerate() {
            let at = at + self.base as usize;
            assert!(*batch == self.appended[at], "batch {} is another: {context}", at + 1);
        }
        self.appended.truncate(last as usize);
        // What a restarted store serves it must never lose again.
        self.acknowledged = last;
    }
}

impl Run {
    fn start(disk: &SimDisk, mut ledger: Ledger, context: &str) -> Result<Self, Ledger> {
        match reopen(disk, ledger.base, ledger.base) {
            Ok((Opened { buffer, writer, spares, .. }, found)) => {
                ledger.check(&found, context);
                Ok(Self { buffer, writer, spares, ledger })
            }
            Err(e) if disk.crashed() => {
                assert!(matches!(e, OpenError::Io { .. }), "{e}: {context}");
                Err(ledger)
            }
            Err(e) => panic!("{e}: {context}{}", describe(disk)),
        }
    }

    fn append(&mut self, bytes: usize) {
        assert!(self.try_append(bytes).expect("no fault"), "there is room");
    }

    /// Says whether there was room.
    fn try_append(&mut self, bytes: usize) -> Result<bool, LogError> {
        let batch_bytes = content(self.buffer.next_seq().get(), bytes).len();
        while self.buffer.room(batch_bytes, Use::Adds) == Room::NotYet {
            self.spares.make()?;
        }
        if self.buffer.room(batch_bytes, Use::Adds) == Room::Full {
            return Ok(false);
        }
        self.put(bytes);
        Ok(true)
    }

    /// Appends a little, if that needs nothing.
    fn put_if_room(&mut self) {
        if self.buffer.room(content(self.buffer.next_seq().get(), 10).len(), Use::Frees) == Room::Yes {
            self.put(10);
        }
    }

    fn put(&mut self, bytes: usize) {
        let batch = content(self.buffer.next_seq().get(), bytes);
        let seq = self.buffer.append(&batch);
        self.ledger.appended.push(batch);
        assert_eq!(seq.get(), self.ledger.appended.len() as u64);
    }

    fn commit(&mut self, sync: bool) -> Result<(), LogError> {
        let chunk = self.buffer.take();
        let (written, spent) = self.writer.write(chunk, sync)?;
        self.buffer.recycle(spent);
        assert_eq!(written.last.next(), self.buffer.next_seq());
        assert!(!sync || written.durable == written.last);
        self.ledger.acknowledged = self.ledger.acknowledged.max(written.durable.get());
        Ok(())
    }

    fn mark(&mut self) -> Result<(), LogError> {
        self.buffer.mark(self.writer.written().durable);
        self.commit(false)
    }

    fn make(&self) -> Result<(), LogError> {
        self.spares.retry()
    }

    /// A snapshot of something durable, and a cut.
    fn cut(&mut self, rng: &mut SimRng) {
        let durable = self.writer.written().durable.get();
        self.ledger.base += rng.below(durable - self.ledger.base + 1);
        let segments = self.writer.cut(Seq::new(self.ledger.base));
        self.spares.retire(&segments);
    }

    /// One random step.
    fn step(&mut self, rng: &mut SimRng) -> Result<(), LogError> {
        match rng.below(14) {
            0..=3 => drop(self.try_append(rng.below(300) as usize)?),
            4 => drop(self.try_append(rng.below(3000) as usize)?),
            5 if rng.one_in(4) => drop(self.try_append(5000 + rng.below(9000) as usize)?),
            6..=8 => self.commit(true)?,
            9 => self.commit(false)?,
            10 => self.mark()?,
            11 => {
                let job = self.writer.sync_job();
                let durable = job.run()?;
                self.writer.synced(durable);
                self.ledger.acknowledged = self.ledger.acknowledged.max(durable.get());
            }
            12 if rng.one_in(3) => self.cut(rng),
            _ => self.make()?,
        }
        Ok(())
    }
}

/// One life: some random steps, then the end by a crash (if the disk is set to have one) or a close.
fn live(disk: &SimDisk, ledger: Ledger, seed: u64, steps: u64, context: &str) -> Ledger {
    let mut rng = SimRng::new(seed);
    let mut run = match Run::start(disk, ledger, context) {
        Ok(run) => run,
        Err(ledger) => return ledger,
    };
    for _ in 0..steps {
        if let Err(e) = run.step(&mut rng) {
            assert!(disk.crashed(), "{e}: {context}");
            return run.ledger;
        }
    }
    let Run { buffer, writer, mut ledger, .. } = run;
    match writer.close(buffer) {
        Ok(written) => ledger.acknowledged = written.durable.get(),
        Err(e) => assert!(disk.crashed(), "{e}: {context}"),
    }
    ledger
}

/// The files and what their headers say, for whoever has to find out what went wrong.
fn describe(disk: &SimDisk) -> String {
    let mut text = String::new();
    for path in disk.files() {
        let bytes = disk.read_file(&path).unwrap_or_default();
        let number = |at: usize| {
            let raw = bytes.get(at..at + 8).and_then(|raw| raw.try_into().ok());
            raw.map_or(0, u64::from_le_bytes)
        };
        let _ = write!(text, "\n  {path}: {} bytes", bytes.len());
        if bytes.starts_with(b"claimseg") {
            let (epoch, ordinal, first, durable) = (number(32), number(40), number(48), number(56));
            let _ = write!(text, ", epoch {epoch}, ordinal {ordinal}, first {first}, durable {durable}");
            if bytes[76] & 1 != 0 {
                let (segment, offset, batch) = (number(80), number(88), number(96));
                let _ = write!(text, ", opening after segment {segment}, offset {offset}, batch {batch}");
            }
        }
    }
    text
}

/// Opens and must succeed; returns the report.
fn recover(disk: &SimDisk, ledger: &mut Ledger, context: &str) -> Report {
    match reopen(disk, ledger.base, ledger.base) {
        Ok((opened, found)) => {
            ledger.check(&found, context);
            opened.report
        }
        Err(e) => panic!("{e}: {context}{}", describe(disk)),
    }
}

#[test]
fn a_crash_at_every_operation_and_another_at_every_operation_of_the_recovery() {
    for seed in seeds(0..6) {
        let mut first = SimDisk::new(seed);
        let before = live(&first, Ledger::default(), seed, 25, "first life");
        first = first.fork();
        let crowd = first.fork();
        let start = crowd.ops();
        live(&crowd, before.clone(), seed + 1, 40, "second life, no crash");
        let ops = crowd.ops() - start;
        for at in 1..=ops + 1 {
            let disk = first.fork();
            disk.crash_at(start + at);
            let after = live(&disk, before.clone(), seed + 1, 40, "second life");
            for style in CrashStyle::ALL {
                let crash_seed = seed * 1_000_003 + at;
                let context = format!("CLAIMLOG_SEED={seed}, crash at {at} of {ops}, {style:?}");
                let crashed = disk.after_crash(crash_seed, style);
                crash_recovery(&crashed, &after, crash_seed, &context);
            }
        }
    }
}

/// Recovers; recovers with a crash at every operation, and again after that.
fn crash_recovery(crashed: &SimDisk, ledger: &Ledger, seed: u64, context: &str) {
    let whole = crashed.fork();
    let mut after = ledger.clone();
    recover(&whole, &mut after, context);
    let again = recover(&whole, &mut after, context);
    assert_eq!((again.rewritten, again.cut), (0, None), "a second opening copies nothing: {context}");
    let ops = whole.ops();
    for at in 1..=ops {
        let disk = crashed.fork();
        disk.crash_at(at);
        let mut ledger = ledger.clone();
        let mut served = false;
        if let Ok((_, found)) = reopen(&disk, ledger.base, ledger.base) {
            ledger.check(&found, context);
            served = true;
        }
        assert!(disk.crashed() || served);
        let style = CrashStyle::ALL[SimRng::new(seed + at).below(5) as usize];
        let context = format!("{context}, then crash at {at} of the recovery's {ops}, {style:?}");
        let twice = disk.after_crash(seed + at, style);
        recover(&twice, &mut ledger, &context);
        let again = recover(&twice, &mut ledger, &context);
        assert_eq!((again.rewritten, again.cut), (0, None), "a third opening copies nothing: {context}");
    }
}

#[test]
fn many_lives_with_random_crashes() {
    for seed in seeds(0..300) {
        let mut rng = SimRng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut ledger = Ledger::default();
        for life in 0..12 {
            let context = format!("CLAIMLOG_SEED={seed}, life {life}");
            let steps = rng.below(60);
            disk.crash_at(disk.ops() + 1 + rng.below(steps * 2 + 20));
            ledger = live(&disk, ledger, rng.next_u64(), steps, &context);
            let style = CrashStyle::ALL[rng.below(5) as usize];
            disk = disk.after_crash(rng.next_u64(), style);
        }
        recover(&disk, &mut ledger, &format!("CLAIMLOG_SEED={seed}, end"));
    }
}

/// What a killed opening had done is in the page cache: the next opening builds on it, and then the power
/// fails.
#[test]
fn an_opening_killed_at_every_operation_and_a_power_cut_at_every_operation_of_the_next() {
    for seed in seeds(0..4) {
        let disk = SimDisk::new(seed);
        let ledger = live_without_cut(&disk, Ledger::default(), seed, false);
        let killed = disk.after_crash(seed, CrashStyle::Killed);
        let openings = |disk: &SimDisk, ledger: &mut Ledger| {
            let whole = disk.fork();
            recover(&whole, ledger, "no crash");
            whole.ops() - disk.ops()
        };
        let ops = openings(&killed, &mut ledger.clone());
        for at in 1..=ops {
            let first = killed.fork();
            first.crash_at(at);
            // An old segment that could not be removed is no failure.
            let _ = reopen(&first, 0, 0);
            assert!(first.crashed());
            let first = first.after_crash(seed, CrashStyle::Killed);
            let ops = openings(&first, &mut ledger.clone());
            for then in 1..=ops {
                let second = first.fork();
                second.crash_at(then);
                let _ = reopen(&second, 0, 0);
                assert!(second.crashed());
                for (round, style) in (0..8).flat_map(|round| CrashStyle::ALL.map(|style| (round, style))) {
                    let found = second.after_crash(seed * 100 + round, style);
                    let context = format!(
                        "CLAIMLOG_SEED={seed}, killed at {at}, power cut at {then}, {style:?}, {round}"
                    );
                    recover(&found, &mut ledger.clone(), &context);
                }
            }
        }
    }
}

#[test]
fn a_new_store_needs_no_human_whenever_it_dies() {
    let whole = SimDisk::new(0);
    live(&whole, Ledger::default(), 0, 0, "no crash");
    for at in 1..=whole.ops() {
        for style in CrashStyle::ALL {
            for seed in 0..10 {
                let disk = SimDisk::new(seed);
                disk.crash_at(at);
                let ledger = live(&disk, Ledger::default(), 0, 0, "creation");
                let context = format!("crash at {at}, {style:?}, seed {seed}");
                crash_recovery(&disk.after_crash(seed, style), &ledger, seed, &context);
            }
        }
    }
}

/// A store that lived three times, and everything about it acknowledged: a clean close, a kill with a tail
/// that nothing proves, a clean close.
fn three_lives(seed: u64) -> (SimDisk, Ledger) {
    let disk = SimDisk::new(seed);
    let ledger = live_without_cut(&disk, Ledger::default(), seed, true);
    let ledger = live_without_cut(&disk, ledger, seed + 1, false);
    let disk = disk.after_crash(seed, CrashStyle::Killed);
    let ledger = live_without_cut(&disk, ledger, seed + 2, true);
    (disk.after_crash(seed, CrashStyle::Kept), ledger)
}

fn live_without_cut(disk: &SimDisk, ledger: Ledger, seed: u64, close: bool) -> Ledger {
    let mut rng = SimRng::new(seed);
    let Ok(mut run) = Run::start(disk, ledger, "no crash here") else { unreachable!("nothing crashes") };
    for step in 0..12 {
        run.append(if step == 6 { 5000 } else { rng.below(1200) as usize });
        if rng.one_in(2) {
            run.append(rng.below(40) as usize);
        }
        run.commit(!rng.one_in(3)).expect("no fault");
        if rng.one_in(3) {
            run.mark().expect("no fault");
        }
    }
    if close {
        run.ledger.acknowledged = run.writer.close(run.buffer).expect("no fault").durable.get();
    }
    run.ledger
}

/// The newest segment that is in use: the one file whose earlier state can't be told from loss.
fn newest_segment(disk: &SimDisk) -> String {
    let in_use = |path: &String| {
        let bytes = disk.read_file(path).expect("it is listed");
        let ordinal = path.trim_start_matches("log/").trim_end_matches(".seg").parse::<u64>();
        ordinal.is_ok_and(|ordinal| bytes.starts_with(b"claimseg") && bytes[40..48] == ordinal.to_le_bytes())
    };
    disk.files().into_iter().filter(in_use).max().expect("a log has a segment")
}

/// Opens a damaged store: it must give everything that was acknowledged, or name the file and open nothing.
fn expect_all_or_named(disk: &SimDisk, ledger: &Ledger, path: &str, context: &str) -> bool {
    let before: Vec<_> = disk.files().into_iter().map(|path| (disk.read_file(&path), path)).collect();
    match reopen(disk, ledger.base, ledger.base) {
        Ok((_, found)) => {
            ledger.clone().check(&found, context);
            recover(disk, &mut ledger.clone(), context);
            true
        }
        Err(OpenError::Damage(damage)) => {
            let name = path.trim_start_matches("log/");
            assert!(damage.to_string().contains(name), "the file is named: {damage}: {context}");
            for (bytes, path) in before {
                assert!(bytes.ok() == disk.read_file(&path).ok(), "{path} was touched: {context}");
            }
            false
        }
        Err(e) => panic!("{e}: {context}"),
    }
}

#[test]
fn a_flipped_byte_anywhere_is_harmless_or_named() {
    for seed in seeds(0..3) {
        let (disk, ledger) = three_lives(seed);
        let mut rng = SimRng::new(seed);
        let (mut harmless, mut named) = (0, 0);
        for path in disk.files() {
            let bytes = disk.read_file(&path).expect("it is listed").len() as u64;
            let mut at = 0;
            while at < bytes {
                let hurt = disk.fork();
                hurt.corrupt(&path, at, 1 << rng.below(8)).expect("within the file");
                let context = format!("CLAIMLOG_SEED={seed}, {path} at {at}");
                if expect_all_or_named(&hurt, &ledger, &path, &context) {
                    harmless += 1;
                } else {
                    named += 1;
                }
                at += if at % 512 < 128 { 1 } else { 1 + rng.below(60) };
            }
        }
        assert!(harmless > 100 && named > 100, "{harmless} harmless, {named} named");
    }
}

#[test]
fn a_lost_or_foreign_block_anywhere_is_harmless_or_named() {
    for seed in seeds(0..12) {
        let (disk, ledger) = three_lives(seed);
        let mut rng = SimRng::new(seed);
        for path in disk.files() {
            let bytes = disk.read_file(&path).expect("it is listed");
            for (block, content) in bytes.chunks(512).enumerate() {
                for kind in ["zeros", "junk", "block 1 of it"] {
                    let mut hurt_bytes = bytes.clone();
                    let target = &mut hurt_bytes[block * 512..block * 512 + content.len()];
                    match kind {
                        "zeros" => target.fill(0),
                        "junk" => target.fill_with(|| rng.next_u64().to_le_bytes()[0]),
                        _ if bytes.len() < 1024 => continue,
                        _ => target.copy_from_slice(&bytes[512..1024]),
                    }
                    let hurt = disk.fork();
                    hurt.write_file(&path, &hurt_bytes);
                    let context = format!("CLAIMLOG_SEED={seed}, {path}, block {block} is {kind}");
                    expect_all_or_named(&hurt, &ledger, &path, &context);
                }
            }
        }
    }
}

#[test]
fn a_shortened_zeroed_deleted_or_exchanged_file_is_harmless_or_named() {
    for seed in seeds(0..12) {
        let (disk, ledger) = three_lives(seed);
        let newest = newest_segment(&disk);
        for path in disk.files() {
            let bytes = disk.read_file(&path).expect("it is listed");
            let check = |kind: &str, change: &dyn Fn(&SimDisk)| {
                let hurt = disk.fork();
                change(&hurt);
                let context = format!("CLAIMLOG_SEED={seed}, {path}: {kind}");
                expect_all_or_named(&hurt, &ledger, &path, &context);
            };
            check("deleted", &|hurt| hurt.remove_file(&path).expect("it is there"));
            for length in (0..bytes.len()).step_by(256) {
                check(&format!("shortened to {length}"), &|hurt| hurt.write_file(&path, &bytes[..length]));
                if path != newest {
                    let mut zeroed = bytes.clone();
                    zeroed[length..].fill(0);
                    check(&format!("zeros from {length}"), &|hurt| hurt.write_file(&path, &zeroed));
                }
            }
            for other in disk.files() {
                if path != newest {
                    let foreign = disk.read_file(&other).expect("it is listed");
                    check(&format!("replaced by {other}"), &|hurt| hurt.write_file(&path, &foreign));
                }
            }
        }
    }
}

#[test]
fn what_a_snapshot_holds_is_not_needed_and_what_it_proves_is() {
    let (disk, mut ledger) = three_lives(1);
    let first = disk.files().into_iter().find(|path| path.starts_with("log/")).expect("a log has segments");
    let last = ledger.appended.len() as u64;
    ledger.base = last - 1;
    disk.remove_file(&first).expect("it is there");
    let (_, found) = reopen(&disk.fork(), last - 1, last).expect("the snapshot holds the rest");
    assert_eq!(found, [ledger.appended[last as usize - 1].clone()]);
    let (opened, found) = reopen(&disk.fork(), last, last).expect("the snapshot holds everything");
    assert_eq!((found.len(), opened.buffer.next_seq().get()), (0, last + 1));
    assert_eq!(label(reopen(&disk.fork(), last, last + 1)), "proven-by-snapshot");
    assert_eq!(label(reopen(&disk.fork(), last + 1, last + 1)), "proven-by-snapshot");
    assert_eq!(label(reopen(&disk, 0, 0)), "start-missing");
}

fn label(outcome: Result<(Opened, Vec<Vec<u8>>), OpenError>) -> &'static str {
    match outcome {
        Ok((opened, _)) => opened.report.cut.map_or("sound", |cut| cut.case.label),
        Err(OpenError::Damage(damage)) => damage.case.label,
        Err(e) => panic!("{e}"),
    }
}

/// A store with four batches in segment 1 and two in segment 2, each in a frame of two blocks, and what else
/// `then` does to it.
fn small(then: impl FnOnce(&SimDisk, Run)) -> SimDisk {
    let disk = SimDisk::new(0);
    let Ok(mut run) = Run::start(&disk, Ledger::default(), "no crash here") else {
        unreachable!("nothing crashes")
    };
    for _ in 0..6 {
        run.append(500);
        run.commit(true).expect("no fault");
    }
    then(&disk, run);
    disk.after_crash(0, CrashStyle::Kept)
}

fn segment(ordinal: u64) -> String {
    format!("log/{ordinal:010}.seg")
}

/// The offsets of the frames (sound or not) in a segment.
fn frames(disk: &SimDisk, path: &str) -> Vec<u64> {
    let bytes = disk.read_file(path).expect("it is there");
    (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"CLFR")).map(|at| at as u64).collect()
}

#[test]
fn each_row_of_the_table_is_met() {
    let closed = || small(|_, run| assert!(run.writer.close(run.buffer).is_ok()));
    let dropped = || small(|_, run| drop(run));
    let hurt = |disk: SimDisk, path: &str, at: u64| {
        disk.corrupt(path, at, 1).expect("within the file");
        label(reopen(&disk, 0, 0))
    };
    let newest = newest_segment(&closed());
    assert_eq!(newest, segment(2));
    let last = |disk: &SimDisk| frames(disk, &newest);

    assert_eq!(label(reopen(&closed(), 0, 0)), "sound");
    assert_eq!(label(reopen(&dropped(), 0, 0)), "sound");
    // The last frame, with and without a mark behind it.
    let frame = *last(&dropped()).last().expect("it has frames");
    assert_eq!(hurt(dropped(), &newest, frame + 100), "torn-tail");
    assert_eq!(hurt(closed(), &newest, frame + 100), "proven-by-mark");
    assert_eq!(hurt(closed(), &newest, frame), "proven-by-mark");
    assert_eq!(hurt(closed(), &newest, 0), "proven-by-mark");
    assert_eq!(hurt(closed(), &segment(1), 512 + 100), "proven-by-segment");
    assert_eq!(hurt(closed(), &segment(1), 100), "segment-header");
    assert_eq!(hurt(closed(), "STORE", 20), "store-damaged");

    let torn_start = closed();
    let mut bytes = torn_start.read_file(&newest).expect("it is there");
    bytes[..512].fill(0);
    bytes[512 + 1024..].fill(0);
    torn_start.write_file(&newest, &bytes);
    assert_eq!(label(reopen(&torn_start, 0, 0)), "torn-start");

    let removed = |path: &str| {
        let disk = closed();
        disk.remove_file(path).expect("it is there");
        label(reopen(&disk, 0, 0))
    };
    assert_eq!(removed("STORE"), "store-missing");
    assert_eq!(removed(&newest), "segment-missing");
    let emptied = closed();
    for path in emptied.files().iter().filter(|path| path.starts_with("log/")) {
        emptied.remove_file(path).expect("it is there");
    }
    assert_eq!(label(reopen(&emptied, 0, 0)), "log-missing");

    let shortened = closed();
    shortened.write_file(&newest, &bytes[..2048]);
    let mut whole = closed().read_file(&newest).expect("it is there");
    whole.truncate(3000);
    shortened.write_file(&newest, &whole);
    assert_eq!(label(reopen(&shortened, 0, 0)), "segment-short");

    // A second opening names the end of the first.
    let opened_again = || {
        let disk = closed();
        drop(reopen(&disk, 0, 0).expect("it is sound"));
        disk
    };
    assert_eq!(hurt(opened_again(), &newest, frame + 100), "proven-by-opening");
    let third = newest_segment(&opened_again());
    assert_eq!(hurt(opened_again(), &third, 10), "epoch-missing");
    let rolled_back = opened_again();
    rolled_back.remove_file(&third).expect("it is there");
    assert_eq!(label(reopen(&rolled_back, 0, 0)), "epoch-missing");

    let foreign = closed();
    let other = SimDisk::new(0);
    let options = LogOptions { new_store_id: || *b"another 16 bytes", ..OPTIONS };
    drop(open(&other.dir(), &options, Seq::ZERO, Seq::ZERO, &mut Collect::default()).expect("it is new"));
    foreign.write_file(&segment(1), &other.read_file(&segment(1)).expect("it is there"));
    assert_eq!(label(reopen(&foreign, 0, 0)), "segment-foreign");

    assert_eq!(label(reopen(&closed(), 0, 7)), "proven-by-snapshot");
    // Sound checksums around nonsense: no accident makes that.
    let first = closed().read_file(&segment(1)).expect("it is there");
    let header = |at: usize, change: fn(&mut [u8])| {
        let mut bytes = first.clone();
        change(&mut bytes[at..at + 48]);
        let salt = [&first[16..32], &first[32..48]].concat();
        let crc = crc32fast::hash(&[&salt[..], &bytes[at + 8..at + 48]].concat());
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        let disk = closed();
        disk.write_file(&segment(1), &bytes);
        label(reopen(&disk, 0, 0))
    };
    assert_eq!(header(512, |_| ()), "sound");
    assert_eq!(header(1536, |frame| frame[16] += 1), "out-of-order");
    assert_eq!(header(1536, |frame| frame[40] += 1), "malformed");
    // Cut below what the only snapshot reaches.
    let cut = small(|disk, mut run| {
        let segments = run.writer.cut(Seq::new(4));
        assert_eq!(segments.len(), 1);
        run.spares.retire(&segments);
        run.make().expect("no fault");
        assert!(!disk.files().contains(&segment(1)));
    });
    assert_eq!(label(reopen(&cut, 4, 4)), "sound");
    assert_eq!(label(reopen(&cut, 3, 3)), "start-missing");
    assert_eq!(label(reopen(&SimDisk::new(0), 0, 1)), "log-missing");
    struct Refuses;
    impl Replay for Refuses {
        fn batch(&mut self, seq: Seq, _: &[u8]) -> Result<(), String> {
            if seq.get() == 4 { Err("four is too many".into()) } else { Ok(()) }
        }
    }
    let error = open(&closed().dir(), &OPTIONS, Seq::ZERO, Seq::ZERO, &mut Refuses).expect_err("it refuses");
    let text = error.to_string();
    assert!(
        text.contains("[does-not-apply]") && text.contains("batch 4") && text.contains("four is"),
        "{text}"
    );
}

#[test]
fn a_failed_sync_or_write_is_final_and_loses_nothing_acknowledged() {
    for seed in seeds(0..200) {
        let context = format!("CLAIMLOG_SEED={seed}");
        let disk = SimDisk::new(seed);
        let mut rng = SimRng::new(seed);
        let Ok(mut run) = Run::start(&disk, Ledger::default(), &context) else { unreachable!("no crash") };
        let sync = rng.one_in(2);
        let fault = |n| if sync { disk.fail_sync(n, false) } else { disk.fail_write(n) };
        fault(1 + rng.below(20));
        let mut failed = None;
        for _ in 0..80 {
            // The fault may fall on a segment that is being made: that is no room, and not the end.
            if !run.try_append(rng.below(1000) as usize).expect("making a segment is not final") {
                assert!(run.spares.no_room().is_some_and(|why| why.contains("simulated")), "{context}");
                fault(1);
                run.put_if_room();
            }
            if let Err(e) = run.commit(!rng.one_in(3)) {
                failed = Some(e.to_string());
                break;
            }
            if run.spares.no_room().is_some() {
                run.make().expect("making a segment is not final");
            }
        }
        let failed = failed.expect("the fault comes within 80 steps");
        let ops = disk.ops();
        run.put_if_room();
        assert_eq!(run.commit(true).expect_err("final").to_string(), failed);
        assert_eq!(run.writer.sync().expect_err("final").to_string(), failed);
        assert_eq!(run.writer.sync_job().run().expect_err("final").to_string(), failed);
        assert_eq!(disk.ops(), ops, "nothing is tried again: {context}");
        let ledger = run.ledger;
        for style in CrashStyle::ALL {
            let crashed = disk.after_crash(seed, style);
            crash_recovery(&crashed, &ledger, seed, &format!("{context}, {style:?}"));
        }
    }
}

#[test]
fn a_full_disk_opens_with_a_small_segment() {
    let disk = small(|_, run| assert!(run.writer.close(run.buffer).is_ok()));
    disk.set_capacity(Some(disk.used() + 3000));
    let (mut opened, found) = reopen(&disk, 0, 0).expect("there is room for what must be written");
    assert_eq!(found.len(), 6);
    for used_for in [Use::Adds, Use::Frees] {
        assert_eq!(opened.buffer.room(100, used_for), Room::NotYet);
        opened.spares.make().expect("no room is no failure");
        assert_eq!(opened.buffer.room(100, used_for), Room::Full);
        opened.spares.space_was_freed();
    }
    disk.set_capacity(None);
    opened.spares.retry().expect("there is room again");
    assert_eq!(opened.buffer.room(100, Use::Frees), Room::Yes);
    opened.buffer.append(b"later");
    opened.writer.write(opened.buffer.take(), true).expect("there is room again");
}

/// Where there is room for a segment and then none for `STORE`, what an opening before has left makes room.
#[test]
fn openings_on_a_disk_that_is_nearly_full_do_not_fill_it() {
    let disk = small(|_, run| assert!(run.writer.close(run.buffer).is_ok()));
    // So that nothing is too long any more, which would be shortened first.
    disk.set_capacity(Some(disk.used() + 2000));
    drop(reopen(&disk, 0, 0).expect("there is room"));
    let mut opened = 0;
    for free in (0..4000).step_by(16) {
        let disk = disk.fork();
        disk.set_capacity(Some(disk.used() + free));
        for _ in 0..3 {
            match reopen(&disk, 0, 0) {
                Ok((_, found)) => opened += u32::from(found.len() == 6),
                Err(error) => assert!(error.to_string().contains("the new segment"), "{free} free: {error}"),
            }
        }
    }
    // What is idle makes room for `STORE` after the segment: without that it would be fewer.
    assert!(opened >= 462, "it opened {opened} times");
}

#[test]
fn what_an_opening_wrote_again_is_proven_by_its_header() {
    let killed = small(|_, run| drop(run));
    drop(reopen(&killed, 0, 0).expect("it is sound"));
    let newest = newest_segment(&killed);
    let rewritten = frames(&killed, &newest);
    assert_eq!(rewritten.len(), 1, "the last commit, which no mark had proven");
    assert_eq!(label(reopen(&killed.fork(), 0, 0)), "sound");
    killed.corrupt(&newest, rewritten[0] + 60, 1).expect("within the file");
    assert_eq!(label(reopen(&killed, 0, 0)), "proven-by-mark");
}

#[test]
fn an_old_end_that_is_sound_but_another_one_is_noticed() {
    let disk = small(|_, run| assert!(run.writer.close(run.buffer).is_ok()));
    let old = newest_segment(&disk);
    drop(reopen(&disk, 0, 0).expect("it is sound"));
    let mut bytes = disk.read_file(&old).expect("it is there");
    let at = frames(&disk, &old).last().map_or(0, |at| *at as usize);
    let payload_bytes = u32::from_le_bytes([bytes[at + 32], bytes[at + 33], bytes[at + 34], bytes[at + 35]]);
    bytes[at + 48 + 100] ^= 1;
    let salt = bytes[16..48].to_vec();
    let crc = |parts: &[&[u8]]| crc32fast::hash(&[&salt[..], &parts.concat()[..]].concat()).to_le_bytes();
    let payload = &bytes[at + 48..at + 48 + payload_bytes as usize];
    let payload_crc = crc(&[&(at as u64).to_le_bytes(), payload]);
    bytes[at + 36..at + 40].copy_from_slice(&payload_crc);
    let header_crc = crc(&[&bytes[at + 8..at + 48]]);
    bytes[at + 4..at + 8].copy_from_slice(&header_crc);
    disk.write_file(&old, &bytes);
    assert_eq!(label(reopen(&disk, 0, 0)), "proven-by-opening");
}

/// A cut once gave up the last segment with a durable header: the next one had been begun, everything before
/// it was in a snapshot, and then a power cut took the new header. Nothing was lost, but the log could not be
/// opened.
#[test]
fn a_cut_never_leaves_a_log_that_begins_with_a_header_not_yet_durable() {
    let disk = SimDisk::new(0);
    let Ok(mut run) = Run::start(&disk, Ledger::default(), "no crash here") else {
        unreachable!("nothing crashes")
    };
    for _ in 0..4 {
        run.append(500);
        run.commit(true).expect("no fault");
    }
    // Goes into segment 2.
    run.append(500);
    run.commit(false).expect("no fault");
    assert_eq!(run.writer.cut(Seq::new(4)), [], "segment 1 must stay");
    let job = run.writer.sync_job();
    let durable = job.run().expect("no fault");
    run.writer.synced(durable);
    assert_eq!(run.writer.cut(Seq::new(4)).len(), 1);
    run.append(2000);
    run.commit(false).expect("no fault");
    run.ledger.base = 5;
    assert_eq!(run.writer.cut(Seq::new(5)), [], "segment 2 must stay");
    for style in CrashStyle::ALL {
        recover(&disk.after_crash(0, style), &mut run.ledger.clone(), "after the cut");
    }
}

#[test]
fn openings_without_news_do_not_pile_up() {
    let (disk, mut ledger) = three_lives(3);
    recover(&disk, &mut ledger, "first");
    let files = disk.files().len();
    for _ in 0..10 {
        recover(&disk, &mut ledger, "again");
    }
    assert_eq!(disk.files().len(), files, "{:?}", disk.files());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_the_disk_not_damage() {
    let (disk, _) = three_lives(4);
    let newest = newest_segment(&disk);
    disk.break_reads(&newest).expect("it is there");
    let error = reopen(&disk, 0, 0).expect_err("it can't be read");
    assert!(matches!(&error, OpenError::Io { .. }) && error.to_string().contains(&newest), "{error}");
}

#[test]
fn the_real_disk_keeps_a_log_too() {
    let home = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Dir> = Arc::new(RealDir::create(home.path().join("data")).unwrap());
    let options = LogOptions { segment_bytes: 1024 * 1024, ..LogOptions::default() };
    let mut appended = Vec::new();
    for life in 0..3 {
        let mut found = Collect::default();
        let Opened { mut buffer, mut writer, spares, report, .. } =
            open(&dir, &options, Seq::ZERO, Seq::ZERO, &mut found).unwrap();
        assert_eq!((found.batches, report.cut), (std::mem::take(&mut appended), None));
        for seq in 1..buffer.next_seq().get() {
            appended.push(content(seq, (seq % 3000) as usize));
        }
        for round in 0..2000 {
            let seq = buffer.next_seq().get();
            let batch = content(seq, (seq % 3000) as usize);
            while buffer.room(batch.len(), Use::Adds) != Room::Yes {
                spares.make().unwrap();
            }
            buffer.append(&batch);
            appended.push(batch);
            if round % 50 == 0 {
                let (written, spent) = writer.write(buffer.take(), round % 100 == 0).unwrap();
                assert_eq!(written.last.get(), seq);
                buffer.recycle(spent);
            }
        }
        if life == 1 {
            // Killed: what was written is there, what was only appended is not.
            appended.truncate(writer.written().last.get() as usize);
        } else {
            writer.close(buffer).unwrap();
        }
    }
}
