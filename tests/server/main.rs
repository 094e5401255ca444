//! The server over a socket: conversations word for word, broken bytes, processes and signals.
//!
//! `CLAIMLOG_SERVER_SELF=1` runs everything that can be proven against a real Redis against that alone.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

mod blocked;
#[path = "../common/mod.rs"]
mod common;
mod full;
mod large;
mod limits;
mod process;
mod reload;
mod rows;
mod script;
mod settings;
mod verify;
mod wire;

use std::path::Path;

use common::{Kind, Options, Server, env_u64, server};

/// Runs a test against claimlog and, to prove what it expects, against a real Redis 7.0.15 where there is one.
fn on_both(test: impl Fn(&Server)) {
    for kind in both() {
        test(&Server::start(kind));
    }
}

fn both() -> Vec<Kind> {
    let mut kinds = Vec::new();
    if env_u64("CLAIMLOG_SERVER_SELF", 0) == 0 {
        kinds.push(Kind::Claimlog);
    }
    match server::redis_version().as_deref() {
        Some("7.0.15") => kinds.push(Kind::Redis),
        other => {
            println!("SKIPPED: proving the expectations needs a redis-server 7.0.15, there is {other:?}");
        }
    }
    kinds
}

fn conversations(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/scripts").join(name);
    for kind in both() {
        let record = kind == Kind::Redis && env_u64("CLAIMLOG_SCRIPT_RECORD", 0) == 1;
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let wrong = script::run(Options::new(kind).dir(dir.path()), &path, record);
        assert!(wrong.is_empty(), "{kind:?}, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
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

#[test]
fn xadd() {
    conversations("xadd.txt");
}

#[test]
fn xtrim() {
    conversations("xtrim.txt");
}

#[test]
fn counters() {
    conversations("counters.txt");
}

#[test]
fn xdelex() {
    conversations("xdelex.txt");
}

#[test]
fn xackdel() {
    conversations("xackdel.txt");
}

#[test]
fn xnack() {
    conversations("xnack.txt");
}

#[test]
fn xreadgroup_claim() {
    conversations("xreadgroup_claim.txt");
}

#[test]
fn blocking_claim() {
    conversations("blocking_claim.txt");
}

#[test]
fn xread_limits() {
    conversations("xread_limits.txt");
}

#[test]
fn idmp() {
    conversations("idmp.txt");
}

#[test]
fn xinfo_later() {
    conversations("xinfo_later.txt");
}

#[test]
fn keys() {
    conversations("keys.txt");
}

#[test]
fn expire() {
    conversations("expire.txt");
}

#[test]
fn maxmemory() {
    conversations("maxmemory.txt");
}

#[test]
fn restarts() {
    conversations("restarts.txt");
}

#[test]
fn texts() {
    conversations("texts.txt");
}
