//! What happens because time passes: keys expire, and what is pending comes of age for readers who would claim it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait, Ticket, Waiting, Watch};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Error, Fields};

/// An engine and its clock, which begins at a million.
struct World {
    engine: Engine,
    clock: Arc<SimClock>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(SimClock::new(1_000_000));
        let (engine, _) = Options::simulated(SimDisk::new(1).dir(), Arc::clone(&clock) as _).open().unwrap();
        Self { engine, clock }
    }

    fn run<O: Op>(&self, op: &O) -> O::Reply {
        self.engine.submit(op).result.unwrap()
    }

    /// Lets time pass, and the engine notice.
    fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.engine.tick().unwrap();
    }

    fn add(&self, key: &str, id: u64) {
        let fields = Fields::from_pairs([("field", "value")]);
        self.run(&XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) });
    }

    fn create(&self, key: &str) {
        let (key, group) = (key.into(), "g".into());
        self.run(&XGroupCreate {
            key,
            group,
            start: GroupStart::Last,
            make_stream: true,
            entries_read: None,
        });
    }

    fn expire(&self, key: &str, in_ms: i64) {
        let at = ExpireAt::InMs(in_ms);
        assert!(self.run(&Expire { key: key.into(), at, only_if: ExpireIf::default() }));
    }

    fn wait(&self, read: XReadGroup) -> Waiting {
        match self.engine.read_or_wait(BlockingRead::Group(read)) {
            ReadOrWait::Waiting(waiting) => waiting,
            ReadOrWait::Now(ticket) => panic!("it should wait, but was answered {ticket:?}"),
        }
    }

    fn watch(&self, key: &str) -> Watch {
        let mut watch = self.engine.watch();
        watch.add(&key.into());
        watch
    }
}

fn read(consumer: &'static str) -> XReadGroup {
    XReadGroup::new("g", consumer, "s")
}

fn claiming(consumer: &'static str, min_idle_ms: u64) -> XReadGroup {
    XReadGroup { claim: Some(min_idle_ms), ..read(consumer) }
}

fn ticket(waiting: Waiting) -> Option<Ticket<Vec<StreamRead>>> {
    waiting.wait_blocking(Some(Duration::ZERO)).ok()
}

/// What a reader got by now, as (id, idle time before, deliveries before); `None` if it still waits.
fn got(waiting: Waiting) -> Option<Vec<(u64, u64, u64)>> {
    let reads = ticket(waiting)?.result.expect("it was served");
    let entries = reads.into_iter().flat_map(|read| read.entries);
    let before = |entry: PendingEntry| {
        let before = entry.before.expect("it reads with CLAIM");
        (entry.id.ms, before.idle_ms, before.delivery_count)
    };
    Some(entries.map(before).collect())
}

fn ids(from: impl IntoIterator<Item = u64>) -> Vec<EntryId> {
    from.into_iter().map(|ms| EntryId::new(ms, 0)).collect()
}

/// Vector 14: the first gets the new entry, the second claims it when it is old enough.
#[test]
fn a_reader_that_claims_is_woken_when_what_is_pending_is_old_enough() {
    let world = World::new();
    world.create("s");
    let first = world.wait(claiming("first", 100));
    let second = world.wait(claiming("second", 100));
    world.add("s", 1);
    assert_eq!(got(first), Some(vec![(1, 0, 0)]));
    world.pass(99);
    assert_eq!(world.engine.stats().waiters, 1, "one millisecond is left");
    world.pass(1);
    assert_eq!(got(second), Some(vec![(1, 100, 1)]));
}

/// Each waits for its own time, whatever the order in which they came.
#[test]
fn readers_claim_at_their_own_times() {
    let world = World::new();
    world.create("s");
    world.add("s", 1);
    world.run(&read("dead"));
    let slow = world.wait(claiming("slow", 500));
    let quick = world.wait(claiming("quick", 50));
    world.pass(50);
    assert_eq!(got(quick), Some(vec![(1, 50, 1)]));
    world.pass(499);
    assert_eq!(world.engine.stats().waiters, 1, "its delivery to the quick one begins anew");
    world.pass(1);
    assert_eq!(got(slow), Some(vec![(1, 500, 2)]));
}

