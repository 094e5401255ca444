//! Where the data lie: on a disk.

use std::path::PathBuf;

use tempfile::TempDir;

/// What `statfs` calls file systems in memory: tmpfs and ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58F6];

/// A directory under `$TMPDIR` or `/var/tmp` that vanishes when it is dropped. A file system in memory is refused: a sync
/// there costs nothing and means nothing.
pub(crate) fn temporary() -> Result<TempDir, String> {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", parent.display());
    let about = rustix::fs::statfs(&parent).map_err(|e| failed(&e))?;
    if IN_MEMORY.contains(&about.f_type) {
        return Err(failed(&"in memory; set TMPDIR to a directory on the disk that is to be measured"));
    }
    tempfile::Builder::new().prefix("claimlog-peers-").tempdir_in(&parent).map_err(|e| failed(&e))
}
