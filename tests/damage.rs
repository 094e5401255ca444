//! Damage to every file of a data directory, in every way, one at a time: all data comes back, or the opening is refused
//! and says which file it is about. Never less.
//!
//! - `CLAIMLOG_DAMAGE_PERCENT`: how many of all cases are tried (40), chosen by
//! - `CLAIMLOG_SEED`: the seed, printed by every run.
//!
//! One case is left out, since no copy can show it: the newest segment put back to an earlier state of itself, above
//! every snapshot (`docs/durability.md`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

#[path = "common/rng.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod rng;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use claimlog::engine::{Engine, Options};
use claimlog::op::*;
use claimlog::{EntryId, Fields, OpenError};

/// A way to damage a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    /// One bit, at a place from 0 to 1 of the way through.
    Flip(f64),
    /// 600 bytes become zero.
    Zero(f64),
    Truncate(f64),
    /// Some bytes too many.
    Append,
    Delete,
    /// The file as it was some time ago.
    Older,
}

const DAMAGES: [Damage; 13] = [
    Damage::Flip(0.0),
    Damage::Flip(0.02),
    Damage::Flip(0.3),
    Damage::Flip(0.7),
    Damage::Flip(0.999),
    Damage::Zero(0.0),
    Damage::Zero(0.5),
    Damage::Zero(0.9),
    Damage::Truncate(0.0),
    Damage::Truncate(0.5),
    Damage::Append,
    Damage::Delete,
    Damage::Older,
];

fn options(dir: &Path) -> Options {
    // Snapshots when the test says so.
    let options = Options::new(dir).segment_bytes(64 * 1024).snapshot_log_bytes(1 << 40);
    // Some of what is damaged makes sled go round in circles, until it is given up.
    options.store_patience(Duration::from_secs(10))
}

fn add(engine: &Engine, key: &str, id: u64) {
    let fields =
        Fields::from_pairs([("field", format!("value {id} of {key}, which is not short").into_bytes())]);
    let id = NewId::Exact(EntryId::new(id, 0));
    engine.submit(&XAdd { id, ..XAdd::new(key, fields) }).result.unwrap();
}

/// Streams, groups, pending entries; several segments, several snapshots of each store. Copies on the way are the
/// "older" files.
fn build(dir: &Path, older: &Path) {
    let (engine, _) = options(dir).open().unwrap();
    let group = XGroupCreate {
        key: "jobs".into(),
        group: "g".into(),
        start: GroupStart::After(EntryId::MIN),
        make_stream: true,
        entries_read: None,
    };
    engine.execute_blocking(&group).unwrap();
    for round in 0..7 {
        for id in 1 + round * 300..1 + (round + 1) * 300 {
            add(&engine, "jobs", id);
            add(&engine, &format!("other {}", id % 7), id);
        }
        let read = XReadGroup { count: Some(100), ..XReadGroup::new("g", format!("c{round}"), "jobs") };
        engine.execute_blocking(&read).unwrap();
        if round < 6 {
            engine.snapshot().unwrap();
        }
        if round == 4 {
            // Both stores have changed since.
            copy(dir, older);
        }
    }
    engine.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files below a directory, as paths relative to it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// Does it; `false` if it would change nothing.
fn damage(file: &Path, older: &Path, how: Damage) -> bool {
    let before = fs::read(file).unwrap();
    let at = |part: f64| ((before.len() as f64 * part) as usize).min(before.len().saturating_sub(1));
    let mut bytes = before.clone();
    match how {
        Damage::Flip(_) | Damage::Zero(_) | Damage::Truncate(_) if before.is_empty() => return false,
        Damage::Flip(part) => bytes[at(part)] ^= 0x10,
        Damage::Zero(part) => {
            let end = (at(part) + 600).min(before.len());
            bytes[at(part)..end].fill(0);
        }
        Damage::Truncate(part) => bytes.truncate(at(part)),
        Damage::Append => bytes.extend_from_slice(&[0x5a; 700]),
        Damage::Delete => {
            fs::remove_file(file).unwrap();
            return true;
        }
        Damage::Older => match fs::read(older) {
            Ok(older) => bytes = older,
            Err(_) => return false,
        },
    }
    if bytes == before {
        return false;
    }
    fs::write(file, bytes).unwrap();
    true
}

struct Case<'a> {
    data: &'a Path,
    digest: u128,
    opened: u32,
    refused: u32,
}

impl Case<'_> {
    /// Opens a damaged copy and looks.
    fn check(&mut self, copy: &Path, hurt: &str, what: &str) {
        match options(copy).open() {
            Ok((engine, report)) => {
                assert_eq!(engine.digest(), self.digest, "{what}: something else came back\n{report}");
                engine.check().unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
                self.opened += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!matches!(error, OpenError::Unsound(_)), "{what}: {text}");
                assert!(text.contains(hurt), "{what}: the refusal does not name {hurt}: {text}");
                assert!(!hurt.contains("snapshot"), "{what}: one store is enough: {text}");
                self.refused += 1;
            }
        }
    }

    fn fresh(&self) -> tempfile::TempDir {
        // In memory, if that can be: there are many.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        copy(self.data, dir.path());
        dir
    }
}

