//! One session with a sled database: what is in it, what is not yet, and when it is opened, flushed, shrunk and closed.
//! This is the only file that names sled, but for tests.
//!
//! sled 1.0.0-alpha.124 keeps what it flushed, through any crash, if it is used in the way that is written down here
//! and in `sled_repair.rs`, rule by rule. What it does after an error can't be relied on: a flush that failed makes the
//! next one wait for ever, dropping a database, a tree or an iterator flushes, and a failed read spoils the handle. So a
//! database that ever said no is forgotten, never dropped: its memory and its files stay with the process
//! (`sled_store.rs` sees to that). It may also hang or panic by itself; `guard.rs` is for that.

use std::collections::BTreeSet;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Root;
use super::chunk::{Item, PIECE_BYTES, VALUE_BYTES};
use super::files::{drop_cached_tree, sync_tree};
use super::sled_repair::{repair, write_mark};
use super::store_file::StoreFile;
use crate::id::{PageNo, PartKey, Seq, StoreId};

/// The entries of a leaf. It is part of a database's format: sled refuses to open one with another. Few, since removing
/// one part writes the whole leaf again: with 16, removing every tenth part of 64 MB wrote 114 MB; with 4, 6 MB.
const FANOUT: usize = 4;
/// What clean leaves may take in memory.
const CACHE_BYTES: usize = 4 << 20;
const COMPRESSION: i32 = 1;
/// So much goes into sled at once.
const BATCH_BYTES: usize = 256 << 10;
/// sled never gives up the memory of a leaf that it wrote, as long as the database is open. So after that much it is
/// closed and opened again: a 64th of what it has on disk, since an opening takes longer the more that is, within these
/// bounds.
pub(super) const GROWTH_BYTES: RangeInclusive<usize> = 2 << 20..=64 << 20;
/// What a leaf takes at most.
const LEAF_BYTES: usize = FANOUT * VALUE_BYTES;
/// Flushing moves leaves together, which makes room for the next flush to do so. This often suffices.
const SETTLING_FLUSHES: usize = 8;
/// The same after that many chunks were removed; less is soon filled again.
const SHRINK_CHUNKS: usize = 256;
const SHRINKING_FLUSHES: u8 = 60;
const QUIET_FLUSHES: u8 = 17;
/// The key that [`Session::shrink`] writes. It is before all others, and no scan begins there.
const TICK_KEY: &[u8] = &[0];
/// How long a thread of sled may take to let the lock on the directory go after it was closed.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

type Db = sled::Db<FANOUT>;

/// An open database, and what is not in it yet.
pub(super) struct Session {
    path: PathBuf,
    owner: StoreId,
    /// There, unless the store rests.
    db: Option<Db>,
    batch: sled::Batch,
    batch_bytes: usize,
    /// How much memory of leaves that were written may have been taken since it was opened,
    pub(super) grown: usize,
    /// and how much that may be before it is opened again.
    grown_max: usize,
    /// Something was written since the last flush.
    dirty: bool,
    /// How many chunks were removed since it was opened.
    removed: usize,
    /// Items to be removed whose chunks can't be told without a search.
    unclear: BTreeSet<Item>,
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    More,
    Enough,
}

impl Session {
    pub(super) fn new(path: &Path, owner: StoreId, db: Db) -> Self {
        Self {
            path: path.to_path_buf(),
            owner,
            grown_max: growth_bytes(&db),
            db: Some(db),
            batch: sled::Batch::default(),
            batch_bytes: 0,
            grown: 0,
            dirty: false,
            removed: 0,
            unclear: BTreeSet::new(),
        }
    }

    pub(super) fn db(&self) -> io::Result<&Db> {
        self.db.as_ref().ok_or_else(|| io::Error::other("it is closed"))
    }

