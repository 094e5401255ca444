//! Rot on the real disk, in the log and in a sled database, while the server runs: it is found by the background, shown,
//! healed, and no restart stumbles over it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::server::Options;
use crate::common::{Client, Kind, Server};

/// Generous: the machine may be busy, and an opening of sled waits for all that others have written.
const PATIENCE: Duration = Duration::from_secs(120);

fn info(client: &mut Client, name: &str) -> String {
    let text = client.run("INFO persistence").text();
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("claimlog_{name}:")));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

fn number(client: &mut Client, name: &str) -> u64 {
    info(client, name).parse().unwrap()
}

fn wait(server: &Server, client: &mut Client, what: &str, is: impl Fn(&mut Client) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is(client) {
        let text = client.run("INFO persistence").text();
        assert!(Instant::now() < end, "waiting for {what}:\n{text}\n{}", server.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn healed(server: &Server, client: &mut Client, findings: u64) {
    wait(server, client, "finding", |client| number(client, "verify_findings") >= findings);
    wait(server, client, "healing", |client| number(client, "verify_unhealed") == 0);
    assert_eq!(number(client, "verify_findings"), findings, "{}", server.output());
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn rot(path: &Path, places: impl Iterator<Item = usize>) {
    use std::os::unix::fs::FileExt;
    let bytes = fs::read(path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for at in places.take_while(|at| *at < bytes.len()) {
        file.write_all_at(&[bytes[at] ^ 0x10], at as u64).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn rot_while_the_server_runs_is_found_and_healed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = Options::new(Kind::Claimlog).dir(dir.path()).with("--verify-bytes-per-second", "64mb");
    let options = options.with("--snapshot-log-bytes", "1gb");
    let mut server = options.start();
    let mut client = server.client();
    let add = |client: &mut Client, count: u32| {
        for n in 0..count {
            // What is not compressed away, so that it fills some files.
            let noise: String = (0..40_u64)
                .map(|at| format!("{:x}", (u64::from(n) + at).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
                .collect();
            client.run(&format!("XADD s{} * field {noise}", n % 5));
        }
    };
    client.run("XGROUP CREATE s0 g $ MKSTREAM");
    add(&mut client, 1000);
    client.run("XREADGROUP GROUP g c COUNT 10 STREAMS s0 >");
    for _ in 0..2 {
        assert!(!client.run("SAVE").is_error());
        add(&mut client, 10);
    }
    assert_eq!(client.run("CONFIG GET verify-bytes-per-second").items()[1].text(), "67108864");
    assert_eq!((number(&mut client, "verify_rounds"), number(&mut client, "verify_findings")), (0, 0));

    // Rounds without a break: nothing is wrong, and all of it is read.
    client.run("CONFIG SET verify-interval 0");
    wait(&server, &mut client, "a round", |client| number(client, "verify_rounds") >= 2);
    assert!(number(&mut client, "verify_bytes") > 1_000_000);
    assert_eq!(number(&mut client, "verify_findings"), 0, "{}", server.output());

    // The log, in the segment that is written to.
    let digest = client.run("DEBUG DIGEST");
    let segment =
        files(&dir.path().join("log")).into_iter().find(|path| fs::read(path).unwrap()[512] != 0).unwrap();
    rot(&segment, std::iter::once(512 + 48 + 20));
    healed(&server, &mut client, 1);
    let finding = info(&mut client, "verify_last_finding");
    assert!(
        finding.starts_with(segment.to_str().unwrap()) && finding.contains("offset 512, batch 1"),
        "{finding}"
    );
    assert!(!segment.exists());
    assert!(server.output().contains("damage on the disk: "), "{}", server.output());
    assert!(server.output().contains("no harm any more"), "{}", server.output());

    // A store: its largest file, all over.
    let slabs = files(&dir.path().join("snapshot/a-0001/slabs"));
    let largest = slabs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    rot(largest, (100..).step_by(997));
    healed(&server, &mut client, 2);
    assert!(info(&mut client, "verify_last_finding").starts_with("snapshot store a-0001: "));
    wait(&server, &mut client, "the new one", |client| {
        info(client, "snapshot_store_a").ends_with("status=ok")
    });
    assert!(dir.path().join("snapshot/a-0002").exists());

    // The file that says which store it is.
    rot(&dir.path().join("STORE"), std::iter::once(20));
    healed(&server, &mut client, 3);

    // Off is off.
    client.run("CONFIG SET verify-bytes-per-second 0");
    assert_eq!(client.run("DEBUG DIGEST"), digest);
    server.kill();
    let server = options.start();
    let mut client = server.client();
    assert_eq!(client.run("DEBUG DIGEST"), digest);
    assert_eq!(client.run("XPENDING s0 g").items()[0].int(), 10);
    assert!(!server.output().contains("warning"), "{}", server.output());
}
