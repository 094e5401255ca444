//! Which segment files make up the log: found from their headers alone, newest first.
//!
//! The newest sound header begins the chain. A segment follows on the one before it by number, but an
//! opening's segment follows on the one that its header names; what lies between the two no longer counts.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::{Damage, OpenError, while_opening};
use super::place::Ordinal;
use super::segment::{
    ALIGNMENT_MAX, FORMAT, Head, OldEnd, SEGMENT_HEADER_BYTES, SegmentHeader, ordinal_of, segment_name,
};
use super::store_file::StoreFile;
use super::verdict;
use crate::id::Seq;
use crate::id::StoreId;
use crate::io::{Dir, File};

const _: () = assert!(SEGMENT_HEADER_BYTES <= ALIGNMENT_MAX as usize);

/// A segment file that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) ordinal: Ordinal,
    pub(super) bytes: u64,
    /// Its header, if it is sound and its own: what a file was used for before does not count.
    pub(super) header: Option<SegmentHeader>,
    pub(super) file: Arc<dyn File>,
}

impl Found {
    fn read(dir: &Arc<dyn Dir>, name: &str, ordinal: Ordinal) -> Result<Self, OpenError> {
        let path = dir.path().join(name);
        let file = dir.open(name).map_err(while_opening("opening a segment", path.clone()))?;
        let bytes = file.len().map_err(while_opening("measuring a segment", path.clone()))?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let count = file.read_at(0, &mut head).map_err(while_opening("reading a segment", path.clone()))?;
        let header = match SegmentHeader::decode(&head[..count]) {
            Head::Sound(header) if header.ordinal == ordinal => Some(header),
            Head::Sound(_) | Head::Unsound => None,
            Head::Newer(found) => return Err(OpenError::NewerFormat { path, found, known: FORMAT }),
        };
        Ok(Self { ordinal, bytes, header, file })
    }
}

/// A segment of the chain.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) found: Found,
    pub(super) header: SegmentHeader,
    /// Where it ends, if a later opening found out.
    pub(super) end: Option<OldEnd>,
}

impl Link {
    pub(super) fn path(&self, dir: &Arc<dyn Dir>) -> PathBuf {
        dir.path().join(segment_name(self.found.ordinal))
    }
}

/// All segment files of a log.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) dir: Arc<dyn Dir>,
    /// By ordinal.
    pub(super) files: Vec<Found>,
    /// Those that can't be read, and why.
    unreadable: Vec<(Ordinal, OpenError)>,
}

/// The files of a log by what they are.
#[derive(Debug)]
pub(super) struct Chain {
    /// The segments that count, oldest first. The last one is the newest.
    pub(super) links: Vec<Link>,
    /// Whether they begin with the store's first one.
    pub(super) whole: bool,
    /// The first of them that is needed after the snapshot.
    pub(super) needed_from: usize,
    /// Older segments that are kept as they are, until they are cut.
    pub(super) older: Vec<(Ordinal, Option<Seq>)>,
    /// Segments that do not count: spares, and what an opening left behind.
    pub(super) idle: Vec<Ordinal>,
    /// The highest number in use, of whatever file.
    pub(super) highest: Ordinal,
    /// The file after the newest segment, if there is one. It has no sound header.
    pub(super) next: Option<Found>,
}

impl Survey {
    pub(super) fn of(dir: &Arc<dyn Dir>) -> Result<Self, OpenError> {
        let names = dir.list().map_err(while_opening("listing the segments", dir.path()))?;
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for name in names {
            let Some(ordinal) = ordinal_of(&name) else { continue };
            match Found::read(dir, &name, ordinal) {
                Ok(found) => files.push(found),
                Err(error @ OpenError::NewerFormat { .. }) => return Err(error),
                Err(error) => unreadable.push((ordinal, error)),
            }
        }
        files.sort_by_key(|found| found.ordinal);
        unreadable.sort_by_key(|(ordinal, _)| *ordinal);
        Ok(Self { dir: Arc::clone(dir), files, unreadable })
    }

