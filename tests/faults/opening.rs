//! What an opening meets: a disk that can't be read or written, damage, formats of the future, others. Each is refused by
//! name, changes nothing, and is over when its cause is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Options, seed};
use crate::load::Load;
use crate::log::fill_both;
use crate::shim::{self, Shim};
use crate::try_copy_tree;

const PATIENCE: Duration = Duration::from_secs(30);

/// All files below a directory and what is in them; of `LOCK` only that it is there.
fn picture(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.insert(path.clone(), Vec::new());
                left.push(path);
            } else {
                let lock = path.file_name().is_some_and(|name| name == "LOCK");
                let bytes = if lock { Vec::new() } else { fs::read(&path).unwrap() };
                found.insert(path, bytes);
            }
        }
    }
    found
}

fn changed(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let of = |one: &BTreeMap<PathBuf, Vec<u8>>, other: &BTreeMap<PathBuf, Vec<u8>>| {
        one.iter()
            .filter(|(path, bytes)| other.get(*path) != Some(bytes))
            .map(|(path, _)| path.clone())
            .collect::<Vec<_>>()
    };
    let mut all = of(before, after);
    all.extend(of(after, before));
    all.sort();
    all.dedup();
    all
}

/// Data with two snapshots and a log behind them.
fn filled() -> (Shim, Load) {
    let shim = Shim::new();
    let mut load = Load::new(2, seed(), 300);
    let server = shim.plain().with("--snapshot-log-bytes", "4k").start();
    fill_both(&server, &mut load);
    drop(server);
    // Nothing in it is new any more, so that an opening has nothing to put right.
    let mut server = shim.plain().start();
    load.resume(&server, None).unwrap();
    load.run(&server, 5, None);
    server.signal("TERM");
    server.wait_exit(PATIENCE).unwrap();
    (shim, load)
}

/// A start that must be refused: with these words, code 1, and nothing changed. What it said.
fn refused(options: &Options, dir: &Path, what: &str, words: &[&str]) -> String {
    let before = picture(dir);
    let mut server = options.spawn();
    assert!(server.wait_until_ready(PATIENCE).is_err(), "{what}: it starts\n{}", server.output());
    let status = server.wait_exit(PATIENCE).unwrap();
    let output = server.output();
    assert_eq!(status.code(), Some(1), "{what}: {output}");
    assert!(!output.contains("panicked"), "{what}: {output}");
    for word in words {
        assert!(output.contains(word), "{what}: no {word:?} in: {output}");
    }
    let changed = changed(&before, &picture(dir));
    assert!(changed.is_empty(), "{what}: changed {changed:?}");
    output
}

/// The last one whose header carries the number of its name: what comes behind it waits for its use.
fn newest_segment(dir: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.retain(|path| {
        let bytes = fs::read(path).unwrap();
        let ordinal: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        bytes.starts_with(b"claimseg") && bytes[40..48] == ordinal.to_le_bytes()
    });
    found.pop().unwrap()
}

#[test]
fn the_log_can_not_be_read() {
    if shim::skipped() {
        return;
    }
    let (shim, mut load) = filled();
    let segment = newest_segment(&shim.data());
    let name = format!("log/{}", segment.file_name().unwrap().to_str().unwrap());
    for (rules, words) in [
        ("read log/ 1 * EIO".to_owned(), vec!["/log/", "Input/output error"]),
        (format!("read {name} 2 * EIO"), vec![&*name, "Input/output error"]),
        (format!("open {name} 1 * EIO"), vec![&*name, "Input/output error"]),
        (format!("open {name} 1 * EACCES"), vec![&*name, "Permission denied"]),
        ("read data/STORE 1 * EIO".to_owned(), vec!["data/STORE", "Input/output error"]),
        ("read data/STORE 1 * flip 20".to_owned(), vec!["data/STORE", "store-damaged"]),
        ("flock LOCK 1 * ENOLCK".to_owned(), vec!["LOCK", "No locks available"]),
        ("open LOCK 1 * EACCES".to_owned(), vec!["LOCK", "Permission denied"]),
        (format!("read {name} 1 * flip 20"), vec![&*name, "epoch-missing"]),
        (format!("read {name} 1 * flip 562"), vec![&*name, "proven-by", "offset 512", "batch"]),
    ] {
        shim.rules(&format!("{rules}\n"));
        refused(&shim.options(), &shim.data(), &rules, &words);
        assert!(!shim.hits().is_empty(), "{rules}: not met");
    }
    shim.rules("");
    load.resume(&shim.plain().start(), None).unwrap();
}

