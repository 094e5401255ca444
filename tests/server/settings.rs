//! Settings: where they come from, what CONFIG makes of them, and what the numbers say afterwards.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::server::Options;
use crate::common::{Client, Kind, Server, Value};

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn setting(client: &mut Client, name: &str) -> String {
    client.run(&format!("CONFIG GET {name}")).items()[1].text()
}

/// The value of a line of INFO.
fn info(client: &mut Client, section: &str, name: &str) -> String {
    let text = client.run(&format!("INFO {section}")).text();
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

#[test]
fn the_file_is_read_and_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claimlog.conf");
    let text = "# mine\ntimeout 30\n\n# slow ones\nslowlog-max-len 5\nappendfsync no\nsave \"\"\n";
    std::fs::write(&path, text).unwrap();
    let options = Options::new(Kind::Claimlog).with("--config", path.to_str().unwrap());
    {
        let server = options.start();
        let mut client = server.client();
        assert_eq!(setting(&mut client, "timeout"), "30");
        assert_eq!(setting(&mut client, "slowlog-max-len"), "5");
        // The command line comes before the file.
        assert_eq!(setting(&mut client, "appendfsync"), "always");
        assert_eq!(client.run("CONFIG SET timeout 31 requirepass 'a \"secret\"'"), ok());
        assert_eq!(client.run("CONFIG REWRITE"), ok());
        assert_eq!(info(&mut client, "server", "config_file"), path.display().to_string());
    }
    let new = std::fs::read_to_string(&path).unwrap();
    assert!(
        new.starts_with(
            "# mine\ntimeout 31\n\n# slow ones\nslowlog-max-len 5\nappendfsync always\nsave \"\"\n"
        ),
        "{new}"
    );
    // The test's way to see that it is ready does not know the password.
    let output =
        Command::new(env!("CARGO_BIN_EXE_claimlog")).args(["--port", "x", "--config"]).arg(&path).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    assert!(new.contains("requirepass \"a \\\"secret\\\"\"\n"), "{new}");
    std::fs::write(&path, "timeout 1\n\n nonsense 5\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_claimlog")).arg("--config").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains(&format!("{}:3: there is no setting 'nonsense'", path.display())), "{said}");
}

#[test]
fn all_names_that_clients_ask_for_have_an_answer() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    for name in [
        "appendfsync",
        "appendonly",
        "active-expire-effort",
        "client-output-buffer-limit",
        "client-query-buffer-limit",
        "databases",
        "dynamic-hz",
        "hz",
        "latency-monitor-threshold",
        "latency-tracking",
        "loglevel",
        "maxclients",
        "maxmemory",
        "maxmemory-policy",
        "notify-keyspace-events",
        "proto-max-bulk-len",
        "replica-read-only",
        "requirepass",
        "save",
        "slave-read-only",
        "slowlog-log-slower-than",
        "slowlog-max-len",
        "stream-node-max-bytes",
        "stream-node-max-entries",
        "tcp-keepalive",
        "timeout",
    ] {
        let value = setting(&mut client, name);
        let again = client.call(&["CONFIG", "SET", name, &value]).unwrap();
        assert!(again == ok() || again.text().ends_with("can't set immutable config"), "{name}: {again}");
    }
    // What would be a lie is refused.
    for (name, value) in
        [("maxmemory-policy", "allkeys-lru"), ("save", "60 1"), ("appendonly", "no"), ("port", "1")]
    {
        assert!(client.call(&["CONFIG", "SET", name, value]).unwrap().is_error(), "{name}");
    }
    assert_eq!(client.run("CONFIG GET slowlog* latency*").items().len(), 10);
}

