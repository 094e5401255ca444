//! Thousands at once: who say nothing, who wait for data, who come and go.

use std::time::Duration;

use super::{Client, FEW, Kind, Options, Server, THOUSANDS, env_u64, info, rounds_of, until};

/// As many as this process may have connections, with some left for the rest.
fn crowd(wanted: u64) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let most = line.split_whitespace().nth(3).and_then(|text| text.parse().ok()).unwrap_or(1024_u64);
    let possible = wanted.min(most.saturating_sub(200) / 2);
    if possible < wanted {
        println!(
            "SKIPPED: {possible} instead of {wanted} connections, as this process may have {most} files open"
        );
    }
    usize::try_from(possible).unwrap()
}

fn size() -> usize {
    crowd(env_u64("CLAIMLOG_ABUSE_CROWD", 2000))
}

fn connect(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.set_patience(Duration::from_secs(120)));
    clients
}

/// Half-open: connected, and nothing ever follows. `timeout` closes them; without it they cost little.
#[test]
fn thousands_who_say_nothing() {
    let server = Server::start(Kind::Claimlog);
    let count = size();
    rounds_of(&server, "silence", THOUSANDS, |_| {
        let clients = connect(&server, count);
        let mut control = server.client();
        until("all are in", || info(&mut control, "clients", "connected_clients") > count as u64);
        assert!(info(&mut control, "memory", "mem_clients_normal") < count as u64 * 4096);
        drop(clients);
    });
    let mut control = server.client();
    control.run("CONFIG SET timeout 1");
    let _clients = connect(&server, 200);
    until("the silent ones are closed", || info(&mut control, "clients", "connected_clients") == 1);
}

/// More than `maxclients` get the error, and those who are in go on.
#[test]
fn more_than_may_come() {
    let server = Options::new(Kind::Claimlog).with("--maxclients", "100").start();
    let mut control = server.client();
    let mut inside = connect(&server, 99);
    until("all are in", || info(&mut control, "clients", "connected_clients") == 100);
    for _ in 0..50 {
        let mut late = server.client();
        assert_eq!(late.recv().unwrap().text(), "ERR max number of clients reached");
        assert!(late.is_closed_by_peer());
    }
    assert_eq!(info(&mut control, "stats", "rejected_connections"), 50);
    for client in &mut inside {
        assert_eq!(client.run("PING").text(), "PONG");
    }
    drop(inside.pop());
    until("there is a place again", || {
        let mut client = server.client();
        client.call(&["PING"]).is_ok_and(|reply| reply.text() == "PONG")
    });
}

/// All wait for one stream: those of a group are served with one entry each, the others all with the first.
#[test]
fn thousands_who_wait_for_one_stream() {
    let server = Server::start(Kind::Claimlog);
    let count = size();
    rounds_of(&server, "one stream", THOUSANDS, |_| {
        let mut control = server.client();
        control.set_patience(Duration::from_secs(120));
        control.run("DEL jobs");
        control.run("XGROUP CREATE jobs g 0 MKSTREAM");
        // Half of them compete in a group, the others all want every entry.
        let (mut workers, mut readers) = (connect(&server, count / 2), connect(&server, count / 2));
        for (at, worker) in workers.iter_mut().enumerate() {
            worker
                .send(&[
                    "XREADGROUP",
                    "GROUP",
                    "g",
                    &format!("c{at}"),
                    "COUNT",
                    "1",
                    "BLOCK",
                    "0",
                    "STREAMS",
                    "jobs",
                    ">",
                ])
                .unwrap();
        }
        for reader in &mut readers {
            reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "jobs", "$"]).unwrap();
        }
        let all = (workers.len() + readers.len()) as u64;
        until("all wait", || info(&mut control, "clients", "blocked_clients") == all);
        assert_eq!(info(&mut control, "clients", "total_blocking_keys"), 1);
        // Some give up.
        workers.truncate(workers.len() / 2);
        let left = (workers.len() + readers.len()) as u64;
        until("some went away", || info(&mut control, "clients", "blocked_clients") == left);
        for at in 1..=workers.len() {
            assert_eq!(control.run(&format!("XADD jobs {at}-1 n {at}")).text(), format!("{at}-1"));
        }
        for reader in &mut readers {
            let reply = reader.recv().unwrap().to_string();
            assert_eq!(reply, "[[\"jobs\", [[\"1-1\", [\"n\", \"1\"]]]]]");
        }
        let mut served: Vec<u64> = Vec::new();
        for worker in &mut workers {
            let reply = worker.recv().unwrap();
            let entries = reply.items()[0].items()[1].items();
            assert_eq!(entries.len(), 1);
            served.push(entries[0].items()[1].items()[1].text().parse().unwrap());
        }
        served.sort_unstable();
        assert!(served.iter().copied().eq(1..=workers.len() as u64), "each entry went to one of them");
        let pending = control.run("XPENDING jobs g");
        assert_eq!(pending.items()[0].int(), workers.len() as i64);
        assert_eq!(info(&mut control, "clients", "blocked_clients"), 0);
    });
}

/// Each waits for a stream of its own, and for one that all have in common.
#[test]
fn thousands_who_wait_for_many_streams() {
    let server = Server::start(Kind::Claimlog);
    let count = size();
    rounds_of(&server, "many streams", THOUSANDS, |_| {
        let mut control = server.client();
        control.set_patience(Duration::from_secs(120));
        let mut readers = connect(&server, count);
        for (at, reader) in readers.iter_mut().enumerate() {
            reader.send(&["XREAD", "BLOCK", "0", "STREAMS", &format!("s{at}"), "common", "$", "$"]).unwrap();
        }
        until("all wait", || info(&mut control, "clients", "blocked_clients") == count as u64);
        assert_eq!(info(&mut control, "clients", "total_blocking_keys"), count as u64 + 1);
        // A third gets its own, a third leaves, the rest gets what is common.
        for at in (0..count).step_by(3) {
            control.run(&format!("XADD s{at} 1-1 n {at}"));
        }
        for (at, reader) in readers.iter_mut().enumerate().step_by(3) {
            let reply = reader.recv().unwrap().to_string();
            assert_eq!(reply, format!("[[\"s{at}\", [[\"1-1\", [\"n\", \"{at}\"]]]]]"));
        }
        let mut left: Vec<Client> =
            readers.into_iter().enumerate().filter(|(at, _)| at % 3 == 1).map(|(_, reader)| reader).collect();
        until("a third left", || info(&mut control, "clients", "blocked_clients") == left.len() as u64);
        assert_eq!(info(&mut control, "clients", "total_blocking_keys"), left.len() as u64 + 1);
        control.run("XADD common 1-1 all all");
        for reader in &mut left {
            assert_eq!(reader.recv().unwrap().to_string(), "[[\"common\", [[\"1-1\", [\"all\", \"all\"]]]]]");
        }
        for at in (0..count).step_by(3) {
            control.run(&format!("DEL s{at}"));
        }
        control.run("DEL common");
    });
}

/// Connections come and go as fast as they can.
#[test]
fn storms_of_connections() {
    let server = Server::start(Kind::Claimlog);
    rounds_of(&server, "storm", FEW, |_| {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let server = &server;
                scope.spawn(move || {
                    for at in 0..500 {
                        let mut client = server.client();
                        match (at + thread) % 3 {
                            0 => drop(client.send(&["PING"])),
                            1 => assert_eq!(client.run("PING").text(), "PONG"),
                            _ => {}
                        }
                    }
                });
            }
        });
    });
}
