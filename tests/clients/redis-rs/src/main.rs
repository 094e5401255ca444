//! redis-rs, blocking and on tokio, over RESP2 (its default) and RESP3: typed stream commands, a transaction, a reader
//! that waits, and a kill -9 under load.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::streams::{
    StreamAddOptions, StreamAutoClaimOptions, StreamClaimOptions, StreamConfigOptions, StreamDeletionPolicy,
    StreamId, StreamMaxlen, StreamNackMode, StreamNackOptions, StreamPendingReply, StreamRangeReply,
    StreamReadOptions, StreamReadReply, StreamTrimStrategy, StreamTrimmingMode, XAckDelStatusCode,
    XDelExStatusCode,
};
use redis::{AsyncTypedCommands, Client, Connection, RedisResult, TypedCommands, Value, transaction};
use server::{Outcome, Server, check};

const S: &str = "orders";
const G: &str = "packers";

/// Owner and delivery count of every pending entry.
type Rows = BTreeMap<String, (String, usize)>;

fn ids(entries: &[StreamId]) -> Vec<&str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

/// The ids of one stream in a reply of XREAD or XREADGROUP; none if there was nothing.
fn read(reply: &Option<StreamReadReply>) -> Vec<&str> {
    reply.iter().flat_map(|reply| &reply.keys).flat_map(|stream| ids(&stream.ids)).collect()
}

fn rows(con: &mut Connection) -> RedisResult<Rows> {
    let reply = con.xpending_count(S, G, "-", "+", 1_000_000)?;
    Ok(reply.ids.into_iter().map(|row| (row.id, (row.consumer, row.times_delivered))).collect())
}

/// Which of these the server has, by COMMAND INFO; options go by the version of Redis that it says it is.
struct Features {
    known: BTreeSet<&'static str>,
    version: (u32, u32),
}

impl Features {
    const COMMANDS: [&str; 4] = ["XDELEX", "XACKDEL", "XCFGSET", "XNACK"];
    const OPTIONS: [(&str, (u32, u32)); 2] = [("CLAIM", (8, 4)), ("IDMP", (8, 6))];

    fn of(con: &mut Connection) -> Outcome<Self> {
        let told: Vec<Value> = redis::cmd("COMMAND").arg("INFO").arg(&Self::COMMANDS).query(con)?;
        let known = Self::COMMANDS
            .into_iter()
            .zip(told)
            .filter(|(_, info)| *info != Value::Nil)
            .map(|(name, _)| name);
        let info: String = redis::cmd("INFO").arg("server").query(con)?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        let options = Self::OPTIONS.into_iter().filter(|(_, since)| version >= *since).map(|(name, _)| name);
        Ok(Self { known: known.chain(options).collect(), version })
    }

