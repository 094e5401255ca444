//! Runs one sequence against both servers and stops at the first difference.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Options, Server, Value, features::Features, line, resp};
use crate::generate::{Args, COMMANDS, CONNECTIONS, Step};
use crate::normal::{
    Autos, Context, Normal, difference, lag_is_wrong, looks_at_consumers, makes_consumers, may_empty_a_node,
    moves_counters, normal, normal_exec, puts_another, reads_last, set_below_deleted, vanished_is_known,
    without_later_fields, woken_for_nothing,
};

/// A reply that one side gave and the other did not give in the same way.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) why: String,
    pub(crate) redis: String,
    pub(crate) ours: String,
}

/// How often what was seen, to know that the generator gets somewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) content: u64,
    pub(crate) texts: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) by_command: BTreeMap<String, Count>,
    pub(crate) blocked: u64,
    pub(crate) served: u64,
    pub(crate) served_with_error: u64,
    pub(crate) resp3: u64,
    /// Sequences that ended where a known difference would have been looked at.
    pub(crate) ended_early: u64,
}

impl Stats {
    fn seen(&mut self, args: &[Vec<u8>], reply: &Value) {
        let mut name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        if matches!(name.as_str(), "XGROUP" | "XINFO" | "COMMAND" | "CONFIG" | "CLIENT")
            && let Some(sub) = args.get(1)
        {
            name = format!("{name} {}", String::from_utf8_lossy(sub).to_ascii_uppercase());
        }
        let count = self.by_command.entry(name).or_default();
        count.calls += 1;
        match reply {
            Value::Error(text) => {
                count.errors += 1;
                *count.texts.entry(String::from_utf8_lossy(text).into_owned()).or_default() += 1;
            }
            other if other.has_content() => count.content += 1,
            _ => {}
        }
        if matches!(reply, Value::Map(_) | Value::Null) {
            self.resp3 += 1;
        }
    }
}

/// One server with the connections of the sequence.
struct Side {
    options: Options,
    server: Server,
    control: Client,
    connections: Vec<Client>,
    /// What CLIENT ID says on each of the connections.
    ids: Vec<i64>,
    autos: Autos,
}

impl Side {
    fn start(kind: Kind) -> Self {
        let options = Options::new(kind);
        let server = options.start();
        let control = server.client();
        let mut connections: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
        let ids = connections.iter_mut().map(|connection| connection.run("CLIENT ID").int()).collect();
        Self { options, server, control, connections, ids, autos: Autos::default() }
    }

    /// An empty server and fresh connections; `used` ones may be in any state.
    fn fresh(&mut self, stale: &[usize]) -> Result<(), String> {
        self.try_fresh(stale).map_err(|e| format!("{:?} does not become empty: {e}", self.server.kind))
    }

    fn try_fresh(&mut self, stale: &[usize]) -> io::Result<()> {
        self.autos = Autos::default();
        for &on in stale {
            let new = Client::connect(self.server.port)?;
            std::mem::replace(&mut self.connections[on], new).close();
            self.ids[on] = self.connections[on].run("CLIENT ID").int();
        }
        for connection in &mut self.connections {
            connection.send(&["RESET"])?;
        }
        for connection in &mut self.connections {
            let reply = connection.recv()?;
            if reply != Value::Simple(b"RESET".to_vec()) {
                return Err(io::Error::other(format!("RESET answered {reply}")));
            }
        }
        let commands =
            ["FLUSHALL", "CONFIG SET stream-node-max-entries 100", "CONFIG SET stream-node-max-bytes 4096"];
        let commands: Vec<Args> = commands.iter().map(|line| crate::common::words(line)).collect();
        for (reply, command) in self.control.pipeline(&commands)?.into_iter().zip(&commands) {
            if reply != Value::Simple(b"OK".to_vec()) {
                return Err(io::Error::other(format!("{} answered {reply}", line(command))));
            }
        }
        if !stale.is_empty() && !self.wait_for_blocked(0, Duration::from_secs(2))? {
            return Err(io::Error::other("connections that were closed still count as blocked"));
        }
        Ok(())
    }

    fn restart(&mut self) {
        *self = Self::start(self.options.kind);
    }

