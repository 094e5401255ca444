//! claimlog: a durable Redis Streams engine.
//!
//! Every entry and every change of a consumer group (delivery, claim, acknowledgement, deletion) is in a write-ahead
//! log before it is answered. A claim that was answered survives any crash, with its owner, its delivery time and its
//! delivery count.
//!
//! Start with [`engine::Options`]; requests are the types of [`op`].
//!
//! It is not a cache and not a cluster: one process owns one directory.

pub mod engine;
pub mod error;
#[cfg(feature = "sim")]
pub mod history;
pub mod io;
pub mod op;
pub mod record;
pub mod recovery;
pub mod snapshot;
pub mod wal;

#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod fuzzing;

mod fields;
mod id;
#[cfg(feature = "server")]
pub mod resp;
mod state;

pub use engine::{Engine, Options};
pub use error::{Error, OpenError};
pub use fields::Fields;
pub use id::{ConsumerNo, DbNo, EntryId, PageNo, PartKey, Seq, StoreId, StreamNo};

/// The examples of the README, so that they are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
