//! What an opening may find in a log, and what it does about it: one table, used by the code, by the messages
//! and by `docs/recovery.md`.
//!
//! The rule behind it: what no later mark proves to have been durable was never acknowledged and may be cut;
//! what was, is never given up without a human. A row's label never changes its meaning.

use std::fmt;

/// What an opening does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Cuts the log there, says so in the report and goes on: nothing acknowledged is lost.
    Cut,
    /// Opens nothing: acknowledged data is damaged or missing.
    Refuse,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "cut",
            Self::Refuse => "refuse",
        })
    }
}

/// One row of the table: something that does not check out, and the answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name in reports, messages and docs.
    pub label: &'static str,
    /// What was found.
    pub finding: &'static str,
    /// What is done.
    pub answer: Answer,
    /// What a human does next.
    pub next: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.finding, self.label)
    }
}

const NOTHING: &str = "nothing";
const RESTORE: &str = "keep a copy of the directory, then put the file back from a backup";
const CHECK_DISK: &str =
    "check the disk, keep a copy of the directory, then put the whole directory back from a backup";

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $answer:ident, $finding:literal, $next:expr;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Case =
                Case { label: $label, finding: $finding, answer: Answer::$answer, next: $next };
        )*

        /// The whole table.
        pub const CASES: &[Case] = &[$($name),*];
    };
}

table! {
    /// The power or the process went away in the middle of a commit.
    TORN_TAIL = "torn-tail", Cut,
        "the last frame is incomplete, and nothing after it proves that it ever was durable", NOTHING;
    /// The same, at the first frame of a segment.
    TORN_START = "torn-start", Cut,
        "the newest segment has no sound header, and nothing in it proves that one ever was durable", NOTHING;
    /// A later frame knew that this was durable.
    PROVEN_BY_MARK = "proven-by-mark", Refuse,
        "a frame does not check out, but a mark proves that it was durable", CHECK_DISK;
    /// A snapshot is made only of what is durable in the log.
    PROVEN_BY_SNAPSHOT = "proven-by-snapshot", Refuse,
        "the log ends before a point that a snapshot proves it had reached", CHECK_DISK;
    /// Segments are synced before the next is begun.
    PROVEN_BY_SEGMENT = "proven-by-segment", Refuse,
        "a frame does not check out in a segment that was complete before the next was begun", CHECK_DISK;
    /// An opening had found more than there is now.
    PROVEN_BY_OPENING = "proven-by-opening", Refuse,
        "a segment does not end the way a later opening found it to end", CHECK_DISK;
    /// Sound, yet not the frame or segment that belongs there.
    OUT_OF_ORDER = "out-of-order", Refuse,
        "what stands there is sound but does not continue what is before it", RESTORE;
    /// The checksums are right and the content can't be.
    MALFORMED = "malformed", Refuse,
        "a frame checks out but could not have been written like this by any known version",
        "keep a copy of the directory and report this as a bug";
    /// A segment file is gone.
    SEGMENT_MISSING = "segment-missing", Refuse,
        "a segment that the log goes on in is missing", RESTORE;
    /// A header that was durable before anything relied on it.
    SEGMENT_HEADER = "segment-header", Refuse,
        "the header of a segment that was complete does not check out", CHECK_DISK;
    /// A segment's length is durable before its header is written.
    SEGMENT_SHORT = "segment-short", Refuse,
        "a segment file is shorter than it was made", RESTORE;
    /// Files of two stores in one directory.
    SEGMENT_FOREIGN = "segment-foreign", Refuse,
        "a segment belongs to another store", "put the files of each store back where they belong";
    /// Snapshot and log do not meet.
    START_MISSING = "start-missing", Refuse,
        "the log begins after the point that the snapshot reaches, or after its first batch if there is none",
        "keep a copy of the directory, then put back from a backup what is missing: the directory snapshot/, or the \
         segment";
    /// The directory of the log is empty, the store is not new.
    LOG_MISSING = "log-missing", Refuse,
        "the store was in use but its log has no segments", RESTORE;
    /// The newest opening's segment is gone, or its header.
    EPOCH_MISSING = "epoch-missing", Refuse,
        "the segment of the newest opening is missing or does not check out", RESTORE;
    /// The file that names the store is gone.
    STORE_MISSING = "store-missing", Refuse,
        "the log holds data but the file STORE is missing", RESTORE;
    /// The file that names the store does not check out.
    STORE_DAMAGED = "store-damaged", Refuse,
        "the file STORE does not check out", RESTORE;
    /// The bytes are as they were written, but state refuses them.
    DOES_NOT_APPLY = "does-not-apply", Refuse,
        "a batch checks out but does not apply to the state before it",
        "keep a copy of the directory and report this as a bug";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_in_kebab_case() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(case.label.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", case.label);
            assert!(CASES[..at].iter().all(|before| before.label != case.label), "{}", case.label);
            assert!(!case.next.is_empty());
        }
    }

    #[test]
    fn the_docs_repeat_the_table() {
        let docs = include_str!("../../docs/recovery.md");
        for case in CASES {
            let row = format!("| `{}` | {} | {} | {} |", case.label, case.finding, case.answer, case.next);
            assert!(docs.contains(&row), "docs/recovery.md lacks this row:\n{row}");
        }
        let rows = docs.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, CASES.len(), "docs/recovery.md has rows that are not in the table");
    }
}
