//! The contract of [`SnapshotStore`], held against sled on the real disk: plain, guarded, killed, damaged, full.
//!
//! Some of it needs a process that may die: the test binary starts itself again, see [`child_process`].

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::guard::Guarded;
use super::sled_place::SledPlace;
use super::{Root, SnapshotPlace, SnapshotStore};
use crate::id::{PageNo, PartKey, Seq, StoreId};

const OWNER: StoreId = StoreId::new([3; 16]);
const JOB: &str = "CLAIMLOG_SLED_TEST_JOB";
const DIR: &str = "CLAIMLOG_SLED_TEST_DIR";

fn key(changed_at: u64, page: u64) -> PartKey {
    PartKey { changed_at: Seq::new(changed_at), page: PageNo::new(page) }
}

fn root(seq: u64, parts: u64) -> Root {
    Root {
        seq: Seq::new(seq),
        part_count: parts,
        fingerprint: u128::from(seq) << 70,
        bytes: 5,
        dropped: vec![key(1, 2)],
        others: vec![("b".into(), Seq::new(4))],
        head: vec![7; 100],
    }
}

/// Numbers that look random and are the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

/// What part `key` has in it.
fn content(key: PartKey, length: usize) -> Vec<u8> {
    Numbers(key.changed_at.get() << 32 | key.page.get()).bytes(length)
}

fn plain(dir: &Path) -> Arc<dyn SnapshotPlace> {
    Arc::new(SledPlace::new(dir.join("snapshot"), "a"))
}

fn guarded(dir: &Path) -> Arc<dyn SnapshotPlace> {
    Arc::new(Guarded::new(plain(dir), Duration::from_secs(60)))
}

fn each_kind(test: impl Fn(&Path, &dyn Fn() -> Arc<dyn SnapshotPlace>)) {
    for make in [plain, guarded] {
        let dir = tempfile::tempdir().unwrap();
        test(dir.path(), &|| make(dir.path()));
    }
}

fn store_dir(dir: &Path, generation: u32) -> PathBuf {
    dir.join(format!("snapshot/a-{generation:04}"))
}

#[test]
fn what_was_put_is_read_also_after_opening_again() {
    each_kind(|_, place| {
        let store = place().create(1, OWNER).unwrap();
        assert_eq!((store.owner(), store.name().as_str()), (OWNER, "a-0001"));
        assert_eq!((store.roots().unwrap(), store.keys_after(Seq::ZERO).unwrap()), (vec![], vec![]));
        let keys: Vec<PartKey> = (1..=300).map(|n| key(n / 3 + 1, n)).collect();
        for (n, key) in keys.iter().enumerate() {
            store.put(*key, &content(*key, n * 97)).unwrap();
        }
        store.put_root(&root(9, 3)).unwrap();
        store.put_root(&root(300, 4)).unwrap();
        let check = |store: &dyn SnapshotStore| {
            for (n, key) in keys.iter().enumerate() {
                assert_eq!(store.read(*key).unwrap(), content(*key, n * 97));
            }
            assert_eq!(store.keys_after(Seq::ZERO).unwrap(), keys);
            let late: Vec<PartKey> = keys.iter().copied().filter(|key| key.changed_at.get() > 60).collect();
            assert_eq!(store.keys_after(Seq::new(60)).unwrap(), late);
            assert_eq!(store.keys_after(Seq::new(u64::MAX)).unwrap(), vec![]);
            assert_eq!(store.roots().unwrap(), vec![root(300, 4), root(9, 3)]);
            assert_eq!(store.read(key(5, 999)).unwrap_err().kind, std::io::ErrorKind::NotFound);
        };
        check(&*store);
        store.flush().unwrap();
        check(&*store);
        store.reopen().unwrap();
        check(&*store);
        drop(store);
        let store = place().open(1).unwrap();
        check(&*store);

        store.remove(keys[7]).unwrap();
        store.remove(keys[299]).unwrap();
        store.remove(key(5, 999)).unwrap();
        store.remove_root(Seq::new(9)).unwrap();
        store.remove_root(Seq::new(10)).unwrap();
        let mut left = keys.clone();
        left.remove(299);
        left.remove(7);
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), left);
        store.flush().unwrap();
        drop(store);
        let store = place().open(1).unwrap();
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), left);
        assert_eq!(store.roots().unwrap(), vec![root(300, 4)]);
        assert_eq!(store.read(keys[7]).unwrap_err().kind, std::io::ErrorKind::NotFound);
    });
}

