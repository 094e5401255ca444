//! The log on a simulated disk: crashes at every operation, damage in every place.
//!
//! Each random test prints its seed when it fails. To replay one:
//! `CLAIMLOG_SEED=<seed> cargo test --test wal`.

use std::fmt::Write as _;
use std::sync::Arc;

use claimlog::Seq;
use claimlog::io::sim::{CrashStyle, SimDisk, SimRng};
use claimlog::wal::{Buffer, LogError, LogOptions, OpenError, Opened, Replay, Report, Spares, Writer, open};

/// Small segments, so that short runs cross many.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 4096,
    alignment: 512,
    max_batch_bytes: 64 * 1024,
    spares: 1,
    new_store_id: || *b"sixteen bytes id",
};

fn seeds(default: std::ops::Range<u64>) -> Vec<u64> {
    match std::env::var("CLAIMLOG_SEED") {
        Ok(seed) => vec![seed.parse().expect("CLAIMLOG_SEED is a number")],
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
            Err(e) => panic!("{e}: {context}"),
        }
    }

    fn append(&mut self, bytes: usize) {
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
        match self.spares.wanted() {
            Some(ordinal) => self.spares.make(ordinal),
            None => Ok(()),
        }
    }

    /// A snapshot at what is durable, and a cut.
    fn cut(&mut self) -> Result<(), LogError> {
        let below = self.writer.written().durable;
        self.ledger.base = below.get();
        let segments = self.writer.cut(below);
        self.spares.retire(&segments)
    }

    /// One random step.
    fn step(&mut self, rng: &mut SimRng) -> Result<(), LogError> {
        match rng.below(14) {
            0..=3 => self.append(rng.below(300) as usize),
            4 => self.append(rng.below(3000) as usize),
            5 if rng.one_in(4) => self.append(5000 + rng.below(9000) as usize),
            6..=8 => self.commit(true)?,
            9 => self.commit(false)?,
            10 => self.mark()?,
            11 => {
                let job = self.writer.sync_job();
                let durable = job.run()?;
                self.writer.synced(durable);
                self.ledger.acknowledged = self.ledger.acknowledged.max(durable.get());
            }
            12 if rng.one_in(3) => self.cut()?,
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

/// Opens and must succeed; returns the report.
fn recover(disk: &SimDisk, ledger: &mut Ledger, context: &str) -> Report {
    match reopen(disk, ledger.base, ledger.base) {
        Ok((opened, found)) => {
            ledger.check(&found, context);
            opened.report
        }
        Err(e) => {
            let mut files = String::new();
            for path in disk.files() {
                let _ = write!(
                    files,
                    "\n  {path}: {} bytes",
                    disk.read_file(&path).map_or(0, |bytes| bytes.len())
                );
            }
            panic!("{e}: {context}{files}");
        }
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
        let style = CrashStyle::ALL[(seed + at) as usize % CrashStyle::ALL.len()];
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
