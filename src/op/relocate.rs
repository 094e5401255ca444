//! RENAME, COPY, MOVE, SWAPDB: streams under other names and in other databases, with all they have.

use super::*;

/// RENAME and RENAMENX (1.0). Answers whether it was renamed: not if the name is taken and that matters.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The database.
    pub db: DbIndex,
    /// The key, which must exist.
    pub from: Bytes,
    /// Its new name.
    pub to: Bytes,
    /// RENAMENX: only if there is no key of that name. Otherwise that one is removed.
    pub if_absent: bool,
}

impl Op for Rename {
    type Reply = bool;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        let stream = view.stream_named(self.db, &self.from)?.ok_or(Refusal::NoSuchKey)?;
        if self.from == self.to {
            return Decision::read(!self.if_absent);
        }
        let mut records = Records::new();
        match view.peek(self.db, &self.to)? {
            Some(_) if self.if_absent => return Decision::read(false),
            Some(other) => records.push(Record::StreamDeleted { stream: view.at(self.db, other) }),
            None => {}
        }
        records.push(Record::StreamRenamed { stream: view.at(self.db, stream), name: (&self.to).into() });
        Decision::change(true, records)
    }
}

/// COPY (6.2). Answers whether it was copied: not if there is nothing to be copied, or the name is taken and stays so.
/// The copy shares its pages with the original until either changes them.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The key.
    pub from: Key,
    /// The copy, which must be another key.
    pub to: Key,
    /// REPLACE: a key of that name is removed.
    pub replace: bool,
}

impl Op for Copy {
    type Reply = bool;
    const DENY_OOM: bool = true;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        if self.from == self.to {
            return Err(Refusal::SameObject.into());
        }
        let Some(stream) = view.stream(&self.from)? else { return Decision::read(false) };
        let mut records = Records::new();
        match view.peek(self.to.db, &self.to.name)? {
            Some(_) if !self.replace => return Decision::read(false),
            Some(other) => records.push(Record::StreamDeleted { stream: view.at(self.to.db, other) }),
            None => {}
        }
        records.push(Record::StreamCopied {
            from: view.at(self.from.db, stream),
            to: view.next_at(self.to.db),
            name: (&self.to.name).into(),
        });
        Decision::change(true, records)
    }
}

/// MOVE (1.0). Answers whether it was moved: not if there is nothing to be moved, or the name is taken there.
#[derive(Clone, Debug)]
pub struct Move {
    /// The key.
    pub key: Key,
    /// The database, which must be another one.
    pub to: DbIndex,
}

impl Op for Move {
    type Reply = bool;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        if self.key.db == self.to {
            return Err(Refusal::SameObject.into());
        }
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(false) };
        if view.peek(self.to, &self.key.name)?.is_some() {
            return Decision::read(false);
        }
        let to = view.state.database(self.to).no();
        Decision::change(true, smallvec![Record::StreamMoved { stream: view.at(self.key.db, stream), to }])
    }
}

/// SWAPDB (4.0).
#[derive(Clone, Debug)]
pub struct SwapDb {
    /// One.
    pub one: DbIndex,
    /// The other.
    pub other: DbIndex,
}

impl Op for SwapDb {
    type Reply = ();

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let no = |index| view.state.database(index).no();
        let record = Record::DatabasesSwapped { one: no(self.one), other: no(self.other) };
        Decision::change((), (self.one != self.other).then_some(record).into_iter().collect())
    }
}
