//! What is volatile on a simulated disk, the bytes of a file and the names of a directory, and what a crash leaves of it.

use std::collections::BTreeMap;

use super::sim_rng::SimRng;

/// What a power cut can tear apart and no more.
pub(super) const SECTOR_BYTES: usize = 512;

/// What is left after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashStyle {
    /// The process died, the machine did not: everything written is seen, what was not synced is still
    /// volatile.
    Killed,
    /// Power was cut, but everything had just reached the disk.
    Kept,
    /// Power was cut and everything that was not synced is gone.
    Lost,
    /// Power was cut: each unsynced sector and directory operation lost, kept or (sectors) junk, by chance.
    Mixed,
    /// Power was cut: late writes and directory operations are there, early ones are not.
    Reordered,
}

impl CrashStyle {
    /// All styles.
    pub const ALL: [Self; 5] = [Self::Killed, Self::Kept, Self::Lost, Self::Mixed, Self::Reordered];
}

type Sector = [u8; SECTOR_BYTES];
pub(super) type FileNo = u64;

/// What is durable at a sector that was written since.
#[derive(Clone, Debug)]
pub(super) struct Dirty {
    pub(super) durable: Box<Sector>,
    /// The operation that wrote it last.
    pub(super) written_at: u64,
    /// A failed sync took it for written: no later sync makes it durable.
    forgotten: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimContent {
    pub(super) now: Vec<u8>,
    pub(super) durable_len: usize,
    pub(super) dirty: BTreeMap<usize, Dirty>,
}

impl SimContent {
    fn sector(&self, index: usize) -> Box<Sector> {
        let mut sector = Box::new([0; SECTOR_BYTES]);
        let start = (index * SECTOR_BYTES).min(self.now.len());
        let end = (start + SECTOR_BYTES).min(self.now.len());
        sector[..end - start].copy_from_slice(&self.now[start..end]);
        sector
    }

    /// Notes what is durable in the sectors of `start..end` before they change.
    fn touch(&mut self, start: usize, end: usize, op: u64) {
        if start == end {
            return;
        }
        for index in start / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
            let durable = match self.dirty.remove(&index) {
                Some(before) => before.durable,
                None => self.sector(index),
            };
            self.dirty.insert(index, Dirty { durable, written_at: op, forgotten: false });
        }
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], op: u64) {
        let end = offset + bytes.len();
        self.touch(offset, end, op);
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, len: usize, op: u64) {
        let (low, high) = (len.min(self.now.len()), len.max(self.now.len()));
        self.touch(low, high, op);
        self.now.resize(len, 0);
    }

    pub(super) fn synced(&mut self) {
        self.dirty.retain(|_, dirty| dirty.forgotten);
        self.durable_len = self.now.len();
    }

    pub(super) fn sync_failed(&mut self, rng: &mut SimRng) {
        for dirty in self.dirty.values_mut() {
            dirty.forgotten |= rng.one_in(2);
        }
    }

    pub(super) fn power_cut(&mut self, style: CrashStyle, watershed: u64, rng: &mut SimRng) {
        let now_len = self.now.len();
        let len = match style {
            CrashStyle::Killed => return,
            CrashStyle::Kept => now_len,
            CrashStyle::Lost => self.durable_len,
            CrashStyle::Mixed | CrashStyle::Reordered => match rng.below(3) {
                0 => now_len,
                1 => self.durable_len,
                _ => {
                    let (low, high) = (now_len.min(self.durable_len), now_len.max(self.durable_len));
                    low + usize::try_from(rng.below((high - low) as u64 + 1)).unwrap_or(0)
                }
            },
        };
        let highest = self.dirty.last_key_value().map_or(0, |(index, _)| (index + 1) * SECTOR_BYTES);
        self.now.resize(now_len.max(highest).max(len), 0);
        for (index, dirty) in std::mem::take(&mut self.dirty) {
            let at = index * SECTOR_BYTES;
            let target = &mut self.now[at..at + SECTOR_BYTES];
            let keep = match style {
                CrashStyle::Killed | CrashStyle::Kept => true,
                CrashStyle::Lost => false,
                CrashStyle::Mixed => rng.one_in(2),
                CrashStyle::Reordered => dirty.written_at >= watershed,
            };
            if !keep || dirty.forgotten {
                target.copy_from_slice(&dirty.durable[..]);
            }
            if style == CrashStyle::Mixed && rng.one_in(4) {
                match rng.below(3) {
                    0 => target.fill(0),
                    1 => target.fill_with(|| rng.next_u64().to_le_bytes()[0]),
                    // Torn within the sector.
                    _ => {
                        let from = usize::try_from(rng.below(SECTOR_BYTES as u64)).unwrap_or(0);
                        target[from..].copy_from_slice(&dirty.durable[from..]);
                    }
                }
            }
        }
        self.now.truncate(len);
        self.durable_len = len;
    }
}

#[derive(Clone, Debug)]
pub(super) enum DirOp {
    Create { name: String, file: FileNo },
    Rename { from: String, to: String, file: FileNo },
    Remove { name: String, file: FileNo },
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimNames {
    pub(super) now: BTreeMap<String, FileNo>,
    pub(super) durable: BTreeMap<String, FileNo>,
    /// Since the last sync of the directory, each with the number of its operation.
    pub(super) pending: Vec<(u64, DirOp)>,
}

impl SimNames {
    pub(super) fn apply(names: &mut BTreeMap<String, FileNo>, op: &DirOp) {
        match op {
            DirOp::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            DirOp::Rename { to, file, from } => {
                names.retain(|name, no| no != file && name != from);
                names.insert(to.clone(), *file);
            }
            DirOp::Remove { name, file } => names.retain(|other, no| other != name && no != file),
        }
    }

    pub(super) fn power_cut(&mut self, style: CrashStyle, watershed: u64, rng: &mut SimRng) {
        match style {
            CrashStyle::Killed => return,
            CrashStyle::Kept => self.durable = self.now.clone(),
            CrashStyle::Lost => {}
            CrashStyle::Mixed | CrashStyle::Reordered => {
                for (at, op) in &self.pending {
                    if if style == CrashStyle::Mixed { rng.one_in(2) } else { *at >= watershed } {
                        Self::apply(&mut self.durable, op);
                    }
                }
            }
        }
        self.pending.clear();
        self.now = self.durable.clone();
    }
}
