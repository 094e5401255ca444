//! A full disk (I9): what adds is refused, everything else goes on, and writes come back by themselves.

use std::sync::Arc;
use std::time::Duration;

use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait, SyncMode, TransactionSize, Waiting};
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::{EntryId, Error, Fields};

use crate::command::{Command, random};
use crate::{Replay, STEP, seeds};

const SEGMENT_BYTES: u64 = 64 * 1024;
/// Enough for a ballast.
const ROOMY: u64 = 9 << 20;

fn options(disk: &SimDisk, clock: &Arc<SimClock>) -> Options {
    Options::simulated(disk.dir(), Arc::clone(clock) as _).segment_bytes(SEGMENT_BYTES)
}

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::new(1_000_000))
}

fn add(key: &str, bytes: usize) -> XAdd {
    let fields = Fields::from_pairs([("f", "v".repeat(bytes))]);
    XAdd::new(key, fields)
}

fn create(key: &str) -> XGroupCreate {
    let start = GroupStart::After(EntryId::MIN);
    XGroupCreate { key: key.into(), group: "g".into(), start, make_stream: true, entries_read: None }
}

fn read(key: &'static str, consumer: &'static str, count: Option<u64>) -> XReadGroup {
    XReadGroup { count, ..XReadGroup::new("g", consumer, key) }
}

fn wait(engine: &Engine, read: XReadGroup) -> Waiting {
    match engine.read_or_wait(BlockingRead::Group(read)) {
        ReadOrWait::Waiting(waiting) => waiting,
        ReadOrWait::Now(ticket) => panic!("it should wait, but was answered {ticket:?}"),
    }
}

fn len(engine: &Engine, key: &str) -> u64 {
    engine.execute_blocking(&XLen { key: key.into() }).unwrap()
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "whoever asks is done with it")]
fn assert_full<R: std::fmt::Debug>(result: Result<R, Error>) {
    let Err(Error::Refused(refusal @ Refusal::LogFull { .. })) = &result else { panic!("{result:?}") };
    assert_eq!(
        refusal.to_string(),
        "MISCONF claimlog can't write to its log: no room for another segment in /sim/log: No space left on device. \
         Commands that add are refused; reads, acknowledgements and deletions go on. Free disk space, or delete or \
         trim data: writes come back by themselves."
    );
}

