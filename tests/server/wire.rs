//! Bytes: broken ones, huge ones, plain text, and many at once.

use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Server, Value, resp::quoted, words};
use crate::on_both;

/// What comes back for some bytes.
enum Then {
    /// These bytes, and the connection stays open.
    Open(&'static str),
    /// These bytes, and the connection is closed.
    Closed(&'static str),
    /// Nothing yet: more bytes are wanted. claimlog may also refuse by its own, lower limit, with this text.
    Waits(&'static str),
}

use Then::{Closed, Open, Waits};

const BAD_MULTIBULK: &str = "-ERR Protocol error: invalid multibulk length\r\n";
const BAD_BULK: &str = "-ERR Protocol error: invalid bulk length\r\n";
const BAD_QUOTES: &str = "-ERR Protocol error: unbalanced quotes in request\r\n";

const BYTES: &[(&str, Then)] = &[
    ("*99999999999999999999\r\n", Closed(BAD_MULTIBULK)),
    ("*2147483648\r\n", Closed(BAD_MULTIBULK)),
    ("*abc\r\n", Closed(BAD_MULTIBULK)),
    ("*\r\n", Closed(BAD_MULTIBULK)),
    ("*+1\r\n$4\r\nPING\r\n", Closed(BAD_MULTIBULK)),
    ("*01\r\n$4\r\nPING\r\n", Closed(BAD_MULTIBULK)),
    // Redis takes the number and waits for a thousand million arguments. Not a byte may be set aside for them.
    ("*1000000000\r\n", Waits(BAD_MULTIBULK)),
    ("*1\r\n$536870912\r\n", Waits(BAD_BULK)),
    ("*1\r\n$600000000\r\n", Closed(BAD_BULK)),
    ("*1\r\n$536870913\r\n", Closed(BAD_BULK)),
    ("*1\r\n$99999999999999999999\r\n", Closed(BAD_BULK)),
    ("*1\r\n$-5\r\n", Closed(BAD_BULK)),
    ("*1\r\n$-1\r\n", Closed(BAD_BULK)),
    ("*1\r\n$abc\r\n", Closed(BAD_BULK)),
    ("*1\r\n$\r\n", Closed(BAD_BULK)),
    ("*1\r\n$04\r\nPING\r\n", Closed(BAD_BULK)),
    ("*1\r\n$+4\r\nPING\r\n", Closed(BAD_BULK)),
    ("*1\r\n+PING\r\n", Closed("-ERR Protocol error: expected '$', got '+'\r\n")),
    ("*1\r\n\r\n", Closed("-ERR Protocol error: expected '$', got ' '\r\n")),
    ("PING \"abc\r\n", Closed(BAD_QUOTES)),
    ("PING \"abc\"d\r\n", Closed(BAD_QUOTES)),
    ("PING 'abc\r\n", Closed(BAD_QUOTES)),
    // Browsers that are tricked into talking to us.
    ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", Closed("")),
    ("Host: x\r\n", Closed("")),
    ("QUIT\r\nPING\r\n", Closed("+OK\r\n")),
    ("*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n", Closed("+OK\r\n")),
    ("*-1\r\n*1\r\n$4\r\nPING\r\n", Open("+PONG\r\n")),
    ("*0\r\n*1\r\n$4\r\nPING\r\n", Open("+PONG\r\n")),
    ("*-5\r\nPING\r\n", Open("+PONG\r\n")),
    ("\r\n\r\nPING\r\n", Open("+PONG\r\n")),
    ("PING\n", Open("+PONG\r\n")),
    ("  PING  \r\n", Open("+PONG\r\n")),
    ("ping \"a b\"\r\n", Open("$3\r\na b\r\n")),
    ("PING 'a\\'b'\r\n", Open("$3\r\na'b\r\n")),
    ("PING \"\\x41\\n\"\r\n", Open("$2\r\nA\n\r\n")),
    ("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", Open("$0\r\n\r\n")),
    ("*1\r\n$0\r\n\r\n", Open("-ERR unknown command '', with args beginning with: \r\n")),
    ("XADD inline 1-1 a \"b c\"\r\nXLEN inline\r\nDEL inline\r\n", Open("$3\r\n1-1\r\n:1\r\n:1\r\n")),
];

fn read_for(server: &Server, bytes: &[u8], wait: Duration) -> (Vec<u8>, bool) {
    use std::io::{ErrorKind, Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(wait)).unwrap();
    // A server that refuses early closes before it has read everything.
    let _ = stream.write_all(bytes);
    let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (got, true),
            Ok(n) => got.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return (got, true),
            Err(_) => return (got, false),
        }
    }
}

#[test]
fn broken_bytes() {
    on_both(|server| {
        let mut wrong = Vec::new();
        let mut witness = server.client();
        for (bytes, then) in BYTES {
            let fits = |got: &str, closed: bool| match then {
                Open(text) => !closed && got == *text,
                Closed(text) => closed && got == *text,
                Waits(text) => {
                    (!closed && got.is_empty()) || (server.kind == Kind::Claimlog && closed && got == *text)
                }
            };
            let try_for = |ms| {
                let (got, closed) = read_for(server, bytes.as_bytes(), Duration::from_millis(ms));
                (String::from_utf8_lossy(&got).into_owned(), closed)
            };
            let (mut got, mut closed) = try_for(80);
            if !fits(&got, closed) {
                // The machine may be busy with something else.
                (got, closed) = try_for(3000);
            }
            if !fits(&got, closed) {
                let state = if closed { "closed" } else { "open" };
                wrong.push(format!("{}: {} {state}", quoted(bytes.as_bytes()), quoted(got.as_bytes())));
            }
            assert_eq!(witness.run("PING"), Value::Simple(b"PONG".to_vec()), "others do not notice");
        }
        assert!(wrong.is_empty(), "{:?}:\n{}", server.kind, wrong.join("\n"));
    });
}

/// Lines and counts without an end; a start of a command that never goes on must not cost what it announces.
#[test]
fn endless_bytes() {
    on_both(|server| {
        let tables: [(&[u8], &str); 3] = [
            (b"", "-ERR Protocol error: too big inline request\r\n"),
            (b"*", "-ERR Protocol error: too big mbulk count string\r\n"),
            (b"*1\r\n$", "-ERR Protocol error: too big bulk count string\r\n"),
        ];
        for (start, text) in tables {
            let bytes = [start, &b"1".repeat(70_000)].concat();
            let (got, closed) = read_for(server, &bytes, Duration::from_secs(2));
            // What was sent too much may reset the connection before the reply is read.
            assert!(closed, "{text} {:?}", server.kind);
            assert!(got.is_empty() || got == text.as_bytes(), "{}", quoted(&got));
        }
        let mut hanging = Vec::new();
        for _ in 0..50 {
            let mut client = server.client();
            client.send_raw(b"*1000000\r\n$500000000\r\nabc").unwrap();
            hanging.push(client);
        }
        assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<u64> =
            resident.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse().ok());
        if server.kind == Kind::Claimlog
            && let Some(kib) = kib
        {
            assert!(kib < 400_000, "50 announcements of 500 MB cost {kib} KiB");
        }
    });
}

