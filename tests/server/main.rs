//! The server over a socket: conversations word for word, broken bytes, processes and signals.
//!
//! `CLAIMLOG_SERVER_SELF=1` runs everything that can be proven against a real Redis against that alone.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

#[path = "../common/mod.rs"]
mod common;
mod full;
mod large;
mod process;
mod reload;
mod script;
mod settings;
mod wire;

use std::path::Path;

use common::{Kind, Server, env_u64, server};

/// Runs a test against claimlog and, to prove what it expects, against a real Redis 7.0.15 where there is one.
fn on_both(test: impl Fn(&Server)) {
    if env_u64("CLAIMLOG_SERVER_SELF", 0) == 0 {
        test(&Server::start(Kind::Claimlog));
    }
    match server::redis_version().as_deref() {
        Some("7.0.15") => test(&Server::start(Kind::Redis)),
        other => {
            println!("SKIPPED: proving the expectations needs a redis-server 7.0.15, there is {other:?}");
        }
    }
}

fn conversations(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/scripts").join(name);
    on_both(|server| {
        let record = server.kind == Kind::Redis && env_u64("CLAIMLOG_SCRIPT_RECORD", 0) == 1;
        let wrong = script::run(server, &path, record);
        assert!(wrong.is_empty(), "{:?}, {} wrong:\n{}", server.kind, wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn vectors() {
    conversations("vectors.txt");
}

#[test]
fn errors() {
    conversations("errors.txt");
}

#[test]
fn connection() {
    conversations("connection.txt");
}

#[test]
fn blocking() {
    conversations("blocking.txt");
}

#[test]
fn transactions() {
    conversations("transactions.txt");
}

#[test]
fn clients() {
    conversations("clients.txt");
}

#[test]
fn admin() {
    conversations("admin.txt");
}