/// Adds until that is refused, and says how often it was not.
fn fill(engine: &Engine, key: &str, bytes: usize) -> u64 {
    for added in 0.. {
        assert!(added < 10_000, "the disk should be full");
        match engine.execute_blocking(&add(key, bytes)) {
            Ok(_) => {}
            Err(Error::Refused(Refusal::LogFull { .. })) => return added,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the loop has no end")
}

/// Everything but adding works.
fn everything_else_works(engine: &Engine, what: &str) {
    let digest = engine.digest();
    assert_full(engine.execute_blocking(&add("full", 10)));
    assert_full(engine.execute_blocking(&add("new", 10)));
    assert_full(engine.execute_blocking(&create("new")));
    assert_eq!(engine.digest(), digest, "{what}: what is refused changes nothing");
    let range =
        XRange { key: "full".into(), first: EntryId::MIN, last: EntryId::MAX, count: None, reverse: false };
    let entries = engine.execute_blocking(&range).unwrap().unwrap();
    assert_eq!(entries.len() as u64, len(engine, "full"), "{what}");
    let rows = XPendingSummary { key: "kept".into(), group: "g".into() };
    let pending = engine.execute_blocking(&rows).unwrap();
    let (first, _) = pending.range.unwrap();
    let ack = XAck { key: "kept".into(), group: "g".into(), ids: vec![first] };
    assert_eq!(engine.execute_blocking(&ack).unwrap(), 1, "{what}");
    let del = XDel { key: "full".into(), ids: vec![entries[0].id] };
    assert_eq!(engine.execute_blocking(&del).unwrap(), 1, "{what}");
    let keep = Keep::Newest(entries.len() as u64 - 2).exactly();
    assert_eq!(engine.execute_blocking(&XTrim { key: "full".into(), trim: keep }).unwrap(), 1, "{what}");
    assert!(engine.stats().log_full.is_some() && engine.room().full.is_some(), "{what}");
    assert_full(engine.execute_blocking(&add("full", 10)));
}

#[test]
fn a_full_disk_refuses_what_adds_and_survives_everything() {
    for seed in seeds(12) {
        let _replay = Replay("a_full_disk_refuses_what_adds_and_survives_everything", seed);
        for mode in [SyncMode::Always, SyncMode::EverySecond, SyncMode::No] {
            let what = format!("seed {seed}, {mode:?}");
            let mut rng = SimRng::new(seed);
            let (disk, clock) = (SimDisk::new(seed), clock());
            disk.set_capacity(Some(ROOMY));
            let (engine, _) = options(&disk, &clock).sync_mode(mode).open().unwrap();
            for _ in 0..rng.below(100) {
                clock.advance(STEP);
                random(&mut rng, true).execute(&engine).unwrap();
            }
            engine.execute_blocking(&create("kept")).unwrap();
            for _ in 0..20 {
                engine.execute_blocking(&add("kept", 10)).unwrap();
            }
            engine.execute_blocking(&read("kept", "c", None)).unwrap();
            engine.tick().unwrap();
            assert!(disk.files().contains(&"BALLAST".to_owned()), "{what}");
            let capacity = disk.used() + rng.below(200_000);
            disk.set_capacity(Some(capacity));
            fill(&engine, "full", 3000);
            fill(&engine, "full", 10);
            everything_else_works(&engine, &what);
            let mut refused = 0;
            for _ in 0..60 {
                let command = random(&mut rng, false);
                if matches!(command, Command::Flush(_)) {
                    continue;
                }
                let reply = command.execute(&engine).unwrap();
                refused += u32::from(reply.contains("MISCONF"));
                assert!(command.writes() || !reply.contains("MISCONF"), "{what}: {command:?}");
            }
            assert!(refused > 0, "{what}");
            engine.sync().unwrap();
            let digest = engine.digest();
            drop(engine);

            // It opens on the full disk, and goes on the same way.
            let disk = disk.after_crash(seed, CrashStyle::ALL[rng.below(5) as usize]);
            disk.set_capacity(Some(capacity.min(disk.used())));
            let (engine, report) = options(&disk, &clock).sync_mode(mode).open().unwrap();
            assert_eq!(engine.digest(), digest, "{what}: {report}");
            assert!(!disk.files().contains(&"BALLAST".to_owned()), "{what}: it was given up for the opening");
            disk.set_capacity(Some(disk.used()));
            fill(&engine, "full", 10);
            everything_else_works(&engine, &what);
            assert!(engine.execute_blocking(&Flush { db: None }).is_ok(), "{what}");
            assert_full(engine.execute_blocking(&add("s", 10)));

            // And writes come back by themselves.
            disk.set_capacity(Some(ROOMY));
            engine.tick().unwrap();
            assert!(fill_some(&engine) && engine.room().full.is_none(), "{what}");
            engine.tick().unwrap();
            assert!(disk.files().contains(&"BALLAST".to_owned()), "{what}: it is made again");
            let digest = engine.digest();
            engine.close().unwrap();
            let (engine, _) = options(&disk, &clock).open().unwrap();
            assert_eq!(engine.digest(), digest, "{what}");
        }
    }
}

fn fill_some(engine: &Engine) -> bool {
    (0..50).all(|_| engine.execute_blocking(&add("again", 3000)).is_ok())
}

/// Snapshots cut the log: space comes back without anyone raising anything.
#[test]
fn a_cut_brings_writes_back() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let stores = ["a", "b"].map(claimlog::snapshot::memory_store::MemoryPlace::new);
    let options = stores
        .iter()
        .fold(options(&disk, &clock), |options, store| options.snapshot_place(Arc::new(store.clone())));
    let (engine, _) = options.open().unwrap();
    disk.set_capacity(Some(disk.used() + 400_000));
    fill(&engine, "s", 3000);
    fill(&engine, "s", 10);
    engine.execute_blocking(&Del { db: DbIndex::default(), keys: vec!["s".into()] }).unwrap();
    assert_full(engine.execute_blocking(&add("s", 10)));
    for _ in 0..2 {
        engine.snapshot().unwrap();
        engine.execute_blocking(&Del { db: DbIndex::default(), keys: vec!["none".into()] }).unwrap();
    }
    assert!(fill_some(&engine), "{:?}", engine.room());
}

#[test]
fn a_transaction_is_refused_whole_or_step_by_step() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let (engine, _) = options(&disk, &clock).open().unwrap();
    engine.execute_blocking(&add("s", 10)).unwrap();
    disk.set_capacity(Some(disk.used()));
    engine.tick().unwrap();
    let size = TransactionSize { bytes: 1000, adds: true };
    let large = add("large", 40_000);
    // As long as there is some room only the steps that don't fit are refused.
    let ticket = engine.transaction_of(size, |steps| {
        (
            steps.execute(&add("s", 10)).is_ok(),
            steps.execute(&large).map(drop),
            steps.execute(&large).map(drop),
            steps.execute(&add("s", 10)).is_ok(),
            steps.execute(&XLen { key: "s".into() }).unwrap(),
        )
    });
    let (first, second, third, last, found) = engine.redeem_blocking(ticket).unwrap();
    assert!(first && second.is_ok() && last, "{second:?}");
    assert_full(third);
    assert_eq!((found, len(&engine, "large"), len(&engine, "s")), (3, 1, 3));
    fill(&engine, "s", 10);
    // Full: refused before its first step if it adds; if it does not, it may free something.
    let digest = engine.digest();
    assert_full(engine.transaction_of(size, |_| panic!("no step is taken")).result.map(|(): ()| "ran"));
    assert_eq!(engine.digest(), digest);
    let del = Del { db: DbIndex::default(), keys: vec!["large".into()] };
    let ticket = engine.transaction(|steps| (steps.execute(&add("s", 10)).map(drop), steps.execute(&del)));
    let (added, deleted) = engine.redeem_blocking(ticket).unwrap();
    assert_full(added);
    assert_eq!(deleted.unwrap(), 1);
    disk.set_capacity(None);
    engine.tick().unwrap();
    engine
        .redeem_blocking(engine.transaction_of(size, |steps| steps.execute(&large).map(drop)))
        .unwrap()
        .unwrap();
}

