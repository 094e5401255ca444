//! When two replies count as the same.
//!
//! Byte for byte, but for what the clock made. Three things depend on it:
//! - ids made by the server (`*`): found by their shape, the n-th one seen on either side becomes `<auto n>`;
//! - idle times, delivery times and times of expiry: compared with the tolerance of the run, never ignored;
//! - nothing else.
//!
//! What chance or the process decides (RANDOMKEY, MEMORY USAGE, OBJECT IDLETIME, ids of clients) is compared by type.
//!
//! What differs on purpose is [`KNOWN`], and only that.

use crate::common::{Value, now_ms};

/// The differences from Redis 7.0.15 that are meant, and what the comparison makes of each.
pub(crate) const KNOWN: &[(&str, &str)] = &[
    (
        "lag and entries-read after deletions, trimming, XSETID, XGROUP SETID or ENTRIESREAD",
        "claimlog follows the later, fixed rules (redis #13338, #13957, the cap of 8.2.2). From the first such command \
         of a sequence on, the two fields are not compared with Redis; the lag claimlog reports in XINFO STREAM FULL \
         is checked against the rule instead.",
    ),
    (
        "the error for a blocked XREADGROUP whose key or group vanishes",
        "7.0 says `UNBLOCKED the stream key no longer exists` or `NOGROUP the consumer group this client was blocked \
         on no longer exists`; claimlog gives the text of 7.2: `NOGROUP No such key '<k>' or consumer group '<g>' in \
         XREADGROUP with GROUP option`.",
    ),
    (
        "consumers made by XREADGROUP with `>`, XCLAIM and XAUTOCLAIM that find nothing",
        "claimlog makes the consumer and moves its seen-time, as servers since 7.2 do. After such a command Redis is \
         given an XGROUP CREATECONSUMER, so that everything goes on being compared; from the first such command of a \
         sequence on, `idle` and `seen-time` may say that claimlog has seen a consumer later than Redis has, never \
         earlier. So it is where another stream takes the place of the one that a reader waits for. A sequence ends \
         where a transaction looks at such a consumer itself.",
    ),
    ("names with a NUL in errors", "Redis's end there; claimlog gives them whole."),
    (
        "XADD `ms-*` when the last sequence number of that millisecond is taken",
        "Redis's error is whichever one a variable of its C library is left at; claimlog says that the id is equal or \
         smaller.",
    ),
    (
        "CONFIG SET of a setting that shapes the log, inside MULTI",
        "claimlog refuses it: a transaction is one record, written under one setting. A sequence ends there.",
    ),
    (
        "a node left without entries by MINID",
        "Redis keeps a node whose last entry is deleted and not below the MINID, even if nothing in it is alive; \
         claimlog has no empty nodes. A sequence ends where Redis has one node more after a trimming with MINID.",
    ),
    (
        "radix-tree-nodes in XINFO STREAM",
        "an inner number of Redis's tree, any plausible number will do. radix-tree-keys (how many storage nodes) is \
         compared exactly.",
    ),
    (
        "a blocked read of several keys, and entries that come and go in one transaction",
        "7.0 answers with the first key that got data only, and with an empty list for data that is gone again; later \
         servers run the command again. The generator adds to one key per transaction and blocks on at most two. A \
         sequence ends where 7.0 wakes a reader with nothing, as it does after XSETID.",
    ),
    (
        "HELLO with SETNAME before an option that is wrong",
        "7.0 has set the name when it refuses; claimlog refuses whole, as later servers do. The generator adds nothing \
         to HELLO.",
    ),
    (
        "fields that XINFO has since 7.2, 8.6 and 8.8; that XREADGROUP's key spec is incomplete, since 8.10",
        "taken out of our replies before they are compared, by `without_later_fields`: \
         LATER_FIELDS has their names. The vectors check them.",
    ),
    (
        "XREAD and XREADGROUP with an unbalanced list of streams",
        "the text of 8.x: `Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be \
         specified.`; 7.0 says `Unbalanced XREAD list of streams` for both.",
    ),
    (
        "XREAD `+`",
        "the last entry, since 7.4; 7.0 takes it for an invalid id. Where the call is outside of a transaction, the \
         reply is checked against XREVRANGE. XREADGROUP refuses it with a text of its own.",
    ),
    (
        "XSETID below the largest deleted id",
        "refused since 7.2: `The ID specified in XSETID is smaller than current max_deleted_entry_id`. 7.0 looks at \
         the top item only. A sequence ends where 7.0 takes it.",
    ),
    (
        "a delivery count of 9223372036854775807 that is raised",
        "it wraps in 7.0 and stays in claimlog; the generator does not send RETRYCOUNT with it.",
    ),
    (
        "HELLO and CLIENT: id, version, addresses; TIME; MEMORY USAGE; OBJECT IDLETIME; RANDOMKEY",
        "these belong to the process, or are left to chance; their type and shape are compared, and the key that \
         RANDOMKEY gives must be there.",
    ),
    (
        "ids with leading blanks, a plus sign or a NUL; SCAN with a negative or empty cursor",
        "7.0 lets them through by accident of its C library; the generator does not send them.",
    ),
];

