//! Segments made ahead of the writer, and the room that they give (I9).
//!
//! A spare has its name and all of its bytes on disk (zeros, or what an older segment left), so that a commit is a
//! pure write of data and needs no more space. A spare holds nothing until a header with its own ordinal is in it.
//! Spares have lengths of their own: shorter ones where the disk is nearly full, longer ones for a batch that needs it.
//!
//! Whoever decides asks, under the engine's lock, whether there is room ([`Buffer::room`](super::Buffer::room)); what
//! is missing is noted here, and [`Spares::make`] makes it, outside that lock. A segment that can't be made is no
//! failure of the log: there is no room, until one can be made.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LogOptions;
use super::buffer::{Room, Use, reserve_bytes};
use super::error::LogError;
use super::old_segments::{OldSegment, OldSegments};
use super::place::Ordinal;
use super::segment::{filling_name, segment_name};
use super::zeros::{Haste, fill_with_zeros, new_file_of_zeros};
use crate::io::{Dir, File};

/// No new segment is shorter, however full the disk is, unless `segment_bytes` is.
const FLOOR_BYTES: u64 = 1024 * 1024;

/// A new segment takes no more than one part in so many of what is free.
const FREE_PARTS: u64 = 8;

/// All of a segment, where parts of it are counted.
const WHOLE: u64 = 1 << 16;

/// Whether an error says that there is no space, so that less may fit.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The lengths to try for something new: halvings of `most` that leave most of what is free alone, then `least`.
pub(super) fn lengths(most: u64, least: u64, free: Option<u64>, alignment: u64) -> impl Iterator<Item = u64> {
    let allowed = free.map_or(u64::MAX, |free| free / FREE_PARTS);
    let halvings = (0..u64::BITS).map(move |by| most >> by).map(move |bytes| bytes - bytes % alignment);
    let halvings = halvings.take_while(move |bytes| *bytes > least).filter(move |bytes| *bytes <= allowed);
    halvings.chain([least.next_multiple_of(alignment)])
}

/// What a batch needs that does not simply fit where the log is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// It fits, but cuts into the reserve of the segment, which then must not be the last one.
    Another,
    /// The next segment, which must hold so many bytes: its header, the batch, and what is kept free at its end.
    Next { bytes: u64, used_for: Use },
}

/// Makes segments ahead and uses old ones again. Shared by the buffer (which only looks, and says what is missing) and
/// whoever makes them.
#[derive(Debug)]
pub struct Spares {
    dir: Arc<dyn Dir>,
    segment_bytes: u64,
    floor_bytes: u64,
    alignment: u64,
    ahead: usize,
    kept_free: AtomicU64,
    /// How much of the segment that appending has reached is used, in parts of [`WHOLE`].
    used: AtomicU64,
    /// Whether anything was committed since that was asked last.
    busy: AtomicBool,
    closing: AtomicBool,
    /// Held for moments only, and never during I/O: whoever has the engine's lock takes it.
    shelf: Mutex<Shelf>,
    /// Held while segments are made.
    work: Mutex<Work>,
    /// How many wait for `work`.
    waiting: AtomicUsize,
}

/// What is ready and what is wanted.
#[derive(Debug)]
struct Shelf {
    /// The segment that appending has reached.
    reached: Ordinal,
    /// How many were begun since old ones were retired last.
    begun: usize,
    /// The lengths of those after it that are ready.
    ready: VecDeque<u64>,
    /// Those made and not begun by the writer yet, open: beginning one needs no new descriptor.
    files: VecDeque<(Ordinal, Arc<dyn File>)>,
    /// A batch waits for a next segment of that length.
    next_bytes: u64,
    /// A batch waits until so many are ready.
    count: usize,
    no_room: Option<NoRoom>,
    /// The last segment made was shorter than it should be.
    short: bool,
    /// Old segments that could not be removed.
    stuck: Vec<Ordinal>,
}

/// That a segment could not be made.
#[derive(Clone, Debug)]
struct NoRoom {
    /// Of that length or more.
    bytes: u64,
    why: Arc<str>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Make a segment, at least that long.
    Make { ordinal: Ordinal, least: u64 },
    /// Make a segment longer that is ready.
    Lengthen { ordinal: Ordinal, from: u64, to: u64 },
}

