//! SQLite: a table, a write-ahead log (`journal_mode=WAL`), a sync for each transaction (`synchronous=FULL`), and a
//! transaction for each call. There is one at a time, so there is one connection, behind a lock: writers that have one
//! each find the database busy and sleep.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::queue::{Append, Queue};

pub(crate) struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("SQLite creates a file");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE jobs (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
            )
            .expect("a table is created");
        Self(Mutex::new(connection))
    }
}

impl Queue for Sqlite {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| {
            let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.unchecked_transaction().expect("a transaction begins");
            let insert = transaction.prepare_cached("INSERT INTO jobs (payload) VALUES (?1)");
            let mut insert = insert.expect("a statement is prepared");
            for message in messages {
                insert.execute([&message[..]]).expect("a message is inserted");
            }
            drop(insert);
            transaction.commit().expect("it commits");
        })
    }
}
