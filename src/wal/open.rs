//! Opening a log: read what is there, judge it by the table in `verdict.rs`, and begin a new epoch.
//!
//! The rename of the new epoch's first segment is the commit. Until then nothing of the old log is touched,
//! so a crash at any moment, in however many attempts, leaves either the old log or the new one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ballast::{self, Ballast};
use super::buffer::{Buffer, Cursor, RESERVED_BLOCKS};
use super::bytes::{index, put};
use super::chain::{Chain, Found, Link, Survey};
use super::error::{Damage, OpenError, while_opening};
use super::frame::{Batches, FRAME_HEADER_BYTES, Frame, FrameHeader, frame_bytes};
use super::place::{Epoch, Ordinal, Place};
use super::read::{Piece, Source, look_beyond, place_of, readable_bytes, scan_segment, with_source};
use super::scan::{Beyond, Scan, Stop};
use super::segment::{
    ALIGNMENT_MIN, OldEnd, SEGMENT_BYTES_MAX, SegmentHeader, is_unfinished, opening_name, segment_name,
};
use super::spares::{Spares, is_full, lengths};
use super::store_file::{self, StoreFile};
use super::verdict::{self, Case};
use super::verify::Verifier;
use super::writer::{Fate, Writer};
use super::zeros::{Haste, fill_with_zeros};
use super::{LogOptions, Opened, Replay};
use crate::id::Seq;
use crate::id::StoreId;
use crate::io::{Dir, File};

/// Where the segments lie in the data directory.
const LOG_DIR: &str = "log";

/// What an opening's own segment has for new batches: enough until spares are made, little enough to be
/// quick.
const OPENING_ROOM_BYTES: u64 = 4 * 1024 * 1024;

/// The least of that, but on a disk that has nothing at all.
const OPENING_ROOM_BYTES_MIN: u64 = 64 * 1024;

/// How far a segment that the log does not say it goes on in is searched for signs that it did.
const PEEK_BYTES: u64 = 1024 * 1024;

/// What an opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of this opening.
    pub epoch: Epoch,
    /// Its segment.
    pub segment: Ordinal,
    /// How many segments were read,
    pub segments: u64,
    /// and how many bytes.
    pub bytes: u64,
    /// How many batches were handed to the replay.
    pub batches: u64,
    /// How many batches were written again, because nothing proved that they were durable.
    pub rewritten: u64,
    /// The torn end that was cut off, if there was one.
    pub cut: Option<Cut>,
    /// Segments that could not be read, and why. Nothing in them was needed.
    pub unreadable: Vec<String>,
}

/// A torn end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The row of the table.
    pub case: Case,
    /// The file.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How far it was seen to reach.
    pub bytes: u64,
    /// The first batch that is not there.
    pub seq: Seq,
}

/// The log as it was found.
struct Past {
    store: StoreId,
    epoch: Epoch,
    highest: Ordinal,
    /// Where its proven part ends.
    end: OldEnd,
    /// The newest segment, and where it belongs; none if there is nothing,
    newest: Option<(Arc<dyn File>, Place)>,
    /// and the frames in it that nothing proves.
    tail: Vec<Frame>,
    next_seq: Seq,
    /// Whether there is any sign that something was ever written.
    touched: bool,
    kept: Vec<(Ordinal, Option<Seq>)>,
    /// The first of these that belongs to the log.
    counts_from: Ordinal,
    /// So many of them, the oldest, are needed by nothing: all snapshots have what is in them, and without a snapshot the
    /// log can't be read, since what was before them is gone.
    dead: usize,
    idle: Vec<Ordinal>,
    /// Those of them that are nothing to the log as it is, so that they may go before this opening is committed.
    needless: Vec<Ordinal>,
    /// Files that are longer than an opening found them to be.
    overlong: Vec<(Arc<dyn File>, u64, PathBuf)>,
}

impl Past {
    /// How many of the files that are kept have no batch after that one.
    fn kept_before(&self, saved: Seq) -> usize {
        let begins_by_then = |first_seq: Option<Seq>| first_seq.is_some_and(|seq| seq <= saved.next());
        self.kept.iter().rposition(|(_, first_seq)| begins_by_then(*first_seq)).unwrap_or(0)
    }

