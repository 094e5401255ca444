//! A disk that is really full: a small tmpfs, filled and then made larger.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Options, Rng, Server, Value};

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], home.path());
        if !mounted {
            println!("SKIPPED: a small file system can't be mounted here, that needs root");
        }
        mounted.then_some(Self(home))
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], self.0.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may be on its way out.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(args).arg(at).output().is_ok_and(|output| output.status.success())
}

fn call(client: &mut Client, line: &str) -> Value {
    client.call(&line.split(' ').collect::<Vec<_>>()).unwrap()
}

/// Adds until that is refused; answers how often it was not.
fn fill(client: &mut Client, bytes: usize) -> i64 {
    let mut rng = Rng::new(bytes as u64);
    for added in 0..200_000 {
        // What a snapshot can't make smaller.
        let value: String = (0..bytes).map(|_| char::from(b'!' + rng.below(90) as u8)).collect();
        let reply = client.call(&["XADD", "s", "*", "f", &value]).unwrap();
        if reply.is_error() {
            assert!(reply.text().starts_with("MISCONF claimlog can't write to its log: no room"), "{reply}");
            assert!(reply.text().contains("No space left on device. Commands"), "{reply}");
            return added;
        }
    }
    panic!("the disk should be full by now");
}

fn what_frees_works(client: &mut Client) {
    assert!(call(client, "XADD s * f v").text().starts_with("MISCONF "));
    assert!(call(client, "SET no stream").is_error(), "and other errors are what they were");
    let first = call(client, "XRANGE s - + COUNT 1").items()[0].items()[0].text();
    assert_eq!(call(client, &format!("XDEL s {first}")).int(), 1);
    let pending = call(client, "XPENDING kept g - + 1").items()[0].items()[0].text();
    assert_eq!(call(client, &format!("XACK kept g {pending}")).int(), 1);
    // A transaction that adds is refused whole, another one is not.
    for line in ["MULTI", "XADD s * f v", "XLEN s"] {
        call(client, line);
    }
    let refused = call(client, "EXEC").text();
    assert!(
        refused.starts_with("EXECABORT Transaction discarded because of: MISCONF claimlog can't"),
        "{refused}"
    );
    let next = call(client, "XRANGE s - + COUNT 1").items()[0].items()[0].text();
    for line in ["MULTI", "XLEN s", &format!("XDEL s {next}")] {
        call(client, line);
    }
    assert_eq!(call(client, "EXEC").items()[1].int(), 1);
    assert!(call(client, "INFO persistence").text().contains("aof_last_write_status:err"));
}