#[test]
fn what_is_released_wakes_at_once_and_first_come_first() {
    let world = World::new();
    world.create("s");
    (1..=3).for_each(|id| world.add("s", id));
    world.run(&read("dead"));
    let reader = world.wait(claiming("reader", 1_000_000_000));
    let nack = |of: &[u64]| XNack {
        key: "s".into(),
        group: "g".into(),
        mode: NackMode::Fail,
        ids: ids(of.iter().copied()),
        retry_count: None,
        force: false,
    };
    let release = [nack(&[3]), nack(&[1])];
    world
        .engine
        .transaction(|steps| release.iter().for_each(|nack| assert_eq!(steps.execute(nack).unwrap(), 1)))
        .result
        .unwrap();
    let got: Vec<u64> = got(reader).unwrap().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(got, [3, 1]);
}

/// What others deliver and claim meanwhile decides when.
#[test]
fn a_reader_that_claims_is_woken_for_what_became_pending_since() {
    let world = World::new();
    world.create("s");
    world.add("s", 1);
    world.run(&read("dead"));
    let reader = world.wait(claiming("reader", 500));
    world.pass(100);
    let (key, group) = (Key::from("s"), Bytes::from("g"));
    let claim = XClaim {
        key: key.clone(),
        group: group.clone(),
        consumer: Bytes::from("other"),
        min_idle_ms: 0,
        ids: ids([1]),
        delivered: Some(DeliveryTime::IdleMs(450)),
        retry_count: None,
        force: false,
        just_id: false,
        last_id: None,
    };
    assert_eq!(world.run(&claim).len(), 1);
    world.pass(49);
    assert_eq!(world.engine.stats().waiters, 1, "one millisecond is left");
    world.pass(1);
    assert_eq!(got(reader), Some(vec![(1, 500, 2)]));
    assert_eq!(world.run(&XAck { key: key.clone(), group: group.clone(), ids: ids([1]) }), 1);
    let reader = world.wait(claiming("reader", 500));
    // The group begins anew, which tells no reader that waits, and somebody else gets the entry.
    world.run(&XGroupSetId { key, group, start: GroupStart::After(EntryId::MIN), entries_read: None });
    assert_eq!(world.run(&read("other")).len(), 1);
    world.pass(499);
    assert_eq!(world.engine.stats().waiters, 1, "one millisecond is left");
    world.pass(1);
    assert_eq!(got(reader), Some(vec![(1, 500, 1)]));
}

/// Each has a time of its own. (When each was compared with all others, this took minutes.)
#[test]
fn thousands_of_readers_claim_at_their_own_times() {
    const READERS: u64 = 3000;
    let world = World::new();
    world.create("s");
    world.add("s", 1);
    world.run(&read("dead"));
    let claim = |at| world.wait(claiming("reader", 2 * READERS - at));
    let mut readers: Vec<Waiting> = (0..READERS).map(claim).collect();
    world.pass(READERS);
    assert_eq!(world.engine.stats().waiters, READERS);
    world.pass(1);
    assert_eq!(world.engine.stats().waiters, READERS - 1);
    assert_eq!(got(readers.pop().unwrap()), Some(vec![(1, READERS + 1, 1)]));
    world.add("s", 2);
    assert_eq!(world.engine.stats().waiters, READERS - 2);
}

