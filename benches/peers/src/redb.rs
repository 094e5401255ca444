//! redb: a write transaction for each call, with its default, `Durability::Immediate`. There is one at a time.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, TableDefinition};

use crate::queue::{Append, Queue};

const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");

pub(crate) struct Redb {
    db: Database,
    last: AtomicU64,
}

impl Redb {
    pub(crate) fn open(path: &Path) -> Self {
        let db = Database::create(path).expect("redb creates a file");
        Self { db, last: AtomicU64::new(0) }
    }
}

impl Queue for Redb {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| {
            let transaction = self.db.begin_write().expect("a transaction begins");
            let mut jobs = transaction.open_table(JOBS).expect("the table opens");
            for message in messages {
                let number = self.last.fetch_add(1, Ordering::Relaxed);
                jobs.insert(number, message.as_slice()).expect("a message is inserted");
            }
            drop(jobs);
            transaction.commit().expect("it commits");
        })
    }
}
