//! Reading segments for an opening: piece by piece, and some pieces ahead while those before are replayed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use super::bytes::{index, u32_at};
use super::chain::Link;
use super::error::{Damage, OpenError, while_opening};
use super::frame::{FRAME_HEADER_BYTES, Frame, PAYLOAD_BYTES_AT};
use super::place::Place;
use super::scan::{Beyond, Scan, Scanner, Stop};
use super::segment::{SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::verdict;
use crate::io::{Dir, File};

/// A piece is so long, if no frame in it is longer: enough for few calls, little enough for caches.
const PIECE_BYTES: usize = 1024 * 1024;
/// So many pieces wait for who replays them, beside the one that is being read.
const PIECES_AHEAD: usize = 1;

/// Some frames of a segment, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: Vec<Frame>,
    /// How the segment ended, with its last piece. No frames are in this, they were handed out.
    pub(super) end: Option<Scan>,
}

pub(super) fn place_of(link: &Link) -> Place {
    Place::new(link.header.store, link.header.epoch, link.header.ordinal)
}

/// How many bytes of a segment count.
pub(super) fn readable_bytes(link: &Link) -> u64 {
    link.found.bytes.min(link.end.map_or(link.header.file_bytes, |end| end.offset)).min(SEGMENT_BYTES_MAX)
}

/// Reads one segment.
#[derive(Debug)]
pub(super) struct Pieces {
    file: Arc<dyn File>,
    path: PathBuf,
    /// So much of the file counts.
    readable: u64,
    scanner: Scanner,
    head_crc: u32,
}

impl Pieces {
    fn begin(dir: &Arc<dyn Dir>, link: &Link) -> Result<Self, OpenError> {
        let made_bytes = link.end.map_or(link.header.file_bytes, |end| end.offset);
        if link.found.bytes < made_bytes {
            let damage = Damage::new(verdict::SEGMENT_SHORT, link.path(dir)).segment(link.found.ordinal);
            return Err(damage.at(link.found.bytes).detail(format!("{made_bytes} bytes were made")).into());
        }
        let file = Arc::clone(&link.found.file);
        let path = link.path(dir);
        let mut head = [0; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut head).map_err(while_opening("reading a segment", path.clone()))?;
        Ok(Self {
            file,
            path,
            readable: readable_bytes(link),
            scanner: Scanner::new(place_of(link), link.header.alignment, link.header.first_seq),
            head_crc: SegmentHeader::crc_of(&head),
        })
    }

    /// The next piece, in the memory of one that nobody needs any more.
    fn next(&mut self, used: Piece) -> Result<Piece, OpenError> {
        let Piece { mut bytes, mut frames, .. } = used;
        frames.clear();
        // A long one is not kept for short ones.
        bytes.truncate(PIECE_BYTES);
        bytes.shrink_to(2 * PIECE_BYTES);
        let offset = self.scanner.at;
        let mut wanted = PIECE_BYTES;
        loop {
            let last = read_piece(&*self.file, offset, wanted, self.readable, &mut bytes)
                .map_err(while_opening("reading a segment", self.path.clone()))?;
            let stop = self.scanner.follow(&bytes, offset, last, &mut frames);
            if stop.is_some() || !frames.is_empty() {
                let end = stop.map(|stop| self.end(stop));
                return Ok(Piece { bytes, frames, end });
            }
            // There is the header of a frame that is longer than a piece.
            wanted = FRAME_HEADER_BYTES + index(u32_at(&bytes, PAYLOAD_BYTES_AT).into());
        }
    }

    fn end(&self, stop: Stop) -> Scan {
        let Scanner { at, next_seq, .. } = self.scanner;
        Scan { frames: Vec::new(), stop, at, next_seq, head_crc: self.head_crc }
    }
}

