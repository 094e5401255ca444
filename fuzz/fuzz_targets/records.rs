//! Any bytes as a batch of records: what can be decoded comes back from its own bytes, what is refused changes nothing,
//! and what is applied leaves a state that agrees with itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| claimlog::fuzzing::records(bytes));
