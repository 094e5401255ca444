//! DEBUG RELOAD and LOADAOF under load: clients stay connected, blocked reads wait on in their order, watches hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Server, Value};

const WAYS: [&str; 3] = ["DEBUG RELOAD", "DEBUG RELOAD NOSAVE", "DEBUG LOADAOF"];

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn wait_for_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let end = Instant::now() + Duration::from_secs(5);
    while !client.run("INFO clients").text().contains(&wanted) {
        assert!(Instant::now() < end, "never {wanted}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the load, also when something went wrong.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All that a restart keeps of a stream; how long its entries are idle goes on growing, and is left out.
fn data(client: &mut Client) -> String {
    let rows = client.run("XPENDING kept g - + 100");
    let rows: Vec<String> = rows
        .items()
        .iter()
        .map(|row| format!("{} {} {}", row.items()[0], row.items()[1], row.items()[3]))
        .collect();
    let whole = ["XRANGE kept - +", "XPENDING kept g", "XINFO STREAM kept", "XINFO GROUPS queue"];
    whole.map(|line| client.run(line).to_string()).join("\n") + &rows.join("\n")
}

#[test]
fn under_load_with_readers_and_watches() {
    let server = Server::start(Kind::Claimlog);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let mut client = server.client();
                let stop = &stop;
                scope.spawn(move || {
                    let mut added = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..5 {
                            client.send(&["XADD", "load", "*", "f", "v"]).unwrap();
                        }
                        for _ in 0..5 {
                            let reply = client.recv().unwrap();
                            assert!(!reply.is_error(), "{reply}");
                            added += 1;
                        }
                    }
                    added
                })
            })
            .collect();
        {
            let _stops = Stops(&stop);
            with_readers_and_watches(&server);
        }
        let added: i64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let mut client = server.client();
        assert_eq!(client.run("XLEN load"), Value::Int(added));
        client.run("DEBUG RELOAD");
        assert_eq!(client.run("XLEN load"), Value::Int(added));
    });
}

fn client_line(control: &mut Client, part: &str) -> String {
    let list = control.run("CLIENT LIST").text();
    list.lines().find(|line| line.contains(part)).unwrap().to_owned()
}

fn with_readers_and_watches(server: &Server) {
    let mut control = server.client();
    for id in 1..200 {
        control.run(&format!("XADD kept {id}-1 field value{id}"));
    }
    control.run("XGROUP CREATE kept g 0");
    control.run("XREADGROUP GROUP g anna COUNT 50 STREAMS kept >");
    control.run("XACK kept g 7-1 8-1");
    control.run("XDEL kept 9-1");
    control.run("XGROUP CREATE queue g $ MKSTREAM");

    let mut readers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    // Not in the order in which they connected.
    readers.reverse();
    for (at, reader) in readers.iter_mut().enumerate() {
        let line = format!("XREADGROUP GROUP g consumer{at} COUNT 1 BLOCK 0 STREAMS queue >");
        reader.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
        wait_for_blocked(&mut control, at + 1);
    }
    let mut last = server.client();
    last.send(&["XREAD", "BLOCK", "0", "STREAMS", "kept", "$"]).unwrap();
    let mut timed = server.client();
    let (began, deadline) = (Instant::now(), Duration::from_millis(1500));
    timed.send(&["XREAD", "BLOCK", "1500", "STREAMS", "nothing", "0"]).unwrap();
    wait_for_blocked(&mut control, 6);

    let (mut quiet, mut changed, mut later) = (server.client(), server.client(), server.client());
    for client in [&mut quiet, &mut changed, &mut later] {
        assert_eq!(client.run("WATCH kept watched other"), ok());
    }
    changed.run("UNWATCH");
    changed.run("WATCH seen");
    control.run("XADD seen 1-1 a b");

    let before = data(&mut control);
    for way in WAYS {
        assert_eq!(control.run(way), ok(), "{way}");
        assert_eq!(control.run("WAITAOF 1 0 0").to_string(), "[:1, :0]");
        assert_eq!(data(&mut control), before, "{way}");
    }
    assert!(client_line(&mut control, "cmd=xreadgroup").contains(" flags=b "));

    // First come, first served, as if nothing had happened.
    for (at, reader) in readers.iter_mut().enumerate() {
        control.run(&format!("XADD queue {}-1 n {at}", at + 1));
        let reply = reader.recv().unwrap().to_string();
        assert!(reply.contains(&format!("\"{}-1\"", at + 1)), "reader {at}: {reply}");
    }
    let owners = control.run("XPENDING queue g").to_string();
    assert!((0..4).all(|at| owners.contains(&format!("consumer{at}"))), "{owners}");
    control.run("XADD kept 1000-1 a b");
    assert!(last.recv().unwrap().to_string().contains("1000-1"));
    assert!(timed.recv().unwrap().is_null());
    let took = began.elapsed();
    assert!(took >= deadline && took < deadline * 4, "the deadline was {deadline:?}, it took {took:?}");

    later.run("MULTI");
    later.run("XLEN kept");
    // `kept` has changed since the reload, and `seen` before it.
    assert!(later.run("EXEC").is_null());
    changed.run("MULTI");
    assert!(changed.run("EXEC").is_null());
    quiet.run("UNWATCH");
    quiet.run("WATCH watched");
    control.run("DEBUG RELOAD");
    quiet.run("MULTI");
    quiet.run("XADD watched 1-1 a b");
    assert_eq!(quiet.run("EXEC").to_string(), "[\"1-1\"]");
}