/// A reply made comparable.
#[derive(Debug)]
pub(crate) struct Normal {
    pub(crate) value: Value,
    pub(crate) times: Times,
}

/// The times that were in a reply, in order, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// When entries were delivered, or how long ago.
    delivered: Vec<i64>,
    /// When consumers were seen: a greater number is always later.
    seen: Vec<i64>,
    /// When keys expire, or in how many milliseconds.
    expires: Vec<i64>,
    /// The same, rounded to seconds.
    expires_s: Vec<i64>,
}

/// The fields of XINFO that 7.0 does not have.
const LATER_FIELDS: &[&[u8]] = &[
    b"active-time",
    b"inactive",
    b"idmp-duration",
    b"idmp-maxsize",
    b"pids-tracked",
    b"iids-tracked",
    b"iids-added",
    b"iids-duplicates",
    b"nacked-count",
];

/// What our XINFO and COMMAND say beyond those of 7.0, taken out: here, and nowhere else.
pub(crate) fn without_later_fields(args: &[Vec<u8>], reply: &mut Value) {
    fn strip(value: &mut Value) {
        match value {
            Value::Map(pairs) => {
                pairs.retain(|(key, _)| !matches!(key, Value::Bulk(key) if LATER_FIELDS.contains(&&key[..])));
                pairs.iter_mut().for_each(|(_, value)| strip(value));
            }
            Value::Array(items) => {
                let later =
                    |item: &Value| matches!(item, Value::Bulk(key) if LATER_FIELDS.contains(&&key[..]));
                let mut at = 0;
                while items.len() % 2 == 0 && at < items.len() {
                    if later(&items[at]) {
                        items.drain(at..at + 2);
                    } else {
                        at += 2;
                    }
                }
                items.iter_mut().for_each(strip);
            }
            _ => {}
        }
    }
    fn strip_incomplete(value: &mut Value) {
        match value {
            Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| strip_incomplete(value)),
            Value::Array(items) | Value::Set(items) => {
                items.retain(|item| *item != Value::Simple(b"incomplete".to_vec()));
                items.iter_mut().for_each(strip_incomplete);
            }
            _ => {}
        }
    }
    match upper(args.first()).as_slice() {
        b"XINFO" => strip(reply),
        b"COMMAND" => strip_incomplete(reply),
        _ => {}
    }
}

/// The ids one server made, in order of first appearance.
#[derive(Debug, Default)]
pub(crate) struct Autos(pub(crate) Vec<Vec<u8>>);

impl Autos {
    fn token(&mut self, id: &[u8]) -> Option<Vec<u8>> {
        let dash = id.iter().position(|&b| b == b'-')?;
        let (ms, seq) = (&id[..dash], &id[dash + 1..]);
        if ms.len() != 13 || seq.is_empty() || !ms.iter().chain(seq).all(u8::is_ascii_digit) {
            return None;
        }
        let ms: u64 = std::str::from_utf8(ms).ok()?.parse().ok()?;
        if ms.abs_diff(now_ms()) > 3_600_000 {
            return None;
        }
        let at = self.0.iter().position(|known| known == id).unwrap_or_else(|| {
            self.0.push(id.to_vec());
            self.0.len() - 1
        });
        Some(format!("<auto {at}>").into_bytes())
    }

