//! Bytes as serde takes them in one piece: by themselves it takes them one by one. The encoding is the same.

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    deserializer.deserialize_bytes(Bytes)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::tree::CONFIG;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct InOnePiece(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn the_encoding_is_that_of_a_list_of_bytes() {
        for length in [0, 1, 250, 251, 70_000] {
            let list = vec![200_u8; length];
            let encoded = bincode::serde::encode_to_vec(&list, CONFIG).unwrap();
            let again = bincode::serde::encode_to_vec(InOnePiece(list.clone()), CONFIG).unwrap();
            assert_eq!(encoded, again);
            let (decoded, used) = bincode::serde::borrow_decode_from_slice(&encoded, CONFIG).unwrap();
            assert_eq!((InOnePiece(list), encoded.len()), (decoded, used));
            let cut: Result<(InOnePiece, usize), _> =
                bincode::serde::borrow_decode_from_slice(&encoded[..encoded.len() - 1], CONFIG);
            assert!(cut.is_err());
        }
    }
}
