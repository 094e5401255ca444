//! The root of a snapshot, and its bytes in a store.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use super::chunk::Item;
use crate::id::{PartKey, Seq};

/// The number of the encoding.
const FORMAT: u32 = 0;
/// No root takes more when it is decoded.
const DECODED_BYTES_MAX: usize = 2 << 30;

/// The root of a snapshot: the only truth about it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The last batch that is in it.
    pub seq: Seq,
    /// How many parts it consists of.
    pub part_count: u64,
    /// The sum of [`PartKey::fingerprint`] over these parts: a store with other parts is not the one that was saved.
    pub fingerprint: u128,
    /// About how many bytes these parts have: those of parts that went are estimated.
    pub bytes: u64,
    /// The parts that only the root before this one named. They are removed in the store's next turn.
    pub dropped: Vec<PartKey>,
    /// The other places, and the newest root that each had: whoever finds less there knows that something is missing.
    pub others: Vec<(String, Seq)>,
    /// The head of the state, which leads to all parts.
    pub head: Vec<u8>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root {{ seq: {}, part_count: {} }}", self.seq, self.part_count)
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODED_BYTES_MAX>()
}

impl Root {
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = FORMAT.to_le_bytes().to_vec();
        let body =
            bincode::serde::encode_to_vec(self, bincode::config::standard()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// `None` if it is not the root of that batch.
    ///
    /// # Errors
    /// If it is of a newer format.
    pub(super) fn decode(seq: Seq, bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some((format, body)) = bytes.split_first_chunk() else { return Ok(None) };
        let format = u32::from_le_bytes(*format);
        if format > FORMAT {
            let why = format!(
                "{} is of format {format}, and this version knows formats up to {FORMAT}; use a newer version",
                Item::Root(seq)
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let decoded: Result<(Self, usize), _> = bincode::serde::decode_from_slice(body, config());
        Ok(decoded
            .ok()
            .filter(|(root, length)| root.seq == seq && *length == body.len())
            .map(|(root, _)| root))
    }
}

/// Any bytes as a root: for fuzzing.
#[cfg(feature = "sim")]
pub(super) fn fuzz(bytes: &[u8]) {
    let body = bytes.get(4..).unwrap_or_default();
    let decoded: Result<(Root, usize), _> = bincode::serde::decode_from_slice(body, config());
    let seq = decoded.map_or(Seq::ZERO, |(root, _)| root.seq);
    if let Ok(Some(root)) = Root::decode(seq, bytes) {
        let again = root.encode().and_then(|bytes| Root::decode(seq, &bytes));
        assert_eq!(again.ok(), Some(Some(root)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PageNo;

    #[test]
    fn the_encoding_of_a_root_stays() {
        let root = Root {
            seq: Seq::new(1),
            part_count: 2,
            fingerprint: 3,
            bytes: 4,
            dropped: vec![PartKey { changed_at: Seq::new(5), page: PageNo::new(5) }],
            others: vec![("b".into(), Seq::new(6))],
            head: vec![7, 8],
        };
        let bytes = root.encode().unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 1, 2, 3, 4, 1, 5, 5, 1, 1, b'b', 6, 2, 7, 8]);
        assert_eq!(Root::decode(Seq::new(1), &bytes).unwrap(), Some(root));
        assert_eq!(Root::decode(Seq::new(2), &bytes).unwrap(), None);
        for length in 0..bytes.len() {
            assert_eq!(Root::decode(Seq::new(1), &bytes[..length]).unwrap(), None);
        }
    }
}