/// The files below a directory that this process has open.
fn open_files(dir: &Path) -> usize {
    let dir = dir.canonicalize().unwrap();
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|path| path.starts_with(&dir)).count()
}

#[test]
fn a_store_that_rests_has_nothing_open_and_goes_on_when_it_is_asked() {
    each_kind(|dir, place| {
        let store = place().create(1, OWNER).unwrap();
        store.put(key(1, 1), b"flushed by that").unwrap();
        assert!(!cfg!(target_os = "linux") || open_files(&store_dir(dir, 1)) > 0);
        for n in 2..=5 {
            store.rest().unwrap();
            // Its threads may take a moment.
            let since = Instant::now();
            while cfg!(target_os = "linux") && open_files(&store_dir(dir, 1)) > 0 {
                assert!(
                    since.elapsed() < Duration::from_secs(10),
                    "{} files",
                    open_files(&store_dir(dir, 1))
                );
                thread::sleep(Duration::from_millis(1));
            }
            store.rest().unwrap();
            assert_eq!(store.read(key(1, 1)).unwrap(), b"flushed by that");
            store.rest().unwrap();
            store.put(key(n, 1), &content(key(n, 1), 1000)).unwrap();
            store.rest().unwrap();
            store.reopen().unwrap();
            assert_eq!(store.read(key(n, 1)).unwrap(), content(key(n, 1), 1000));
        }
        store.rest().unwrap();
        // Dropped while it rests: nobody opens it for that.
        drop(store);
        assert_eq!(place().open(1).unwrap().keys_after(Seq::ZERO).unwrap().len(), 5);
    });
}

#[test]
fn a_store_that_became_another_one_while_it_rested_is_not_used() {
    each_kind(|dir, place| {
        let store = place().create(1, OWNER).unwrap();
        let other = place().create(2, StoreId::new([9; 16])).unwrap();
        store.rest().unwrap();
        drop(other);
        fs::rename(store_dir(dir, 1), store_dir(dir, 3)).unwrap();
        fs::rename(store_dir(dir, 2), store_dir(dir, 1)).unwrap();
        assert!(store.roots().unwrap_err().to_string().contains("another store's"));
        store.roots().unwrap_err();
    });
}

#[test]
fn large_parts_and_roots() {
    each_kind(|_, place| {
        let store = place().create(1, OWNER).unwrap();
        let large = content(key(2, 1), 40 << 20);
        store.put(key(2, 1), &large).unwrap();
        store.put(key(2, 2), b"").unwrap();
        let huge =
            Root { head: content(key(1, 1), 5 << 20), dropped: vec![key(8, 9); 100_000], ..root(2, 2) };
        store.put_root(&huge).unwrap();
        // Passes the size at which the store opens itself again, in the middle of a part.
        store.put(key(3, 1), &large).unwrap();
        store.flush().unwrap();
        store.reopen().unwrap();
        assert_eq!(store.read(key(2, 1)).unwrap(), large);
        assert_eq!(store.read(key(2, 2)).unwrap(), b"");
        assert_eq!(store.read(key(3, 1)).unwrap(), large);
        assert!(store.roots().unwrap() == [huge]);
        store.remove(key(2, 1)).unwrap();
        store.remove_root(Seq::new(2)).unwrap();
        // A shorter one in its place leaves nothing of the longer one.
        store.put(key(3, 1), b"short").unwrap();
        assert_eq!(store.read(key(3, 1)).unwrap(), b"short");
        store.remove(key(3, 1)).unwrap();
        store.flush().unwrap();
        store.reopen().unwrap();
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), vec![key(2, 2)]);
        assert_eq!(store.roots().unwrap(), vec![]);
    });
}

