//! What is remembered for a while: when tags were looked at, and what is not there. Bounded; what
//! is forgotten is asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Entries kept at most, where nothing else is said.
const MAX: usize = 50_000;

/// What is remembered of the tags of a repository.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Those of the upstream, in byte order.
    pub(super) tags: Arc<[String]>,
    /// Whether the upstream could not be asked since.
    pub(super) failed: bool,
}

/// Values with the time at which they were put here.
#[derive(Debug)]
pub(super) struct Memory<V> {
    entries: Mutex<HashMap<String, (Instant, V)>>,
    max: usize,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self::of(MAX)
    }
}

impl<V> Memory<V> {
    /// One of so many entries at most, two or more.
    pub(super) fn of(max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            max,
        }
    }
}

impl<V: Clone> Memory<V> {
    /// Remembers from now on.
    pub(super) fn put(&self, key: &str, value: V) {
        let mut entries = lock(&self.entries);
        if entries.len() >= self.max && !entries.contains_key(key) {
            let mut ages: Vec<Instant> = entries.values().map(|(at, _)| *at).collect();
            let (_, middle, _) = ages.select_nth_unstable(self.max / 2);
            let middle = *middle;
            entries.retain(|_, (at, _)| *at > middle);
        }
        entries.insert(key.to_owned(), (Instant::now(), value));
    }

    /// What is remembered, and for how long it has been.
    pub(super) fn get(&self, key: &str) -> Option<(Duration, V)> {
        let entries = lock(&self.entries);
        let (at, value) = entries.get(key)?;
        Some((at.elapsed(), value.clone()))
    }

    /// Changes what is remembered and not since when.
    pub(super) fn update(&self, key: &str, change: impl FnOnce(&mut V)) {
        if let Some((_, value)) = lock(&self.entries).get_mut(key) {
            change(value);
        }
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &str) {
        lock(&self.entries).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let memory = Memory::default();
        for i in 0..=MAX {
            memory.put(&i.to_string(), i);
        }
        assert!(lock(&memory.entries).len() <= MAX / 2 + 1);
        assert_eq!(memory.get(&MAX.to_string()).unwrap().1, MAX);
        assert!(memory.get("0").is_none());
        memory.update(&MAX.to_string(), |v| *v = 7);
        assert_eq!(memory.get(&MAX.to_string()).unwrap().1, 7);
        memory.forget(&MAX.to_string());
        assert!(memory.get(&MAX.to_string()).is_none());
    }
}