/// What a new segment is made from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Old(OldSegment),
    /// One filled with zeros.
    New {
        bytes: u64,
    },
}

impl Source {
    /// Its name before it is the segment of that number.
    fn name(self, ordinal: Ordinal) -> String {
        match self {
            Self::Old(old) => segment_name(old.ordinal),
            Self::New { .. } => filling_name(ordinal),
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::Old(OldSegment { bytes, .. }) | Self::New { bytes } => bytes,
        }
    }
}

/// What is kept while segments are made.
#[derive(Debug, Default)]
struct Work {
    old: OldSegments,
    /// A failure after which nobody knows what names are durable.
    failed: Option<LogError>,
}

impl Shelf {
    /// Answers [`Room`] for a need; and, if that is *not yet*, the least length of a segment that would do.
    fn room(&self, need: Need, floor_bytes: u64, alignment: u64) -> (Room, Option<(usize, u64)>) {
        let (count, bytes) = match (need, self.ready.front()) {
            (Need::Another, None) => (1, floor_bytes),
            (Need::Another, Some(_)) => return (Room::Yes, None),
            (Need::Next { bytes, used_for }, Some(&there)) if bytes <= there => {
                let reserve = if used_for == Use::Adds { reserve_bytes(there, alignment) } else { 0 };
                if self.ready.len() > 1 || bytes + reserve <= there {
                    return (Room::Yes, None);
                }
                (2, floor_bytes)
            }
            (Need::Next { bytes, used_for: Use::Frees }, _) => (0, bytes.max(floor_bytes)),
            (Need::Next { bytes, used_for: Use::Adds }, _) => {
                let mut long = bytes.max(floor_bytes);
                while long < bytes + reserve_bytes(long, alignment) {
                    long = bytes + reserve_bytes(long, alignment);
                }
                (0, long)
            }
        };
        let bytes = bytes.next_multiple_of(alignment);
        match &self.no_room {
            Some(no_room) if no_room.bytes <= bytes => (Room::Full, None),
            _ => (Room::NotYet, Some((count, bytes))),
        }
    }

    /// What should be done next and has not failed already.
    fn task(&self, ahead: usize, floor_bytes: u64) -> Option<Task> {
        let after = |count: usize| Ordinal::new(self.reached.get() + count as u64);
        let task = match self.ready.front() {
            Some(&from) if from < self.next_bytes => {
                Task::Lengthen { ordinal: after(1), from, to: self.next_bytes }
            }
            None if self.next_bytes > 0 => Task::Make { ordinal: after(1), least: self.next_bytes },
            _ if self.ready.len() < ahead.max(self.count) => {
                Task::Make { ordinal: after(self.ready.len() + 1), least: floor_bytes }
            }
            _ => return None,
        };
        let least = task.least();
        self.no_room.as_ref().is_none_or(|no_room| least < no_room.bytes).then_some(task)
    }

    /// A task was done: a segment of that length is there.
    fn done(&mut self, bytes: u64) {
        if self.ready.front().is_some_and(|there| *there >= self.next_bytes) {
            self.next_bytes = 0;
        }
        if self.ready.len() >= self.count {
            self.count = 0;
        }
        self.no_room.take_if(|no_room| no_room.bytes <= bytes);
    }

    fn failed(&mut self, least: u64, why: &str) {
        (self.next_bytes, self.count) = (0, 0);
        let bytes = self.no_room.as_ref().map_or(least, |before| before.bytes.min(least));
        self.no_room = Some(NoRoom { bytes, why: why.into() });
    }
}

impl Task {
    fn least(self) -> u64 {
        match self {
            Self::Make { least, .. } => least,
            Self::Lengthen { to, .. } => to,
        }
    }
}

