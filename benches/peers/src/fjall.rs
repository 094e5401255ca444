//! fjall: an insert, then `persist(SyncData)`, which writes the journal and syncs it. Each writer that calls it syncs, one
//! after the other.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::queue::{Append, Queue, key};

pub(crate) struct Fjall {
    db: Database,
    jobs: Keyspace,
    last: AtomicU64,
}

impl Fjall {
    pub(crate) fn open(dir: &Path) -> Self {
        let db = Database::builder(dir).open().expect("fjall opens an empty directory");
        // Its own write to the system for each insert is saved: persisting does that too.
        let options = || KeyspaceCreateOptions::default().manual_journal_persist(true);
        let jobs = db.keyspace("jobs", options).expect("a keyspace is created");
        Self { db, jobs, last: AtomicU64::new(0) }
    }
}

impl Queue for Fjall {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| {
            for message in messages {
                let number = self.last.fetch_add(1, Ordering::Relaxed);
                self.jobs.insert(key(number), message).expect("a message is inserted");
            }
            self.db.persist(PersistMode::SyncData).expect("they are synced");
        })
    }
}