    /// Puts this server's ids where the generator left `@auto:n`.
    pub(crate) fn fill(&self, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let one = |arg: &Vec<u8>| {
            let text = String::from_utf8_lossy(arg);
            let Some(at) = text.find("@auto:") else { return arg.clone() };
            let digits: String = text[at + 6..].chars().take_while(char::is_ascii_digit).collect();
            let id = digits.parse().ok().and_then(|n: usize| self.0.get(n)).map_or(&b"0-1"[..], |id| id);
            [text[..at].as_bytes(), id].concat()
        };
        args.iter().map(one).collect()
    }
}

/// What the comparison of one reply depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Something happened after which `lag` and `entries-read` may differ.
    pub(crate) counters_differ: bool,
    /// Something happened after which claimlog may have seen a consumer later than Redis has.
    pub(crate) seen_differs: bool,
}

fn upper(arg: Option<&Vec<u8>>) -> Vec<u8> {
    arg.map(|arg| arg.to_ascii_uppercase()).unwrap_or_default()
}

/// True for commands after which the counters follow different rules.
pub(crate) fn moves_counters(args: &[Vec<u8>]) -> bool {
    let has = |word: &[u8]| args.iter().any(|arg| arg.eq_ignore_ascii_case(word));
    match upper(args.first()).as_slice() {
        b"XDEL" | b"XTRIM" | b"XSETID" => true,
        b"XADD" => has(b"MAXLEN") || has(b"MINID"),
        b"XGROUP" => has(b"SETID") || has(b"ENTRIESREAD"),
        _ => false,
    }
}

pub(crate) fn normal(args: &[Vec<u8>], reply: Value, autos: &mut Autos, context: Context) -> Normal {
    let mut times = Times::default();
    let mut value = reply;
    rename(&mut value, autos);
    shape(args, &mut value, &mut times, context);
    Normal { value, times }
}

/// Replies of the commands of a transaction, each by its own rules.
pub(crate) fn normal_exec(
    queued: &[Vec<Vec<u8>>],
    reply: Value,
    autos: &mut Autos,
    context: Context,
) -> Normal {
    let mut times = Times::default();
    let mut value = reply;
    rename(&mut value, autos);
    if let Value::Array(items) = &mut value
        && items.len() == queued.len()
    {
        for (args, item) in queued.iter().zip(items) {
            shape(args, item, &mut times, context);
        }
    }
    Normal { value, times }
}

fn rename(value: &mut Value, autos: &mut Autos) {
    match value {
        Value::Bulk(bytes) | Value::Simple(bytes) => {
            if let Some(token) = autos.token(bytes) {
                *bytes = token;
            }
        }
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            items.iter_mut().for_each(|item| rename(item, autos));
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                rename(key, autos);
                rename(value, autos);
            }
        }
        _ => {}
    }
}

fn take_time(value: &mut Value, times: &mut Vec<i64>) {
    if let Value::Int(number) = value {
        times.push(*number);
        *number = 0;
    }
}

/// Negative ones say that there is no time, or no key.
fn take_expiry(value: &mut Value, times: &mut Vec<i64>) {
    if !matches!(value, Value::Int(..0)) {
        take_time(value, times);
    }
}

fn mask(value: &mut Value) {
    *value = Value::Simple(b"(not compared)".to_vec());
}

/// The values of a map or flat array with their keys.
fn each_pair(value: &mut Value, mut visit: impl FnMut(&[u8], &mut Value)) {
    match value {
        Value::Map(pairs) => {
            for (key, value) in pairs {
                if let Value::Bulk(key) = key {
                    visit(key, value);
                }
            }
        }
        Value::Array(items) => {
            for pair in items.chunks_exact_mut(2) {
                if let [Value::Bulk(key), value] = pair {
                    visit(key, value);
                }
            }
        }
        _ => {}
    }
}

