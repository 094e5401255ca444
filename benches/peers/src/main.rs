//! Durable appends of claimlog's library beside those of other stores as queue tables, and beside the raw limit: what
//! the disk does when the same bytes are written to it and nothing else is done.
//!
//! An append is a call that returns when its messages would survive a power cut, for claimlog as for its peers. Writers are
//! threads that know nothing of each other: each calls for its own message and waits for it, so that whoever shares syncs
//! among them is the store. Each store gets its messages in the way that its documentation has for that; how is said at the
//! top of its file. `docs/performance.md` has a table that was printed here.
#![expect(clippy::print_stdout, reason = "a bench prints what it found")]

mod claimlog;
mod disk;
mod fjall;
mod queue;
mod raw;
mod redb;
mod shared;
mod sled;
mod sqlite;
mod table;
mod writers;

use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

use crate::queue::{LOADS, Load, Queue, Row};
use crate::raw::Way;
use crate::table::Table;
use crate::writers::{Until, append};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(10)
        .without_plots()
        .configure_from_args();
    // What Criterion is told on the command line, as far as it is about the table too.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(&argument.as_str()));
    if has(&["--list", "--help", "-h"]) {
        criterion.bench_function("append", |_| ());
        return;
    }
    let once = has(&["--test"]);
    let dir = match disk::temporary() {
        Ok(dir) => dir,
        Err(why) => {
            println!("{why}");
            std::process::exit(2);
        }
    };
    let rows = rows(dir.path());
    for load in LOADS {
        let mut group = criterion.benchmark_group(load.name);
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(1));
        rows.iter().for_each(|row| bench(&mut group, row, load));
        group.finish();
    }
    let (turns, each) = if once { (1, Duration::from_millis(1)) } else { (7, Duration::from_millis(300)) };
    println!("\n{}", Table::take(&rows, turns, each));
    criterion.final_summary();
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, (name, queue): &Row, load: Load) {
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|messages| append(&**queue, load, Until::Count(messages)).time_of(messages));
    });
}

/// All that is measured, in the order of the table.
fn rows(dir: &Path) -> Vec<Row> {
    let claimlog = claimlog::Claimlog::open(&dir.join("claimlog"));
    let frame_bytes = claimlog.frame_bytes();
    let raw = |name, way| raw::Raw::open(&dir.join(name), way, frame_bytes);
    let shared = shared::Shared::new(raw("raw-shared", Way::Sync));
    let peer = |name: &'static str, queue: Box<dyn Queue>| (name, queue);
    vec![
        peer("raw: write, fdatasync", Box::new(raw("raw", Way::Sync))),
        peer("raw: O_DIRECT, O_DSYNC", Box::new(raw("raw-direct", Way::Direct))),
        peer("raw: fdatasync, shared by threads", Box::new(shared)),
        peer("claimlog", Box::new(claimlog)),
        peer("fjall", Box::new(fjall::Fjall::open(&dir.join("fjall")))),
        peer("redb", Box::new(redb::Redb::open(&dir.join("redb")))),
        peer("sled", Box::new(sled::Sled::open(&dir.join("sled")))),
        peer("SQLite", Box::new(sqlite::Sqlite::open(&dir.join("sqlite")))),
    ]
}
