//! One place for snapshots, as the engine sees it: the store that is in use there, its newest root, and what is left of
//! stores that were given up.

use std::io::ErrorKind;
use std::sync::Arc;

use super::{Generation, Root, SnapshotPlace, SnapshotStore, StoreError};
use crate::id::{Seq, StoreId};

/// A place and what is known of it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) place: Arc<dyn SnapshotPlace>,
    /// The store in use; none before the first snapshot, and when the last one was given up.
    pub(crate) store: Option<Arc<dyn SnapshotStore>>,
    /// The newest root of the store in use.
    pub(crate) root: Option<Root>,
    /// Whether all of that root was read since the opening.
    pub(crate) verified: bool,
    /// Why the place has to be built anew, if it has to.
    pub(crate) trouble: Option<String>,
    /// Something here is of a newer format.
    pub(crate) newer: bool,
    generation: Generation,
    /// Stores that are replaced as soon as the one in use has a root.
    replaced: Vec<Generation>,
}

/// A root that was found, and where.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The place, by its position.
    pub(crate) slot: usize,
    pub(crate) generation: Generation,
    pub(crate) store: Arc<dyn SnapshotStore>,
    pub(crate) root: Root,
}

impl Slot {
    /// Looks at a place. Adds the roots that were found to `candidates`, and what is wrong to `warnings`.
    pub(crate) fn survey(
        place: &Arc<dyn SnapshotPlace>,
        at: usize,
        candidates: &mut Vec<Candidate>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let mut slot = Self {
            place: Arc::clone(place),
            store: None,
            root: None,
            verified: false,
            trouble: None,
            newer: false,
            generation: 0,
            replaced: Vec::new(),
        };
        let generations = match place.generations() {
            Ok(generations) => generations,
            Err(error) => {
                slot.trouble = Some(error.why.clone());
                warnings.push(error.to_string());
                return slot;
            }
        };
        for generation in generations {
            // The stores before it count only as long as this one has no root.
            slot.replaced.extend((slot.generation > 0).then_some(slot.generation));
            slot.generation = generation;
            (slot.store, slot.root, slot.trouble) = (None, None, None);
            let found = place.open(generation).and_then(|store| Ok((store.roots()?, store)));
            match found {
                Ok((roots, store)) => {
                    slot.root = roots.first().cloned();
                    candidates.extend(roots.into_iter().map(|root| Candidate {
                        slot: at,
                        generation,
                        store: Arc::clone(&store),
                        root,
                    }));
                    slot.store = Some(store);
                }
                Err(error) => {
                    slot.trouble = Some(error.why.clone());
                    slot.newer |= error.kind == ErrorKind::Unsupported;
                    warnings.push(error.to_string());
                }
            }
        }
        if slot.root.is_none() && slot.store.is_some() && !slot.replaced.is_empty() {
            slot.trouble = Some("it was being built anew".into());
        }
        slot
    }

    /// The newest batch that is safe here.
    pub(crate) fn seq(&self) -> Option<Seq> {
        self.root.as_ref().map(|root| root.seq)
    }

    /// The store in use is used no more: the next snapshot here is built anew, beside what is left of it.
    pub(crate) fn give_up(&mut self, why: &str) {
        if let Some(store) = self.store.take() {
            store.abandon();
        }
        self.root = None;
        self.trouble = Some(why.into());
    }

    /// Lets go of the store in use, as it is.
    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    /// The store in use; an empty one is created if there is none.
    pub(crate) fn store(&mut self, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let replaced = (self.generation > 0).then_some(self.generation);
        // A creation that failed may have left its number in use.
        self.generation += 1;
        self.replaced.extend(replaced);
        let store = self.place.create(self.generation, owner)?;
        Ok(Arc::clone(self.store.insert(store)))
    }

    /// The store in use has a new root, which was verified.
    pub(crate) fn rooted(&mut self, root: Root) {
        self.root = Some(root);
        self.verified = true;
        self.trouble = None;
    }

    /// Removes what was given up. To be called when the store in use has a root; for want of room also before. What
    /// fails is only space, and tried again next time.
    pub(crate) fn remove_replaced(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() && self.generation > 0 {
            self.place.remove(self.generation)?;
        }
        while let Some(generation) = self.replaced.last() {
            self.place.remove(*generation)?;
            self.replaced.pop();
        }
        Ok(())
    }

    /// Removes all there is: the place is used no more.
    pub(crate) fn clear(&mut self) -> Result<(), StoreError> {
        (self.store, self.root) = (None, None);
        for generation in self.place.generations()? {
            self.place.remove(generation)?;
        }
        Ok(())
    }
}