fn each_item(value: &mut Value, visit: impl FnMut(&mut Value)) {
    if let Value::Array(items) = value {
        items.iter_mut().for_each(visit);
    }
}

fn shape(args: &[Vec<u8>], value: &mut Value, times: &mut Times, context: Context) {
    if value.is_error() {
        return;
    }
    match (upper(args.first()).as_slice(), upper(args.get(1)).as_slice()) {
        (b"KEYS", _) => {
            if let Value::Array(items) = value {
                items.sort();
            }
        }
        (b"HELLO", _) => each_pair(value, |key, value| match (key, value) {
            (b"id", value) => mask(value),
            (b"version", Value::Bulk(version)) => version.clear(),
            _ => {}
        }),
        (b"TTL" | b"EXPIRETIME", _) => take_expiry(value, &mut times.expires_s),
        (b"PTTL" | b"PEXPIRETIME", _) => take_expiry(value, &mut times.expires),
        (b"MEMORY", b"USAGE") | (b"OBJECT", b"IDLETIME") | (b"CLIENT", b"ID") => {
            take_time(value, &mut Vec::new());
        }
        (b"RANDOMKEY", _) if !value.is_null() => mask(value),
        (b"CLIENT", b"INFO" | b"LIST") => match value {
            Value::Bulk(bytes) | Value::Verbatim(bytes) => bytes.clear(),
            _ => {}
        },
        (b"TIME", _) => each_item(value, |item| {
            if let Value::Bulk(digits) = item {
                digits.clear();
            }
        }),
        (b"COMMAND", b"INFO") => sort_sets(value),
        (b"CONFIG", b"GET") => sort_pairs(value),
        (b"XPENDING", _) if args.len() > 3 => each_item(value, |row| {
            if let Value::Array(row) = row
                && row.len() == 4
            {
                take_time(&mut row[2], &mut times.delivered);
            }
        }),
        (b"XINFO", b"CONSUMERS") => each_item(value, |consumer| {
            each_pair(consumer, |key, value| {
                if key == b"idle" {
                    let mut ages = Vec::new();
                    take_time(value, &mut ages);
                    times.seen.extend(ages.into_iter().map(i64::wrapping_neg));
                }
            });
        }),
        (b"XINFO", b"GROUPS") => each_item(value, |group| counters(group, context)),
        (b"XINFO", b"STREAM") => each_pair(value, |key, value| match key {
            b"radix-tree-nodes" => mask(value),
            b"groups" => each_item(value, |group| {
                counters(group, context);
                each_pair(group, |key, value| match key {
                    b"pending" => rows(value, 2, &mut times.delivered),
                    b"consumers" => each_item(value, |consumer| {
                        each_pair(consumer, |key, value| match key {
                            b"seen-time" => take_time(value, &mut times.seen),
                            b"pending" => rows(value, 1, &mut times.delivered),
                            _ => {}
                        });
                    }),
                    _ => {}
                });
            }),
            _ => {}
        }),
        _ => {}
    }
}

fn rows(list: &mut Value, time_at: usize, times: &mut Vec<i64>) {
    each_item(list, |row| {
        if let Value::Array(row) = row
            && row.len() > time_at
        {
            take_time(&mut row[time_at], times);
        }
    });
}

fn counters(group: &mut Value, context: Context) {
    each_pair(group, |key, value| {
        if context.counters_differ && (key == b"lag" || key == b"entries-read") {
            mask(value);
        }
    });
}

fn sort_sets(value: &mut Value) {
    match value {
        Value::Set(items) => {
            items.iter_mut().for_each(sort_sets);
            items.sort();
        }
        // Flags are a set that RESP2 can only show as an array of status words.
        Value::Array(items) => {
            items.iter_mut().for_each(sort_sets);
            let flags = items.iter().all(|item| matches!(item, Value::Simple(_)));
            // Subcommands come in the order of a hash table that is seeded anew by every server.
            let subcommand = |item: &Value| match item {
                Value::Array(parts) => {
                    matches!(parts.first(), Some(Value::Bulk(name)) if name.contains(&b'|'))
                }
                _ => false,
            };
            if flags || items.iter().all(subcommand) {
                items.sort();
            }
        }
        Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| sort_sets(value)),
        _ => {}
    }
}

