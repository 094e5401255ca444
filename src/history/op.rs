//! The vocabulary of histories: what clients ask for, and what they are told.

use std::fmt;
use std::sync::Arc;

use crate::id::EntryId;

/// A name of a key, group, consumer, client or producer.
pub type Name = Arc<str>;

/// One thing that a client asks for; a transaction is one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// XADD of an entry with one field, `t`, whose value is a token that no other call of the history uses.
    Add {
        /// The stream.
        key: Name,
        /// The id; `None`: the server makes it.
        id: Option<EntryId>,
        /// The token.
        token: Name,
        /// MAXLEN, exactly.
        keep: Option<u64>,
        /// IDMP: producer and its name for the entry.
        once: Option<(Name, Name)>,
    },
    /// XDEL.
    Delete {
        /// The stream.
        key: Name,
        /// What goes.
        ids: Vec<EntryId>,
    },
    /// XTRIM MAXLEN, exactly.
    TrimToLength {
        /// The stream.
        key: Name,
        /// How many entries stay.
        length: u64,
    },
    /// XTRIM MINID, exactly.
    TrimBelow {
        /// The stream.
        key: Name,
        /// The first id that may stay.
        id: EntryId,
    },
    /// XSETID with nothing but an id.
    SetId {
        /// The stream.
        key: Name,
        /// Its new last id.
        id: EntryId,
    },
    /// XGROUP CREATE with MKSTREAM.
    CreateGroup {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// After which entry it begins; `None`: after the last one.
        at: Option<EntryId>,
    },
    /// XGROUP DESTROY.
    DestroyGroup {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
    },
    /// XGROUP SETID.
    MoveGroup {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// After which entry it goes on.
        at: EntryId,
    },
    /// XGROUP CREATECONSUMER.
    CreateConsumer {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// The consumer.
        consumer: Name,
    },
    /// XGROUP DELCONSUMER.
    DeleteConsumer {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// The consumer.
        consumer: Name,
    },
    /// XREADGROUP of what was never delivered.
    Read(Read),
    /// XREADGROUP of a consumer's own pending entries.
    History {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// The consumer.
        consumer: Name,
        /// Only ids above this one.
        after: EntryId,
        /// COUNT.
        count: u64,
    },
    /// XACK.
    Ack {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// What is done.
        ids: Vec<EntryId>,
    },
    /// XNACK FAIL (8.8).
    Release {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// What is released.
        ids: Vec<EntryId>,
        /// RETRYCOUNT.
        retry_count: Option<u64>,
    },
    /// XCLAIM.
    Claim(Claim),
    /// XAUTOCLAIM with a minimal idle time of 0.
    AutoClaim {
        /// The stream.
        key: Name,
        /// The group.
        group: Name,
        /// The consumer.
        consumer: Name,
        /// From which id on.
        start: EntryId,
        /// COUNT.
        count: u64,
        /// JUSTID.
        just_id: bool,
    },
    /// XRANGE of everything.
    Range {
        /// The stream.
        key: Name,
    },
    /// PEXPIREAT.
    ExpireAt {
        /// The key.
        key: Name,
        /// When (Unix ms).
        at_ms: u64,
    },
    /// DEL of one key.
    DeleteKey {
        /// The key.
        key: Name,
    },
    /// RENAME.
    Rename {
        /// The key.
        from: Name,
        /// Its new name; what had it before is gone.
        to: Name,
    },
    /// MULTI, these, EXEC.
    Transaction(Vec<Op>),
}

/// XREADGROUP with `>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The stream.
    pub key: Name,
    /// The group.
    pub group: Name,
    /// The consumer.
    pub consumer: Name,
    /// COUNT.
    pub count: u64,
    /// NOACK.
    pub no_ack: bool,
    /// CLAIM (8.4): what is released, and what was delivered so many milliseconds ago, comes first.
    pub claim_idle_ms: Option<u64>,
    /// BLOCK: it waits, for ever or until it is told that there was nothing.
    pub waits: bool,
}

