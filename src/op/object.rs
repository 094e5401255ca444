//! OBJECT, MEMORY USAGE, TOUCH, RANDOMKEY: what a key is like.

use super::*;
use crate::state::Row;

/// OBJECT (2.2.3): what a key is like, without using it. `None` if there is no such key.
#[derive(Clone, Debug)]
pub struct Object {
    /// The key.
    pub key: Key,
}

/// What a key is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Since when it was not used, in milliseconds; `None` if it was not since the start.
    pub idle_ms: Option<u64>,
    /// About how many bytes it takes in memory.
    pub memory_bytes: u64,
}

impl Op for Object {
    type Reply = Option<ObjectInfo>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let Some(stream) = view.peek(self.key.db, &self.key.name)? else { return Decision::read(None) };
        Decision::read(Some(ObjectInfo {
            idle_ms: view.presence.used_ms(stream.no).map(|used_ms| view.idle_ms(used_ms)),
            memory_bytes: stream.bytes(),
        }))
    }
}

/// TOUCH (3.2.1): uses keys. Answers how many there were.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The database.
    pub db: DbIndex,
    /// The keys.
    pub keys: Vec<Bytes>,
}

impl Op for Touch {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let mut found = 0;
        for key in &self.keys {
            found += u64::from(view.stream_named(self.db, key)?.is_some());
        }
        Decision::read(found)
    }
}

/// RANDOMKEY (1.0). `None` if there are no keys.
#[derive(Clone, Debug)]
pub struct RandomKey {
    /// The database.
    pub db: DbIndex,
    /// The chance: any number. The key that follows it in the order of SCAN is answered.
    pub dice: u64,
}

impl Op for RandomKey {
    type Reply = Option<Bytes>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let database = view.state.database(self.db);
        for place in [self.dice, 0] {
            if let Some(found) = database.names_from(place)?.next() {
                let (_, names) = found?;
                return Decision::read(names.first().map(|bound| bound.name.clone()));
            }
        }
        Decision::read(None)
    }
}
