//! Several requests as one batch (MULTI/EXEC).

use super::core::{Core, Halt};
use super::{Ticket, Waiting};
use crate::error::Error;
use crate::id::Seq;
use crate::op::{Op, Refusal, StreamRead};

/// What a step is told that would have to wait for a segment, which can't be waited for here.
const OUTGROWN: &str =
    "this transaction is larger than the room that was made ready for it, so send it again or split it";

/// How large a transaction may become: room for that is made ready before it begins, since inside it nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionSize {
    /// How many bytes its changes may come to. A step that goes beyond the room that is ready is refused as if the log
    /// were full ([`Refusal::LogFull`]).
    pub bytes: usize,
    /// Whether any step adds something: on a full log, or without memory, the whole is refused then, before its first
    /// step.
    pub adds: bool,
}

/// Requests run inside [`Engine::transaction`](super::Engine::transaction).
#[derive(Debug)]
pub struct Transaction<'a> {
    core: &'a mut Core,
    now_ms: u64,
    /// Whether there was too little memory when it began. As in Redis that is what counts until its end.
    out_of_memory: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(core: &'a mut Core, now_ms: u64) -> Self {
        let out_of_memory = core.is_out_of_memory();
        Self { core, now_ms, out_of_memory }
    }

    /// Decides and applies one step. A refused step changes nothing; the others stand.
    ///
    /// # Errors
    /// [`Error::Refused`] if it can't be done as things stand, or if there is no room for it beside the steps before it;
    /// [`Error::Failed`] if a bug was found.
    pub fn execute<O: Op>(&mut self, op: &O) -> Result<O::Reply, Error> {
        if let Some(error) = self.core.ended() {
            return Err(error.clone());
        }
        if O::DENY_OOM && self.out_of_memory {
            return Err(Refusal::OutOfMemory.into());
        }
        self.core.step(op, self.now_ms).map_err(|halt| match halt {
            Halt::Error(error) => error,
            Halt::NotYet => Refusal::LogFull { why: OUTGROWN.into() }.into(),
        })
    }

    /// As [`Waiting::give_up`], for a reader that waits in this engine: whatever the transaction does goes past it.
    ///
    /// # Errors
    /// As there.
    pub fn give_up(&mut self, waiting: Waiting) -> Result<Ticket<Vec<StreamRead>>, Seq> {
        waiting.give_up_in(self.core)
    }
}