/// XCLAIM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The stream.
    pub key: Name,
    /// The group.
    pub group: Name,
    /// The consumer.
    pub consumer: Name,
    /// The minimal idle time.
    pub min_idle_ms: u64,
    /// What is claimed.
    pub ids: Vec<EntryId>,
    /// IDLE.
    pub idle_ms: Option<u64>,
    /// TIME (Unix ms); it counts before IDLE.
    pub time_ms: Option<u64>,
    /// RETRYCOUNT.
    pub retry_count: Option<u64>,
    /// FORCE.
    pub force: bool,
    /// JUSTID.
    pub just_id: bool,
    /// LASTID.
    pub last_id: Option<EntryId>,
}

/// An entry that a client was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: EntryId,
    /// Its token; `None` if only the id was asked for, or the entry is gone.
    pub token: Option<Name>,
    /// How often it was delivered before, where the reply says so (CLAIM).
    pub delivered_before: Option<u64>,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// OK.
    Ok,
    /// A number; a yes or no is 1 or 0.
    Number(u64),
    /// The id of what was added.
    Added(EntryId),
    /// Entries, or none.
    Entries(Vec<Seen>),
    /// It can't be done as things stand: no such group, an id that is too small, and the like.
    Error,
    /// It can't be done for want of room. Nothing happened.
    Refused,
    /// What the steps of a transaction were told.
    All(Vec<Outcome>),
}

impl Op {
    /// The keys that it names.
    pub fn keys(&self) -> Vec<&Name> {
        match self {
            Self::Add { key, .. }
            | Self::Delete { key, .. }
            | Self::TrimToLength { key, .. }
            | Self::TrimBelow { key, .. }
            | Self::SetId { key, .. }
            | Self::CreateGroup { key, .. }
            | Self::DestroyGroup { key, .. }
            | Self::MoveGroup { key, .. }
            | Self::CreateConsumer { key, .. }
            | Self::DeleteConsumer { key, .. }
            | Self::History { key, .. }
            | Self::Ack { key, .. }
            | Self::Release { key, .. }
            | Self::AutoClaim { key, .. }
            | Self::Range { key }
            | Self::ExpireAt { key, .. }
            | Self::DeleteKey { key }
            | Self::Read(Read { key, .. })
            | Self::Claim(Claim { key, .. }) => vec![key],
            Self::Rename { from, to } => vec![from, to],
            Self::Transaction(steps) => steps.iter().flat_map(Self::keys).collect(),
        }
    }

