//! The entries of a stream: pages of nodes, nodes of packed entries.
//!
//! A node is what Redis calls a macro node: up to `stream-node-max-entries` entries that share, most of them, the field
//! names of the first one. `~` trimming removes whole nodes, so clients see their borders; which entry opens a new node
//! is in the log. Entries are packed one behind the other; a deleted one is marked and stays until its node goes.

use serde::{Deserialize, Serialize};

use super::node::{Node, PackedEntry};
use super::tree::{ITEMS_MIN, Leaf, Measure, Needs, Stamp, Summary, Trash, Tree};
use crate::fields::{Entry, Fields, PackedFields};
use crate::id::{EntryId, Seq};

/// A page of entries is split when its nodes are larger than this.
const PAGE_BYTES_MAX: usize = 16 * 1024;

/// The entries of a stream, by id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Entries {
    pub(super) pages: Tree<Page>,
}

/// A page: some neighbouring nodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Page {
    nodes: Vec<Node>,
    /// The id of what was appended last to the last node, deleted or not. None if that would have to be looked for.
    #[serde(skip)]
    appended: Option<EntryId>,
}

/// What the pages above know of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryCount {
    live: u64,
    nodes: u64,
}

impl Summary for EntryCount {
    fn add(&mut self, other: &Self) {
        self.live += other.live;
        self.nodes += other.nodes;
    }

    fn replace(&mut self, before: &Self, after: &Self) -> bool {
        self.live = self.live - before.live + after.live;
        self.nodes = self.nodes - before.nodes + after.nodes;
        true
    }
}

impl Leaf for Page {
    type Key = EntryId;
    type Summary = EntryCount;
    const WEIGHT_MAX: usize = PAGE_BYTES_MAX;

    fn first_key(&self) -> Option<EntryId> {
        self.nodes.first().map(|node| node.master_id)
    }

    fn measure(&self) -> Measure<EntryCount> {
        let room = ITEMS_MIN.saturating_sub(self.nodes.len()) * size_of::<Node>();
        let (mut live, mut weight) = (0, 0);
        for node in &self.nodes {
            live += u64::from(node.live);
            weight += node.weight();
        }
        let summary = EntryCount { live, nodes: self.nodes.len() as u64 };
        Measure { summary, weight, bytes: (room + weight) as u64 }
    }

    fn weight(&self) -> usize {
        self.nodes.iter().map(Node::weight).sum()
    }

    fn split(&mut self, _at_end: bool) -> Option<Self> {
        // Entries come at the end only, so a page that is too heavy became so by its last node.
        let keep = self.nodes.len().checked_sub(1).filter(|keep| *keep > 0)?;
        let nodes = self.nodes.split_off(keep);
        self.nodes.shrink_to_fit();
        Some(Self { nodes, appended: self.appended.take() })
    }

    fn merge(&mut self, next: Self) {
        self.nodes.extend(next.nodes);
        self.appended = next.appended;
    }
}

/// An entry that a batch appended, as the log has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddedEntry<'a> {
    pub(crate) seq: Seq,
    pub(crate) id: EntryId,
    pub(crate) opens_node: bool,
    pub(crate) fields: PackedFields<'a>,
}

/// When a node is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeLimits {
    pub(crate) entries_max: u64,
    pub(crate) bytes_max: u64,
}

impl NodeLimits {
    /// Nodes are never larger than this in Redis, whatever the setting says.
    const BYTES_CAP: u64 = 1 << 30;

    fn bytes_max(self) -> u64 {
        if self.bytes_max == 0 { Self::BYTES_CAP } else { self.bytes_max.min(Self::BYTES_CAP) }
    }
}

/// A node as a trimmer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeOutline {
    pub(crate) live: u64,
    pub(crate) last_id: EntryId,
}

