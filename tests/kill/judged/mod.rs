//! Clients whose every call and reply is written down, and judged after each crash by `claimlog::history`.

mod client;
mod observe;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread::Scope;

use claimlog::EntryId;
use claimlog::history::{Crash, History, Name, Op, Outcome, Report, Rules};

use crate::common::{Client, Rng, Server, now_ms};
use client::{Histories, Worker};

pub(crate) struct Load {
    workers: Vec<Worker>,
    shared: Name,
    histories: Histories,
}

impl Load {
    /// So many clients, whose keys begin like this.
    pub(crate) fn new(clients: u64, prefix: &str, rules: Rules, rng: &mut Rng) -> Self {
        let shared: Name = format!("{prefix}shared").into();
        let worker = |at| Worker::new(at, prefix, &shared, rules, rng.next());
        let workers: Vec<Worker> = (0..clients).map(worker).collect();
        let keys = workers.iter().map(|worker| worker.key().clone()).chain([shared.clone()]);
        let histories = keys.map(|key| (key, Mutex::new(History::new(rules)))).collect();
        Self { workers, shared, histories }
    }

    /// The group that all work in.
    pub(crate) fn prepare(&mut self, server: &Server) {
        let create = Op::CreateGroup { key: self.shared.clone(), group: "g".into(), at: Some(EntryId::MIN) };
        let history = self.histories.get_mut(&self.shared).unwrap().get_mut().unwrap();
        let call = history.call("setup", create.clone(), now_ms());
        let reply = server.client().call(&create.commands()[0]).unwrap();
        let told = wire::outcome(&create, &reply);
        assert_eq!(told, Outcome::Ok);
        history.answer(call, told, now_ms());
    }

    /// Everybody works until the server is gone, or `stop`.
    pub(crate) fn start<'scope>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        port: u16,
        stop: &'scope AtomicBool,
    ) {
        let histories = &self.histories;
        for worker in &mut self.workers {
            scope.spawn(move || worker.work(port, histories, stop));
        }
    }

    /// The server is gone, with whatever was under way.
    pub(crate) fn lost(&mut self) {
        for history in self.histories.values_mut() {
            history.get_mut().unwrap().crash(Crash::Strict, now_ms());
        }
    }

    /// What is there, against all that was sent and told.
    pub(crate) fn check(&mut self, client: &mut Client) -> Result<(), String> {
        for (key, history) in &mut self.histories {
            let history = history.get_mut().unwrap();
            let found = observe::observe(client, key)?;
            history.observe(key, found, now_ms());
            history.check().map_err(|finding| format!("{key}:\n{finding}"))?;
            // The past is long.
            history.settle();
        }
        Ok(())
    }

    pub(crate) fn answered(&self) -> u64 {
        self.workers.iter().map(|worker| worker.answered).sum()
    }

    pub(crate) fn report(&mut self) -> Report {
        let mut all = Report::default();
        for history in self.histories.values_mut() {
            let one = history.get_mut().unwrap().report();
            all.took_place += one.took_place;
            all.did_not += one.did_not;
            all.steps += one.steps;
        }
        all
    }
}
