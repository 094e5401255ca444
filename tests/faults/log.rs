//! Faults of the log's disk.

use std::time::{Duration, Instant};

use crate::common::{Client, Options, Server, Value, seed};
use crate::load::Load;
use crate::shim::{self, Shim};

const PATIENCE: Duration = Duration::from_secs(30);
/// The segment that a first start writes to.
const SEGMENT: &str = "log/0000000001.seg";

/// Until something is true.
pub(crate) fn wait(what: &str, server: &Server, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}:\n{}", server.output());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Commands until both places have a snapshot.
pub(crate) fn fill_both(server: &Server, load: &mut Load) {
    wait("snapshots in both places", server, || {
        load.run(server, 10, None);
        let output = server.output();
        output.contains("in store a") && output.contains("in store b")
    });
}

/// Data with a snapshot in both places, whose server was killed.
pub(crate) fn filled(options: &Options) -> Load {
    let mut load = Load::new(2, seed(), 300);
    let server = options.start();
    fill_both(&server, &mut load);
    load
}

/// Waits until a snapshot was taken just now.
pub(crate) fn save(server: &Server, client: &mut Client) {
    // One that is under way is not this one.
    wait("a snapshot", server, || match client.run("SAVE") {
        Value::Simple(_) => true,
        reply => {
            assert!(reply.text().contains("in progress"), "{reply}: {}", server.output());
            false
        }
    });
}

/// I8: the log fails under load, the server ends with 4, and what was answered is there afterwards.
fn ends_and_recovers(rules: &str, hits: usize) {
    let shim = Shim::new();
    let mut load = Load::new(3, seed(), 300);
    let mut server = shim.options().start();
    load.run(&server, 10, None);
    shim.rules(rules);
    load.run(&server, 200, None);
    let status =
        server.wait_exit(PATIENCE).unwrap_or_else(|| panic!("{rules}: it goes on\n{}", server.output()));
    let output = server.output();
    assert_eq!(status.code(), Some(4), "{rules}: {output}");
    assert!(
        output.contains(SEGMENT) && output.contains("start again: what was acknowledged"),
        "{rules}: {output}"
    );
    assert!(!output.contains("panicked"), "{rules}: {output}");
    assert_eq!(shim.hits().len(), hits, "{rules}: {:?}", shim.hits());
    shim.rules("");
    for _ in 0..2 {
        let server = shim.options().start();
        load.resume(&server, None).unwrap_or_else(|why| panic!("{rules}: {why}\n{}", server.output()));
        load.run(&server, 5, None);
    }
}

/// Once and always: it is not tried again, so once is enough.
#[test]
fn a_failed_sync_of_the_log_is_the_end() {
    if shim::skipped() {
        return;
    }
    ends_and_recovers(&format!("sync {SEGMENT} 5 1 EIO\n"), 1);
    ends_and_recovers(&format!("sync {SEGMENT} 5 * EIO\n"), 1);
    ends_and_recovers(&format!("sync {SEGMENT} 1 * ENOSPC\n"), 1);
}

/// So many commands in one go are committed by the engine's thread, not by the server's.
const LARGE_GROUP: usize = 300;

/// The server goes on while a large group is synced, and none of its replies leave before that.
#[test]
fn a_large_group_waits_for_its_sync_and_nobody_else_does() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let server = shim.options().start();
    let (mut many, mut other) = (server.client(), server.client());
    shim.rules(&format!("sync {SEGMENT} 1 1 hang\n"));
    many.send_raw("XADD s * f v\r\n".repeat(LARGE_GROUP).as_bytes()).unwrap();
    wait("the sync", &server, || !shim.hits().is_empty());
    assert_eq!(other.run("PING").text(), "PONG");
    assert_eq!(many.try_recv(Duration::from_millis(200)).unwrap(), None);
    shim.rules("");
    for _ in 0..LARGE_GROUP {
        let reply = many.recv().unwrap();
        assert!(!reply.is_error(), "{reply}");
    }
    assert_eq!(other.run("XLEN s").int(), LARGE_GROUP as i64);
}

#[test]
fn a_large_group_whose_sync_fails_is_not_answered() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let mut server = shim.options().start();
    let mut many = server.client();
    shim.rules(&format!("sync {SEGMENT} 1 1 EIO\n"));
    many.send_raw("XADD s * f v\r\n".repeat(LARGE_GROUP).as_bytes()).unwrap();
    let reply = many.recv().unwrap();
    assert!(reply.text().starts_with("MISCONF"), "{reply}");
    assert!(many.recv().is_err(), "one error for all, and the end");
    let status = server.wait_exit(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(4), "{}", server.output());
}

#[test]
fn a_failed_write_to_the_log_is_the_end() {
    if shim::skipped() {
        return;
    }
    ends_and_recovers(&format!("write {SEGMENT} 5 1 EIO\n"), 1);
    ends_and_recovers(&format!("write {SEGMENT} 3 * ENOSPC\n"), 1);
    // Half of it is there, and the other half is not.
    ends_and_recovers(&format!("write {SEGMENT} 5 1 short 512\nwrite {SEGMENT} 6 1 EIO\n"), 2);
    ends_and_recovers(&format!("write {SEGMENT} 5 1 short 0\n"), 1);
}