/// The lock can't be left inside a transaction: what would need another segment is refused there, and the rest stands.
#[test]
fn a_transaction_that_outgrows_its_room_keeps_what_fits() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let (engine, _) = options(&disk, &clock).open().unwrap();
    let size = TransactionSize { bytes: 1000, adds: true };
    let outgrown = |engine: &Engine| {
        let ticket = engine.transaction_of(size, |steps| {
            (0..4).map(|_| steps.execute(&add("s", 40_000)).map(drop)).collect::<Vec<_>>()
        });
        engine.redeem_blocking(ticket).unwrap()
    };
    let results = outgrown(&engine);
    let refused = results.iter().filter(|result| {
        matches!(result, Err(Error::Refused(Refusal::LogFull { why })) if why.contains("larger than the room"))
    });
    let (refused, fitted) = (refused.count(), results.iter().filter(|result| result.is_ok()).count());
    assert!(refused > 0 && fitted > 0 && refused + fitted == 4, "{results:?}");
    assert_eq!(len(&engine, "s"), fitted as u64);
    // What was missing is known by now. And who says how much it will be gets it at once.
    engine.tick().unwrap();
    assert!(outgrown(&engine).iter().filter(|result| result.is_ok()).count() >= fitted);
    let size = TransactionSize { bytes: 500_000, adds: true };
    let ticket = engine.transaction_of(size, |steps| {
        (0..10).map(|_| steps.execute(&add("t", 40_000)).map(drop)).collect::<Result<Vec<_>, _>>()
    });
    engine.redeem_blocking(ticket).unwrap().unwrap();
    let digest = engine.digest();
    drop(engine);
    let (engine, _) = options(&disk.after_crash(1, CrashStyle::Lost), &clock).open().unwrap();
    assert_eq!(engine.digest(), digest);
}