#[test]
fn nothing_can_be_written() {
    if shim::skipped() {
        return;
    }
    let (shim, mut load) = filled();
    for rules in [
        "openw * 1 * EROFS\nmutate * 1 * EROFS\n",
        "openw * 1 * EACCES\ncreate * 1 * EACCES\nrename * 1 * EACCES\nunlink * 1 * EACCES\n",
        "openw log/ 1 * EROFS\nmutate log/ 1 * EROFS\n",
        "mutate log/ 1 * ENOSPC\n",
        "sync log/ 1 * EIO\n",
        "syncdir log 1 * EIO\n",
        "syncdir data 1 * EIO\n",
    ] {
        shim.rules(rules);
        let words: &[&str] = if rules.contains("EIO") { &["Input/output error"] } else { &["/data"] };
        let mut server = shim.options().spawn();
        assert!(server.wait_until_ready(PATIENCE).is_err(), "{rules}: it starts\n{}", server.output());
        let status = server.wait_exit(PATIENCE).unwrap();
        let output = server.output();
        assert_eq!(status.code(), Some(1), "{rules}: {output}");
        assert!(
            words.iter().all(|word| output.contains(word)) && !output.contains("panicked"),
            "{rules}: {output}"
        );
        shim.rules("");
        load.resume(&shim.plain().start(), None).unwrap_or_else(|why| panic!("{rules}: {why}"));
    }
    // And each step of an opening fails once.
    for rule in ["rename", "create", "write", "sync", "syncdir", "truncate", "unlink", "flock", "openw"] {
        for nth in [1, 4] {
            let rules = format!("{rule} * {nth} 1 EIO\n");
            shim.rules(&rules);
            let mut server = shim.options().spawn();
            let started = server.wait_until_ready(PATIENCE).is_ok();
            let output = server.output();
            assert!(started || output.contains("Input/output error"), "{rules}: {output}");
            assert!(!output.contains("panicked"), "{rules}: {output}");
            if started {
                load.check(&server, &load.all_answered())
                    .unwrap_or_else(|why| panic!("{rules}: {why}\n{output}"));
            } else {
                let code = server.wait_exit(PATIENCE).unwrap().code();
                assert!(code == Some(1) || code == Some(4), "{rules}: {code:?} {output}");
            }
            drop(server);
            shim.rules("");
            load.resume(&shim.plain().start(), None).unwrap_or_else(|why| panic!("{rules}: {why}"));
        }
    }
}

