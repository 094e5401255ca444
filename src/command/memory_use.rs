//! What memory is used for, as INFO and MEMORY tell it.
//!
//! Nothing is sampled and no allocator is asked: the data know what they take, connections what their buffers take, and
//! the rest is what the process had when it began to serve.

use super::Context;
use super::process;

/// What memory is used for, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryUse {
    /// Used, by all that follows: what there is, not what the process has of the system.
    pub(crate) used: u64,
    /// The data: what `maxmemory` is compared with.
    pub(crate) data: u64,
    /// Connections and their buffers. They have limits of their own.
    pub(crate) clients: u64,
    /// The process without data and clients.
    pub(crate) startup: u64,
    /// The most that was used since the start, as far as somebody looked.
    pub(crate) peak: u64,
    /// What the process has of the system.
    pub(crate) resident: u64,
}

impl MemoryUse {
    /// Now, with data of that size.
    pub(crate) fn now(context: &Context, data: u64) -> Self {
        let clients: usize = context.clients.borrow().values().map(|client| client.memory()).sum();
        let (clients, startup) = (clients as u64, context.startup_bytes);
        let used = startup + clients + data;
        let peak = context.stats.memory_at_most.get().max(used);
        context.stats.memory_at_most.set(peak);
        Self { used, data, clients, startup, peak, resident: process::resident_bytes() }
    }

    /// What is used and not data, and so not compared with `maxmemory`.
    pub(crate) fn overhead(&self) -> u64 {
        self.startup + self.clients
    }

    /// How much more the process has than is used.
    pub(crate) fn fragmentation(&self) -> f64 {
        if self.used == 0 { 1.0 } else { self.resident as f64 / self.used as f64 }
    }
}
