//! Readers whose waiting another client ends: what comes after that does not go to them, however soon it comes.

use std::time::{Duration, Instant};

use crate::common::{Client, Server, Value, words};

/// A reader of the group `g` that waits for the stream `s`, and its id.
fn reader(server: &Server, control: &mut Client) -> (Client, i64) {
    let mut reader = server.client();
    let id = reader.run("CLIENT ID").int();
    reader.send(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !control.run("INFO clients").text().contains("blocked_clients:1\r\n") {
        assert!(Instant::now() < end, "it does not wait");
    }
    (reader, id)
}

/// What one pipeline gets (`#` is the reader's id), what the reader sees, and how many entries are pending.
fn ended_by(pipeline: &str, replies: &str, seen: &str, pending: i64) {
    crate::on_both(|server| {
        let mut control = server.client();
        control.run("XGROUP CREATE s g 0 MKSTREAM");
        let (mut reader, id) = reader(server, &mut control);
        let lines: Vec<_> =
            pipeline.split(" | ").map(|line| words(&line.replace('#', &id.to_string()))).collect();
        let plain = |reply: &Value| reply.to_string().replace('"', "");
        let got: Vec<String> = control.pipeline(&lines).unwrap().iter().map(plain).collect();
        let what = format!("{:?}: {pipeline}", server.kind);
        assert_eq!(got.join(" "), replies, "{what}");
        let sees = reader.recv().map_or_else(|_| "closed".to_owned(), |reply| plain(&reply));
        assert_eq!(sees, seen, "{what}");
        assert_eq!(control.run("XPENDING s g").items()[0].int(), pending, "{what}");
    });
}

const NOTHING: &str = "*-1";
const ENTRY: &str = "[[s, [[1-1, [a, b]]]]]";
const UNBLOCKED: &str = "-UNBLOCKED client unblocked via CLIENT UNBLOCK";

#[test]
fn who_was_killed_gets_nothing_any_more() {
    ended_by("CLIENT KILL ID # | XADD s 1-1 a b", ":1 1-1", "closed", 0);
    ended_by(
        "MULTI | CLIENT KILL ID # | XADD s 1-1 a b | EXEC",
        "+OK +QUEUED +QUEUED [:1, 1-1]",
        "closed",
        0,
    );
    ended_by(
        "MULTI | XADD s 1-1 a b | CLIENT KILL ID # | EXEC",
        "+OK +QUEUED +QUEUED [1-1, :1]",
        "closed",
        0,
    );
    ended_by("CLIENT KILL ID # | CLIENT KILL ID #", ":1 :0", "closed", 0);
    ended_by("CLIENT KILL ID # | CLIENT LIST ID #", ":1 ", "closed", 0);
}

#[test]
fn who_was_unblocked_gets_nothing_any_more() {
    ended_by("CLIENT UNBLOCK # ERROR | XADD s 1-1 a b", ":1 1-1", UNBLOCKED, 0);
    ended_by("CLIENT UNBLOCK # | XADD s 1-1 a b", ":1 1-1", NOTHING, 0);
    ended_by("CLIENT UNBLOCK # | CLIENT UNBLOCK # ERROR", ":1 :0", NOTHING, 0);
    ended_by("XADD s 1-1 a b | CLIENT UNBLOCK # ERROR", "1-1 :0", ENTRY, 1);
    let queued = "+OK +QUEUED +QUEUED";
    ended_by(
        "MULTI | XADD s 1-1 a b | CLIENT UNBLOCK # ERROR | EXEC",
        &format!("{queued} [1-1, :1]"),
        UNBLOCKED,
        0,
    );
    ended_by("MULTI | CLIENT UNBLOCK # | XADD s 1-1 a b | EXEC", &format!("{queued} [:1, 1-1]"), NOTHING, 0);
}
