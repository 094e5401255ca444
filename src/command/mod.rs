//! Commands: words in, requests to the engine, replies out.
//!
//! One file per command (or container of subcommands), one row in [`table`]. A command is synchronous: it parses
//! everything first, then asks the engine, then encodes the reply straight into the connection's buffer. Waiting,
//! for the disk or for data, is the server's business: a command only says what to wait for ([`Outcome`]).

mod args;
mod call;
mod context;
#[cfg(test)]
mod differences;
mod docs;
#[cfg(any(test, fuzzing))]
pub(crate) mod exercise;
mod glob;
mod histogram;
mod id_block;
mod info_text;
mod memory_use;
mod process;
mod reply;
mod session;
mod slow;
mod slow_events;
mod spec;
mod stats;
mod table;

mod acl;
mod auth;
mod client;
mod client_flow;
mod client_select;
mod cluster;
mod command_cmd;
mod config_cmd;
mod connection;
mod debug;
mod expire;
mod flush;
mod hello;
mod info;
mod keys;
mod latency;
mod lolwut;
mod memory;
mod module;
mod multi;
mod object;
mod relocate;
mod replication;
mod save;
mod scripting;
mod shutdown;
mod slowlog;
mod time;
mod ttl;
mod wait;
mod xack;
mod xackdel;
mod xadd;
mod xautoclaim;
mod xcfgset;
mod xclaim;
mod xdel;
mod xdelex;
mod xgroup;
mod xidmprecord;
mod xinfo;
mod xlen;
mod xnack;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use claimlog::Error;
use claimlog::engine::Waiting;
use claimlog::op::{Refusal, StreamRead};

use claimlog::resp::Encoder;

pub(crate) use call::{Call, dispatch};
pub(crate) use context::{Context, RecoverySummary};
pub(crate) use memory_use::MemoryUse;
pub(crate) use session::{Client, Reading, Session};
pub(crate) use stats::add as stats_add;

/// The Redis version whose commands and options for streams are all there.
pub(crate) const REDIS_VERSION: &str = "8.10.0";

/// What is left to do when a command has run.
pub(crate) enum Outcome {
    /// Nothing: the reply is in the buffer.
    Done,
    /// Wait for data, at most so long (`None`: for ever), then encode it, or nothing.
    Park { waiting: Waiting, timeout: Option<Duration>, encode: fn(&mut Encoder<'_>, &[StreamRead]) },
    /// Wait, then encode. Nothing but the passing of time ends it.
    Pause { time: Option<Duration>, encode: fn(&mut Encoder<'_>) },
    /// Try again when a pause is over: after so long, or when it is ended before.
    Postpone { time: Duration },
    /// Close the connection once the reply has left.
    Close,
    /// Close the engine and open it again, after a snapshot or without one.
    Reload { snapshot: bool },
    /// End the server.
    Shutdown,
}

/// Why a command gives an error.
#[derive(Clone, Debug)]
pub(crate) enum CommandError {
    /// The reply, code first.
    Reply(Cow<'static, [u8]>),
    /// The engine failed or was closed: nothing can be served any more.
    Fatal(Arc<str>),
}

impl CommandError {
    pub(crate) const fn text(text: &'static str) -> Self {
        Self::Reply(Cow::Borrowed(text.as_bytes()))
    }

    pub(crate) fn owned(text: impl Into<Vec<u8>>) -> Self {
        Self::Reply(Cow::Owned(text.into()))
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::owned(refusal.wire())
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Failed(why) => Self::Fatal(why),
            other => Self::Fatal(other.to_string().into()),
        }
    }
}