    /// Takes one of the files out that nothing needs, whatever becomes of this opening.
    fn needless(&mut self) -> Option<Ordinal> {
        if let Some(ordinal) = self.needless.pop() {
            self.idle.retain(|idle| *idle != ordinal);
            return Some(ordinal);
        }
        self.dead = self.dead.checked_sub(1)?;
        Some(self.kept.remove(0).0)
    }

    /// The payload of a frame of the tail, read again.
    fn payload(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        let FrameHeader { offset, payload_bytes, payload_crc, .. } = frame.header;
        let mut payload = vec![0; index(payload_bytes.into())];
        if let Some((file, place)) = &self.newest
            && file.read_at(offset + FRAME_HEADER_BYTES as u64, &mut payload)? == payload.len()
            && FrameHeader::crc_of_payload(place, offset, &payload) == payload_crc
        {
            return Ok(payload);
        }
        let why = format!("batch {} can't be read as it was a moment ago", frame.header.first_seq);
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Opens the log in `data_dir`, which the caller holds locked, and hands every batch after `base` to
/// `replay`.
///
/// `base` is the last batch in the snapshot that was loaded, zero if there is none; `proven_by_snapshot` the
/// highest such number in any snapshot seen, loaded or not: the log must have come at least that far.
///
/// # Errors
/// [`OpenError::Damage`] if anything acknowledged is damaged or missing. Nothing of the log was changed then.
pub fn open(
    data_dir: &Arc<dyn Dir>,
    options: &LogOptions,
    base: Seq,
    proven_by_snapshot: Seq,
    replay: &mut dyn Replay,
) -> Result<Opened, OpenError> {
    options.check()?;
    let log_dir = data_dir.subdir(LOG_DIR).map_err(while_opening("opening the log", data_dir.path()))?;
    // IMPORTANT: a process that died may have left names that only the page cache has. What is built on them
    // now must not outlive them.
    for dir in [data_dir, &log_dir] {
        dir.sync().map_err(while_opening("syncing the names", dir.path()))?;
    }
    let store = StoreFile::read(data_dir)?;
    let survey = Survey::of(&log_dir)?;
    let proven = base.max(proven_by_snapshot);
    if survey.is_empty() && (store.is_some() || proven > Seq::ZERO) {
        return Err(Damage::new(verdict::LOG_MISSING, log_dir.path()).seq(proven.next()).into());
    }
    let mut report = Report::default();
    let past = if survey.is_empty() {
        None
    } else {
        let chain = survey.chain(store.as_ref(), base)?;
        let ahead = options.read_ahead;
        let reader = Reader { dir: &log_dir, base, proven, ahead, replay, report: &mut report };
        let whole = chain.whole;
        let mut past = reader.read(chain)?;
        past.dead = if whole { 0 } else { past.kept_before(options.saved) };
        report.unreadable = survey.unreadable();
        Some(past)
    };
    if let Some(past) = past.as_ref().filter(|past| store.is_none() && past.touched) {
        // Before STORE is there nothing was ever acknowledged; what was begun then is finished now.
        let damage = Damage::new(verdict::STORE_MISSING, data_dir.path().join(store_file::NAME));
        return Err(damage.seq(past.next_seq).into());
    }
    // Not before: who is refused finds everything as it was.
    tidy(data_dir)?;
    tidy(&log_dir)?;
    let ballast = Ballast::find(Arc::clone(data_dir));
    Opening { data_dir, log_dir, options, ballast, report }.begin(past)
}

/// Judges what every opening needs, whatever the snapshots hold: `STORE`, the headers, and the newest segment. Changes
/// nothing. Opening a snapshot store changes its files, so this comes before it.
///
/// # Errors
/// As [`open`].
pub fn check_newest(data_dir: &Arc<dyn Dir>) -> Result<(), OpenError> {
    struct Nobody;
    impl Replay for Nobody {
        fn batch(&mut self, _: Seq, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }
    let Some(store) = StoreFile::read(data_dir)? else { return Ok(()) };
    let log_dir = data_dir.subdir(LOG_DIR).map_err(while_opening("opening the log", data_dir.path()))?;
    let survey = Survey::of(&log_dir)?;
    if survey.is_empty() {
        return Err(Damage::new(verdict::LOG_MISSING, log_dir.path()).into());
    }
    // A snapshot of everything needs the newest segment only.
    let chain = survey.chain(Some(&store), Seq::new(u64::MAX - 1))?;
    let newest = chain.links.last().expect("the chain holds at least its newest segment");
    let found = scan_segment(&log_dir, newest)?;
    let (base, proven, ahead, mut report) = (Seq::ZERO, Seq::ZERO, false, Report::default());
    let mut reader = Reader { dir: &log_dir, base, proven, ahead, replay: &mut Nobody, report: &mut report };
    reader.judge(newest, &found, chain.next.as_ref()).map(drop)
}

/// Removes what was not finished.
fn tidy(dir: &Arc<dyn Dir>) -> Result<(), OpenError> {
    for name in dir.list().map_err(while_opening("listing the names", dir.path()))? {
        let other = [store_file::UNFINISHED_NAME, ballast::UNFINISHED_NAME].contains(&&*name);
        if is_unfinished(&name) || other {
            dir.remove(&name).map_err(while_opening("removing an unfinished file", dir.path().join(name)))?;
        }
    }
    Ok(())
}

/// Reads and judges.
struct Reader<'a> {
    dir: &'a Arc<dyn Dir>,
    base: Seq,
    proven: Seq,
    /// Whether a thread reads ahead.
    ahead: bool,
    replay: &'a mut dyn Replay,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn read(mut self, chain: Chain) -> Result<Past, OpenError> {
        let needed = &chain.links[chain.needed_from..];
        let total: u64 = needed.iter().map(readable_bytes).sum();
        let newest = needed.last().expect("the chain holds at least its newest segment");
        let (dir, ahead) = (self.dir, self.ahead);
        let (found, before) =
            with_source(dir, needed, ahead, |source| self.read_needed(needed, total, source))?;
        let (proof, touched) = self.judge(newest, &found, chain.next.as_ref())?;

        let before = || before.or_else(|| self.glance(&chain.links[chain.needed_from.checked_sub(1)?]));
        let end = proven_end(newest, &found, proof, before);
        let tail = found.frames.iter().filter(|f| f.header.first_seq > end.seq && f.header.batches > 0);
        // IMPORTANT: not the one after the newest. Where a log says that it goes on, it must be there.
        let next = newest.found.ordinal.next();
        let needless = chain.idle.iter().copied().filter(|ordinal| *ordinal != next).collect();
        let (links, mut idle) = (&chain.links, chain.idle);
        let mut kept = chain.older;
        for link in links {
            if link.found.ordinal <= end.ordinal {
                kept.push((link.found.ordinal, Some(link.header.first_seq)));
            } else {
                idle.push(link.found.ordinal);
            }
        }
        let overlong = links.iter().filter_map(|link| {
            let named = if link.found.ordinal == end.ordinal { Some(end) } else { link.end };
            let length = named.filter(|end| end.length < link.found.bytes)?.length;
            Some((Arc::clone(&link.found.file), length, link.path(self.dir)))
        });
        Ok(Past {
            store: newest.header.store,
            epoch: newest.header.epoch,
            highest: chain.highest,
            end,
            tail: tail.cloned().collect(),
            next_seq: found.next_seq,
            touched: touched || found.next_seq > Seq::new(1),
            kept,
            dead: 0,
            counts_from: links.first().map_or(Ordinal::new(0), |link| link.found.ordinal),
            idle,
            needless,
            overlong: overlong.collect(),
            newest: Some((Arc::clone(&newest.found.file), place_of(newest))),
        })
    }

    fn damage(&self, case: Case, link: &Link) -> Damage {
        Damage::new(case, link.path(self.dir)).segment(link.found.ordinal)
    }

    /// Replays the needed segments. Answers what the newest one holds, and where the one before it ends.
    fn read_needed(
        &mut self,
        needed: &[Link],
        total: u64,
        mut source: Source<'_>,
    ) -> Result<(Scan, Option<OldEnd>), OpenError> {
        let (mut found, mut before) = (Scan::default(), None);
        let mut expected = needed.first().map_or(Seq::new(1), |link| link.header.first_seq);
        for (at, link) in needed.iter().enumerate() {
            if link.header.first_seq != expected {
                let damage = self.damage(verdict::OUT_OF_ORDER, link).at(0).seq(expected);
                return Err(damage.detail(format!("it begins with batch {}", link.header.first_seq)).into());
            }
            found = self.replay_segment(link, &mut source, total)?;
            if let Some(newer) = needed.get(at + 1) {
                self.check_complete(link, newer, &found)?;
                before = Some(end_after(link, &found, found.frames.iter()));
                expected = found.next_seq;
            }
        }
        Ok((found, before))
    }

    /// Replays a segment as it is read.
    fn replay_segment(
        &mut self,
        link: &Link,
        source: &mut Source<'_>,
        total: u64,
    ) -> Result<Scan, OpenError> {
        let before = self.report.bytes;
        let (mut piece, mut frames) = (Piece::default(), Vec::new());
        self.report.segments += 1;
        loop {
            piece = source.next(link, piece)?;
            self.replay(link, &piece.frames, &piece.bytes)?;
            self.report.bytes = before + piece.frames.last().map_or(0, |frame| frame.end);
            frames.append(&mut piece.frames);
            if let Some(end) = piece.end.take() {
                self.report.bytes = before + readable_bytes(link);
                self.replay.progress(self.report.bytes, total);
                return Ok(Scan { frames, ..end });
            }
            self.replay.progress(self.report.bytes, total);
        }
    }

    /// Where the segment before the first needed one ends; `None` if that can't be told, which does no harm.
    fn glance(&self, link: &Link) -> Option<OldEnd> {
        let found = scan_segment(self.dir, link).ok()?;
        (found.stop == Stop::GoesOn).then(|| end_after(link, &found, found.frames.iter()))
    }

    /// Checks that a segment with others behind it is all there.
    fn check_complete(&self, link: &Link, newer: &Link, found: &Scan) -> Result<(), OpenError> {
        let case = match (found.stop, link.end) {
            (Stop::Malformed, _) => verdict::MALFORMED,
            (Stop::Gap { .. }, _) => verdict::OUT_OF_ORDER,
            (_, Some(end)) => {
                let there = end_after(link, found, found.frames.iter());
                let same = there.seq == end.seq && there.offset == end.offset && there.crc == end.crc;
                if same && found.stop == Stop::Full {
                    return Ok(());
                }
                verdict::PROVEN_BY_OPENING
            }
            (Stop::GoesOn, None) => return Ok(()),
            (Stop::Full | Stop::Unsound { .. }, None) => verdict::PROVEN_BY_SEGMENT,
        };
        let damage = self.damage(case, link).at(found.at).seq(found.next_seq);
        Err(damage.detail(format!("segment {} follows it", newer.found.ordinal)).into())
    }

    /// Judges the end of the newest segment. Returns up to where the log is proven to have been durable, and
    /// whether there is any sign of something behind the frames that were found.
    fn judge(&mut self, link: &Link, found: &Scan, next: Option<&Found>) -> Result<(Seq, bool), OpenError> {
        let here = |case| self.damage(case, link).at(found.at).seq(found.next_seq);
        let goes_on = found.stop == Stop::GoesOn;
        let mut torn = false;
        match found.stop {
            Stop::Gap { found } => {
                return Err(here(verdict::OUT_OF_ORDER).detail(format!("batch {found} is there")).into());
            }
            Stop::Malformed => return Err(here(verdict::MALFORMED).into()),
            Stop::Unsound { torn: meant } => torn = meant,
            Stop::GoesOn | Stop::Full => {}
        }
        let beyond = if goes_on {
            Beyond::default()
        } else {
            look_beyond(&*link.found.file, &place_of(link), found.at, readable_bytes(link))
                .map_err(while_opening("reading a segment", link.path(self.dir)))?
        };
        let (beyond_next, next_path) = self.look_into_next(link, goes_on, next)?;

        let marks = [
            (link.header.durable, link.path(self.dir), 0),
            (beyond.mark, link.path(self.dir), beyond.mark_at),
            (beyond_next.mark, next_path.clone(), beyond_next.mark_at),
        ];
        for (mark, path, at) in marks {
            if mark >= found.next_seq {
                let detail = format!("the mark at offset {at} of {} says up to batch {mark}", path.display());
                return Err(here(verdict::PROVEN_BY_MARK).detail(detail).into());
            }
        }
        if self.proven >= found.next_seq {
            let detail = format!("the snapshot reaches batch {}", self.proven);
            return Err(here(verdict::PROVEN_BY_SNAPSHOT).detail(detail).into());
        }
        let block = u64::from(ALIGNMENT_MIN);
        if torn || beyond.any {
            let bytes = beyond.last_at.max(found.at) + block - found.at;
            let (offset, seq) = (found.at, found.next_seq);
            self.report.cut =
                Some(Cut { case: verdict::TORN_TAIL, path: link.path(self.dir), offset, bytes, seq });
        } else if beyond_next.any {
            let (bytes, seq) = (beyond_next.last_at + block, found.next_seq);
            self.report.cut = Some(Cut { case: verdict::TORN_START, path: next_path, offset: 0, bytes, seq });
        }
        let proof =
            link.header.durable.max(found.mark()).max(beyond.mark).max(beyond_next.mark).max(self.proven);
        Ok((proof, self.report.cut.is_some()))
    }

    /// Looks for frames in the segment after the newest one that has a sound header.
    fn look_into_next(
        &self,
        link: &Link,
        goes_on: bool,
        next: Option<&Found>,
    ) -> Result<(Beyond, PathBuf), OpenError> {
        let ordinal = link.found.ordinal.next();
        let path = self.dir.path().join(segment_name(ordinal));
        let damage = |case| Damage::new(case, path.clone()).segment(ordinal);
        let Some(next) = next else {
            if goes_on {
                return Err(damage(verdict::SEGMENT_MISSING).into());
            }
            return Ok((Beyond::default(), path));
        };
        if goes_on && next.bytes < u64::from(link.header.alignment) {
            return Err(damage(verdict::SEGMENT_SHORT).at(next.bytes).into());
        }
        let bytes = next.bytes.min(if goes_on { SEGMENT_BYTES_MAX } else { PEEK_BYTES });
        let place = Place::new(link.header.store, link.header.epoch, ordinal);
        let beyond = look_beyond(&*next.file, &place, u64::from(ALIGNMENT_MIN), bytes)
            .map_err(while_opening("reading a segment", path.clone()))?;
        Ok((beyond, path))
    }

    fn replay(&mut self, link: &Link, frames: &[Frame], bytes: &[u8]) -> Result<(), OpenError> {
        let (base, mut count) = (self.base, 0);
        let after_base = frames.iter().filter(|frame| frame.next_seq() > base.next());
        let mut batches = after_base
            .flat_map(|frame| {
                let seqs = (frame.header.first_seq.get()..).map(Seq::new);
                seqs.zip(Batches(&bytes[frame.payload.clone()]).flatten())
            })
            .filter(|(seq, _)| *seq > base)
            .inspect(|_| count += 1);
        let replayed = self.replay.batches(&mut batches);
        self.report.batches += count;
        replayed.map_err(|(seq, why)| {
            let damage = self.damage(verdict::DOES_NOT_APPLY, link).seq(seq).detail(why);
            let frame = frames.iter().rfind(|frame| frame.header.first_seq <= seq);
            damage.at(frame.map_or(0, |frame| frame.header.offset)).into()
        })
    }
}

/// The end of a segment's log after the last of these frames that has batches.
fn end_after<'f>(link: &Link, found: &Scan, frames: impl DoubleEndedIterator<Item = &'f Frame>) -> OldEnd {
    let ordinal = link.found.ordinal;
    match frames.rev().find(|frame| frame.header.batches > 0) {
        Some(frame) => OldEnd {
            ordinal,
            offset: frame.end,
            seq: Seq::new(frame.next_seq().get() - 1),
            length: frame.end,
            crc: frame.crc,
        },
        None => OldEnd {
            ordinal,
            offset: u64::from(link.header.alignment),
            seq: Seq::new(link.header.first_seq.get() - 1),
            length: u64::from(link.header.alignment),
            crc: found.head_crc,
        },
    }
}

