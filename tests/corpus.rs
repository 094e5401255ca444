//! The fuzzing corpora as ordinary tests: what was found once stays found.

#[cfg(feature = "server")]
#[test]
fn requests_decode_the_same_however_they_are_cut() {
    use claimlog::resp::{Limits, decode_all};

    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/resp");
    let mut seen = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        // As in the fuzz target, the first byte only says where the rest is cut.
        let Some((_, bytes)) = data.split_first() else { continue };
        let whole = decode_all([bytes], Limits::default());
        for cut in 0..=bytes.len() {
            let pieces = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(decode_all(pieces, Limits::default()), whole, "{} cut at {cut}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}

#[test]
fn any_bytes_can_be_scanned_as_a_segment() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/log_scan");
    let mut seen = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for mend in [false, true] {
            claimlog::wal::fuzz_scan(&bytes, mend);
            // Cut short, and with one byte off, anywhere.
            for at in (0..bytes.len()).step_by(7) {
                claimlog::wal::fuzz_scan(&bytes[..at], mend);
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x41;
                claimlog::wal::fuzz_scan(&flipped, mend);
            }
        }
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}
