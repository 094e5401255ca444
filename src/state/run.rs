//! Runs of entries: what most of a log is, applied without finding the same stream and the same page anew for each.

use super::entries::AddedEntry;
use super::stream::Stream;
use super::tree::Stamp;
use super::{Misfit, State};
use crate::fields::PackedFields;
use crate::id::{EntryId, Seq};
use crate::record::StreamAt;

/// An entry that is all of its batch. Its stream is that of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunEntry<'a> {
    pub(crate) seq: Seq,
    pub(crate) id: EntryId,
    pub(crate) opens_node: bool,
    /// Its pairs, packed.
    pub(crate) fields: &'a [u8],
}

impl State {
    /// Applies the batches that follow, as long as `next` gives some: all of them entries of one stream. The state is
    /// what it would be if each had been applied and finished by itself.
    ///
    /// # Errors
    /// [`Misfit`] if one does not fit; those before it were applied, up to [`State::applied`].
    pub(crate) fn apply_run<'a>(
        &mut self,
        at: StreamAt,
        mut next: impl FnMut() -> Option<RunEntry<'a>>,
    ) -> Result<(), Misfit> {
        self.stream(at)?;
        let Self { applied, databases, next_page, .. } = self;
        let Some(database) = databases.iter_mut().find(|database| database.no() == at.db) else {
            return Ok(());
        };
        let mut stamp = Stamp { seq: applied.next(), next_page, shared_through: Seq::ZERO };
        let changed = database.change(at.no, &mut stamp, |stream, stamp| {
            let shared_through = stream.shared_through;
            let mut within = Stamp { seq: stamp.seq, next_page: stamp.next_page, shared_through };
            let outcome = stream.append_run(&mut within, applied, &mut next);
            stamp.seq = *applied;
            outcome
        })?;
        changed.unwrap_or(Ok(()))
    }
}

impl Stream {
    fn append_run<'a>(
        &mut self,
        stamp: &mut Stamp<'_>,
        applied: &mut Seq,
        next: &mut impl FnMut() -> Option<RunEntry<'a>>,
    ) -> Result<(), Misfit> {
        let Self { no, last_id, entries_added, entries, .. } = self;
        entries.append_run(stamp, || {
            let Some(RunEntry { seq, id, opens_node, fields }) = next() else { return Ok(None) };
            if id <= *last_id {
                return Err(Misfit(format!("entry {id} is not above {last_id} in stream {no}")));
            }
            let Some(fields) = PackedFields::new(fields) else {
                return Err(Misfit(format!("the fields of entry {id} are not well formed")));
            };
            debug_assert_eq!(seq, applied.next());
            (*last_id, *applied) = (id, seq);
            *entries_added = entries_added.saturating_add(1);
            Ok(Some(AddedEntry { seq, id, opens_node, fields }))
        })
    }
}
