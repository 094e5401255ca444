//! Which keys a record touches: who watches them, and who waits for them, must know.

use crate::id::DbNo;
use crate::op::{DbIndex, Key};
use crate::record::{Record, StreamAt};
use crate::state::State;

/// What a record touches, looked up in the state before the record is applied.
pub(super) struct Touched {
    pub(super) what: Place,
    /// Whether those who watch it count it as changed. Changes to a pending entries list don't count.
    pub(super) watched: bool,
    pub(super) awaited: Awaited,
}

/// Whether those who wait for a key may have something to read, or will never have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    No,
    /// Those who would claim what is pending.
    ByClaims,
    ByAll,
}

/// One key, or all keys of a database.
pub(super) enum Place {
    Key(Key),
    /// The second: the database whose keys it will have.
    Database(DbIndex, Option<DbIndex>),
}

/// What a record touches, if anyone could care: one place or two.
pub(super) fn touched(state: &State, record: &Record<'_>) -> Vec<Touched> {
    use Awaited::{ByAll, ByClaims, No};
    let of = |stream: StreamAt, watched, awaited| -> Option<Touched> {
        Some(Touched { what: Place::Key(key_of(state, stream)?), watched, awaited })
    };
    // A key that does not lead to the stream yet. What the same batch puts into it can't be looked up, so whoever waits
    // for the key is told now.
    let new = |db: DbNo, name: &[u8]| -> Option<Touched> {
        let key = Key { db: state.index_of(db)?, name: name.to_vec().into() };
        Some(Touched { what: Place::Key(key), watched: true, awaited: ByAll })
    };
    let database = |db: DbNo, with: Option<DbNo>| -> Option<Touched> {
        let what = Place::Database(state.index_of(db)?, with.and_then(|with| state.index_of(with)));
        Some(Touched { what, watched: true, awaited: ByAll })
    };
    let (one, other) = match record {
        Record::StreamCreated { stream, name } => (new(stream.db, name.as_slice()), None),
        Record::StreamCopied { to, name, .. } => (new(to.db, name.as_slice()), None),
        Record::StreamRenamed { stream, name } => (of(*stream, true, ByAll), new(stream.db, name.as_slice())),
        Record::StreamMoved { stream, to } => {
            let name = state.stream_at(*stream).ok().flatten().map(|stream| stream.name.clone());
            (of(*stream, true, ByAll), name.and_then(|name| new(*to, &name)))
        }
        Record::DatabaseFlushed { db } => (database(*db, None), None),
        Record::DatabasesSwapped { one, other } => {
            (database(*one, Some(*other)), database(*other, Some(*one)))
        }
        Record::StreamDeleted { stream } | Record::EntryAdded { stream, .. } => {
            (of(*stream, true, ByAll), None)
        }
        Record::EntriesTrimmed { stream, .. }
        | Record::EntriesDeleted { stream, .. }
        | Record::DedupConfigured { stream, .. }
        | Record::ExpirySet { stream, .. } => (of(*stream, true, No), None),
        Record::GroupDestroyed { group } => (of(group.stream, false, ByAll), None),
        Record::Delivered { group, .. } | Record::Claimed { group, .. } | Record::Released { group, .. } => {
            (of(group.stream, false, ByClaims), None)
        }
        Record::IdsSet { .. }
        | Record::GroupCreated { .. }
        | Record::GroupMoved { .. }
        | Record::ConsumerCreated { .. }
        | Record::ConsumerRemoved { .. }
        | Record::Acknowledged { .. }
        | Record::DedupRemembered { .. }
        | Record::DuplicateRefused { .. } => (None, None),
    };
    one.into_iter().chain(other).collect()
}

fn key_of(state: &State, at: StreamAt) -> Option<Key> {
    let stream = state.stream_at(at).ok()??;
    Some(Key { db: state.index_of(at.db)?, name: stream.name.clone() })
}