#[test]
fn every_file_in_every_way() {
    let began = Instant::now();
    let number =
        |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (percent, seed) = (number("CLAIMLOG_DAMAGE_PERCENT", 40), number("CLAIMLOG_SEED", 1));
    println!("{percent} % of all cases; again with: CLAIMLOG_SEED={seed} cargo test --test damage");
    let mut rng = rng::Rng::new(seed);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (data, older) = (home.path().join("data"), home.path().join("older"));
    build(&data, &older);
    let (engine, report) = options(&data).open().unwrap();
    let digest = engine.digest();
    assert!(report.snapshot.is_some() && report.batches > 0, "{report}");
    engine.close().unwrap();

    let all = files(&data);
    let mut chosen = Vec::new();
    let newest = all.iter().filter(|path| path.starts_with("log")).max().unwrap().clone();
    for path in &all {
        let name = path.display().to_string();
        // sled keeps a file for each size of object; most are empty, and one of these is like the other.
        let empty_slab = name.contains("slabs") && fs::metadata(data.join(path)).unwrap().len() == 0;
        if empty_slab && !name.ends_with("64") {
            continue;
        }
        for how in DAMAGES {
            if rng.chance(percent) && !(how == Damage::Older && *path == newest) {
                chosen.push((path, how));
            }
        }
    }
    // Each case takes one thread.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut case = Case { data: &data, digest, opened: 0, refused: 0 };
        while let Some((path, how)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (copy, name) = (case.fresh(), path.display().to_string());
            if damage(&copy.path().join(path), &older.join(path), *how) {
                case.check(copy.path(), &name, &format!("{how:?} of {name}"));
            }
        }
        (case.opened, case.refused)
    };
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
    let (opened, refused) = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let outcomes = workers.into_iter().map(|worker| worker.join().expect("said above"));
        outcomes.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    });
    println!(
        "{} files: {opened} damaged copies came back whole, {refused} were refused; {:.1} s",
        all.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(u64::from(opened) > percent / 2 && refused > 0, "the test must test something");
}

/// Whole directories: removed, or put back to an older state.
#[test]
fn every_directory_removed_or_older() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (data, older) = (home.path().join("data"), home.path().join("older"));
    build(&data, &older);
    let (engine, _) = options(&data).open().unwrap();
    let digest = engine.digest();
    engine.close().unwrap();
    let mut case = Case { data: &data, digest, opened: 0, refused: 0 };
    let stores = ["snapshot/a-0001", "snapshot/b-0001"];
    for name in stores {
        for part in ["", "/metadata", "/slabs"] {
            for put_back in [false, true] {
                let copied = case.fresh();
                let hurt = format!("{name}{part}");
                fs::remove_dir_all(copied.path().join(&hurt)).unwrap();
                if put_back {
                    copy(&older.join(&hurt), &copied.path().join(&hurt));
                }
                case.check(
                    copied.path(),
                    &hurt,
                    &format!("{hurt} {}", if put_back { "older" } else { "removed" }),
                );
            }
        }
    }
    assert_eq!((case.opened, case.refused), (12, 0));

    // The warning says so, and the place is built anew while commands go on: then the other one may go.
    for (name, other) in [(stores[0], stores[1]), (stores[1], stores[0])] {
        let copied = case.fresh();
        fs::remove_dir_all(copied.path().join(name)).unwrap();
        let (engine, report) = options(copied.path()).open().unwrap();
        assert!(report.warnings.iter().any(|warning| warning.contains("store")), "{report}");
        add(&engine, "jobs", 1_000_000);
        let digest = engine.digest();
        let patience = Instant::now() + Duration::from_secs(60);
        while engine.stats().snapshots.stores.iter().any(|store| store.seq.is_none()) {
            assert!(Instant::now() < patience, "{:?}", engine.stats());
            std::thread::sleep(Duration::from_millis(20));
        }
        engine.close().unwrap();
        fs::remove_dir_all(copied.path().join(other)).unwrap();
        let (engine, _) = options(copied.path()).open().unwrap();
        assert_eq!(engine.digest(), digest, "{name} was built anew, {other} went");
    }

    // Without either, and the log cut: refused, with what could be done.
    let copied = case.fresh();
    stores.iter().for_each(|name| fs::remove_dir_all(copied.path().join(name)).unwrap());
    let text = options(copied.path()).open().unwrap_err().to_string();
    assert!(text.contains("start-missing"), "{text}");

    // The log: all of it, or any of its directories' worth.
    let copied = case.fresh();
    fs::remove_dir_all(copied.path().join("log")).unwrap();
    let text = options(copied.path()).open().unwrap_err().to_string();
    assert!(text.contains("log-missing"), "{text}");
    let copied = case.fresh();
    fs::remove_dir_all(copied.path().join("log")).unwrap();
    copy(&older.join("log"), &copied.path().join("log"));
    let text = options(copied.path()).open().unwrap_err().to_string();
    assert!(text.contains("/log/"), "{text}");
}
