//! Zeros, written ahead of what will be written over them: a commit changes data only then.

use std::io;
use std::time::Duration;

use crate::io::{Dir, File, create_anew};

/// So many zeros are written at a time.
static ZEROS: [u8; 32 * 1024] = [0; 32 * 1024];

/// How soon zeros are needed. Commits share the disk with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// Somebody waits for them, or is about to.
    Now,
    /// Before long.
    Soon,
    /// There is time.
    Later,
    /// Not at all any more.
    Never,
}

impl Haste {
    /// Zeros are synced after so many bytes: a commit that syncs meanwhile waits for these at most, and not for a whole
    /// segment.
    const fn sync_bytes(self) -> u64 {
        match self {
            Self::Now => 1024 * 1024,
            Self::Soon => 256 * 1024,
            Self::Later | Self::Never => 128 * 1024,
        }
    }

    /// How long the disk is left alone after each sync.
    const fn pause(self) -> Duration {
        match self {
            Self::Later => Duration::from_millis(10),
            Self::Now | Self::Soon | Self::Never => Duration::ZERO,
        }
    }
}

/// Writes zeros from `from` to `to` and syncs the file, with all that was written to it before; also where there is
/// nothing to fill. `haste` is asked again and again, with how far it has come.
pub(super) fn fill_with_zeros(
    file: &dyn File,
    from: u64,
    to: u64,
    haste: impl Fn(u64) -> Haste,
) -> io::Result<()> {
    let mut at = from;
    loop {
        let haste = haste(at);
        if haste == Haste::Never {
            return Err(io::Error::other("the log was closed"));
        }
        let sync_at = to.min(at + haste.sync_bytes());
        while at < sync_at {
            let zeros = &ZEROS[..usize::try_from(sync_at - at).unwrap_or(ZEROS.len()).min(ZEROS.len())];
            file.write_all_at(at, zeros)?;
            at += zeros.len() as u64;
        }
        file.sync_data()?;
        if at >= to {
            return Ok(());
        }
        if haste.pause() > Duration::ZERO {
            std::thread::sleep(haste.pause());
        }
    }
}

/// Writes a new file of that many zeros, durably but for its name. What is left of it after an error is removed.
pub(super) fn new_file_of_zeros(
    dir: &dyn Dir,
    name: &str,
    bytes: u64,
    haste: impl Fn(u64) -> Haste,
) -> io::Result<()> {
    let filled = create_anew(dir, name).and_then(|file| {
        file.allocate(bytes)?;
        fill_with_zeros(&*file, 0, bytes, haste)
    });
    if filled.is_err() {
        // Nothing relies on it; an opening removes what is left.
        let _ = dir.remove(name);
    }
    filled
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::io::sim::SimDisk;

    #[test]
    fn what_is_not_awaited_is_written_in_smaller_pieces_and_given_up_in_between() {
        const MIB: u64 = 1024 * 1024;
        let disk = SimDisk::new(0);
        let pieces = |haste: fn(u64) -> Haste| {
            let asked = Cell::new(0);
            let filled = new_file_of_zeros(&*disk.dir(), "zeros", 2 * MIB + 100, |at| {
                asked.set(asked.get() + 1);
                haste(at)
            });
            (asked.get(), filled.is_ok(), disk.read_file("zeros").ok().map(|bytes| bytes.len() as u64))
        };
        let whole = Some(2 * MIB + 100);
        assert_eq!(pieces(|_| Haste::Now), (3, true, whole));
        assert_eq!(pieces(|_| Haste::Soon), (9, true, whole));
        assert_eq!(pieces(|_| Haste::Later), (17, true, whole));
        let late = |at| if at < MIB { Haste::Later } else { Haste::Now };
        assert_eq!(pieces(late), (10, true, whole));
        let closed = |at| if at < MIB { Haste::Soon } else { Haste::Never };
        assert_eq!(pieces(closed), (5, false, None), "nothing is left of it");
    }
}