fn sort_pairs(value: &mut Value) {
    match value {
        Value::Map(pairs) => pairs.sort(),
        Value::Array(items) if items.len() % 2 == 0 => {
            let mut pairs: Vec<[Value; 2]> =
                items.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect();
            pairs.sort();
            *items = pairs.into_iter().flatten().collect();
        }
        _ => {}
    }
}

/// Says what differs between two replies, if anything does.
pub(crate) fn difference(
    redis: &Normal,
    ours: &Normal,
    tolerance_ms: i64,
    context: Context,
) -> Option<String> {
    if redis.value != ours.value && !error_is_known(&redis.value, &ours.value) {
        return Some("the replies differ".to_owned());
    }
    let (redis, ours) = (&redis.times, &ours.times);
    let counts =
        |times: &Times| [&times.delivered, &times.seen, &times.expires, &times.expires_s].map(Vec::len);
    if counts(redis) != counts(ours) {
        return Some("not the same number of time fields".to_owned());
    }
    let far = |(a, b): (&i64, &i64)| a.abs_diff(*b) > tolerance_ms.unsigned_abs();
    // Rounding makes a second of a millisecond.
    let far_s = |(a, b): (&i64, &i64)| a.abs_diff(*b) > 1 + tolerance_ms.unsigned_abs() / 1000;
    let wrong = |(redis, ours): (&i64, &i64)| far((redis, ours)) && !(context.seen_differs && ours > redis);
    let differ = redis.delivered.iter().zip(&ours.delivered).any(far)
        || redis.seen.iter().zip(&ours.seen).any(wrong)
        || redis.expires.iter().zip(&ours.expires).any(far)
        || redis.expires_s.iter().zip(&ours.expires_s).any(far_s);
    differ.then(|| format!("times differ by more than {tolerance_ms} ms: {redis:?} and {ours:?}"))
}

/// What later servers say in the place of an error of 7.0.
fn later_text(redis: &[u8]) -> Option<&'static [&'static [u8]]> {
    match redis {
        b"ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified." => Some(&[
            b"ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
            b"ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
        ]),
        b"ERR Invalid stream ID specified as stream command argument" => Some(&[PLUS_IN_GROUP]),
        b"ERR The ID specified in XSETID is smaller than the target stream top item"
        | b"ERR The entries_added specified in XSETID is smaller than the target stream length" => {
            Some(&[BELOW_DELETED])
        }
        _ => None,
    }
}

/// What XSETID has said since 7.2.
const BELOW_DELETED: &[u8] = b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";

/// True where 7.0 takes an XSETID that later servers refuse: from here on, the streams differ.
pub(crate) fn set_below_deleted(redis: &Value, ours: &Value) -> bool {
    *redis == Value::Simple(b"OK".to_vec()) && *ours == Value::Error(BELOW_DELETED.to_vec())
}

/// What XREADGROUP says about `+`.
const PLUS_IN_GROUP: &[u8] = b"ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history \
    of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an \
    empty result set.";

/// True for an XREAD of last entries, which 7.0 refuses and later servers do not.
pub(crate) fn reads_last(args: &[Vec<u8>], redis: &Value, ours: &Value) -> bool {
    *redis == Value::Error(b"ERR Invalid stream ID specified as stream command argument".to_vec())
        && !ours.is_error()
        && upper(args.first()) == b"XREAD"
        && args.iter().any(|arg| arg == b"+")
}

