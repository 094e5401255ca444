//! Limits (I10): memory, what clients do not read, what they send, and what one command may do.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::resp::encode;
use crate::common::{Client, Kind, Options, Server, Value};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn info(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.run(&format!("INFO {section}")).text();
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "it did not come to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Adds entries of a kilobyte until one is refused; gives their ids.
fn fill(client: &mut Client, key: &str) -> Vec<String> {
    let value = "v".repeat(1000);
    let mut ids = Vec::new();
    loop {
        let reply = client.call(&["XADD", key, "*", "f", &value]).unwrap();
        if reply.is_error() {
            assert_eq!(reply.text(), OOM);
            return ids;
        }
        ids.push(reply.text());
        assert!(ids.len() < 100_000, "nothing is ever refused");
    }
}

/// Filled, refused, worked off, and it goes on; also after a restart above the limit, and for every command that Redis
/// refuses then.
#[test]
fn a_full_memory_refuses_what_adds_until_something_is_deleted() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = Options::new(Kind::Claimlog).dir(&folder.path().join("data")).with("--maxmemory", "2mb");
    let mut server = options.start();
    let mut client = server.client();
    assert_eq!(client.run("XGROUP CREATE jobs g 0 MKSTREAM"), ok());
    let ids = fill(&mut client, "jobs");
    assert!((1500..2500).contains(&ids.len()), "2 MiB are {} entries of a kilobyte", ids.len());
    assert_eq!(info(&mut client, "memory", "maxmemory"), 2 << 20);
    let data = info(&mut client, "memory", "used_memory_dataset");
    let counted =
        info(&mut client, "memory", "used_memory") - info(&mut client, "memory", "mem_not_counted_for_evict");
    assert!(
        data > 2 << 20 && data < (2 << 20) + 100_000 && counted.abs_diff(data) < 10_000,
        "{data} {counted}"
    );

    for row in client.run("COMMAND").items() {
        let (name, arity, flags) = (row.items()[0].text(), row.items()[1].int(), row.items()[2].to_string());
        let subcommands = row.items()[9].items().iter().map(|one| (one.items()[0].text(), one));
        let denied = |flags: &str| flags.contains("denyoom");
        for (name, one) in subcommands.filter(|(_, one)| denied(&one.items()[2].to_string())) {
            let words = name.split('|').map(str::to_owned);
            let arity = usize::try_from(one.items()[1].int().abs()).unwrap();
            let words: Vec<String> = words.chain(std::iter::repeat_n("x".into(), arity - 2)).collect();
            assert_eq!(client.call(&words).unwrap().text(), OOM, "{words:?}");
        }
        if denied(&flags) {
            let more = usize::try_from(arity.abs() - 1).unwrap();
            let words: Vec<String> =
                std::iter::once(name).chain(std::iter::repeat_n("x".into(), more)).collect();
            assert_eq!(client.call(&words).unwrap().text(), OOM, "{words:?}");
        }
    }

    // It opens above the limit, and has everything.
    server.kill();
    let server = options.start();
    let mut client = server.client();
    assert_eq!(client.run("XLEN jobs").int(), ids.len() as i64);
    assert_eq!(client.run("XADD jobs * f v").text(), OOM);
    let again = info(&mut client, "memory", "used_memory_dataset");
    assert_eq!(again, data, "what data take does not depend on how they came");

    // A full queue is worked off: delivered, acknowledged, deleted.
    let mut done = 0;
    while done < 200 {
        let got = client.run("XREADGROUP GROUP g worker COUNT 50 STREAMS jobs >");
        let entries = got.items()[0].items()[1].items();
        for entry in entries {
            let id = entry.items()[0].text();
            assert_eq!(client.run(&format!("XACK jobs g {id}")).int(), 1);
            assert_eq!(client.run(&format!("XDEL jobs {id}")).int(), 1);
            done += 1;
        }
    }
    let more = fill(&mut client, "jobs").len();
    assert!((100..=220).contains(&more), "{more} entries after {done} were deleted");
    // And what is trimmed, or goes with its key, counts at once.
    assert!(client.run("XTRIM jobs MAXLEN 1000").int() > 500);
    assert!(fill(&mut client, "other").len() > 500);
    assert_eq!(client.run("DEL other").int(), 1);
    assert_ne!(client.run("XADD jobs * f v").text(), OOM);
    assert_eq!(client.run("FLUSHALL"), ok());
    let empty = info(&mut client, "memory", "used_memory_dataset");
    assert!(empty < 50_000, "{empty} bytes of nothing");
    // The limit can be lifted while it runs, and is kept.
    assert_eq!(client.run("CONFIG SET maxmemory 1"), ok());
    assert_eq!(client.run("XADD jobs * f v").text(), OOM);
    assert_eq!(client.run("CONFIG SET maxmemory 0"), ok());
    assert!(!client.run("XADD jobs * f v").is_error());
    assert!(client.run("DEBUG RELOAD") == ok() && client.run("XLEN jobs").int() == 1);
}

