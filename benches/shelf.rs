//! A snapshot store that costs next to nothing. The simulated one of the library copies everything it holds at each
//! flush, to know what a crash would leave; here that would be all that is measured.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claimlog::snapshot::{Generation, Root, SnapshotPlace, SnapshotStore, StoreError};
use claimlog::{PageNo, PartKey, Seq, StoreId};

/// A place with at most one store. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    generation: Option<(Generation, StoreId)>,
    parts: BTreeMap<PartKey, Vec<u8>>,
    roots: BTreeMap<Seq, Root>,
}

/// The store of a shelf, as it was when it was created or opened.
#[derive(Debug)]
struct Board {
    shelf: Shelf,
    generation: (Generation, StoreId),
}

impl Shelf {
    /// Loses everything.
    pub(crate) fn lose(&self) {
        *self.content() = Content::default();
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> StoreError {
    StoreError { store: "shelf".into(), kind: ErrorKind::NotFound, why: "it is not there".into() }
}

impl SnapshotPlace for Shelf {
    fn name(&self) -> String {
        "shelf".into()
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        Ok(self.content().generation.iter().map(|(generation, _)| *generation).collect())
    }

    fn create(&self, generation: Generation, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        let generation = (generation, owner);
        *self.content() = Content { generation: Some(generation), ..Content::default() };
        Ok(Arc::new(Board { shelf: self.clone(), generation }))
    }

    fn open(&self, generation: Generation) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        let generation =
            self.content().generation.filter(|(there, _)| *there == generation).ok_or_else(lost)?;
        Ok(Arc::new(Board { shelf: self.clone(), generation }))
    }

    fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        let mut content = self.content();
        if content.generation.is_some_and(|(there, _)| there == generation) {
            *content = Content::default();
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

impl Board {
    fn content(&self) -> Result<MutexGuard<'_, Content>, StoreError> {
        let content = self.shelf.content();
        if content.generation == Some(self.generation) { Ok(content) } else { Err(lost()) }
    }
}

impl SnapshotStore for Board {
    fn name(&self) -> String {
        format!("shelf-{:04}", self.generation.0)
    }

    fn owner(&self) -> StoreId {
        self.generation.1
    }

    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        Ok(self.content()?.roots.values().rev().cloned().collect())
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        self.content()?.parts.get(&key).cloned().ok_or_else(lost)
    }

    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError> {
        let first = PartKey { changed_at: seq.next(), page: PageNo::ZERO };
        Ok(self.content()?.parts.range(first..).map(|(key, _)| *key).collect())
    }

    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
        self.content()?.parts.insert(key, bytes.to_vec());
        Ok(())
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.content()?.parts.remove(&key);
        Ok(())
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.content()?.roots.insert(root.seq, root.clone());
        Ok(())
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.content()?.roots.remove(&seq);
        Ok(())
    }

    fn abandon(&self) {}

    fn flush(&self) -> Result<(), StoreError> {
        self.content().map(drop)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.content().map(drop)
    }
}