    /// Waits until exactly `want` clients are blocked.
    fn wait_for_blocked(&mut self, want: usize, patience: Duration) -> io::Result<bool> {
        let end = Instant::now() + patience;
        let field = format!("blocked_clients:{want}\r\n");
        loop {
            if self.control.call(&["INFO", "clients"])?.text().contains(&field) {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
        }
    }

    fn send(&mut self, on: usize, args: &[Vec<u8>], inline: bool) -> io::Result<()> {
        let mut args = self.autos.fill(args);
        for arg in &mut args {
            let of =
                String::from_utf8_lossy(arg).strip_prefix("@client:").and_then(|on| on.parse::<usize>().ok());
            if let Some(on) = of {
                *arg = self.ids[on].to_string().into_bytes();
            }
        }
        self.connections[on].send_raw(&wire(&args, inline))
    }
}

/// What a connection is in the middle of.
#[derive(Clone, Debug, Default)]
struct Talk {
    /// A read that has not been answered.
    blocked: Option<Args>,
    /// The commands of a transaction so far.
    queued: Option<Vec<Args>>,
}

pub(crate) struct Pair {
    redis: Side,
    ours: Side,
    talks: Vec<Talk>,
    counters_differ: bool,
    seen_differs: bool,
    /// When the last command was sent.
    sent: Instant,
    /// A transaction looked at what a known difference made: nothing more can be compared.
    ends_here: bool,
    /// The longest time between the same command reaching the two servers.
    skew: Duration,
}

impl Pair {
    /// A real Redis on one side, `kind` on the other.
    pub(crate) fn start(kind: Kind) -> Self {
        Self {
            redis: Side::start(Kind::Redis),
            ours: Side::start(kind),
            talks: vec![Talk::default(); CONNECTIONS],
            counters_differ: false,
            seen_differs: false,
            sent: Instant::now(),
            ends_here: false,
            skew: Duration::ZERO,
        }
    }

    /// What our side can do.
    pub(crate) fn features(&mut self) -> Features {
        Features::ask(&mut self.ours.control, COMMANDS)
    }

    /// Runs the sequence on empty servers; the first difference, if there is one.
    pub(crate) fn run(&mut self, steps: &[Step], stats: &mut Stats) -> Option<Failure> {
        let blocked = |talk: &Talk| talk.blocked.is_some();
        let stale: Vec<usize> = (0..CONNECTIONS).filter(|&on| blocked(&self.talks[on])).collect();
        self.talks = vec![Talk::default(); CONNECTIONS];
        self.counters_differ = false;
        self.seen_differs = false;
        self.ends_here = false;
        self.skew = Duration::ZERO;
        self.redis.fresh(&stale).expect("redis-server");
        if let Err(why) = self.ours.fresh(&stale) {
            self.ours.restart();
            if !stale.is_empty() || self.ours.fresh(&[]).is_err() {
                return Some(Failure { step: 0, why, redis: "-".to_owned(), ours: "-".to_owned() });
            }
        }
        let mut at = 0;
        while at < steps.len() {
            let mut done = 1;
            let failed = match &steps[at] {
                Step::Sleep(ms) => {
                    std::thread::sleep(Duration::from_millis(*ms));
                    Ok(())
                }
                Step::Scan(options) => self.scan(options, stats),
                Step::Call { on, args, inline } => {
                    done = self.pipeline_from(&steps[at..]);
                    if done > 1 {
                        self.pipeline(&steps[at..at + done], stats).map_err(|(good, failure)| {
                            at += good;
                            failure
                        })
                    } else {
                        self.call(*on, args, *inline, stats)
                    }
                }
            };
            if let Err(mut failure) = failed {
                failure.step = at;
                // Whatever state the connections are in now, the next sequence starts with new ones.
                self.redis.restart();
                self.ours.restart();
                self.talks = vec![Talk::default(); CONNECTIONS];
                return Some(*failure);
            }
            if self.ends_here {
                stats.ended_early += 1;
                // The transaction may have been in the middle of what was sent.
                break;
            }
            at += done;
        }
        None
    }

