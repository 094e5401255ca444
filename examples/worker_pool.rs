//! A pool of workers that die, on the library alone: no server, no runtime.
//!
//! Producers add jobs to a stream. Workers read them as a consumer group, and every now and then one of them dies in
//! the middle of a job: its thread ends, nothing is acknowledged. A reaper claims what has been idle for too long and
//! does it. In the end every job was done, whoever died, and the program proves it: first on the running engine, then
//! once more after closing and reopening the directory.
//!
//! ```sh
//! cargo run --release --example worker_pool            # in a temporary directory
//! cargo run --release --example worker_pool -- ./pool  # in a directory of your choice, which is kept
//! ```
//!
//! What to take home: an effect outside of the log can happen twice, because a worker may die between the effect and
//! the acknowledgement. An effect *inside* it can't: acknowledgement and result are one transaction.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait};
use claimlog::op::{
    Entry, GroupStart, PendingEntry, XAck, XAdd, XAutoClaim, XGroupCreate, XLen, XPendingRows,
    XPendingSummary, XRange, XReadGroup,
};
use claimlog::{EntryId, Fields};

const JOBS: u64 = 400;
const PRODUCERS: u64 = 2;
const WORKERS: usize = 4;
/// One job in so many is the last one of its worker.
const DEATH_ONE_IN: u64 = 20;
/// Jobs pending for longer than this belong to the dead.
const IDLE_MS: u64 = 200;
/// After this long something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 7;

const QUEUE: &str = "jobs";
const RESULTS: &str = "results";
const GROUP: &str = "pool";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    match std::env::args_os().nth(1) {
        Some(dir) => run(Path::new(&dir)),
        None => {
            let dir: PathBuf = std::env::temp_dir().join(format!("claimlog-pool-{}", std::process::id()));
            run(&dir).map_err(|error| format!("{error} (the data is left in {})", dir.display()))?;
            Ok(std::fs::remove_dir_all(&dir)?)
        }
    }
}

fn run(dir: &Path) -> Result<(), Failure> {
    let (engine, _) = Options::new(dir).open()?;
    if engine.execute_blocking(&XLen { key: QUEUE.into() })? > 0 {
        return Err(
            format!("{} holds the jobs of an earlier run: choose another directory", dir.display()).into()
        );
    }
    engine.execute_blocking(&XGroupCreate {
        key: QUEUE.into(),
        group: GROUP.into(),
        start: GroupStart::After(EntryId::MIN),
        make_stream: true,
        entries_read: None,
    })?;

    let began = Instant::now();
    let pool = Arc::new(Pool::new(engine));
    let producers = (0..PRODUCERS).map(|no| pool.start(move |pool| pool.produce(no))).collect::<Vec<_>>();
    let reaper = pool.start(Pool::reap);
    let deaths = pool.supervise(began)?;
    for thread in producers.into_iter().chain([reaper]) {
        join(thread)?;
    }
    println!("{JOBS} jobs done in {:.2} s by {WORKERS} workers at a time", began.elapsed().as_secs_f64());
    println!("  {deaths} workers died in the middle of a job");
    println!("  {} jobs were claimed from the dead", pool.claimed.load(Ordering::Relaxed));
    let twice = pool.effects().values().filter(|times| **times > 1).count();
    println!(
        "  {twice} had their outside effect twice: their worker died after it, before it could acknowledge"
    );
    let redelivered = check(&pool.engine)?;
    println!("  {redelivered} of the results came from a job that was delivered more than once");
    if redelivered < deaths {
        return Err("a worker died with a job, and nobody was given it again".into());
    }
    if pool.effects().len() as u64 != JOBS {
        return Err("not every job had its outside effect".into());
    }

    let digest = pool.engine.digest();
    let pool = Arc::into_inner(pool).ok_or("a thread is still running")?;
    pool.engine.close()?;
    let (engine, report) = Options::new(dir).open()?;
    println!("closed and opened again: {report}");
    check(&engine)?;
    if engine.digest() != digest {
        return Err("the state that was recovered is another one".into());
    }
    println!("every job has one result, nothing is pending, and the state is the same to the last bit");
    engine.close()?;
    Ok(())
}

