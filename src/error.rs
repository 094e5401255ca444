//! What can go wrong: while the data is opened ([`OpenError`]) and while requests run ([`Error`]).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::id::Seq;
use crate::op::Refusal;
use crate::wal;

/// Why a request got no reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// It was refused: as things stand it can't be done. Nothing changed.
    Refused(Refusal),
    /// The log failed, or a bug was found. Nothing is known to be durable any more, and nothing is served until
    /// the data is opened again (I8).
    Failed(Arc<str>),
    /// The engine was closed.
    Closed,
}

impl Error {
    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string().into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(why) => write!(f, "the engine stopped: {why}"),
            Self::Closed => f.write_str("the engine was closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Failed(_) | Self::Closed => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why the data could not be opened. Nothing was changed that another attempt would miss.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory open.
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other process left about itself.
        holder: String,
    },
    /// The directory can't be used.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The log can't be opened, or acknowledged data is damaged.
    Log(wal::OpenError),
    /// Not every snapshot can be loaded, and the log can't be opened with those that can, or without any.
    Snapshots {
        /// What is wrong with each of the others.
        why: Vec<String>,
        /// The one that was loaded: its store and its batch.
        loaded: Option<(String, Seq)>,
        /// What the log said.
        log: Box<wal::OpenError>,
    },
    /// A snapshot is not of this data.
    ForeignSnapshot {
        /// The store it is in.
        store: String,
    },
    /// A snapshot is of a newer format than this version knows.
    NewerSnapshot {
        /// What it is, and of which format.
        why: String,
    },
    /// What was recovered contradicts itself.
    Unsound(String),
    /// A background thread could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, holder } => write!(
                f,
                "the data in {} is in use by {holder}; stop that process, or choose another directory",
                path.display()
            ),
            Self::Directory { path, source } => write!(
                f,
                "the data directory {} can't be used: {source}; make sure that it can be written",
                path.display()
            ),
            Self::Log(error) => error.fmt(f),
            Self::Snapshots { why, loaded, log } => {
                let why = why.join("; ");
                match loaded {
                    None => write!(f, "no snapshot can be loaded ({why}), and without one: {log}")?,
                    Some((store, seq)) => write!(
                        f,
                        "not every snapshot can be loaded ({why}), and with that of batch {seq} in {store}: {log}"
                    )?,
                }
                f.write_str(
                    ". Copy the whole directory before you try anything; if a copy of a snapshot store exists, put it \
                     back",
                )
            }
            Self::ForeignSnapshot { store } => write!(
                f,
                "the snapshot store {store} belongs to other data than the log; put the files of each back where they \
                 belong"
            ),
            Self::NewerSnapshot { why } => f.write_str(why),
            Self::Unsound(why) => write!(
                f,
                "what was recovered contradicts itself: {why}; this is a bug or damage that passed all checksums: \
                 keep the directory and report it"
            ),
            Self::Thread(source) => write!(f, "a background thread could not be started: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. } | Self::Thread(source) => Some(source),
            Self::Log(error) => Some(error),
            Self::Snapshots { log, .. } => Some(&**log),
            Self::InUse { .. }
            | Self::ForeignSnapshot { .. }
            | Self::NewerSnapshot { .. }
            | Self::Unsound(_) => None,
        }
    }
}