    /// The commands that say this to a server, word by word; several for a transaction.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        if let Self::Transaction(steps) = self {
            let one = |word: &str| vec![word.to_owned()];
            let steps = steps.iter().flat_map(Self::commands);
            return std::iter::once(one("MULTI")).chain(steps).chain(std::iter::once(one("EXEC"))).collect();
        }
        vec![self.words()]
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&dyn fmt::Display]| words.extend(more.iter().map(ToString::to_string));
        match self {
            Self::Add { key, id, token, keep, once } => {
                add(&[&"XADD", key]);
                if let Some((producer, iid)) = once {
                    add(&[&"IDMP", producer, iid]);
                }
                if let Some(keep) = keep {
                    add(&[&"MAXLEN", keep]);
                }
                match id {
                    Some(id) => add(&[id]),
                    None => add(&[&"*"]),
                }
                add(&[&"t", token]);
            }
            Self::Delete { key, ids } => {
                add(&[&"XDEL", key]);
                ids.iter().for_each(|id| add(&[id]));
            }
            Self::TrimToLength { key, length } => add(&[&"XTRIM", key, &"MAXLEN", length]),
            Self::TrimBelow { key, id } => add(&[&"XTRIM", key, &"MINID", id]),
            Self::SetId { key, id } => add(&[&"XSETID", key, id]),
            Self::CreateGroup { key, group, at } => {
                add(&[&"XGROUP", &"CREATE", key, group]);
                match at {
                    Some(id) => add(&[id]),
                    None => add(&[&"$"]),
                }
                add(&[&"MKSTREAM"]);
            }
            Self::DestroyGroup { key, group } => add(&[&"XGROUP", &"DESTROY", key, group]),
            Self::MoveGroup { key, group, at } => add(&[&"XGROUP", &"SETID", key, group, at]),
            Self::CreateConsumer { key, group, consumer } => {
                add(&[&"XGROUP", &"CREATECONSUMER", key, group, consumer]);
            }
            Self::DeleteConsumer { key, group, consumer } => {
                add(&[&"XGROUP", &"DELCONSUMER", key, group, consumer]);
            }
            Self::Read(read) => {
                add(&[&"XREADGROUP", &"GROUP", &read.group, &read.consumer, &"COUNT", &read.count]);
                if read.waits {
                    add(&[&"BLOCK", &0]);
                }
                if let Some(idle_ms) = read.claim_idle_ms {
                    add(&[&"CLAIM", &idle_ms]);
                }
                if read.no_ack {
                    add(&[&"NOACK"]);
                }
                add(&[&"STREAMS", &read.key, &">"]);
            }
            Self::History { key, group, consumer, after, count } => {
                add(&[&"XREADGROUP", &"GROUP", group, consumer, &"COUNT", count, &"STREAMS", key, after]);
            }
            Self::Ack { key, group, ids } => {
                add(&[&"XACK", key, group]);
                ids.iter().for_each(|id| add(&[id]));
            }
            Self::Release { key, group, ids, retry_count } => {
                add(&[&"XNACK", key, group, &"FAIL", &"IDS", &ids.len()]);
                ids.iter().for_each(|id| add(&[id]));
                if let Some(count) = retry_count {
                    add(&[&"RETRYCOUNT", count]);
                }
            }
            Self::Claim(claim) => {
                add(&[&"XCLAIM", &claim.key, &claim.group, &claim.consumer, &claim.min_idle_ms]);
                claim.ids.iter().for_each(|id| add(&[id]));
                let mut option = |name: &str, value: Option<&dyn fmt::Display>| {
                    if let Some(value) = value {
                        add(&[&name, value]);
                    }
                };
                option("IDLE", claim.idle_ms.as_ref().map(|ms| ms as _));
                option("TIME", claim.time_ms.as_ref().map(|ms| ms as _));
                option("RETRYCOUNT", claim.retry_count.as_ref().map(|count| count as _));
                option("LASTID", claim.last_id.as_ref().map(|id| id as _));
                if claim.force {
                    add(&[&"FORCE"]);
                }
                if claim.just_id {
                    add(&[&"JUSTID"]);
                }
            }
            Self::AutoClaim { key, group, consumer, start, count, just_id } => {
                add(&[&"XAUTOCLAIM", key, group, consumer, &0, start, &"COUNT", count]);
                if *just_id {
                    add(&[&"JUSTID"]);
                }
            }
            Self::Range { key } => add(&[&"XRANGE", key, &"-", &"+"]),
            Self::ExpireAt { key, at_ms } => add(&[&"PEXPIREAT", key, at_ms]),
            Self::DeleteKey { key } => add(&[&"DEL", key]),
            Self::Rename { from, to } => add(&[&"RENAME", from, to]),
            Self::Transaction(_) => {}
        }
        words
    }
}

/// As somebody would type it; the commands of a transaction have semicolons between them.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, words) in self.commands().iter().enumerate() {
            let before = if at > 0 { "; " } else { "" };
            write!(f, "{before}{}", words.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Added(id) => write!(f, "{id}"),
            Self::Entries(entries) if entries.is_empty() => f.write_str("nothing"),
            Self::Entries(entries) => {
                for (at, Seen { id, token, delivered_before }) in entries.iter().enumerate() {
                    let before = if at > 0 { ", " } else { "" };
                    write!(f, "{before}{id}")?;
                    if let Some(token) = token {
                        write!(f, " {token}")?;
                    }
                    if let Some(count) = delivered_before {
                        write!(f, " (delivered {count} times before)")?;
                    }
                }
                Ok(())
            }
            Self::Error => f.write_str("an error"),
            Self::Refused => f.write_str("no room"),
            Self::All(all) => {
                for (at, one) in all.iter().enumerate() {
                    let before = if at > 0 { "; " } else { "" };
                    write!(f, "{before}{one}")?;
                }
                Ok(())
            }
        }
    }
}
