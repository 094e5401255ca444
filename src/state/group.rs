//! A consumer group: its cursor, its consumers, its pending entries list.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pending::PendingList;
use super::rows::{Row, RowCount, Rows, weight_of_name};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped, Tree};
use crate::id::ConsumerNo;
use crate::record::Cursor;

/// A consumer group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: Bytes,
    pub(crate) cursor: Cursor,
    pub(super) consumers: Tree<Rows<Consumer>>,
    pub(crate) pending: PendingList,
    /// Consumers by number, derived from the rows.
    #[serde(skip)]
    names: imbl::OrdMap<ConsumerNo, Bytes>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) name: Bytes,
    pub(crate) no: ConsumerNo,
    /// When it was created (Unix ms).
    pub(crate) created_ms: u64,
    /// When it last got something (Unix ms).
    pub(crate) active_ms: Option<u64>,
}

impl Group {
    pub(super) fn new(name: Bytes, cursor: Cursor) -> Self {
        Self {
            name,
            cursor,
            consumers: Tree::default(),
            pending: PendingList::default(),
            names: imbl::OrdMap::new(),
        }
    }

    /// The consumer with that name.
    pub(crate) fn consumer(&self, name: &[u8]) -> Result<Option<&Consumer>, Needs> {
        self.consumers.get(name)
    }

    /// The consumers, by name.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.rows()
    }

    /// How many consumers there are.
    pub(crate) fn consumer_count(&self) -> u64 {
        self.consumers.summary().0
    }

    /// The name of a consumer.
    pub(crate) fn consumer_name(&self, no: ConsumerNo) -> Option<&Bytes> {
        self.names.get(&no)
    }

    pub(super) fn is_consumer(&self, no: ConsumerNo) -> bool {
        self.names.contains_key(&no)
    }

    pub(super) fn add_consumer(&mut self, consumer: Consumer, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        self.names.insert(consumer.no, consumer.name.clone());
        self.consumers.insert(consumer, stamp).map(drop)
    }

    /// Removes a consumer and what it has pending.
    pub(super) fn remove_consumer(&mut self, no: ConsumerNo, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        if let Some(name) = self.names.remove(&no) {
            self.consumers.remove::<[u8]>(&name, stamp)?;
        }
        self.pending.remove_owner(no, stamp)
    }

    /// Records when a consumer last got something.
    pub(super) fn set_active(
        &mut self,
        no: ConsumerNo,
        at_ms: u64,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        if let Some(name) = self.names.get(&no) {
            self.consumers.update::<[u8], ()>(name, stamp, |consumer, _| consumer.active_ms = Some(at_ms))?;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.consumers.check_rows()?;
        if self.names.len() as u64 != self.consumer_count()
            || !self.consumers().all(|consumer| self.names.get(&consumer.no) == Some(&consumer.name))
        {
            return Err(format!("group {:?} has two opinions on its consumers", self.name));
        }
        self.pending.check(|no| self.is_consumer(no))
    }
}

impl Row for Group {
    type Key = Bytes;
    type Summary = RowCount;
    const LEAF_ROWS_MAX: usize = 32;
    const WEIGHS: bool = true;
    const NESTS: bool = true;

    fn key(&self) -> &Bytes {
        &self.name
    }

    fn weight(&self) -> usize {
        weight_of_name(&self.name)
    }

    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.name.len()) as u64 + self.consumers.bytes() + self.pending.bytes()
    }

    fn count(&self, summary: &mut RowCount) {
        summary.0 += 1;
    }

    fn dump_nested(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.consumers.dump(dump)?;
        self.pending.dump(dump)
    }

    fn dropped_nested(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.consumers.dropped(comparison)?;
        self.pending.dropped(comparison)
    }

    fn load_nested(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.consumers.load(parts)?;
        self.names = self.consumers.rows().map(|consumer| (consumer.no, consumer.name.clone())).collect();
        self.pending.load(parts)
    }
}

impl Row for Consumer {
    type Key = Bytes;
    type Summary = RowCount;
    const LEAF_ROWS_MAX: usize = 64;
    const WEIGHS: bool = true;

    fn key(&self) -> &Bytes {
        &self.name
    }

    fn weight(&self) -> usize {
        weight_of_name(&self.name)
    }

    fn bytes(&self) -> u64 {
        // Measured: a row, its place in the list by number, and when it was last seen.
        240 + self.name.len() as u64
    }

    fn count(&self, summary: &mut RowCount) {
        summary.0 += 1;
    }
}
