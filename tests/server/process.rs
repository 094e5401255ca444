//! claimlog as a process: its directory, its signals, its end, and what is there when it comes back.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Kind, Options, Server, Value, env_u64, now_ms, words};

/// Nothing here can be asked of Redis.
fn skipped() -> bool {
    env_u64("CLAIMLOG_SERVER_SELF", 0) == 1
}

fn data() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn a_claim_survives_kill_9() {
    if skipped() {
        return;
    }
    let dir = data();
    let options = Options::new(Kind::Claimlog).dir(dir.path());
    let mut server = options.start();
    let mut client = server.client();
    client.run("XADD jobs 1-1 n 1");
    client.run("XADD jobs 2-1 n 2");
    client.run("XGROUP CREATE jobs g 0");
    client.run("XREADGROUP GROUP g consumer1 STREAMS jobs >");
    let claimed = now_ms();
    client.run("XCLAIM jobs g consumer2 0 1-1");
    client.run("XCLAIM jobs g consumer3 0 2-1 IDLE 5000 RETRYCOUNT 7");
    let before = client.run("XINFO STREAM jobs FULL");
    for round in 0..3 {
        server.kill();
        server = options.start();
        let mut client = server.client();
        let after = client.run("XINFO STREAM jobs FULL");
        assert_eq!(after.get("entries"), before.get("entries"));
        let (after, before) = (&after.get("groups").items()[0], &before.get("groups").items()[0]);
        // Owner, delivery time and count of both rows, to the millisecond.
        assert_eq!(after.get("pending"), before.get("pending"), "round {round}");
        let rows = client.run("XPENDING jobs g - + 10");
        let row = rows.items()[0].items();
        assert_eq!(row[1].text(), "consumer2");
        assert_eq!(row[3].int(), 2);
        let idle = u64::try_from(row[2].int()).unwrap();
        assert!(idle <= now_ms() - claimed + 1 && idle + 2000 >= now_ms() - claimed, "idle {idle} counts on");
        assert_eq!(client.run("XREADGROUP GROUP g consumer1 STREAMS jobs >"), Value::NullArray);
    }
}

