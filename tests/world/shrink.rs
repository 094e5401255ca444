//! From a run that fails to a short one that still does.

use std::time::{Duration, Instant};

use crate::plan::Step;

/// Takes steps out as long as the run still fails; says why the shortest one does.
pub(crate) fn shrink(
    steps: &[Step],
    patience: Duration,
    fails: impl Fn(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let began = Instant::now();
    let mut steps = steps.to_vec();
    let mut why = fails(&steps).unwrap_or_else(|| "it does not fail again".into());
    let mut chunk = steps.len().div_ceil(2);
    while chunk > 0 && began.elapsed() < patience {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() && began.elapsed() < patience {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(steps.len()));
            match fails(&fewer) {
                Some(still) => {
                    (steps, why, shorter) = (fewer, still, true);
                }
                None => at += chunk,
            }
        }
        if chunk == 1 && !shorter {
            break;
        }
        chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
    }
    (steps, why)
}
