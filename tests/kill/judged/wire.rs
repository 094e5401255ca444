//! Replies on the wire, in the words of a history.

use claimlog::EntryId;
use claimlog::history::{Op, Outcome, Seen};

use crate::common::Value;

pub(crate) fn id(text: &str) -> EntryId {
    let (ms, seq) = text.split_once('-').unwrap_or_else(|| panic!("{text:?} is no id"));
    EntryId::new(ms.parse().unwrap(), seq.parse().unwrap())
}

/// What a reply to an op says; of a transaction, the reply to EXEC.
pub(crate) fn outcome(op: &Op, reply: &Value) -> Outcome {
    let entries = |entries: &Value| Outcome::Entries(entries.items().iter().map(seen).collect());
    match (op, reply) {
        (_, Value::Error(_)) => Outcome::Error,
        (Op::Transaction(ops), Value::Array(replies)) => {
            Outcome::All(ops.iter().zip(replies).map(|(op, reply)| outcome(op, reply)).collect())
        }
        (Op::Add { .. }, Value::Bulk(_)) => Outcome::Added(id(&reply.text())),
        (Op::Read(_) | Op::History { .. }, Value::NullArray) => Outcome::Entries(Vec::new()),
        (Op::Read(_) | Op::History { .. }, Value::Array(streams)) => entries(&streams[0].items()[1]),
        (Op::Claim(_) | Op::Range { .. }, Value::Array(_)) => entries(reply),
        (Op::AutoClaim { .. }, Value::Array(parts)) => entries(&parts[1]),
        (_, Value::Simple(_)) => Outcome::Ok,
        (_, Value::Int(number)) => Outcome::Number(u64::try_from(*number).unwrap()),
        (op, reply) => panic!("{op} was answered {reply}"),
    }
}

/// An entry as a reply shows it: its id alone, or with its pairs, or with null where it is gone.
fn seen(entry: &Value) -> Seen {
    let (text, token) = match entry {
        Value::Bulk(_) => (entry.text(), None),
        entry => {
            let token = match &entry.items()[1] {
                Value::Null | Value::NullArray => None,
                fields => {
                    let [name, value] = fields.items() else {
                        panic!("other fields than were sent: {fields}")
                    };
                    assert_eq!(name.text(), "t", "other fields than were sent: {fields}");
                    Some(value.text().into())
                }
            };
            (entry.items()[0].text(), token)
        }
    };
    Seen { id: id(&text), token, delivered_before: None }
}
