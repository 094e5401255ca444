//! What an engine tells while it runs, for a log that people read.

use std::fmt;
use std::sync::Arc;

use super::snapshots::{SnapshotError, SnapshotReport};
use crate::snapshot::StoreError;

/// Something that happened in the background. `Display` gives a line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A snapshot was taken.
    SnapshotTaken(SnapshotReport),
    /// A snapshot was not taken. It will be tried again; the log keeps everything.
    SnapshotFailed(SnapshotError),
    /// A snapshot was found to be damaged. It is built anew; the other one and the log have everything.
    StoreDamaged(StoreError),
}

impl Event {
    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::SnapshotFailed(_) | Self::StoreDamaged(_))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SnapshotTaken(report) => report.fmt(f),
            Self::SnapshotFailed(error) => {
                write!(f, "no snapshot was taken: {error}; nothing is lost, it will be tried again")
            }
            Self::StoreDamaged(error) => write!(f, "{error}; nothing is lost, it is built anew"),
        }
    }
}

/// Is told what happens.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
