//! One place for snapshots, as the engine sees it: the store that is in use there, its newest root, and what is left of
//! stores that were given up.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::{Generation, Root, SnapshotPlace, SnapshotStore, StoreError};
use crate::id::{PageNo, PartKey, Seq, StoreId};

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
    /// How far reading the store through has come, if that is being done.
    reading: Option<ReadThrough>,
    generation: Generation,
    /// Stores that are replaced as soon as the one in use has a root.
    replaced: Vec<Generation>,
}

/// So many names of parts are asked for at a time when a store is read through,
const KEYS_AT_A_TIME: usize = 64;
/// and each of them counts as so much that was read, at least.
const KEY_BYTES: u64 = 32;

/// A store that is being read through, part by part in the order of their names. Turns may come in between: what they add
/// has names beyond all that was read, and what they take away is said by the root.
#[derive(Debug)]
struct ReadThrough {
    /// Up to here all was read.
    at: PartKey,
    /// How many parts up to there the root names, and what these names add up to.
    part_count: u64,
    fingerprint: u128,
    /// Parts that are still there and that the root does not name.
    dropped: HashSet<PartKey>,
}

impl ReadThrough {
    fn new(root: &Root) -> Self {
        let at = PartKey { changed_at: Seq::ZERO, page: PageNo::ZERO };
        Self { at, part_count: 0, fingerprint: 0, dropped: root.dropped.iter().copied().collect() }
    }

    fn count(&mut self, key: PartKey) {
        self.part_count += 1;
        self.fingerprint = self.fingerprint.wrapping_add(key.fingerprint());
    }

    /// The store has another root.
    fn goes_on_with(&mut self, root: &Root) {
        for key in root.dropped.iter().filter(|key| **key <= self.at) {
            self.part_count = self.part_count.saturating_sub(1);
            self.fingerprint = self.fingerprint.wrapping_sub(key.fingerprint());
        }
        self.dropped = root.dropped.iter().copied().collect();
    }
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
            reading: None,
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
        (self.root, self.reading) = (None, None);
        self.trouble = Some(why.into());
    }

    /// Nothing is asked of the store in use for a while: what it takes in memory is not needed. Who reads it through goes
    /// on where that was.
    pub(crate) fn rest(&mut self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let rested = store.rest();
        if let Err(error) = &rested {
            self.give_up(&error.why);
        }
        rested
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
        if let Some(reading) = &mut self.reading {
            reading.goes_on_with(&root);
        }
        self.root = Some(root);
        self.verified = true;
        self.trouble = None;
    }

    /// Begins to read the store in use through: it forgets what it has in memory first. Answers how many bytes were read,
    /// `None` if there is nothing to read.
    pub(crate) fn begin_reading(&mut self) -> Result<Option<u64>, StoreError> {
        self.reading = None;
        let (Some(store), Some(root)) = (&self.store, &self.root) else { return Ok(None) };
        store.reopen()?;
        if store.roots()?.first() != Some(root) {
            let why = format!("the root of batch {} is missing or does not check out", root.seq);
            return Err(StoreError { store: store.name(), kind: io::ErrorKind::InvalidData, why });
        }
        self.reading = Some(ReadThrough::new(root));
        Ok(Some(root.head.len() as u64))
    }

    /// Reads on, until about so many bytes were read. Answers how many, and whether there is no more to read: then all
    /// that the root names is there and checks out. If a snapshot was taken here meanwhile, it goes on with that one.
    pub(crate) fn read_on(&mut self, bytes_max: u64) -> Result<(u64, bool), StoreError> {
        let (Some(store), Some(root), Some(reading)) = (&self.store, &self.root, &mut self.reading) else {
            return Ok((0, true));
        };
        let (mut bytes, mut ended) = (0, false);
        while bytes < bytes_max && !ended {
            let keys = store.keys_beyond(reading.at, KEYS_AT_A_TIME)?;
            ended = keys.len() < KEYS_AT_A_TIME;
            for key in keys {
                // Behind the root there is only what an unfinished turn left.
                if key.changed_at > root.seq {
                    ended = true;
                    break;
                }
                if bytes >= bytes_max {
                    ended = false;
                    break;
                }
                if !reading.dropped.contains(&key) {
                    bytes += store.read(key)?.len() as u64;
                    reading.count(key);
                }
                reading.at = key;
                bytes += KEY_BYTES;
            }
        }
        if !ended {
            return Ok((bytes, false));
        }
        if (reading.part_count, reading.fingerprint) != (root.part_count, root.fingerprint) {
            let why = format!("the snapshot of batch {} does not have the parts that were saved", root.seq);
            return Err(StoreError { store: store.name(), kind: io::ErrorKind::InvalidData, why });
        }
        (self.reading, self.verified) = (None, true);
        Ok((bytes, true))
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
