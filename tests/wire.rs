//! The server over the wire: claimlog's replies against those of a real redis-server 7.0, byte for byte; and what
//! has no counterpart there: exit codes, the end of the server, clients that misbehave.
#![cfg(feature = "server")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed unwrap is a failed test; what is skipped is said"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "common/mod.rs"]
mod common;

use common::{Kind, Server, server::redis_version};
use tempfile::TempDir;

/// A server of ours, killed when dropped.
struct Claimlog {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Claimlog {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_claimlog"));
        command.args(["serve", "--port", "0", "--dir"]).arg(dir.path()).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
        let port = listening.unwrap().rsplit(':').next().unwrap().parse().unwrap();
        // What it says later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, dir }
    }

    /// Waits for its end and gives the exit code.
    fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not end");
    }
}

impl Drop for Claimlog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A redis-server, if there is one of version 7.0 on this machine.
fn redis_or_say_so(what: &str) -> Option<Server> {
    let found = redis_version().is_some_and(|version| version.starts_with("7.0."));
    if !found {
        println!("SKIPPED: no redis-server 7.0 here, so {what} was not compared");
    }
    found.then(|| Server::start(Kind::Redis))
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Sends bytes with an ECHO as an end mark; gives all that comes before its reply, or until the server closes.
fn exchange(port: u16, bytes: &[u8]) -> Vec<u8> {
    const MARK: &str = "--the end--";
    let mut stream = connect(port);
    stream.write_all(&[bytes, &request(&["ECHO", MARK])].concat()).unwrap();
    let end = format!("${}\r\n{MARK}\r\n", MARK.len());
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while !received.ends_with(end.as_bytes()) {
        match stream.read(&mut chunk) {
            Ok(0) => return received,
            Ok(count) => received.extend_from_slice(&chunk[..count]),
            // Who closes after a QUIT and has not read all that was sent resets the connection.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return received,
            Err(e) => panic!("{e}"),
        }
    }
    received.truncate(received.len() - end.len());
    received
}

/// Sends bytes; gives all that comes until the server closes the connection.
fn until_closed(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(port);
    // Who closes early may not have read everything.
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    received
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", " ")
}

#[test]
fn errors_and_their_order_are_those_of_redis() {
    let Some(redis) = redis_or_say_so("errors and their order") else { return };
    let claimlog = Claimlog::start();
    for hello in ["2", "3"] {
        // Both forget the client ids that HELLO answers.
        for line in include_str!("wire/errors.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut bytes = request(&["HELLO", hello]);
            for command in line.split(';') {
                let words: Vec<&str> =
                    command.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect();
                bytes.extend(request(&words));
            }
            let answer = |port| {
                let received = exchange(port, &bytes);
                let text = String::from_utf8_lossy(&received).into_owned();
                text.split_once("modules\r\n*0\r\n").unwrap().1.to_owned()
            };
            let (ours, theirs) = (answer(claimlog.port), answer(redis.port));
            assert!(
                ours == theirs,
                "HELLO {hello}: {line}\nclaimlog: {}\nredis:    {}",
                shown(ours.as_bytes()),
                shown(theirs.as_bytes())
            );
        }
    }
}

#[test]
fn what_is_absent_is_unknown() {
    let claimlog = Claimlog::start();
    for line in [
        "DUMP s",
        "RESTORE s 0 x",
        "MIGRATE h 1 s 0 1",
        "SORT s",
        "SORT_RO s",
        "MONITOR",
        "LATENCY GRAPH x",
        "ACL DRYRUN default PING",
        "ACL SETUSER u",
        "ACL DELUSER u",
        "ACL LOAD",
        "ACL SAVE",
        "MODULE LOAD m",
        "MODULE UNLOAD m",
        "SCRIPT KILL",
        "GET s",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = shown(&exchange(claimlog.port, &request(&words)));
        assert!(reply.starts_with("-ERR unknown "), "{line}: {reply}");
    }
}

#[test]
fn what_command_says_is_what_redis_says() {
    let Some(redis) = redis_or_say_so("COMMAND INFO and DOCS") else { return };
    let claimlog = Claimlog::start();
    // Newer than 7.0, so there is nothing to compare with.
    let newer = [
        "waitaof",
        "client|kill",
        "client|no-touch",
        "client|setinfo",
        "xackdel",
        "xcfgset",
        "xdelex",
        "xidmprecord",
        "xnack",
    ];
    // Have got options since, which COMMAND DOCS describes.
    let changed = ["xadd", "xtrim", "xread", "xreadgroup", "xinfo|stream", "xinfo|consumers"];
    let listed = exchange(claimlog.port, &request(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "*"]));
    let listed = String::from_utf8(listed).unwrap();
    let names: Vec<&str> = listed
        .split("\r\n")
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    assert!(names.len() > 60, "{names:?}");
    // The order of subcommands is random in Redis: a container is compared subcommand by subcommand.
    let containers: Vec<&str> =
        names.iter().filter_map(|name| name.split_once('|')).map(|(container, _)| container).collect();
    for name in names.iter().filter(|name| !newer.contains(name) && !containers.contains(name)) {
        let also = ["DOCS"].iter().filter(|_| !changed.contains(name));
        // Since 8.10 its keys are to be asked for.
        let info = ["INFO"].iter().filter(|_| *name != "xreadgroup");
        for what in info.chain(also) {
            let bytes = request(&["COMMAND", what, name]);
            let (ours, theirs) = (exchange(claimlog.port, &bytes), exchange(redis.port, &bytes));
            assert!(
                ours == theirs,
                "{what} {name}\nclaimlog: {}\nredis:    {}",
                shown(&ours),
                shown(&theirs)
            );
        }
    }
    for container in ["XGROUP", "XINFO", "CONFIG", "COMMAND"] {
        let bytes = request(&[container, "HELP"]);
        assert_eq!(shown(&exchange(claimlog.port, &bytes)), shown(&exchange(redis.port, &bytes)));
    }
}

