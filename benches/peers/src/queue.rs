//! What is measured: a queue that messages are appended to, and by whom.

/// A message.
pub(crate) type Message = [u8; 100];

/// What a writer calls with its messages, one or several: they survive a power cut when this returns.
pub(crate) type Append<'a> = Box<dyn FnMut(&[Message]) + Send + 'a>;

/// A queue on a disk.
pub(crate) trait Queue {
    /// For one more writer.
    fn writer(&self) -> Append<'_>;

    /// Who really writes, where it is so many who should.
    fn load(&self, load: Load) -> Load {
        load
    }
}

/// A row of the table.
pub(crate) type Row = (&'static str, Box<dyn Queue>);

/// Who writes: a column of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Threads, each of which waits for what it has appended before it goes on.
    pub(crate) writers: usize,
    /// How many messages a writer appends in one call.
    pub(crate) at_a_time: usize,
}

/// How many messages there are at once in the other columns than the first.
pub(crate) const MANY: usize = 64;

/// The columns of the table.
pub(crate) const LOADS: [Load; 3] = [
    Load { name: "1 writer", writers: 1, at_a_time: 1 },
    Load { name: "64 writers", writers: MANY, at_a_time: 1 },
    Load { name: "1 writer, 64 at a time", writers: 1, at_a_time: MANY },
];

/// The key of a message in a store that orders keys as bytes.
#[expect(clippy::big_endian_bytes, reason = "so that they lie in the order of their numbers")]
pub(crate) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}