#[test]
fn stores_of_a_place() {
    each_kind(|dir, place| {
        let place = place();
        assert_eq!(place.generations().unwrap(), Vec::<u32>::new());
        assert!(place.free_bytes().unwrap().unwrap() > 0);
        drop(place.create(1, OWNER).unwrap());
        let kept_open = place.create(12_345, OWNER).unwrap();
        assert_eq!(place.create(1, OWNER).unwrap_err().kind, std::io::ErrorKind::AlreadyExists);
        for other in ["a-0003.tmp/slabs", "b-0004.tmp", "a-b-0001", "a-001", "a-x"] {
            fs::create_dir_all(dir.join("snapshot").join(other)).unwrap();
        }
        assert_eq!(place.generations().unwrap(), vec![1, 12_345]);
        assert!(!dir.join("snapshot/a-0003.tmp").exists());
        assert!(dir.join("snapshot/b-0004.tmp").exists());
        assert_eq!(place.open(2).unwrap_err().kind, std::io::ErrorKind::NotFound);
        // Nobody can open it twice,
        assert_eq!(place.open(12_345).unwrap_err().kind, std::io::ErrorKind::WouldBlock);
        // but it can be removed while it is open.
        kept_open.put(key(1, 1), &content(key(1, 1), 1 << 20)).unwrap();
        kept_open.flush().unwrap();
        place.remove(12_345).unwrap();
        place.remove(12_345).unwrap();
        assert_eq!(place.generations().unwrap(), vec![1]);
        drop(kept_open);
        assert_eq!(place.generations().unwrap(), vec![1]);
        // A copy under another name is not taken for a store.
        fs::rename(store_dir(dir, 1), store_dir(dir, 2)).unwrap();
        assert!(place.open(2).unwrap_err().why.contains("belongs to a-0001"));
        fs::remove_file(store_dir(dir, 2).join("STORE")).unwrap();
        assert!(place.open(2).unwrap_err().why.contains("a-0002/STORE"));
    });
}

// ---- killed ----