/// Every command that both know, with arguments that make no sense to it: the same errors, outside and inside MULTI.
#[test]
fn junk_arguments_get_the_same_answers() {
    let Some(redis) = redis_or_say_so("junk arguments") else { return };
    let claimlog = Claimlog::start();
    // They end something, answer with numbers of their own, say more than 7.0 does, or are meant to differ.
    let skipped = [
        "acl|genpass",
        "acl|help",
        "acl|log",
        "bgrewriteaof",
        "bgsave",
        "client|help",
        "client|id",
        "client|info",
        "client|kill",
        "client|list",
        "command",
        "command|count",
        "command|docs",
        "command|info",
        "command|list",
        "config|get",
        "debug",
        "failover",
        "function|help",
        "hello",
        "info",
        "lastsave",
        "latency|doctor",
        "latency|help",
        "latency|histogram",
        "lolwut",
        "memory|doctor",
        "memory|help",
        "memory|malloc-stats",
        "memory|stats",
        "module|help",
        "quit",
        "replicaof",
        "save",
        "scan",
        "script|help",
        "shutdown",
        "slaveof",
        "slowlog|get",
        "slowlog|help",
        "slowlog|len",
        "time",
        "acl|cat",
    ];
    let known = |port| -> Vec<String> {
        let listed = exchange(port, &request(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "*"]));
        let listed = String::from_utf8(listed).unwrap();
        let is_name = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        listed.split("\r\n").filter(is_name).map(str::to_owned).collect()
    };
    let theirs = known(redis.port);
    let mut compared = 0;
    for name in known(claimlog.port).iter().filter(|name| theirs.contains(name)) {
        if skipped.contains(&name.as_str()) {
            continue;
        }
        let mut bytes = Vec::new();
        for count in 0..6 {
            for junk in ["x", "0", "1-1", "-1", ""] {
                let words: Vec<&str> = name.split('|').chain(std::iter::repeat_n(junk, count)).collect();
                bytes.extend(request(&words));
                bytes.extend([request(&["MULTI"]), request(&words), request(&["EXEC"])].concat());
                bytes.extend(
                    [request(&["DISCARD"]), request(&["UNWATCH"]), request(&["SELECT", "0"])].concat(),
                );
            }
        }
        bytes.extend([request(&["CLIENT", "REPLY", "ON"]), request(&["FLUSHALL"])].concat());
        let (ours, theirs) = (exchange(claimlog.port, &bytes), exchange(redis.port, &bytes));
        let at = ours.iter().zip(&theirs).position(|(one, other)| one != other);
        let from = at.unwrap_or(0).saturating_sub(200);
        assert!(
            ours == theirs,
            "{name}\nclaimlog: {}\nredis:    {}",
            shown(&ours[from..ours.len().min(from + 400)]),
            shown(&theirs[from..theirs.len().min(from + 400)])
        );
        compared += 1;
    }
    assert!(compared > 90, "{compared}");
}

#[test]
fn hostile_bytes_get_an_error_and_a_closed_connection() {
    let claimlog = Claimlog::start();
    let port = claimlog.port;
    let huge = "x".repeat(70_000);
    for (bytes, reply) in [
        ("*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n+a\r\n", "-ERR Protocol error: expected '$', got '+'\r\n"),
        ("PING\r\nfoo \"bar\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n"),
        (&huge, "-ERR Protocol error: too big inline request\r\n"),
        ("POST / HTTP/1.1\r\n", ""),
        ("QUIT\r\nPING\r\n", "+OK\r\n"),
    ] {
        let shown_bytes = &bytes[..bytes.len().min(40)];
        assert_eq!(String::from_utf8(until_closed(port, bytes.as_bytes())).unwrap(), reply, "{shown_bytes}");
    }
    assert_eq!(exchange(port, b"PING\r\n"), b"+PONG\r\n");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let claimlog = Claimlog::start();
    let value = "v".repeat(100_000);
    exchange(claimlog.port, &request(&["XADD", "s", "1-1", "f", &value]));
    let mut deaf = connect(claimlog.port);
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let read = request(&["XRANGE", "s", "-", "+"]);
    // 500 MB of replies are asked for; the server stops reading long before that.
    for _ in 0..5000 {
        if deaf.write_all(&read).is_err() {
            break;
        }
    }
    let began = Instant::now();
    assert_eq!(exchange(claimlog.port, b"PING\r\n"), b"+PONG\r\n");
    assert!(began.elapsed() < Duration::from_secs(2));
    let list = exchange(claimlog.port, b"CLIENT LIST\r\n");
    let list = String::from_utf8(list).unwrap();
    let unsent =
        list.lines().filter_map(|line| line.split(" omem=").nth(1)?.split(' ').next()?.parse::<u64>().ok());
    assert!(unsent.max().unwrap() < 66 * 1024 * 1024, "{list}");
}