/// Reads `wanted` bytes at `offset`, or what there is up to `readable`. Answers whether nothing lies behind.
fn read_piece(
    file: &dyn File,
    offset: u64,
    wanted: usize,
    readable: u64,
    bytes: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let left = readable.saturating_sub(offset);
    let length = index(left.min(wanted as u64));
    bytes.resize(length, 0);
    let count = file.read_at(offset, bytes)?;
    bytes.truncate(count);
    Ok(count < length || length as u64 == left)
}

/// What can be learned of a segment from behind that point (a boundary): see [`Beyond`].
pub(super) fn look_beyond(
    file: &dyn File,
    place: &Place,
    from: u64,
    readable: u64,
) -> std::io::Result<Beyond> {
    let (mut beyond, mut offset, mut bytes) = (Beyond::default(), from, Vec::new());
    loop {
        let last = read_piece(file, offset, PIECE_BYTES, readable, &mut bytes)?;
        beyond.look(&bytes, place, offset);
        offset += bytes.len() as u64;
        if last {
            return Ok(beyond);
        }
    }
}

/// Follows the frames of a segment, and keeps none of what is in them.
pub(super) fn scan_segment(dir: &Arc<dyn Dir>, link: &Link) -> Result<Scan, OpenError> {
    let mut pieces = Pieces::begin(dir, link)?;
    let (mut piece, mut frames) = (Piece::default(), Vec::new());
    loop {
        piece = pieces.next(piece)?;
        frames.append(&mut piece.frames);
        if let Some(end) = piece.end.take() {
            return Ok(Scan { frames, ..end });
        }
    }
}

/// Where the pieces of some segments come from, one segment after the other.
pub(super) enum Source<'a> {
    /// They are read when they are asked for.
    Now {
        dir: &'a Arc<dyn Dir>,
        /// The segment that is being read.
        pieces: Option<Pieces>,
    },
    /// A thread reads ahead, and takes back what is not needed any more.
    Ahead(Receiver<Result<Piece, OpenError>>, Sender<Piece>),
}

impl Source<'_> {
    /// The next piece, which is one of this segment: they must be asked for in order. `used` is not needed any more.
    pub(super) fn next(&mut self, link: &Link, used: Piece) -> Result<Piece, OpenError> {
        match self {
            Self::Now { dir, pieces } => {
                let mut current = match pieces.take() {
                    Some(current) => current,
                    None => Pieces::begin(dir, link)?,
                };
                let piece = current.next(used)?;
                *pieces = piece.end.is_none().then_some(current);
                Ok(piece)
            }
            Self::Ahead(pieces, unused) => {
                let _ = unused.send(used);
                pieces.recv().expect("whoever reads ahead ends only after the last piece or an error")
            }
        }
    }
}

/// Runs `replay` with a source of these segments, which may be read ahead.
pub(super) fn with_source<R>(
    dir: &Arc<dyn Dir>,
    links: &[Link],
    ahead: bool,
    replay: impl FnOnce(Source<'_>) -> R,
) -> R {
    if !ahead {
        return replay(Source::Now { dir, pieces: None });
    }
    thread::scope(|scope| {
        let (give, pieces) = sync_channel(PIECES_AHEAD);
        let (unused, to_use) = channel();
        let read = move || {
            for link in links {
                let mut segment = match Pieces::begin(dir, link) {
                    Ok(segment) => segment,
                    Err(error) => return drop(give.send(Err(error))),
                };
                let mut ended = false;
                while !ended {
                    let piece = segment.next(to_use.try_recv().unwrap_or_default());
                    ended = piece.as_ref().is_ok_and(|piece| piece.end.is_some());
                    let failed = piece.is_err();
                    if give.send(piece).is_err() || failed {
                        return;
                    }
                }
            }
        };
        match thread::Builder::new().name("claimlog-read".into()).spawn_scoped(scope, read) {
            Ok(_) => replay(Source::Ahead(pieces, unused)),
            Err(_) => replay(Source::Now { dir, pieces: None }),
        }
    })
}
