//! Writers: threads that append one call after the other, each waiting for its own.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::queue::{Append, Load, Message, Queue};

/// How long writers go on.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Until there are so many messages, or a few more.
    Count(u64),
    /// So long.
    Elapsed(Duration),
}

/// What writers did.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    messages: u64,
    took: Duration,
}

impl Done {
    /// How long so many messages would have taken.
    pub(crate) fn time_of(self, messages: u64) -> Duration {
        self.took.mul_f64(messages as f64 / self.messages as f64)
    }

    pub(crate) fn per_second(self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }
}

/// Has messages appended. The time is that from when all writers are ready to when all are done.
pub(crate) fn append(queue: &dyn Queue, load: Load, until: Until) -> Done {
    let Load { writers, at_a_time, .. } = queue.load(load);
    // Messages are taken call by call, so that all writers have something to do to the end.
    let taken = AtomicU64::new(0);
    let (ready, over) = (Barrier::new(writers + 1), Barrier::new(writers + 1));
    let write = |number: usize, mut append: Append<'_>| {
        let mut messages = Messages::new(number, at_a_time);
        ready.wait();
        let begin = Instant::now();
        loop {
            let enough = match until {
                Until::Count(count) => taken.load(Ordering::Relaxed) >= count,
                Until::Elapsed(time) => begin.elapsed() >= time,
            };
            if enough {
                break;
            }
            taken.fetch_add(at_a_time as u64, Ordering::Relaxed);
            append(messages.next());
        }
        over.wait();
    };
    let write = &write;
    std::thread::scope(|scope| {
        for number in 0..writers {
            let append = queue.writer();
            scope.spawn(move || write(number, append));
        }
        ready.wait();
        let begin = Instant::now();
        over.wait();
        Done { took: begin.elapsed(), messages: taken.load(Ordering::Relaxed) }
    })
}

/// Bytes that don't compress, other ones each time: a store that compresses has no advantage of equal messages.
struct Messages {
    random: u64,
    messages: Vec<Message>,
}

impl Messages {
    fn new(number: usize, at_a_time: usize) -> Self {
        let random = 0x9E37_79B9_7F4A_7C15 ^ ((number as u64 + 1) << 20);
        Self { random, messages: vec![[0; size_of::<Message>()]; at_a_time] }
    }

    fn next(&mut self) -> &[Message] {
        for bytes in self.messages.iter_mut().flat_map(|message| message.chunks_mut(8)) {
            // xorshift64.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            bytes.copy_from_slice(&self.random.to_le_bytes()[..bytes.len()]);
        }
        &self.messages
    }
}
