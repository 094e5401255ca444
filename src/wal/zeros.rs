//! Zeros, written ahead of what will be written over them: a commit changes data only then.

use std::io;

use crate::io::{Dir, File, create_anew};

/// Zeros are synced after so many bytes: a commit that syncs meanwhile waits for these at most, and not for a whole
/// segment.
const ZEROS_SYNC_BYTES: u64 = 1024 * 1024;
/// So many are written at a time.
static ZEROS: [u8; 32 * 1024] = [0; 32 * 1024];

/// Writes zeros from `from` to `to`, durably.
pub(super) fn fill_with_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let sync_at = to.min(at + ZEROS_SYNC_BYTES);
        while at < sync_at {
            let zeros = &ZEROS[..usize::try_from(sync_at - at).unwrap_or(ZEROS.len()).min(ZEROS.len())];
            file.write_all_at(at, zeros)?;
            at += zeros.len() as u64;
        }
        file.sync_data()?;
    }
    Ok(())
}

/// Writes a new file of that many zeros, durably but for its name. What is left of it after an error is removed.
pub(super) fn new_file_of_zeros(dir: &dyn Dir, name: &str, bytes: u64) -> io::Result<()> {
    let filled = create_anew(dir, name).and_then(|file| {
        file.allocate(bytes)?;
        fill_with_zeros(&*file, 0, bytes)
    });
    if filled.is_err() {
        // Nothing relies on it; an opening removes what is left.
        let _ = dir.remove(name);
    }
    filled
}
