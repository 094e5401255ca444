//! EXPIRE and its family: when keys are removed.

use super::*;

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT (1.0 to 2.6; conditions 7.0). Answers whether the time was set; a time that is
/// not in the future removes the key.
#[derive(Clone, Debug)]
pub struct Expire {
    /// The key.
    pub key: Key,
    /// When it expires (Unix ms), or in how many milliseconds.
    pub at: ExpireAt,
    /// Only if all of this is so.
    pub only_if: ExpireIf,
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireAt {
    /// At that time (Unix ms).
    UnixMs(i64),
    /// So many milliseconds from now.
    InMs(i64),
}

/// What must be so for an expiry to be set. A key that never expires counts as one that expires after all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireIf {
    /// NX: the key does not expire so far.
    pub never: bool,
    /// XX: it does.
    pub some_time: bool,
    /// GT: it expires earlier than the new time.
    pub earlier: bool,
    /// LT: it expires later than the new time.
    pub later: bool,
}

impl ExpireIf {
    fn holds(self, present_ms: Option<u64>, new_ms: i64) -> bool {
        let present = present_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.never && present.is_some()
            || self.some_time && present.is_none()
            || self.earlier && present.is_none_or(|present| new_ms <= present)
            || self.later && present.is_some_and(|present| new_ms >= present))
    }
}

impl Op for Expire {
    type Reply = bool;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        let now_ms = i64::try_from(view.now_ms).unwrap_or(i64::MAX);
        let at_ms = match self.at {
            ExpireAt::UnixMs(at_ms) => at_ms,
            ExpireAt::InMs(in_ms) => now_ms.saturating_add(in_ms),
        };
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(false) };
        if !self.only_if.holds(stream.expires_ms, at_ms) {
            return Decision::read(false);
        }
        let stream = view.at(self.key.db, stream);
        let record = match u64::try_from(at_ms) {
            Ok(at_ms) if at_ms > view.now_ms => Record::ExpirySet { stream, at_ms: Some(at_ms) },
            _ => Record::StreamDeleted { stream },
        };
        Decision::change(true, smallvec![record])
    }
}

/// PERSIST (2.2): the key never expires. Answers whether it would have.
#[derive(Clone, Debug)]
pub struct Persist {
    /// The key.
    pub key: Key,
}

impl Op for Persist {
    type Reply = bool;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        let expiring = view.stream(&self.key)?.filter(|stream| stream.expires_ms.is_some());
        let record =
            expiring.map(|stream| Record::ExpirySet { stream: view.at(self.key.db, stream), at_ms: None });
        Decision::change(record.is_some(), record.into_iter().collect())
    }
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME (1.0 to 7.0).
#[derive(Clone, Debug)]
pub struct ExpiryOf {
    /// The key.
    pub key: Key,
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// There is no such key.
    NoKey,
    /// Never.
    Never,
    /// At some time.
    At {
        /// That time (Unix ms).
        unix_ms: u64,
        /// How far off it is.
        left_ms: u64,
    },
}

impl Op for ExpiryOf {
    type Reply = Expiry;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Expiry>, Stop> {
        let stream = view.peek(self.key.db, &self.key.name)?;
        Decision::read(match stream.map(|stream| stream.expires_ms) {
            None => Expiry::NoKey,
            Some(None) => Expiry::Never,
            Some(Some(unix_ms)) => Expiry::At { unix_ms, left_ms: unix_ms.saturating_sub(view.now_ms) },
        })
    }
}
