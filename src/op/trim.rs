//! XTRIM, and the trimming that XADD does.

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
}

/// What stays of a stream that is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// MAXLEN: the newest so many entries.
    Newest(u64),
    /// MINID: the entries with this id or a larger one.
    From(EntryId),
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
        let cut = self.trim.plan(Some(stream), None, view.node_limits)?;
        let removed = cut.as_ref().map_or(0, |cut| cut.removed);
        Decision::change(
            removed,
            cut.map(|cut| cut.record(view.at(self.key.db, stream))).into_iter().collect(),
        )
    }
}

/// What a trim removes.
pub(super) struct Cut {
    through: EntryId,
    removed: u64,
}

impl Cut {
    pub(super) fn record(self, stream: StreamAt) -> Record<'static> {
        Record::EntriesTrimmed { stream, through: self.through, removed: self.removed }
    }
}

/// An entry that is appended by the same command, before the trim.
#[derive(Clone, Copy)]
pub(super) struct Appended {
    pub(super) id: EntryId,
    pub(super) opens_node: bool,
}

impl Trim {
    /// What is to be removed of a stream, after an entry was appended to it.
    pub(super) fn plan(
        &self,
        stream: Option<&Stream>,
        appended: Option<Appended>,
        limits: NodeLimits,
    ) -> Result<Option<Cut>, Needs> {
        if self.approximate {
            return self.plan_nodes(stream, appended, self.limit_or_default(limits));
        }
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
    fn plan_nodes(
        &self,
        stream: Option<&Stream>,
        appended: Option<Appended>,
        limit: u64,
    ) -> Result<Option<Cut>, Needs> {
        let node_count = stream.map_or(0, |stream| stream.entries.node_count());
        let mut length = stream.map_or(0, |stream| stream.entries.len()) + u64::from(appended.is_some());
        let mut cut: Option<Cut> = None;
        let mut take = |node: NodeOutline| {
            let removed = cut.as_ref().map_or(0, |cut| cut.removed);
            let within_limit = limit == 0 || removed + node.live <= limit;
            let within_goal = match self.keep {
                Keep::Newest(newest) => length > newest && length - node.live >= newest,
                Keep::From(id) => node.last_id < id,
            };
            if !(within_limit && within_goal) {
                return Visit::Stop;
            }
            length -= node.live;
            cut = Some(Cut { through: node.last_id, removed: removed + node.live });
            Visit::GoOn
        };
        let mut visited = 0;
        let mut went_on = true;
        if let Some(stream) = stream {
            stream.entries.visit_nodes(|mut node| {
                visited += 1;
                if let Some(appended) =
                    appended.filter(|appended| visited == node_count && !appended.opens_node)
                {
                    node = NodeOutline { live: node.live + 1, last_id: appended.id };
                }
                let visit = take(node);
                went_on = visit == Visit::GoOn;
                visit
            })?;
        }
        if let Some(appended) = appended.filter(|appended| went_on && appended.opens_node) {
            take(NodeOutline { live: 1, last_id: appended.id });
        }
        Ok(cut)
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
