//! No more descriptors: at any moment of a start, and while it serves.

use std::time::Duration;

use crate::common::{Client, seed};
use crate::load::Load;
use crate::log::{filled, save, wait};
use crate::shim::{self, Shim};

/// From the n-th file that it opens on, it gets none. It starts, or says why not; the next start has everything.
#[test]
fn none_left_at_any_moment_of_a_start() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let options = shim.options().with("--snapshot-log-bytes", "4k");
    let mut load = filled(&options);
    let (mut started, mut refused) = (0, 0);
    for first in [1, 2, 3, 5, 8, 13, 20, 30, 60, 100, 150, 200, 260, 400, 700, 1000, 1400] {
        let rules = format!("open ** {first} * EMFILE\n");
        shim.rules(&rules);
        let mut server = options.spawn();
        if server.wait_until_ready(Duration::from_secs(20)).is_ok() {
            started += 1;
            load.check(&server, &load.all_answered()).unwrap_or_else(|why| panic!("{rules}: {why}"));
            load.run(&server, 3, None);
        } else {
            refused += 1;
            let status =
                server.wait_exit(Duration::from_secs(20)).unwrap_or_else(|| panic!("{rules}: it hangs"));
            let output = server.output();
            // The loader and the runtime have their own ways to end; ours is to say which file it was.
            assert!(
                first < 3 || status.code() == Some(1) || status.code() == Some(5),
                "{rules}: {status}: {output}"
            );
            assert!(first < 3 || output.contains("Too many open files"), "{rules}: {output}");
        }
        assert!(!server.output().contains("panicked"), "{rules}: {}", server.output());
        drop(server);
        shim.rules("");
        let server = shim.plain().start();
        load.resume(&server, None).unwrap_or_else(|why| panic!("{rules}: {why}\n{}", server.output()));
    }
    assert!(started > 1 && refused > 1, "{started} started, {refused} were refused");
}

/// While it serves: connections wait, snapshots fail and are told, commands go on, and all of it comes back.
#[test]
fn none_left_while_it_serves() {
    if shim::skipped() {
        return;
    }
    let shim = Shim::new();
    let mut load = Load::new(2, seed(), 300);
    let options = shim.options().with("--snapshot-log-bytes", "4k");
    let mut server = options.start();
    load.run(&server, 5, None);
    let mut client = server.client();
    // It has been accepted when it is answered.
    client.run("PING");
    shim.rules("open ** 1 * EMFILE\naccept - 1 * EMFILE\n");
    let port = server.port;
    // The kernel takes it, the server does not.
    let mut waiting = Client::connect(port).unwrap();
    waiting.send(&["PING"]).unwrap();
    let value = "x".repeat(4000);
    for _ in 0..40 {
        assert!(!client.call(&["XADD", "s", "MAXLEN", "3", "*", "f", &value]).unwrap().is_error());
    }
    wait("it is told", &server, || {
        let output = server.output();
        output.contains("could not be accepted") && output.contains("no snapshot was taken")
    });
    assert!(waiting.try_recv(Duration::from_millis(300)).unwrap().is_none(), "nobody could answer");
    assert!(server.is_alive());
    // It rests between attempts.
    let told = server.output().matches("could not be accepted").count();
    assert!(told < 300, "told {told} times");
    shim.rules("");
    assert_eq!(waiting.recv().unwrap().text(), "PONG");
    client.run("DEL s");
    load.run(&server, 10, None);
    save(&server, &mut client);
    drop(server);
    load.resume(&shim.plain().start(), None).unwrap();
}
