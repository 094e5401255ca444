//! Glob patterns over names that have no case: commands and settings.

use claimlog::op::glob_match;

/// Whether `text` matches `pattern`, in any case.
pub(crate) fn matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    glob_match(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::matches_any_case;

    #[test]
    fn case_does_not_count() {
        assert!(matches_any_case(b"APPEND*", b"appendfsync"));
        assert!(matches_any_case(b"append[E-G]sync", b"AppendFsync"));
        assert!(!matches_any_case(b"append", b"appendfsync"));
    }
}
