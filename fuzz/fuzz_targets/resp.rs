//! Arbitrary bytes as requests: no panic, and however they are cut into pieces the same requests come out.
#![no_main]

use claimlog::resp::{Limits, decode_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = decode_all([bytes], Limits::default());
    let (one, other) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(decode_all([one, other], Limits::default()), whole);
    let limits = Limits { authenticated: false, ..Limits::default() };
    decode_all(bytes.chunks(usize::from(cut).max(1)), limits);
});