    /// Whether there is no segment at all.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unreadable.is_empty()
    }

    /// What to tell about those that can't be read.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.unreadable.iter().map(|(_, error)| error.to_string()).collect()
    }

    /// The error of an unreadable segment from that one on, if there is any. It may be the newest one, or hide that
    /// something newer is missing.
    fn unreadable_from(&self, from: Ordinal) -> Result<(), OpenError> {
        self.unreadable
            .iter()
            .find(|(ordinal, _)| *ordinal >= from)
            .map_or(Ok(()), |(_, error)| Err(error.again()))
    }

    fn damage(&self, case: verdict::Case, ordinal: Ordinal) -> Damage {
        Damage::new(case, self.dir.path().join(segment_name(ordinal))).segment(ordinal)
    }

    fn find(&self, ordinal: Ordinal) -> Option<&Found> {
        let at = self.files.binary_search_by_key(&ordinal, |found| found.ordinal).ok()?;
        self.files.get(at)
    }

    /// The newest segment with a sound header, if the file `STORE` (if there is one) agrees.
    fn newest(&self, store: Option<&StoreFile>) -> Result<(&Found, SegmentHeader), OpenError> {
        let id: Option<StoreId> = store.map(|store| store.store);
        let mut newest: Option<(&Found, SegmentHeader)> = None;
        for found in self.files.iter().rev() {
            let Some(header) = found.header else { continue };
            let of = id.or(newest.map(|(_, header)| header.store)).unwrap_or(header.store);
            if header.store != of {
                return Err(self.damage(verdict::SEGMENT_FOREIGN, found.ordinal).at(0).into());
            }
            newest = newest.or(Some((found, header)));
        }
        match (newest, store) {
            (Some((found, header)), Some(store)) if header.epoch < store.epoch => Err(self
                .damage(verdict::EPOCH_MISSING, store.ordinal)
                .at(0)
                .detail(format!(
                    "the newest opening was number {}, the newest found is number {} in segment {}{}",
                    store.epoch,
                    header.epoch,
                    found.ordinal,
                    self.without_header(store.ordinal)
                ))
                .into()),
            (Some(newest), _) => Ok(newest),
            (None, Some(store)) => Err(self
                .damage(verdict::EPOCH_MISSING, store.ordinal)
                .at(0)
                .detail(format!("no segment has a sound header{}", self.without_header(store.ordinal)))
                .into()),
            (None, None) => {
                let first = self.files.first().map_or(Ordinal::new(1), |found| found.ordinal);
                Err(self.damage(verdict::SEGMENT_HEADER, first).at(0).into())
            }
        }
    }

    /// Which files from that one on have no sound header, for a message. The first segment of an opening may be gone
    /// because snapshots have all that is in it; then it is one of these that was damaged, if it is no spare.
    fn without_header(&self, from: Ordinal) -> String {
        let without = self.files.iter().filter(|found| found.ordinal >= from && found.header.is_none());
        let names: Vec<String> = without.map(|found| segment_name(found.ordinal)).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; without a sound header: {}", names.join(", "))
        }
    }

    /// Sorts the files out. `base` is the last batch that the snapshot holds.
    pub(super) fn chain(&self, store: Option<&StoreFile>, base: Seq) -> Result<Chain, OpenError> {
        let newest = self.newest(store);
        self.unreadable_from(newest.as_ref().map_or(Ordinal::new(0), |(found, _)| found.ordinal))?;
        let (top, header) = newest?;
        let mut links = vec![Link { found: top.clone(), header, end: None }];
        let (mut needed, mut whole) = (None, false);
        let mut floor = top.ordinal;
        loop {
            let newer = &links[links.len() - 1];
            if needed.is_none() && newer.header.first_seq <= base.next() {
                needed = Some(links.len());
            }
            match self.before(newer) {
                Ok(Some(link)) => {
                    floor = link.found.ordinal;
                    links.push(link);
                }
                Ok(None) => {
                    whole = true;
                    break;
                }
                // What is below the snapshot is not needed.
                Err(_) if needed.is_some() => break,
                Err(damage) => return Err(damage),
            }
        }
        let needed = needed.expect("the first segment of a store begins with batch 1, which is needed");
        links.reverse();
        let needed_from = links.len() - needed;
        let counts = |ordinal| links.iter().any(|link| link.found.ordinal == ordinal);
        let (older, newer): (Vec<&Found>, Vec<&Found>) =
            self.files.iter().partition(|found| found.ordinal < floor);
        let unreadable = |old: bool| {
            let ordinals = self.unreadable.iter().map(|(ordinal, _)| *ordinal);
            ordinals.filter(move |ordinal| (*ordinal < floor) == old)
        };
        let older = older.iter().map(|f| (f.ordinal, f.header.map(|h| h.first_seq)));
        let mut older: Vec<_> = older.chain(unreadable(true).map(|ordinal| (ordinal, None))).collect();
        older.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        let idle = newer.iter().map(|f| f.ordinal).filter(|ordinal| !counts(*ordinal));
        let idle = idle.chain(unreadable(false)).collect();
        Ok(Chain {
            whole,
            needed_from,
            older,
            idle,
            highest: self.files.last().map_or(Ordinal::new(0), |found| found.ordinal),
            next: self.find(top.ordinal.next()).cloned(),
            links,
        })
    }

    /// The segment before `newer`; `None` if it is the store's first.
    fn before(&self, newer: &Link) -> Result<Option<Link>, OpenError> {
        let (ordinal, end) = match newer.header.opening {
            Some(end) => (end.ordinal, Some(end)),
            None => (Ordinal::new(newer.found.ordinal.get() - 1), None),
        };
        if end.is_some() && ordinal == Ordinal::new(0) {
            let begins = newer.header.first_seq == Seq::new(1);
            let damage = || self.damage(verdict::MALFORMED, newer.found.ordinal).at(0);
            return if begins { Ok(None) } else { Err(damage().into()) };
        }
        let Some(found) = self.find(ordinal) else {
            if let Some((_, error)) = self.unreadable.iter().find(|(unreadable, _)| *unreadable == ordinal) {
                return Err(error.again());
            }
            let any_older = self.files.iter().any(|f| f.ordinal < ordinal && f.header.is_some());
            let case = if any_older { verdict::SEGMENT_MISSING } else { verdict::START_MISSING };
            return Err(self
                .damage(case, ordinal)
                .seq(Seq::new(newer.header.first_seq.get() - 1))
                .detail(format!("segment {} follows it", newer.found.ordinal))
                .into());
        };
        let Some(header) = found.header else {
            return Err(self.damage(verdict::SEGMENT_HEADER, ordinal).at(0).into());
        };
        let epochs_fit = match end {
            Some(_) => header.epoch < newer.header.epoch,
            None => header.epoch == newer.header.epoch,
        };
        if epochs_fit && header.first_seq <= newer.header.first_seq {
            Ok(Some(Link { found: found.clone(), header, end }))
        } else {
            Err(self
                .damage(verdict::OUT_OF_ORDER, ordinal)
                .at(0)
                .seq(header.first_seq)
                .detail(format!("segment {} follows it", newer.found.ordinal))
                .into())
        }
    }
}