#[test]
fn the_password_is_asked_for() {
    let claimlog = Claimlog::start_with(&["--requirepass", "secret"]);
    let port = claimlog.port;
    let reply = |bytes: &[u8]| String::from_utf8(until_closed(port, &[bytes, b"QUIT\r\n"].concat())).unwrap();
    assert_eq!(reply(b"PING\r\n"), "-NOAUTH Authentication required.\r\n+OK\r\n");
    assert_eq!(
        reply(b"AUTH wrong\r\n"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n"
    );
    assert_eq!(reply(b"AUTH secret\r\nPING\r\n"), "+OK\r\n+PONG\r\n+OK\r\n");
    assert!(reply(b"HELLO 3\r\n").starts_with("-NOAUTH HELLO must be called"));
    assert!(reply(b"HELLO 3 AUTH default secret\r\n").starts_with("%7\r\n"));
    // No large requests before that.
    assert_eq!(reply(b"*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length\r\n");
}

#[test]
fn the_end_is_clean_and_answers_what_is_in_flight() {
    let claimlog = Claimlog::start();
    let mut blocked = connect(claimlog.port);
    blocked.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").unwrap();
    assert_eq!(exchange(claimlog.port, &request(&["XADD", "t", "1-1", "a", "b"])), b"$3\r\n1-1\r\n");
    let reply = until_closed(claimlog.port, b"XADD t 1-2 a b\r\nSHUTDOWN\r\n");
    assert_eq!(reply, b"$3\r\n1-2\r\n");
    assert_eq!(claimlog.exit_code(), Some(0));
}

#[test]
fn exit_codes() {
    let claimlog = Claimlog::start();
    let binary = || Command::new(env!("CARGO_BIN_EXE_claimlog"));
    let code = |command: &mut Command| command.output().unwrap().status.code();
    assert_eq!(code(binary().arg("--nonsense")), Some(2));
    assert_eq!(code(binary().args(["--port", "0", "--dir"]).arg(claimlog.dir.path())), Some(3));
    let other = TempDir::new().unwrap();
    let port = claimlog.port.to_string();
    assert_eq!(code(binary().args(["--port", &port, "--dir"]).arg(other.path())), Some(5));
    let file = other.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(code(binary().args(["--port", "0", "--dir"]).arg(&file)), Some(1));
}

#[test]
fn pipelined_writes_share_commits() {
    let claimlog = Claimlog::start();
    let commits = || {
        let info = String::from_utf8(exchange(claimlog.port, b"INFO persistence\r\n")).unwrap();
        let count = info.lines().find_map(|line| line.strip_prefix("claimlog_commits:")).unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    let before = commits();
    let writes = request(&["XADD", "s", "*", "f", "v"]).repeat(1000);
    let replies = exchange(claimlog.port, &writes);
    assert_eq!(replies.split(|byte| *byte == b'$').count(), 1001);
    let used = commits() - before;
    assert!(used < 50, "1000 pipelined writes took {used} commits");
}

#[test]
fn info_says_how_commits_are_spread() {
    let claimlog = Claimlog::start();
    exchange(claimlog.port, &request(&["XADD", "s", "*", "f", "v"]).repeat(1000));
    let info = String::from_utf8(exchange(claimlog.port, b"INFO persistence\r\n")).unwrap();
    let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    let number = |name: &str, part: &str| -> u64 {
        let found = line(name).split(',').find_map(|pair| pair.strip_prefix(part)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{name} has no {part}")).trim().parse().unwrap()
    };
    let commits: u64 = line("claimlog_commits").trim().parse().unwrap();
    for name in ["claimlog_commit_batches", "claimlog_commit_write_us", "claimlog_commit_sync_us"] {
        assert_eq!(number(name, "count"), commits, "{name}");
    }
    assert_eq!(number("claimlog_commit_wait_us", "count"), commits);
    assert!(number("claimlog_commit_batches", "max") >= 1000 / commits);
    // What waited was written and synced meanwhile.
    assert!(number("claimlog_commit_wait_us", "max") >= number("claimlog_commit_sync_us", "max"));
    assert!(number("claimlog_core_lock_ns", "count") >= 1000 / 64);
}
