//! A bounded in-memory cache that the single writer keeps coherent.
//!
//! Eviction is by two generations: what was read since the last turn survives the next one. That
//! is close to least-recently-used, at the price of one hash lookup and no linked list.
//!
//! Coherence: a reader takes a [`Stamp`] before it asks the database and [`Cache::fill`]s with
//! it; any write in between makes the stamp stale and the fill a no-op. So an answer computed
//! from before a commit can never overwrite what the commit put here.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

/// The state of a cache at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

/// See the module.
#[derive(Debug)]
pub struct Cache<V> {
    inner: Mutex<Inner<V>>,
    /// What one generation may weigh, in bytes.
    generation_limit: usize,
}

#[derive(Debug)]
struct Inner<V> {
    young: HashMap<Box<str>, Entry<V>>,
    old: HashMap<Box<str>, Entry<V>>,
    young_weight: usize,
    stamp: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
}

impl<V: Clone> Cache<V> {
    /// A cache of at most about `limit` bytes, as its users weigh their values.
    pub fn new(limit: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                young: HashMap::new(),
                old: HashMap::new(),
                young_weight: 0,
                stamp: 0,
            }),
            generation_limit: limit / 2,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        lock(&self.inner)
    }

    /// What is known of `key`.
    pub fn get(&self, key: &str) -> Option<V> {
        let mut inner = self.lock();
        if let Some(entry) = inner.young.get(key) {
            return Some(entry.value.clone());
        }
        let (key, entry) = inner.old.remove_entry(key)?;
        let value = entry.value.clone();
        inner.insert(key, entry, self.generation_limit);
        Some(value)
    }

    /// The present state, to be taken before asking the database.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.lock().stamp)
    }

    /// Remembers what was read from the database, unless something was written since `stamp`.
    pub fn fill(&self, stamp: Stamp, key: &str, value: V, weight: usize) {
        let mut inner = self.lock();
        if inner.stamp == stamp.0 && weight <= self.generation_limit {
            inner.remove(key);
            inner.insert(key.into(), Entry { value, weight }, self.generation_limit);
        }
    }

    /// Remembers what was just committed.
    pub fn put(&self, key: &str, value: V, weight: usize) {
        let mut inner = self.lock();
        inner.stamp += 1;
        inner.remove(key);
        if weight <= self.generation_limit {
            inner.insert(key.into(), Entry { value, weight }, self.generation_limit);
        }
    }

    /// Forgets `key`, which a commit just took away.
    pub fn forget(&self, key: &str) {
        let mut inner = self.lock();
        inner.stamp += 1;
        inner.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.stamp += 1;
        inner.young.clear();
        inner.old.clear();
        inner.young_weight = 0;
    }
}

impl<V> Inner<V> {
    fn insert(&mut self, key: Box<str>, entry: Entry<V>, limit: usize) {
        if self.young_weight + entry.weight > limit {
            self.old = mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += entry.weight;
        self.young.insert(key, entry);
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.young.remove(key) {
            self.young_weight -= entry.weight;
        }
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_from_before_a_write_is_dropped() {
        let cache = Cache::new(1000);
        let before = cache.stamp();
        cache.put("tag", 2, 1);
        cache.fill(before, "tag", 1, 1);
        assert_eq!(cache.get("tag"), Some(2));
        cache.forget("tag");
        cache.fill(before, "tag", 1, 1);
        assert_eq!(cache.get("tag"), None);
        cache.fill(cache.stamp(), "tag", 3, 1);
        assert_eq!(cache.get("tag"), Some(3));
    }

    #[test]
    fn what_is_used_survives_what_is_not() {
        let cache = Cache::new(20);
        for i in 0..1000 {
            cache.put(&i.to_string(), i, 1);
            assert_eq!(cache.get("0"), Some(0), "after {i}");
        }
        assert_eq!(cache.get("1"), None);
        let inner = cache.lock();
        assert!(inner.young.len() + inner.old.len() <= 20);
    }

    #[test]
    fn what_is_too_heavy_stays_out_and_replaces_nothing_stale() {
        let cache = Cache::new(10);
        cache.put("k", 1, 1);
        cache.put("k", 2, 100);
        assert_eq!(cache.get("k"), None);
        cache.put("k", 3, 1);
        cache.clear();
        assert_eq!(cache.get("k"), None);
    }
}
