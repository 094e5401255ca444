//! claimlog as it comes: a stream, and an XADD for each message. Writers that wait at the same time share a commit.

use std::path::Path;

use claimlog::Fields;
use claimlog::engine::{Engine, Options};
use claimlog::op::XAdd;

use crate::queue::{Append, MANY, Message, Queue};

pub(crate) struct Claimlog(Engine);

impl Claimlog {
    pub(crate) fn open(dir: &Path) -> Self {
        let (engine, _) = Options::new(dir).open().expect("claimlog opens an empty directory");
        Self(engine)
    }

    /// How many bytes it writes for one message, and for many at once: what the raw limit writes.
    pub(crate) fn frame_bytes(&self) -> [usize; 2] {
        [1, MANY].map(|count| {
            let written = || self.0.stats().log_bytes_written;
            let before = written();
            self.append(&vec![[7; size_of::<Message>()]; count]);
            usize::try_from(written() - before).expect("a frame fits the memory")
        })
    }

    fn append(&self, messages: &[Message]) {
        let mut last = None;
        for message in messages {
            let fields = Fields::from_pairs([(&b"task"[..], &message[..])]);
            last = Some(self.0.submit(&XAdd::new("jobs", fields)));
        }
        self.0.redeem_blocking(last.expect("there is a message")).expect("it is added");
    }
}

impl Queue for Claimlog {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| self.append(messages))
    }
}
