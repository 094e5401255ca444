//! A place in which snapshots are kept in sled databases: one directory for each store.
//!
//! A store's directory is `<place>-<generation>`. While it is made or removed its name ends in `.tmp`: a name without
//! that is a store that was finished and counts.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{create_dir, named, remove_tree, sync, sync_tree};
use super::sled_store::SledStore;
use super::store_file::StoreFile;
use super::{Generation, SnapshotPlace, SnapshotStore, StoreError};
use crate::id::StoreId;

const UNFINISHED: &str = ".tmp";
/// The step of a creation after the renaming.
const NAME_SYNC: &str = "sync of the name";

/// A place in which snapshots are kept in sled databases.
pub(crate) struct SledPlace {
    dir: PathBuf,
    name: String,
    /// The generations that are being created by this process. Locked also while names change.
    creating: Mutex<BTreeSet<Generation>>,
}

impl SledPlace {
    /// The place of that name in a directory, which is created when it is first needed.
    #[must_use]
    pub(crate) fn new(snapshot_dir: PathBuf, name: &str) -> Self {
        Self { dir: snapshot_dir, name: name.to_owned(), creating: Mutex::new(BTreeSet::new()) }
    }

    fn creating(&self) -> MutexGuard<'_, BTreeSet<Generation>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_name(&self, generation: Generation) -> String {
        format!("{}-{generation:04}", self.name)
    }

    fn path(&self, generation: Generation) -> PathBuf {
        self.dir.join(self.store_name(generation))
    }

    fn unfinished_path(&self, generation: Generation) -> PathBuf {
        self.dir.join(self.store_name(generation) + UNFINISHED)
    }

    /// The generation that a name of ours stands for.
    fn generation_of(&self, name: &str) -> Option<Generation> {
        let digits = name.strip_prefix(&self.name)?.strip_prefix('-')?;
        let generation = digits.parse().ok()?;
        (self.store_name(generation) == name).then_some(generation)
    }

    fn list(&self) -> io::Result<Vec<Generation>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(named("listing", &self.dir))?,
        };
        let creating = self.creating();
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(named("listing", &self.dir))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(generation) = self.generation_of(name) {
                // Nobody gets as far as opening a store of the future, or as far as building another one in its stead.
                match StoreFile::read(&self.path(generation)) {
                    Err(e) if e.kind() == io::ErrorKind::Unsupported => return Err(e),
                    _ => found.push(generation),
                }
            } else if let Some(finished) = name.strip_suffix(UNFINISHED)
                && self.generation_of(finished).is_some_and(|generation| !creating.contains(&generation))
            {
                remove_tree(&self.dir.join(name))?;
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Creates the files of a store. `step` is called before each step that a crash could keep from happening.
    fn build(
        &self,
        generation: Generation,
        owner: StoreId,
        mut step: impl FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.path(generation);
        let unfinished = self.unfinished_path(generation);
        create_dir(&self.dir)?;
        if path.try_exists().map_err(named("looking for", &path))? {
            return Err(named("creating", &path)(io::ErrorKind::AlreadyExists.into()));
        }
        remove_tree(&unfinished)?;
        step("directory")?;
        fs::create_dir(&unfinished).map_err(named("creating directory", &unfinished))?;
        step("database")?;
        SledStore::create_files(&unfinished, owner)?;
        step("STORE")?;
        StoreFile { owner, generation, place: self.name.clone() }.write(&unfinished)?;
        step("sync")?;
        // IMPORTANT: all of it is durable before it has the name under which it counts, and that name before anything
        // is put into it.
        sync_tree(&unfinished)?;
        step("rename")?;
        fs::rename(&unfinished, &path).map_err(named("renaming", &unfinished))?;
        step(NAME_SYNC)?;
        sync(&self.dir)
    }

    fn open_store(&self, generation: Generation) -> io::Result<Arc<dyn SnapshotStore>> {
        let path = self.path(generation);
        let file = StoreFile::read(&path)?;
        if file.generation != generation || file.place != self.name {
            let why = format!("{} belongs to {}-{:04}", path.display(), file.place, file.generation);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Arc::new(SledStore::open(self.store_name(generation), &path, file.owner)?))
    }

    fn remove_store(&self, generation: Generation) -> io::Result<()> {
        let path = self.path(generation);
        let unfinished = self.unfinished_path(generation);
        let _names = self.creating();
        if path.try_exists().map_err(named("looking for", &path))? {
            remove_tree(&unfinished)?;
            // IMPORTANT: the name goes first, durably: a store of which half is gone must never be taken for a whole one.
            fs::rename(&path, &unfinished).map_err(named("renaming", &path))?;
            sync(&self.dir)?;
        }
        remove_tree(&unfinished)
    }

    fn free(&self) -> io::Result<u64> {
        let there = self.dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
        let disk =
            rustix::fs::statvfs(there).map_err(|e| named("asking for the room of", there)(e.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn error(&self, e: &io::Error) -> StoreError {
        StoreError { store: self.name.clone(), kind: e.kind(), why: e.to_string() }
    }
}

/// A generation is being created.
struct Claim<'a> {
    place: &'a SledPlace,
    generation: Generation,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.place.creating().remove(&self.generation);
    }
}

impl fmt::Debug for SledPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SledPlace({})", self.dir.join(&self.name).display())
    }
}

