//! What has to be put right in a sled database before sled may open it.
//!
//! sled keeps where its leaves are in `metadata/`: one file `snapshot_<n>` and the files `log_<m>` that continue it,
//! m = n + 1, n + 2, ... Opening folds them into one new snapshot, in this order: write and rename the new snapshot,
//! which has the number of the last log; remove the logs; remove the old snapshot; create the next, empty log. The same
//! happens, but for the last step, when logs are compacted. It is safe only if there is a log above the snapshot. If a
//! crash left none, the next opening writes its new snapshot over the old one, under the same number, and then removes
//! "the old one": the file that it just wrote. That opening still works from memory, and the one after it finds nothing.
//!
//! What looks like the torn end of the last log may also be damage to what was flushed. The file `FLUSHED` tells the two
//! apart: it says how far the metadata had come when a flush had returned.
//!
//! So an empty log is created where none is. And snapshots below the highest are removed, which sled means to do but
//! does relative to the working directory.
//!
//! sled also takes a damaged frame in a log for its end, and goes on without what follows: leaves that are there no more
//! send it into an endless loop. It asks for as much memory as a frame's head claims, guarded by 16 bits, and is aborted
//! if there is less. So the frames are looked at first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files::{named, sync};

const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
/// sled removes files with this ending itself.
const UNFINISHED: &str = ".tmp";
/// Ours, beside the metadata.
const FLUSHED: &str = "FLUSHED";

/// A frame: its length in 6 bytes, a checksum of these in 2, that many bytes, and a checksum of all.
const HEAD_BYTES: usize = 8;
const TAIL_BYTES: usize = 4;
/// sled changes its checksums by this.
const CRC_MASK: u32 = 0xAF;

/// Puts the metadata of a closed database right.
///
/// # Errors
/// `InvalidData` if it is damaged, or what the file system says.
pub(super) fn repair(database: &Path) -> io::Result<()> {
    let dir = database.join("metadata");
    let (mut logs, snapshots) = list(&dir)?;
    let Some(&newest) = snapshots.last() else {
        return Err(damaged(&dir, "it has no snapshot file"));
    };
    check_snapshot(&path_of(&dir, SNAPSHOT, newest))?;
    logs.retain(|log| *log > newest);
    let sound_bytes = check_logs(&dir, newest, &logs)?;
    check_mark(database, newest, &logs, sound_bytes)?;

    if logs.is_empty() {
        let path = path_of(&dir, LOG, newest + 1);
        // IMPORTANT: durable before sled sees it. If sled's own opening is cut short after this, the log is there again
        // or was folded into a snapshot with its number.
        let created = fs::File::create_new(&path).and_then(|file| file.sync_all());
        created.map_err(named("creating", &path))?;
        sync(&dir)?;
    }
    let stale: Vec<PathBuf> =
        snapshots.range(..newest).map(|older| path_of(&dir, SNAPSHOT, *older)).collect();
    for path in &stale {
        fs::remove_file(path).map_err(named("removing", path))?;
    }
    if stale.is_empty() { Ok(()) } else { sync(&dir) }
}

/// The numbers of the logs and of the snapshots.
fn list(dir: &Path) -> io::Result<(BTreeSet<u64>, BTreeSet<u64>)> {
    let mut logs = BTreeSet::new();
    let mut snapshots = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(named("listing", dir))? {
        let name = entry.map_err(named("listing", dir))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(UNFINISHED) {
            continue;
        }
        let (numbers, digits) = if let Some(rest) = name.strip_prefix(LOG) {
            (&mut logs, rest)
        } else if let Some(rest) = name.strip_prefix(SNAPSHOT) {
            (&mut snapshots, rest)
        } else {
            continue;
        };
        let digits = digits.strip_prefix('_').filter(|digits| digits.len() == 16);
        // sled panics at such a name.
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        numbers.insert(number.ok_or_else(|| damaged(&dir.join(&*name), "its name has no number"))?);
    }
    Ok((logs, snapshots))
}

fn check_snapshot(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path).map_err(named("reading", path))?;
    match frame_end(&bytes, 0) {
        Some(_) => Ok(()),
        None => Err(damaged(path, "its frame does not check out")),
    }
}

