//! The process is killed at one of its changes to the disk, or in the middle of one: every change of a first start, of a
//! restart, and of snapshots on the way. Each time the next start has all that was answered, without a warning.
//!
//! `CLAIMLOG_FAULTS_KILLS`: how many kills there are in each of the four scenes (8), spread evenly; 0: one at each
//! change. `CLAIMLOG_SEED`: what clients do, and which changes it is.

use std::time::Duration;

use crate::common::{Options, Rng, Server, env_u64, seed};
use crate::load::Load;
use crate::shim::{self, Shim};

const CLIENTS: usize = 2;
/// Enough for snapshots in both places.
const STEPS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(30);

fn with_snapshots(options: Options) -> Options {
    options.with("--snapshot-log-bytes", "4k")
}

/// Commands, and then SIGTERM, unless it ends before.
fn live(shim: &Shim, load: &mut Load) {
    let mut server = with_snapshots(shim.options()).spawn();
    if server.wait_until_ready(PATIENCE).is_ok() {
        // It may be killed at any moment from now on.
        load.run(&server, STEPS, None);
        server.signal_if_alive("TERM");
    }
    let status =
        server.wait_exit(PATIENCE).unwrap_or_else(|| panic!("it does not end:\n{}", server.output()));
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(killed || status.success(), "{status}:\n{}", server.output());
}

fn recovers(shim: Shim, load: &mut Load, what: &str) {
    let server = shim.plain().start();
    let said = load.resume(&server, None);
    let output = server.output();
    if said.is_err() || output.contains("warning") || output.contains("panicked") {
        drop(server);
        panic!("{what}: {said:?}\n{output}\n  kept in {}", shim.keep().display());
    }
}

/// `prepare` makes what is there before.
fn scene(name: &str, rule: fn(u64, &mut Rng) -> String, kind: &str, prepare: fn(&Shim, &mut Load)) {
    if shim::skipped() {
        return;
    }
    let (wanted, seed) = (env_u64("CLAIMLOG_FAULTS_KILLS", 8), seed());
    println!("{name}; again with: CLAIMLOG_SEED={seed} cargo test --test faults kills");
    let mut rng = Rng::new(seed);
    let fresh = |rng: &mut Rng| {
        let (shim, mut load) = (Shim::new(), Load::new(CLIENTS, rng.next(), 600));
        prepare(&shim, &mut load);
        (shim, load)
    };
    let (shim, mut load) = fresh(&mut rng);
    shim.rules(&format!("{kind} * 1 * note\n"));
    live(&shim, &mut load);
    let all = shim.hits().len() as u64;
    // It differs from time to time: commands that come at the same time share a write.
    assert!(all > 20, "{all} changes");
    let kills = if wanted == 0 { all } else { wanted.min(all) };
    let mut met = 0;
    for kill in 0..kills {
        let (shim, mut load) = fresh(&mut rng);
        let first = all * kill / kills + 1;
        let at = first + rng.below((all * (kill + 1) / kills + 1).saturating_sub(first).max(1));
        let rule = rule(at, &mut rng);
        shim.rules(&rule);
        live(&shim, &mut load);
        met += shim.hits().len();
        let mut what = format!("CLAIMLOG_SEED={seed}, {name}: {}", rule.trim_end());
        // The next start is cut short too, sometimes.
        if rng.chance(30) {
            let again = format!("mutate * {} 1 kill\n", rng.between(1, 30));
            what += &format!(", then {}", again.trim_end());
            shim.rules(&again);
            let mut server = with_snapshots(shim.options()).spawn();
            let _ = server.wait_until_ready(PATIENCE);
            drop(server);
        }
        shim.rules("");
        recovers(shim, &mut load, &what);
    }
    println!("{name}: {all} changes, killed at {met} of them");
    // A busy machine takes fewer snapshots, and groups more commands.
    assert!(met as u64 * 4 >= kills, "killed at {met} only");
}

fn kill(at: u64, _: &mut Rng) -> String {
    format!("mutate * {at} 1 kill\n")
}

fn tear(at: u64, rng: &mut Rng) -> String {
    format!("write * {at} 1 torn {}\n", [0, 1, 100, 512, 700, 4096][rng.index(6)])
}

fn nothing(_: &Shim, _: &mut Load) {}

fn a_life(shim: &Shim, load: &mut Load) {
    let server = with_snapshots(shim.plain()).start();
    load.run(&server, STEPS, None);
    drop(server);
}

fn two_lives(shim: &Shim, load: &mut Load) {
    for _ in 0..2 {
        let mut server: Server = with_snapshots(shim.plain()).start();
        load.resume(&server, None).unwrap();
        load.run(&server, STEPS, None);
        server.signal("TERM");
        server.wait_exit(PATIENCE).expect("it ends");
    }
}

#[test]
fn kills_in_a_first_start() {
    scene("a first start", kill, "mutate", nothing);
}

#[test]
fn kills_in_a_restart_after_a_kill() {
    scene("a restart after a kill", kill, "mutate", a_life);
}

#[test]
fn kills_in_a_restart_after_an_end() {
    scene("a restart after an end", kill, "mutate", two_lives);
}

#[test]
fn kills_in_the_middle_of_a_write() {
    scene("in the middle of a write", tear, "write", a_life);
}