/// The entry still fits, its delivery does not: the reader is told, and nothing is delivered.
#[test]
fn a_waiting_reader_gets_the_error_and_nothing_is_delivered() {
    let mut refused = 0;
    for bytes in 0..60 {
        let (disk, clock) = (SimDisk::new(1), clock());
        let (engine, _) = options(&disk, &clock).open().unwrap();
        engine.execute_blocking(&create("s")).unwrap();
        engine
            .execute_blocking(&XGroupCreateConsumer {
                key: "s".into(),
                group: "g".into(),
                consumer: "c".into(),
            })
            .unwrap();
        disk.set_capacity(Some(disk.used()));
        loop {
            let waiting = wait(&engine, read("s", "c", None));
            // Undone by nothing but the log: many in one frame, so that the end is met at every byte.
            let added = engine.submit(&add("s", 100 + bytes)).result;
            let Ok(ticket) = waiting.wait_blocking(Some(Duration::ZERO)) else {
                assert_full(added);
                break;
            };
            added.unwrap();
            if ticket.result.is_err() {
                assert_full(ticket.result);
                refused += 1;
                let rows = XPendingSummary { key: "s".into(), group: "g".into() };
                let pending = engine.execute_blocking(&rows).unwrap().count;
                assert_eq!(pending, len(&engine, "s") - 1, "the last entry was not delivered");
                disk.set_capacity(None);
                engine.tick().unwrap();
                let late = engine.execute_blocking(&read("s", "c", None)).unwrap();
                assert_eq!(late[0].entries.len(), 1, "it is there for the next reader");
                break;
            }
        }
        engine.check().unwrap();
    }
    assert!(refused > 5, "{refused}");
}

/// Readers for whom a segment is missing are served when it is there, in their order.
#[test]
fn readers_at_the_border_of_a_segment_are_served_in_order() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let (engine, _) = options(&disk, &clock).segment_bytes(8 * 1024).open().unwrap();
    engine.execute_blocking(&create("s")).unwrap();
    for round in 0..300u64 {
        let readers = ["a", "b", "c"].map(|name| wait(&engine, read("s", name, Some(1))));
        let entries = [round, round + 1, round + 2].map(|at| {
            let id = NewId::Exact(EntryId::new(round + 1, at));
            XAdd { id, ..add("s", 20 + (round * 37 % 150) as usize) }
        });
        if round % 2 == 0 {
            let ticket = engine.transaction(|steps| entries.map(|add| steps.execute(&add).is_ok()));
            assert_eq!(ticket.result.unwrap(), [true; 3], "round {round}");
        } else {
            entries.iter().for_each(|add| assert!(engine.submit(add).result.is_ok()));
        }
        for (at, reader) in readers.into_iter().enumerate() {
            let reads = reader.wait_blocking(Some(Duration::ZERO)).expect("it was served").result.unwrap();
            assert_eq!(reads[0].entries[0].id, EntryId::new(round + 1, round + at as u64), "round {round}");
        }
        if round % 3 == 0 {
            engine.commit().unwrap();
        }
    }
}

/// What can't be made for other reasons than space is no end either.
#[test]
fn a_segment_that_cannot_be_made_is_tried_again() {
    let (disk, clock) = (SimDisk::new(1), clock());
    let (engine, _) = options(&disk, &clock).open().unwrap();
    let mut refused = 0;
    for _ in 0..400 {
        if engine.room().no_segment.is_some() {
            engine.tick().unwrap();
        } else if disk.files().len() < 3 {
            disk.fail_write(1);
            engine.tick().unwrap();
            assert!(engine.room().no_segment.is_some_and(|why| why.contains("simulated write error")));
        }
        match engine.execute_blocking(&add("s", 2000)) {
            Ok(_) => {}
            Err(Error::Refused(Refusal::LogFull { .. })) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(len(&engine, "s") + refused == 400);
}

/// A command for the searches of `crash.rs`: a batch of several segments' size.
pub(crate) fn large(key: &'static str, bytes: usize) -> Command {
    Command::XAdd(add(key, bytes))
}