    pub(super) fn put(&mut self, item: Item, bytes: &[u8]) -> io::Result<()> {
        for (key, value) in item.values(self.owner, bytes)? {
            self.batch_bytes += key.len() + value.len();
            self.batch.insert(key, value);
            if self.batch_bytes >= BATCH_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Hands sled what was put since the last time.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        if self.batch_bytes == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.batch_bytes);
        self.dirty = true;
        self.db()?.apply_batch(batch)?;
        self.grow(bytes)
    }

    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        self.grown += bytes;
        if self.grown < self.grown_max { Ok(()) } else { self.reopen() }
    }

    /// The outer error is sled's, the inner one says what is wrong with the item.
    pub(super) fn read(&mut self, item: Item) -> io::Result<io::Result<Vec<u8>>> {
        self.hand_over()?;
        let db = self.db()?;
        let mut failed = None;
        let found = item.assemble(self.owner, |chunk| {
            db.get(item.key(chunk)).or_else(|e| {
                failed = Some(e);
                Ok(None)
            })
        });
        match failed {
            Some(e) => Err(io::Error::new(e.kind(), format!("{item}: {}", plain(e)))),
            None => Ok(found),
        }
    }

    /// The chunks go last to first: what a crash leaves is still seen from the first one.
    pub(super) fn remove(&mut self, item: Item) -> io::Result<()> {
        self.hand_over()?;
        let db = self.db()?;
        let loaded = db.storage_stats().cache.cache_misses;
        let first = db.get(item.key(0))?;
        let Some(Ok(mut end)) = first.map(|value| item.count_in(self.owner, 0, &value)) else {
            self.unclear.insert(item);
            return Ok(());
        };
        // More than it says if a longer one with this key was there before.
        while db.contains_key(item.key(end))? {
            end += 1;
        }
        for chunk in (0..end).rev() {
            // Not in a batch: that way sled would keep leaves that became empty for ever.
            db.remove(item.key(chunk))?;
        }
        let loaded = db.storage_stats().cache.cache_misses - loaded;
        self.dirty = true;
        self.removed += end as usize;
        self.grow(usize::try_from(loaded).unwrap_or(usize::MAX).saturating_mul(LEAF_BYTES))
    }

    /// Removes what [`Session::remove`] could not tell.
    fn sweep(&mut self) -> io::Result<()> {
        for item in std::mem::take(&mut self.unclear) {
            let mut keys = Vec::new();
            self.scan(item.bounds(), |key, _| {
                keys.push(key.to_vec());
                Ok(Scan::More)
            })?;
            for key in keys {
                self.dirty = true;
                self.removed += 1;
                self.db()?.remove(key)?;
            }
        }
        Ok(())
    }

    pub(super) fn keys_after(&mut self, seq: Seq) -> io::Result<Vec<PartKey>> {
        self.sweep()?;
        let Some(next) = seq.get().checked_add(1) else {
            return Ok(Vec::new());
        };
        let from = Item::Part(PartKey { changed_at: Seq::new(next), page: PageNo::ZERO });
        self.keys_from(from.key(0), usize::MAX)
    }

    pub(super) fn keys_beyond(&mut self, key: PartKey, most: usize) -> io::Result<Vec<PartKey>> {
        let mut beyond = Item::Part(key).key(u32::MAX);
        // The one after the last that a chunk of this part could have.
        beyond.push(0);
        self.keys_from(beyond, most)
    }

    /// Up to so many names of parts, from that key on.
    fn keys_from(&mut self, from: Vec<u8>, most: usize) -> io::Result<Vec<PartKey>> {
        let to = Item::Part(PartKey { changed_at: Seq::new(u64::MAX), page: PageNo::new(u64::MAX) });
        let mut keys: Vec<PartKey> = Vec::new();
        self.scan((from, to.key(u32::MAX)), |key, _| {
            if let (Item::Part(part), _) = Item::parse(key)?
                && keys.last() != Some(&part)
            {
                if keys.len() == most {
                    return Ok(Scan::Enough);
                }
                keys.push(part);
            }
            Ok(Scan::More)
        })?;
        Ok(keys)
    }

    /// The outer error is sled's, the inner one is about a root of a newer format.
    pub(super) fn roots(&mut self) -> io::Result<io::Result<Vec<Root>>> {
        self.sweep()?;
        let mut seqs: Vec<Seq> = Vec::new();
        let bounds = (Item::Root(Seq::ZERO).key(0), Item::Root(Seq::new(u64::MAX)).key(u32::MAX));
        self.scan(bounds, |key, _| {
            if let (Item::Root(seq), _) = Item::parse(key)?
                && seqs.last() != Some(&seq)
            {
                seqs.push(seq);
            }
            Ok(Scan::More)
        })?;
        let mut roots = Vec::new();
        for seq in seqs.into_iter().rev() {
            let Ok(bytes) = self.read(Item::Root(seq))? else { continue };
            match Root::decode(seq, &bytes) {
                Ok(Some(root)) => roots.push(root),
                Ok(None) => {}
                Err(e) => return Ok(Err(e)),
            }
        }
        Ok(Ok(roots))
    }

    /// Shows all entries whose keys lie within bounds, in order, until it is enough.
    fn scan(
        &mut self,
        (from, to): (Vec<u8>, Vec<u8>),
        mut show: impl FnMut(&[u8], &[u8]) -> io::Result<Scan>,
    ) -> io::Result<()> {
        self.hand_over()?;
        if self.dirty {
            // IMPORTANT: an iterator holds a clone of the tree, so dropping it flushes, and does not say how that went.
            self.flush_written()?;
        }
        let db = self.db()?;
        // The upper bound is ours: sled's iterator does not stop at one, it goes on to the last leaf in search of more.
        // And it is not dropped when an error ends this early.
        let mut entries = ManuallyDrop::new(db.range(from..));
        for entry in &mut *entries {
            let (key, value) = entry?;
            if *key > *to || show(&key, &value)? == Scan::Enough {
                break;
            }
        }
        drop(ManuallyDrop::into_inner(entries));
        db.check_error()
    }

    fn flush_written(&mut self) -> io::Result<()> {
        self.db()?.flush()?;
        // IMPORTANT: so that an opening notices if sled's metadata falls back behind this.
        write_mark(&self.path)?;
        self.dirty = false;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.flush_written()?;
        self.sweep()?;
        if self.dirty { self.flush_written() } else { Ok(()) }
    }

    /// Lets the files of sled shrink after something was removed.
    ///
    /// A flush moves leaves into gaps that the flushes before it left, and cuts a file if it was longer at some time
    /// since the database was opened; one that has nothing to write does neither. And gaps are let go in lots of 16
    /// only. So it gets something to write until nothing has moved for longer than that.
    fn shrink(&mut self) -> io::Result<()> {
        if self.removed < SHRINK_CHUNKS {
            return Ok(());
        }
        self.removed = 0;
        let db = self.db()?;
        let mut quiet = 0;
        for tick in 0..SHRINKING_FLUSHES {
            db.insert(TICK_KEY, [tick])?;
            let flushed = db.flush()?;
            let moved = flushed.objects_flushed > 1 || flushed.write_batch.truncated_files > 0;
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == QUIET_FLUSHES {
                break;
            }
        }
        Ok(())
    }

    /// Closes the database. After an error it is still there, to be forgotten.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.shrink()?;
        // IMPORTANT: dropping a database flushes it several times and says nothing, and if one of these fails the next
        // one waits for ever. So there must be nothing left to flush.
        let db = self.db()?;
        for _ in 0..SETTLING_FLUSHES {
            if db.flush()?.objects_flushed == 0 {
                break;
            }
        }
        db.check_error()?;
        self.dirty = false;
        drop(self.db.take());
        Ok(())
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.close()?;
        // IMPORTANT: what is read from now on is read to see what the disk has, not what the system remembers of it.
        drop_cached_tree(&self.path)?;
        self.wake()
    }

    /// Opens the database, if it was closed.
    pub(super) fn wake(&mut self) -> io::Result<()> {
        if self.db.is_none() {
            let db = open_patiently(&self.path)?;
            (self.grown, self.grown_max) = (0, growth_bytes(&db));
            self.db = Some(db);
            if StoreFile::read(&self.path)?.owner != self.owner {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its STORE is another store's"));
            }
        }
        Ok(())
    }
}

