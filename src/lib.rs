//! claimlog: a durable Redis Streams engine.

pub mod io;
pub mod wal;

mod id;

pub use id::{ConsumerNo, DbNo, EntryId, PageNo, Seq, StreamNo};