/// What the count says is near what the process takes: it is no use otherwise.
#[test]
fn what_data_take_is_about_what_the_process_takes() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    let resident = |client: &mut Client| info(client, "memory", "used_memory_rss");
    let data = |client: &mut Client| info(client, "memory", "used_memory_dataset");
    let (resident_before, data_before) = (resident(&mut client), data(&mut client));
    client.run("XGROUP CREATE s g 0 MKSTREAM");
    for _ in 0..40 {
        let add = encode(&["XADD", "s", "*", "name", "a value of forty bytes, more or less......"]);
        client.send_raw(&add.repeat(5000)).unwrap();
        for _ in 0..5000 {
            client.recv().unwrap();
        }
    }
    for _ in 0..200 {
        client.call(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "1000", "STREAMS", "s", ">"]).unwrap();
    }
    let grown = resident(&mut client) - resident_before;
    let counted = data(&mut client) - data_before;
    println!("200,000 pending entries: {counted} bytes counted, {grown} bytes more resident");
    // Buffers of the log and of the connection are in the latter.
    assert!(counted > grown / 5 && counted < grown * 2, "{counted} counted, {grown} more resident");
}

#[test]
fn a_client_over_its_output_limit_is_dropped() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    for at in 1..=40 {
        client.call(&["XADD", "s", &format!("1-{at}"), "f", &"v".repeat(100_000)]).unwrap();
    }
    assert_eq!(client.run("CONFIG SET client-output-buffer-limit 'normal 3mb 0 0'"), ok());
    // At once, and nothing of the reply is sent: 4 MB are more than it may be owed.
    let mut greedy = server.client();
    greedy.send(&["XRANGE", "s", "-", "+"]).unwrap();
    assert!(greedy.is_closed_by_peer());
    assert_eq!(info(&mut client, "stats", "client_output_buffer_limit_disconnections"), 1);
    // Less is sent.
    let mut modest = server.client();
    assert_eq!(modest.run("XRANGE s - + COUNT 20").items().len(), 20);

    // What a reader that waited gets counts as well.
    let mut waiting = server.client();
    waiting.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "w", "0", "$"]).unwrap();
    assert!(waiting.is_closed_by_peer());

    // The soft limit: only for so long.
    assert_eq!(client.run("CONFIG SET client-output-buffer-limit 'normal 0 100k 1'"), ok());
    let mut slow = server.client();
    // More than the buffers of both sockets take, whatever these are.
    for _ in 0..10 {
        slow.send(&["XRANGE", "s", "-", "+"]).unwrap();
    }
    let before = info(&mut client, "stats", "client_output_buffer_limit_disconnections");
    until("a client at its soft limit is dropped", || {
        info(&mut client, "stats", "client_output_buffer_limit_disconnections") > before
    });
    // Who reads is not at the limit for long, however much it is in all.
    let mut reader = server.client();
    for _ in 0..20 {
        assert_eq!(reader.run("XRANGE s - +").items().len(), 40);
    }
    assert_eq!(client.run("CONFIG SET client-output-buffer-limit 'normal 0 0 0'"), ok());
    assert_eq!(client.run("XRANGE s - +").items().len(), 40);
}

