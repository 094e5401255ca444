//! Faults of the snapshots' disk, and of sled on it: contained, told, and made good.

use std::time::Duration;

use crate::common::{Server, seed};
use crate::load::Load;
use crate::log::{fill_both, filled, wait};
use crate::shim::{self, Shim};

/// A server under load whose snapshots meet a fault: commands go on, it is told, and when it is over both places have a
/// snapshot again. Ends with a kill, and everything is there.
fn contained(rules: &str, told: &str) {
    let shim = Shim::new();
    let mut load = Load::new(2, seed(), 300);
    let options = shim.options().with("--snapshot-log-bytes", "4k").with("--snapshot-patience-ms", "1000");
    let mut server = options.start();
    fill_both(&server, &mut load);
    shim.rules(rules);
    wait(rules, &server, || {
        load.run(&server, 4, None);
        server.output().contains("no snapshot was taken") || server.output().contains("warning")
    });
    assert!(!shim.hits().is_empty(), "{rules}: not met");
    // It goes on while that lasts.
    let before = load.answered();
    load.run(&server, 10, None);
    assert_eq!(load.answered(), before + 20, "{rules}: {}", server.output());
    assert!(server.is_alive(), "{rules}: {}", server.output());
    let output = server.output();
    // After an error of its own sled may also hang, and is given up for that.
    let known = output.contains(told) || output.contains("no answer for");
    assert!(known, "{rules}: no {told:?} in:\n{output}");
    shim.rules("");
    let taken = |server: &Server, place: &str| server.output().matches(&format!("in store {place}")).count();
    let (a, b) = (taken(&server, "a"), taken(&server, "b"));
    wait(rules, &server, || {
        load.run(&server, 4, None);
        taken(&server, "a") > a && taken(&server, "b") > b
    });
    server.kill();
    let server = shim.plain().start();
    load.resume(&server, None).unwrap_or_else(|why| panic!("{rules}: {why}"));
    let output = server.output();
    assert!(output.contains("snapshot a-") || output.contains("snapshot b-"), "{rules}: {output}");
}

/// One after the other takes long, and most of it is waiting.
fn all_contained(cases: &[(&str, &str)]) {
    if shim::skipped() {
        return;
    }
    std::thread::scope(|scope| {
        for (rules, told) in cases {
            scope.spawn(move || contained(rules, told));
        }
    });
}

#[test]
fn the_snapshots_disk_is_full_and_the_logs_is_not() {
    all_contained(&[
        (
            "write snapshot/ 1 * ENOSPC\ncreate snapshot/ 1 * ENOSPC\nmkdir snapshot/ 1 * ENOSPC\n",
            "No space left",
        ),
        ("write snapshot/ 1 * EDQUOT\ncreate snapshot/ 1 * EDQUOT\nmkdir snapshot/ 1 * EDQUOT\n", "quota"),
    ]);
}

#[test]
fn sled_can_not_write() {
    all_contained(&[
        ("write snapshot/a-0001/ 1 1 EIO\n", "store a"),
        ("write snapshot/ 3 * EIO\n", "Input/output error"),
        ("create snapshot/ 1 * EIO\nsync snapshot/ 2 * EIO\n", "Input/output error"),
        ("write FLUSHED 1 1 EIO\n", "FLUSHED"),
    ]);
}

#[test]
fn sled_can_not_sync() {
    all_contained(&[
        ("sync snapshot/ 1 1 EIO\n", "Input/output error"),
        ("sync snapshot/ 1 * EIO\n", "Input/output error"),
        ("syncdir snapshot/ 1 * EIO\n", "Input/output error"),
        ("syncdir snapshot 4 1 EIO\n", "Input/output error"),
    ]);
}

#[test]
fn sled_can_not_read() {
    all_contained(&[
        ("read snapshot/a-0001/ 1 * EIO\n", "store a"),
        ("open snapshot/ 1 * EIO\n", "Input/output error"),
        ("open snapshot/ 1 * EMFILE\n", "Too many open files"),
        ("flock snapshot/ 1 * ENOLCK\n", "No locks available"),
    ]);
}

#[test]
fn sled_hangs() {
    all_contained(&[
        ("sync snapshot/ 3 * hang\n", "no answer for"),
        ("write snapshot/ 3 * hang\n", "no answer for"),
        ("open snapshot/ 3 * hang\n", "no answer for"),
        ("read snapshot/ 1 * hang\n", "no answer for"),
    ]);
}

/// A place that hangs holds up neither a start nor an end.
#[test]
fn sled_hangs_when_it_is_opened() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let options = shim.options().with("--snapshot-log-bytes", "4k");
    // With all the patience there is: a machine that is busy must not give one of the two up here.
    let mut load = filled(&options);
    let options = options.with("--snapshot-patience-ms", "100");
    for rules in
        ["open snapshot/a-0001 3 * hang\n", "read snapshot/b 1 * hang\n", "flock snapshot/a 1 * hang\n"]
    {
        shim.rules(rules);
        let mut server = options.start();
        assert!(server.output().contains("no answer for"), "{rules}: {}", server.output());
        load.resume(&server, None).unwrap_or_else(|why| panic!("{rules}: {why}"));
        load.run(&server, 3, None);
        server.signal("TERM");
        let status = server.wait_exit(Duration::from_secs(20));
        assert!(status.is_some_and(|status| status.success()), "{rules}: {}", server.output());
        assert!(!shim.hits().is_empty());
    }
}

/// What sled reads is not what was written: the other store, or a refusal, never something else.
#[test]
fn sled_reads_other_bytes() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let options = shim.options().with("--snapshot-log-bytes", "4k");
    let load = filled(&options);
    let mut met = 0;
    for (place, part) in [
        ("a-0001", "metadata"),
        ("b-0001", "metadata"),
        ("a-0001", "slabs"),
        ("b-0001", "slabs"),
        ("a-0001", "STORE"),
    ] {
        for at in [0, 200, 3000] {
            let home = Shim::new();
            crate::copy_tree(&shim.disk(), &home.disk());
            let rules = format!("read snapshot/{place}/{part} 1 * flip {at}\n");
            home.rules(&rules);
            let server = home.options().start();
            load.check(&server, &load.all_answered()).unwrap_or_else(|why| panic!("{rules}: {why}"));
            met += usize::from(server.output().contains("warning"));
            assert!(!server.output().contains("panicked at src"), "{rules}: {}", server.output());
        }
    }
    assert!(met >= 3, "noticed {met} times");
}
