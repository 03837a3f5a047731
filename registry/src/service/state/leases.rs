//! Which blobs clients were told are there, so that they were not pushed again.
//!
//! A lease lasts at least its time and at most twice that: they are kept in two generations, and
//! the older one is dropped as a whole. What the collector is just taking away cannot be leased;
//! what is leased cannot be taken. Both are decided under one lock.
//!
//! Only what was found is leased: whoever asks holds a claim on it until the answer is known, and
//! no longer when that is no. Leases take bounded memory, and none ends early for it: see
//! [`Generation`].

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Leases that one generation remembers one by one: 4 MiB at most.
const FEW: usize = 1 << 18;
/// The bits that remember more than those: 4 MiB.
const BITS: u64 = 1 << 25;

#[derive(Debug)]
pub(in crate::service) struct Leases {
    state: Mutex<State>,
    time: Duration,
    hashing: RandomState,
}

#[derive(Debug)]
struct State {
    young: Generation,
    old: Generation,
    turned: Instant,
    condemned: HashSet<Box<str>>,
    /// Keys that are being looked up, and by how many.
    claimed: HashMap<u64, usize>,
}

/// The leases of one time, by hashes of their keys. Two keys of one hash, and more leases than can
/// be kept one by one, only keep some garbage until the generation is dropped.
#[derive(Debug)]
enum Generation {
    Few(HashSet<u64>),
    /// A Bloom filter: with five million leases, one blob in fifteen that is not leased looks as
    /// if it were.
    Many(Box<[u64]>),
}

/// Keys that are being taken away; dropped, they can be leased again.
#[derive(Debug)]
pub(in crate::service) struct Condemned {
    leases: Arc<Leases>,
    keys: Vec<String>,
}

/// What is not taken away while it is looked up.
#[derive(Debug)]
pub(in crate::service) struct Claim {
    leases: Arc<Leases>,
    hash: u64,
}

impl Generation {
    fn new() -> Self {
        Self::Few(HashSet::new())
    }

    fn insert(&mut self, hash: u64, few: usize) {
        match self {
            Self::Few(hashes) => {
                hashes.insert(hash);
                if hashes.len() > few {
                    let mut bits = vec![0; (BITS / 64) as usize].into_boxed_slice();
                    hashes.iter().for_each(|hash| set(&mut bits, *hash));
                    *self = Self::Many(bits);
                }
            }
            Self::Many(bits) => set(bits, hash),
        }
    }

    fn contains(&self, hash: u64) -> bool {
        match self {
            Self::Few(hashes) => hashes.contains(&hash),
            Self::Many(bits) => places(hash).all(|(at, bit)| bits[at] & bit != 0),
        }
    }
}

fn set(bits: &mut [u64], hash: u64) {
    for (at, bit) in places(hash) {
        bits[at] |= bit;
    }
}

/// The two bits of a hash.
fn places(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    [hash % BITS, (hash >> 32) % BITS]
        .into_iter()
        .map(|place| ((place / 64) as usize, 1 << (place % 64)))
}

impl Leases {
    pub(in crate::service) fn new(time: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                young: Generation::new(),
                old: Generation::new(),
                turned: Instant::now(),
                condemned: HashSet::new(),
                claimed: HashMap::new(),
            }),
            time,
            hashing: RandomState::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Claims `key` until it is known whether it is there; `None` when it is being taken away.
    pub(in crate::service) fn claim(self: &Arc<Self>, key: &str) -> Option<Claim> {
        let hash = self.hashing.hash_one(key);
        let mut state = self.lock();
        if state.condemned.contains(key) {
            return None;
        }
        *state.claimed.entry(hash).or_default() += 1;
        Some(Claim {
            leases: Arc::clone(self),
            hash,
        })
    }

    /// Marks what is not leased as being taken away.
    pub(in crate::service) fn condemn(
        self: &Arc<Self>,
        keys: impl Iterator<Item = String>,
    ) -> Condemned {
        let mut state = self.lock();
        self.turn(&mut state);
        let keys: Vec<String> = keys
            .filter(|key| {
                let hash = self.hashing.hash_one(key.as_str());
                !state.young.contains(hash)
                    && !state.old.contains(hash)
                    && !state.claimed.contains_key(&hash)
            })
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
            state.old = std::mem::replace(&mut state.young, Generation::new());
            state.turned = Instant::now();
        }
    }
}

impl Claim {
    /// It is there: leases it.
    pub(in crate::service) fn keep(self) {
        let mut state = self.leases.lock();
        self.leases.turn(&mut state);
        state.young.insert(self.hash, FEW);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        if let Some(claims) = state.claimed.get_mut(&self.hash) {
            *claims -= 1;
            if *claims == 0 {
                state.claimed.remove(&self.hash);
            }
        }
    }
}

impl Condemned {
    pub(in crate::service) fn contains(&self, key: &str) -> bool {
        self.leases.lock().condemned.contains(key)
    }

    pub(in crate::service) fn keys(&self) -> &[String] {
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

    fn take(leases: &Arc<Leases>, key: &str) -> bool {
        leases.claim(key).map(Claim::keep).is_some()
    }

    #[test]
    fn leased_or_condemned_but_never_both() {
        let leases = Arc::new(Leases::new(Duration::from_secs(3600)));
        assert!(take(&leases, "kept"));
        let condemned = leases.condemn(["kept", "gone"].map(String::from).into_iter());
        assert_eq!(condemned.keys(), ["gone"]);
        assert!(!take(&leases, "gone"));
        assert!(take(&leases, "kept"));
        drop(condemned);
        assert!(take(&leases, "gone"));
    }

    #[test]
    fn leases_end() {
        let leases = Arc::new(Leases::new(Duration::ZERO));
        assert!(take(&leases, "a"));
        // Each look turns the generations: now old, then gone.
        assert!(
            leases
                .condemn(["a".to_owned()].into_iter())
                .keys()
                .is_empty()
        );
        assert_eq!(leases.condemn(["a".to_owned()].into_iter()).keys(), ["a"]);
    }

    #[test]
    fn what_was_not_found_is_claimed_only_until_then() {
        let leases = Arc::new(Leases::new(Duration::from_secs(3600)));
        let keys = || ["a".to_owned()].into_iter();
        let claims = [leases.claim("a").unwrap(), leases.claim("a").unwrap()];
        let [first, second] = claims;
        drop(first);
        assert!(leases.condemn(keys()).keys().is_empty());
        drop(second);
        assert_eq!(leases.condemn(keys()).keys(), ["a"]);
        assert!(leases.lock().claimed.is_empty());
    }

    #[test]
    fn many_leases_take_no_more_memory_and_none_is_lost() {
        let mut generation = Generation::new();
        let hashing = RandomState::new();
        for i in 0..1000 {
            generation.insert(hashing.hash_one(i), 100);
        }
        assert!(matches!(generation, Generation::Many(_)));
        assert!((0..1000).all(|i| generation.contains(hashing.hash_one(i))));
        let wrong = (1000..2000).filter(|i| generation.contains(hashing.hash_one(i)));
        assert!(wrong.count() < 10);
    }
}
