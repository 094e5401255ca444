//! The raw limit, shared by threads: messages are counted instead of kept, and each writer waits until a frame with its
//! own is written. No store whose writers are threads gets further; what is missing to the raw limit is what the system
//! takes to put threads to sleep and to wake them up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::queue::{Append, MANY, Queue};
use crate::raw::Raw;

pub(crate) struct Shared {
    raw: Raw,
    line: Mutex<Line>,
    /// For every other frame.
    woken: [Condvar; 2],
}

#[derive(Default)]
struct Line {
    /// Whether a writer writes a frame.
    led: bool,
    /// The frame that will be written next.
    next: usize,
    /// How many messages it has so far.
    messages: usize,
    /// How many frames are written.
    written: usize,
}

impl Shared {
    pub(crate) fn new(raw: Raw) -> Self {
        Self { raw, line: Mutex::default(), woken: [Condvar::new(), Condvar::new()] }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, messages: usize) {
        let mut line = self.line();
        let frame = line.next;
        line.messages += messages;
        while line.written <= frame {
            if line.led {
                line = self.woken[frame % 2].wait(line).unwrap_or_else(PoisonError::into_inner);
            } else {
                line.led = true;
                self.write(line);
                line = self.line();
            }
        }
    }

    fn write<'a>(&'a self, mut line: MutexGuard<'a, Line>) {
        // As long as others come they may share the frame.
        let mut known = 0;
        while known < line.messages && line.messages > 1 && line.messages < MANY {
            known = line.messages;
            drop(line);
            std::thread::yield_now();
            line = self.line();
        }
        let frame = line.next;
        let messages = std::mem::take(&mut line.messages);
        line.next += 1;
        drop(line);
        self.raw.write(messages);
        let mut line = self.line();
        line.written = frame + 1;
        line.led = false;
        let more = line.messages > 0;
        drop(line);
        if more {
            self.woken[(frame + 1) % 2].notify_one();
        }
        self.woken[frame % 2].notify_all();
    }
}

impl Queue for Shared {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| self.append(messages.len()))
    }
}
