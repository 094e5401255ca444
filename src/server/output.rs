//! A connection's replies on their way out: which of them may leave, and how far they have left.

use std::collections::VecDeque;

use claimlog::Seq;

/// Buffers larger than this are given back once they are empty.
const KEPT_BYTES: usize = 64 * 1024;

/// Replies in order. A reply may leave when the change it depends on is visible; those behind it wait for it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// So many bytes have left.
    sent: usize,
    /// So many bytes may leave.
    free: usize,
    /// What waits: the bytes up to `end` for the change `after`. Both grow from mark to mark.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    after: Seq,
    end: usize,
}

impl Output {
    /// Where replies are appended. Follow with [`Output::park`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Everything appended since the last call waits for `after`.
    pub(crate) fn park(&mut self, after: Seq) {
        let end = self.bytes.len();
        match self.marks.back_mut() {
            Some(last) if last.after >= after => last.end = end,
            Some(last) if last.end == end => last.after = after,
            _ if self.free == end => {}
            _ => self.marks.push_back(Mark { after, end }),
        }
    }

    /// Lets everything go that depends on nothing later than `visible`.
    pub(crate) fn release(&mut self, visible: Seq) {
        while let Some(mark) = self.marks.front().filter(|mark| mark.after <= visible) {
            self.free = mark.end;
            self.marks.pop_front();
        }
    }

    /// Whether some replies still wait.
    pub(crate) fn waits(&self) -> bool {
        !self.marks.is_empty()
    }

    /// What may leave now.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.bytes[self.sent..self.free]
    }

    /// So many of the ready bytes have left.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.free = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Drops what has left, once it is more than what has not.
    pub(crate) fn compact(&mut self) {
        if self.sent > KEPT_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.free -= self.sent;
            for mark in &mut self.marks {
                mark.end -= self.sent;
            }
            self.sent = 0;
        }
    }

    /// How many bytes have not left.
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Nothing that waits may ever leave: one error takes its place.
    pub(crate) fn fail(&mut self, error: &[u8]) {
        self.bytes.truncate(self.free);
        self.marks.clear();
        self.bytes.push(b'-');
        self.bytes.extend(error.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
        self.bytes.extend_from_slice(b"\r\n");
        self.free = self.bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(output: &mut Output, text: &str, after: u64) {
        output.buffer().extend_from_slice(text.as_bytes());
        output.park(Seq::new(after));
    }

    #[test]
    fn replies_leave_in_order_and_not_too_early() {
        let mut output = Output::default();
        reply(&mut output, "a", 3);
        reply(&mut output, "b", 0);
        reply(&mut output, "c", 5);
        output.release(Seq::new(2));
        assert_eq!(output.ready(), b"");
        output.release(Seq::new(4));
        assert_eq!(output.ready(), b"ab");
        output.consume(1);
        assert_eq!(output.ready(), b"b");
        output.release(Seq::new(5));
        assert_eq!(output.ready(), b"bc");
        output.consume(2);
        assert_eq!((output.unsent(), output.waits()), (0, false));
    }

    #[test]
    fn a_failure_takes_back_what_waits_and_only_that() {
        let mut output = Output::default();
        reply(&mut output, "+a\r\n", 1);
        output.release(Seq::new(1));
        reply(&mut output, "+b\r\n", 2);
        output.fail(b"MISCONF x\ny");
        assert_eq!(output.ready(), b"+a\r\n-MISCONF x y\r\n");
    }

    #[test]
    fn nothing_appended_leaves_no_mark() {
        let mut output = Output::default();
        output.park(Seq::new(9));
        assert!(!output.waits());
    }

    #[test]
    fn compaction_keeps_the_rest() {
        let mut output = Output::default();
        let long = "x".repeat(KEPT_BYTES * 2);
        reply(&mut output, &long, 0);
        reply(&mut output, "tail", 7);
        output.release(Seq::ZERO);
        output.consume(long.len());
        output.compact();
        assert_eq!(output.unsent(), 4);
        output.release(Seq::new(7));
        assert_eq!(output.ready(), b"tail");
    }
}