    /// How many of the next steps can go out in one write: calls on one connection that wake nobody, block
    /// nobody, and name no id that is still to be made.
    fn pipeline_from(&self, steps: &[Step]) -> usize {
        if self.talks.iter().any(|talk| talk.blocked.is_some()) {
            return 1;
        }
        let Some(Step::Call { on: first, .. }) = steps.first() else { return 1 };
        let fits = |step: &Step| match step {
            Step::Call { on, args, .. } => {
                on == first && !may_block(*on, args) && !args.iter().any(|arg| arg.contains(&b'@'))
            }
            _ => false,
        };
        let mut count = 0;
        for step in steps.iter().take(16).take_while(|step| fits(step)) {
            count += 1;
            // After these, something may have to be done or looked at before anything else is.
            let names: [&[u8]; 7] =
                [b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM", b"EXEC", b"RANDOMKEY", b"XREAD", b"XSETID"];
            if let Step::Call { args, .. } = step
                && (names.contains(&args[0].to_ascii_uppercase().as_slice()) || may_empty_a_node(args))
            {
                break;
            }
        }
        count.max(1)
    }

    /// Sends all, then compares all; on a difference says how many were the same before it.
    fn pipeline(&mut self, steps: &[Step], stats: &mut Stats) -> Result<(), (usize, Box<Failure>)> {
        self.sent = Instant::now();
        let mut on = 0;
        let mut bytes = Vec::new();
        for step in steps {
            let Step::Call { on: at, args, inline } = step else { unreachable!("only calls are pipelined") };
            on = *at;
            bytes.extend(wire(args, *inline));
        }
        self.redis.connections[on].send_raw(&bytes).expect("redis-server takes commands");
        self.ours.connections[on].send_raw(&bytes).map_err(|e| (0, gone(&e)))?;
        let redis: Vec<Value> =
            steps.iter().map(|_| self.redis.connections[on].recv().expect("redis-server answers")).collect();
        let mut ours = Vec::new();
        for (at, redis) in redis.iter().enumerate() {
            let reply = self.ours.connections[on].recv();
            ours.push(reply.map_err(|e| (at, failure("no reply", redis, &e.to_string())))?);
        }
        self.skew = self.skew.max(self.sent.elapsed());
        for (at, ((step, redis), ours)) in steps.iter().zip(redis).zip(ours).enumerate() {
            let Step::Call { args, .. } = step else { continue };
            stats.seen(args, &redis);
            self.compare(on, args, redis, ours).map_err(|failure| (at, failure))?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        on: usize,
        args: &[Vec<u8>],
        inline: bool,
        stats: &mut Stats,
    ) -> Result<(), Box<Failure>> {
        if self.talks[on].blocked.is_some() {
            return Ok(());
        }
        self.sent = Instant::now();
        self.redis.send(on, args, inline).expect("redis-server takes a command");
        self.ours.send(on, args, inline).map_err(|e| gone(&e))?;
        let redis = if may_block(on, args) {
            let before = self.talks.iter().filter(|talk| talk.blocked.is_some()).count();
            match self.answer_or_block(on, before)? {
                Some(reply) => reply,
                None => {
                    self.talks[on].blocked = Some(args.to_vec());
                    stats.blocked += 1;
                    self.same_consumers(on, args, &Value::NullArray);
                    return Ok(());
                }
            }
        } else {
            self.redis.connections[on].recv().expect("redis-server answers")
        };
        let ours =
            self.ours.connections[on].recv().map_err(|e| failure("no reply", &redis, &e.to_string()))?;
        self.skew = self.skew.max(self.sent.elapsed());
        stats.seen(args, &redis);
        let queued = self.talks[on].queued.clone().unwrap_or_default();
        self.compare(on, args, redis, ours)?;
        let done = if args[0].eq_ignore_ascii_case(b"EXEC") { queued } else { vec![args.to_vec()] };
        self.settle(&done, stats)
    }

    /// Redis's reply, or `None` if both servers block.
    fn answer_or_block(&mut self, on: usize, before: usize) -> Result<Option<Value>, Box<Failure>> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some(reply) =
                self.redis.connections[on].try_recv(Duration::from_micros(200)).expect("redis-server")
            {
                return Ok(Some(reply));
            }
            if self.redis.wait_for_blocked(before + 1, Duration::ZERO).expect("redis-server") {
                break;
            }
            assert!(Instant::now() < end, "redis-server neither answers nor blocks");
        }
        if self.ours.wait_for_blocked(before + 1, Duration::from_secs(2)).map_err(|e| gone(&e))? {
            return Ok(None);
        }
        let ours = self.ours.connections[on].try_recv(Duration::from_millis(1)).map_err(|e| gone(&e))?;
        let ours =
            ours.map_or("neither blocks (INFO blocked_clients) nor answers".to_owned(), |v| v.to_string());
        Err(Box::new(Failure {
            step: 0,
            why: "only Redis blocks".to_owned(),
            redis: "blocks".to_owned(),
            ours,
        }))
    }

