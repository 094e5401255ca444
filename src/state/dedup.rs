//! What a stream remembers of its producers: which idempotent id stood for which entry.
//!
//! The rows, in the order in which they came, are state and lie in pages. The rows by producer and by time are derived
//! from them.

use std::collections::BTreeMap;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::rows::{Row, RowCount, Rows, weight_of_name};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped, Tree};
use crate::id::EntryId;
use crate::record::DedupConfig;

/// An idempotent id that a producer used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// Its place in the order in which they came.
    place: u64,
    pub(crate) producer: Bytes,
    pub(crate) iid: Bytes,
    /// The entry that it stands for.
    pub(crate) id: EntryId,
    /// When it came (Unix ms).
    pub(crate) at_ms: u64,
}

impl Row for Remembered {
    type Key = u64;
    type Summary = RowCount;
    const LEAF_ROWS_MAX: usize = 128;
    const WEIGHS: bool = true;

    fn key(&self) -> &u64 {
        &self.place
    }

    fn weight(&self) -> usize {
        weight_of_name(&self.producer) + weight_of_name(&self.iid) - 1
    }

    fn bytes(&self) -> u64 {
        // A row, and its places in the lists by producer, by idempotent id and by time.
        500 + (self.producer.len() + self.iid.len()) as u64
    }

    fn count(&self, summary: &mut RowCount) {
        summary.0 += 1;
    }
}

/// A stream's memory of idempotent ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dedup {
    pub(crate) config: DedupConfig,
    /// How many were ever remembered.
    pub(crate) added: u64,
    /// How many duplicates were ever refused.
    pub(crate) duplicates: u64,
    rows: Tree<Rows<Remembered>>,
    /// Places by producer and idempotent id,
    #[serde(skip)]
    by_iid: OrdMap<(Bytes, Bytes), u64>,
    /// by producer, the oldest first,
    #[serde(skip)]
    by_producer: OrdSet<(Bytes, u64)>,
    /// and how many each producer has. All producers share these lists: one list each would take a kilobyte.
    #[serde(skip)]
    producers: OrdMap<Bytes, u64>,
    /// Times and places, the oldest first. A clock that was set back makes that another order than that of the rows.
    #[serde(skip)]
    by_time: OrdSet<(u64, u64)>,
}

/// No more than so many that are too old are forgotten at a time: nobody is to wait for all those of a long while.
const FORGOTTEN_AT_A_TIME: usize = 1000;

impl Dedup {
    /// The entry that a producer's idempotent id stands for, if that is still remembered now (Unix ms).
    pub(crate) fn find(&self, producer: &Bytes, iid: &Bytes, now_ms: u64) -> Result<Option<EntryId>, Needs> {
        let Some(place) = self.by_iid.get(&(producer.clone(), iid.clone())) else { return Ok(None) };
        Ok(self.rows.get(place)?.filter(|row| !self.is_over(row.at_ms, now_ms)).map(|row| row.id))
    }

    /// About how many bytes it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// How many producers and how many idempotent ids are remembered now (Unix ms).
    pub(crate) fn counts(&self, now_ms: u64) -> (u64, u64) {
        let mut over: BTreeMap<&Bytes, u64> = BTreeMap::new();
        for place in
            self.by_time.iter().take_while(|(at_ms, _)| self.is_over(*at_ms, now_ms)).map(|(_, place)| place)
        {
            if let Ok(Some(row)) = self.rows.get(place) {
                *over.entry(&row.producer).or_default() += 1;
            }
        }
        let forgotten = over.iter().filter(|(producer, rows)| self.producers.get(**producer) == Some(*rows));
        let producers = self.producers.len() - forgotten.count();
        (producers as u64, self.rows.summary().0 - over.values().sum::<u64>())
    }