/// A file system that is really mounted for reading only.
#[test]
fn a_read_only_file_system() {
    let home = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(home.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("size=256m") {
        println!("SKIPPED: a file system can't be mounted here, that needs root");
        return;
    }
    let options = Options::new(crate::common::Kind::Claimlog).dir(&home.path().join("data"));
    let result = std::panic::catch_unwind(|| {
        let mut server = options.start();
        assert!(!server.client().run("XADD s 1-1 f v").is_error());
        server.signal("TERM");
        server.wait_exit(PATIENCE).unwrap();
        assert!(mount("remount,ro"));
        refused(&options, &home.path().join("data"), "read-only", &["/data", "Read-only file system"]);
        assert!(mount("remount,rw"));
        assert_eq!(options.start().client().run("XLEN s").int(), 1);
    });
    let _ = Command::new("umount").arg("-l").arg(home.path()).status();
    result.unwrap();
}

/// Both kinds of damage to the log: what was never proven is cut and told, what was is refused and kept.
#[test]
fn a_torn_tail_is_cut_and_proven_damage_is_refused() {
    if shim::skipped() {
        return;
    }
    let (shim, mut load) = filled();
    // A write that the power cut short, behind all that was answered.
    let segment = newest_segment(&shim.data());
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let mut server = shim.options().start();
    // Not of the zeros of the next one, which is called .tmp as long as it is filled.
    shim.rules("write .seg 3 1 torn 60\n");
    load.run(&server, 20, None);
    assert!(server.wait_exit(PATIENCE).is_some(), "it was killed: {:?}", shim.hits());
    shim.rules("");
    let server = shim.plain().start();
    load.resume(&server, None).unwrap();
    let output = server.output();
    for word in ["cut: ", "bytes at offset ", "/log/0", ".seg, before batch "] {
        assert!(output.contains(word), "no {word:?} in: {output}");
    }
    load.run(&server, 5, None);
    drop(server);

    // A frame that later ones prove; without a snapshot that could stand in for it.
    let home = Shim::new();
    let server = home.plain().start();
    let mut client = server.client();
    for id in 1..20 {
        client.run(&format!("XADD s {id}-1 field value"));
    }
    drop(server);
    let segment = home.data().join("log/0000000001.seg");
    let good = fs::read(&segment).unwrap();
    let mut damaged = good.clone();
    // In the payload of the second frame.
    damaged[2 * 512 + 60] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let words = [
        "log/0000000001.seg",
        "offset 1024",
        "batch 2",
        "proven-by-mark",
        "check the disk",
        "keep a copy",
        "backup",
    ];
    let first = refused(&home.plain(), &home.data(), "a flipped bit", &words);
    let second = refused(&home.plain(), &home.data(), "a flipped bit", &words);
    assert_eq!(first, second, "and it says so each time");
    fs::write(&segment, &good).unwrap();
    assert_eq!(home.plain().start().client().run("XLEN s").int(), 19);

    // With snapshots, the damage in what is replayed after them.
    let (shim, _) = filled();
    let segment = newest_segment(&shim.data());
    let mut damaged = fs::read(&segment).unwrap();
    damaged[512 + 50] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let name2 = segment.file_name().unwrap().to_str().unwrap().to_owned();
    refused(&shim.plain(), &shim.data(), "beside snapshots", &[&name2, "offset 512", "proven-by"]);
    assert!(!name.is_empty());
}

/// Also in mode `everysec` a moment of silence proves what is durable: what rots after that is refused, and not cut as if
/// it had never been.
#[test]
fn silence_proves_what_was_synced_once_a_second() {
    let home = Shim::new();
    let server = home.plain().appendfsync("everysec").start();
    let mut client = server.client();
    for id in 1..20 {
        client.run(&format!("XADD s {id}-1 field value"));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "nothing proves it");
        let left = Shim::new();
        if !try_copy_tree(&home.data(), &left.data()) {
            continue;
        }
        let segment = left.data().join("log/0000000001.seg");
        let mut bytes = fs::read(&segment).unwrap();
        bytes[512 + 60] ^= 1;
        fs::write(&segment, &bytes).unwrap();
        let mut restarted = left.plain().spawn();
        if restarted.wait_until_ready(PATIENCE).is_err() {
            let output = restarted.output();
            assert!(output.contains("proven-by-mark"), "{output}");
            return;
        }
    }
}

/// Puts a format number into a file and makes its checksum right again.
fn newer(path: &Path, crc_of: impl Fn(&[u8]) -> u32) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    bytes[8..12].copy_from_slice(&77_u32.to_le_bytes());
    let crc = crc_of(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
    before
}

fn crc_without_itself(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (shim, mut load) = filled();
    let segment = newest_segment(&shim.data());
    let name = segment.file_name().unwrap().to_str().unwrap();
    for path in [shim.data().join("STORE"), segment.clone()] {
        let header = if path == segment { 128 } else { 64 };
        let before = newer(&path, |bytes| crc_without_itself(&bytes[..header]));
        let word = if path == segment { name } else { "STORE" };
        refused(&shim.plain(), &shim.data(), word, &[word, "format 77", "newer version"]);
        fs::write(&path, before).unwrap();
    }
    // A snapshot store of the future is left alone, whatever else there is.
    let both = ["a-0001", "b-0001"].map(|store| shim.data().join("snapshot").join(store).join("STORE"));
    for path in &both {
        let before = newer(path, crc_without_itself);
        refused(
            &shim.plain(),
            &shim.data(),
            "STORE of a snapshot",
            &["snapshot/", "format 77", "newer version"],
        );
        fs::write(path, before).unwrap();
    }
    load.resume(&shim.plain().start(), None).unwrap();
}

/// Whoever comes second is refused, and changes nothing of what the first one does.
#[test]
fn a_second_process_is_told_who_is_there() {
    let (shim, mut load) = filled();
    let server = shim.plain().start();
    for _ in 0..3 {
        let mut second = shim.plain().spawn();
        let status = second.wait_exit(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(3), "{}", second.output());
        assert!(second.output().contains(&format!("process {}", server.child.id())), "{}", second.output());
        load.run(&server, 3, None);
    }
    drop(server);
    load.resume(&shim.plain().start(), None).unwrap();
}
