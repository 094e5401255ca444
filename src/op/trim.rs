//! XTRIM, and the trimming that XADD does.

use super::references::forgotten;
use super::*;
use crate::state::entries::{NodeOutline, Visit};

/// What a stream is trimmed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What stays.
    pub keep: Keep,
    /// `~`: only whole nodes are removed, as long as that does not go beyond the goal.
    pub approximate: bool,
    /// How many entries may be removed, only with `approximate`: `None` for the default (100 times
    /// `stream-node-max-entries`), `Some(0)` for no limit.
    pub limit: Option<u64>,
    /// What becomes of references to what is removed (8.2).
    pub references: References,
}

/// What stays of a stream that is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// MAXLEN: the newest so many entries.
    Newest(u64),
    /// MINID: the entries with this id or a larger one.
    From(EntryId),
}

impl Keep {
    /// A trim to this, exactly, that leaves references alone.
    #[must_use]
    pub fn exactly(self) -> Trim {
        Trim { keep: self, approximate: false, limit: None, references: References::Keep }
    }
}

/// XTRIM (5.0): trims a stream. Answers how many entries were removed; 0 for an absent key.
#[derive(Clone, Debug)]
pub struct XTrim {
    /// The stream.
    pub key: Key,
    /// What it is trimmed to.
    pub trim: Trim,
}

impl Op for XTrim {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(0) };
        let at = view.at(self.key.db, stream);
        let mut records = Records::new();
        let removed = self.trim.decide(Some(stream), at, None, view.node_limits, &mut records)?;
        Decision::change(removed, records)
    }
}

/// An entry that is appended by the same command, before the trim.
#[derive(Clone, Copy)]
pub(super) struct Appended {
    pub(super) id: EntryId,
    pub(super) opens_node: bool,
}

/// The head of a stream that goes.
struct Cut {
    through: EntryId,
    removed: u64,
}

impl Trim {
    /// How many entries go after an entry was appended to the stream. The facts of that come behind those in `records`.
    pub(super) fn decide(
        &self,
        stream: Option<&Stream>,
        at: StreamAt,
        appended: Option<Appended>,
        limits: NodeLimits,
        records: &mut Records<'_>,
    ) -> Result<u64, Needs> {
        if self.references == References::Acked
            && let Some(stream) = stream.filter(|stream| stream.group_count() > 0)
        {
            let gone = self.gone_acked(stream, appended, limits)?;
            let removed = gone.ids.len() as u64;
            gone.record(at, records);
            return Ok(removed);
        }
        let cut = if self.approximate {
            self.cut_nodes(stream, appended, self.limit_or_default(limits))?
        } else {
            self.cut_exactly(stream, appended)?
        };
        let Some(Cut { through, removed }) = cut else { return Ok(0) };
        records.push(Record::EntriesTrimmed { stream: at, through, removed });
        if self.references == References::Delete
            && let Some(stream) = stream
        {
            let mut ids = Vec::new();
            stream.entries.visit_ids(EntryId::MIN, through, |id| {
                ids.push(id);
                Visit::GoOn
            })?;
            // XSETID may have put the last id back, so that an entry is added which is pending already.
            ids.extend(appended.map(|appended| appended.id).filter(|id| *id <= through));
            records.extend(forgotten(stream, at, &ids, None)?);
        }
        Ok(removed)
    }

    fn cut_exactly(&self, stream: Option<&Stream>, appended: Option<Appended>) -> Result<Option<Cut>, Needs> {
        let there = stream.map_or(0, |stream| stream.entries.len());
        let (through, removed) = match self.keep {
            Keep::Newest(newest) => {
                let length = there + u64::from(appended.is_some());
                let Some(last) = length.checked_sub(newest).and_then(|removed| removed.checked_sub(1)) else {
                    return Ok(None);
                };
                let id = match stream {
                    Some(stream) if last < there => stream.entries.id_at(last)?,
                    _ => appended.map(|appended| appended.id),
                };
                (id, last + 1)
            }
            Keep::From(id) => {
                let through = id.predecessor();
                let below = through.filter(|_| there > 0).zip(stream);
                let below = below.map_or(Ok(0), |(through, stream)| stream.entries.count_through(through))?;
                (through, below + u64::from(appended.is_some_and(|appended| appended.id < id)))
            }
        };
        Ok(through.filter(|_| removed > 0).map(|through| Cut { through, removed }))
    }

    /// Whole nodes from the head on, as long as that does not go beyond the goal or the limit.
    fn cut_nodes(
        &self,
        stream: Option<&Stream>,
        appended: Option<Appended>,
        limit: u64,
    ) -> Result<Option<Cut>, Needs> {
        let mut length = stream.map_or(0, |stream| stream.entries.len()) + u64::from(appended.is_some());
        let mut cut: Option<Cut> = None;
        visit_nodes(stream, appended, |node| {
            let removed = cut.as_ref().map_or(0, |cut| cut.removed);
            if !self.may_take(node, length, removed, limit) {
                return Visit::Stop;
            }
            length -= node.live;
            cut = Some(Cut { through: node.last_id, removed: removed + node.live });
            Visit::GoOn
        })?;
        Ok(cut)
    }

    /// Whether a node may go as a whole.
    fn may_take(&self, node: NodeOutline, length: u64, removed: u64, limit: u64) -> bool {
        let within_limit = limit == 0 || removed + node.live <= limit;
        let within_goal = match self.keep {
            Keep::Newest(newest) => length > newest && length - node.live >= newest,
            Keep::From(id) => node.last_id < id,
        };
        within_limit && within_goal
    }

