//! Makes a failing sequence as short as it gets, by leaving out steps and trying again on empty servers.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::common::line;
use crate::generate::Step;
use crate::run::{Failure, Pair, Stats};

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn shrink(pair: &mut Pair, mut steps: Vec<Step>, mut failure: Failure) -> (Vec<Step>, Failure) {
    let end = Instant::now() + PATIENCE;
    steps.truncate(failure.step + 1);
    let mut chunk = steps.len().div_ceil(2).max(1);
    while Instant::now() < end {
        let mut smaller = false;
        let mut at = 0;
        while at < steps.len() && Instant::now() < end {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(fewer.len()));
            match pair.run(&fewer, &mut Stats::default()) {
                Some(found) => {
                    fewer.truncate(found.step + 1);
                    steps = fewer;
                    failure = found;
                    smaller = true;
                }
                None => at += chunk,
            }
        }
        if chunk == 1 && !smaller {
            break;
        }
        chunk = if smaller { chunk } else { chunk.div_ceil(2) }.min(steps.len()).max(1);
    }
    (steps, failure)
}

/// The sequence as lines for redis-cli, and both last replies.
pub(crate) fn report(steps: &[Step], failure: &Failure) -> String {
    let mut out = String::from("the shortest sequence that differs:\n");
    for step in steps {
        let _ = match step {
            Step::Sleep(ms) => writeln!(out, "  (wait {ms} ms)"),
            Step::Scan(options) => writeln!(out, "  SCAN <cursor> {}  (to the end)", line(options)),
            Step::Call { on: 0, args, inline } => {
                writeln!(out, "  {}{}", line(args), if *inline { "  (inline)" } else { "" })
            }
            Step::Call { on, args, .. } => writeln!(out, "  [connection {on}] {}", line(args)),
        };
    }
    let _ = writeln!(out, "{}\n  redis: {}\n  ours:  {}", failure.why, failure.redis, failure.ours);
    out
}
