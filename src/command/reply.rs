//! How what the engine answers looks on the wire.

use claimlog::Fields;
use claimlog::op::{Entry, PendingEntry, StreamRead};

use super::spec::CommandSpec;
use super::{Call, CommandError, Outcome};
use claimlog::resp::{Encoder, Protocol};

/// The pairs of an entry: a flat array in both protocols.
fn fields(reply: &mut Encoder<'_>, fields: &Fields) {
    reply.array(fields.len() * 2);
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// `[id, [name, value, ...]]`
pub(crate) fn entry(reply: &mut Encoder<'_>, entry: &Entry) {
    reply.array(2);
    reply.id(entry.id);
    fields(reply, &entry.fields);
}

/// Several entries.
pub(crate) fn entries(reply: &mut Encoder<'_>, entries: &[Entry]) {
    reply.array(entries.len());
    for one in entries {
        entry(reply, one);
    }
}

/// `[id, [name, value, ...]]`; the fields of an entry that is gone are a null array. Where a read with CLAIM asked for
/// it, how each stood before follows.
pub(crate) fn pending_entries(reply: &mut Encoder<'_>, entries: &[PendingEntry]) {
    reply.array(entries.len());
    for entry in entries {
        reply.array(if entry.before.is_some() { 4 } else { 2 });
        reply.id(entry.id);
        match &entry.fields {
            Some(pairs) => fields(reply, pairs),
            None => reply.null_array(),
        }
        if let Some(before) = entry.before {
            reply.count(before.idle_ms);
            reply.count(before.delivery_count);
        }
    }
}

/// What XREAD and XREADGROUP answer: a map in RESP3, an array of pairs in RESP2; nothing is a null array.
pub(crate) fn streams(reply: &mut Encoder<'_>, streams: &[StreamRead]) {
    if streams.is_empty() {
        return reply.null_array();
    }
    match reply.protocol() {
        Protocol::Resp2 => reply.array(streams.len()),
        Protocol::Resp3 => reply.map(streams.len()),
    }
    for stream in streams {
        if reply.protocol() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(&stream.key);
        pending_entries(reply, &stream.entries);
    }
}

/// The lines of a container's HELP.
pub(crate) fn help(call: &mut Call<'_, '_>, container: &CommandSpec) -> Result<Outcome, CommandError> {
    let first =
        format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.name.to_uppercase());
    call.reply.array(container.help.len() + 3);
    call.reply.simple(first.as_bytes());
    for line in container.help.iter().chain(&["HELP", "    Prints this help."]) {
        call.reply.simple(line.as_bytes());
    }
    Ok(Outcome::Done)
}
