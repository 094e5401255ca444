//! The rows of COMMAND: what clients and proxies decide by. Those that 7.0 has are proven against it.

use std::collections::BTreeSet;

use crate::common::{Client, Kind, Value, features::Features};
use crate::on_both;

/// One command: name, arity, flags, ACL categories, flags of its keys, first key, last key and step.
struct Row {
    name: &'static str,
    arity: i64,
    flags: &'static str,
    acl: &'static str,
    /// One list for each key spec.
    keys: &'static str,
    range: (i64, i64, i64),
    since: Since,
}

#[derive(PartialEq)]
enum Since {
    /// As in 7.0.
    Old,
    /// Not in 7.0.
    Later,
}

use Since::{Later, Old};

const WRITE_FAST: &str = "@write @stream @fast";
const WRITE_SLOW: &str = "@write @stream @slow";
const READ_SLOW: &str = "@read @stream @slow";
const KEYS_WRITE_FAST: &str = "@keyspace @write @fast";
const KEYS_READ_FAST: &str = "@keyspace @read @fast";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("xadd", -5, "write denyoom fast", WRITE_FAST, "RW update", ONE, Old),
    row("xack", -4, "write fast", WRITE_FAST, "RW update", ONE, Old),
    row("xackdel", -6, "write fast", WRITE_FAST, "RW update delete", ONE, Later),
    row("xautoclaim", -6, "write fast", WRITE_FAST, "RW delete", ONE, Old),
    row("xcfgset", -2, "write fast", WRITE_FAST, "RW update", ONE, Later),
    row("xclaim", -6, "write fast", WRITE_FAST, "RW update", ONE, Old),
    row("xdel", -3, "write fast", WRITE_FAST, "RW delete", ONE, Old),
    row("xdelex", -5, "write fast", WRITE_FAST, "RW delete", ONE, Later),
    row("xidmprecord", 5, "write fast", WRITE_FAST, "RW update", ONE, Later),
    row("xlen", 2, "readonly fast", "@read @stream @fast", "RO", ONE, Old),
    row("xnack", -7, "write fast", WRITE_FAST, "RW update", ONE, Later),
    row("xpending", -3, "readonly", READ_SLOW, "RO access", ONE, Old),
    row("xrange", -4, "readonly", READ_SLOW, "RO access", ONE, Old),
    row("xrevrange", -4, "readonly", READ_SLOW, "RO access", ONE, Old),
    row("xread", -4, "readonly blocking movablekeys", "@read @stream @slow @blocking", "RO access", NONE, Old),
    row("xreadgroup", -7, "write blocking movablekeys", "@write @stream @slow @blocking", "RO access", NONE, Old),
    row("xsetid", -3, "write denyoom fast", WRITE_FAST, "RW update", ONE, Old),
    row("xtrim", -4, "write", WRITE_SLOW, "RW delete", ONE, Old),
    row("xgroup", -2, "", "@slow", "", NONE, Old),
    row("xgroup|create", -5, "write denyoom", WRITE_SLOW, "RW insert", TWO, Old),
    row("xgroup|createconsumer", 5, "write denyoom", WRITE_SLOW, "RW insert", TWO, Old),
    row("xgroup|delconsumer", 5, "write", WRITE_SLOW, "RW delete", TWO, Old),
    row("xgroup|destroy", 4, "write", WRITE_SLOW, "RW delete", TWO, Old),
    row("xgroup|setid", -5, "write", WRITE_SLOW, "RW update", TWO, Old),
    row("xgroup|help", 2, "loading stale", "@stream @slow", "", NONE, Old),
    row("xinfo", -2, "", "@slow", "", NONE, Old),
    row("xinfo|stream", -3, "readonly", READ_SLOW, "RO access", TWO, Old),
    row("xinfo|groups", 3, "readonly", READ_SLOW, "RO access", TWO, Old),
    row("xinfo|consumers", 4, "readonly", READ_SLOW, "RO access", TWO, Old),
    row("xinfo|help", 2, "loading stale", "@stream @slow", "", NONE, Old),
    row("copy", -3, "write denyoom", "@keyspace @write @slow", "RO access, OW update", (1, 2, 1), Old),
    row("expire", -3, "write fast", KEYS_WRITE_FAST, "RW update", ONE, Old),
    row("expireat", -3, "write fast", KEYS_WRITE_FAST, "RW update", ONE, Old),
    row("pexpire", -3, "write fast", KEYS_WRITE_FAST, "RW update", ONE, Old),
    row("pexpireat", -3, "write fast", KEYS_WRITE_FAST, "RW update", ONE, Old),
    row("expiretime", 2, "readonly fast", KEYS_READ_FAST, "RO access", ONE, Old),
    row("pexpiretime", 2, "readonly fast", KEYS_READ_FAST, "RO access", ONE, Old),
    row("ttl", 2, "readonly fast", KEYS_READ_FAST, "RO access", ONE, Old),
    row("pttl", 2, "readonly fast", KEYS_READ_FAST, "RO access", ONE, Old),
    row("persist", 2, "write fast", KEYS_WRITE_FAST, "RW update", ONE, Old),
    row("rename", 3, "write", "@keyspace @write @slow", "RW access delete, OW update", (1, 2, 1), Old),
    row("renamenx", 3, "write fast", KEYS_WRITE_FAST, "RW access delete, OW insert", (1, 2, 1), Old),
    row("move", 3, "write fast", KEYS_WRITE_FAST, "RW access update", ONE, Old),
    row("swapdb", 3, "write fast", "@keyspace @write @fast @dangerous", "", NONE, Old),
    row("randomkey", 1, "readonly", "@keyspace @read @slow", "", NONE, Old),
    row("touch", -2, "readonly fast", KEYS_READ_FAST, "RO", (1, -1, 1), Old),
    row("object", -2, "", "@slow", "", NONE, Old),
    row("object|encoding", 3, "readonly", "@keyspace @read @slow", "RO", TWO, Old),
    row("object|freq", 3, "readonly", "@keyspace @read @slow", "RO", TWO, Old),
    row("object|idletime", 3, "readonly", "@keyspace @read @slow", "RO", TWO, Old),
    row("object|refcount", 3, "readonly", "@keyspace @read @slow", "RO", TWO, Old),
    row("object|help", 2, "loading stale", "@keyspace @slow", "", NONE, Old),
    row("memory|usage", -3, "readonly", "@read @slow", "RO", TWO, Old),
    row("del", -2, "write", "@keyspace @write @slow", "RM delete", (1, -1, 1), Old),
    row("unlink", -2, "write fast", KEYS_WRITE_FAST, "RM delete", (1, -1, 1), Old),
    row("exists", -2, "readonly fast", KEYS_READ_FAST, "RO", (1, -1, 1), Old),
    row("type", 2, "readonly fast", KEYS_READ_FAST, "RO", ONE, Old),
];

