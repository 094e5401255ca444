//! Keys whose readers are to be served.

use std::collections::{HashSet, VecDeque};

use crate::op::Key;

/// Keys in the order in which they became ready, each once. There may be as many as there are keys: a reader may wait
/// for all of them, and one command may change them all.
#[derive(Debug, Default)]
pub(super) struct ReadyKeys {
    line: VecDeque<Key>,
    /// Those in line. Never gone through, so their order can't show.
    known: HashSet<Key>,
}

impl ReadyKeys {
    /// Puts a key behind the others, unless it is among them.
    pub(super) fn add(&mut self, key: Key) {
        if self.known.insert(key.clone()) {
            self.line.push_back(key);
        }
    }

    pub(super) fn first(&self) -> Option<&Key> {
        self.line.front()
    }

    pub(super) fn remove_first(&mut self) {
        if let Some(key) = self.line.pop_front() {
            self.known.remove(&key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_in_line_once_and_again_when_it_has_left() {
        let mut ready = ReadyKeys::default();
        for name in ["b", "a", "b", "c"] {
            ready.add(name.into());
        }
        let mut order = Vec::new();
        while let Some(key) = ready.first().cloned() {
            if order.is_empty() {
                ready.add("b".into());
            }
            order.push(key);
            ready.remove_first();
        }
        assert_eq!(order, ["b".into(), "a".into(), "c".into()]);
        ready.add("b".into());
        assert!(!ready.is_empty());
        ready.clear();
        ready.add("b".into());
        assert_eq!(ready.first(), Some(&"b".into()));
    }
}
