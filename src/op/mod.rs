//! Typed requests and their policy: what each command means, decided on the state as it is.
//!
//! A request looks at the state and at the time it is given, and answers with a reply and with the facts that make
//! the reply true ([`Decision`]), or refuses. It changes nothing: the facts do, once they are in the log.

macro_rules! stub { ($t:ty, $r:ty) => { impl Op for $t { type Reply = $r; fn decide<'a>(&'a self, _view: &View<'_>) -> Result<Decision<'a, $r>, Stop> { Err(Stop::Refuse(Refusal::NoSuchKey)) } } } }

mod keys;
mod refusal;
mod trim;
mod xack;
mod xadd;
mod xautoclaim;
mod xclaim;
mod xdel;
mod xgroup;
mod xinfo;
mod xlen;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;

use bytes::Bytes;

use crate::fields::Fields;
use crate::id::EntryId;

pub use keys::*;
pub use refusal::*;
pub use trim::*;
pub use xack::*;
pub use xadd::*;
pub use xautoclaim::*;
pub use xclaim::*;
pub use xdel::*;
pub use xgroup::*;
pub use xinfo::*;
pub use xlen::*;
pub use xpending::*;
pub use xrange::*;
pub use xread::*;
pub use xreadgroup::*;
pub use xsetid::*;

/// A database's index, as in `SELECT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbIndex(pub(crate) u8);

impl DbIndex {
    /// How many databases there are.
    pub const COUNT: u8 = 16;

    /// The database with that index, if there is one.
    #[must_use]
    pub fn new(index: u8) -> Option<Self> {
        (index < Self::COUNT).then_some(Self(index))
    }

    /// The index.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A key: a name in a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The database.
    pub db: DbIndex,
    /// The name: any bytes.
    pub name: Bytes,
}

impl From<&str> for Key {
    /// The key of that name in database 0.
    fn from(name: &str) -> Self {
        Self { db: DbIndex::default(), name: Bytes::copy_from_slice(name.as_bytes()) }
    }
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its pairs.
    pub fields: Fields,
}

/// A request: what is asked of the engine, and how it is decided.
pub trait Op {
    /// What it answers.
    type Reply;

    /// Decides the request on the state as it is. Changes nothing.
    ///
    /// # Errors
    /// [`Stop`]: refused, or parts of the state are needed first.
    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop>;
}
/// What a request is decided on.
pub struct View<'a>(&'a ());
/// Reply and facts.
pub struct Decision<'a, R>(&'a R);
/// Why a request could not be decided.
pub enum Stop {
    /// Refused.
    Refuse(Refusal),
}