const NONE: (i64, i64, i64) = (0, 0, 0);
const ONE: (i64, i64, i64) = (1, 1, 1);
const TWO: (i64, i64, i64) = (2, 2, 1);

const fn row(
    name: &'static str,
    arity: i64,
    flags: &'static str,
    acl: &'static str,
    keys: &'static str,
    range: (i64, i64, i64),
    since: Since,
) -> Row {
    Row { name, arity, flags, acl, keys, range, since }
}

fn set(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.items().iter().map(Value::text).collect()
}

/// The row of a command, or of a subcommand within its container's.
fn find(client: &mut Client, name: &str) -> Option<Value> {
    let (container, sub) = name.split_once('|').unwrap_or((name, ""));
    let info = client.run(&format!("COMMAND INFO {container}")).items()[0].clone();
    if info.is_null() || sub.is_empty() {
        return Some(info).filter(|info| !info.is_null());
    }
    info.items()[9].items().iter().find(|info| info.items()[0].text() == name).cloned()
}

#[test]
fn rows_say_what_clients_rely_on() {
    on_both(|server| {
        let mut client = server.client();
        let ours = server.kind == Kind::Claimlog;
        let features = if ours { Features::ask(&mut client, &[]) } else { Features::all() };
        let mut wrong = Vec::new();
        for row in ROWS {
            let container = row.name.split('|').next().unwrap();
            if (row.since == Later && !ours) || !features.has(container) || !features.has(row.name) {
                continue;
            }
            let Some(info) = find(&mut client, row.name) else {
                wrong.push(format!("{}: not there", row.name));
                continue;
            };
            let info = info.items();
            let mut check = |what: &str, got: String, want: String| {
                if got != want {
                    wrong.push(format!("{}: {what} must be {want} and is {got}", row.name));
                }
            };
            check("arity", info[1].int().to_string(), row.arity.to_string());
            check("flags", format!("{:?}", texts(&info[2])), format!("{:?}", set(row.flags)));
            let range = (info[3].int(), info[4].int(), info[5].int());
            check("first, last and step", format!("{range:?}"), format!("{:?}", row.range));
            check("categories", format!("{:?}", texts(&info[6])), format!("{:?}", set(row.acl)));
            let want: Vec<_> = row.keys.split(", ").map(set).filter(|flags| !flags.is_empty()).collect();
            let got: Vec<_> =
                info[8].items().iter().map(|spec| without_notes(texts(spec.get("flags")))).collect();
            check("flags of keys", format!("{got:?}"), format!("{want:?}"));
        }
        assert!(wrong.is_empty(), "{:?}:\n{}", server.kind, wrong.join("\n"));
    });
}