impl Spares {
    pub(super) fn new(dir: Arc<dyn Dir>, options: &LogOptions, current: Ordinal) -> Self {
        Self {
            dir,
            segment_bytes: options.segment_bytes,
            floor_bytes: options.segment_bytes.min(FLOOR_BYTES),
            alignment: u64::from(options.alignment),
            ahead: usize::try_from(options.spares).unwrap_or(usize::MAX),
            kept_free: AtomicU64::new(0),
            used: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            shelf: Mutex::new(Shelf {
                reached: current,
                begun: 0,
                ready: VecDeque::new(),
                files: VecDeque::new(),
                next_bytes: 0,
                count: 0,
                no_room: None,
                short: false,
                stuck: Vec::new(),
            }),
            work: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How long a segment is where the disk has plenty.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Whether there is room; notes what is missing, if it is only not there yet.
    pub(super) fn room(&self, need: Need) -> Room {
        let mut shelf = self.shelf();
        let (room, missing) = shelf.room(need, self.floor_bytes, self.alignment);
        if let Some((count, bytes)) = missing {
            if count > 0 {
                shelf.count = shelf.count.max(count);
            } else {
                shelf.next_bytes = shelf.next_bytes.max(bytes);
            }
        }
        room
    }

    /// Why there is no room, if [`Spares::room`] would say that there is none.
    pub(super) fn full_because(&self, need: Need) -> Option<Arc<str>> {
        let shelf = self.shelf();
        let (room, _) = shelf.room(need, self.floor_bytes, self.alignment);
        shelf.no_room.as_ref().filter(|_| room == Room::Full).map(|no_room| Arc::clone(&no_room.why))
    }

    /// Why the last segment that was wanted could not be made.
    #[must_use]
    pub fn no_room(&self) -> Option<Arc<str>> {
        self.shelf().no_room.as_ref().map(|no_room| Arc::clone(&no_room.why))
    }

    /// Whether the disk has little space: a segment could not be made, or not as long as it should be.
    #[must_use]
    pub fn space_is_short(&self) -> bool {
        let shelf = self.shelf();
        shelf.short || shelf.no_room.is_some()
    }

    /// Whether all segments that are made ahead are ready, and nothing failed.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        let shelf = self.shelf();
        shelf.ready.len() >= self.ahead && shelf.no_room.is_none()
    }

    /// Whether something is to be made. Not, if that has just failed: see [`Spares::retry`].
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.shelf().task(self.ahead, self.floor_bytes).is_some()
    }

    /// Appending goes on in the next segment. How long that is; `None` if it is not ready, which nobody may let happen.
    pub(super) fn begin_next(&self) -> Option<u64> {
        let mut shelf = self.shelf();
        let bytes = shelf.ready.pop_front()?;
        shelf.reached = shelf.reached.next();
        shelf.begun += 1;
        Some(bytes)
    }

