//! Any changes to the parts and the head of a snapshot, and any bytes as what a store keeps: values, roots, its `STORE`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    claimlog::fuzzing::snapshot(bytes);
    claimlog::snapshot::fuzz_store(bytes);
});
