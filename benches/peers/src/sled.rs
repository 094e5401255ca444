//! sled, of the version that claimlog keeps its snapshots in: an insert, then a flush. Writers that flush at the same
//! time may share one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::queue::{Append, Queue, key};

/// The entries of a leaf, as sled's documentation has it.
const LEAF_FANOUT: usize = 1024;

pub(crate) struct Sled {
    db: sled::Db<LEAF_FANOUT>,
    last: AtomicU64,
}

impl Sled {
    pub(crate) fn open(dir: &Path) -> Self {
        // It is writers who flush, nobody else.
        let config = sled::Config::new().path(dir).flush_every_ms(None);
        let db = config.open().expect("sled opens an empty directory");
        Self { db, last: AtomicU64::new(0) }
    }
}

impl Queue for Sled {
    fn writer(&self) -> Append<'_> {
        // A handle can't be used by two threads, so each has its own.
        let (db, last) = (self.db.clone(), &self.last);
        Box::new(move |messages| {
            for message in messages {
                let number = last.fetch_add(1, Ordering::Relaxed);
                db.insert(key(number), message.as_slice()).expect("a message is inserted");
            }
            db.flush().expect("they are flushed");
        })
    }
}