    /// Appending has come so far in its segment.
    pub(super) fn appended(&self, offset: u64, file_bytes: u64) {
        self.used.store(offset.saturating_mul(WHOLE) / file_bytes.max(1), Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
    }

    /// How soon zeros are needed in a segment of that many bytes, of which so many are made. Where commits go on, it is
    /// made in step with how the one before it is used up, twice as fast.
    fn haste(&self, made: u64, bytes: u64) -> Haste {
        if self.closing.load(Ordering::Relaxed) {
            return Haste::Never;
        }
        let shelf = self.shelf();
        let awaited = shelf.next_bytes > 0 || shelf.count > shelf.ready.len();
        if awaited || self.waiting.load(Ordering::Relaxed) > 0 {
            return Haste::Now;
        }
        let made = made.saturating_mul(WHOLE) / bytes.max(1);
        let wanted = self.used.load(Ordering::Relaxed) * 2;
        let early = !shelf.ready.is_empty() || made >= wanted + WHOLE / 8;
        if early && self.busy.swap(false, Ordering::Relaxed) {
            Haste::Later
        } else if early || made >= wanted {
            Haste::Soon
        } else {
            Haste::Now
        }
    }

    /// Makes what is wanted. That something can't be made is no error: there is no room then.
    ///
    /// # Errors
    /// That names could not be changed, which is final; or that the log was closed.
    pub fn make(&self) -> Result<(), LogError> {
        let mut work = self.work();
        loop {
            let Some(task) = self.shelf().task(self.ahead, self.floor_bytes) else { return Ok(()) };
            if let Some(error) = &work.failed {
                return Err(error.clone());
            }
            let outcome = match task {
                Task::Make { ordinal, least } => self.make_one(&mut work, ordinal, least)?,
                Task::Lengthen { ordinal, from, to } => self.lengthen(ordinal, from, to),
            };
            let mut shelf = self.shelf();
            match (outcome, task) {
                (Ok(bytes), Task::Make { .. }) => {
                    shelf.short = bytes < self.segment_bytes;
                    shelf.ready.push_back(bytes);
                    shelf.done(bytes);
                }
                (Ok(bytes), Task::Lengthen { ordinal, .. }) => {
                    // If it was begun meanwhile, it was begun with the length that it had.
                    if ordinal == shelf.reached.next()
                        && let Some(there) = shelf.ready.front_mut()
                    {
                        *there = bytes;
                        shelf.done(bytes);
                    }
                }
                (Err(e), task) => {
                    let why = self.in_words(&e);
                    shelf.failed(task.least(), &why);
                }
            }
        }
    }

    /// Tries again what failed: there may be space now.
    ///
    /// # Errors
    /// As [`Spares::make`].
    pub fn retry(&self) -> Result<(), LogError> {
        let stuck = std::mem::take(&mut self.shelf().stuck);
        stuck.into_iter().for_each(|ordinal| self.remove(ordinal));
        self.space_was_freed();
        self.make()
    }

    /// Space was freed: what failed is not taken for impossible any more.
    pub fn space_was_freed(&self) {
        self.shelf().no_room = None;
    }

    /// Gives the next segment its name and its bytes. The outer error is final, the inner one says that there is no
    /// room.
    fn make_one(&self, work: &mut Work, ordinal: Ordinal, least: u64) -> Result<io::Result<u64>, LogError> {
        let free = self.free_to_take();
        let mut wanted = lengths(self.segment_bytes, least, free, self.alignment).peekable();
        let preferred = wanted.peek().copied().unwrap_or(least);
        let mut from = work.old.take(preferred).map(Source::Old);
        let mut error = None;
        while from.is_none()
            && let Some(bytes) = wanted.next()
        {
            if free.is_some_and(|free| bytes > free) {
                error = Some(io::ErrorKind::StorageFull.into());
                continue;
            }
            let name = filling_name(ordinal);
            match new_file_of_zeros(&*self.dir, &name, bytes, |at| self.haste(at, bytes)) {
                Ok(()) => from = Some(Source::New { bytes }),
                Err(e) if is_full(&e) => error = Some(e),
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        if from.is_none() {
            // Better a short old one than none.
            from = work.old.take_longest(least).map(Source::Old);
        }
        let Some(from) = from else {
            return Ok(Err(error.unwrap_or_else(|| io::ErrorKind::StorageFull.into())));
        };
        let name = from.name(ordinal);
        let opened =
            self.dir.open(&name).and_then(|file| match self.dir.rename(&name, &segment_name(ordinal)) {
                Err(e) if is_full(&e) => Err(e),
                renamed => Ok((file, renamed)),
            });
        let (file, renamed) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                // As it was, and to be tried again.
                match from {
                    Source::Old(old) => work.old.keep(old),
                    Source::New { .. } => drop(self.dir.remove(&name)),
                }
                return Ok(Err(e));
            }
        };
        // IMPORTANT: the name is durable before anything that counts is written under it.
        if let Err(e) = renamed.and_then(|()| self.dir.sync()) {
            let error = LogError::new("naming a new segment", self.dir.path(), e);
            work.failed = Some(error.clone());
            return Err(error);
        }
        self.shelf().files.push_back((ordinal, file));
        Ok(Ok(from.bytes()))
    }

    /// The file of a segment that the writer begins.
    pub(super) fn take_file(&self, ordinal: Ordinal) -> Option<Arc<dyn File>> {
        let mut shelf = self.shelf();
        let (found, file) = shelf.files.pop_front()?;
        debug_assert_eq!(found, ordinal, "segments are begun in the order in which they were made");
        (found == ordinal).then_some(file)
    }

    /// Makes a segment longer that is ready. Who begins it meanwhile does not notice: only bytes behind its end are
    /// written.
    fn lengthen(&self, ordinal: Ordinal, from: u64, to: u64) -> io::Result<u64> {
        if self.free_to_take().is_some_and(|free| to - from > free) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.dir.open(&segment_name(ordinal))?;
        // IMPORTANT: the length is durable before a header says it.
        let longer =
            file.allocate(to).and_then(|()| fill_with_zeros(&*file, from, to, |_| self.haste(0, to)));
        if longer.is_err() {
            // The space is worth having; where it can't be had back, a file is longer than it says, which is no harm.
            let _ = file.set_len(from);
        }
        longer.map(|()| to)
    }

    /// Takes segments that nothing needs any more: some are kept for use again, the others are removed. What can't be
    /// removed is tried again later: nothing is lost by it but space.
    pub fn retire(&self, segments: &[Ordinal]) {
        if segments.is_empty() {
            return;
        }
        let mut work = self.work();
        let begun = std::mem::take(&mut self.shelf().begun);
        let most = work.old.most(begun, self.ahead, self.segment_bytes, self.free_to_take());
        for &ordinal in segments {
            let opened = self.dir.open(&segment_name(ordinal));
            // One that can't be read is not written to again.
            let readable = opened.and_then(|file| file.read_at(0, &mut [0]).and_then(|_| file.len()));
            let bytes = readable.unwrap_or(0);
            let bytes = bytes - bytes % self.alignment;
            // Others are of use on a full disk only. What was made for one large batch is not kept even there.
            let usable = bytes >= self.floor_bytes && bytes <= self.segment_bytes.saturating_mul(2);
            if bytes == self.segment_bytes || (usable && self.space_is_short()) {
                work.old.keep(OldSegment { ordinal, bytes });
            } else {
                self.remove(ordinal);
            }
        }
        work.old.surplus(most).for_each(|ordinal| self.remove(ordinal));
        drop(work);
        self.space_was_freed();
    }

    /// Removes the old segments that are kept for use again: something else needs their space. Says whether there were
    /// any.
    pub fn give_up_old(&self) -> bool {
        let mut work = self.work();
        let old: Vec<Ordinal> = work.old.surplus(0).collect();
        old.iter().for_each(|ordinal| self.remove(*ordinal));
        !old.is_empty()
    }

    /// Removes segments that nothing needs any more and whose files are not to be used again, durably: an opening would
    /// stumble over one that can't be read.
    ///
    /// # Errors
    /// If that can't be made durable, which is final.
    pub fn discard(&self, segments: &[Ordinal]) -> Result<(), LogError> {
        let mut work = self.work();
        segments.iter().for_each(|ordinal| self.remove(*ordinal));
        let failed = |e| LogError::new("removing a damaged segment", self.dir.path(), e);
        let synced = self.dir.sync().map_err(failed);
        work.failed = work.failed.take().or_else(|| synced.clone().err());
        synced
    }

    fn remove(&self, ordinal: Ordinal) {
        match self.dir.remove(&segment_name(ordinal)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => self.shelf().stuck.push(ordinal),
            _ => {}
        }
    }

    /// How many bytes the log's disk has left; `None` if it can't be told.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.dir.free_bytes().unwrap_or(None)
    }