impl Entries {
    /// How many entries there are.
    pub(crate) fn len(&self) -> u64 {
        self.pages.summary().live
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many nodes hold them.
    pub(crate) fn node_count(&self) -> u64 {
        self.pages.summary().nodes
    }

    /// Whether an entry with that many bytes of names and values opens a new node when it is appended now.
    pub(crate) fn opens_node(&self, content_bytes: u64, limits: NodeLimits) -> Result<bool, Needs> {
        let Some(tail) = self.pages.last()?.and_then(|page| page.nodes.last()) else { return Ok(true) };
        let entries = u64::from(tail.live) + u64::from(tail.deleted);
        Ok(tail.redis_bytes + content_bytes >= limits.bytes_max()
            || (limits.entries_max > 0 && entries >= limits.entries_max))
    }

    /// Appends an entry above all others.
    pub(super) fn append(
        &mut self,
        id: EntryId,
        fields: PackedFields<'_>,
        opens_node: bool,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        self.pages.change(&EntryId::MAX, stamp, |page, _| page.append(id, fields, opens_node))
    }

    /// Appends entries, each above all before it and each as the batch that it names would, as long as `next` gives some.
    /// The pages become what they would have become one by one, but what lies above a page is brought up to date only
    /// when that is full.
    ///
    /// # Errors
    /// What `next` says; the entries that it gave before are there then.
    pub(super) fn append_run<'a, E: From<Needs>>(
        &mut self,
        stamp: &mut Stamp<'_>,
        mut next: impl FnMut() -> Result<Option<AddedEntry<'a>>, E>,
    ) -> Result<(), E> {
        let mut added = next()?;
        while let Some(first) = added {
            added = self.pages.change(&EntryId::MAX, stamp, |page, stamp| {
                let mut entry = first;
                loop {
                    stamp.seq = entry.seq;
                    page.append(entry.id, entry.fields, entry.opens_node);
                    match next()? {
                        Some(following) if page.weight() <= PAGE_BYTES_MAX => entry = following,
                        following => return Ok::<_, E>(following),
                    }
                }
            })??;
        }
        Ok(())
    }

    /// Deletes an entry; answers whether it was there.
    pub(super) fn delete(&mut self, id: EntryId, stamp: &mut Stamp<'_>) -> Result<bool, Needs> {
        if !self.contains(id)? {
            return Ok(false);
        }
        self.pages.change(&id, stamp, |page, _| {
            let Some(at) = page.node_at(id) else { return false };
            let node = &mut page.nodes[at];
            let deleted = node.delete_where(|other| other == id) == 1;
            if node.live == 0 {
                page.nodes.remove(at);
                page.appended = page.appended.filter(|_| at < page.nodes.len());
            }
            deleted
        })
    }

    /// Removes all entries up to an id.
    pub(super) fn trim_through(
        &mut self,
        through: EntryId,
        stamp: &mut Stamp<'_>,
        trash: &mut Trash,
    ) -> Result<(), Needs> {
        self.pages.remove_below(&through, stamp, trash, |page| {
            let tail = |page: &Page| page.nodes.last().map(|node| node.master_id);
            let tail_before = tail(page);
            page.nodes.retain_mut(|node| {
                if node.last_id <= through {
                    return false;
                }
                if node.master_id <= through {
                    node.delete_where(|id| id <= through);
                }
                node.live > 0
            });
            page.appended = page.appended.filter(|_| tail(page) == tail_before);
        })
    }

    /// Whether an entry is there.
    pub(crate) fn contains(&self, id: EntryId) -> Result<bool, Needs> {
        Ok(self.find(id)?.is_some())
    }

