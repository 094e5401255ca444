//! Any bytes as a segment of the log: reading them may find nothing, but must not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    claimlog::wal::fuzz_scan(bytes, false);
    // With checksums put right, so that what is behind them is reached too.
    claimlog::wal::fuzz_scan(bytes, true);
});
