//! How long the hot paths take: one file per noun. `cargo bench` measures, `cargo bench -- --test` runs each once,
//! `cargo bench -- record` only those with that in their name.
//!
//! What each figure contains is said where it is measured; `docs/performance.md` has some.

mod common;
mod log;
mod pending;
mod record;
mod replay;
mod request;
mod snapshot;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(2000))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    record::benches(&mut criterion);
    request::benches(&mut criterion);
    pending::benches(&mut criterion);
    log::benches(&mut criterion);
    replay::benches(&mut criterion);
    snapshot::benches(&mut criterion);
    criterion.final_summary();
}
