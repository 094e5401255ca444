//! A work queue as people have one: producers, workers that die with jobs, a reaper that claims what they left. A ledger
//! knows of every job what was answered about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Client, Rng, Value};

const GROUP: &str = "workers";
/// Producers wait while so many jobs are open.
const OPEN_MAX: usize = 2000;
/// A job that was left alone for so long is claimed.
const ABANDONED_MS: &str = "300";

/// What is known of a job that is not known to be done.
#[derive(Clone, Copy, Debug, Default)]
struct Job {
    /// Its id was answered: it must be there until it is acknowledged.
    added: bool,
    /// So many acknowledgements are under way,
    acking: u32,
    /// and some never got their answer.
    maybe_acked: bool,
}

/// Of every job what was answered about it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: Mutex<HashMap<String, Job>>,
    next: AtomicU64,
    pub(crate) added: AtomicU64,
    pub(crate) done: AtomicU64,
    pub(crate) claimed: AtomicU64,
    pub(crate) answered: AtomicU64,
    /// What must never happen, and did.
    pub(crate) wrong: Mutex<Vec<String>>,
}

impl Ledger {
    pub(crate) fn open_jobs(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    pub(crate) fn complain(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    fn answered(&self, commands: u64) {
        self.answered.fetch_add(commands, Ordering::Relaxed);
    }

    /// Before an acknowledgement is sent.
    fn begins_ack(&self, token: &str) {
        if let Some(job) = self.open.lock().unwrap().get_mut(token) {
            job.acking += 1;
        }
    }

    /// An acknowledgement was answered; `None`: it was not.
    fn ends_ack(&self, token: &str, acked: Option<i64>) {
        let mut open = self.open.lock().unwrap();
        let Some(job) = open.get_mut(token) else {
            if acked == Some(1) {
                self.complain(format!("{token} was acknowledged twice, or nobody ever added it"));
            }
            return;
        };
        job.acking = job.acking.saturating_sub(1);
        match acked {
            Some(1) => {
                open.remove(token);
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            // Somebody else did, whose answer is under way or was lost.
            Some(_) if job.acking > 0 => {}
            Some(_) if job.maybe_acked => {
                open.remove(token);
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            Some(other) => self.complain(format!("{token} answers {other}, and nobody acknowledged it")),
            None => job.maybe_acked = true,
        }
    }

    /// When nobody works: the streams must have every job that was added and not acknowledged, and no other.
    pub(crate) fn check(&self, client: &mut Client, streams: &[&str]) {
        let mut there: BTreeMap<String, String> = BTreeMap::new();
        for stream in streams {
            let mut ids = BTreeSet::new();
            for entry in client.run(&format!("XRANGE {stream} - +")).items() {
                let (id, token) = (entry.items()[0].text(), entry.items()[1].items()[1].text());
                ids.insert(id.clone());
                if there.insert(token.clone(), id).is_some() {
                    self.complain(format!("{token} is there twice"));
                }
            }
            let pending = client.run(&format!("XPENDING {stream} {GROUP} - + 1000000"));
            for row in pending.items() {
                let id = row.items()[0].text();
                if !ids.contains(&id) {
                    self.complain(format!(
                        "{id} is pending, and was acknowledged and deleted in one transaction"
                    ));
                }
                if row.items()[3].int() < 1 {
                    self.complain(format!("{id} was delivered {} times", row.items()[3]));
                }
            }
        }
        let mut open = self.open.lock().unwrap();
        for token in there.keys() {
            if !open.contains_key(token) {
                self.complain(format!("{token} is there again after its acknowledgement was answered"));
            }
        }
        open.retain(|token, job| {
            let is_there = there.contains_key(token);
            if !is_there && job.added && !job.maybe_acked {
                self.complain(format!("{token} was added and not acknowledged, and is gone"));
            }
            self.done.fetch_add(u64::from(!is_there && job.added), Ordering::Relaxed);
            *job = Job { added: true, ..Job::default() };
            is_there
        });
    }
}

/// Somebody who takes part until the connection breaks or `stop`.
pub(crate) struct Worker<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) streams: &'a [&'a str],
    pub(crate) name: String,
    pub(crate) rng: Rng,
    pub(crate) stop: &'a AtomicBool,
    /// Dies now and then, with jobs in its hands.
    pub(crate) careless: bool,
}

impl Worker<'_> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Adds jobs.
    pub(crate) fn produce(&mut self, port: u16) -> io::Result<()> {
        let mut client = Client::connect(port)?;
        while self.goes_on() {
            if self.ledger.open_jobs() > OPEN_MAX {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let stream = self.rng.pick(self.streams).to_owned();
            let tokens: Vec<String> = (0..self.rng.between(1, 20))
                .map(|_| format!("job-{}", self.ledger.next.fetch_add(1, Ordering::Relaxed)))
                .collect();
            let body = "x".repeat(self.rng.index(400));
            let mut open = self.ledger.open.lock().unwrap();
            open.extend(tokens.iter().map(|token| (token.clone(), Job::default())));
            drop(open);
            for token in &tokens {
                client.send(&["XADD", &stream, "*", "token", token, "body", &body])?;
            }
            for token in &tokens {
                let reply = client.recv()?;
                if reply.is_error() {
                    self.ledger.open.lock().unwrap().remove(token);
                    self.ledger.complain(format!("{token} was refused: {reply}"));
                    continue;
                }
                self.ledger.added.fetch_add(1, Ordering::Relaxed);
                self.ledger.answered(1);
                // It may be done by now.
                if let Some(job) = self.ledger.open.lock().unwrap().get_mut(token) {
                    job.added = true;
                }
            }
        }
        Ok(())
    }

    /// Reads jobs, does them, acknowledges them.
    pub(crate) fn work(&mut self, port: u16) -> io::Result<()> {
        let mut client = Client::connect(port)?;
        while self.goes_on() {
            let mut words: Vec<String> =
                ["XREADGROUP", "GROUP", GROUP, &self.name, "COUNT", "10", "BLOCK", "200", "STREAMS"]
                    .map(str::to_owned)
                    .to_vec();
            words.extend(self.streams.iter().map(|stream| (*stream).to_owned()));
            words.extend(self.streams.iter().map(|_| ">".to_owned()));
            let reply = client.call(&words)?;
            self.ledger.answered(1);
            if reply.is_null() {
                continue;
            }
            for stream in reply.items() {
                let (key, entries) = (stream.items()[0].text(), stream.items()[1].items());
                if self.careless && self.rng.chance(5) {
                    // Dies with all of them.
                    return Ok(());
                }
                self.finish(&mut client, &key, entries)?;
            }
        }
        Ok(())
    }

    /// Claims what was left alone, and does it.
    pub(crate) fn reap(&mut self, port: u16) -> io::Result<()> {
        let mut client = Client::connect(port)?;
        while self.goes_on() {
            for stream in self.streams {
                let claim = ["XAUTOCLAIM", stream, GROUP, &self.name, ABANDONED_MS, "0", "COUNT", "50"];
                let reply = client.call(&claim)?;
                self.ledger.answered(1);
                let entries = reply.items()[1].items();
                self.ledger.claimed.fetch_add(entries.len() as u64, Ordering::Relaxed);
                self.finish(&mut client, stream, entries)?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn finish(&self, client: &mut Client, stream: &str, entries: &[Value]) -> io::Result<()> {
        for entry in entries {
            let (id, token) = (entry.items()[0].text(), entry.items()[1].items()[1].text());
            self.ledger.begins_ack(&token);
            let result = (|| {
                client.send(&["MULTI"])?;
                client.send(&["XACK", stream, GROUP, &id])?;
                client.send(&["XDEL", stream, &id])?;
                client.send(&["EXEC"])?;
                for _queued in 0..3 {
                    client.recv()?;
                }
                client.recv()
            })();
            match result {
                Ok(steps) => {
                    self.ledger.answered(4);
                    let steps = steps.items();
                    let acked = steps[0].int();
                    if steps[1].int() != acked {
                        self.ledger
                            .complain(format!("{id} {token}: acknowledged {acked}, deleted {}", steps[1]));
                    }
                    self.ledger.ends_ack(&token, Some(acked));
                }
                Err(error) => {
                    self.ledger.ends_ack(&token, None);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Makes the streams and the group, where they are not there.
pub(crate) fn prepare(client: &mut Client, streams: &[&str]) {
    for stream in streams {
        client.run(&format!("XGROUP CREATE {stream} {GROUP} 0 MKSTREAM"));
    }
}

/// How many jobs the server has.
pub(crate) fn jobs_there(client: &mut Client, streams: &[&str]) -> i64 {
    streams.iter().map(|stream| client.run(&format!("XLEN {stream}")).int()).sum()
}