/// Also by those who come after a restart, from a snapshot and from the log.
#[test]
fn the_order_of_releases_is_kept() {
    for snapshot in [false, true] {
        let (clock, disk, place) =
            (Arc::new(SimClock::new(1_000_000)), SimDisk::new(1), MemoryPlace::new("a"));
        let open = || {
            let options = Options::simulated(disk.dir(), Arc::clone(&clock) as _);
            let engine = options.snapshot_place(Arc::new(place.clone())).open().unwrap().0;
            World { engine, clock: Arc::clone(&clock) }
        };
        let order = |released: [u64; 5]| {
            let world = open();
            world.run(&Flush { db: None });
            world.create("s");
            (1..=4).for_each(|id| world.add("s", id));
            world.run(&read("dead"));
            for id in released {
                let (key, group, ids) = ("s".into(), "g".into(), ids([id]));
                let mode = NackMode::Fatal;
                world.run(&XNack { key, group, mode, ids, retry_count: None, force: false });
            }
            if snapshot {
                world.engine.snapshot().unwrap();
            }
            let digest = world.engine.digest();
            world.engine.close().unwrap();
            let world = open();
            assert_eq!(world.engine.digest(), digest);
            world.engine.check().unwrap();
            let reads = world.run(&claiming("reader", 1_000_000_000));
            let got: Vec<u64> = reads[0].entries.iter().map(|entry| entry.id.ms).collect();
            world.engine.close().unwrap();
            got
        };
        assert_eq!(order([3, 4, 1, 3, 2]), [4, 1, 3, 2]);
        assert_eq!(order([2, 1, 2, 4, 3]), [1, 2, 4, 3]);
    }
}

/// A reference to an entry that is gone is never handed out, and nobody is woken for it again and again.
#[test]
fn what_is_gone_is_not_claimed() {
    let world = World::new();
    world.create("s");
    (1..=2).for_each(|id| world.add("s", id));
    world.run(&read("dead"));
    world.run(&XDel { key: "s".into(), ids: ids([1]) });
    let reader = world.wait(claiming("reader", 100));
    world.pass(100);
    assert_eq!(got(reader), Some(vec![(2, 100, 1)]));
    let another = world.wait(claiming("another", 50));
    world.run(&XAck { key: "s".into(), group: "g".into(), ids: ids([2]) });
    let applied = world.engine.stats().applied;
    (0..5).for_each(|_| world.pass(1000));
    assert_eq!(world.engine.stats().applied, applied);
    assert_eq!(got(another), None);
    let summary = world.run(&XPendingSummary { key: "s".into(), group: "g".into() });
    assert_eq!(summary.count, 1, "the reference stays");
}

#[test]
fn keys_expire_on_their_own_and_when_asked_for() {
    let world = World::new();
    world.add("s", 1);
    world.add("t", 1);
    world.expire("s", 100);
    world.expire("t", 200);
    assert_eq!(world.engine.stats().expiring_keys[0], 2);
    world.pass(100);
    assert_eq!(world.engine.stats().keys[0], 1, "it went without being asked for");
    // Nobody ticks: whoever asks does not see it.
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(world.run(&DbSize { db: DbIndex::default() }), 0);
    assert_eq!(world.engine.stats().expired_keys, 2);
    world.add("t", 1);
    assert_eq!(world.run(&ExpiryOf { key: "t".into() }), Expiry::Never, "the next one of that name is new");
}

#[test]
fn an_expiry_survives_and_so_does_its_removal() {
    let (clock, disk) = (Arc::new(SimClock::new(1_000_000)), SimDisk::new(1));
    let open = || Options::simulated(disk.dir(), Arc::clone(&clock) as _).open().unwrap().0;
    let world = World { engine: open(), clock: Arc::clone(&clock) };
    for key in ["kept", "persisted"] {
        world.add(key, 1);
        world.expire(key, 1000);
    }
    assert!(world.run(&Persist { key: "persisted".into() }));
    world.engine.close().unwrap();
    let world = World { engine: open(), clock: Arc::clone(&clock) };
    let kept = world.run(&ExpiryOf { key: "kept".into() });
    assert_eq!(kept, Expiry::At { unix_ms: 1_001_000, left_ms: 1000 });
    assert_eq!(world.run(&ExpiryOf { key: "persisted".into() }), Expiry::Never);
    world.engine.close().unwrap();
    // It expires while nothing runs.
    clock.advance(Duration::from_secs(2));
    let world = World { engine: open(), clock };
    assert_eq!(world.run(&Keys { db: DbIndex::default(), pattern: "*".into() }), [Bytes::from("persisted")]);
}