/// What all threads share.
struct Pool {
    engine: Engine,
    /// Stands for the world outside: how often each job had its effect.
    effects: Mutex<BTreeMap<u64, u32>>,
    claimed: AtomicU64,
    all_done: AtomicBool,
}

/// How the life of a worker ended.
enum End {
    /// There was nothing more to do.
    Retired,
    /// In the middle of a job.
    Died,
}

impl Pool {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            effects: Mutex::default(),
            claimed: AtomicU64::new(0),
            all_done: AtomicBool::new(false),
        }
    }

    /// Runs a part of the pool on a thread of its own.
    fn start<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> JoinHandle<Result<T, Failure>> {
        let pool = Arc::clone(self);
        spawn(move || work(&pool))
    }

    /// Adds every job whose number falls to this producer. Each is on disk before the next one is added.
    fn produce(&self, no: u64) -> Result<(), Failure> {
        for job in (no..JOBS).step_by(PRODUCERS as usize) {
            let fields = Fields::from_pairs([("job", job.to_string())]);
            self.engine.execute_blocking(&XAdd::new(QUEUE, fields))?;
        }
        Ok(())
    }

    /// Keeps the pool at its size, with a new worker for each that died, until all jobs are done. Answers the deaths.
    fn supervise(self: &Arc<Self>, began: Instant) -> Result<u64, Failure> {
        let mut hired = 0;
        let mut deaths = 0;
        let mut hire = || {
            hired += 1;
            let name = format!("worker-{hired}");
            self.start(move |pool| pool.work(&name, &mut Dice(SEED + hired)))
        };
        let mut workers: Vec<_> = (0..WORKERS).map(|_| hire()).collect();
        while self.engine.execute_blocking(&XLen { key: RESULTS.into() })? < JOBS {
            if began.elapsed() > PATIENCE {
                return Err("the jobs are not done after a minute".into());
            }
            for worker in &mut workers {
                if worker.is_finished() {
                    let ended = std::mem::replace(worker, hire());
                    deaths += u64::from(matches!(join(ended)?, End::Died));
                }
            }
            sleep(Duration::from_millis(10));
        }
        self.all_done.store(true, Ordering::Release);
        for worker in workers {
            deaths += u64::from(matches!(join(worker)?, End::Died));
        }
        Ok(deaths)
    }

    /// The life of a worker: waits for a job, does it, waits for the next.
    fn work(&self, name: &str, dice: &mut Dice) -> Result<End, Failure> {
        while !self.all_done.load(Ordering::Acquire) {
            for job in self.next_job(name)? {
                let fate = dice.roll(DEATH_ONE_IN * 2);
                if fate == 0 {
                    return Ok(End::Died); // Before the effect: it will happen once.
                }
                self.take_effect(&job)?;
                if fate == 1 {
                    return Ok(End::Died); // After the effect, before the acknowledgement: it will happen twice.
                }
                self.complete(&job, name, 1)?;
            }
        }
        Ok(End::Retired)
    }

    /// Waits for a new job, for a moment. What is returned is on disk as delivered to this worker.
    fn next_job(&self, worker: &str) -> Result<Vec<PendingEntry>, Failure> {
        let read = XReadGroup { count: Some(1), ..XReadGroup::new(GROUP, worker.to_owned(), QUEUE) };
        let ticket = match self.engine.read_or_wait(BlockingRead::Group(read)) {
            ReadOrWait::Now(ticket) => ticket,
            ReadOrWait::Waiting(waiting) => match waiting.wait_blocking(Some(Duration::from_millis(50))) {
                Ok(ticket) => ticket,
                Err(_nothing_until_then) => return Ok(Vec::new()),
            },
        };
        let streams = self.engine.redeem_blocking(ticket)?;
        Ok(streams.into_iter().flat_map(|stream| stream.entries).collect())
    }

    /// Claims what the dead left behind, and does it.
    fn reap(&self) -> Result<(), Failure> {
        let name = "reaper";
        while !self.all_done.load(Ordering::Acquire) {
            let mut start = EntryId::MIN;
            loop {
                let found = self.engine.execute_blocking(&XAutoClaim {
                    key: QUEUE.into(),
                    group: GROUP.into(),
                    consumer: name.into(),
                    min_idle_ms: IDLE_MS,
                    start,
                    count: 16,
                    just_id: false,
                })?;
                self.claimed.fetch_add(found.entries.len() as u64, Ordering::Relaxed);
                for job in found.entries {
                    let deliveries = self.deliveries(job.id)?;
                    self.take_effect(&job)?;
                    self.complete(&job, name, deliveries)?;
                }
                if found.next == EntryId::MIN {
                    break;
                }
                start = found.next;
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How often a pending job was delivered.
    fn deliveries(&self, id: EntryId) -> Result<u64, Failure> {
        let rows = self.engine.execute_blocking(&XPendingRows {
            key: QUEUE.into(),
            group: GROUP.into(),
            first: id,
            last: id,
            count: 1,
            consumer: None,
            min_idle_ms: 0,
        })?;
        Ok(rows.first().map_or(0, |row| row.delivery_count))
    }

    /// The effect outside: a mail, a payment, a file.
    fn take_effect(&self, job: &PendingEntry) -> Result<(), Failure> {
        sleep(Duration::from_millis(1));
        let fields = job.fields.as_ref().ok_or("a pending job is gone from the stream")?;
        *self.effects().entry(number(fields, "job")?).or_default() += 1;
        Ok(())
    }

    fn effects(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u32>> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The effect inside: acknowledgement and result together, or neither. Who comes second finds nothing to
    /// acknowledge and adds nothing.
    fn complete(&self, job: &PendingEntry, by: &str, deliveries: u64) -> Result<(), Failure> {
        let fields = job.fields.as_ref().ok_or("a pending job is gone from the stream")?;
        let ack = XAck { key: QUEUE.into(), group: GROUP.into(), ids: vec![job.id] };
        let result = Fields::from_pairs([
            ("job", number(fields, "job")?.to_string()),
            ("by", by.to_owned()),
            ("deliveries", deliveries.to_string()),
        ]);
        let result = XAdd::new(RESULTS, result);
        let ticket = self.engine.transaction(|steps| {
            if steps.execute(&ack)? == 1 {
                steps.execute(&result)?;
            }
            Ok::<(), claimlog::Error>(())
        });
        Ok(self.engine.redeem_blocking(ticket)??)
    }
}

/// Every job is in the queue, has exactly one result, and none is pending. Answers how many results came from a job
/// that was delivered more than once.
fn check(engine: &Engine) -> Result<u64, Failure> {
    let pending = engine.execute_blocking(&XPendingSummary { key: QUEUE.into(), group: GROUP.into() })?;
    if pending.count != 0 {
        return Err(format!("{} jobs are still pending", pending.count).into());
    }
    let jobs = numbers(&all(engine, QUEUE)?, "job")?;
    let results = all(engine, RESULTS)?;
    let mut done = numbers(&results, "job")?;
    done.sort_unstable();
    let expected: Vec<u64> = (0..JOBS).collect();
    if done != expected || jobs.len() != expected.len() {
        return Err("not every job has exactly one result".into());
    }
    let deliveries = numbers(&results, "deliveries")?;
    Ok(deliveries.into_iter().filter(|times| *times > 1).count() as u64)
}

fn all(engine: &Engine, key: &str) -> Result<Vec<Entry>, Failure> {
    let range =
        XRange { key: key.into(), first: EntryId::MIN, last: EntryId::MAX, count: None, reverse: false };
    Ok(engine.execute_blocking(&range)?.unwrap_or_default())
}

fn numbers(entries: &[Entry], name: &str) -> Result<Vec<u64>, Failure> {
    entries.iter().map(|entry| number(&entry.fields, name)).collect()
}

fn number(fields: &Fields, name: &str) -> Result<u64, Failure> {
    let value = fields.get(name).ok_or("a field is missing")?;
    Ok(std::str::from_utf8(value)?.parse()?)
}

fn join<T>(thread: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().map_err(|_| "a thread panicked")?
}

/// Random numbers, the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
