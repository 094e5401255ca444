//! Ways into what is private, for the fuzz targets (`fuzz/`) and for the tests that run their corpora.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fields::Fields;
use crate::id::{ConsumerNo, DbNo, EntryId, PartKey, Seq, StreamNo};
use crate::record::codec::{self, BatchBytes};
use crate::record::{Blob, ClaimedRow, Cursor, DedupConfig, GroupAt, Record, ReleasedRow, StreamAt};
use crate::recovery::absorb;
use crate::state::State;
use crate::state::tree::{LoadedPage, PartSink, Parts, Stopped};

/// More parts are read of no snapshot of a fuzzer: pages that lead to themselves would never end.
const READS_MAX: usize = 1000;

/// Facts that make up a small state with something of everything in it, each batch on top of the ones before.
#[must_use]
pub fn batches() -> Vec<Vec<u8>> {
    let db = DbNo::new(0);
    let stream = StreamAt { db, no: StreamNo::new(1) };
    let copy = StreamAt { db: DbNo::new(1), no: StreamNo::new(2) };
    let group = GroupAt { stream, name: Blob::from(&b"g"[..]) };
    let consumer = ConsumerNo::new(1);
    let id = |ms| EntryId::new(ms, 0);
    let fields = || Fields::from_pairs([("field", "value")]);
    let packed = fields();
    let added = |ms| Record::EntryAdded {
        stream,
        id: id(ms),
        opens_node: ms % 3 == 1,
        fields: Blob::from(packed.packed()),
    };
    let cursor = |ms| Cursor { last_delivered_id: id(ms), entries_read: Some(ms) };
    let claimed = ClaimedRow { id: id(2), delivered_ms: 30, delivery_count: 4 };
    let all: [Vec<Record<'_>>; 9] = [
        vec![Record::StreamCreated { stream, name: Blob::from(&b"s"[..]) }, added(1), added(2)],
        vec![added(3), added(4), added(5)],
        vec![
            Record::GroupCreated { group: group.clone(), cursor: cursor(0) },
            Record::ConsumerCreated { group: group.clone(), consumer, name: Blob::from(&b"c"[..]), at_ms: 1 },
        ],
        vec![Record::Delivered {
            group: group.clone(),
            consumer,
            at_ms: 2,
            ids: vec![id(1), id(2), id(3)],
            cursor: cursor(3),
        }],
        vec![Record::Claimed { group: group.clone(), consumer, rows: vec![claimed], active_ms: Some(31) }],
        vec![
            Record::Released {
                group: group.clone(),
                rows: vec![ReleasedRow { id: id(3), delivery_count: 7 }],
            },
            Record::Acknowledged { group, ids: vec![id(1)] },
        ],
        vec![
            Record::DedupConfigured { stream, config: DedupConfig { duration_secs: 60, maxsize: 7 } },
            Record::DedupRemembered {
                stream,
                producer: Blob::from(&b"p"[..]),
                iid: Blob::from(&b"i"[..]),
                id: id(5),
                at_ms: 3,
                counted: true,
            },
        ],
        vec![
            Record::StreamCopied { from: stream, to: copy, name: Blob::from(&b"copy"[..]) },
            Record::ExpirySet { stream: copy, at_ms: Some(1_700_000_000_002) },
        ],
        vec![Record::EntriesDeleted { stream, ids: vec![id(4)] }],
    ];
    let bytes = |records: &Vec<Record<'_>>| {
        let mut batch = BatchBytes::default();
        records.iter().for_each(|record| batch.push(record));
        batch.bytes().to_vec()
    };
    all.iter().map(bytes).collect()
}

/// The state that [`batches`] make up.
fn state() -> State {
    let mut state = State::default();
    for batch in batches() {
        let seq = state.applied().next();
        let records = codec::records(&batch).expect("it was encoded");
        absorb(&mut state, seq, records).expect("each fits what is before");
        state.finish(seq);
    }
    state.check().expect("nothing is wrong with it");
    state
}

