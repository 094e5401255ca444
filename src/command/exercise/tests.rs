//! The fuzz target as an ordinary test, and where its corpus and its dictionary come from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use claimlog::io::sim::SimRng;

use super::super::spec::{Arg, ArgKind};
use super::super::table;
use super::script::{Script, rows};
use super::*;

/// How many random scripts are tried.
const SCRIPTS: u64 = 400;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Says whose script failed.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {}", self.0);
        }
    }
}

/// `CLAIMLOG_ARGV` names another file or folder to run, such as what the fuzzer has found.
#[test]
fn argv_corpus() {
    let path = std::env::var_os("CLAIMLOG_ARGV").map_or_else(|| fuzz().join("corpus/argv"), PathBuf::from);
    let files: Vec<PathBuf> = match std::fs::read_dir(&path) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(_) => vec![path],
    };
    assert!(!files.is_empty(), "the corpus is empty");
    for file in files {
        let replay = Replay(file.display().to_string());
        exercise(&std::fs::read(&file).unwrap());
        drop(replay);
    }
}

fn random_script(seed: u64) -> Vec<u8> {
    let mut rng = SimRng::new(seed);
    let mut bytes = vec![b'P', b'0'];
    for _ in 0..rng.below(600) {
        bytes.push(rng.below(256) as u8);
    }
    bytes
}

#[test]
fn argv_at_random() {
    let (first, count) = match number("CLAIMLOG_SEED") {
        Some(seed) => (seed, 1),
        None => (super::super::context::random() >> 16, number("CLAIMLOG_ARGV_SCRIPTS").unwrap_or(SCRIPTS)),
    };
    for seed in first..first + count {
        let replay = Replay(format!("CLAIMLOG_SEED={seed} cargo test --bin claimlog argv_at_random"));
        exercise(&random_script(seed));
        drop(replay);
    }
}

#[test]
fn scripts_can_be_written_down() {
    let text = |bytes: &[u8]| Script::new(bytes).map(|step| step.text()).collect::<String>();
    for seed in 0..200 {
        let once = text(&random_script(seed));
        assert_eq!(text(once.as_bytes()), once);
    }
}

#[test]
fn a_client_that_kills_itself_inside_multi_is_closed_after_exec() {
    let mut world = world::World::new();
    let before = world.client_id(0);
    let script = b"0MULTI\n0CLIENT KILL TYPE normal SKIPME no\n0PING\n0EXEC\n";
    Script::new(script).for_each(|step| world.step(&step));
    assert_ne!(world.client_id(0), before);
}

/// A script for a row: something to work on, then the row, called by every session and inside a transaction.
fn seed_script(streams_only: bool, row: usize, name: &str) -> Vec<u8> {
    let mut rng = SimRng::new(name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte)));
    let mut random = |bytes: &mut Vec<u8>, count| bytes.extend((0..count).map(|_| rng.below(230) as u8));
    // What begins a call of a row of all, or of those about streams; MULTI, EXEC.
    let call = if streams_only { 0 } else { 28 * 4 };
    let mut bytes = b"P0\nP3\n".to_vec();
    for session in [0, 1, 3] {
        bytes.extend([call + session, row as u8]);
        random(&mut bytes, 24);
        // So that the next call begins where it is meant to.
        bytes.extend(*b"\n\n");
    }
    bytes.extend([54 * 4, call, row as u8]);
    random(&mut bytes, 24);
    bytes.extend([56 * 4, b'R']);
    bytes
}

fn file_name(name: &str) -> String {
    format!("row-{}", name.replace('|', "-"))
}

#[test]
fn every_row_has_a_seed() {
    let folder = fuzz().join("corpus/argv");
    assert!(rows(false).len() <= 256, "the row of a call is one byte of a script");
    for spec in rows(false) {
        // A container does nothing that its subcommands do not.
        if !spec.subcommands.is_empty() && spec.name != "command" {
            continue;
        }
        let streams_only = spec.group == "stream";
        let row = rows(streams_only).iter().position(|row| row.name == spec.name).unwrap();
        let path = folder.join(file_name(spec.name));
        if std::env::var_os("CLAIMLOG_WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, seed_script(streams_only, row, spec.name)).unwrap();
        }
        let how = "CLAIMLOG_WRITE_CORPUS=1 cargo test --bin claimlog every_row_has_a_seed writes it";
        assert!(path.exists(), "{} is not there; {how}", path.display());
    }
}

fn tokens(args: &[Arg], found: &mut BTreeSet<String>) {
    for arg in args {
        found.extend(arg.token.map(str::to_owned));
        if let ArgKind::OneOf(args) | ArgKind::Block(args) = arg.kind {
            tokens(args, found);
        }
    }
}

#[test]
fn the_dictionary_is_not_stale() {
    let path = fuzz().join("argv.dict");
    let mut words = BTreeSet::new();
    for spec in table::all() {
        words.insert(spec.name.replace('|', " ").to_uppercase());
        tokens(spec.args, &mut words);
    }
    words.extend([" ", "\\x0a0", "18446744073709551615", "9223372036854775807", "1-1"].map(str::to_owned));
    let mut wanted = String::from(
        "# The command table's words. After a change there:\n\
         # CLAIMLOG_WRITE_CORPUS=1 cargo test --bin claimlog the_dictionary_is_not_stale\n",
    );
    words.iter().for_each(|word| wanted.push_str(&format!("\"{word}\"\n")));
    if std::env::var_os("CLAIMLOG_WRITE_CORPUS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == wanted, "fuzz/argv.dict is stale; how to renew it stands at its top");
}