/// Bytes of all kinds, cut at random places: no answer matters but that there is a server afterwards.
#[test]
fn noise() {
    use crate::common::{Rng, seed};
    on_both(|server| {
        let seed = seed();
        println!("CLAIMLOG_SEED={seed}");
        let mut rng = Rng::new(seed);
        let pieces: [&[u8]; 12] = [
            b"*1\r\n",
            b"*3\r\n",
            b"$4\r\n",
            b"PING\r\n",
            b"XADD",
            b"\r\n",
            b"$-1\r\n",
            b"*",
            b"$",
            b"\0\xff",
            b" \"",
            b"9",
        ];
        for _ in 0..300 {
            let bytes: Vec<u8> = (0..rng.between(1, 12))
                .flat_map(|_| {
                    if rng.chance(20) { vec![rng.next() as u8; 3] } else { pieces[rng.index(12)].to_vec() }
                })
                .collect();
            let mut client = server.client();
            let _ = client.send_raw(&bytes);
            client.close();
        }
        assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
    });
}

#[test]
fn a_pipeline_of_a_thousand() {
    on_both(|server| {
        let mut client = server.client();
        let commands: Vec<_> = (1..=1000).map(|n| words(&format!("XADD s {n}-1 n {n}"))).collect();
        let begin = Instant::now();
        let replies = client.pipeline(&commands).unwrap();
        println!("{:?}: 1000 XADDs in one pipeline took {:?}", server.kind, begin.elapsed());
        for (n, reply) in (1..).zip(&replies) {
            assert_eq!(*reply, Value::bulk(&format!("{n}-1")));
        }
        assert_eq!(client.run("XLEN s"), Value::Int(1000));
        // Half of them again, bytewise slowly: the cuts between reads must not matter.
        let bytes = crate::common::resp::encode(&words("XADD s 2000-1 slow \"\\x00\\r\\n\\xff\""));
        for byte in &bytes {
            client.send_raw(std::slice::from_ref(byte)).unwrap();
        }
        assert_eq!(client.recv().unwrap(), Value::bulk("2000-1"));
    });
}