    fn has(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    fn left_out(&self) -> String {
        let all = Self::COMMANDS.into_iter().chain(Self::OPTIONS.map(|(name, _)| name));
        let absent: Vec<&str> = all.filter(|name| !self.has(name)).collect();
        if absent.is_empty() { String::new() } else { format!("; not there yet: {}", absent.join(", ")) }
    }
}

fn adding(con: &mut Connection) -> Outcome<Vec<String>> {
    let first = con.xadd(S, "*", &[("item", "book"), ("size", "2")])?.ok_or("no id")?;
    let all = con.xrange_all(S)?;
    check("an entry comes back as it was", all.ids[0].get::<String>("item"), Some("book".to_owned()))?;
    let nothing = con.xadd_options("none", "*", &[("a", "1")], &StreamAddOptions::default().nomkstream())?;
    check("NOMKSTREAM", nothing, None)?;
    let small = con.xadd(S, "1-1", &[("a", "1")]).err().ok_or("a small id is taken")?;
    check("an id that is too small", small.to_string().contains("equal or smaller"), true)?;
    let trim = StreamAddOptions::default()
        .trim(StreamTrimStrategy::maxlen(StreamTrimmingMode::Approx, 1000).limit(10));
    let second = con.xadd_options(S, "*", &[("n", "1")], &trim)?.ok_or("no id")?;
    let third = con.xadd_map(S, "*", BTreeMap::from([("n", "2")]))?.ok_or("no id")?;
    check("XLEN", con.xlen(S)?, 3)?;
    check("XTRIM", con.xtrim(S, StreamMaxlen::Equals(3))?, 0)?;
    check("XREVRANGE", ids(&con.xrevrange_count(S, "+", "-", 1)?.ids), vec![&third])?;
    Ok(vec![first, second, third])
}

fn groups(con: &mut Connection, added: &[String], has: &Features) -> Outcome {
    con.xgroup_create_mkstream(S, G, "$")?;
    let busy = con.xgroup_create(S, G, "0").err().ok_or("a second group of this name")?;
    check("the same again", busy.code(), Some("BUSYGROUP"))?;
    con.xgroup_setid(S, G, "0")?;
    check("a consumer", con.xgroup_createconsumer(S, G, "anna")?, true)?;
    let anna = StreamReadOptions::default().group(G, "anna").count(3);
    check("anna reads", read(&con.xread_options(&[S], &[">"], &anna)?), ids_of(added))?;
    check("nothing is left", read(&con.xread_options(&[S], &[">"], &anna)?), vec![])?;
    check("and none comes", read(&con.xread_options(&[S], &[">"], &anna.block(10))?), vec![])?;
    check("XREAD", read(&con.xread(&[S, "none"], &[added[1].as_str(), "0"])?), ids_of(&added[2..]))?;
    let claimed = con.xclaim(S, G, "bert", 0, &[&added[1]])?;
    check("bert claims", ids(&claimed.ids), vec![&added[1]])?;
    let options = StreamClaimOptions::default().idle(9000).retry(7).with_justid();
    let claimed: Vec<String> = con.xclaim_options(S, G, "bert", 0, &[&added[1]], options)?;
    check("only the id", ids_of(&claimed), vec![added[1].as_str()])?;
    con.xdel(S, &[&added[2]])?;
    let some = con.xautoclaim_options(S, G, "carl", 0, "0-0", StreamAutoClaimOptions::default().count(1))?;
    check("XAUTOCLAIM", (some.next_stream_id.as_str(), ids(&some.claimed)), (&added[1], vec![&added[0]]))?;
    let rest =
        con.xautoclaim_options(S, G, "carl", 0, &added[2], StreamAutoClaimOptions::default().with_justid())?;
    check(
        "and one that was deleted",
        (rest.next_stream_id.as_str(), ids_of(&rest.deleted_ids)),
        ("0-0", vec![&added[2]]),
    )?;
    let StreamPendingReply::Data(short) = con.xpending(S, G)? else {
        return Err("XPENDING says nothing".into());
    };
    check("XPENDING", (short.count, short.start_id, short.end_id), (2, added[0].clone(), added[1].clone()))?;
    let want = [(added[0].clone(), ("carl".to_owned(), 2)), (added[1].clone(), ("bert".to_owned(), 7))];
    check("who has what", rows(con)?, Rows::from(want))?;
    let group = con.xinfo_groups(S)?.groups.remove(0);
    check(
        "XINFO GROUPS",
        (group.consumers, group.pending, group.entries_read, group.last_delivered_id),
        (3, 2, Some(3), added[2].clone()),
    )?;
    let names: Vec<_> =
        con.xinfo_consumers(S, G)?.consumers.into_iter().map(|one| (one.name, one.pending)).collect();
    check(
        "XINFO CONSUMERS",
        names,
        [("anna", 0), ("bert", 1), ("carl", 1)].map(|(name, n)| (name.to_owned(), n)).into(),
    )?;
    let stream = con.xinfo_stream(S)?;
    check("XINFO STREAM", (stream.length, stream.first_entry.id, stream.groups), (2, added[0].clone(), 1))?;

    if has.has("IDMP") {
        let once = StreamAddOptions::default().idmp("producer", "job-1");
        let twice = [1, 2].map(|n| con.xadd_options("once", "*", &[("n", n)], &once));
        check("IDMP", (twice[0].is_ok(), con.xlen("once")?), (true, 1))?;
    }
    if has.has("XCFGSET") {
        check(
            "XCFGSET",
            con.xcfgset(S, &StreamConfigOptions::with_idempotency_seconds(200)?)?,
            "OK".to_owned(),
        )?;
    }
    if has.has("CLAIM") {
        let dora = StreamReadOptions::default().group(G, "dora").claim(5000);
        let reply = con.xread_options(&[S], &[">"], &dora)?.ok_or("nothing to claim")?;
        let entry = &reply.keys[0].ids[0];
        check("XREADGROUP CLAIM", (entry.id.as_str(), entry.delivered_count), (&added[1], Some(7)))?;
    }
    if has.has("XNACK") {
        let options = StreamNackOptions::new(StreamNackMode::Fail);
        check("XNACK", con.xnack(S, G, &[&added[1]], &options)?, 1)?;
        check("is nobody's", rows(con)?[&added[1]].0.as_str(), "")?;
    }
    if has.has("XACKDEL") {
        let done = con.xack_del(S, G, &[added[0].as_str(), "1-1"], StreamDeletionPolicy::DelRef)?;
        check(
            "XACKDEL",
            done,
            vec![XAckDelStatusCode::AcknowledgedAndDeleted, XAckDelStatusCode::IdNotFound],
        )?;
    }
    if has.has("XDELEX") {
        let done = con.xdel_ex(S, &["1-1"], StreamDeletionPolicy::KeepRef)?;
        check("XDELEX", done, vec![XDelExStatusCode::IdNotFound])?;
    }
    Ok(())
}

fn ids_of(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

fn transactions(client: &Client, con: &mut Connection) -> Outcome {
    let mut other = client.get_connection()?;
    let mut tries = 0;
    let (length, id, after): (usize, String, usize) = transaction(con, &[S], |con, pipe| {
        tries += 1;
        if tries == 1 {
            other.xadd(S, "*", &[("between", "1")])?;
        }
        pipe.xlen(S).xadd(S, "*", &[("t", "1")]).xlen(S).query(con)
    })?;
    check("WATCH makes it try again", (tries, after - length), (2, 1))?;
    let (deleted, acked): (usize, usize) = redis::pipe().xdel(S, &[&id]).xack(S, G, &[&id]).query(con)?;
    check("a pipeline", (deleted, acked), (1, 0))
}

fn waiting(client: &Client, con: &mut Connection) -> Outcome {
    con.xread_options(&[S], &[">"], &StreamReadOptions::default().group(G, "anna"))?;
    let mut waiting = client.get_connection()?;
    let reader = std::thread::spawn(move || {
        waiting.xread_options(&[S], &[">"], &StreamReadOptions::default().group(G, "emil").block(20_000))
    });
    while !redis::cmd("INFO").arg("clients").query::<String>(con)?.contains("blocked_clients:1") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let late = con.xadd(S, "*", &[("late", "1")])?.ok_or("no id")?;
    let got = reader.join().map_err(|_| "the reader panicked")??;
    check("a reader that waited", read(&got), vec![&late])
}

/// On tokio: producers over one multiplexed connection that finds the server again by itself. What it refused may be
/// there or not; what it answered must be there once.
async fn under_load(client: &Client, mut server: Server) -> Outcome<Server> {
    let manager = client.get_connection_manager().await?;
    let mut con = manager.clone();
    con.xgroup_create_mkstream("load", G, "0").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> =
        (0..4).map(|me| tokio::spawn(produce(manager.clone(), me, stop.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = tokio::task::spawn_blocking(move || server.crash().map(|()| server)).await??;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut refused) = (BTreeMap::new(), 0);
    for producer in producers {
        let (ids, errors) = producer.await?;
        answered.extend(ids);
        refused += errors;
    }
    let there: StreamRangeReply = con.xrange_all("load").await?;
    let found: BTreeMap<_, _> =
        there.ids.iter().map(|entry| (entry.id.clone(), entry.get::<String>("job"))).collect();
    let lost: Vec<_> =
        answered.iter().filter(|(id, job)| found.get(*id) != Some(&Some((*job).clone()))).collect();
    check(
        &format!("{} were answered and {refused} not, all of the first are there", answered.len()),
        lost,
        vec![],
    )?;
    check("no more than were refused besides", found.len() - answered.len() <= refused, true)?;

    let reader = StreamReadOptions::default().group(G, "reader").count(10);
    let got = con.xread_options(&["load"], &[">"], &reader).await?;
    let acked = con.xack("load", G, &read(&got)[..5]).await?;
    check("the connection goes on", (read(&got).len(), acked), (10, 5))?;
    Ok(server)
}

/// Jobs with their ids, and how many had no answer.
async fn produce(
    mut con: redis::aio::ConnectionManager,
    me: usize,
    stop: Arc<AtomicBool>,
) -> (Vec<(String, String)>, usize) {
    let (mut answered, mut refused) = (Vec::new(), 0);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let job = format!("{me}-{n}");
        match con.xadd("load", "*", &[("job", &job)]).await {
            Ok(id) => answered.push((id.unwrap_or_default(), job)),
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (answered, refused)
}

fn program(protocol: &str) -> Outcome<String> {
    let mut server = Server::start()?;
    let client = Client::open(format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port))?;
    let mut con = client.get_connection()?;
    let has = Features::of(&mut con)?;
    println!("{protocol}, like Redis {}.{}", has.version.0, has.version.1);
    let added = adding(&mut con)?;
    groups(&mut con, &added, &has)?;
    transactions(&client, &mut con)?;
    waiting(&client, &mut con)?;
    let before = (rows(&mut con)?, con.xrange_all(S)?.ids, con.xinfo_stream(S)?.last_generated_id);
    server.crash()?;
    let mut con = client.get_connection()?;
    let after = (rows(&mut con)?, con.xrange_all(S)?.ids, con.xinfo_stream(S)?.last_generated_id);
    check("after kill -9 everything is as it was", after, before)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(under_load(&client, server))?;
    Ok(has.left_out())
}

fn main() -> Outcome {
    program("resp3")?;
    let left_out = program("resp2")?;
    println!("redis-rs 1.8.1, blocking and with tokio, RESP3 and RESP2{left_out}");
    Ok(())
}