/// Any bytes as a batch of records: decoded, encoded again, and applied to a state.
///
/// # Panics
/// If a record does not come back from its own bytes, if one that is refused changes the state, or one that is applied
/// leaves it at odds with itself.
pub fn records(bytes: &[u8]) {
    let mut state = state();
    let Ok(records) = codec::records(bytes) else { return };
    for record in records {
        let Ok(record) = record else { return };
        let mut batch = BatchBytes::default();
        batch.push(&record);
        let again: Vec<_> = codec::records(batch.bytes()).expect("it has a count").collect();
        assert_eq!(again, [Ok(record.clone())]);
        let seq = state.applied().next();
        let before = state.digest();
        match absorb(&mut state, seq, [Ok(&record)]) {
            Ok(()) => state.finish(seq),
            Err(misfit) => assert_eq!(state.digest(), before, "{record:?} was refused ({misfit})"),
        }
        if let Err(why) = state.check() {
            panic!("after {record:?}: {why}");
        }
    }
}

/// A state in parts.
#[derive(Clone, Default)]
struct Dumped {
    parts: BTreeMap<PartKey, Vec<u8>>,
    head: Vec<u8>,
    reads: usize,
    loaded: BTreeMap<PartKey, Arc<LoadedPage>>,
    shares: bool,
}

impl PartSink for Dumped {
    fn changed(&mut self, key: PartKey, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.parts.insert(key, bytes);
        Ok(())
    }

    fn kept(&mut self, _: PartKey) {}
}

impl Parts for Dumped {
    fn read(&mut self, key: PartKey) -> Result<Vec<u8>, String> {
        self.reads += 1;
        if self.reads > READS_MAX {
            return Err("too much is read".into());
        }
        self.parts.get(&key).cloned().ok_or_else(|| "it is missing".into())
    }

    fn share(&mut self, shares: bool) {
        self.shares = shares;
    }

    fn loaded(&self, key: PartKey) -> Option<&LoadedPage> {
        self.loaded.get(&key).filter(|_| self.shares).map(|page| &**page)
    }

    fn remember(&mut self, key: PartKey, page: &dyn Fn() -> Box<LoadedPage>) {
        if self.shares {
            self.loaded.insert(key, page().into());
        }
    }
}

fn dump(state: &State) -> Dumped {
    let mut dumped = Dumped::default();
    let head = state.dump(Seq::ZERO, &mut dumped);
    dumped.head = head.expect("the sink takes all");
    dumped
}

/// A snapshot with changes in it that the bytes say, as if its checksums were right. It is refused, or what was loaded
/// agrees with itself or its check says what is wrong; what agrees is, dumped again and loaded, the same state.
///
/// The bytes are changes: which part (the head is the first), what to do with it, where, and with what.
///
/// # Panics
/// If that is not so.
pub fn snapshot(bytes: &[u8]) {
    let mut dumped = dump(&state());
    let keys: Vec<PartKey> = dumped.parts.keys().copied().collect();
    let (whole, mut changes) = match bytes.split_first() {
        // All of the head, or of a part.
        Some((&0xFF, rest)) => (true, rest),
        _ => (false, bytes),
    };
    while let [part, how, at, with, rest @ ..] = changes {
        let key = keys.get(usize::from(*part) % (keys.len() + 1)).copied();
        let other = keys[usize::from(*with) % keys.len()];
        let other = dumped.parts.get(&other).cloned().unwrap_or_default();
        let target = match key {
            Some(key) => dumped.parts.entry(key).or_default(),
            None => &mut dumped.head,
        };
        if whole {
            *target = rest.to_vec();
            break;
        }
        let at = usize::from(*at) % target.len().max(1);
        match how % 6 {
            0 if at < target.len() => target[at] ^= *with,
            1 if at < target.len() => target[at] = *with,
            2 => target.truncate(at),
            3 => target.insert(at.min(target.len()), *with),
            4 if at < target.len() => drop(target.remove(at)),
            5 => *target = other,
            _ => {}
        }
        changes = rest;
    }
    let _ = State::read_through(&dumped.head.clone(), &mut dumped.clone());
    let Ok(state) = State::load(&dumped.head.clone(), &mut dumped) else { return };
    // What is behind a right checksum and was never written like that is not found by loading, but by this.
    if state.check().is_err() {
        return;
    }
    let again = dump(&state);
    // Not byte by byte: a number can be written in more than one way, and only one of them is ours.
    assert!(
        again.parts.keys().all(|key| dumped.parts.contains_key(key)),
        "nothing is dumped that was not loaded"
    );
    let mut from = again.clone();
    let loaded = State::load(&again.head, &mut from).expect("what was dumped can be loaded");
    assert_eq!(loaded.digest(), state.digest());
}