/// All that may take a key away from under readers, or give them one.
#[test]
fn readers_of_a_group_are_told_what_becomes_of_their_key() {
    let db = |index| DbIndex::new(index).unwrap();
    let elsewhere = |name: &str| Key { db: db(1), name: Bytes::copy_from_slice(name.as_bytes()) };
    type End<'a> = (&'a str, &'a dyn Fn(&World), bool);
    let rename = |world: &World, from: &'static str, to: &'static str| {
        assert!(world.run(&Rename { db: db(0), from: from.into(), to: to.into(), if_absent: false }));
    };
    // Whether the reader is served, or else told that its group is gone.
    let ends: [End<'_>; 7] = [
        (
            "expired",
            &|world| {
                world.expire("s", 10);
                world.pass(10);
            },
            false,
        ),
        ("renamed away", &|world| rename(world, "s", "x"), false),
        (
            "overwritten by one without the group",
            &|world| {
                world.add("other", 1);
                rename(world, "other", "s");
            },
            false,
        ),
        (
            "overwritten by one with data",
            &|world| {
                world.create("other");
                world.add("other", 7);
                rename(world, "other", "s");
            },
            true,
        ),
        ("moved away", &|world| assert!(world.run(&Move { key: "s".into(), to: db(1) })), false),
        (
            "replaced by a copy with data",
            &|world| {
                world.create("other");
                world.add("other", 7);
                assert!(world.run(&Copy { from: "other".into(), to: "s".into(), replace: true }));
            },
            true,
        ),
        (
            "swapped with a database where it has data",
            &|world| {
                world.create("other");
                world.add("other", 7);
                let copy = Copy { from: "other".into(), to: elsewhere("s"), replace: false };
                assert!(world.run(&copy));
                world.run(&SwapDb { one: db(1), other: db(0) });
            },
            true,
        ),
    ];
    for (what, end, served) in ends {
        let world = World::new();
        world.create("s");
        let reader = world.wait(read("c"));
        let watch = world.watch("s");
        end(&world);
        let ticket = ticket(reader).unwrap_or_else(|| panic!("{what}: it is told"));
        match ticket.result {
            Ok(reads) => assert!(served && reads[0].entries[0].id.ms == 7, "{what}: {reads:?}"),
            Err(Error::Refused(Refusal::NoSuchGroupToRead { .. })) => assert!(!served, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
        assert!(watch.dirty(), "{what}: and so is who watches it");
    }
}

/// Though their numbers are the same, consumers of a copy are seen on their own from then on.
#[test]
fn consumers_of_a_copy_were_seen_when_those_of_the_original_were() {
    let world = World::new();
    world.create("s");
    world.add("s", 1);
    world.run(&read("c"));
    world.pass(500);
    // It is seen, and gets nothing.
    assert!(world.run(&read("c")).is_empty());
    world.pass(100);
    assert!(world.run(&Copy { from: "s".into(), to: "copy".into(), replace: false }));
    let idle = |key: &str| {
        let consumers = world.run(&XInfoConsumers { key: key.into(), group: Bytes::from("g") });
        (consumers[0].idle_ms, consumers[0].inactive_ms)
    };
    assert_eq!((idle("s"), idle("copy")), ((100, Some(600)), (100, Some(600))));
    world.run(&read("c"));
    assert_eq!((idle("s"), idle("copy")), ((0, Some(600)), (100, Some(600))));
}

#[test]
fn what_had_expired_before_it_was_watched_is_no_change() {
    let world = World::new();
    world.add("s", 1);
    world.expire("s", 10);
    world.clock.advance(Duration::from_millis(10));
    let watch = world.watch("s");
    world.pass(1);
    assert!(!watch.dirty());
    world.add("s", 1);
    assert!(watch.dirty());
    let watch = world.watch("s");
    world.expire("s", 10);
    assert!(watch.dirty(), "setting an expiry is a change");
}

/// Also where keys are not removed on their own: whoever is woken by time does not get what has expired.
#[test]
fn a_reader_that_is_woken_by_time_does_not_see_what_has_expired() {
    let world = World::new();
    let settings = world.engine.settings();
    world.engine.set_settings(claimlog::engine::Settings { active_expiry: false, ..settings }).unwrap();
    world.create("s");
    world.add("s", 1);
    world.run(&read("dead"));
    world.expire("s", 50);
    let reader = world.wait(claiming("reader", 100));
    world.pass(60);
    assert_eq!(world.engine.stats().keys[0], 1, "nobody asks for it");
    world.pass(40);
    let told = ticket(reader).expect("it is told").result;
    assert!(matches!(told, Err(Error::Refused(Refusal::NoSuchGroupToRead { .. }))), "{told:?}");
}

/// A clock that was ahead for a moment does not keep a stream from forgetting.
#[test]
fn idempotent_ids_are_forgotten_though_the_clock_was_ahead() {
    let world = World::new();
    let add = |producer: String| {
        let once = Some(Idempotent { producer: producer.into(), iid: Bytes::from("iid") });
        world.run(&XAdd { once, ..XAdd::new("s", Fields::from_pairs([("field", "value")])) });
    };
    let tracked = || {
        let info = world.run(&XInfoStream { key: "s".into() });
        (info.pids_tracked, info.iids_tracked)
    };
    world.clock.set_wall_ms(1_000_000_000);
    add("ahead".into());
    world.clock.set_wall_ms(1_000_000);
    for producer in 0..200 {
        world.clock.advance(Duration::from_secs(1));
        add(producer.to_string());
    }
    assert_eq!(tracked(), (101, 101));
    let bytes = world.run(&Object { key: "s".into() }).unwrap().memory_bytes;
    world.clock.advance(Duration::from_secs(99));
    assert_eq!(tracked(), (2, 2));
    add("last".into());
    let left = world.run(&Object { key: "s".into() }).unwrap().memory_bytes;
    assert!(left < bytes, "what is forgotten takes no memory: {left}, {bytes}");
    assert_eq!(tracked(), (3, 3));
}

/// However many idempotent ids are too old, none of them stands for an entry or is counted any more; in memory they stay
/// for a while, so that nobody waits for all of them to be forgotten.
#[test]
fn what_is_too_old_is_not_remembered_though_it_is_forgotten_little_by_little() {
    let world = World::new();
    world.add("s", 1);
    let config = XCfgSet { key: "s".into(), duration_secs: Some(10), maxsize: Some(3) };
    world.run(&config);
    let add = |producer: u64, iid: u64| {
        let once = Some(Idempotent { producer: producer.to_string().into(), iid: iid.to_string().into() });
        world.run(&XAdd { once, ..XAdd::new("s", Fields::from_pairs([("field", "value")])) }).unwrap()
    };
    let counts = || {
        let info = world.run(&XInfoStream { key: "s".into() });
        (info.pids_tracked, info.iids_tracked)
    };
    let first: Vec<EntryId> = (0..3500).map(|n| add(n % 1200, n)).collect();
    assert_eq!(counts(), (1200, 3500));
    assert_eq!(add(0, 0), first[0], "a duplicate");
    world.pass(11_000);
    assert_eq!(counts(), (0, 0));
    for n in 0..3500 {
        assert!(add(n % 1200, n) > first[3499], "it is an entry of its own");
        assert_eq!(counts(), (1200.min(n + 1), n + 1));
        if n % 100 == 0 {
            world.engine.check().unwrap();
        }
    }
    // The oldest of a producer that has too many goes, as before.
    let fourth = add(0, 10_000);
    assert_eq!(add(0, 10_000), fourth);
    assert_eq!(counts(), (1200, 3500));
    assert!(add(0, 0) > fourth, "it was forgotten for the fourth");
    world.engine.check().unwrap();
}
