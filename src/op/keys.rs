//! What is done with keys as a whole: DEL, EXISTS, TYPE, KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL.

use super::*;
use crate::state::{Database, Name};

/// DEL and UNLINK (1.0, 4.0). Answers how many keys there were.
#[derive(Clone, Debug)]
pub struct Del {
    /// The database.
    pub db: DbIndex,
    /// The keys.
    pub keys: Vec<Bytes>,
}

impl Op for Del {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let mut found = Vec::new();
        for key in &self.keys {
            if let Some(stream) = view.peek(self.db, key)? {
                found.push(view.at(self.db, stream));
            }
        }
        found.sort_unstable_by_key(|at| at.no);
        found.dedup();
        let records: Records<'_> = found.into_iter().map(|stream| Record::StreamDeleted { stream }).collect();
        Decision::change(records.len() as u64, records)
    }
}

/// EXISTS (1.0; several keys 3.0.3). A key named twice counts twice. TYPE asks the same of one key.
#[derive(Clone, Debug)]
pub struct Exists {
    /// The database.
    pub db: DbIndex,
    /// The keys.
    pub keys: Vec<Bytes>,
}

impl Op for Exists {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let mut found = 0;
        for key in &self.keys {
            found += u64::from(view.peek(self.db, key)?.is_some());
        }
        Decision::read(found)
    }
}

/// KEYS (1.0): all keys whose name matches a glob pattern, in byte order.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The database.
    pub db: DbIndex,
    /// The pattern, as in [`glob_match`].
    pub pattern: Bytes,
}

impl Op for Keys {
    type Reply = Vec<Bytes>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let mut found = Vec::new();
        for name in view.state.database(self.db).names().filter(|name| glob_match(&self.pattern, name)) {
            view.spend(name.len())?;
            found.push(name.clone());
        }
        found.sort_unstable();
        Decision::read(found)
    }
}

/// SCAN (2.8): some of the keys, and where to go on. A name that is there all the time is answered exactly once, also if
/// the key behind it becomes another one meanwhile.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The database.
    pub db: DbIndex,
    /// 0 to begin, then what the call before answered.
    pub cursor: u64,
    /// How many keys are looked at.
    pub count: u64,
    /// Only keys that match.
    pub pattern: Option<Bytes>,
}

/// A cursor is the upper 53 bits of a hash of 64: some clients keep it as a double.
const CURSOR_SHIFT: u32 = 64 - 53;

/// One step of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Where to go on; 0 at the end.
    pub next: u64,
    /// Keys found.
    pub keys: Vec<Bytes>,
}

impl Op for Scan {
    type Reply = Scanned;

    /// Walks by the hash of the name, which nothing changes.
    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Scanned>, Stop> {
        let mut scanned = Scanned { next: 0, keys: Vec::new() };
        let Some(first) = self.cursor.checked_mul(1 << CURSOR_SHIFT) else { return Decision::read(scanned) };
        let mut looks_left = self.count.max(1);
        let mut last = None;
        for place in view.state.database(self.db).names_from(first)? {
            let (place, names) = place?;
            let cursor = place >> CURSOR_SHIFT;
            // Names that have one cursor come together.
            if looks_left == 0 && last != Some(cursor) {
                scanned.next = cursor;
                break;
            }
            last = Some(cursor);
            looks_left = looks_left.saturating_sub(1);
            for Name { name, .. } in names {
                if self.pattern.as_ref().is_none_or(|pattern| glob_match(pattern, name)) {
                    view.spend(name.len())?;
                    scanned.keys.push(name.clone());
                }
            }
        }
        Decision::read(scanned)
    }
}

/// DBSIZE (1.0): how many keys a database has.
#[derive(Clone, Debug)]
pub struct DbSize {
    /// The database.
    pub db: DbIndex,
}

impl Op for DbSize {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        Decision::read(view.state.database(self.db).key_count())
    }
}

/// FLUSHDB and FLUSHALL (1.0).
#[derive(Clone, Debug)]
pub struct Flush {
    /// The database; `None` for all.
    pub db: Option<DbIndex>,
}

impl Op for Flush {
    type Reply = ();

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let wanted = |database: &&Database| {
            database.key_count() > 0
                && self.db.is_none_or(|index| view.state.database(index).no() == database.no())
        };
        let flushed = view.state.databases().filter(wanted);
        Decision::change((), flushed.map(|database| Record::DatabaseFlushed { db: database.no() }).collect())
    }
}
