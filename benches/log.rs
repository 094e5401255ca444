//! The log alone: appending batches of 64 bytes to the buffer, framing, checksums, one write, and the sync where it
//! says so. On the real disk that is built on; what a sync costs is the disk's business.
//!
//! Segments of 16 MiB are used again as after a snapshot, and giving them their new names is in the figures.

use std::io;
use std::path::Path;
use std::sync::Arc;

use claimlog::Seq;
use claimlog::io::Dir;
use claimlog::io::real::RealDir;
use claimlog::wal::{LogOptions, Opened, Replay, Room, Use, open};
use criterion::{Criterion, Throughput};

/// About what an XADD of one small field has.
const BATCH: [u8; 64] = [7; 64];

struct Nothing;

impl Replay for Nothing {
    fn batch(&mut self, _: Seq, _: &[u8]) -> Result<(), String> {
        Err("a new log has no batches".into())
    }
}

fn new_log(path: &Path) -> Opened {
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(path).expect("a directory"));
    let options = LogOptions { segment_bytes: 16 * 1024 * 1024, ..LogOptions::default() };
    open(&dir, &options, Seq::ZERO, Seq::ZERO, &mut Nothing).expect("an empty directory")
}

/// One commit: so many batches in one frame.
fn commit(log: &mut Opened, batches: u64, sync: bool) {
    for _ in 0..batches {
        while log.buffer.room(BATCH.len(), Use::Adds) != Room::Yes {
            next_segment(log);
        }
        log.buffer.append(&BATCH);
    }
    let (_, spent) = log.writer.write(log.buffer.take(), sync).expect("the disk takes it");
    log.buffer.recycle(spent);
}

/// Makes the next segment, as after a snapshot of all that is durable.
fn next_segment(log: &mut Opened) {
    let old = log.writer.cut(log.writer.written().durable);
    log.spares.retire(&old);
    log.spares.make().expect("the disk has room for a segment");
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let path = env!("CARGO_TARGET_TMPDIR");
    let made: io::Result<tempfile::TempDir> = tempfile::tempdir_in(path);
    let dir = made.expect("the build directory can be written");
    let mut group = criterion.benchmark_group("log");
    for (number, (batches, sync)) in [(1, false), (64, false), (1, true), (64, true)].into_iter().enumerate()
    {
        let own = dir.path().join(number.to_string());
        std::fs::create_dir(&own).expect("a new directory");
        let mut log = new_log(&own);
        let synced = if sync { "write and sync" } else { "write" };
        group.throughput(Throughput::Elements(batches));
        group.bench_function(format!("{synced} a frame of {batches}"), |bencher| {
            bencher.iter(|| commit(&mut log, batches, sync));
        });
    }
}
