//! Load and abuse of a real server process: whatever some clients do, the others get every reply right, and afterwards
//! memory and descriptors are where they were.
//!
//! - `CLAIMLOG_ABUSE_ROUNDS`: how often each is done (2). More shows slower leaks.
//! - `CLAIMLOG_ABUSE_CROWD`: how many come at once where thousands do (2000).
//! - `CLAIMLOG_SEED`: the seed, printed by every test.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

#[path = "../common/mod.rs"]
mod common;
mod crowd;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::abuse::{self, Abuse};
use common::usage::Usage;
use common::{Client, Kind, Options, Rng, Server, Value, env_u64, seed};

/// A well-behaved client: it works on a stream of its own, and checks every reply. Says how many there were.
fn behave(port: u16, stop: &AtomicBool) -> u64 {
    let mut client = Client::connect(port).unwrap();
    client.set_patience(Duration::from_secs(120));
    let mut answered = 0;
    client.run("DEL good");
    assert_eq!(client.run("XGROUP CREATE good g 0 MKSTREAM"), Value::Simple(b"OK".to_vec()));
    // At least once, however quickly the others are done.
    let mut number = 0;
    while number == 0 || !stop.load(Ordering::Relaxed) {
        // In one pipeline: the order counts too.
        let numbers = number + 1..=number + 20;
        for number in numbers.clone() {
            client.send(&["XADD", "good", &format!("{number}-1"), "n", &number.to_string()]).unwrap();
            client.send(&["XREADGROUP", "GROUP", "g", "me", "STREAMS", "good", ">"]).unwrap();
            client.send(&["ECHO", &format!("echo {number}")]).unwrap();
            client.send(&["XPENDING", "good", "g"]).unwrap();
            client.send(&["XACK", "good", "g", &format!("{number}-1")]).unwrap();
            client.send(&["XDEL", "good", &format!("{number}-1")]).unwrap();
        }
        for number in numbers {
            let id = format!("{number}-1");
            assert_eq!(client.recv().unwrap().text(), id);
            let read = client.recv().unwrap().to_string();
            assert_eq!(read, format!("[[\"good\", [[\"{id}\", [\"n\", \"{number}\"]]]]]"));
            assert_eq!(client.recv().unwrap().text(), format!("echo {number}"));
            let pending = client.recv().unwrap().to_string();
            assert_eq!(pending, format!("[:1, \"{id}\", \"{id}\", [[\"me\", \"1\"]]]"));
            assert_eq!(client.recv().unwrap().int(), 1);
            assert_eq!(client.recv().unwrap().int(), 1);
            answered += 6;
        }
        number += 20;
    }
    assert_eq!(client.run("XLEN good").int(), 0);
    answered
}

/// Does something while a well-behaved client works; says how many replies that one got.
fn beside_a_good_client(server: &Server, work: impl FnOnce()) -> u64 {
    let (port, stop) = (server.port, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let good = scope.spawn(|| behave(port, &stop));
        // However this goes, the other thread ends.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let answered = good.join().expect("the good client got what it should");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answered
    })
}

