//! What is different between a stream as it must be and as it was seen.

use std::fmt;

use imbl::OrdMap;

use super::model::{Group, Stream};
use super::op::Name;
use crate::id::EntryId;

/// What is different between what must be and what was seen. Delivery times need only lie within their window.
pub(super) fn mismatch(want: Option<&Stream>, found: Option<&Stream>) -> Option<String> {
    let (want, found) = match (want, found) {
        (None, None) => return None,
        (Some(_), None) => return Some("the key must be there and is not".into()),
        (None, Some(_)) => return Some("the key must not be there and is".into()),
        (Some(want), Some(found)) => (want, found),
    };
    fn differ<T: PartialEq + fmt::Debug>(what: &str, want: &T, found: &T) -> Option<String> {
        (want != found).then(|| format!("{what} must be {want:?} and is {found:?}"))
    }
    let id = |what: &str, want: EntryId, found: EntryId| {
        (want != found).then(|| format!("{what} must be {want} and is {found}"))
    };
    let group = |name: &Name, want: &Group, found: &Group| {
        let what = id("last-delivered-id", want.last_id, found.last_id)
            .or_else(|| differ("the consumers", &want.consumers, &found.consumers))
            .or_else(|| {
                differ_in("pending entry", &want.pending, &found.pending, |want, found| {
                    let when = want.delivered.earliest_ms..=want.delivered.latest_ms;
                    want.owner == found.owner
                        && want.count == found.count
                        && when.contains(&found.delivered.latest_ms)
                })
            })?;
        Some(format!("group {name}: {what}"))
    };
    id("last-generated-id", want.last_id, found.last_id)
        .or_else(|| differ("entries-added", &want.added, &found.added))
        .or_else(|| id("max-deleted-entry-id", want.max_deleted_id, found.max_deleted_id))
        .or_else(|| differ("the time of expiry", &want.expires_ms, &found.expires_ms))
        .or_else(|| differ_in("entry", &want.entries, &found.entries, |want, found| want == found))
        .or_else(|| differ_in("group", &want.groups, &found.groups, |_, _| true))
        .or_else(|| want.groups.iter().find_map(|(name, want)| group(name, want, found.groups.get(name)?)))
}

fn differ_in<K: Ord + Clone + fmt::Display, V: Clone + fmt::Debug>(
    what: &str,
    want: &OrdMap<K, V>,
    found: &OrdMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Option<String> {
    for (key, want) in want {
        match found.get(key) {
            None => return Some(format!("{what} {key} is lost: {want:?}")),
            Some(found) if !same(want, found) => {
                return Some(format!("{what} {key} must be {want:?} and is {found:?}"));
            }
            Some(_) => {}
        }
    }
    let more = found.iter().find(|(key, _)| !want.contains_key(*key));
    more.map(|(key, found)| format!("{what} {key} came from nowhere: {found:?}"))
}
