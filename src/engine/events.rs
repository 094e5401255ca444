//! What an engine tells while it runs, for a log that people read.

use std::fmt;
use std::sync::Arc;

use super::snapshots::{SnapshotError, SnapshotReport};
use super::verifier::Finding;
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
    /// Something on the disk was found to be damaged. What it holds is still in memory.
    DamageFound(Finding),
    /// What was damaged does no harm any more.
    DamageHealed {
        /// What it was.
        finding: Finding,
        /// How.
        how: &'static str,
    },
}

impl Event {
    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::SnapshotFailed(_) | Self::StoreDamaged(_) | Self::DamageFound(_))
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
            Self::DamageFound(finding) => write!(
                f,
                "damage on the disk: {finding}; nothing is lost, the data are in memory and are saved elsewhere at once, so \
                 that a restart does not need this file. Look at the disk"
            ),
            Self::DamageHealed { finding, how } => write!(f, "no harm any more from {finding}: {how}"),
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