    /// So many bytes of the disk are to be left free: the next snapshot needs them, and without it the log can't be cut.
    pub fn keep_free(&self, bytes: u64) {
        self.kept_free.store(bytes, Ordering::Relaxed);
    }

    /// What is free and not kept for something else.
    fn free_to_take(&self) -> Option<u64> {
        Some(self.free_bytes()?.saturating_sub(self.kept_free.load(Ordering::Relaxed)))
    }

    /// How many old segments could not be removed so far.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.shelf().stuck.len()
    }

    /// One line for whoever is refused.
    fn in_words(&self, error: &io::Error) -> String {
        let what = match error.kind() {
            io::ErrorKind::StorageFull => "No space left on device".to_owned(),
            io::ErrorKind::QuotaExceeded => "Disk quota exceeded".to_owned(),
            _ => error.to_string(),
        };
        format!("no room for another segment in {}: {what}", self.dir.path().display())
            .replace(['\r', '\n'], " ")
    }

    /// Somebody waits for a segment in the making, and from now on for each.
    pub fn hurry(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives up a segment in the making; none is made from now on.
    pub fn close(&self) {
        let closed = io::Error::other("the log was closed");
        let error = LogError::new("making a new segment", self.dir.path(), closed);
        self.closing.store(true, Ordering::Relaxed);
        self.work().failed.get_or_insert(error);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // What a panicking holder leaves is one finished step or none.
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        work
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::io::sim::{CrashStyle, SimDisk};

    fn options(segment_bytes: u64, spares: u32) -> LogOptions {
        LogOptions { segment_bytes, spares, ..LogOptions::default() }
    }

    fn spares(disk: &SimDisk) -> Spares {
        Spares::new(disk.dir(), &options(2048, 2), Ordinal::new(5))
    }

    fn next(bytes: u64, used_for: Use) -> Need {
        Need::Next { bytes, used_for }
    }

    fn lens(disk: &SimDisk) -> Vec<usize> {
        disk.files().iter().map(|path| disk.read_file(path).map_or(0, |bytes| bytes.len())).collect()
    }

    #[test]
    fn as_many_as_wanted_are_made_and_no_more() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        spares.make().unwrap();
        assert!(!spares.wanted());
        assert_eq!(disk.files(), ["0000000006.seg", "0000000007.seg"]);
        assert_eq!(spares.begin_next(), Some(2048));
        assert!(spares.wanted());
        let lost = disk.after_crash(0, CrashStyle::Lost);
        assert_eq!(lost.files().len(), 2);
        assert_eq!(lost.read_file("0000000007.seg").unwrap(), [0; 2048]);
    }

    #[test]
    fn old_segments_of_full_length_are_used_again() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        disk.write_file("0000000001.seg", &[7; 2048]);
        disk.write_file("0000000002.seg", &[7; 1024]);
        disk.write_file("0000000003.seg", &[7; 2100]);
        disk.write_file("0000000004.seg", &[7; 2560]);
        spares.retire(&[1, 2, 3, 4].map(Ordinal::new));
        assert_eq!(disk.files(), ["0000000001.seg", "0000000003.seg"]);
        spares.make().unwrap();
        assert_eq!(disk.files(), ["0000000006.seg", "0000000007.seg"]);
        assert_eq!([spares.begin_next(), spares.begin_next()], [Some(2048), Some(2048)]);
        assert_eq!(disk.read_file("0000000006.seg").unwrap(), [7; 2048]);
    }

    #[test]
    fn an_old_segment_that_can_not_be_opened_or_renamed_is_kept() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        (1..=3).for_each(|n| disk.write_file(&segment_name(Ordinal::new(n)), &[7; 2048]));
        spares.retire(&[1, 2, 3].map(Ordinal::new));
        // Without a descriptor, then without space for a name: neither changes anything.
        let faults: [fn(&SimDisk, bool); 2] = [SimDisk::run_out_of_descriptors, SimDisk::refuse_renames];
        for fault in faults {
            fault(&disk, true);
            for _ in 0..5 {
                spares.retry().unwrap();
                assert!(spares.no_room().is_some());
            }
            fault(&disk, false);
            assert_eq!(disk.files().len(), 3);
        }
        spares.retry().unwrap();
        assert_eq!(disk.files(), ["0000000002.seg", "0000000006.seg", "0000000007.seg"]);
        assert_eq!(disk.read_file("0000000007.seg").unwrap(), [7; 2048], "made from an old one");
    }

    #[test]
    fn as_many_old_segments_are_kept_as_are_used() {
        let disk = SimDisk::new(0);
        let spares = Spares::new(disk.dir(), &options(2048, 1), Ordinal::new(20));
        let kept_of_ten = |begun: u64, free: u64| {
            (0..begun).for_each(|_| {
                spares.make().unwrap();
                spares.begin_next();
            });
            (1..=10).for_each(|ordinal| disk.write_file(&segment_name(Ordinal::new(ordinal)), &[7; 2048]));
            disk.set_capacity(Some(disk.used() + free));
            spares.retire(&(1..=10).map(Ordinal::new).collect::<Vec<_>>());
            disk.set_capacity(None);
            let mut work = std::mem::take(&mut *spares.work());
            disk.files().iter().for_each(|name| disk.dir().remove(name).unwrap());
            work.old.surplus(0).count()
        };
        assert_eq!(kept_of_ten(0, 1 << 30), 3);
        assert_eq!(kept_of_ten(7, 1 << 30), 7);
        assert_eq!(kept_of_ten(9, 70_000), 4, "an eighth of what is free");
    }

    #[test]
    fn short_old_segments_are_used_where_there_is_no_other() {
        const KIB: usize = 1024;
        let disk = SimDisk::new(0);
        let spares = Spares::new(disk.dir(), &options(4 << 20, 1), Ordinal::new(5));
        disk.write_file("0000000001.seg", &vec![7; 1500 * KIB]);
        disk.write_file("0000000002.seg", &vec![7; 1000 * KIB]);
        disk.set_capacity(Some(disk.used()));
        spares.make().unwrap();
        assert!(spares.no_room().is_some());
        spares.retire(&[1, 2].map(Ordinal::new));
        spares.make().unwrap();
        assert_eq!((disk.files(), lens(&disk)), (vec!["0000000006.seg".to_owned()], vec![1500 * KIB]));
        assert!(spares.space_is_short() && spares.no_room().is_none());
    }

    #[test]
    fn commits_come_first_unless_the_next_segment_is_late_or_awaited() {
        let disk = SimDisk::new(0);
        let spares = Spares::new(disk.dir(), &options(2048, 1), Ordinal::new(5));
        assert_eq!([0, 256].map(|made| spares.haste(made, 2048)), [Haste::Soon; 2], "there are no commits");
        spares.appended(0, 4096);
        assert_eq!([0, 256].map(|made| spares.haste(made, 2048)), [Haste::Soon, Haste::Later]);
        spares.appended(1024, 4096);
        assert_eq!([1023, 1024].map(|made| spares.haste(made, 2048)), [Haste::Now, Haste::Soon]);
        assert_eq!([1279, 1280].map(|made| spares.haste(made, 2048)), [Haste::Soon, Haste::Later]);
        assert_eq!(spares.room(next(1024, Use::Adds)), Room::NotYet);
        assert_eq!(spares.haste(2000, 2048), Haste::Now, "a batch waits for it");
        spares.make().unwrap();
        spares.appended(4096, 4096);
        assert_eq!(spares.haste(0, 2048), Haste::Later, "there is one that is ready");
        std::thread::scope(|scope| {
            let held = spares.work();
            scope.spawn(|| spares.retire(&[Ordinal::new(1)]));
            while spares.waiting.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(spares.haste(0, 2048), Haste::Now, "somebody waits for whoever makes it");
            drop(held);
        });
        spares.appended(4096, 4096);
        assert_eq!(spares.haste(0, 2048), Haste::Later, "whoever waited has been served");
        spares.begin_next();
        assert_eq!(spares.haste(0, 2048), Haste::Now);
        spares.appended(512, 2048);
        assert_eq!(spares.haste(2000, 2048), Haste::Later);
        spares.hurry();
        assert_eq!(spares.haste(2000, 2048), Haste::Now);
        spares.close();
        assert_eq!(spares.haste(0, 2048), Haste::Never);
    }

    #[test]
    fn a_closed_log_makes_no_segments() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        spares.close();
        assert!(spares.make().is_err());
        assert!(disk.files().is_empty());
    }

    #[test]
    fn a_full_disk_leaves_nothing_behind_and_is_tried_again() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        disk.set_capacity(Some(3000));
        spares.make().unwrap();
        assert_eq!(disk.files(), ["0000000006.seg"]);
        let why = spares.no_room().unwrap();
        assert_eq!(&*why, "no room for another segment in /sim/: No space left on device");
        assert!(!spares.wanted() && spares.space_is_short());
        assert_eq!(spares.room(next(2048, Use::Frees)), Room::Yes);
        assert_eq!(spares.room(next(2048, Use::Adds)), Room::Full);
        let ops = disk.ops();
        spares.make().unwrap();
        assert_eq!(disk.ops(), ops, "not before it is told to");
        disk.set_capacity(None);
        spares.retry().unwrap();
        assert!(spares.no_room().is_none() && !spares.space_is_short());
        assert_eq!(disk.files(), ["0000000006.seg", "0000000007.seg"]);
    }

    #[test]
    fn a_segment_is_as_long_as_the_disk_bears() {
        const MIB: u64 = 1024 * 1024;
        let at = |free| lengths(64 * MIB, MIB, free, 512).collect::<Vec<u64>>();
        assert_eq!(at(None), [64, 32, 16, 8, 4, 2, 1].map(|mib| mib * MIB));
        assert_eq!(at(Some(600 * MIB))[0], 64 * MIB);
        assert_eq!(at(Some(100 * MIB))[0], 8 * MIB);
        assert_eq!(at(Some(16 * MIB))[0], 2 * MIB);
        assert_eq!(at(Some(0)), [MIB]);
        assert_eq!(lengths(4096, 3000, Some(0), 512).collect::<Vec<u64>>(), [3072]);
        assert_eq!(lengths(4096, 9000, None, 512).collect::<Vec<u64>>(), [9216]);
        let disk = SimDisk::new(0);
        let spares = Spares::new(disk.dir(), &options(8 * MIB, 3), Ordinal::new(5));
        disk.set_capacity(Some(17 * MIB));
        spares.make().unwrap();
        assert_eq!(lens(&disk), [2 * MIB, MIB, MIB].map(|bytes| usize::try_from(bytes).unwrap()));
        assert!(spares.space_is_short() && spares.are_ready());
    }

    #[test]
    fn a_batch_that_needs_a_longer_segment_gets_it_or_is_told() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        assert_eq!(spares.room(next(5000, Use::Adds)), Room::NotYet);
        spares.make().unwrap();
        assert_eq!(spares.room(next(5000, Use::Adds)), Room::Yes);
        let made = lens(&disk)[0];
        // The one that is ready is made longer.
        assert_eq!(spares.room(next(9000, Use::Adds)), Room::NotYet);
        spares.make().unwrap();
        assert_eq!(spares.room(next(9000, Use::Adds)), Room::Yes);
        assert!(lens(&disk)[0] > made && lens(&disk)[1] == 2048);
        let after = disk.after_crash(0, CrashStyle::Lost);
        assert_eq!(lens(&after), lens(&disk));
        // What can't be done leaves the rest as it was.
        let before = lens(&disk);
        disk.set_capacity(Some(disk.used() + 1000));
        assert_eq!(spares.room(next(50_000, Use::Adds)), Room::NotYet);
        spares.make().unwrap();
        assert_eq!(lens(&disk), before);
        assert_eq!(spares.room(next(50_000, Use::Adds)), Room::Full);
        assert_eq!(spares.room(next(9000, Use::Adds)), Room::Yes);
        assert_eq!(spares.room(next(12_000, Use::Frees)), Room::NotYet);
        assert_eq!(spares.begin_next(), Some(before[0] as u64));
    }

    #[test]
    fn a_segment_that_cannot_be_written_is_no_room_and_one_that_cannot_be_named_is_the_end() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        disk.fail_write(1);
        spares.make().unwrap();
        assert!(spares.no_room().unwrap().contains("simulated write error"));
        disk.fail_sync(1, false);
        spares.retry().unwrap();
        assert!(spares.no_room().unwrap().contains("simulated sync error"));
        assert!(disk.files().is_empty());
        disk.crash_at(disk.ops() + 4);
        assert!(spares.retry().is_err(), "create, write, sync, and then the name");
    }
}
