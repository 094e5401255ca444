//! The fuzzing corpora as ordinary tests: what was found once stays found.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

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

/// Every file of a corpus, as it is and with one byte off or missing in some places.
fn for_each_and_near(name: &str, run: impl Fn(&[u8])) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut seen = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        run(&bytes);
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(8).max(1)) {
            run(&bytes[..at]);
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            run(&flipped);
        }
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}

#[test]
fn any_bytes_can_be_records() {
    for_each_and_near("records", claimlog::fuzzing::records);
    // The facts of the state itself, on top of it and of each other.
    claimlog::fuzzing::batches().iter().for_each(|batch| claimlog::fuzzing::records(batch));
}

#[test]
fn a_log_with_any_headers_can_be_opened_or_is_refused() {
    for_each_and_near("segment_header", claimlog::wal::fuzz_open);
}

#[test]
fn a_snapshot_with_any_changes_can_be_loaded_or_is_refused() {
    for_each_and_near("snapshot", |bytes| {
        claimlog::fuzzing::snapshot(bytes);
        claimlog::snapshot::fuzz_store(bytes);
    });
}

/// Batches to begin with, for the fuzzer: `CLAIMLOG_WRITE_CORPUS=1 cargo test --test corpus` writes them.
#[test]
fn the_corpus_of_records_begins_with_a_batch_of_each_kind() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/records");
    for (at, batch) in claimlog::fuzzing::batches().iter().enumerate() {
        let path = corpus.join(format!("batch-{at}"));
        if std::env::var_os("CLAIMLOG_WRITE_CORPUS").is_some() {
            std::fs::write(&path, batch).unwrap();
        }
        let there = std::fs::read(&path).unwrap_or_default();
        assert!(there == *batch, "{} is stale: CLAIMLOG_WRITE_CORPUS=1 writes it", path.display());
    }
}