/// The logs must follow one another, and each must be whole: sled syncs a frame before it writes the next, and before
/// it begins a new log. Only what comes last can be torn.
/// Answers how many bytes of the last one are sound.
fn check_logs(dir: &Path, snapshot: u64, logs: &BTreeSet<u64>) -> io::Result<u64> {
    let mut sound_bytes = 0;
    for (expected, log) in (snapshot + 1..).zip(logs) {
        let path = path_of(dir, LOG, *log);
        if *log != expected {
            return Err(damaged(&path, &format!("log {expected} before it is missing")));
        }
        let bytes = fs::read(&path).map_err(named("reading", &path))?;
        let mut end = 0;
        while let Some(next) = frame_end(&bytes, end) {
            end = next;
        }
        sound_bytes = end as u64;
        if end == bytes.len() {
            continue;
        }
        let followed =
            Some(log) != logs.last() || (end + 1..bytes.len()).any(|at| frame_end(&bytes, at).is_some());
        if followed {
            return Err(damaged(&path, &format!("the frame at offset {end} does not check out")));
        }
        let file = fs::OpenOptions::new().write(true).open(&path);
        let cut = file.and_then(|file| file.set_len(end as u64).and_then(|()| file.sync_all()));
        cut.map_err(named("cutting the torn end off", &path))?;
    }
    Ok(sound_bytes)
}

/// How far the metadata had come after a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// Counts the marks.
    count: u64,
    /// The last log,
    log: u64,
    /// and how long it was.
    bytes: u64,
}

impl Mark {
    /// The two newest marks take turns, each in a sector of its own: one of them is whole at any moment.
    const PLACE_BYTES: usize = 512;
    const BYTES: usize = 28;

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.log.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let mark = Self { count: number(0)?, log: number(8)?, bytes: number(16)? };
        (bytes.get(..Self::BYTES)? == mark.encode()).then_some(mark)
    }

    /// The newest one that checks out.
    fn read(database: &Path) -> io::Result<Option<Self>> {
        let path = database.join(FLUSHED);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(named("reading", &path))?,
        };
        Ok(bytes.chunks(Self::PLACE_BYTES).filter_map(Self::decode).max())
    }
}

/// Notes how far the metadata has come: what was flushed until now is in it.
pub(super) fn write_mark(database: &Path) -> io::Result<()> {
    let dir = database.join("metadata");
    let (logs, _) = list(&dir)?;
    let log = logs.last().copied().unwrap_or(0);
    // sled begins a new log without syncing its name.
    sync(&dir)?;
    let log_path = path_of(&dir, LOG, log);
    let bytes = fs::metadata(&log_path).map_err(named("measuring", &log_path))?.len();
    let before = Mark::read(database)?.unwrap_or_default();
    if (before.log, before.bytes) == (log, bytes) {
        return Ok(());
    }
    let mark = Mark { count: before.count + 1, log, bytes };
    let path = database.join(FLUSHED);
    let at = if mark.count.is_multiple_of(2) { 0 } else { Mark::PLACE_BYTES as u64 };
    let written = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .and_then(|file| file.write_all_at(&mark.encode(), at).and_then(|()| file.sync_all()));
    written.map_err(named("writing", &path))?;
    if before.count == 0 { sync(database) } else { Ok(()) }
}

/// What was flushed must be there: in the log that the mark names, or in a snapshot that it went into.
fn check_mark(database: &Path, snapshot: u64, logs: &BTreeSet<u64>, sound_bytes: u64) -> io::Result<()> {
    let Some(mark) = Mark::read(database)? else { return Ok(()) };
    let last = logs.last().copied().unwrap_or(0);
    if snapshot >= mark.log || last > mark.log || (last == mark.log && sound_bytes >= mark.bytes) {
        return Ok(());
    }
    let path = path_of(&database.join("metadata"), LOG, mark.log);
    Err(damaged(&path, &format!("{} bytes of it were flushed, and these are not there", mark.bytes)))
}

/// Where the frame that begins there ends, if it checks out.
fn frame_end(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..at + HEAD_BYTES)?;
    let hash = crc32fast::hash(&head[..6]).to_le_bytes();
    if head[6..] != hash[..2] {
        return None;
    }
    let mut length = [0; 8];
    length[..6].copy_from_slice(&head[..6]);
    let payload_end = (at + HEAD_BYTES).checked_add(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
    let end = payload_end.checked_add(TAIL_BYTES)?;
    let crc = bytes.get(payload_end..end)?;
    (crc == (crc32fast::hash(&bytes[at..payload_end]) ^ CRC_MASK).to_le_bytes()).then_some(end)
}

fn path_of(dir: &Path, kind: &str, number: u64) -> PathBuf {
    dir.join(format!("{kind}_{number:016x}"))
}

