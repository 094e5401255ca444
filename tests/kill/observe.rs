//! What a server says a stream looks like, from several commands that must agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Client, Value, now_ms};
use crate::model::{Group, Id, Model, Row, Stream, parse};

/// Reads everything about a key; `Err` says what contradicts what.
pub(crate) fn observe(client: &mut Client, key: &str) -> Result<Model, String> {
    let full = client.run(&format!("XINFO STREAM {key} FULL COUNT 0"));
    let exists = client.run(&format!("EXISTS {key}")).int() == 1;
    if full == Value::Error(b"ERR no such key".to_vec()) {
        return if exists {
            Err("EXISTS says 1, XINFO says no such key".to_owned())
        } else {
            Ok(Model(None))
        };
    }
    let mut stream = Stream {
        entries: entries(full.get("entries"))?,
        last: parse(&full.get("last-generated-id").text()),
        max_deleted: parse(&full.get("max-deleted-entry-id").text()),
        added: number(full.get("entries-added")),
        groups: BTreeMap::new(),
    };
    agree("XRANGE", &entries(&client.run(&format!("XRANGE {key} - +")))?, &stream.entries)?;
    agree("XLEN", &number(&client.run(&format!("XLEN {key}"))), &(stream.entries.len() as u64))?;
    for info in full.get("groups").items() {
        let name = info.get("name").text();
        let group = group(info)?;
        pending_agrees(client, key, &name, &group)?;
        stream.groups.insert(name, group);
    }
    Ok(Model(Some(stream)))
}

fn agree<T: PartialEq + std::fmt::Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other {
        Ok(())
    } else {
        Err(format!("{what} contradicts XINFO STREAM FULL: {one:?} and {other:?}"))
    }
}

fn number(value: &Value) -> u64 {
    u64::try_from(value.int()).unwrap()
}

fn entries(list: &Value) -> Result<BTreeMap<Id, String>, String> {
    let mut found = BTreeMap::new();
    let mut before = None;
    for entry in list.items() {
        let id = parse(&entry.items()[0].text());
        if before.is_some_and(|before| before >= id) {
            return Err(format!("entries out of order at {id:?}"));
        }
        before = Some(id);
        let fields = entry.items()[1].items();
        if fields.len() != 2 || fields[0].text() != "t" {
            return Err(format!("entry {id:?} has other fields than were sent: {}", entry.items()[1]));
        }
        found.insert(id, fields[1].text());
    }
    Ok(found)
}

fn group(info: &Value) -> Result<Group, String> {
    let mut group = Group { last: parse(&info.get("last-delivered-id").text()), ..Group::default() };
    for row in info.get("pending").items() {
        let [id, owner, time, count] = row.items() else { return Err(format!("odd pending row {row}")) };
        let time = number(time);
        let row = Row { owner: owner.text(), count: number(count), time: (time, time) };
        if group.pending.insert(parse(&id.text()), row).is_some() {
            return Err(format!("{id} is pending twice"));
        }
    }
    agree("pel-count", &number(info.get("pel-count")), &(group.pending.len() as u64))?;
    // One owner: the rows of the consumers together are the rows of the group.
    let mut of_consumers = BTreeMap::new();
    for consumer in info.get("consumers").items() {
        let owner = consumer.get("name").text();
        let rows = consumer.get("pending").items();
        agree("a consumer's pel-count", &number(consumer.get("pel-count")), &(rows.len() as u64))?;
        for row in rows {
            let [id, time, count] = row.items() else { return Err(format!("odd pending row {row}")) };
            let time = number(time);
            let row = Row { owner: owner.clone(), count: number(count), time: (time, time) };
            if of_consumers.insert(parse(&id.text()), row).is_some() {
                return Err(format!("{id} has two owners"));
            }
        }
        group.consumers.insert(owner);
    }
    agree("the rows of the consumers", &of_consumers, &group.pending)?;
    Ok(group)
}

fn pending_agrees(client: &mut Client, key: &str, name: &str, group: &Group) -> Result<(), String> {
    let summary = client.run(&format!("XPENDING {key} {name}"));
    agree("XPENDING's total", &number(&summary.items()[0]), &(group.pending.len() as u64))?;
    let before = now_ms();
    let rows = client.run(&format!("XPENDING {key} {name} - + 1000000"));
    let after = now_ms();
    let mut listed = BTreeSet::new();
    for row in rows.items() {
        let [id, owner, idle, count] = row.items() else { return Err(format!("odd pending row {row}")) };
        let id = parse(&id.text());
        let Some(known) = group.pending.get(&id) else {
            return Err(format!("XPENDING lists {id:?}, XINFO does not"));
        };
        agree("XPENDING's owner", &owner.text(), &known.owner)?;
        agree("XPENDING's count", &number(count), &known.count)?;
        // Idle time counts on from the delivery time, through any crash.
        let idle = number(idle);
        let range = before.saturating_sub(known.time.0)..=after.saturating_sub(known.time.0);
        if !range.contains(&idle) {
            return Err(format!("{id:?} was delivered at {}, idle {idle} is not in {range:?}", known.time.0));
        }
        listed.insert(id);
    }
    agree("the rows of XPENDING", &listed, &group.pending.keys().copied().collect())
}

/// What differs between what must be and what is; delivery times need only lie within their window.
pub(crate) fn mismatch(want: &Model, got: &Model) -> Option<String> {
    let (want, got) = match (&want.0, &got.0) {
        (None, None) => return None,
        (Some(_), None) => return Some("the key is gone".to_owned()),
        (None, Some(_)) => return Some("the key must not be there".to_owned()),
        (Some(want), Some(got)) => (want, got),
    };
    fn differ<T: PartialEq + std::fmt::Debug>(what: &str, want: &T, got: &T) -> Option<String> {
        (want != got).then(|| format!("{what} must be {want:?} and is {got:?}"))
    }
    let simple = differ("last-generated-id", &want.last, &got.last)
        .or_else(|| differ("entries-added", &want.added, &got.added))
        .or_else(|| differ("max-deleted-entry-id", &want.max_deleted, &got.max_deleted));
    if simple.is_some() {
        return simple;
    }
    if let Some(diff) = diff_maps("entry", &want.entries, &got.entries, |want, got| want == got) {
        return Some(diff);
    }
    let group = |want: &Group, got: &Group| {
        differ("last-delivered-id", &want.last, &got.last)
            .or_else(|| differ("the consumers", &want.consumers, &got.consumers))
            .or_else(|| {
                diff_maps("pending row", &want.pending, &got.pending, |want, got| {
                    want.owner == got.owner
                        && want.count == got.count
                        && (want.time.0..=want.time.1).contains(&got.time.0)
                })
            })
    };
    if let Some(diff) = diff_maps("group", &want.groups, &got.groups, |_, _| true) {
        return Some(diff);
    }
    want.groups
        .iter()
        .find_map(|(name, want)| group(want, &got.groups[name]).map(|diff| format!("group {name}: {diff}")))
}

fn diff_maps<K: Ord + std::fmt::Debug, V: std::fmt::Debug>(
    what: &str,
    want: &BTreeMap<K, V>,
    got: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Option<String> {
    for (key, value) in want {
        match got.get(key) {
            None => return Some(format!("{what} {key:?} is lost: {value:?}")),
            Some(found) if !same(value, found) => {
                return Some(format!("{what} {key:?} must be {value:?} and is {found:?}"));
            }
            Some(_) => {}
        }
    }
    got.iter()
        .find(|(key, _)| !want.contains_key(key))
        .map(|(key, value)| format!("{what} {key:?} came from nowhere: {value:?}"))
}
