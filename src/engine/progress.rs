//! How far the log has come, for those who wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::error::Error;
use crate::id::Seq;

/// What is visible, what is durable, and who waits.
#[derive(Debug, Default)]
pub(super) struct Progress {
    visible: AtomicU64,
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<(Seq, Waker)>,
    /// Those who wait for the end alone.
    end_wakers: Vec<Waker>,
    ended: Option<Error>,
}

/// Whoever waits for the end of an engine that is let go without being closed is told as well.
impl Drop for Progress {
    fn drop(&mut self) {
        self.end(Error::Closed);
    }
}

impl Progress {
    pub(super) fn new(seq: Seq) -> Self {
        Self { visible: seq.get().into(), durable: seq.get().into(), waiting: Mutex::default() }
    }

    /// Up to here replies may leave.
    pub(super) fn visible(&self) -> Seq {
        Seq::new(self.visible.load(Ordering::Acquire))
    }

    /// Up to here the log is synced.
    pub(super) fn durable(&self) -> Seq {
        Seq::new(self.durable.load(Ordering::Acquire))
    }

    /// The log has come further. Nobody is woken yet.
    pub(super) fn advance(&self, visible: Seq, durable: Seq) {
        self.durable.fetch_max(durable.get(), Ordering::AcqRel);
        self.visible.fetch_max(visible.get(), Ordering::AcqRel);
    }

    /// The log has come further.
    pub(super) fn publish(&self, visible: Seq, durable: Seq) {
        self.advance(visible, durable);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.wakers.is_empty() {
            return;
        }
        let visible = self.visible();
        let (ready, later) =
            std::mem::take(&mut waiting.wakers).into_iter().partition(|(seq, _)| *seq <= visible);
        waiting.wakers = later;
        drop(waiting);
        let ready: Vec<(Seq, Waker)> = ready;
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// It will not come further.
    pub(super) fn end(&self, why: Error) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended.get_or_insert(why);
        let wakers = std::mem::take(&mut waiting.wakers);
        let end_wakers = std::mem::take(&mut waiting.end_wakers);
        drop(waiting);
        wakers.into_iter().map(|(_, waker)| waker).chain(end_wakers).for_each(Waker::wake);
    }

    /// Why it will not come further, if that is so; if not, `waker` is woken then.
    pub(super) fn poll_end(&self, waker: &Waker) -> Option<Error> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.ended.is_none() && !waiting.end_wakers.iter().any(|known| known.will_wake(waker)) {
            waiting.end_wakers.push(waker.clone());
        }
        waiting.ended.clone()
    }

    /// Whether `seq` is visible; if not, `waker` is woken when it is, or when it never will be.
    pub(super) fn poll(&self, seq: Seq, waker: &Waker) -> Option<Result<(), Error>> {
        if self.visible() >= seq {
            return Some(Ok(()));
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at again under the lock, else a publish in between would be missed.
        if self.visible() >= seq {
            return Some(Ok(()));
        }
        if let Some(why) = &waiting.ended {
            return Some(Err(why.clone()));
        }
        waiting.wakers.push((seq, waker.clone()));
        None
    }
}