    /// Every blocked connection is answered by both servers or by none, after what was done.
    fn settle(&mut self, done: &[Args], stats: &mut Stats) -> Result<(), Box<Failure>> {
        if self.talks.iter().all(|talk| talk.blocked.is_none()) {
            return Ok(());
        }
        // After this reply, whoever was woken by the command before it has been written to.
        self.redis.control.call(&["PING"]).expect("redis-server answers");
        self.ours.control.call(&["PING"]).map_err(|e| gone(&e))?;
        for on in 0..CONNECTIONS {
            let Some(args) = self.talks[on].blocked.clone() else { continue };
            let mut redis = self.redis.connections[on].try_recv(Duration::ZERO).expect("redis-server");
            let ours = if redis.is_some() {
                self.ours.connections[on].try_recv(Duration::from_secs(2)).map_err(|e| gone(&e))?
            } else {
                let ours = self.ours.connections[on].try_recv(Duration::ZERO).map_err(|e| gone(&e))?;
                if ours.is_some() {
                    redis = self.redis.connections[on]
                        .try_recv(Duration::from_millis(200))
                        .expect("redis-server");
                }
                ours
            };
            match (redis, ours) {
                (None, None) => {
                    if done.iter().any(|done| puts_another(done, &args)) {
                        self.same_consumer_elsewhere(&args)?;
                    }
                }
                // Ours went on waiting, until its time was over.
                (Some(redis), ours)
                    if woken_for_nothing(&redis) && ours.as_ref().is_none_or(Value::is_null) =>
                {
                    self.ends_here = true;
                }
                (Some(redis), Some(ours)) => {
                    self.talks[on].blocked = None;
                    stats.served += 1;
                    stats.seen(&args, &redis);
                    if redis.is_error() {
                        stats.served_with_error += 1;
                    }
                    if !vanished_is_known(&args, &redis, &ours) {
                        self.compare(on, &args, redis, ours)?;
                    }
                }
                (redis, ours) => {
                    let say =
                        |reply: Option<Value>| reply.map_or("stays blocked".to_owned(), |v| v.to_string());
                    let why = format!("connection {on}, blocked in {}, is woken by one only", line(&args));
                    return Err(Box::new(Failure { step: 0, why, redis: say(redis), ours: say(ours) }));
                }
            }
        }
        Ok(())
    }

    fn compare(
        &mut self,
        on: usize,
        args: &[Vec<u8>],
        mut redis: Value,
        mut ours: Value,
    ) -> Result<(), Box<Failure>> {
        let name = args[0].to_ascii_uppercase();
        let mut queued = self.talks[on].queued.clone().filter(|_| name == b"EXEC");
        if let (Some(queued), Value::Array(redis), Value::Array(ours)) = (&mut queued, &mut redis, &mut ours)
            && redis.len() == queued.len()
        {
            let comparable = self.comparable_in_exec(on, queued, redis, ours);
            queued.truncate(comparable);
            redis.truncate(comparable);
            ours.truncate(comparable);
        }
        self.counters_differ |= moves_counters(args);
        if set_below_deleted(&redis, &ours) {
            self.ends_here = true;
            return Ok(());
        }
        if reads_last(args, &redis, &ours) && queued.is_none() {
            return self.last_entries(on, args, &ours);
        }
        if self.ours.server.kind == Kind::Claimlog {
            match (&queued, &mut ours) {
                (Some(queued), Value::Array(replies)) => {
                    for ((args, ours), redis) in queued.iter().zip(replies).zip(redis.items()) {
                        without_later_fields(args, ours);
                        if reads_last(args, redis, ours) {
                            *ours = redis.clone();
                        }
                    }
                }
                _ => without_later_fields(args, &mut ours),
            }
        }
        let context = Context { counters_differ: self.counters_differ, seen_differs: self.seen_differs };
        let (redis_raw, ours_raw) = (redis.clone(), ours.clone());
        let (a, b): (Normal, Normal) = match &queued {
            Some(queued) => (
                normal_exec(queued, redis, &mut self.redis.autos, context),
                normal_exec(queued, ours, &mut self.ours.autos, context),
            ),
            None => (
                normal(args, redis, &mut self.redis.autos, context),
                normal(args, ours, &mut self.ours.autos, context),
            ),
        };
        let ok = |value: &Value| *value == Value::Simple(b"OK".to_vec());
        match name.as_slice() {
            b"MULTI" if ok(&redis_raw) => self.talks[on].queued = Some(Vec::new()),
            b"EXEC" | b"RESET" => self.talks[on].queued = None,
            // With a wrong number of arguments it leaves the transaction open.
            b"DISCARD" if args.len() == 1 => self.talks[on].queued = None,
            _ if redis_raw == Value::Simple(b"QUEUED".to_vec()) => {
                if let Some(queued) = &mut self.talks[on].queued {
                    queued.push(args.to_vec());
                }
            }
            _ => {}
        }
        // Two clocks read within the same command are at most this far apart; one field is the difference of two.
        let tolerance = i64::try_from(self.skew.as_millis()).unwrap() * 2 + 2;
        if let Some(why) = difference(&a, &b, tolerance, context) {
            return Err(failure(&why, &redis_raw, &ours_raw.to_string()));
        }
        self.same_consumers(on, args, &redis_raw);
        if redis_raw != Value::Simple(b"QUEUED".to_vec()) && !redis_raw.is_error() {
            self.same_nodes(on, args);
        }
        if name == b"RANDOMKEY"
            && let Value::Bulk(key) = &ours_raw
        {
            let there = self.ours.connections[on].call(&[&b"EXISTS"[..], key]).map_err(|e| gone(&e))?;
            if there != Value::Int(1) {
                return Err(failure(
                    "RANDOMKEY names a key that is not there",
                    &redis_raw,
                    &ours_raw.to_string(),
                ));
            }
        }
        let is_info = name == b"XINFO" && args.len() > 3 && args[1].eq_ignore_ascii_case(b"STREAM");
        if is_info
            && self.ours.server.kind == Kind::Claimlog
            && !ours_raw.is_error()
            && ours_raw != Value::Simple(b"QUEUED".to_vec())
            && let Some(why) = lag_is_wrong(&ours_raw)
        {
            return Err(failure(&why, &redis_raw, &ours_raw.to_string()));
        }
        Ok(())
    }

