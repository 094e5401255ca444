//! The whole engine with several clients in one virtual schedule, and everything that may go wrong, from one seed.
//!
//! `plan.rs` makes steps of a seed, `world.rs` (which lists the faults) runs them, and `claimlog::history` judges: it
//! knows what clients sent and were told, and nothing of the engine. A run that fails is cut down to a short one, and
//! told as a story.
//!
//! ```sh
//! cargo test --test world                                              # some fixed seeds, then new ones for a while
//! CLAIMLOG_SEED=4711 cargo test --test world                           # that seed
//! CLAIMLOG_WORLD_SHRINK=0 cargo test --test world                      # what fails is not cut down
//! CLAIMLOG_WORLD_SECONDS=14400 cargo test --release --test world -- --nocapture     # new seeds, for four hours
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail and may talk")]

mod adapter;
mod hooks;
mod plan;
mod requests;
mod shrink;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plan::{Step, plan};
use world::{Tally, run};

/// The seeds that are always run.
const FIXED: u64 = 300;

/// For how long new ones are.
const SECONDS: u64 = 8;

/// No run takes a hundredth of that.
const PATIENCE: Duration = Duration::from_secs(120);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs steps; a panic is a failure too.
fn attempt(seed: u64, steps: &[Step], panicked: &Mutex<String>) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, steps))).unwrap_or_else(|_| {
        let what = panicked.lock().map(|text| text.clone()).unwrap_or_default();
        Err(format!("a panic: {what}"))
    })
}

enum News {
    Begun(u64),
    Failed(u64, String),
    Ended(u64, Tally),
}

/// Runs seeds until the deadline in a thread of its own, so that one that hangs is noticed.
fn search(seeds: impl Iterator<Item = u64> + Send + 'static, until: Option<Instant>) -> Receiver<News> {
    let (tell, news) = channel();
    std::thread::spawn(move || {
        let panicked = Arc::new(Mutex::new(String::new()));
        let note = Arc::clone(&panicked);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Ok(mut text) = note.lock() {
                *text = info.to_string();
            }
        }));
        let (mut tally, mut count) = (Tally::default(), 0);
        let patience = Duration::from_secs(number("CLAIMLOG_WORLD_SHRINK").unwrap_or(60));
        for seed in seeds {
            if until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            let _ = tell.send(News::Begun(seed));
            let steps = plan(seed);
            match attempt(seed, &steps, &panicked) {
                Ok(more) => {
                    tally.add(&more);
                    count += 1;
                }
                Err(_) => {
                    let fails = |steps: &[Step]| attempt(seed, steps, &panicked).err();
                    let (fewer, why) = shrink::shrink(&steps, patience, fails);
                    let why = format!("{} of {} steps are enough:\n{why}", fewer.len(), steps.len());
                    std::panic::set_hook(before);
                    let _ = tell.send(News::Failed(seed, why));
                    return;
                }
            }
        }
        std::panic::set_hook(before);
        let _ = tell.send(News::Ended(count, tally));
    });
    news
}

fn wait(news: &Receiver<News>) -> (u64, Tally) {
    let mut current = 0;
    loop {
        match news.recv_timeout(PATIENCE) {
            Ok(News::Begun(seed)) => current = seed,
            Ok(News::Ended(count, tally)) => return (count, tally),
            Ok(News::Failed(seed, why)) => {
                panic!("{why}\nreplay with: CLAIMLOG_SEED={seed} cargo test --test world")
            }
            Err(RecvTimeoutError::Timeout) => panic!("seed {current} hangs"),
            Err(RecvTimeoutError::Disconnected) => panic!("seed {current} ended the search"),
        }
    }
}

#[test]
fn nothing_that_was_answered_is_lost_whatever_breaks() {
    let (mut count, mut tally) = (0, Tally::default());
    let began = Instant::now();
    let mut add = |(more, of): (u64, Tally)| {
        count += more;
        tally.add(&of);
    };
    if let Some(seed) = number("CLAIMLOG_SEED") {
        add(wait(&search(seed..=seed, None)));
    } else {
        add(wait(&search(1..=number("CLAIMLOG_WORLD_SEEDS").unwrap_or(FIXED), None)));
        let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64);
        let seconds = number("CLAIMLOG_WORLD_SECONDS").unwrap_or(SECONDS);
        println!("new seeds from {first} on, for {seconds} s");
        add(wait(&search(first.., Some(Instant::now() + Duration::from_secs(seconds)))));
    }
    // A judge who gives up often judges nothing.
    assert!(tally.undecided <= 1 + count / 500, "{} of {count} runs were not decided", tally.undecided);
    println!("{count} runs in {:.1} s: {tally:?}", began.elapsed().as_secs_f64());
}