/// `incomplete` only says that clients must ask GETKEYS.
fn without_notes(mut flags: BTreeSet<String>) -> BTreeSet<String> {
    flags.remove("incomplete");
    flags
}

/// Nothing is skipped any more once the list is empty; until then it may not name what is there.
#[test]
fn the_list_of_what_is_missing_is_true() {
    if crate::common::env_u64("CLAIMLOG_SERVER_SELF", 0) == 1 {
        return;
    }
    let server = crate::common::Server::start(Kind::Claimlog);
    let features = Features::ask(&mut server.client(), &[]);
    for name in features.missing() {
        println!("NOT YET: {name}");
    }
    assert!(features.wrong().is_empty(), "{}", features.wrong().join("\n"));
}

/// Keys of calls whose keys are not at a fixed place, and of the commands that 7.0 does not have.
#[test]
fn keys_are_found_by_parsing() {
    const CALLS: &[(&str, Result<&str, &str>)] = &[
        ("XREAD STREAMS a b 0 0", Ok("a b")),
        ("XREAD COUNT 5 BLOCK 0 STREAMS STREAMS 0", Ok("STREAMS")),
        ("XREADGROUP GROUP STREAMS STREAMS STREAMS a b > >", Ok("a b")),
        ("XREADGROUP GROUP g STREAMS COUNT 1 NOACK STREAMS a >", Ok("a")),
        ("XADD k * a b", Ok("k")),
        ("XGROUP CREATE k g 0", Ok("k")),
        ("XINFO STREAM k FULL", Ok("k")),
        ("COPY a b DB 1 REPLACE", Ok("a b")),
        ("RENAME a b", Ok("a b")),
        ("TOUCH a b c", Ok("a b c")),
        ("EXPIRE a 10 NX", Ok("a")),
        ("OBJECT ENCODING a", Ok("a")),
        ("MEMORY USAGE a SAMPLES 0", Ok("a")),
        ("MOVE a 1", Ok("a")),
        ("SWAPDB 0 1", Err("ERR The command has no key arguments")),
        ("RENAME a", Err("ERR Invalid number of arguments specified for command")),
        ("XNACK k g FAIL IDS 1 1-0", Ok("k")),
        ("XDELEX k IDS 1 1-0", Ok("k")),
        ("XACKDEL k g IDS 1 1-0", Ok("k")),
        ("XCFGSET k IDMP-MAXSIZE 5", Ok("k")),
        ("XIDMPRECORD k p i 1-0", Ok("k")),
        ("XADD k IDMP p i * a b", Ok("k")),
    ];
    on_both(|server| {
        let mut client = server.client();
        let ours = server.kind == Kind::Claimlog;
        let features = if ours { Features::ask(&mut client, &[]) } else { Features::all() };
        for (call, want) in CALLS {
            let mut words = call.split(' ').map(str::to_ascii_lowercase);
            let name = words.next().unwrap();
            let sub = format!("{name}|{}", words.next().unwrap_or_default());
            let later = ROWS.iter().any(|row| row.name == name && row.since == Later);
            if !features.has(&name) || !features.has(&sub) || (later && !ours) {
                continue;
            }
            let got = client.run(&format!("COMMAND GETKEYS {call}"));
            let want = match want {
                Ok(keys) => Value::Array(keys.split(' ').map(Value::bulk).collect()),
                Err(text) => Value::Error(text.as_bytes().to_vec()),
            };
            assert_eq!(got, want, "{:?}: {call}", server.kind);
        }
        if !ours || features.has("XREADGROUP CLAIM") {
            let call = "COMMAND GETKEYS XREADGROUP GROUP STREAMS c CLAIM 10 STREAMS a >";
            let want = Value::Array(vec![Value::bulk("a")]);
            assert!(!ours || client.run(call) == want, "{call}");
        }
    });
}