    /// Only entries that every group is done with, wherever they are.
    fn gone_acked(
        &self,
        stream: &Stream,
        appended: Option<Appended>,
        limits: NodeLimits,
    ) -> Result<Gone, Needs> {
        // Above the least that a group has read, nothing is done with.
        let cursors = stream.groups().map(|group| group.cursor.last_delivered_id);
        let read_by_all = cursors.min().unwrap_or(EntryId::MIN);
        let reach = match self.keep {
            Keep::Newest(_) => read_by_all,
            Keep::From(id) => id.predecessor().map_or(EntryId::MIN, |last| last.min(read_by_all)),
        };
        let length = stream.entries.len() + u64::from(appended.is_some());
        let mut gone = Gone { ids: Vec::new(), is_head: true, head: 0, failed: None };
        if self.approximate {
            let limit = self.limit_or_default(limits);
            let mut first = EntryId::MIN;
            visit_nodes(Some(stream), appended, |node| {
                let left = length - gone.ids.len() as u64;
                if first > reach || !self.may_take(node, left, gone.ids.len() as u64, limit) {
                    return Visit::Stop;
                }
                let last = node.last_id.min(reach);
                let visited = visit_ids(stream, appended, first, last, |id| gone.look(stream, id));
                first = node.last_id.successor().unwrap_or(EntryId::MAX);
                gone.failed = gone.failed.or(visited.err());
                if gone.failed.is_some() { Visit::Stop } else { Visit::GoOn }
            })?;
        } else {
            let most = match self.keep {
                Keep::Newest(newest) => length.saturating_sub(newest),
                Keep::From(_) => u64::MAX,
            };
            visit_ids(stream, appended, EntryId::MIN, reach, |id| {
                if gone.ids.len() as u64 == most { Visit::Stop } else { gone.look(stream, id) }
            })?;
        }
        gone.failed.map_or(Ok(gone), Err)
    }

    /// How many entries may go; 0 for no limit.
    fn limit_or_default(&self, limits: NodeLimits) -> u64 {
        const NODES: u64 = 100;
        const WITHOUT_NODE_LIMIT: u64 = 10_000;
        const CAP: u64 = 1_000_000;
        self.limit.unwrap_or_else(|| match limits.entries_max {
            0 => WITHOUT_NODE_LIMIT,
            entries_max => entries_max.saturating_mul(NODES).min(CAP),
        })
    }
}

/// Entries that go because every group is done with them.
struct Gone {
    ids: Vec<EntryId>,
    /// Whether all entries so far went, and how many of those that went are at the head.
    is_head: bool,
    head: usize,
    failed: Option<Needs>,
}

impl Gone {
    fn look(&mut self, stream: &Stream, id: EntryId) -> Visit {
        match stream.is_referenced(id) {
            Ok(false) => {
                self.ids.push(id);
                self.head += usize::from(self.is_head);
            }
            Ok(true) => self.is_head = false,
            Err(needs) => {
                self.failed = Some(needs);
                return Visit::Stop;
            }
        }
        Visit::GoOn
    }

    /// The head is trimmed. What goes behind an entry that stays leaves a hole: that is a deletion, or else `lag` would
    /// count on it.
    fn record(mut self, at: StreamAt, records: &mut Records<'_>) {
        let holes = self.ids.split_off(self.head);
        if let Some(through) = self.ids.last() {
            let removed = self.ids.len() as u64;
            records.push(Record::EntriesTrimmed { stream: at, through: *through, removed });
        }
        if !holes.is_empty() {
            records.push(Record::EntriesDeleted { stream: at, ids: holes });
        }
    }
}

/// The nodes from the head on, with the appended entry where it belongs, until `visit` says stop.
fn visit_nodes(
    stream: Option<&Stream>,
    appended: Option<Appended>,
    mut visit: impl FnMut(NodeOutline) -> Visit,
) -> Result<(), Needs> {
    let node_count = stream.map_or(0, |stream| stream.entries.node_count());
    let mut visited = 0;
    let mut went_on = true;
    if let Some(stream) = stream {
        let opens_node = appended.is_some_and(|appended| appended.opens_node);
        let last_id =
            if opens_node { stream.entries.last_id()?.unwrap_or(EntryId::MIN) } else { EntryId::MAX };
        stream.entries.visit_nodes(|mut node| {
            visited += 1;
            match appended.filter(|_| visited == node_count) {
                Some(appended) if !appended.opens_node => {
                    node = NodeOutline { live: node.live + 1, last_id: appended.id };
                }
                // It ends with a deleted entry above the appended one: XSETID put the last id back. That counts no more
                // when another node is there.
                Some(appended) if node.last_id >= appended.id => node.last_id = last_id,
                _ => {}
            }
            let answer = visit(node);
            went_on = answer == Visit::GoOn;
            answer
        })?;
    }
    if let Some(appended) = appended.filter(|appended| went_on && appended.opens_node) {
        visit(NodeOutline { live: 1, last_id: appended.id });
    }
    Ok(())
}

/// The ids from one to another, with the appended one where it belongs, until `visit` says stop.
fn visit_ids(
    stream: &Stream,
    appended: Option<Appended>,
    first: EntryId,
    last: EntryId,
    mut visit: impl FnMut(EntryId) -> Visit,
) -> Result<(), Needs> {
    let mut went_on = true;
    stream.entries.visit_ids(first, last, |id| {
        let answer = visit(id);
        went_on = answer == Visit::GoOn;
        answer
    })?;
    if let Some(appended) = appended.filter(|appended| went_on && (first..=last).contains(&appended.id)) {
        visit(appended.id);
    }
    Ok(())
}