    /// Tells which entries there are.
    pub(crate) fn presence(&self) -> Presence<'_> {
        Presence { entries: self, nodes: &[], ids: None }
    }

    /// The pairs of an entry.
    pub(crate) fn get(&self, id: EntryId) -> Result<Option<Fields>, Needs> {
        Ok(self.find(id)?.map(|(node, packed)| node.fields(&packed)))
    }

    fn find(&self, id: EntryId) -> Result<Option<(&Node, PackedEntry<'_>)>, Needs> {
        let Some(page) = self.pages.leaf(&id)? else { return Ok(None) };
        let Some(at) = page.node_at(id) else { return Ok(None) };
        let node = &page.nodes[at];
        if node.last_id < id {
            return Ok(None);
        }
        let found = node.live_from(id).next().filter(|entry| entry.id == id);
        Ok(found.map(|entry| (node, entry)))
    }

    /// The smallest id.
    pub(crate) fn first_id(&self) -> Result<Option<EntryId>, Needs> {
        let node = self.pages.first()?.and_then(|page| page.nodes.first());
        Ok(node.and_then(|node| node.live().next().map(|entry| entry.id)))
    }

    /// The largest id.
    pub(crate) fn last_id(&self) -> Result<Option<EntryId>, Needs> {
        let node = self.pages.last()?.and_then(|page| page.nodes.last());
        Ok(node.and_then(|node| node.live().last().map(|entry| entry.id)))
    }

    /// Up to `count` entries with ids from `first` to `last`, ascending, or descending if `reverse`. `spend` is told
    /// the size of each before it is copied out, and may stop that.
    pub(crate) fn range<E: From<Needs>>(
        &self,
        first: EntryId,
        last: EntryId,
        count: usize,
        reverse: bool,
        mut spend: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Vec<Entry>, E> {
        let mut found = Vec::new();
        if first > last || count == 0 {
            return Ok(found);
        }
        let mut page = self.pages.leaf(if reverse { &last } else { &first })?;
        let mut backwards = Vec::new();
        while let Some(current) = page {
            let nodes = &current.nodes;
            for step in 0..nodes.len() {
                let node = &nodes[if reverse { nodes.len() - 1 - step } else { step }];
                if node.last_id < first || node.master_id > last {
                    continue;
                }
                let wanted = node.live_from(first).take_while(|entry| entry.id <= last);
                let left = count - found.len();
                let mut find = |entry: &PackedEntry<'_>| -> Result<(), E> {
                    spend(entry.body.len())?;
                    found.push(Entry { id: entry.id, fields: node.fields(entry) });
                    Ok(())
                };
                if reverse {
                    backwards.clear();
                    backwards.extend(wanted);
                    backwards.iter().rev().take(left).try_for_each(&mut find)?;
                } else {
                    wanted.take(left).try_for_each(|entry| find(&entry))?;
                }
                if found.len() == count {
                    return Ok(found);
                }
            }
            page = match (nodes.first(), nodes.last()) {
                (Some(head), _) if reverse && head.master_id > first => {
                    self.pages.leaf_before(&head.master_id)?
                }
                (_, Some(tail)) if !reverse && tail.last_id < last => self.pages.leaf_after(&tail.last_id)?,
                _ => None,
            };
        }
        Ok(found)
    }

    /// The nodes from the head on, until `visit` says stop.
    pub(crate) fn visit_nodes(&self, mut visit: impl FnMut(NodeOutline) -> Visit) -> Result<(), Needs> {
        let mut page = self.pages.first()?;
        while let Some(current) = page {
            for node in &current.nodes {
                let outline = NodeOutline { live: u64::from(node.live), last_id: node.last_id };
                if visit(outline) == Visit::Stop {
                    return Ok(());
                }
            }
            let Some(tail) = current.nodes.last() else { break };
            page = self.pages.leaf_after(&tail.last_id)?;
        }
        Ok(())
    }

    /// How many entries there are up to an id.
    pub(crate) fn count_through(&self, through: EntryId) -> Result<u64, Needs> {
        let mut count = 0;
        let mut page = self.pages.first()?;
        while let Some(current) = page {
            for node in &current.nodes {
                if node.last_id <= through {
                    count += u64::from(node.live);
                    continue;
                }
                return Ok(count + node.live().take_while(|entry| entry.id <= through).count() as u64);
            }
            let Some(tail) = current.nodes.last() else { break };
            page = self.pages.leaf_after(&tail.last_id)?;
        }
        Ok(count)
    }

    /// The id of the entry after the first `skip` ones.
    pub(crate) fn id_at(&self, skip: u64) -> Result<Option<EntryId>, Needs> {
        let mut left = skip;
        let mut found = None;
        let mut page = self.pages.first()?;
        while let Some(current) = page {
            for node in &current.nodes {
                if left < u64::from(node.live) {
                    found = node.live().nth(left as usize).map(|entry| entry.id);
                    return Ok(found);
                }
                left -= u64::from(node.live);
            }
            let Some(tail) = current.nodes.last() else { break };
            page = self.pages.leaf_after(&tail.last_id)?;
        }
        Ok(found)
    }

    /// The ids from one to another, ascending, until `visit` says stop.
    pub(crate) fn visit_ids(
        &self,
        first: EntryId,
        last: EntryId,
        mut visit: impl FnMut(EntryId) -> Visit,
    ) -> Result<(), Needs> {
        let mut page = self.pages.leaf(&first)?;
        while let Some(current) = page {
            for node in current.nodes.iter().filter(|node| node.last_id >= first) {
                for entry in node.live_from(first) {
                    if entry.id > last || visit(entry.id) == Visit::Stop {
                        return Ok(());
                    }
                }
            }
            let Some(tail) = current.nodes.last().filter(|tail| tail.last_id < last) else { break };
            page = self.pages.leaf_after(&tail.last_id)?;
        }
        Ok(())
    }

    /// Calls `each` for every node, in order: with how many entries it has and had, how many bytes Redis would need for
    /// it, and its last id.
    pub(super) fn for_each_node(&self, mut each: impl FnMut([u64; 3], EntryId)) -> Result<(), Needs> {
        self.pages.for_each_leaf(&mut |page: &Page| {
            for node in &page.nodes {
                each([node.live.into(), node.deleted.into(), node.redis_bytes], node.last_id);
            }
        })
    }

    /// Calls `each` for every entry, in order.
    pub(super) fn for_each(&self, mut each: impl FnMut(EntryId, &Fields)) -> Result<(), Needs> {
        self.pages.for_each_leaf(&mut |page: &Page| {
            for node in &page.nodes {
                for entry in node.live() {
                    each(entry.id, &node.fields(&entry));
                }
            }
        })
    }

    /// Says what is wrong, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.pages.check()?;
        let mut last = None;
        let mut wrong = None;
        let visited = self.pages.for_each_leaf(&mut |page: &Page| {
            for node in &page.nodes {
                if !node.is_well_formed() {
                    wrong = Some(format!("the node at {} can't be read", node.master_id));
                    continue;
                }
                let ids: Vec<EntryId> = node.live().map(|entry| entry.id).collect();
                let all = node.entries().count();
                let counts_agree =
                    ids.len() == node.live as usize && all - ids.len() == node.deleted as usize;
                let ends_agree = node.entries().next().is_some_and(|entry| entry.id == node.master_id)
                    && ids.last().is_some_and(|last| *last <= node.last_id);
                let ordered = ids.is_sorted_by(|a, b| a < b) && last.is_none_or(|last| last < node.master_id);
                if !(counts_agree && ends_agree && ordered) {
                    wrong = Some(format!("the node at {} is not sound", node.master_id));
                }
                last = Some(node.last_id);
            }
        });
        visited.map_err(|needs| format!("{needs:?}"))?;
        wrong.map_or(Ok(()), Err)
    }
}