impl SnapshotPlace for SledPlace {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.list().map_err(|e| self.error(&e))
    }

    fn create(&self, generation: Generation, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        if !self.creating().insert(generation) {
            return Err(self.error(&io::Error::other(format!("generation {generation} is being created"))));
        }
        let _claim = Claim { place: self, generation };
        let mut renamed = false;
        let built = self.build(generation, owner, |step| {
            renamed |= step == NAME_SYNC;
            Ok(())
        });
        built.and_then(|()| self.open_store(generation)).map_err(|e| {
            if renamed {
                // Best effort: it is empty, so it does no harm if it stays.
                let _ = self.remove_store(generation);
            }
            self.error(&e)
        })
    }

    fn open(&self, generation: Generation) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        self.open_store(generation).map_err(|e| self.error(&e))
    }

    fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        self.remove_store(generation).map_err(|e| self.error(&e))
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.free().map(Some).map_err(|e| self.error(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: StoreId = StoreId::new([3; 16]);

    #[test]
    fn a_creation_cut_short_at_any_step_leaves_nothing_or_an_empty_store() {
        let mut steps = Vec::new();
        let counted = tempfile::tempdir().unwrap();
        let place = SledPlace::new(counted.path().to_owned(), "a");
        let count = |step: &str| {
            steps.push(step.to_owned());
            Ok(())
        };
        place.build(1, OWNER, count).unwrap();
        assert_eq!(steps.len(), 6);
        for last in &steps {
            let dir = tempfile::tempdir().unwrap();
            let place = SledPlace::new(dir.path().join("snapshot"), "a");
            let stop = |step: &str| if step == last { Err(io::Error::other("cut short")) } else { Ok(()) };
            place.build(1, OWNER, stop).unwrap_err();
            let place = SledPlace::new(dir.path().join("snapshot"), "a");
            let found = place.generations().unwrap();
            assert_eq!(fs::read_dir(dir.path().join("snapshot")).unwrap().count(), found.len(), "{last}");
            if last == NAME_SYNC {
                assert_eq!(found, vec![1]);
                assert_eq!(place.open(1).unwrap().roots().unwrap(), vec![]);
            } else {
                assert_eq!(found, Vec::<Generation>::new(), "{last}");
                place.create(1, OWNER).unwrap();
            }
        }
    }

    #[test]
    fn a_removal_cut_short_leaves_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let place = SledPlace::new(dir.path().to_owned(), "a");
        drop(place.create(1, OWNER).unwrap());
        fs::rename(place.path(1), place.unfinished_path(1)).unwrap();
        fs::remove_file(place.unfinished_path(1).join("STORE")).unwrap();
        assert_eq!(place.generations().unwrap(), Vec::<Generation>::new());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