/// Where the part of the log that is proven ends.
fn proven_end(link: &Link, found: &Scan, proof: Seq, before: impl FnOnce() -> Option<OldEnd>) -> OldEnd {
    // IMPORTANT: up to the end of the frame that holds the proven batch, never an empty frame behind it: that
    // one may be in the page cache only.
    let proven = found.frames.iter().filter(|frame| frame.header.first_seq <= proof);
    let here = end_after(link, found, proven);
    let any_here = here.seq >= link.header.first_seq;
    match (any_here, link.header.opening) {
        (true, _) => here,
        // Nothing is in it: what it names is the end. So that openings without news don't pile up.
        (false, Some(end)) => end,
        // Its own header may be in the page cache only.
        (false, None) => before().unwrap_or(here),
    }
}

/// Begins a new epoch.
struct Opening<'a> {
    data_dir: &'a Arc<dyn Dir>,
    log_dir: Arc<dyn Dir>,
    options: &'a LogOptions,
    ballast: Ballast,
    report: Report,
}

impl Opening<'_> {
    fn begin(mut self, past: Option<Past>) -> Result<Opened, OpenError> {
        let mut past = past.unwrap_or_else(|| self.nothing());
        let (epoch, ordinal) = (past.epoch.next(), past.highest.next());
        let place = Place::new(past.store, epoch, ordinal);
        let header = SegmentHeader {
            store: past.store,
            epoch,
            ordinal,
            first_seq: past.end.seq.next(),
            durable: Seq::new(past.next_seq.get() - 1),
            file_bytes: 0,
            alignment: self.options.alignment,
            opening: Some(past.end),
        };
        let (_, cursor) = self.write_segment(&place, header, &mut past)?;
        self.commit(ordinal)?;
        // By its new name, which is what errors will say.
        let name = segment_name(ordinal);
        let file = self
            .log_dir
            .open(&name)
            .map_err(while_opening("opening the new segment", self.log_dir.path().join(name)))?;
        // Before anything else is written: on a full disk this is where space comes from.
        for (file, length, path) in &past.overlong {
            file.set_len(*length).map_err(while_opening("shortening a segment", path.clone()))?;
        }
        let store_file = StoreFile { store: past.store, epoch, ordinal };
        let mut idle = past.idle;
        self.name_store(&store_file, &mut idle)?;
        let spares = Arc::new(Spares::new(Arc::clone(&self.log_dir), self.options, ordinal));
        spares.retire(&idle);
        self.report.epoch = epoch;
        self.report.segment = ordinal;
        self.report.rewritten = past.tail.iter().map(|frame| u64::from(frame.header.batches)).sum();
        let mut segments = past.kept;
        segments.push((ordinal, Some(header.first_seq)));
        let last = header.durable;
        let buffer = Buffer::new(self.options, Arc::clone(&spares), cursor, past.next_seq, last);
        let verifier = Verifier::new(Arc::clone(self.data_dir), Arc::clone(&self.log_dir), store_file);
        let writer = Writer {
            dir: self.log_dir,
            spares: Arc::clone(&spares),
            place,
            alignment: self.options.alignment,
            file,
            position: cursor.offset,
            segments,
            counts_from: past.counts_from,
            last,
            durable: last,
            head_durable: true,
            dirty: false,
            write_time: Duration::ZERO,
            sync_time: None,
            fate: Arc::new(Fate::default()),
        };
        Ok(Opened { buffer, writer, spares, ballast: self.ballast, verifier, report: self.report })
    }

    /// The past of a store that has none.
    fn nothing(&self) -> Past {
        Past {
            store: StoreId::new((self.options.new_store_id)()),
            epoch: Epoch::new(0),
            highest: Ordinal::new(0),
            end: OldEnd { ordinal: Ordinal::new(0), offset: 0, seq: Seq::ZERO, length: 0, crc: 0 },
            newest: None,
            tail: Vec::new(),
            next_seq: Seq::new(1),
            touched: false,
            kept: Vec::new(),
            counts_from: Ordinal::new(0),
            dead: 0,
            idle: Vec::new(),
            needless: Vec::new(),
            overlong: Vec::new(),
        }
    }

    /// Writes the new epoch's first segment under its temporary name, durably.
    fn write_segment(
        &self,
        place: &Place,
        header: SegmentHeader,
        past: &mut Past,
    ) -> Result<(Arc<dyn File>, Cursor), OpenError> {
        let block = u64::from(header.alignment);
        let tail_bytes: u64 =
            past.tail.iter().map(|f| frame_bytes(f.payload.len() as u64, header.alignment)).sum();
        let least_bytes = block + tail_bytes + RESERVED_BLOCKS * block;
        let name = opening_name(place.ordinal);
        let failed = |e| while_opening("writing the new segment", self.log_dir.path().join(&name))(e);
        let room_max = OPENING_ROOM_BYTES.min(self.options.segment_bytes);
        // With less and less room, then without the ballast, then as small as it can be, also in place of what nothing
        // needs: the log can be read.
        loop {
            let free = self.log_dir.free_bytes().unwrap_or(None);
            for room_bytes in lengths(room_max, OPENING_ROOM_BYTES_MIN.min(room_max), free, block) {
                match self.try_segment(place, &header, past, &name, least_bytes + room_bytes) {
                    // An error of removing shows when it is created again.
                    Err(e) if is_full(&e) => drop(self.log_dir.remove(&name)),
                    outcome => return outcome.map_err(failed),
                }
            }
            if !self.ballast.give_up() {
                break;
            }
        }
        loop {
            match self.try_segment(place, &header, past, &name, least_bytes) {
                // `STORE` comes next, and what is idle makes room for it.
                Ok(_) if past.idle.is_empty() && self.has_less_than(store_file::STORE_FILE_BYTES) => {}
                Err(e) if is_full(&e) => {}
                outcome => return outcome.map_err(failed),
            }
            drop(self.log_dir.remove(&name));
            let Some(ordinal) = past.needless() else {
                return Err(failed(io::ErrorKind::StorageFull.into()));
            };
            self.log_dir.remove(&segment_name(ordinal)).map_err(failed)?;
        }
    }

    fn has_less_than(&self, bytes: usize) -> bool {
        self.log_dir.free_bytes().unwrap_or(None).is_some_and(|free| free < bytes as u64)
    }

    fn try_segment(
        &self,
        place: &Place,
        header: &SegmentHeader,
        past: &Past,
        name: &str,
        file_bytes: u64,
    ) -> io::Result<(Arc<dyn File>, Cursor)> {
        let mut block = vec![0; index(u64::from(header.alignment))];
        put(&mut block, 0, &SegmentHeader { file_bytes, ..*header }.encode());
        let file = self.log_dir.create(name)?;
        file.allocate(file_bytes)?;
        file.write_all_at(0, &block)?;
        let mut offset = block.len() as u64;
        let mut bytes = Vec::new();
        for frame in &past.tail {
            let payload = &past.payload(frame)?;
            let payload_crc = FrameHeader::crc_of_payload(place, offset, payload);
            let durable = Seq::new(header.first_seq.get() - 1);
            let again = FrameHeader { offset, durable, payload_crc, ..frame.header };
            bytes.clear();
            bytes.resize(index(frame_bytes(payload.len() as u64, header.alignment)), 0);
            put(&mut bytes, 0, &again.encode(place));
            put(&mut bytes, FRAME_HEADER_BYTES, payload);
            file.write_all_at(offset, &bytes)?;
            offset += bytes.len() as u64;
        }
        // IMPORTANT: with the sync in there, before the segment gets its name.
        fill_with_zeros(&*file, offset, file_bytes, |_| Haste::Now)?;
        Ok((file, Cursor { ordinal: place.ordinal, offset, file_bytes }))
    }

    /// Gives the new segment its name: from here on it is the log.
    fn commit(&self, ordinal: Ordinal) -> Result<(), OpenError> {
        let path = self.log_dir.path().join(segment_name(ordinal));
        self.log_dir
            .rename(&opening_name(ordinal), &segment_name(ordinal))
            .and_then(|()| self.log_dir.sync())
            .map_err(while_opening("naming the new segment", path))
    }

    /// Writes `STORE`. Where there is no room for it, idle segments are removed: an attempt before may have left as many as
    /// there was room for, and been refused here.
    fn name_store(&self, store: &StoreFile, idle: &mut Vec<Ordinal>) -> Result<(), OpenError> {
        let path = self.data_dir.path().join(store_file::NAME);
        let written = match store.write(self.data_dir) {
            Err(e) if is_full(&e) && !idle.is_empty() => {
                for ordinal in idle.drain(..) {
                    let name = segment_name(ordinal);
                    let removing = while_opening("removing an idle segment", self.log_dir.path().join(&name));
                    self.log_dir.remove(&name).map_err(removing)?;
                }
                store.write(self.data_dir)
            }
            written => written,
        };
        written.map_err(while_opening("writing STORE", path))
    }
}
