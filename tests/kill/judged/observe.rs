//! What a server says a stream looks like, from several commands that must agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use claimlog::EntryId;
use claimlog::history::{Group, Name, Row, Stream, Window};

use super::wire::id as parse;
use crate::common::{Client, Value, now_ms};

/// Reads everything about a key; `Err` says what contradicts what.
pub(crate) fn observe(client: &mut Client, key: &str) -> Result<Option<Stream>, String> {
    let full = client.run(&format!("XINFO STREAM {key} FULL COUNT 0"));
    let exists = client.run(&format!("EXISTS {key}")).int() == 1;
    if full == Value::Error(b"ERR no such key".to_vec()) {
        return if exists { Err("EXISTS says 1, XINFO says no such key".to_owned()) } else { Ok(None) };
    }
    let mut stream = Stream::default();
    let found = entries(full.get("entries"))?;
    stream.last_id = parse(&full.get("last-generated-id").text());
    stream.max_deleted_id = parse(&full.get("max-deleted-entry-id").text());
    stream.added = number(full.get("entries-added"));
    agree("XRANGE", &entries(&client.run(&format!("XRANGE {key} - +")))?, &found)?;
    agree("XLEN", &number(&client.run(&format!("XLEN {key}"))), &(found.len() as u64))?;
    stream.entries = found.into_iter().collect();
    for info in full.get("groups").items() {
        let name: Name = info.get("name").text().into();
        let group = group(info)?;
        pending_agrees(client, key, &name, &group)?;
        stream.groups.insert(name, group);
    }
    Ok(Some(stream))
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

fn entries(list: &Value) -> Result<BTreeMap<EntryId, Name>, String> {
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
        found.insert(id, fields[1].text().into());
    }
    Ok(found)
}

fn group(info: &Value) -> Result<Group, String> {
    let mut group = Group::default();
    group.last_id = parse(&info.get("last-delivered-id").text());
    for row in info.get("pending").items() {
        let [id, owner, time, count] = row.items() else { return Err(format!("odd pending row {row}")) };
        let time = number(time);
        let row =
            Row { owner: Some(owner.text().into()), count: number(count), delivered: Window::exactly(time) };
        if group.pending.insert(parse(&id.text()), row).is_some() {
            return Err(format!("{id} is pending twice"));
        }
    }
    agree("pel-count", &number(info.get("pel-count")), &(group.pending.len() as u64))?;
    // One owner: the rows of the consumers together are the rows of the group.
    let mut of_consumers = BTreeMap::new();
    for consumer in info.get("consumers").items() {
        let owner: Name = consumer.get("name").text().into();
        let rows = consumer.get("pending").items();
        agree("a consumer's pel-count", &number(consumer.get("pel-count")), &(rows.len() as u64))?;
        for row in rows {
            let [id, time, count] = row.items() else { return Err(format!("odd pending row {row}")) };
            let time = number(time);
            let row =
                Row { owner: Some(owner.clone()), count: number(count), delivered: Window::exactly(time) };
            if of_consumers.insert(parse(&id.text()), row).is_some() {
                return Err(format!("{id} has two owners"));
            }
        }
        group.consumers.insert(owner);
    }
    agree(
        "the rows of the consumers",
        &of_consumers,
        &group.pending.iter().map(|(id, row)| (*id, row.clone())).collect::<BTreeMap<_, _>>(),
    )?;
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
        agree("XPENDING's owner", &Some(owner.text().into()), &known.owner)?;
        agree("XPENDING's count", &number(count), &known.count)?;
        // Idle time counts on from the delivery time, through any crash.
        let idle = number(idle);
        let range = before.saturating_sub(known.delivered.latest_ms)
            ..=after.saturating_sub(known.delivered.latest_ms);
        if !range.contains(&idle) {
            return Err(format!(
                "{id:?} was delivered at {}, idle {idle} is not in {range:?}",
                known.delivered.latest_ms
            ));
        }
        listed.insert(id);
    }
    agree("the rows of XPENDING", &listed, &group.pending.keys().copied().collect())
}
