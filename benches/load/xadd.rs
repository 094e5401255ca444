//! How long XADDs take while snapshots are written, and while none is.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::client::{Client, request};
use super::{percentile, say};

/// How often the server is asked whether it writes a snapshot.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Clients that each add an entry, await the reply and add the next, for some seconds without snapshots and for some with
/// one after the other, in turns
///
/// A snapshot is what --snapshot-command asks for. INFO is asked every 2 ms whether one is being written, and if not the
/// next one is asked for. XADDs that overlap one count; p99 of these, and of those in the seconds without.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// How long each turn of each kind takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// What to trim the stream to, about
    #[arg(long, default_value_t = 1_000_000)]
    max_len: u64,
    #[arg(long, default_value_t = 16)]
    value_bytes: usize,
    /// BGSAVE, or BGREWRITEAOF for a Redis whose log is on
    #[arg(long, default_value = "BGSAVE")]
    snapshot_command: String,
}

/// One XADD.
struct Sample {
    began: Instant,
    ended: Instant,
}

impl Sample {
    fn took_us(&self) -> u32 {
        (self.ended - self.began).as_micros() as u32
    }
}

/// What INFO said at a moment.
struct Look {
    at: Instant,
    writing: bool,
}

/// What the clients share.
#[derive(Default)]
struct Turn {
    over: Cell<bool>,
    samples: RefCell<Vec<Sample>>,
}

pub(crate) async fn run(options: Options) -> io::Result<()> {
    let mut control = Client::connect(options.port).await?;
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        clients.push(Client::connect(options.port).await?);
    }
    let value = "x".repeat(options.value_bytes);
    let max_len = options.max_len.to_string();
    let add = request(&["XADD", "jobs", "MAXLEN", "~", &max_len, "*", "task", &value]);
    let seconds = Duration::from_secs_f64(options.seconds);
    let snapshots = Snapshots::new(&options.snapshot_command);
    let (mut without_us, mut during_us) = (Vec::new(), Vec::new());
    let (mut written, mut writing_seconds) = (0, 0.0);
    for _ in 0..options.turns {
        let samples;
        (clients, samples) = add_for(clients, &add, async {
            sleep(seconds).await;
            Ok(())
        })
        .await?;
        without_us.extend(samples.iter().map(Sample::took_us));

        let mut looks = Vec::new();
        let mut samples;
        (clients, samples) = add_for(clients, &add, async {
            looks = snapshots.write_for(&mut control, seconds).await?;
            Ok(())
        })
        .await?;
        let windows = windows(&looks);
        written += windows.len();
        writing_seconds += windows.iter().map(|(begin, end)| (*end - *begin).as_secs_f64()).sum::<f64>();
        samples.retain(|sample| {
            let first = windows.partition_point(|(_, end)| *end < sample.began);
            windows.get(first).is_some_and(|(begin, _)| *begin <= sample.ended)
        });
        during_us.extend(samples.iter().map(Sample::took_us));
        snapshots.await_end(&mut control).await?;
    }
    without_us.sort_unstable();
    during_us.sort_unstable();
    let turns_seconds = options.seconds * options.turns as f64;
    let ms = |sorted: &[u32], percent| f64::from(percentile(sorted, percent)) / 1000.0;
    say("requests", (without_us.len() + during_us.len()) as f64);
    say("snapshots", written as f64);
    say("snapshot_time_percent", writing_seconds / turns_seconds * 100.0);
    say("rate_without", without_us.len() as f64 / turns_seconds);
    say("rate_during", during_us.len() as f64 / writing_seconds);
    say("p50_ms_without", ms(&without_us, 50.0));
    say("p50_ms_during", ms(&during_us, 50.0));
    say("p99_ms_without", ms(&without_us, 99.0));
    say("p99_ms_during", ms(&during_us, 99.0));
    say("p999_ms_without", ms(&without_us, 99.9));
    say("p999_ms_during", ms(&during_us, 99.9));
    say("p99_ratio", ms(&during_us, 99.0) / ms(&without_us, 99.0));
    Ok(())
}

/// All clients add entries until `meanwhile` is over. Hands the clients back.
async fn add_for(
    clients: Vec<Client>,
    add: &[u8],
    meanwhile: impl Future<Output = io::Result<()>>,
) -> io::Result<(Vec<Client>, Vec<Sample>)> {
    let turn = Rc::new(Turn::default());
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let (turn, add) = (Rc::clone(&turn), add.to_vec());
            tokio::task::spawn_local(async move {
                while !turn.over.get() {
                    let began = Instant::now();
                    client.call(&add).await?;
                    turn.samples.borrow_mut().push(Sample { began, ended: Instant::now() });
                }
                io::Result::Ok(client)
            })
        })
        .collect();
    let done = meanwhile.await;
    turn.over.set(true);
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await??);
    }
    done?;
    Ok((clients, turn.samples.take()))
}

/// How snapshots are asked for, and where INFO says whether one is being written.
struct Snapshots {
    ask: Vec<u8>,
    line: &'static str,
}

impl Snapshots {
    fn new(command: &str) -> Self {
        let rewrites = command.eq_ignore_ascii_case("BGREWRITEAOF");
        let line = if rewrites { "aof_rewrite_in_progress" } else { "rdb_bgsave_in_progress" };
        Self { ask: request(&[command]), line }
    }

    async fn look(&self, control: &mut Client) -> io::Result<Look> {
        let writing = control.info("persistence", self.line).await? == 1;
        Ok(Look { at: Instant::now(), writing })
    }

    /// Has one after the other written. What INFO said meanwhile.
    async fn write_for(&self, control: &mut Client, time: Duration) -> io::Result<Vec<Look>> {
        let end = Instant::now() + time;
        let mut looks = Vec::new();
        while Instant::now() < end {
            let look = self.look(control).await?;
            if !look.writing {
                control.send(&self.ask).await?;
                // It may be an error: another one began meanwhile.
                control.raw_reply().await?;
            }
            looks.push(look);
            sleep(LOOK_EVERY).await;
        }
        Ok(looks)
    }

    async fn await_end(&self, control: &mut Client) -> io::Result<()> {
        while self.look(control).await?.writing {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// From when to when snapshots were written: from the last look before one was seen to the first when it was not.
fn windows(looks: &[Look]) -> Vec<(Instant, Instant)> {
    let mut windows: Vec<(Instant, Instant)> = Vec::new();
    for pair in looks.windows(2).filter(|pair| pair[0].writing || pair[1].writing) {
        match windows.last_mut() {
            Some((_, end)) if *end == pair[0].at && pair[0].writing => *end = pair[1].at,
            _ => windows.push((pair[0].at, pair[1].at)),
        }
    }
    windows
}
