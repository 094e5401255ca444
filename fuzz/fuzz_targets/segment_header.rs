//! Any changes to the files of a log (headers of segments, `STORE`, openings that did not end), opened: it is refused, or
//! what is replayed was in it, and the next opening says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| claimlog::wal::fuzz_open(bytes));