    /// What is remembered, in the order in which it came.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Remembered> {
        self.rows.rows()
    }

    /// Whether what came at a time is forgotten by another one.
    fn is_over(&self, at_ms: u64, now_ms: u64) -> bool {
        at_ms.saturating_add(self.config.duration_secs.saturating_mul(1000)) <= now_ms
    }

    /// Remembers one more, and forgets what is too old or too many by then.
    pub(super) fn remember(
        &mut self,
        (producer, iid): (Bytes, Bytes),
        id: EntryId,
        at_ms: u64,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        for _ in 0..FORGOTTEN_AT_A_TIME {
            let oldest = self.by_time.get_min().copied();
            let Some((_, place)) = oldest.filter(|(came, _)| self.is_over(*came, at_ms)) else { break };
            self.forget(place, stamp)?;
        }
        let names = (producer, iid);
        if let Some(place) = self.by_iid.get(&names).copied() {
            self.forget(place, stamp)?;
        }
        let (producer, iid) = names;
        let place = self.rows.last_row()?.map_or(0, |last| last.place) + 1;
        let row = Remembered { place, producer, iid, id, at_ms };
        self.list(&row);
        let producer = row.producer.clone();
        self.rows.insert(row, stamp)?;
        while let Some(oldest) = self.too_many(&producer) {
            self.forget(oldest, stamp)?;
        }
        Ok(())
    }

    /// The oldest of a producer that has more than it may.
    fn too_many(&self, producer: &Bytes) -> Option<u64> {
        let count = self.producers.get(producer)?;
        let of_producer = (producer.clone(), 0)..=(producer.clone(), u64::MAX);
        (*count > self.config.maxsize)
            .then(|| self.by_producer.range(of_producer).next().map(|(_, place)| *place))?
    }

    /// Begins anew with another configuration.
    pub(super) fn configure(&mut self, config: DedupConfig) {
        *self = Self { config, added: self.added, duplicates: self.duplicates, ..Self::default() };
    }

    fn forget(&mut self, place: u64, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let Some(row) = self.rows.remove(&place, stamp)? else { return Ok(()) };
        self.by_time.remove(&(row.at_ms, place));
        let Remembered { producer, iid, .. } = row;
        self.by_producer.remove(&(producer.clone(), place));
        if let Some(count) = self.producers.get_mut(&producer) {
            *count -= 1;
            if *count == 0 {
                self.producers.remove(&producer);
            }
        }
        self.by_iid.remove(&(producer, iid));
        Ok(())
    }

    fn list(&mut self, row: &Remembered) {
        let Remembered { producer, iid, place, at_ms, .. } = row;
        *self.producers.entry(producer.clone()).or_default() += 1;
        self.by_iid.insert((producer.clone(), iid.clone()), *place);
        self.by_producer.insert((producer.clone(), *place));
        self.by_time.insert((*at_ms, *place));
    }

    pub(super) fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.rows.dump(dump)
    }

    pub(super) fn dropped(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.rows.dropped(comparison)
    }

    pub(super) fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.rows.load(parts)?;
        let rows: Vec<Remembered> = self.rows.rows().cloned().collect();
        rows.iter().for_each(|row| self.list(row));
        Ok(())
    }

    /// Says what is wrong, if anything is: rows and producers must agree.
    pub(super) fn check(&self) -> Result<(), String> {
        self.rows.check_rows()?;
        let count = self.rows.summary().0;
        let listed = self.producers.values().sum::<u64>();
        let lengths = [self.by_iid.len(), self.by_producer.len(), self.by_time.len()];
        if listed != count || lengths.iter().any(|length| *length as u64 != count) {
            return Err(format!("{count} idempotent ids are remembered, and {listed} or {lengths:?} listed"));
        }
        for Remembered { producer, iid, place, at_ms, id } in self.rows() {
            let found = self.by_iid.get(&(producer.clone(), iid.clone())) == Some(place)
                && self.by_producer.contains(&(producer.clone(), *place))
                && self.by_time.contains(&(*at_ms, *place));
            if !found {
                return Err(format!("the idempotent id of {id} is not found by its producer and its time"));
            }
        }
        Ok(())
    }
}
