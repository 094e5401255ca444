//! Any changes to the files of a log, opened: for fuzzing, and for the test that runs what it found.

use std::sync::{Arc, OnceLock};

use super::buffer::{Room, Use};
use super::place::Ordinal;
use super::segment::{Head, SEGMENT_HEADER_BYTES, SegmentHeader, opening_name, segment_name};
use super::store_file::{self, StoreFile};
use super::{LogOptions, OpenError, Opened, Replay, open};
use crate::id::Seq;
use crate::io::Dir;
use crate::io::sim::{CrashStyle, SimDisk};

const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 4096,
    alignment: 512,
    max_batch_bytes: 4096,
    spares: 1,
    saved: Seq::ZERO,
    read_ahead: false,
    new_store_id: || [7; 16],
};

type Batches = Vec<(Seq, Vec<u8>)>;

/// What was replayed.
#[derive(Default)]
struct Replayed(Batches);

impl Replay for Replayed {
    fn batch(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), String> {
        self.0.push((seq, bytes.to_vec()));
        Ok(())
    }
}

fn opened(disk: &SimDisk, base: Seq) -> Result<(Opened, Replayed), OpenError> {
    let mut replayed = Replayed::default();
    let dir: Arc<dyn Dir> = disk.dir();
    let opened = open(&dir, &OPTIONS, base, Seq::ZERO, &mut replayed)?;
    Ok((opened, replayed))
}

/// A log of two openings and several segments, killed, and what is in it.
fn log() -> &'static (SimDisk, Batches) {
    static LOG: OnceLock<(SimDisk, Batches)> = OnceLock::new();
    LOG.get_or_init(|| {
        let mut disk = SimDisk::new(1);
        let mut all = Vec::new();
        for life in 0..2_u8 {
            let (mut log, _) = opened(&disk, Seq::ZERO).expect("nothing is wrong");
            for n in 0..12_u8 {
                let batch = vec![life * 16 + n; 100 + usize::from(n) * 60];
                while log.buffer.room(batch.len(), Use::Adds) == Room::NotYet {
                    log.spares.make().expect("nothing fails");
                }
                all.push((log.buffer.append(&batch), batch));
                log.writer.write(log.buffer.take(), true).expect("nothing fails");
            }
            disk = disk.after_crash(life.into(), CrashStyle::Killed);
        }
        (disk, all)
    })
}

/// Puts the checksum of a header, or of `STORE`, right.
fn mend(file: &str, content: &mut [u8]) {
    if file == store_file::NAME {
        StoreFile::mend(content);
    } else {
        SegmentHeader::mend(content);
    }
}

/// Opens a log to whose files the bytes do something: headers of segments are changed, with their checksums put right or
/// not; `STORE` too; files are removed, shortened, exchanged, or are there under the name of an opening that did not end.
///
/// # Panics
/// If what is then replayed is not from the log, or opening it again says something else.
pub fn fuzz_open(bytes: &[u8]) {
    let header = SegmentHeader::decode(bytes);
    if let Head::Sound(header) = header {
        assert_eq!(SegmentHeader::decode(&header.encode()), Head::Sound(header));
    }
    let (disk, all) = log();
    let disk = disk.fork();
    let (base, mut rest) = match bytes.split_first() {
        Some((&base, rest)) => (Seq::new(u64::from(base) % (all.len() as u64 + 1)), rest),
        None => (Seq::ZERO, bytes),
    };
    let mut forged = false;
    while let [what, which, at, with, more @ ..] = rest {
        rest = more;
        let files = disk.files();
        let Some(file) = files.get(usize::from(*which) % files.len().max(1)) else { break };
        let Ok(mut content) = disk.read_file(file) else { continue };
        let is_store = file == store_file::NAME;
        let most = if is_store { content.len() } else { content.len().min(SEGMENT_HEADER_BYTES) };
        let at = usize::from(*at);
        match what % 8 {
            // A byte of a header, and its checksum put right: what no rot does.
            0 | 1 if at < most => {
                content[at] = *with;
                mend(file, &mut content);
                disk.write_file(file, &content);
                forged = true;
            }
            // A whole header of the fuzzer's.
            2 => {
                let length = most.min(more.len());
                content[..length].copy_from_slice(&more[..length]);
                mend(file, &mut content);
                disk.write_file(file, &content);
                (forged, rest) = (true, &more[length..]);
            }
            // Any byte.
            3 if !content.is_empty() => {
                let at = (at * 256 + usize::from(*with)) % content.len();
                content[at] ^= 1 << (with % 8);
                disk.write_file(file, &content);
            }
            4 => drop(disk.remove_file(file)),
            5 => {
                content.truncate(at * 64);
                disk.write_file(file, &content);
            }
            6 => {
                let name = opening_name(Ordinal::new(u64::from(*with) % 16));
                disk.write_file(&format!("log/{name}"), &content);
            }
            7 => {
                let name = segment_name(Ordinal::new(1 + u64::from(*with) % 16));
                disk.write_file(&format!("log/{name}"), &content);
            }
            _ => {}
        }
    }
    let Ok((log, replayed)) = opened(&disk, base) else { return };
    let next_seq = log.buffer.next_seq();
    drop(log);
    if !forged {
        for (seq, batch) in &replayed.0 {
            let known = all.iter().find(|(known, _)| known == seq);
            assert_eq!(known.map(|(_, batch)| batch), Some(batch), "batch {seq}");
        }
    }
    // What was opened can be opened again, even if the power goes, and says the same.
    let (log, again) = opened(&disk.after_crash(1, CrashStyle::Lost), base).expect("it was opened before");
    assert_eq!(log.buffer.next_seq(), next_seq);
    assert!(again.0 == replayed.0);
}