    /// An XREAD with `+` of one key, which Redis does not have: the same as the last of XREVRANGE.
    fn last_entries(&mut self, on: usize, args: &[Vec<u8>], ours: &Value) -> Result<(), Box<Failure>> {
        let [.., streams, key, id] = args else { return Ok(()) };
        if !streams.eq_ignore_ascii_case(b"STREAMS") || id != b"+" {
            return Ok(());
        }
        let ask = [&b"XREVRANGE"[..], key, b"+", b"-", b"COUNT", b"1"];
        let last = self.ours.connections[on].call(&ask).map_err(|e| gone(&e))?;
        let same = match ours {
            Value::Map(streams) => matches!(streams.as_slice(), [(_, entries)] if *entries == last),
            Value::Array(streams) => matches!(streams.as_slice(), [stream] if stream.items()[1] == last),
            nothing => nothing.is_null() && last.items().is_empty(),
        };
        let text = format!("{ours}, where XREVRANGE says {last}");
        if same { Ok(()) } else { Err(failure("XREAD + is not the last entry", &Value::Null, &text)) }
    }

    /// Gives Redis the consumers that a command made on our side only; true if there was one.
    fn same_consumers(&mut self, on: usize, args: &[Vec<u8>], reply: &Value) -> bool {
        if self.ours.server.kind == Kind::Redis {
            return false;
        }
        let (made, seen_differs) = makes_consumers(args, reply);
        self.seen_differs |= seen_differs;
        let mut any = false;
        for make in made {
            let make = self.redis.autos.fill(&make);
            // A blocked connection can't be asked; those that block are in database 0, as the other one is.
            let blocked = self.talks[on].blocked.is_some();
            let client = if blocked { &mut self.redis.control } else { &mut self.redis.connections[on] };
            if client.call(&make).expect("redis-server answers") == Value::Int(1) {
                any = true;
                // Redis has seen it a little later than we have.
                self.skew = self.skew.max(self.sent.elapsed());
            }
        }
        any
    }

    /// If ours read once more, from another stream of that name, it has made its consumer there.
    fn same_consumer_elsewhere(&mut self, args: &[Vec<u8>]) -> Result<(), Box<Failure>> {
        for make in makes_consumers(args, &Value::NullArray).0 {
            let [_, _, key, group, consumer] = make.as_slice() else { continue };
            let there =
                self.ours.control.call(&[&b"XINFO"[..], b"CONSUMERS", key, group]).map_err(|e| gone(&e))?;
            let is_it = |known: &Value| *known.get("name") == Value::Bulk(consumer.clone());
            if !there.is_error() && there.items().iter().any(is_it) {
                self.redis.control.call(&make).expect("redis-server answers");
            }
        }
        Ok(())
    }