/// What a connection had sent before is answered before, and what is behind is done afterwards.
#[test]
fn in_a_pipeline() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    for line in ["XADD s 1-1 a b", "DEBUG RELOAD", "XADD s 2-1 a b", "DEBUG LOADAOF", "XLEN s"] {
        client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let replies: Vec<String> = (0..5).map(|_| client.recv().unwrap().to_string()).collect();
    assert_eq!(replies, ["\"1-1\"", "+OK", "\"2-1\"", "+OK", ":2"]);
    client.run("MULTI");
    client.run("DEBUG RELOAD");
    assert_eq!(client.run("EXEC").to_string(), "[-ERR the data can't be opened again inside MULTI]");
}

/// What time brings about comes all the same: keys expire, and readers claim what has come of age.
#[test]
fn time_goes_on() {
    let server = Server::start(Kind::Claimlog);
    let (mut control, mut reader) = (server.client(), server.client());
    control.run("XADD mortal 1-1 a b");
    control.run("XGROUP CREATE queue g 0 MKSTREAM");
    control.run("XADD queue 1-1 a b");
    // On a busy machine a reload may take longer than the key has: then it gets more.
    for ms in [700, 3_000, 30_000] {
        let began = Instant::now();
        control.run(&format!("PEXPIRE mortal {ms}"));
        if ms == 700 {
            control.run("XREADGROUP GROUP g anna STREAMS queue >");
            let line = "XREADGROUP GROUP g bert BLOCK 0 CLAIM 600 STREAMS queue >";
            reader.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
            wait_for_blocked(&mut control, 1);
        }
        assert_eq!(control.run("DEBUG RELOAD"), ok());
        let there = control.run("EXISTS mortal").int();
        if began.elapsed() < Duration::from_millis(ms) {
            assert_eq!(there, 1);
            break;
        }
        control.run("XADD mortal * a b");
    }
    let reply = reader.recv().unwrap().to_string();
    assert!(reply.contains("\"1-1\""), "{reply}");
    let end = Instant::now() + Duration::from_secs(60);
    while control.run("INFO stats").text().contains("expired_keys:0\r\n") {
        assert!(Instant::now() < end, "it never expired");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(control.run("EXISTS mortal").int(), 0);
}
