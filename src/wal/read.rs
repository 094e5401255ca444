//! Reading segments for an opening: whole, and the next one ahead while the one before is replayed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::bytes::index;
use super::chain::{Found, Link};
use super::error::{Damage, OpenError, while_opening};
use super::place::Place;
use super::scan::{Scan, scan};
use super::segment::SEGMENT_BYTES_MAX;
use super::verdict;
use crate::io::Dir;

/// A segment that was read and scanned.
#[derive(Debug, Default)]
pub(super) struct ReadSegment {
    pub(super) bytes: Vec<u8>,
    pub(super) scan: Scan,
}

impl ReadSegment {
    /// Reads and scans a segment of the chain. `buffer` is used again.
    pub(super) fn read(dir: &Arc<dyn Dir>, link: &Link, buffer: Vec<u8>) -> Result<Self, OpenError> {
        let made_bytes = link.end.map_or(link.header.file_bytes, |end| end.offset);
        if link.found.bytes < made_bytes {
            let damage = Damage::new(verdict::SEGMENT_SHORT, link.path(dir)).segment(link.found.ordinal);
            return Err(damage.at(link.found.bytes).detail(format!("{made_bytes} bytes were made")).into());
        }
        let bytes = read_file(&link.found, readable_bytes(link), buffer, link.path(dir))?;
        let scan = scan(&bytes, &place_of(link), link.header.alignment, link.header.first_seq);
        Ok(Self { bytes, scan })
    }
}

pub(super) fn place_of(link: &Link) -> Place {
    Place::new(link.header.store, link.header.epoch, link.header.ordinal)
}

/// How many bytes of a segment count.
pub(super) fn readable_bytes(link: &Link) -> u64 {
    link.found.bytes.min(link.end.map_or(link.header.file_bytes, |end| end.offset)).min(SEGMENT_BYTES_MAX)
}

/// The first `bytes` of a file, or all if there are fewer. Takes the memory of `buffer`, whatever is in it.
pub(super) fn read_file(
    found: &Found,
    bytes: u64,
    mut buffer: Vec<u8>,
    path: PathBuf,
) -> Result<Vec<u8>, OpenError> {
    let length = index(bytes);
    if buffer.capacity() < length {
        // Fresh from the system these are zeros that nobody has to write.
        buffer = vec![0; length];
    }
    buffer.resize(length, 0);
    let count = found.file.read_at(0, &mut buffer).map_err(while_opening("reading a segment", path))?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Gives the segments of a chain, one at a call, oldest first. It is told which one is not needed any more.
pub(super) type NextSegment<'n> = dyn FnMut(&Link, Vec<u8>) -> Result<ReadSegment, OpenError> + 'n;

/// Runs `replay` with a source of these segments, which it must ask for in order. With `ahead`, a thread reads the next
/// one meanwhile; so there are two in memory.
pub(super) fn with_segments<R>(
    dir: &Arc<dyn Dir>,
    links: &[Link],
    ahead: bool,
    replay: impl FnOnce(&mut NextSegment<'_>) -> R,
) -> R {
    if !ahead || links.len() < 2 {
        return replay(&mut |link, buffer| ReadSegment::read(dir, link, buffer));
    }
    thread::scope(|scope| {
        // It hands a segment over before it begins with the next one but one.
        let (give, take) = sync_channel(0);
        let (give_back, buffers) = channel();
        let read = move || {
            for link in links {
                let read = ReadSegment::read(dir, link, buffers.try_recv().unwrap_or_default());
                let failed = read.is_err();
                if give.send(read).is_err() || failed {
                    return;
                }
            }
        };
        // If there is no thread to be had, or it is gone, segments are read here.
        let _ = thread::Builder::new().name("claimlog-read".into()).spawn_scoped(scope, read);
        replay(&mut |link, buffer| {
            let _ = give_back.send(buffer);
            take.recv().unwrap_or_else(|_| ReadSegment::read(dir, link, Vec::new()))
        })
    })
}