/// What is no failure: interrupted calls, and writes that need several.
#[test]
fn short_and_interrupted_calls_are_made_again() {
    if shim::skipped() {
        return;
    }
    let rules = [
        format!("write {SEGMENT} 1 * short 100\n"),
        format!("write {SEGMENT} 2 3 EINTR\n"),
        format!("sync {SEGMENT} 2 3 EINTR\n"),
        "read log/ 1 * short 1000\n".to_owned(),
        "read log/ 1 3 EINTR\nread log/ 5 3 EINTR\n".to_owned(),
        "read snapshot/ 1 3 EINTR\nread snapshot/ 5 * short 7\n".to_owned(),
        "write snapshot/ 1 3 EINTR\nwrite snapshot/ 5 * short 7\n".to_owned(),
        "open * 3 2 EINTR\n".to_owned(),
    ];
    let shim = Shim::new();
    let mut load = Load::new(2, seed(), 300);
    for rules in rules {
        let options = shim.options().with("--snapshot-log-bytes", "2k");
        drop(options.start());
        shim.rules(&rules);
        let server = options.start();
        load.resume(&server, None).unwrap_or_else(|why| panic!("{rules}: {why}\n{}", server.output()));
        load.run(&server, 15, None);
        save(&server, &mut server.client());
        assert!(!server.output().contains("warning"), "{rules}: {}", server.output());
        assert!(!shim.hits().is_empty() || rules.contains("seg"), "{rules}: not met");
        shim.rules("");
        drop(server);
        load.resume(&shim.plain().start(), None).unwrap();
    }
}

/// Fills what there is of the log; whatever was answered is counted.
fn fill(client: &mut Client, server: &Server, bytes: usize) -> i64 {
    let value = "x".repeat(bytes);
    for added in 0..20_000 {
        let reply = client
            .call(&["XADD", "full", "*", "f", &value])
            .unwrap_or_else(|e| panic!("{e}: {}", server.output()));
        if reply.is_error() {
            assert!(reply.text().starts_with("MISCONF "), "{reply}");
            return added;
        }
    }
    panic!("it should be full by now: {}", server.output());
}

/// No room for a segment, while the snapshots' disk has plenty: what adds is refused, the rest goes on.
#[test]
fn the_logs_disk_is_full_and_the_snapshots_is_not() {
    if shim::skipped() {
        return;
    }
    for errno in ["ENOSPC", "EDQUOT"] {
        let shim = Shim::new();
        // A segment that is made has another name until it is done.
        shim.rules(&format!("write log/0000000002.tmp 1 * {errno}\n"));
        let options = shim.options().with("--snapshot-log-bytes", "64k");
        let server = options.start();
        let mut client = server.client();
        client.run("XGROUP CREATE full g 0 MKSTREAM");
        let added = fill(&mut client, &server, 100_000);
        fill(&mut client, &server, 3_000);
        fill(&mut client, &server, 10);
        assert!(added > 5, "{added}");
        let id = client.run("XRANGE full - + COUNT 1").items()[0].items()[0].text();
        assert_eq!(client.run(&format!("XDEL full {id}")).int(), 1);
        save(&server, &mut client);
        // It is tried all the time, and not told while it is.
        wait("it is told", &server, || {
            client.run("INFO persistence").text().contains("aof_last_write_status:err")
        });
        assert!(!shim.hits().is_empty());
        shim.rules("");
        wait("writes come back", &server, || !client.run("XADD full * f v").is_error());
        let length = client.run("XLEN full");
        drop(server);
        let server = options.start();
        assert_eq!(server.client().run("XLEN full"), length);
        assert!(!server.output().contains("warning"), "{}", server.output());
    }
}

/// The next segment's name, or its file, can't be had while there is load: full, or the end, and nothing is lost.
#[test]
fn a_segment_that_can_not_be_made() {
    if shim::skipped() {
        return;
    }
    for rule in [
        "create log/ 1 * EMFILE",
        "create log/ 1 * EIO",
        "sync .tmp 1 * EIO",
        "rename log/ 1 * EIO",
        "syncdir log 1 * EIO",
        "syncdir log 1 1 EIO",
    ] {
        let shim = Shim::new();
        let mut server = shim.options().start();
        let mut client = server.client();
        wait("a spare", &server, || shim.data().join("log/0000000002.seg").exists());
        shim.rules(&format!("{rule}\n"));
        let value = "x".repeat(1_000_000);
        let mut answered = 0;
        // What there is holds some 68 MB.
        for _ in 0..90 {
            match client.call(&["XADD", "s", "MAXLEN", "3", "*", "f", &value]) {
                Ok(Value::Bulk(_)) => answered += 1,
                Ok(reply) => assert!(reply.is_error(), "{reply}"),
                Err(_) => break,
            }
        }
        assert!(!shim.hits().is_empty(), "{rule}: not met");
        let output = server.output();
        assert!(!output.contains("panicked"), "{rule}: {output}");
        // A name that may or may not be durable is the end; all else is a lack of room, for as long as it lasts.
        if rule.starts_with("syncdir") || rule.starts_with("rename") {
            let status = server.wait_exit(PATIENCE).unwrap_or_else(|| panic!("{rule}: {output}"));
            let output = server.output();
            assert_eq!(status.code(), Some(4), "{rule}: {output}");
            assert!(output.contains("naming a new segment in /"), "{rule}: {output}");
        } else {
            assert!(client.run("XLEN s").int() > 0, "{rule}: {output}");
            shim.rules("");
            wait("writes come back", &server, || !client.run("XADD s * f v").is_error());
            answered += 1;
        }
        shim.rules("");
        drop(server);
        let server = shim.plain().start();
        let added = server.client().run("XINFO STREAM s").get("entries-added").int();
        assert!(
            added == answered || added == answered + 1,
            "{rule}: {added} of {answered}\n{}",
            server.output()
        );
    }
}