/// Much more than a connection may have unsent at a time, asked for in one go by a client that reads all the while.
#[test]
fn a_pipeline_of_large_replies() {
    on_both(|server| {
        let mut client = server.client();
        client.set_patience(Duration::from_secs(30));
        let value = vec![b'x'; 10_000];
        let args: [&[u8]; 5] = [b"XADD", b"s", b"1-1", b"big", &value];
        client.call(&args).unwrap();
        let replies = client.pipeline(&vec![words("XRANGE s - +"); 1000]).unwrap();
        assert_eq!(replies.len(), 1000);
        assert!(replies.iter().all(|reply| reply.items().len() == 1));
    });
}

#[test]
fn large_values() {
    on_both(|server| {
        let mut client = server.client();
        client.set_patience(Duration::from_secs(30));
        let value = vec![b'x'; 5_000_000];
        let args: [&[u8]; 5] = [b"XADD", b"s", b"1-1", b"big", &value];
        assert_eq!(client.call(&args).unwrap(), Value::bulk("1-1"));
        let reply = client.run("XRANGE s - +");
        assert_eq!(reply.items()[0].items()[1].items()[1], Value::Bulk(value));
        let many: Vec<Vec<u8>> = words("XADD s 2-1")
            .into_iter()
            .chain((0..20_000).map(|n: u32| n.to_string().into_bytes()))
            .collect();
        assert_eq!(client.call(&many).unwrap(), Value::bulk("2-1"));
        assert_eq!(client.run("XRANGE s 2 +").items()[0].items()[1].items().len(), 20_000);
    });
}

/// Each command that COMMAND lists refuses a wrong number of arguments with its own name.
#[test]
fn wrong_arity_of_every_command() {
    on_both(|server| {
        let mut client = server.client();
        let commands = client.run("COMMAND");
        let count = client.run("COMMAND COUNT").int();
        let listed = client.run("COMMAND LIST");
        assert_eq!(commands.items().len(), usize::try_from(count).unwrap());
        // The list has the subcommands too.
        assert!(commands.items().iter().all(|row| listed.items().contains(&row.items()[0])));
        if server.kind == Kind::Redis {
            return;
        }
        for row in commands.items() {
            arity(&mut client, row, None);
        }
    });
}

fn arity(client: &mut Client, row: &Value, parent: Option<&str>) {
    let row = row.items();
    let (name, arity) = (row[0].text(), row[1].int());
    assert!(row.len() >= 10, "COMMAND gives ten elements a row: {name}");
    let sub = name.rsplit('|').next().unwrap().to_owned();
    let words_of_name: Vec<String> = parent.into_iter().map(str::to_owned).chain([sub]).collect();
    let own = i64::try_from(words_of_name.len()).unwrap();
    let mut try_with = |arguments: i64| {
        let args: Vec<String> =
            words_of_name.iter().cloned().chain((own..arguments).map(|_| "x".to_owned())).collect();
        // An EXEC that is refused ends the transaction, and says so.
        let code = if name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
        let want = format!("-{code} wrong number of arguments for '{name}' command");
        let got = client.call(&args).unwrap().to_string();
        assert_eq!(got, want, "{args:?} with arity {arity}");
    };
    if arity.abs() > own {
        try_with(arity.abs() - 1);
    }
    if arity > 0 {
        try_with(arity + 1);
    }
    if let Some(Value::Array(subcommands)) = row.get(9) {
        let parent = name.clone();
        for subcommand in subcommands {
            self::arity(client, subcommand, Some(&parent));
        }
    }
}