#[test]
fn a_real_disk_that_is_full() {
    let Some(disk) = SmallDisk::mount("32m") else { return };
    let dir = disk.0.path().join("data");
    let options = Options::new(Kind::Claimlog).dir(&dir);
    let mut server = options.start();
    let client = &mut server.client();
    call(client, "XGROUP CREATE kept g 0 MKSTREAM");
    for _ in 0..20 {
        call(client, "XADD kept * f v");
    }
    call(client, "XREADGROUP GROUP g c STREAMS kept >");
    let began = Instant::now();
    while !dir.join("BALLAST").exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "the ballast is made");
        std::thread::sleep(Duration::from_millis(10));
    }
    fill(client, 8000);
    fill(client, 10);
    assert!(server.is_alive(), "{}", server.output());
    what_frees_works(client);
    let length = call(client, "XLEN s").int();

    // Killed and started again, it is as it was.
    server.kill();
    let mut server = options.start();
    let client = &mut server.client();
    assert_eq!(call(client, "XLEN s").int(), length, "{}", server.output());
    fill(client, 8000);
    fill(client, 10);
    what_frees_works(client);

    // Nobody does anything but make the disk larger.
    disk.resize("64m");
    let began = Instant::now();
    while call(client, "XADD s * f v").is_error() {
        assert!(began.elapsed() < Duration::from_secs(10), "writes come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(call(client, "INFO persistence").text().contains("aof_last_write_status:ok"));
    let length = call(client, "XLEN s").int();
    server.signal("TERM");
    assert!(server.wait_exit(Duration::from_secs(20)).is_some_and(|status| status.success()));
    let server = options.start();
    assert_eq!(call(&mut server.client(), "XLEN s").int(), length);
}

/// Adds until that is refused for seconds: whoever writes faster than snapshots are taken is refused for moments.
fn fill_patiently(client: &mut Client, bytes: usize) -> i64 {
    let mut added = 0;
    loop {
        let began = Instant::now();
        let more = loop {
            let more = fill(client, bytes);
            if more > 0 || began.elapsed() > Duration::from_secs(3) {
                break more;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if more == 0 {
            return added;
        }
        added += more;
    }
}

/// Waits until an entry can be added again.
fn writes_come_back(server: &Server, client: &mut Client, what: &str) {
    let began = Instant::now();
    while call(client, "XADD s * f v").is_error() {
        let info = call(client, "INFO persistence");
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {}\n{}", info.text(), server.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nearly everything is in a snapshot.
fn snapshots_come_along(server: &Server, client: &mut Client) {
    let began = Instant::now();
    loop {
        let info = call(client, "INFO persistence").text();
        let line = info.lines().find_map(|line| line.strip_prefix("claimlog_unsnapshotted_bytes:"));
        let bytes: u64 = line.unwrap().trim().parse().unwrap();
        if bytes < 1024 * 1024 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{info}\n{}", server.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Deleting makes room: the log is cut behind snapshots, for which there is room too. Again and again, with kills.
#[test]
fn deleting_makes_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount("48m") else { return };
    let dir = disk.0.path().join("data");
    let options = Options::new(Kind::Claimlog).dir(&dir).with("--snapshot-log-bytes", "1m");
    let mut server = options.start();
    let mut client = server.client();
    call(&mut client, "XADD kept * f v");
    for (round, free) in ["DEL s", "FLUSHALL", "XTRIM s MAXLEN 5", "DEL s"].into_iter().enumerate() {
        let began = Instant::now();
        let added = fill_patiently(&mut client, 4000);
        println!("{added} entries in {:?}, then full; {free}", began.elapsed());
        assert!(added > 500, "round {round}: {added}\n{}", server.output());
        if round >= 2 {
            let length = call(&mut client, "XLEN s").int();
            server.kill();
            server = options.start();
            client = server.client();
            assert_eq!(call(&mut client, "XLEN s").int(), length, "round {round}: {}", server.output());
            fill_patiently(&mut client, 4000);
        }
        let reply = call(&mut client, free);
        assert!(!reply.is_error(), "round {round}: {reply}");
        writes_come_back(&server, &mut client, free);
        // A small entry may find room where the log ends. For many the log has to be cut, and a snapshot that found no
        // room is tried again after some seconds only.
        snapshots_come_along(&server, &mut client);
    }
    println!("{}", server.output());
}

/// Writes to a file until there is no room for a byte.
fn take_all(path: &Path) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    for bytes in [1 << 16, 1 << 12, 1] {
        let zeros = vec![0; bytes];
        while file.write_all(&zeros).is_ok() {}
    }
}

/// Databases rest between snapshots, and opening one writes. Where there is no room even for that, it stays as it is.
#[test]
fn snapshots_outlive_a_disk_without_any_room() {
    let Some(disk) = SmallDisk::mount("96m") else { return };
    let dir = disk.0.path().join("data");
    let options = Options::new(Kind::Claimlog).dir(&dir).with("--snapshot-log-bytes", "8m");
    let server = options.start();
    let client = &mut server.client();
    let save = |client: &mut Client| {
        assert!(!call(client, "XADD s * f v").is_error(), "a segment has room of its own");
        call(client, "SAVE")
    };
    for _ in 0..200 {
        client.call(&["XADD", "s", "*", "f", &"v".repeat(4000)]).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(save(client).text(), "OK");
    }
    let databases = || {
        let entries = std::fs::read_dir(dir.join("snapshot")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = databases();
    let filler = disk.0.path().join("filler");
    for round in 0..6 {
        take_all(&filler);
        let saved = save(client);
        println!("round {round}: {}", saved.text());
        let info = call(client, "INFO persistence").text();
        assert!(!info.contains("rebuild"), "round {round}: {info}\n{}", server.output());
        assert_eq!(saved.is_error(), saved.text().contains("room"), "{}", saved.text());
    }
    assert!(save(client).is_error(), "by now the ballast is gone, too");
    std::fs::remove_file(&filler).unwrap();
    for _ in 0..2 {
        assert_eq!(save(client).text(), "OK");
    }
    assert_eq!(databases(), before);
}
