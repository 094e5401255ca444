//! Which keys a record touches: who watches them, and who waits for them, must know.

use crate::op::{DbIndex, Key};
use crate::record::{Record, StreamAt};
use crate::state::State;

/// What a record touches, looked up in the state before the record is applied.
pub(super) struct Touched {
    pub(super) what: Place,
    /// Whether those who watch it count it as changed. Changes to a pending entries list don't count.
    pub(super) watched: bool,
    /// Whether those who wait for it may have something to read, or will never have.
    pub(super) awaited: bool,
}

/// One key, or all keys of a database.
pub(super) enum Place {
    Key(Key),
    Database(DbIndex),
}

/// What a record touches, if anyone could care.
pub(super) fn touched(state: &State, record: &Record<'_>) -> Option<Touched> {
    let (stream, watched, awaited) = match record {
        Record::StreamCreated { stream, name } => {
            let key = Key { db: state.index_of(stream.db)?, name: name.as_slice().to_vec().into() };
            // What the same batch puts into it can't be looked up yet, so whoever waits for the key is told now.
            return Some(Touched { what: Place::Key(key), watched: true, awaited: true });
        }
        Record::DatabaseFlushed { db } => {
            let index = state.index_of(*db)?;
            return Some(Touched { what: Place::Database(index), watched: true, awaited: true });
        }
        Record::StreamDeleted { stream } | Record::EntryAdded { stream, .. } => (*stream, true, true),
        Record::EntriesTrimmed { stream, .. } | Record::EntriesDeleted { stream, .. } => {
            (*stream, true, false)
        }
        Record::GroupDestroyed { group } => (group.stream, false, true),
        Record::IdsSet { .. }
        | Record::GroupCreated { .. }
        | Record::GroupMoved { .. }
        | Record::ConsumerCreated { .. }
        | Record::ConsumerRemoved { .. }
        | Record::Delivered { .. }
        | Record::Claimed { .. }
        | Record::Acknowledged { .. } => return None,
    };
    Some(Touched { what: Place::Key(key_of(state, stream)?), watched, awaited })
}

fn key_of(state: &State, at: StreamAt) -> Option<Key> {
    let stream = state.stream_at(at).ok()??;
    Some(Key { db: state.index_of(at.db)?, name: stream.name.clone() })
}
