//! Which blobs clients were told are there, so that they were not pushed again.
//!
//! A lease lasts at least its time and at most twice that: they are kept in two generations, and
//! the older one is dropped as a whole. What the collector is just taking away cannot be leased;
//! what is leased cannot be taken. Both are decided under one lock.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Leases {
    state: Mutex<State>,
    time: Duration,
}

#[derive(Debug)]
struct State {
    young: HashSet<Box<str>>,
    old: HashSet<Box<str>>,
    turned: Instant,
    condemned: HashSet<Box<str>>,
}

/// Keys that are being taken away; dropped, they can be leased again.
#[derive(Debug)]
pub(super) struct Condemned {
    leases: Arc<Leases>,
    keys: Vec<String>,
}

impl Leases {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                young: HashSet::new(),
                old: HashSet::new(),
                turned: Instant::now(),
                condemned: HashSet::new(),
            }),
            time,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases `key`; false when it is being taken away.
    pub(super) fn take(&self, key: &str) -> bool {
        let mut state = self.lock();
        if state.condemned.contains(key) {
            return false;
        }
        self.turn(&mut state);
        if !state.young.contains(key) {
            state.young.insert(key.into());
        }
        true
    }

    /// Marks what is not leased as being taken away.
    pub(super) fn condemn(self: &Arc<Self>, keys: impl Iterator<Item = String>) -> Condemned {
        let mut state = self.lock();
        self.turn(&mut state);
        let keys: Vec<String> = keys
            .filter(|key| !state.young.contains(&**key) && !state.old.contains(&**key))
            .collect();
        for key in &keys {
            state.condemned.insert(key.as_str().into());
        }
        Condemned {
            leases: Arc::clone(self),
            keys,
        }
    }

    fn turn(&self, state: &mut State) {
        if state.turned.elapsed() >= self.time {
            state.old = std::mem::take(&mut state.young);
            state.turned = Instant::now();
        }
    }
}

impl Condemned {
    pub(super) fn contains(&self, key: &str) -> bool {
        self.leases.lock().condemned.contains(key)
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }
}

impl Drop for Condemned {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        for key in &self.keys {
            state.condemned.remove(key.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leased_or_condemned_but_never_both() {
        let leases = Arc::new(Leases::new(Duration::from_secs(3600)));
        assert!(leases.take("kept"));
        let condemned = leases.condemn(["kept", "gone"].map(String::from).into_iter());
        assert_eq!(condemned.keys(), ["gone"]);
        assert!(!leases.take("gone"));
        assert!(leases.take("kept"));
        drop(condemned);
        assert!(leases.take("gone"));
    }

    #[test]
    fn leases_end() {
        let leases = Arc::new(Leases::new(Duration::ZERO));
        assert!(leases.take("a"));
        // Each look turns the generations: now old, then gone.
        assert!(
            leases
                .condemn(["a".to_owned()].into_iter())
                .keys()
                .is_empty()
        );
        assert_eq!(leases.condemn(["a".to_owned()].into_iter()).keys(), ["a"]);
    }
}