/// True if Redis's error is ours, but for names that end at a NUL, or is the accidental one of XADD `ms-*`.
fn error_is_known(redis: &Value, ours: &Value) -> bool {
    let (redis, ours) = match (redis, ours) {
        (Value::Error(redis), Value::Error(ours)) => (redis, ours),
        (Value::Array(redis), Value::Array(ours)) if redis.len() == ours.len() => {
            return redis.iter().zip(ours).all(|(redis, ours)| redis == ours || error_is_known(redis, ours));
        }
        _ => return false,
    };
    if later_text(redis).is_some_and(|texts| texts.contains(&&ours[..])) {
        return true;
    }
    if redis == b"ERR Elements are too large to be stored" {
        return ours == b"ERR The ID specified in XADD is equal or smaller than the target stream top item";
    }
    let mut kept = Vec::new();
    let mut skips = false;
    for &byte in ours {
        skips = byte == 0 || (skips && byte != b'\'');
        if !skips {
            kept.push(byte);
        }
    }
    kept == *redis
}

/// What makes Redis have the consumers that claimlog has after this command, and whether claimlog may now have seen
/// one later than Redis has.
pub(crate) fn makes_consumers(args: &[Vec<u8>], reply: &Value) -> (Vec<Vec<Vec<u8>>>, bool) {
    let none = (Vec::new(), false);
    if reply.is_error() || *reply == Value::Simple(b"QUEUED".to_vec()) {
        return none;
    }
    let make = |key: &[u8], group: &[u8], consumer: &[u8]| {
        let parts: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", key, group, consumer];
        parts.map(<[u8]>::to_vec).to_vec()
    };
    match upper(args.first()).as_slice() {
        b"XCLAIM" | b"XAUTOCLAIM" => {
            let nothing = if let [_, Value::Array(entries), _] = reply.items() {
                entries.is_empty()
            } else {
                reply.items().is_empty()
            };
            (vec![make(&args[1], &args[2], &args[3])], nothing)
        }
        b"XREADGROUP" => {
            let place = |word: &[u8]| args.iter().position(|arg| arg.eq_ignore_ascii_case(word));
            let (Some(group), Some(streams)) = (place(b"GROUP"), place_of_streams(args)) else { return none };
            let names = &args[streams + 1..];
            let (keys, ids) = names.split_at(names.len() / 2);
            // The largest id is another spelling of `>`.
            let new = |id: &[u8]| id == b">" || id == b"18446744073709551615-18446744073709551615";
            let new = keys.iter().zip(ids).filter(|(_, id)| new(id));
            let made: Vec<_> = new.map(|(key, _)| make(key, &args[group + 1], &args[group + 2])).collect();
            let answered = match reply {
                Value::Array(streams) => streams.len(),
                Value::Map(streams) => streams.len(),
                _ => 0,
            };
            (made, answered < keys.len())
        }
        _ => none,
    }
}