fn damaged(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u64).to_le_bytes()[..6].to_vec();
        let hash = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend_from_slice(&hash[..2]);
        bytes.extend_from_slice(payload);
        let crc = crc32fast::hash(&bytes) ^ CRC_MASK;
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// A directory with these files in `metadata`.
    fn database(files: &[(&str, u64, Vec<u8>)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("metadata");
        fs::create_dir(&dir).unwrap();
        for (kind, number, bytes) in files {
            fs::write(path_of(&dir, kind, *number), bytes).unwrap();
        }
        place
    }

    fn names(place: &tempfile::TempDir) -> (Vec<u64>, Vec<u64>) {
        let (logs, snapshots) = list(&place.path().join("metadata")).unwrap();
        (logs.into_iter().collect(), snapshots.into_iter().collect())
    }

    #[test]
    fn there_is_always_a_log_above_the_only_snapshot() {
        let place =
            database(&[(SNAPSHOT, 3, frame(b"old")), (SNAPSHOT, 5, frame(b"new")), (LOG, 5, frame(b"x"))]);
        repair(place.path()).unwrap();
        assert_eq!(names(&place), (vec![5, 6], vec![5]));
        repair(place.path()).unwrap();
        assert_eq!(names(&place), (vec![5, 6], vec![5]));
    }

    #[test]
    fn a_torn_end_is_cut_and_damage_before_the_end_is_named() {
        let log = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
        let last = log.len() - frame(b"three").len();
        for length in last..log.len() {
            let place = database(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 2, log[..length].to_vec())]);
            repair(place.path()).unwrap();
            assert_eq!(
                fs::metadata(path_of(&place.path().join("metadata"), LOG, 2)).unwrap().len(),
                last as u64
            );
        }
        for at in 0..last {
            let mut bytes = log.clone();
            bytes[at] ^= 1;
            let place = database(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 2, bytes)]);
            let error = repair(place.path()).unwrap_err();
            assert!(error.to_string().contains("log_0000000000000002 is damaged"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        let refused = |files: &[(&str, u64, Vec<u8>)], why: &str| {
            let error = repair(database(files).path()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(why), "{error}");
        };
        refused(&[(LOG, 2, frame(b"x"))], "no snapshot file");
        refused(&[(SNAPSHOT, 1, frame(b"s")[..5].to_vec())], "snapshot_0000000000000001 is damaged");
        refused(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 3, vec![])], "log 2 before it is missing");
        refused(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 2, vec![1; 9]), (LOG, 3, vec![])], "frame at offset 0");
        refused(&[(SNAPSHOT, 1, frame(b"s")), ("log_odd", 3, vec![])], "its name has no number");
        let missing = tempfile::tempdir().unwrap();
        assert_eq!(repair(missing.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_was_flushed_and_is_not_there_is_named() {
        let log = [frame(b"one"), frame(b"two")].concat();
        let fresh = || database(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 2, log.clone())]);
        let place = fresh();
        write_mark(place.path()).unwrap();
        write_mark(place.path()).unwrap();
        assert_eq!(Mark::read(place.path()).unwrap().unwrap().count, 1, "nothing new, nothing written");
        repair(place.path()).unwrap();
        let log_path = path_of(&place.path().join("metadata"), LOG, 2);
        for left in [0, 3, log.len() - 1] {
            fs::write(&log_path, &log[..left]).unwrap();
            let error = repair(place.path()).unwrap_err();
            assert!(error.to_string().contains("were flushed"), "{left}: {error}");
        }
        fs::remove_file(&log_path).unwrap();
        assert!(repair(place.path()).unwrap_err().to_string().contains("were flushed"));
        // In a snapshot it is as good.
        fs::write(path_of(&place.path().join("metadata"), SNAPSHOT, 2), frame(b"t")).unwrap();
        repair(place.path()).unwrap();
        // A mark that was torn leaves the one before it.
        write_mark(place.path()).unwrap();
        let marks = fs::read(place.path().join(FLUSHED)).unwrap();
        assert_eq!(Mark::read(place.path()).unwrap().unwrap(), Mark { count: 2, log: 3, bytes: 0 });
        fs::write(place.path().join(FLUSHED), [&[9; 20], &marks[20..]].concat()).unwrap();
        assert_eq!(Mark::read(place.path()).unwrap().unwrap().count, 1);
    }

    #[test]
    fn a_head_that_claims_more_than_there_is_is_cut_off() {
        let mut bytes = (1_u64 << 47).to_le_bytes()[..6].to_vec();
        let hash = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend_from_slice(&hash[..2]);
        let place = database(&[(SNAPSHOT, 1, frame(b"s")), (LOG, 2, bytes)]);
        repair(place.path()).unwrap();
        assert_eq!(fs::metadata(path_of(&place.path().join("metadata"), LOG, 2)).unwrap().len(), 0);
    }
}
