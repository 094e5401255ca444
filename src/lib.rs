//! claimlog: a durable Redis Streams engine.

pub mod engine;
pub mod io;
pub mod op;
pub mod wal;

mod fields;
mod id;
pub mod record;
pub mod snapshot;
mod state;

pub use fields::Fields;
pub use id::{ConsumerNo, DbNo, EntryId, PageNo, PartKey, Seq, StreamNo};
