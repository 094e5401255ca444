//! What can go wrong with the log: while it is opened ([`OpenError`]) and while it is written ([`LogError`]).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::place::Ordinal;
use super::verdict::Case;
use crate::id::Seq;

/// A write, sync or change of names of the log failed. It is final: nothing is tried again, every later call
/// says the same, and only opening the store anew tells what is on disk.
#[derive(Clone, Debug)]
pub struct LogError {
    doing: &'static str,
    path: PathBuf,
    source: Arc<io::Error>,
}

impl LogError {
    pub(super) fn new(doing: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self { doing, path, source: Arc::new(source) }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the log failed while {} in {}: {}; restart to recover what is on disk",
            self.doing,
            self.path.display(),
            self.source
        )
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Why a log could not be opened. Nothing was changed that another attempt would miss.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The options contradict each other.
    Options(&'static str),
    /// The file system failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Acknowledged data is damaged or missing.
    Damage(Box<Damage>),
    /// The files were written by a newer version.
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
}

/// Damage, with all that is known about where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The row of the table.
    pub case: Case,
    /// The file.
    pub path: PathBuf,
    /// The segment, if it is about one.
    pub segment: Option<Ordinal>,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The batch that is damaged or expected there.
    pub seq: Option<Seq>,
    /// More about it; may be empty.
    pub detail: String,
}

impl Damage {
    pub(super) fn new(case: Case, path: PathBuf) -> Self {
        Self { case, path, segment: None, offset: None, seq: None, detail: String::new() }
    }

    pub(super) fn segment(mut self, ordinal: Ordinal) -> Self {
        self.segment = Some(ordinal);
        self
    }

    pub(super) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(segment) = self.segment {
            write!(f, " (segment {segment})")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, ", batch {seq}")?;
        }
        write!(f, ": {}", self.case)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, "; next: {}", self.case.next)
    }
}

impl OpenError {
    /// The same again.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Options(why) => Self::Options(why),
            Self::Io { doing, path, source } => {
                let same = || io::Error::new(source.kind(), source.to_string());
                let source = source.raw_os_error().map_or_else(same, io::Error::from_raw_os_error);
                Self::Io { doing, path: path.clone(), source }
            }
            Self::Damage(damage) => Self::Damage(damage.clone()),
            Self::NewerFormat { path, found, known } => {
                Self::NewerFormat { path: path.clone(), found: *found, known: *known }
            }
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => write!(f, "the options of the log do not fit together: {why}"),
            Self::Io { doing, path, source } => {
                write!(f, "opening the log failed while {doing} in {}: {source}", path.display())
            }
            Self::Damage(damage) => damage.fmt(f),
            Self::NewerFormat { path, found, known } => write!(
                f,
                "{} is of format {found}, and this version knows formats up to {known}; use a newer version",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damage(Box::new(damage))
    }
}

/// Wraps an I/O error of an opening.
pub(super) fn while_opening(doing: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, path, source }
}
