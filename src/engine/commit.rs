//! The way from the log's buffer to the disk: committing, syncing, marking, closing, and what a failure ends. (How there
//! comes to be room for it is in `room.rs`.)
//!
//! Lock order: the snapshotter before the writer before the core. Who waits is told when the writer is let go: whoever
//! is woken may want to commit at once.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Shared;
use super::options::SyncMode;
use super::progress::Progress;
use crate::error::Error;
use crate::id::Seq;
use crate::wal::{LogError, Writer, Written};

/// How far a commit came, to be published when the writer is let go.
#[must_use]
pub(super) struct Committed {
    visible: Seq,
    durable: Seq,
}

impl Committed {
    fn new(mode: SyncMode, written: Written) -> Self {
        let visible = if mode == SyncMode::Always { written.durable } else { written.last };
        Self { visible, durable: written.durable }
    }

    /// Makes it known to those who look, and wakes nobody.
    pub(super) fn show(&self, progress: &Progress) {
        progress.advance(self.visible, self.durable);
    }
}

impl Shared {
    /// Writes everything pending, and syncs it in mode `always` or if asked to. Answers up to where replies may leave.
    pub(super) fn commit(&self, force_sync: bool) -> Result<Seq, Error> {
        let before = self.log_bytes_written.load(Ordering::Relaxed);
        let committed = self.commit_with(self.writer().as_mut(), force_sync);
        self.publish(committed)?;
        self.brake(before);
        Ok(self.progress.visible())
    }

    /// Waits if snapshots don't come along with what is written (I10).
    pub(super) fn brake(&self, before: u64) {
        let written = self.log_bytes_written.load(Ordering::Relaxed);
        let pause = self.snapshots.brake(written - before, written);
        if self.may_sleep && !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }

    /// As [`Shared::commit`], by whoever has the writer. To be given to [`Shared::publish`] when the writer is let go.
    pub(super) fn commit_with(
        &self,
        writer: Option<&mut Writer>,
        force_sync: bool,
    ) -> Result<Committed, Error> {
        let Some(writer) = writer else { return Err(Error::Closed) };
        let (chunk, mode, first_applied) = {
            let mut core = self.core();
            if let Some(error) = core.ended() {
                return Err(error.clone());
            }
            let mode = core.settings.sync_mode;
            let first_applied = core.unwritten_since.take();
            let Some(log) = core.log.as_mut() else { return Err(Error::Closed) };
            (log.take(), mode, first_applied)
        };
        self.group_commit.taken(chunk.last_seq());
        let sync = mode == SyncMode::Always || force_sync;
        let bytes = chunk.len();
        let last_before = writer.written().last;
        if chunk.is_empty() && !(sync && writer.written().durable < writer.written().last) {
            return Ok(Committed::new(mode, writer.written()));
        }
        let (written, spent) = writer.write(chunk, sync).map_err(Error::failed)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.timings.note_commit(written.last.get() - last_before.get(), first_applied, &spent);
        let before = self.log_bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.snapshots.note_written(before + bytes as u64);
        if let Some(log) = self.core().log.as_mut() {
            log.recycle(spent);
        }
        self.bell.committed();
        Ok(Committed::new(mode, written))
    }

    /// Tells who waits how far a commit came, or that there will be none.
    pub(super) fn publish(&self, committed: Result<Committed, Error>) -> Result<(), Error> {
        let published = self.publish_to_tasks(committed);
        self.group_commit.wake(self.progress.visible());
        published
    }

    /// As [`Shared::publish`], but for the threads that wait: whoever leads them wakes them.
    pub(super) fn publish_to_tasks(&self, committed: Result<Committed, Error>) -> Result<(), Error> {
        match committed {
            Ok(Committed { visible, durable }) => self.progress.publish(visible, durable),
            Err(error @ Error::Failed(_)) => {
                self.fail(&error);
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Syncs without holding the writer, so that commits go on meanwhile (mode `everysec`).
    pub(super) fn sync_aside(&self) -> Result<(), Error> {
        let job = {
            let writer = self.writer();
            let Some(writer) = writer.as_ref() else { return Ok(()) };
            if writer.written().durable == writer.written().last {
                return Ok(());
            }
            writer.sync_job()
        };
        let durable = self.or_fail(job.run())?;
        if let Some(writer) = self.writer().as_mut() {
            writer.synced(durable);
        }
        // IMPORTANT: what is durable is proven by a mark only, and there may be no commit that carries it.
        self.bell.committed();
        self.progress.publish(Seq::ZERO, durable);
        Ok(())
    }

    /// Carries the durable mark forward with an empty frame, if nothing else did.
    pub(super) fn mark(&self) -> Result<(), Error> {
        let marked = self.mark_with(self.writer().as_mut());
        self.or_fail(marked)
    }

    fn mark_with(&self, writer: Option<&mut Writer>) -> Result<(), LogError> {
        let Some(writer) = writer else { return Ok(()) };
        let chunk = {
            let mut core = self.core();
            if core.ended().is_some() {
                return Ok(());
            }
            let Some(log) = core.log.as_mut().filter(|log| log.is_empty()) else { return Ok(()) };
            if !log.mark(writer.written().durable) {
                return Ok(());
            }
            log.take()
        };
        let (_, spent) = writer.write(chunk, false)?;
        if let Some(log) = self.core().log.as_mut() {
            log.recycle(spent);
        }
        Ok(())
    }

    /// A failure of the log ends the engine (I8). Not to be called by whoever has the writer.
    pub(super) fn or_fail<T>(&self, result: Result<T, LogError>) -> Result<T, Error> {
        result.map_err(|error| {
            let error = Error::failed(error);
            self.fail(&error);
            error
        })
    }

    /// Ends the engine: everyone who waits is told, and nothing more is written.
    pub(super) fn fail(&self, error: &Error) {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.end(error.clone());
        let then = core.after();
        drop(core);
        self.progress.end(error.clone());
        self.group_commit.end();
        then.run();
    }

    pub(super) fn close(&self) -> Result<(), Error> {
        // IMPORTANT: when the directory is let go, nothing of this engine may touch it any more, nor the stores: a
        // snapshot in the making is waited for here, a segment in the making below.
        self.snapshots.close();
        self.verifier.close();
        // What the other modes have not synced yet does not wait for a snapshot that is under way.
        let _ = self.commit(true);
        let mut snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        snapshotter.close();
        let mut writer = self.writer();
        let (log, ended, then) = {
            let mut core = self.core();
            let ended = core.ended().cloned();
            let log = core.log.take();
            core.end(Error::Closed);
            (log, ended, core.after())
        };
        let result = match (ended, writer.take(), log) {
            (None, Some(writer), Some(log)) => writer.close(log).map_err(Error::failed),
            (ended, ..) => Err(ended.unwrap_or(Error::Closed)),
        };
        if let Ok(written) = &result {
            // IMPORTANT: before the writer is let go. Who finds none there must see that its change was written.
            self.progress.advance(written.last, written.durable);
        }
        drop(writer);
        then.run();
        if let Ok(written) = &result {
            self.progress.publish(written.last, written.durable);
        }
        self.progress.end(Error::Closed);
        self.group_commit.end();
        self.bell.close();
        self.timer.close();
        self.spares.close();
        self.ballast.close();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        result.map(drop)
    }
}
