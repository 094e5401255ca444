//! Several requests as one batch (MULTI/EXEC).

use super::core::{Core, Halt};
use crate::error::Error;
use crate::op::Op;

/// Requests run inside [`Engine::transaction`](super::Engine::transaction).
#[derive(Debug)]
pub struct Transaction<'a> {
    core: &'a mut Core,
    now_ms: u64,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(core: &'a mut Core, now_ms: u64) -> Self {
        Self { core, now_ms }
    }

    /// Decides and applies one step. A refused step changes nothing; the others stand.
    ///
    /// # Errors
    /// [`Error::Refused`] if it can't be done as things stand; [`Error::Failed`] if a bug was found.
    pub fn execute<O: Op>(&mut self, op: &O) -> Result<O::Reply, Error> {
        if let Some(error) = self.core.ended() {
            return Err(error.clone());
        }
        match self.core.step(op, self.now_ms, false) {
            Ok(reply) => Ok(reply),
            Err(Halt::Error(error)) => Err(error),
            Err(Halt::NotYet) => {
                Err(Error::failed("a step inside a transaction was told to wait, which is a bug"))
            }
        }
    }
}