#[test]
fn settings_take_effect() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    client.run("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3");
    for _ in 0..10 {
        client.run("PING");
    }
    assert_eq!(client.run("SLOWLOG LEN").int(), 3);
    client.run("CONFIG SET slowlog-log-slower-than -1 latency-monitor-threshold 1");
    client.run("SLOWLOG RESET");
    client.run("DEBUG RELOAD");
    client.run("SAVE");
    assert_eq!(client.run("SLOWLOG LEN").int(), 0);
    // Syncs take longer than nothing, but not always a millisecond.
    for _ in 0..200 {
        client.run("XADD slow * a b");
    }
    let latest = client.run("LATENCY LATEST").to_string();
    assert!(latest == "[]" || latest.contains("aof-fsync-always") || latest.contains("command"), "{latest}");
    client.run("CONFIG SET maxclients 2");
    let _second = server.client();
    client.run("PING");
    let mut third = server.client();
    assert!(third.recv().unwrap().text().contains("max number of clients reached"));
    client.run("CONFIG RESETSTAT");
    client.run("CONFIG SET latency-tracking no");
    client.run("XLEN s");
    assert!(!client.run("INFO latencystats").text().contains("_xlen:"));
    client.run("CONFIG SET latency-tracking yes latency-tracking-info-percentiles '50 100'");
    client.run("XLEN s");
    let line = info(&mut client, "latencystats", "latency_percentiles_usec_xlen");
    assert!(line.starts_with("p50=") && line.contains(",p100="), "{line}");
}

