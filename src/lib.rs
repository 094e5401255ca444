//! claimlog: a durable Redis Streams engine.

pub mod engine;
pub mod io;
pub mod op;
#[cfg(feature = "server")]
pub mod resp;
pub mod wal;

mod fields;
mod id;

pub use fields::Fields;
pub use id::{ConsumerNo, DbNo, EntryId, PageNo, Seq, StreamNo};
