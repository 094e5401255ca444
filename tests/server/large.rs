//! Entries that are larger than a segment of the log, and than anything a database likes as a value.

use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Options, Rng, Server, Value};

/// Bytes that nothing makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(7);
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        noise.extend_from_slice(&rng.next().to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

fn patient(server: &Server) -> Client {
    let mut client = server.client();
    client.set_patience(Duration::from_secs(120));
    client
}

fn is_there(client: &mut Client, value: &[u8]) {
    let reply = client.call(&["XRANGE", "s", "1-1", "1-1"]).unwrap();
    let fields = reply.items()[0].items()[1].items();
    // Not compared by assert_eq: it would print both.
    assert!(matches!(&fields[1], Value::Bulk(found) if found == value), "something else came back");
}

/// Through the socket, the log, a kill -9, both snapshot stores, and a start from either.
#[test]
fn an_entry_of_200_mib() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = home.path().join("data");
    let options = Options::new(Kind::Claimlog).dir(&dir);
    let mut server = options.start();
    let mut client = patient(&server);
    let value = noise(200 << 20);
    let id = client.call(&[b"XADD".as_slice(), b"s", b"1-1", b"f", &value]).unwrap();
    assert_eq!(id.text(), "1-1");
    is_there(&mut client, &value);
    server.kill();
    let mut server = options.start();
    let mut client = patient(&server);
    is_there(&mut client, &value);
    for round in 0..2 {
        // One may be taken in the background already.
        let end = Instant::now() + Duration::from_secs(60);
        while client.run("SAVE") != Value::Simple(b"OK".to_vec()) {
            assert!(Instant::now() < end, "{}", server.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        client.run(&format!("XADD t {}-1 f v", round + 1));
    }
    server.kill();
    for place in ["a", "b"] {
        let mut server = options.start();
        let mut client = patient(&server);
        assert!(server.output().contains("snapshot "), "{}", server.output());
        is_there(&mut client, &value);
        assert_eq!(client.run("XLEN t").int(), 2);
        server.kill();
        std::fs::remove_dir_all(dir.join(format!("snapshot/{place}-0001")))
            .unwrap_or_else(|e| panic!("{place}: {e}"));
        if place == "a" {
            // From the other one alone; it builds this one anew.
            let server = options.start();
            is_there(&mut patient(&server), &value);
            let end = Instant::now() + Duration::from_secs(60);
            while !dir.join("snapshot/a-0001").exists()
                || server.client().run("INFO persistence").text().contains("rebuild")
            {
                assert!(Instant::now() < end, "{}", server.output());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Beyond `max-batch-bytes`: Redis's error, and nothing happened.
#[test]
fn an_entry_that_is_too_large() {
    let server = Server::start(Kind::Claimlog);
    let mut client = patient(&server);
    let value = vec![b'x'; 300 << 20];
    let reply = client.call(&[b"XADD".as_slice(), b"s", b"*", b"a", &value, b"b", &value]).unwrap();
    assert_eq!(reply.text(), "ERR Elements are too large to be stored");
    assert_eq!(client.run("EXISTS s").int(), 0);
}