fn start_child(job: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "snapshot::sled_tests::child_process",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(JOB, job)
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a child to its end. Returns what it printed.
fn run_child(job: &str, dir: &Path, patience: Duration) -> (ExitStatus, String) {
    let child = start_child(job, dir);
    let id = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if is_done.recv_timeout(patience).is_err() {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    watch.join().unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Not a test: what a child of one of the tests below does.
#[test]
#[ignore = "only started by other tests"]
fn child_process() {
    let (Ok(job), Ok(dir)) = (std::env::var(JOB), std::env::var(DIR)) else { return };
    let dir = PathBuf::from(dir);
    match job.as_str() {
        "turns" => take_turns(&dir),
        "damage" => damage_each_file(&dir),
        "full" => fill_disk(&dir),
        "read" => match plain(&dir).open(1) {
            Ok(store) => println!("read {}", check_turns(&*store)),
            Err(e) => println!("refused: {e}"),
        },
        other => panic!("job {other}"),
    }
}

const TURN_PARTS: u64 = 12;

fn turn_length(key: PartKey) -> usize {
    (key.page.get() * 5_003 % 40_000) as usize
}

/// Takes turns for ever, as the engine does: parts, flush, root, flush; then what the root before the last one had
/// goes. Prints the batch of each root that was flushed.
fn take_turns(dir: &Path) {
    let place = guarded(dir);
    let generations = place.generations().unwrap();
    let store = match generations.as_slice() {
        [] => place.create(1, OWNER).unwrap(),
        _ => place.open(1).unwrap(),
    };
    let mut seq = store.roots().unwrap().first().map_or(0, |root| root.seq.get());
    println!("opened");
    for key in store.keys_after(Seq::new(seq)).unwrap() {
        store.remove(key).unwrap();
    }
    loop {
        seq += 1;
        for page in 0..TURN_PARTS {
            let key = key(seq, page);
            store.put(key, &content(key, turn_length(key))).unwrap();
        }
        store.flush().unwrap();
        store.put_root(&root(seq, TURN_PARTS)).unwrap();
        store.flush().unwrap();
        println!("flushed {seq}");
        if seq % 3 == 0 {
            store.reopen().unwrap();
        }
        if seq > 4 {
            store.remove_root(Seq::new(seq - 4)).unwrap();
            for page in 0..TURN_PARTS {
                store.remove(key(seq - 4, page)).unwrap();
            }
        }
    }
}

/// Checks that the parts of every root are there. Returns the newest root's batch.
fn check_turns(store: &dyn SnapshotStore) -> u64 {
    let roots = store.roots().unwrap();
    let newest = roots.first().map_or(0, |root| root.seq.get());
    for found in &roots {
        let seq = found.seq.get();
        assert_eq!(*found, root(seq, TURN_PARTS));
        // The last one may be half removed already.
        for page in 0..if newest - seq < 4 { TURN_PARTS } else { 0 } {
            let key = key(seq, page);
            assert_eq!(store.read(key).unwrap(), content(key, turn_length(key)), "{key:?}");
        }
    }
    newest
}

#[test]
fn killed_at_any_time_it_keeps_what_was_flushed() {
    let seed = std::env::var("SEED").map_or(0x51ed, |seed| seed.parse().unwrap());
    let rounds = std::env::var("ROUNDS").map_or(24, |rounds| rounds.parse().unwrap());
    println!("SEED={seed} ROUNDS={rounds}");
    let mut numbers = Numbers(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut flushed, mut while_opening, mut opened) = (0, 0, 0);
    for round in 0..rounds {
        let mut child = start_child("turns", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Two in three are killed while they write, the others at any time, as a rule while they open.
        let mut was_open = round % 3 > 0 && lines.by_ref().any(|line| line.ends_with("opened"));
        std::thread::sleep(Duration::from_micros(numbers.next() % if was_open { 150_000 } else { 400_000 }));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            // The test harness prints its own text before, without ending the line.
            was_open |= line.ends_with("opened");
            if let Some((_, seq)) = line.rsplit_once("flushed ") {
                flushed = seq.parse().unwrap();
            }
        }
        if was_open {
            opened += 1;
        } else {
            while_opening += 1;
        }
        let place = plain(dir.path());
        // Not after each, so that some are opened after two crashes in a row.
        if round % 2 != 0 || place.generations().unwrap().is_empty() {
            continue;
        }
        let newest = check_turns(&*place.open(1).unwrap());
        assert!(newest >= flushed, "round {round}: {newest} is there, {flushed} was flushed");
    }
    println!(
        "killed {while_opening} times before it was open and {opened} times after; {flushed} roots flushed"
    );
    assert!(check_turns(&*plain(dir.path()).open(1).unwrap()) >= flushed);
    assert!(flushed > 0 && opened > 0);
}

// ---- damaged ----

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_of(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

const DAMAGED_PARTS: u64 = 200;
const DAMAGED_ROOTS: u64 = 4;

/// A closed store with some history: several openings, overwritten leaves, removed parts.
fn store_with_history(dir: &Path) {
    let place = plain(dir);
    drop(place.create(1, OWNER).unwrap());
    for turn in 1..=DAMAGED_ROOTS {
        let store = place.open(1).unwrap();
        for page in 0..DAMAGED_PARTS {
            let key = key(turn, page);
            store.put(key, &content(key, turn_length(key) / 4)).unwrap();
            if page % 50 == 49 {
                store.flush().unwrap();
            }
            if turn > 1 && page % 3 == 0 {
                store.remove(PartKey { changed_at: Seq::new(turn - 1), ..key }).unwrap();
            }
        }
        store.put_root(&root(turn, DAMAGED_PARTS)).unwrap();
        store.flush().unwrap();
    }
}

fn damage_each_file(dir: &Path) {
    let original = store_dir(dir, 1);
    let percent =
        std::env::var("CLAIMLOG_DAMAGE_PERCENT").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let mut numbers = Numbers(7);
    let mut outcomes = std::collections::BTreeMap::<(String, &str), usize>::new();
    let mut case = 0;
    for file in files_of(&original) {
        let relative = file.strip_prefix(&original).unwrap().to_path_buf();
        let length = fs::metadata(&file).unwrap().len();
        let mut damages: Vec<(&str, u64)> = vec![("delete", 0)];
        if length > 0 {
            damages.push(("zero all", 0));
            damages.extend((0..5).map(|_| ("flip", numbers.next() % length)));
            damages.extend((0..3).map(|_| ("zero", numbers.next() % length)));
            damages.extend((0..3).map(|_| ("truncate", numbers.next() % length)));
        } else if case % 5 > 0 {
            // Dozens of files of sled are empty.
            case += 1;
            continue;
        }
        for (damage, at) in damages {
            case += 1;
            // All of them with CLAIMLOG_DAMAGE_PERCENT=100: that takes minutes.
            if numbers.next() % 100 >= percent {
                continue;
            }
            let copy = dir.join(format!("case-{case}"));
            copy_dir(&original, &store_dir(&copy, 1));
            let path = store_dir(&copy, 1).join(&relative);
            let mut bytes = fs::read(&path).unwrap();
            let from = at as usize;
            match damage {
                "delete" => {}
                "zero all" => bytes.fill(0),
                "flip" => bytes[from] ^= 1 << (at % 8),
                "zero" => {
                    let to = bytes.len().min(from + 512);
                    bytes[from..to].fill(0);
                }
                _ => bytes.truncate(from),
            }
            if damage == "delete" {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, &bytes).unwrap();
            }
            let outcome = read_damaged(&copy);
            let group = relative
                .parent()
                .unwrap()
                .join(relative.file_name().unwrap().to_str().unwrap().split('_').next().unwrap());
            *outcomes.entry((format!("{damage} {}", group.display()), outcome)).or_default() += 1;
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    println!("{case} cases");
    for ((what, outcome), count) in
        outcomes.iter().filter(|((what, outcome), _)| !(what.contains("slabs") && *outcome == "all right"))
    {
        println!("  {what}: {outcome} x {count}");
    }
    println!("survived");
}

/// Opens a damaged store and reads all of it. What it says must be right.
fn read_damaged(dir: &Path) -> &'static str {
    let place = Guarded::new(plain(dir), Duration::from_secs(3));
    let since = Instant::now();
    let opened = place.open(1).and_then(|store| store.roots().map(|roots| (store, roots)));
    let (store, roots) = match opened {
        Ok(opened) => opened,
        Err(e) if e.kind == std::io::ErrorKind::TimedOut => return "hung at opening, given up",
        Err(_) => return "refused at opening",
    };
    for found in &roots {
        assert_eq!(*found, root(found.seq.get(), DAMAGED_PARTS));
    }
    let mut outcome = if roots.len() as u64 == DAMAGED_ROOTS { "all right" } else { "older state" };
    for found in &roots {
        for page in 0..DAMAGED_PARTS {
            let key = PartKey { changed_at: found.seq, page: PageNo::new(page) };
            match store.read(key) {
                Ok(bytes) => assert!(bytes == content(key, turn_length(key) / 4), "wrong bytes for {key:?}"),
                Err(e) if e.kind == std::io::ErrorKind::TimedOut => outcome = "hung at reading, given up",
                // Removed in a later turn.
                Err(e) if e.kind == std::io::ErrorKind::NotFound && page % 3 == 0 => {}
                Err(_) if outcome == "hung at reading, given up" => {}
                Err(_) => outcome = "error at reading",
            }
        }
    }
    drop(store);
    assert!(since.elapsed() < Duration::from_secs(30));
    outcome
}

/// In a child, because a hung call leaves a thread behind, and because the point is that the process survives.
#[test]
fn damaged_files_give_errors_and_never_wrong_bytes() {
    // In memory, if that can be: there are hundreds of copies.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    store_with_history(dir.path());
    let (status, printed) = run_child("damage", dir.path(), Duration::from_secs(500));
    println!(
        "{}",
        printed.lines().filter(|line| !line.contains("failed to read")).collect::<Vec<_>>().join("\n")
    );
    assert!(status.success() && printed.contains("survived"), "{status}\n{printed}");
}

// ---- full ----

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
    }
}

fn fill_disk(dir: &Path) {
    let place = guarded(dir);
    let store = place.open(1).unwrap();
    let mut seq = check_turns(&*store);
    let since = Instant::now();
    let error = loop {
        seq += 1;
        let puts =
            (0..TURN_PARTS).try_for_each(|page| store.put(key(seq, page), &content(key(seq, page), 100_000)));
        if let Err(e) = puts.and_then(|()| store.flush()) {
            break e;
        }
    };
    println!("full after {:?}: {error}", since.elapsed());
    assert_eq!(error.kind, std::io::ErrorKind::StorageFull);
    let since = Instant::now();
    store.put(key(seq, 0), b"more").unwrap_err();
    store.read(key(1, 0)).unwrap_err();
    store.roots().unwrap_err();
    store.flush().unwrap_err();
    store.reopen().unwrap_err();
    drop(store);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    // No room for another one either, which is an error like any other.
    println!("free: {:?}", place.free_bytes());
    println!("create: {:?}", place.create(2, OWNER).map_err(|e| e.to_string()));
    println!("generations: {:?}", place.generations());
    println!("survived");
}

#[test]
fn a_full_disk_is_an_error_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: no tmpfs can be mounted here");
        return;
    }
    let _mounted = Mounted(disk.clone());
    let store = plain(&disk).create(1, OWNER).unwrap();
    for page in 0..TURN_PARTS {
        store.put(key(1, page), &content(key(1, page), turn_length(key(1, page)))).unwrap();
    }
    store.put_root(&root(1, TURN_PARTS)).unwrap();
    store.flush().unwrap();
    drop(store);
    let (status, printed) = run_child("full", &disk, Duration::from_secs(300));
    println!("{printed}");
    assert!(status.success() && printed.contains("survived"), "{status}\n{printed}");
    let (status, printed) = run_child("read", &disk, Duration::from_secs(100));
    println!("{printed}");
    // An opening writes, if little.
    assert!(
        status.success() && (printed.contains("No space left") || printed.contains("read 1")),
        "{printed}"
    );
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status().unwrap();
    assert!(grown.success());
    let store = plain(&disk).open(1).unwrap();
    assert_eq!(check_turns(&*store), 1);
    store.put(key(2, 1), &content(key(2, 1), 10 << 20)).unwrap();
    store.flush().unwrap();
}