/// A blocked XREADGROUP that ends in an error: one call, one that failed.
#[test]
fn a_waiting_command_that_fails_is_counted_once() {
    let server = Server::start(Kind::Claimlog);
    let (mut control, mut reader) = (server.client(), server.client());
    control.run("XGROUP CREATE s g $ MKSTREAM");
    control.run("CONFIG RESETSTAT");
    reader.send(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while info(&mut control, "clients", "blocked_clients") != "1" {
        assert!(Instant::now() < end);
    }
    for (name, count) in [("total_blocking_keys", "1"), ("total_blocking_keys_on_nokey", "1")] {
        assert_eq!(info(&mut control, "clients", name), count);
    }
    control.run("DEL s");
    assert!(reader.recv().unwrap().text().starts_with("NOGROUP "));
    let line = info(&mut control, "commandstats", "cmdstat_xreadgroup");
    assert!(line.starts_with("calls=1,") && line.ends_with(",rejected_calls=0,failed_calls=1"), "{line}");
    assert_eq!(info(&mut control, "errorstats", "errorstat_NOGROUP"), "count=1");
    assert_eq!(info(&mut control, "stats", "total_error_replies"), "1");
}

#[test]
fn sections_of_info() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    let titles = |client: &mut Client, line: &str| -> Vec<String> {
        let text = client.run(line).text();
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    let default = titles(&mut client, "INFO");
    assert_eq!(default, titles(&mut client, "INFO default"));
    let all = titles(&mut client, "INFO all");
    assert_eq!(all, titles(&mut client, "INFO everything"));
    assert_eq!(all.len(), default.len() + 2);
    assert_eq!(titles(&mut client, "INFO keyspace CPU nonsense"), ["CPU", "Keyspace"]);
    assert_eq!(titles(&mut client, "INFO default commandstats").len(), default.len() + 1);
    for line in client.run("INFO everything").text().lines().filter(|line| !line.is_empty()) {
        assert!(line.starts_with("# ") || line.split_once(':').is_some(), "{line}");
    }
}

#[test]
fn debug_is_for_whom_the_settings_trust() {
    let server = Options::new(Kind::Claimlog).with("--enable-debug-command", "no").start();
    let reply = server.client().run("DEBUG SLEEP 0").text();
    assert!(
        reply.starts_with("ERR DEBUG command not allowed. If the enable-debug-command option is set"),
        "{reply}"
    );
    let server = Options::new(Kind::Claimlog).with("--enable-debug-command", "local").start();
    assert_eq!(server.client().run("DEBUG SLEEP 0"), ok());
}

#[test]
fn clients_are_killed_by_what_is_known_of_them() {
    let server = Server::start(Kind::Claimlog);
    let mut control = server.client();
    let mut victims: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let ids: Vec<i64> = victims.iter_mut().map(|victim| victim.run("CLIENT ID").int()).collect();
    assert_eq!(control.run("CLIENT KILL MAXAGE 1000").int(), 0);
    assert_eq!(control.run(&format!("CLIENT KILL ID {} {} 999999", ids[0], ids[1])).int(), 2);
    assert!(control.run("CLIENT KILL MAXAGE 0").is_error());
    let line = victims[2].run("CLIENT INFO").text();
    let address = line.split_once(" addr=").unwrap().1.split(' ').next().unwrap().to_owned();
    assert_eq!(control.run(&format!("CLIENT KILL {address}")), ok());
    assert_eq!(control.run(&format!("CLIENT KILL ADDR {address}")).int(), 0);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(control.run("CLIENT KILL MAXAGE 1").int(), 1);
    for victim in &mut victims {
        assert!(victim.recv().is_err());
    }
    // Its own end is answered first.
    assert_eq!(control.run("CLIENT KILL MAXAGE 1 SKIPME no").int(), 1);
    assert!(control.recv().is_err());
}

#[test]
fn the_line_of_a_client() {
    let server = Server::start(Kind::Claimlog);
    let (mut client, mut other) = (server.client(), server.client());
    client.run("CLIENT SETNAME me");
    client.run("CLIENT SETINFO LIB-NAME lib");
    client.run("WATCH a b");
    let field = |client: &mut Client, name: &str| {
        let line = client.run("CLIENT INFO").text();
        let found = line.trim_end().split(' ').find_map(|field| field.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
    };
    for (name, value) in
        [("name", "me"), ("watch", "2"), ("multi", "-1"), ("flags", "N"), ("lib-name", "lib")]
    {
        assert_eq!(field(&mut client, name), value);
    }
    other.run("XADD a 1-1 f v");
    assert_eq!(field(&mut client, "flags"), "d");
    client.run("MULTI");
    client.run("CLIENT INFO");
    let reply = client.run("EXEC");
    assert!(reply.is_null());
    for name in
        ["tot-net-in", "tot-net-out", "tot-cmds", "io-thread", "user", "redir", "resp", "lib-ver", "ssub"]
    {
        field(&mut client, name);
    }
}

/// Who waits for something other than data is unblocked as well.
#[test]
fn waiting_for_replicas_can_be_ended() {
    crate::on_both(|server| {
        for (reason, reply) in
            [("TIMEOUT", ":0"), ("ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]
        {
            let (mut control, mut waiting) = (server.client(), server.client());
            waiting.run("XADD s * a b");
            let id = waiting.run("CLIENT ID").int();
            waiting.send(&["WAIT", "1", "0"]).unwrap();
            let end = Instant::now() + Duration::from_secs(5);
            while info(&mut control, "clients", "blocked_clients") != "1" {
                assert!(Instant::now() < end);
            }
            assert_eq!(control.run(&format!("CLIENT UNBLOCK {id} {reason}")).int(), 1);
            assert_eq!(waiting.recv().unwrap().to_string(), reply, "{:?}", server.kind);
        }
    });
}

/// As Redis counts: a delivery of many entries is one change, and reading one's history again is none.
#[test]
fn unsaved_changes_are_counted_as_redis_counts_them() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    for line in ["XADD s 1-0 a b", "XADD s 2-0 a b", "XGROUP CREATE s g 0", "XGROUP CREATECONSUMER s g c"] {
        client.run(line);
    }
    let changes = |client: &mut Client| -> u64 {
        info(client, "persistence", "rdb_changes_since_last_save").parse().unwrap()
    };
    let before = changes(&mut client);
    client.run("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(changes(&mut client), before + 1);
    client.run("XREADGROUP GROUP g c STREAMS s 0");
    assert_eq!(changes(&mut client), before + 1);
    assert_eq!(client.run("SAVE"), ok());
    assert_eq!(changes(&mut client), 0);
}

/// Equal for equal entries, whatever became of others, as test suites compare a copy with its original.
#[test]
fn digests_of_values_are_those_of_their_entries() {
    let server = Server::start(Kind::Claimlog);
    let mut client = server.client();
    client.run("XADD s 1-1 a b");
    client.run("COPY s t");
    let mut digests = || client.run("DEBUG DIGEST-VALUE s t none").items().to_vec();
    let first = digests();
    assert_eq!(first[2], Value::Simple(vec![b'0'; 40]));
    assert!(first[0] == first[1] && first[0] != first[2]);
    server.client().run("XADD t 1-2 a b");
    assert_ne!(digests()[1], first[1]);
    server.client().run("XDEL t 1-2");
    assert_eq!(digests(), first);
}