#[test]
fn a_request_over_the_query_limit_closes_its_connection() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    assert_eq!(client.run("CONFIG SET client-query-buffer-limit 1mb"), ok());
    let dropped = |client: &mut Client| info(client, "stats", "client_query_buffer_limit_disconnections");
    let mut sender = server.client();
    let _ = sender.send(&["ECHO", &"x".repeat(3 << 20)]);
    assert!(sender.is_closed_by_peer());
    assert_eq!(dropped(&mut client), 1);
    // Many arguments are one request too.
    let mut sender = server.client();
    let words: Vec<String> =
        std::iter::once("DEL".into()).chain((0..100_000).map(|at| format!("key-{at:020}"))).collect();
    let _ = sender.send(&words);
    assert!(sender.is_closed_by_peer());
    assert_eq!(dropped(&mut client), 2);
    // What is queued counts as a request that is not complete.
    let mut sender = server.client();
    sender.run("MULTI");
    let value = "x".repeat(100_000);
    for _ in 0..20 {
        if sender.call(&["XADD", "s", "*", "f", &value]).is_err() {
            break;
        }
        let list = client.run("CLIENT LIST").text();
        let queued =
            list.lines().filter_map(|line| line.split(" multi-mem=").nth(1)?.split(' ').next()?.parse().ok());
        assert!(queued.max().is_some_and(|most: u64| most < 1_200_000), "{list}");
    }
    assert!(sender.is_closed_by_peer());
    assert_eq!(dropped(&mut client), 3);
    assert_eq!(client.run("EXISTS s").int(), 0);
    // Many small requests at once are none.
    let pings = encode(&["PING"]).repeat(200_000);
    let mut reader = server.client();
    std::thread::scope(|scope| {
        let mut writer = reader.try_clone().unwrap();
        scope.spawn(move || writer.send_raw(&pings).unwrap());
        for _ in 0..200_000 {
            assert_eq!(reader.recv().unwrap(), Value::Simple(b"PONG".to_vec()));
        }
    });
    // An argument has a limit of its own, which is said.
    assert_eq!(client.run("CONFIG SET client-query-buffer-limit 1gb proto-max-bulk-len 1mb"), ok());
    let mut sender = server.client();
    sender.send_raw(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").unwrap();
    assert_eq!(sender.recv().unwrap().text(), "ERR Protocol error: invalid bulk length");
    // It counts for who is connected already.
    client.send_raw(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").unwrap();
    assert_eq!(client.recv().unwrap().text(), "ERR Protocol error: invalid bulk length");
}

/// Many keys take time that grows with their number, and no more memory than a request may.
#[test]
fn much_can_be_watched_but_not_anything() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    client.set_patience(Duration::from_secs(120));
    let names: Vec<String> = (0..200_000).map(|at| format!("key-{at}")).collect();
    let words: Vec<&str> = std::iter::once("WATCH").chain(names.iter().map(String::as_str)).collect();
    // Twice the same: with a comparison of each with each it would take until the test is over.
    for _ in 0..2 {
        assert_eq!(client.call(&words).unwrap(), ok());
    }
    assert_eq!(info(&mut client, "clients", "total_watched_keys"), 200_000);
    assert_eq!(client.run("CONFIG SET client-query-buffer-limit 1mb"), ok());
    let refused = client.run("WATCH one-more").text();
    assert_eq!(refused, "ERR too much is watched: see client-query-buffer-limit");
    // What is watched still is.
    server.client().run("XADD key-7 * a b");
    client.run("MULTI");
    assert!(client.run("EXEC").is_null());
    assert_eq!(client.run("WATCH one-more"), ok());
    assert_eq!(info(&mut client, "clients", "total_watched_keys"), 1);
}

#[test]
fn one_command_may_change_and_answer_only_so_much() {
    let options = Options::new(Kind::Claimlog);
    let server = options.with("--max-batch-bytes", "1mb").with("--max-reply-bytes", "1mb").start();
    let mut client = server.client();
    let value = "v".repeat(300_000);
    let add =
        |client: &mut Client, id: &str, value: &str| client.call(&["XADD", "s", id, "f", value]).unwrap();
    assert_eq!(
        add(&mut client, "1-1", &"v".repeat(2 << 20)).text(),
        "ERR Elements are too large to be stored"
    );
    assert_eq!(client.run("EXISTS s").int(), 0);
    client.run("MULTI");
    for at in 1..=5 {
        assert_eq!(add(&mut client, &format!("1-{at}"), &value).text(), "QUEUED");
    }
    let steps = client.run("EXEC");
    let too_large = "ERR the changes of this command or transaction would pass max-batch-bytes; split it into smaller ones";
    let texts: Vec<String> = steps.items().iter().map(Value::text).collect();
    assert_eq!(texts, ["1-1", "1-2", "1-3", too_large, too_large]);
    assert_eq!(add(&mut client, "1-4", &value).text(), "1-4");
    let reply = client.run("XRANGE s - +");
    assert_eq!(reply.text(), "ERR the reply would pass max-reply-bytes; ask for less with COUNT");
    assert_eq!(client.run("XRANGE s - + COUNT 3").items().len(), 3);
    // A delivery that can't be answered is none.
    client.run("XGROUP CREATE s g 0");
    assert!(client.run("XREADGROUP GROUP g c STREAMS s >").is_error());
    assert_eq!(client.run("XPENDING s g").items()[0].int(), 0);
    assert_eq!(client.run("CONFIG GET max-reply-bytes").items()[1].text(), "1048576");
    assert!(client.run("CONFIG SET max-reply-bytes 2mb").text().ends_with("can't set immutable config"));
}