    /// Ends the sequence if Redis has kept a node without entries.
    fn same_nodes(&mut self, on: usize, args: &[Vec<u8>]) {
        if !may_empty_a_node(args) || self.talks[on].blocked.is_some() {
            return;
        }
        let ask = [&b"XINFO"[..], b"STREAM", &args[1]];
        let nodes = |side: &mut Side| {
            let info = side.connections[on].call(&ask).ok()?;
            if info.is_error() { None } else { Some(info.get("radix-tree-keys").int()) }
        };
        if let (Some(redis), Some(ours)) = (nodes(&mut self.redis), nodes(&mut self.ours)) {
            self.ends_here |= redis == ours + 1;
        }
    }

    /// How many replies of a transaction can be compared: up to where a known difference begins to show.
    fn comparable_in_exec(&mut self, on: usize, queued: &[Args], redis: &[Value], ours: &[Value]) -> usize {
        let mut comparable = queued.len();
        for (at, (args, reply)) in queued.iter().zip(redis).enumerate() {
            let elsewhere = queued.iter().any(|args| args[0].eq_ignore_ascii_case(b"SELECT"))
                && !makes_consumers(args, reply).0.is_empty();
            if elsewhere {
                comparable = comparable.min(at + 1);
                self.ends_here = true;
                continue;
            }
            // What follows in the transaction may itself have made the consumer, or taken the key away.
            let found_nothing = makes_consumers(args, reply).1;
            let made = self.same_consumers(on, args, reply) || found_nothing;
            self.same_nodes(on, args);
            if made && queued[at + 1..].iter().any(|args| looks_at_consumers(args)) {
                comparable = comparable.min(at + 1);
                self.ends_here = true;
            }
            let differs = |ours: &Value| *ours == setting_in_multi() || set_below_deleted(reply, ours);
            if !reply.is_error() && ours.get(at).is_some_and(differs) {
                comparable = comparable.min(at);
                self.ends_here = true;
            }
        }
        comparable
    }

    fn scan(&mut self, options: &[Vec<u8>], stats: &mut Stats) -> Result<(), Box<Failure>> {
        if self.talks[0].blocked.is_some() || self.talks[0].queued.is_some() {
            return Ok(());
        }
        let redis = scan_all(&mut self.redis.connections[0], options).expect("redis-server");
        let ours = scan_all(&mut self.ours.connections[0], options).map_err(|e| gone(&e))?;
        stats.seen(&[b"SCAN (to the end)".to_vec()], &redis);
        if redis == ours { Ok(()) } else { Err(failure("the keys differ", &redis, &ours.to_string())) }
    }
}

/// What claimlog says to a CONFIG SET that it does not do inside MULTI.
fn setting_in_multi() -> Value {
    Value::Error(b"ERR this setting can't be changed inside MULTI".to_vec())
}

/// Connection 0 never blocks for longer than a moment.
fn may_block(on: usize, args: &[Vec<u8>]) -> bool {
    let reads = [&b"XREAD"[..], b"XREADGROUP"].iter().any(|name| args[0].eq_ignore_ascii_case(name));
    on > 0 && reads && args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))
}

fn wire(args: &[Vec<u8>], inline: bool) -> Vec<u8> {
    if inline { [&args.join(&b' ')[..], b"\r\n"].concat() } else { resp::encode(args) }
}

fn scan_all(client: &mut Client, options: &[Vec<u8>]) -> io::Result<Value> {
    let mut cursor = b"0".to_vec();
    let mut keys = Vec::new();
    for _ in 0..1000 {
        let mut args = vec![b"SCAN".to_vec(), cursor.clone()];
        args.extend_from_slice(options);
        let reply = client.call(&args)?;
        let Value::Array(items) = &reply else { return Ok(reply) };
        let [Value::Bulk(next), Value::Array(found)] = items.as_slice() else { return Ok(reply) };
        keys.extend_from_slice(found);
        if next == b"0" {
            keys.sort();
            keys.dedup();
            return Ok(Value::Array(keys));
        }
        cursor.clone_from(next);
    }
    Err(io::Error::other("SCAN does not come to an end"))
}

fn gone(e: &io::Error) -> Box<Failure> {
    Box::new(Failure {
        step: 0,
        why: format!("the connection is gone: {e}"),
        redis: "answers".to_owned(),
        ours: "-".to_owned(),
    })
}

fn failure(why: &str, redis: &Value, ours: &str) -> Box<Failure> {
    Box::new(Failure { step: 0, why: why.to_owned(), redis: redis.to_string(), ours: ours.to_owned() })
}