/// Where the word STREAMS of an XREADGROUP is: neither the group's name nor the consumer's.
fn place_of_streams(args: &[Vec<u8>]) -> Option<usize> {
    let mut at = 1;
    while at < args.len() {
        match upper(args.get(at)).as_slice() {
            b"STREAMS" => return Some(at),
            b"GROUP" => at += 3,
            b"COUNT" | b"BLOCK" => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// True for commands that may put another stream in the place of one that a blocked command names.
pub(crate) fn puts_another(args: &[Vec<u8>], blocked: &[Vec<u8>]) -> bool {
    match upper(args.first()).as_slice() {
        b"SWAPDB" => true,
        b"COPY" | b"RENAME" => args.get(2).is_some_and(|name| blocked.contains(name)),
        _ => false,
    }
}

/// True for the reply of a reader that 7.0 wakes although there is nothing for it.
pub(crate) fn woken_for_nothing(redis: &Value) -> bool {
    let nothing = |entries: &Value| matches!(entries, Value::Array(entries) if entries.is_empty());
    match redis {
        Value::Array(streams) => match streams.as_slice() {
            [Value::Array(pair)] => pair.len() == 2 && nothing(&pair[1]),
            _ => false,
        },
        Value::Map(streams) => matches!(streams.as_slice(), [(_, entries)] if nothing(entries)),
        _ => false,
    }
}

/// True for commands after which Redis may have a node without entries.
pub(crate) fn may_empty_a_node(args: &[Vec<u8>]) -> bool {
    let trims: [&[u8]; 2] = [b"XADD", b"XTRIM"];
    trims.contains(&upper(args.first()).as_slice())
        && args.iter().any(|arg| arg.eq_ignore_ascii_case(b"MINID"))
}

/// True if a command of a transaction may see a consumer that an earlier one made, or the absence of it.
pub(crate) fn looks_at_consumers(args: &[Vec<u8>]) -> bool {
    let names: [&[u8]; 16] = [
        b"XINFO",
        b"XGROUP",
        b"DEL",
        b"UNLINK",
        b"FLUSHDB",
        b"FLUSHALL",
        b"SELECT",
        b"COPY",
        b"RENAME",
        b"RENAMENX",
        b"MOVE",
        b"SWAPDB",
        b"EXPIRE",
        b"PEXPIRE",
        b"EXPIREAT",
        b"PEXPIREAT",
    ];
    names.contains(&upper(args.first()).as_slice())
}

/// What 7.2 and claimlog say where 7.0 had other words, for a read that was blocked.
pub(crate) fn vanished_is_known(args: &[Vec<u8>], redis: &Value, ours: &Value) -> bool {
    let (Value::Error(redis), Value::Error(ours)) = (redis, ours) else { return false };
    let old: [&[u8]; 2] = [
        b"UNBLOCKED the stream key no longer exists",
        b"NOGROUP the consumer group this client was blocked on no longer exists",
    ];
    let Some(streams) = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"STREAMS")) else {
        return false;
    };
    let Some(group) = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"GROUP")) else { return false };
    let names = &args[streams + 1..];
    let group = String::from_utf8_lossy(&args[group + 1]);
    let text = |key: &Vec<u8>| {
        let key = String::from_utf8_lossy(key);
        format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option")
    };
    old.contains(&redis.as_slice())
        && names[..names.len() / 2].iter().any(|key| text(key).into_bytes() == *ours)
}

/// The fixed rule for `lag`, from nothing but the fields of XINFO STREAM FULL; says what is wrong.
pub(crate) fn lag_is_wrong(full: &Value) -> Option<String> {
    let id = |value: &Value| {
        let text = value.text();
        let (ms, seq) = text.split_once('-')?;
        Some((ms.parse::<u64>().ok()?, seq.parse::<u64>().ok()?))
    };
    full.find("entries")?;
    let length = full.find("length")?.int();
    let added = full.find("entries-added")?.int();
    let last = id(full.find("last-generated-id")?)?;
    let max_deleted = id(full.find("max-deleted-entry-id")?)?;
    let first = id(full.find("recorded-first-entry-id")?)?;
    let tombstones = |from| length > 0 && max_deleted != (0, 0) && from <= max_deleted;
    let known = |at: (u64, u64)| {
        if added == 0 {
            Some(0)
        } else if length == 0 && at <= last {
            Some(added)
        } else if at != (0, 0) && at < max_deleted {
            None
        } else if at == last {
            Some(added)
        } else if at > last {
            None
        } else if (max_deleted == (0, 0) || max_deleted < first) && at < first {
            Some(added - length)
        } else if (max_deleted == (0, 0) || max_deleted < first) && at == first {
            Some(added - length + 1)
        } else {
            None
        }
    };
    for group in full.find("groups")?.items() {
        let at = id(group.find("last-delivered-id")?)?;
        let read = match group.find("entries-read")? {
            Value::Int(read) => Some(*read),
            _ => None,
        };
        let want = if added == 0 || length == 0 {
            Some(0)
        } else if at < first && max_deleted < first {
            Some(length)
        } else if let Some(read) = read.filter(|_| !tombstones(at)) {
            Some(added - read)
        } else {
            known(at).map(|known| added - known)
        };
        let got = match group.find("lag")? {
            Value::Int(lag) => Some(*lag),
            _ => None,
        };
        if got != want {
            return Some(format!("lag of group {} must be {want:?} and is {got:?}", group.get("name")));
        }
        if read.is_some_and(|read| read > added) {
            return Some(format!("entries-read of group {} passes entries-added", group.get("name")));
        }
    }
    None
}