/// Tells which entries there are, and is quick where it is asked for ascending ids.
#[derive(Debug)]
pub(crate) struct Presence<'a> {
    entries: &'a Entries,
    /// The node that had the last id asked for between its ends, and those that follow on its page.
    nodes: &'a [Node],
    /// The ids in it, if they had to be looked at.
    ids: Option<Vec<EntryId>>,
}

impl<'a> Presence<'a> {
    /// The node in which an entry is, if it is anywhere.
    fn node_of(&mut self, id: EntryId) -> Result<Option<&'a Node>, Needs> {
        let covers = |node: &&Node| node.master_id <= id && id <= node.last_id;
        if let Some(node) = self.nodes.first().filter(covers) {
            return Ok(Some(node));
        }
        self.ids = None;
        self.nodes = self.nodes.get(1..).unwrap_or_default();
        if self.nodes.first().filter(covers).is_none() {
            let page = self.entries.pages.leaf(&id)?;
            let nodes = page.and_then(|page| page.node_at(id).map(|at| &page.nodes[at..]));
            self.nodes = nodes.unwrap_or_default();
        }
        Ok(self.nodes.first().filter(covers))
    }

    /// Whether an entry is there.
    pub(crate) fn contains(&mut self, id: EntryId) -> Result<bool, Needs> {
        let Some(node) = self.node_of(id)? else { return Ok(false) };
        let ids = self.ids.get_or_insert_with(|| node.live().map(|entry| entry.id).collect());
        Ok(ids.binary_search(&id).is_ok())
    }

    /// The id up to which nothing is missing of what was ever added from this id on, if that can be told without looking
    /// at entries. It can't up to `Stream::doubtful_through`.
    pub(crate) fn whole_through(&mut self, id: EntryId) -> Result<Option<EntryId>, Needs> {
        // Whatever is added goes to the last node. So what was added between the ends of one went into it, or into one
        // behind it that has gone.
        Ok(self.node_of(id)?.filter(|node| node.deleted == 0).map(|node| node.last_id))
    }
}

