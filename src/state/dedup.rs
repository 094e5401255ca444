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
        // A row, and its places in the lists by producer and by time.
        160 + (self.producer.len() + self.iid.len()) as u64
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
    #[serde(skip)]
    producers: OrdMap<Bytes, Producer>,
    /// Times and places, the oldest first. A clock that was set back makes that another order than that of the rows.
    #[serde(skip)]
    by_time: OrdSet<(u64, u64)>,
}

/// What is remembered of one producer.
#[derive(Clone, Debug, Default)]
struct Producer {
    by_iid: OrdMap<Bytes, u64>,
    places: OrdSet<u64>,
}

impl Dedup {
    /// The entry that a producer's idempotent id stands for, if that is still remembered now (Unix ms).
    pub(crate) fn find(&self, producer: &[u8], iid: &[u8], now_ms: u64) -> Result<Option<EntryId>, Needs> {
        let place = self.producers.get(producer).and_then(|producer| producer.by_iid.get(iid));
        let Some(place) = place else { return Ok(None) };
        Ok(self.rows.get(place)?.filter(|row| !self.is_over(row.at_ms, now_ms)).map(|row| row.id))
    }

    /// About how many bytes it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// How many producers and how many idempotent ids are remembered now (Unix ms).
    pub(crate) fn counts(&self, now_ms: u64) -> (u64, u64) {
        let mut over: BTreeMap<&Bytes, usize> = BTreeMap::new();
        for place in
            self.by_time.iter().take_while(|(at_ms, _)| self.is_over(*at_ms, now_ms)).map(|(_, place)| place)
        {
            if let Ok(Some(row)) = self.rows.get(place) {
                *over.entry(&row.producer).or_default() += 1;
            }
        }
        let forgotten = over.iter().filter(|(producer, rows)| {
            self.producers.get(**producer).is_some_and(|producer| producer.places.len() == **rows)
        });
        let producers = self.producers.len() - forgotten.count();
        (producers as u64, self.rows.summary().0 - over.values().sum::<usize>() as u64)
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
        while let Some((_, place)) =
            self.by_time.get_min().copied().filter(|(came, _)| self.is_over(*came, at_ms))
        {
            self.forget(place, stamp)?;
        }
        let known = self.producers.get(&producer).and_then(|known| known.by_iid.get(&iid).copied());
        if let Some(place) = known {
            self.forget(place, stamp)?;
        }
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
    fn too_many(&self, producer: &[u8]) -> Option<u64> {
        let places = &self.producers.get(producer)?.places;
        places.get_min().copied().filter(|_| places.len() as u64 > self.config.maxsize)
    }

    /// Begins anew with another configuration.
    pub(super) fn configure(&mut self, config: DedupConfig) {
        *self = Self { config, added: self.added, duplicates: self.duplicates, ..Self::default() };
    }

    fn forget(&mut self, place: u64, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let Some(row) = self.rows.remove(&place, stamp)? else { return Ok(()) };
        self.by_time.remove(&(row.at_ms, place));
        if let Some(producer) = self.producers.get_mut(&row.producer) {
            producer.places.remove(&place);
            producer.by_iid.remove(&row.iid);
            if producer.places.is_empty() {
                self.producers.remove(&row.producer);
            }
        }
        Ok(())
    }

    fn list(&mut self, row: &Remembered) {
        let producer = self.producers.entry(row.producer.clone()).or_default();
        producer.by_iid.insert(row.iid.clone(), row.place);
        producer.places.insert(row.place);
        self.by_time.insert((row.at_ms, row.place));
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
        let listed: usize = self.producers.values().map(|producer| producer.places.len()).sum();
        if listed as u64 != self.rows.summary().0 || self.by_time.len() != listed {
            return Err(format!(
                "{} idempotent ids are remembered, and {listed} listed",
                self.rows.summary().0
            ));
        }
        for row in self.rows() {
            let place = self.producers.get(&row.producer).and_then(|known| known.by_iid.get(&row.iid));
            if place != Some(&row.place) || !self.by_time.contains(&(row.at_ms, row.place)) {
                return Err(format!(
                    "the idempotent id of {} is not found by its producer and its time",
                    row.id
                ));
            }
        }
        Ok(())
    }
}