#[test]
fn command_tables_agree() {
    on_both(|server| {
        let mut client = server.client();
        for row in client.run("COMMAND").items() {
            let name = row.items()[0].text();
            let info = client.run(&format!("COMMAND INFO {name}"));
            assert_eq!(info.items().len(), 1);
            assert_eq!(info.items()[0].items()[..2], row.items()[..2], "{name}");
            if server.kind == Kind::Claimlog {
                let docs = client.run(&format!("COMMAND DOCS {name}"));
                assert_eq!(docs.items().len(), 2, "{name}");
                assert_eq!(docs.items()[0].text(), name);
                for field in ["summary", "since", "group"] {
                    assert!(docs.items()[1].find(field).is_some(), "COMMAND DOCS {name} has no {field}");
                }
            }
        }
        let upper = client.run("COMMAND INFO XADD");
        assert_eq!(upper.items()[0].items()[0].text(), "xadd");
        for (name, arity) in [("xadd", -5), ("xlen", 2), ("xclaim", -6), ("xreadgroup", -7), ("xgroup", -2)] {
            let row = client.run(&format!("COMMAND INFO {name}"));
            assert_eq!(row.items()[0].items()[1].int(), arity, "{name}");
        }
    });
}

#[test]
fn info_and_client_list() {
    on_both(|server| {
        let mut client = server.client();
        client.run("XADD s 1-1 a b");
        let info = client.run("INFO").text();
        for field in [
            if server.kind == Kind::Claimlog { "redis_version:8.10.0" } else { "redis_version:7.0.15" },
            "redis_mode:standalone",
            "process_id:",
            "tcp_port:",
            "uptime_in_seconds:",
            "connected_clients:",
            "blocked_clients:0",
            "used_memory:",
            "loading:0",
            "role:master",
            "connected_slaves:0",
            "total_commands_processed:",
            "# Keyspace",
            "db0:keys=1,expires=0,avg_ttl=0",
        ] {
            assert!(info.contains(field), "{:?}: INFO has no {field}:\n{info}", server.kind);
        }
        for line in info.lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with("# ") || line.contains(':'), "INFO line {line:?}");
        }
        if server.kind == Kind::Claimlog {
            assert!(info.contains("claimlog_version:"), "{info}");
        }
        let one = client.run("INFO server").text();
        assert!(one.starts_with("# Server\r\n") && !one.contains("# Clients"), "{one}");
        assert_eq!(client.run("INFO nonsense").text(), "");

        client.run("CLIENT SETNAME me");
        let id = client.run("CLIENT ID").int();
        let own = client.run("CLIENT INFO").text();
        assert!(own.starts_with(&format!("id={id} addr=127.0.0.1:")) && own.contains(" name=me "), "{own}");
        assert!(own.contains(" db=0 ") && own.contains(" cmd=client|info "), "{own}");
        let mut blocked = server.client();
        blocked.send(&words("XREAD BLOCK 0 STREAMS none $")).unwrap();
        while !client.run("INFO clients").text().contains("blocked_clients:1") {}
        // A connection that was closed a moment ago may still be listed.
        let end = Instant::now() + Duration::from_secs(2);
        let mut list = client.run("CLIENT LIST").text();
        while list.lines().count() != 2 && Instant::now() < end {
            list = client.run("CLIENT LIST").text();
        }
        assert_eq!(list.lines().count(), 2, "{list}");
        assert!(list.contains(" flags=b ") && list.contains(" cmd=xread "), "{list}");
        assert_eq!(client.run(&format!("CLIENT LIST ID {id}")).text().lines().count(), 1);
    });
}