/// Whether a visitor goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    GoOn,
    Stop,
}

impl Page {
    /// Appends an entry above all others.
    fn append(&mut self, id: EntryId, fields: PackedFields<'_>, opens_node: bool) {
        match self.nodes.last_mut() {
            Some(tail) if !opens_node => {
                let before = self.appended.or_else(|| tail.entries().last().map(|entry| entry.id));
                tail.append(id, before, fields);
            }
            sealed => {
                let mut bytes = 0;
                if let Some(sealed) = sealed {
                    bytes = sealed.packed.len();
                    if sealed.packed.capacity() > bytes + bytes / 32 {
                        // A copy: an allocator may leave what shrinks where it is, in a block of twice the size.
                        sealed.packed = sealed.packed.as_slice().to_vec();
                    }
                    if sealed.last_id >= id {
                        sealed.last_id = sealed.live().last().map_or(sealed.master_id, |entry| entry.id);
                    }
                }
                self.nodes.push(Node::open(id, fields, bytes.min(PAGE_BYTES_MAX)));
            }
        }
        self.appended = Some(id);
    }

    /// The node where an id belongs: the last one that begins at or before it.
    fn node_at(&self, id: EntryId) -> Option<usize> {
        self.nodes.partition_point(|node| node.master_id <= id).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::{PageNo, Seq};

    fn free(_bytes: usize) -> Result<(), Needs> {
        Ok(())
    }

    /// XSETID can put the last id back below an entry that was deleted. What is added then stands behind it in the
    /// node, and was not found: the walk had stopped at the larger id.
    #[test]
    fn entries_added_after_the_last_id_went_back_are_found() {
        for opens_node in [false, true] {
            let (mut entries, mut next_page) = (Entries::default(), PageNo::ZERO);
            let mut stamp = Stamp { seq: Seq::new(1), next_page: &mut next_page, shared_through: Seq::ZERO };
            let fields = Fields::from_pairs([("f", "v")]);
            let id = |ms| EntryId::new(ms, 0);
            entries.append(id(1), fields.as_packed(), true, &mut stamp).unwrap();
            entries.append(id(9), fields.as_packed(), false, &mut stamp).unwrap();
            entries.delete(id(9), &mut stamp).unwrap();
            entries.append(id(5), fields.as_packed(), opens_node, &mut stamp).unwrap();
            entries.check().unwrap();
            assert!(entries.contains(id(5)).unwrap());
            assert_eq!(entries.range(id(2), id(6), 9, false, free).unwrap().len(), 1);
            assert_eq!(entries.count_through(id(6)).unwrap(), 2);
            entries.trim_through(id(1), &mut stamp, &mut Vec::new()).unwrap();
            assert_eq!((entries.first_id().unwrap(), entries.len()), (Some(id(5)), 1));
        }
    }

    /// Random appends, deletions and trims agree with a sorted map.
    #[test]
    fn entries_are_a_sorted_map() {
        for seed in 1..60u64 {
            let mut dice = seed;
            let mut random = move |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (dice >> 33) % below
            };
            let limits =
                NodeLimits { entries_max: 1 + seed % 7, bytes_max: if seed % 3 == 0 { 200 } else { 4096 } };
            let mut entries = Entries::default();
            let mut model: BTreeMap<EntryId, Fields> = BTreeMap::new();
            let mut pages = PageNo::ZERO;
            let mut last = EntryId::MIN;
            for step in 1..400u64 {
                let mut stamp =
                    Stamp { seq: Seq::new(step), next_page: &mut pages, shared_through: Seq::ZERO };
                let some_id = model.keys().nth(random(model.len() as u64 + 1) as usize).copied();
                match random(10) {
                    0..7 => {
                        last = match random(3) {
                            0 => EntryId::new(last.ms + 1 + random(1 << 40), random(1 << 20)),
                            _ => last.successor().unwrap(),
                        };
                        let long = "x".repeat(match random(4) {
                            0 => random(3000),
                            1 => random(200),
                            _ => 0,
                        } as usize);
                        let name = if random(3) == 0 { "other" } else { "name" };
                        let number = step.to_string();
                        let flat = [name, &long, "n", &number];
                        let fields = Fields::from_flat(&flat[..if random(2) == 0 { 2 } else { 4 }]);
                        let opens = entries.opens_node(fields.content_bytes(), limits).unwrap();
                        entries.append(last, fields.as_packed(), opens, &mut stamp).unwrap();
                        model.insert(last, fields);
                    }
                    7 | 8 => {
                        let id = some_id.unwrap_or(EntryId::new(1, 1));
                        assert_eq!(entries.delete(id, &mut stamp).unwrap(), model.remove(&id).is_some());
                    }
                    _ => {
                        let through = if random(20) == 0 { EntryId::MAX } else { some_id.unwrap_or(last) };
                        if random(3) == 0 {
                            let kept =
                                through.successor().map_or_else(BTreeMap::new, |next| model.split_off(&next));
                            assert_eq!(entries.count_through(through).unwrap(), model.len() as u64);
                            entries.trim_through(through, &mut stamp, &mut Vec::new()).unwrap();
                            model = kept;
                        }
                    }
                }
                entries.check().unwrap();
                assert_eq!(entries.len(), model.len() as u64);
                assert_eq!(entries.first_id().unwrap(), model.keys().next().copied());
                assert_eq!(entries.last_id().unwrap(), model.keys().next_back().copied());
                let (from, to) = (some_id.unwrap_or(EntryId::MIN), EntryId::new(last.ms, random(1000)));
                let count = random(20) as usize;
                let all: Vec<Entry> = model
                    .range(from..)
                    .take_while(|(id, _)| **id <= to)
                    .map(|(id, fields)| Entry { id: *id, fields: fields.clone() })
                    .collect();
                assert_eq!(entries.range(from, to, count, false, free).unwrap(), all[..count.min(all.len())]);
                let mut back = all.clone();
                back.reverse();
                back.truncate(count);
                assert_eq!(entries.range(from, to, count, true, free).unwrap(), back);
                assert_eq!(entries.id_at(3).unwrap(), model.keys().nth(3).copied());
                assert_eq!(entries.get(from).unwrap(), model.get(&from).cloned());
            }
        }
    }
}