fn info(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.run(&format!("INFO {section}")).text();
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < end, "it did not come to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until everybody is gone but the one who asks.
fn until_alone(client: &mut Client) {
    until("one client", || info(client, "clients", "connected_clients") == 1);
    assert_eq!(info(client, "clients", "blocked_clients"), 0);
    assert_eq!(info(client, "clients", "total_blocking_keys"), 0);
    assert_eq!(info(client, "clients", "watching_clients"), 0);
}

fn rounds() -> u64 {
    env_u64("CLAIMLOG_ABUSE_ROUNDS", 2).max(2)
}

/// How much more memory than after the first round there may be, in MiB. A leak of what a round takes is in every round
/// anew, and more than that.
const FEW: u64 = 6;
/// After thousands of connections at once glibc reuses what they had badly at first, since much of it is aligned: about
/// as much again is taken within ten rounds, and then no more (`CLAIMLOG_ABUSE_ROUNDS=30` shows that). Each connection
/// of few is proven by itself.
const THOUSANDS: u64 = 80;

/// Requests of megabytes from several threads at once leave holes in the heap: it has 25 MiB or 65 after a round, by chance,
/// and within ten rounds no more (`CLAIMLOG_ABUSE_ROUNDS=10` shows that). Each abuse is proven by itself.
const AT_ONCE: u64 = 80;

/// Several identical rounds: after the first, which may warm things up, neither memory nor descriptors go up.
fn rounds_of(server: &Server, what: &str, slack_mib: u64, mut round: impl FnMut(u64)) {
    let mut control = server.client();
    let mut first: Option<Usage> = None;
    for number in 0..rounds() {
        let answered = beside_a_good_client(server, || round(number));
        until_alone(&mut control);
        let usage = Usage::of(server);
        println!(
            "{what}, round {number}: {answered} replies beside it, {} KiB resident, {} descriptors",
            usage.resident_bytes >> 10,
            usage.descriptors
        );
        let first = *first.get_or_insert(usage);
        // Files of the snapshots come and go.
        assert!(usage.descriptors <= first.descriptors + 30, "{what}: {usage:?} after {first:?}");
        let most = first.resident_bytes + (slack_mib << 20);
        assert!(usage.resident_bytes <= most, "{what}: {usage:?} after {first:?}");
    }
    let clients = info(&mut control, "memory", "mem_clients_normal");
    assert!(clients < 100_000, "{clients} bytes of buffers of clients that are gone");
}

/// Each way to misbehave by itself, many times over, with as many connections open at once.
#[test]
fn each_abuse() {
    let seed = seed();
    println!("again with: CLAIMLOG_SEED={seed} cargo test --test abuse");
    // The first snapshot, some 64 MiB of log from the start, takes memory and descriptors of its own.
    let server = Options::new(Kind::Claimlog).with("--snapshot-log-bytes", "64g").start();
    abuse::prepare(&mut server.client());
    for abuse in Abuse::ALL {
        // What waits for the server to stop reading takes its time.
        let times = if matches!(abuse, Abuse::NeverReads | Abuse::ReadsSlowly) { 4 } else { 100 };
        rounds_of(&server, &format!("{abuse:?}"), FEW, |round| {
            let mut rng = Rng::new(seed + round);
            let open: Vec<_> = (0..times).filter_map(|_| abuse.commit(server.port, &mut rng).ok()).collect();
            drop(open);
        });
    }
    assert!(!server.output().contains("panic"), "{}", server.output());
}

/// All of them at once, from several threads, in random order.
#[test]
fn all_abuses_at_once() {
    let seed = seed();
    println!("again with: CLAIMLOG_SEED={seed} cargo test --test abuse");
    // The first snapshot, some 64 MiB of log from the start, takes memory and descriptors of its own.
    let server = Options::new(Kind::Claimlog).with("--snapshot-log-bytes", "64g").start();
    abuse::prepare(&mut server.client());
    rounds_of(&server, "all at once", AT_ONCE, |round| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let port = server.port;
                scope.spawn(move || {
                    let mut rng = Rng::new(seed + round * 100 + thread);
                    let mut open = std::collections::VecDeque::new();
                    for _ in 0..60 {
                        open.extend(Abuse::ALL[rng.index(Abuse::ALL.len())].commit(port, &mut rng));
                        if open.len() > 20 {
                            open.pop_front();
                        }
                    }
                });
            }
        });
    });
}

/// A client that reads nothing, and asks for more and more, costs a reply and a little more.
#[test]
fn what_is_not_read_is_bounded() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    abuse::prepare(&mut client);
    let mut rng = Rng::new(1);
    let open: Vec<_> = (0..8).map(|_| Abuse::NeverReads.commit(server.port, &mut rng).unwrap()).collect();
    let list = client.run("CLIENT LIST").text();
    let of = |name: &str| -> u64 {
        list.lines().filter_map(|line| line.split(name).nth(1)?.split(' ').next()?.parse::<u64>().ok()).sum()
    };
    let each = open.len() as u64;
    // What all may have together, and for each its own limit and one reply of 3 MB.
    assert!((each << 20..(64 + each * 4) << 20).contains(&of(" omem=")), "{list}");
    // What they sent and is not executed: no more than was being read.
    assert!(of(" qbuf=") < each << 20, "{list}");
    assert!(of(" tot-mem=") < (64 + each * 5) << 20, "{list}");
    drop(open);
    until_alone(&mut client);
}
