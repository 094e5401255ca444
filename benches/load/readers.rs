//! Many readers that wait: what each costs, and how soon they know.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::client::{Client, request};
use super::process::Process;
use super::{percentile, say};

/// Readers that block, each on its own stream or all on one
///
/// Says how many bytes of the server's RSS a connection takes, and one that blocks, how much processor time the server
/// needs while nothing happens, and how long it takes from sending an XADD until a reader has its reply, and until all
/// have. All are woken by one XADD where they wait for one stream, by one each otherwise, in one pipeline. This process
/// and the server need a descriptor for each reader: `ulimit -n`.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// All wait for the same stream
    #[arg(long)]
    one_stream: bool,
    /// With XREADGROUP COUNT 1 instead of XREAD
    #[arg(long)]
    group: bool,
    /// How long the server is watched while nothing happens
    #[arg(long, default_value_t = 10.0)]
    idle_seconds: f64,
    /// How often one reader is woken
    #[arg(long, default_value_t = 200)]
    wakes: usize,
    /// How often all are
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

impl Options {
    fn key(&self, reader: usize) -> String {
        if self.one_stream { "jobs".into() } else { format!("jobs:{reader}") }
    }

    fn read(&self, reader: usize) -> Vec<u8> {
        let (key, consumer) = (self.key(reader), format!("c{reader}"));
        if self.group {
            let group = ["XREADGROUP", "GROUP", "workers", &consumer, "COUNT", "1"];
            request(&[&group[..], &["BLOCK", "0", "STREAMS", &key, ">"]].concat())
        } else {
            request(&["XREAD", "BLOCK", "0", "STREAMS", &key, "$"])
        }
    }

    fn add(&self, reader: usize) -> Vec<u8> {
        request(&["XADD", &self.key(reader), "*", "task", "resize"])
    }

    /// What wakes all.
    fn add_for_all(&self) -> Vec<u8> {
        let adds = if self.one_stream && !self.group { 1 } else { self.readers };
        (0..adds).flat_map(|reader| self.add(reader)).collect()
    }

    /// Makes the groups.
    async fn prepare(&self, control: &mut Client) -> io::Result<()> {
        let streams = if self.one_stream { 1 } else { self.readers };
        let make = |stream| request(&["XGROUP", "CREATE", &self.key(stream), "workers", "$", "MKSTREAM"]);
        let makes: Vec<_> = (0..streams).filter(|_| self.group).map(make).collect();
        control.call_all(&makes).await
    }
}

/// What the readers share.
#[derive(Default)]
struct Readers {
    /// How many have had a reply since the last round began,
    woken: Cell<usize>,
    /// of so many.
    expected: Cell<usize>,
    all_woken: Notify,
    /// They may block again.
    again: Notify,
}

async fn read_on(mut client: Client, read: Vec<u8>, readers: Rc<Readers>) -> io::Result<()> {
    loop {
        client.call(&read).await?;
        let again = readers.again.notified();
        readers.woken.set(readers.woken.get() + 1);
        if readers.woken.get() == readers.expected.get() {
            readers.all_woken.notify_one();
        }
        again.await;
    }
}

pub(crate) async fn run(options: Options) -> io::Result<()> {
    let mut control = Client::connect(options.port).await?;
    let server = Process::of(&mut control).await?;
    options.prepare(&mut control).await?;
    let bytes_before = server.resident_bytes()?;
    let mut clients = Vec::new();
    for _ in 0..options.readers {
        clients.push(Client::connect(options.port).await?);
    }
    // Accepted when it is known.
    while control.info("clients", "connected_clients").await? <= options.readers as u64 {
        sleep(Duration::from_millis(10)).await;
    }
    let each = |bytes: u64| bytes.saturating_sub(bytes_before) as f64 / options.readers as f64;
    say("connection_bytes", each(server.resident_bytes()?));

    let readers = Rc::new(Readers::default());
    for (number, client) in clients.into_iter().enumerate() {
        tokio::task::spawn_local(read_on(client, options.read(number), Rc::clone(&readers)));
    }
    await_blocked(&mut control, &options).await?;
    say("reader_bytes", each(server.resident_bytes()?));

    // What blocking left to be done is done by then.
    sleep(Duration::from_secs(1)).await;
    let busy_before = server.processor_time()?;
    sleep(Duration::from_secs_f64(options.idle_seconds)).await;
    let busy = server.processor_time()? - busy_before;
    say("idle_cpu_ms_per_s", busy.as_secs_f64() * 1000.0 / options.idle_seconds);

    if !options.one_stream || options.group {
        let mut took_us = Vec::new();
        for wake in 0..options.wakes {
            let add = options.add(wake * 7919 % options.readers);
            took_us.push(wake_by(&mut control, &readers, &add, 1).await?.as_micros() as u32);
            await_blocked(&mut control, &options).await?;
        }
        took_us.sort_unstable();
        say("wake_one_p50_us", percentile(&took_us, 50.0).into());
        say("wake_one_p99_us", percentile(&took_us, 99.0).into());
    }
    let add = options.add_for_all();
    let (mut took_us, mut busy_us) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let busy_before = server.processor_time()?;
        took_us.push(wake_by(&mut control, &readers, &add, options.readers).await?.as_micros() as u32);
        busy_us.push((server.processor_time()? - busy_before).as_micros() as u32);
        await_blocked(&mut control, &options).await?;
    }
    took_us.sort_unstable();
    busy_us.sort_unstable();
    say("wake_all_p50_ms", f64::from(percentile(&took_us, 50.0)) / 1000.0);
    say("wake_all_cpu_p50_ms", f64::from(percentile(&busy_us, 50.0)) / 1000.0);
    say("reader_bytes_after", each(server.resident_bytes()?));
    Ok(())
}

/// Sends XADDs and awaits that so many readers have their replies. They block again then.
async fn wake_by(control: &mut Client, readers: &Readers, adds: &[u8], count: usize) -> io::Result<Duration> {
    readers.woken.set(0);
    readers.expected.set(count);
    let began = Instant::now();
    control.send(adds).await?;
    readers.all_woken.notified().await;
    let took = began.elapsed();
    for _ in 0..adds.windows(4).filter(|bytes| bytes == b"XADD").count() {
        control.reply().await?;
    }
    readers.again.notify_waiters();
    Ok(took)
}

async fn await_blocked(control: &mut Client, options: &Options) -> io::Result<()> {
    while control.info("clients", "blocked_clients").await? < options.readers as u64 {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