/// How much a database may grow before it is opened again.
fn growth_bytes(db: &Db) -> usize {
    // What can't be told is no reason to fail.
    let disk_bytes = db.size_on_disk().unwrap_or(0);
    let wanted = usize::try_from(disk_bytes / 64).unwrap_or(usize::MAX);
    wanted.clamp(*GROWTH_BYTES.start(), *GROWTH_BYTES.end())
}

pub(super) fn open_patiently(path: &Path) -> io::Result<Db> {
    let since = Instant::now();
    loop {
        match open(path) {
            // A thread of one that was just closed may hold it still.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && since.elapsed() < LOCK_PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn open(path: &Path) -> io::Result<Db> {
    // IMPORTANT: before every opening, also after our own closing: without it the second opening after a crash inside
    // the first one loses everything.
    repair(path)?;
    let db = ManuallyDrop::new(open_unrepaired(path)?);
    // IMPORTANT: what is read from now on counts as durable, and a process that was killed may have left it in the page
    // cache only.
    sync_tree(path)?;
    Ok(ManuallyDrop::into_inner(db))
}

pub(super) fn open_unrepaired(path: &Path) -> io::Result<Db> {
    sled::Config::new()
        .path(path)
        // It is us who says when: a background flush could fail behind our back, and sled aborts the process then.
        .flush_every_ms(None)
        .cache_capacity_bytes(CACHE_BYTES)
        .zstd_compression_level(COMPRESSION)
        .open::<FANOUT>()
        .map_err(plain)
}

/// sled puts the lines of its source that an error came by before it.
pub(super) fn plain(e: io::Error) -> io::Error {
    let text = e.to_string();
    match text.strip_prefix("sled:").and_then(|text| text.rsplit(" -> ").next()) {
        Some(plain) => io::Error::new(e.kind(), plain),
        None => e,
    }
}

const _: () = assert!(PIECE_BYTES < VALUE_BYTES && VALUE_BYTES < BATCH_BYTES);
