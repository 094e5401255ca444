//! What is done with keys as a whole: DEL, EXISTS, TYPE, KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL.

use super::*;

/// DEL and UNLINK (1.0, 4.0). Answers how many keys there were.
#[derive(Clone, Debug)]
pub struct Del {
    /// The database.
    pub db: DbIndex,
    /// The keys.
    pub keys: Vec<Bytes>,
}
stub!(Del, u64);

/// EXISTS (1.0; several keys 3.0.3). A key named twice counts twice. TYPE asks the same of one key.
#[derive(Clone, Debug)]
pub struct Exists {
    /// The database.
    pub db: DbIndex,
    /// The keys.
    pub keys: Vec<Bytes>,
}
stub!(Exists, u64);

/// KEYS (1.0): all keys whose name matches a glob pattern.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The database.
    pub db: DbIndex,
    /// The pattern, as in [`glob_match`].
    pub pattern: Bytes,
}
stub!(Keys, Vec<Bytes>);

/// SCAN (2.8): some of the keys, and where to go on. A key that is there all the time is returned exactly once.
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

/// One step of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Where to go on; 0 at the end.
    pub next: u64,
    /// Keys found.
    pub keys: Vec<Bytes>,
}
stub!(Scan, Scanned);

/// DBSIZE (1.0): how many keys a database has.
#[derive(Clone, Debug)]
pub struct DbSize {
    /// The database.
    pub db: DbIndex,
}
stub!(DbSize, u64);

/// FLUSHDB and FLUSHALL (1.0).
#[derive(Clone, Debug)]
pub struct Flush {
    /// The database; `None` for all.
    pub db: Option<DbIndex>,
}
stub!(Flush, ());