/// Their databases take memory, threads and descriptors only while a snapshot is taken or read.
#[cfg(target_os = "linux")]
#[test]
fn between_snapshots_the_stores_have_nothing_open() {
    if skipped() {
        return;
    }
    let dir = data();
    let server = Options::new(Kind::Claimlog).dir(dir.path()).start();
    let mut client = server.client();
    let open_files = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let paths = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        paths.filter(|path| path.components().any(|part| part.as_os_str() == "snapshot")).count()
    };
    for _ in 0..4 {
        client.run("XADD s * f v");
        assert_eq!(client.run("SAVE"), Value::Simple(b"OK".to_vec()));
        let since = Instant::now();
        while open_files() > 0 {
            assert!(since.elapsed() < Duration::from_secs(20), "{} files are open", open_files());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Vector 22 to 24: what was delivered, trimmed, created in passing.
#[test]
fn a_restart_changes_nothing() {
    if skipped() {
        return;
    }
    for ending in ["KILL", "TERM", "INT"] {
        let dir = data();
        let options = Options::new(Kind::Claimlog).dir(dir.path());
        let mut server = options.start();
        let mut client = server.client();
        for line in [
            "XADD s 1-1 a 1",
            "XADD s 2-1 a 2",
            "XADD s 3-1 a 3",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
            "XREADGROUP GROUP g c STREAMS s 0",
            "XREADGROUP GROUP g onlooker STREAMS s 0",
            "XGROUP CREATECONSUMER s g idler",
            "XTRIM s MAXLEN 1",
            "XGROUP CREATE s h $ ENTRIESREAD 3",
            "XADD t MAXLEN 0 9-9 a b",
            "XSETID t 20-1 ENTRIESADDED 12 MAXDELETEDID 15-3",
            "XADD gone 1-1 a b",
            "DEL gone",
            "SELECT 3",
            "XADD s 7-7 \"bin\\x00\\r\\n\" \"\\xff\"",
            "SELECT 0",
        ] {
            let reply = client.run(line);
            assert!(!reply.is_error(), "{line}: {reply}");
        }
        client.run("MULTI");
        client.run("XADD m 1-1 a b");
        client.run("XADD m 2-1 a b");
        client.run("EXEC");
        let look = |server: &Server| -> Vec<String> {
            let mut client = server.client();
            let see = [
                "XINFO STREAM s FULL COUNT 0",
                "XINFO STREAM t FULL COUNT 0",
                "XINFO STREAM m FULL COUNT 0",
                "XINFO GROUPS s",
                "EXISTS gone",
                "DBSIZE",
                "SELECT 3",
                "XINFO STREAM s FULL",
            ];
            see.iter().map(|line| client.run(line).to_string()).collect()
        };
        // Seen-times are the one thing that a restart may move.
        let quiet = |lines: Vec<String>| -> Vec<String> {
            lines
                .into_iter()
                .map(|line| {
                    let mut out = String::new();
                    let mut rest = line.as_str();
                    while let Some(at) = rest.find("\"seen-time\", :") {
                        let (before, after) = rest.split_at(at + 14);
                        out.push_str(before);
                        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                    }
                    out + rest
                })
                .collect()
        };
        let before = quiet(look(&server));
        if ending == "KILL" {
            server.kill();
        } else {
            server.signal(ending);
            let status = server.wait_exit(Duration::from_secs(10)).expect("a signal ends it");
            assert_eq!(status.code(), Some(0), "SIG{ending}:\n{}", server.output());
        }
        let server = options.start();
        assert_eq!(quiet(look(&server)), before, "after SIG{ending}");
        let mut client = server.client();
        assert_eq!(
            client.run("XADD t 20-1 a b").to_string().split(' ').next(),
            Some("-ERR"),
            "ids never go back"
        );
        let rows = client.run("XPENDING s g - + 10");
        assert_eq!(rows.items().len(), 2, "references outlive trimming and restarts: {rows}");
        assert_eq!(rows.items()[0].items()[3].int(), 2, "a history read counts: {rows}");
    }
}

#[test]
fn a_second_process_is_refused() {
    if skipped() {
        return;
    }
    let dir = data();
    let options = Options::new(Kind::Claimlog).dir(dir.path());
    let first = options.start();
    let mut second = options.spawn();
    let status = second.wait_exit(Duration::from_secs(10)).expect("the second one ends at once");
    assert_ne!(status.code(), Some(0));
    let output = second.output();
    assert!(
        output.contains(&first.child.id().to_string()),
        "it names the holder ({}):\n{output}",
        first.child.id()
    );
    assert!(!output.contains("panicked"), "{output}");
    assert_eq!(first.client().run("PING"), Value::Simple(b"PONG".to_vec()));
    drop(first);
    options.start();
}

#[test]
fn shutdown_ends_it() {
    if skipped() {
        return;
    }
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOW"] {
        let dir = data();
        let options = Options::new(Kind::Claimlog).dir(dir.path());
        let mut server = options.start();
        let mut client = server.client();
        client.run("XADD s 1-1 a b");
        client.send(&words(line)).unwrap();
        let status = server.wait_exit(Duration::from_secs(10)).unwrap_or_else(|| panic!("{line} ends it"));
        assert_eq!(status.code(), Some(0), "{line}");
        assert_eq!(options.start().client().run("XLEN s"), Value::Int(1));
    }
}

/// Whoever waits for an answer when SIGTERM comes gets it, or a closed connection, and nothing half.
#[test]
fn sigterm_under_load() {
    if skipped() {
        return;
    }
    let dir = data();
    let options = Options::new(Kind::Claimlog).dir(dir.path());
    let mut server = options.start();
    let port = server.port;
    let mut idle = server.client();
    let mut blocked = server.client();
    blocked.send(&words("XREAD BLOCK 0 STREAMS none $")).unwrap();
    let (answered, status) = std::thread::scope(|scope| {
        let load = scope.spawn(move || {
            let mut client = crate::common::Client::connect(port).unwrap();
            (1..).take_while(|n| client.call(&words(&format!("XADD s {n}-1 a b"))).is_ok()).count()
        });
        std::thread::sleep(Duration::from_millis(150));
        server.signal("TERM");
        let status = server.wait_exit(Duration::from_secs(10)).expect("clients that stay do not hold it up");
        (load.join().unwrap(), status)
    });
    assert_eq!(status.code(), Some(0), "{}", server.output());
    assert!(idle.is_closed_by_peer());
    let length = options.start().client().run("XLEN s").int();
    assert!(answered > 0);
    assert!(
        length == answered as i64 || length == answered as i64 + 1,
        "{answered} answered, {length} there"
    );
}

#[test]
fn sync_modes_and_waitaof() {
    if skipped() {
        return;
    }
    for mode in ["always", "everysec", "no"] {
        let dir = data();
        let options = Options::new(Kind::Claimlog).dir(dir.path()).appendfsync(mode);
        let mut server = options.start();
        let mut client = server.client();
        let shown = client.run("CONFIG GET appendfsync");
        assert_eq!(shown.get("appendfsync").text(), mode);
        client.run("XADD s 1-1 a b");
        assert_eq!(client.run("WAITAOF 1 0 1000").to_string(), "[:1, :0]", "{mode}");
        assert!(client.run("WAITAOF 2 0 10").is_error(), "only one disk can be waited for");
        assert_eq!(client.run("CONFIG SET appendfsync always"), Value::Simple(b"OK".to_vec()));
        assert!(client.run("CONFIG SET appendfsync sometimes").is_error());
        client.run("XADD s 2-1 a b");
        server.kill();
        assert_eq!(options.start().client().run("XLEN s"), Value::Int(2), "{mode}");
    }
}

/// A pipeline waits for one sync and not for a thousand.
#[test]
fn a_pipeline_waits_for_few_syncs() {
    if skipped() {
        return;
    }
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    let begin = Instant::now();
    for n in 1..=100 {
        client.run(&format!("XADD one {n}-1 a b"));
    }
    let single = begin.elapsed() / 100;
    let commands: Vec<_> = (1..=2000).map(|n| words(&format!("XADD many {n}-1 a b"))).collect();
    let begin = Instant::now();
    client.pipeline(&commands).unwrap();
    let each = begin.elapsed() / 2000;
    println!("alone {single:?}, in a pipeline {each:?} each");
    assert!(
        each * 2 < single || each < Duration::from_micros(50),
        "alone {single:?}, in a pipeline {each:?} each"
    );
}

#[test]
fn the_command_line() {
    if skipped() {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_claimlog");
    let run = |args: &[&str]| Command::new(binary).args(args).output().unwrap();
    let help = run(&["serve", "--help"]);
    assert!(help.status.success());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--port", "--dir", "--bind", "--appendfsync", "CLAIMLOG_PORT", "CLAIMLOG_DIR", "everysec"] {
        assert!(text.contains(word), "--help says nothing of {word}:\n{text}");
    }
    assert!(run(&["--version"]).status.success());
    for bad in [&["serve", "--port", "x"][..], &["serve", "--appendfsync", "sometimes"], &["nonsense"]] {
        let output = run(bad);
        assert!(!output.status.success(), "{bad:?}");
        assert!(!output.stderr.is_empty(), "{bad:?}");
    }
    // By environment, and a directory that can't be.
    let file = data();
    let path = file.path().join("file");
    std::fs::write(&path, b"x").unwrap();
    let output =
        Command::new(binary).arg("serve").env("CLAIMLOG_PORT", "0").env("CLAIMLOG_DIR", &path).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("file") && !text.contains("panicked"), "{text}");
}

/// Clients can't take the descriptors that the data needs.
#[test]
fn the_data_has_its_descriptors() {
    let options = Options::new(Kind::Claimlog).descriptors(520).with("--snapshot-log-bytes", "1m");
    let mut server = options.start();
    assert!(server.output().contains("is enough for 70 clients"), "{}", server.output());
    let mut writer = server.client();
    let idle: Vec<_> = (0..600).map(|_| std::net::TcpStream::connect(("127.0.0.1", server.port))).collect();
    assert!(idle.iter().filter(|stream| stream.is_ok()).count() > 70);
    let value = "v".repeat(100_000);
    for _ in 0..1500 {
        let reply = writer.call(&["XADD", "s", "MAXLEN", "100", "*", "f", &value]).unwrap();
        assert!(!reply.is_error(), "{reply}\n{}", server.output());
    }
    let info = writer.run("INFO persistence").text();
    assert!(info.contains("claimlog_snapshots_failed:0"), "{info}");
    assert!(server.is_alive());
}