#[test]
fn before_the_password_requests_are_small() {
    let mut server = Options::new(Kind::Claimlog).with("--requirepass", "secret").spawn();
    until("it listens", || Client::connect(server.port).is_ok() || !server.is_alive());
    for (bytes, text) in [
        ("*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
        ("*2\r\n$4\r\nECHO\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut client = server.client();
        client.send_raw(bytes.as_bytes()).unwrap();
        assert_eq!(client.recv().unwrap().text(), text);
        assert!(client.is_closed_by_peer());
    }
    let mut client = server.client();
    assert_eq!(client.run("AUTH secret"), ok());
    let value = "v".repeat(20_000);
    assert_eq!(client.call(&["ECHO", &value]).unwrap().text(), value);
}

/// The timers of the system's sockets say whether it would notice that the other end is gone.
#[test]
fn connections_are_kept_alive() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    assert_eq!(client.run("CONFIG GET tcp-keepalive").items()[1].text(), "300");
    let timer_of = |client: &Client| -> u32 {
        let theirs = format!("0100007F:{:04X}", client.local_port());
        let ours = format!("0100007F:{:04X}", server.port);
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let row = table.lines().find(|line| line.contains(&format!("{ours} {theirs}"))).unwrap();
        let timer = row.split_whitespace().nth(5).unwrap().split(':').next().unwrap();
        u32::from_str_radix(timer, 16).unwrap()
    };
    const KEEPALIVE: u32 = 2;
    // A timer of what was just sent comes before it.
    until("a timer of keepalive", || timer_of(&client) == KEEPALIVE);
    assert_eq!(client.run("CONFIG SET tcp-keepalive 0"), ok());
    let mut other = server.client();
    other.run("PING");
    until("no timer", || timer_of(&other) == 0);
}

#[test]
fn limits_come_from_the_file_and_go_back_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claimlog.conf");
    let text = "maxmemory 10mb\nclient-output-buffer-limit normal 1mb 512k 9\ntcp-keepalive 60\n";
    std::fs::write(&path, text).unwrap();
    let server = Options::new(Kind::Claimlog).with("--config", path.to_str().unwrap()).start();
    let mut client = server.client();
    assert_eq!(client.run("CONFIG GET maxmemory").items()[1].text(), "10485760");
    let limits = "normal 1048576 512000 9 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    assert_eq!(client.run("CONFIG GET client-output-buffer-limit").items()[1].text(), limits);
    assert_eq!(client.run("CONFIG SET maxmemory 11mb client-query-buffer-limit 2mb hz 50"), ok());
    assert_eq!(client.run("CONFIG REWRITE"), ok());
    let new = std::fs::read_to_string(&path).unwrap();
    let kept = format!("maxmemory 11534336\nclient-output-buffer-limit {limits}\ntcp-keepalive 60\n");
    assert!(
        new.starts_with(&kept)
            && new.contains("\nclient-query-buffer-limit 2097152\n")
            && new.contains("\nhz 50\n"),
        "{new}"
    );
    drop(server);
    let server = Options::new(Kind::Claimlog).with("--config", path.to_str().unwrap()).start();
    assert_eq!(server.client().run("CONFIG GET maxmemory").items()[1].text(), "11534336");
}

/// 20 MB of replies, more than both ends' sockets take: who reads only after it has sent everything must not wait for ever.
#[test]
fn a_long_pipeline_may_be_sent_before_anything_is_read() {
    crate::on_both(sends_before_it_reads);
}

fn sends_before_it_reads(server: &Server) {
    const COUNT: usize = 150_000;
    let mut client = server.client();
    client.set_patience(Duration::from_secs(60));
    let echo = encode(&["ECHO", &"e".repeat(130)]);
    client.send_raw(&echo.repeat(COUNT)).unwrap();
    for _ in 0..COUNT {
        assert_eq!(client.recv().unwrap().text().len(), 130);
    }
}

/// What some have together that read nothing is there for others when they are gone.
#[test]
fn what_the_deaf_had_unsent_is_given_back() {
    let server = Server::start(Kind::Claimlog);
    let mut control = server.client();
    let request = encode(&["ECHO", &"e".repeat(130)]).repeat(10_000);
    for killed in [true, false] {
        let mut deaf: Vec<TcpStream> =
            (0..6).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
        for client in &mut deaf {
            client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // Until nothing more is read from it, or it has sent what makes 20 MB of replies.
            let _ = (0..15).try_for_each(|_| client.write_all(&request));
        }
        let list = control.run("CLIENT LIST").text();
        let unsent = |line: &str| line.split(" omem=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        let together: u64 = list.lines().filter_map(unsent).sum();
        assert!((32 << 20..76 << 20).contains(&together), "{list}");
        if killed {
            assert_eq!(control.run("CLIENT KILL TYPE normal").int(), 6);
        }
        drop(deaf);
        sends_before_it_reads(&server);
    }
}
