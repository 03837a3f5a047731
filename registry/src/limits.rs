//! How much one client may have at once, and how often it may ask. Pure: the time is given.
//!
//! What is remembered is bounded: counts are of what is open, and are forgotten at zero; the rates
//! of those who have not asked for a while make room for others.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Clients whose rates are remembered: twice as many at most.
const REMEMBERED: usize = 16 << 10;

/// Whom a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A user, wherever they are.
    User(Arc<str>),
    /// Whoever is at an address and did not say who they are.
    Address(IpAddr),
}

impl Client {
    /// The client at an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// What stands for an address: in IPv6 everybody has a network of 64 bits to themselves.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Counts what is open, for each of those who opened it and altogether.
#[derive(Debug)]
pub struct Open<K: Eq + Hash> {
    each: usize,
    all: usize,
    counts: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    each: HashMap<K, usize>,
    all: usize,
}

/// One open thing; closed when dropped.
#[derive(Debug)]
pub struct Slot<K: Eq + Hash> {
    open: Arc<Open<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Open<K> {
    /// At most `each` of everybody, and `all` altogether; 0 is no limit.
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            all,
            counts: Mutex::new(Counts {
                each: HashMap::new(),
                all: 0,
            }),
        })
    }

    /// One more; `None` when that is too many.
    pub fn open(self: &Arc<Self>, key: K) -> Option<Slot<K>> {
        let mut counts = lock(&self.counts);
        let present = counts.each.get(&key).copied().unwrap_or(0);
        let over = |count: usize, limit: usize| limit > 0 && count >= limit;
        if over(present, self.each) || over(counts.all, self.all) {
            return None;
        }
        counts.each.insert(key.clone(), present + 1);
        counts.all += 1;
        drop(counts);
        Some(Slot {
            open: Arc::clone(self),
            key,
        })
    }
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut counts = lock(&self.open.counts);
        counts.all -= 1;
        if let Some(count) = counts.each.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.each.remove(&self.key);
            }
        }
    }
}

/// How often each client may ask: a bucket of tokens that fills up again steadily.
#[derive(Debug)]
pub struct Rates {
    per_second: f64,
    burst: f64,
    remembered: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    young: HashMap<Client, Bucket>,
    old: HashMap<Client, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// So many requests a second for long, and so many at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_second.max(1)),
            burst: f64::from(burst.max(1)),
            remembered: REMEMBERED,
            buckets: Mutex::default(),
        }
    }

    /// Takes a request back that was counted for this client and is another's.
    pub fn give_back(&self, client: &Client) {
        let mut buckets = lock(&self.buckets);
        let Buckets { young, old } = &mut *buckets;
        if let Some(bucket) = young.get_mut(client).or_else(|| old.get_mut(client)) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }

    /// A bucket as it is by now.
    fn filled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        Bucket {
            tokens: (bucket.tokens + passed * self.per_second).min(self.burst),
            at: now,
        }
    }

    /// How long until there is a token in a bucket.
    fn wait(&self, bucket: Bucket) -> Result<(), Duration> {
        if bucket.tokens >= 1.0 {
            return Ok(());
        }
        let seconds = (1.0 - bucket.tokens) / self.per_second;
        Err(Duration::from_secs_f64(seconds))
    }

    /// One more request.
    ///
    /// # Errors
    /// When it is too many: how long to wait.
    pub fn take(&self, client: Client, now: Instant) -> Result<(), Duration> {
        let mut buckets = lock(&self.buckets);
        let known = buckets.young.get(&client).copied();
        let known = known.or_else(|| buckets.old.remove(&client));
        let mut bucket = self.filled(
            known.unwrap_or(Bucket {
                tokens: self.burst,
                at: now,
            }),
            now,
        );
        let taken = self.wait(bucket);
        if taken.is_ok() {
            bucket.tokens -= 1.0;
        }
        if buckets.young.len() >= self.remembered && !buckets.young.contains_key(&client) {
            // Who has not asked since the last turn begins anew.
            buckets.old = mem::take(&mut buckets.young);
        }
        buckets.young.insert(client, bucket);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Client {
        Client::User(name.into())
    }

    #[test]
    fn a_bucket_empties_and_fills_up_again() {
        let rates = Rates::new(2, 3);
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(rates.take(user("a"), at(0)), Ok(()));
        }
        assert_eq!(
            rates.take(user("a"), at(0)),
            Err(Duration::from_millis(500))
        );
        // What is given back is there again, and no more.
        rates.give_back(&user("a"));
        rates.give_back(&user("b"));
        assert_eq!(rates.take(user("a"), at(0)), Ok(()));
        assert!(rates.take(user("a"), at(0)).is_err());
        // Others are not concerned.
        assert_eq!(rates.take(user("b"), at(0)), Ok(()));
        assert_eq!(rates.take(user("a"), at(500)), Ok(()));
        assert!(rates.take(user("a"), at(500)).is_err());
        // However long it rests, no more than the burst gathers.
        for _ in 0..3 {
            assert_eq!(rates.take(user("a"), at(3_600_000)), Ok(()));
        }
        assert!(rates.take(user("a"), at(3_600_000)).is_err());
        // A clock that goes back is no reason to fail.
        assert!(rates.take(user("a"), at(0)).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_keeps_asking_stays() {
        let mut rates = Rates::new(1, 1);
        rates.remembered = 10;
        let now = Instant::now();
        assert!(rates.take(user("greedy"), now).is_ok());
        for i in 0..1000 {
            let _ = rates.take(user(&i.to_string()), now);
            assert!(rates.take(user("greedy"), now).is_err(), "after {i}");
        }
        let buckets = lock(&rates.buckets);
        assert!(buckets.young.len() + buckets.old.len() <= 20);
    }

    #[test]
    fn what_is_open_is_counted_and_forgotten() {
        let open = Open::new(2, 3);
        let first = open.open("a");
        let _second = open.open("a");
        assert!(first.is_some() && open.open("a").is_none());
        let _third = open.open("b");
        // All that may be open is open.
        assert!(open.open("c").is_none());
        drop(first);
        assert!(open.open("c").is_some());
        assert_eq!(lock(&open.counts).each.len(), 2);
        let unlimited = Open::new(0, 0);
        let all: Vec<_> = (0..1000).map(|_| unlimited.open(1)).collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn one_network_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.2"), at("192.0.2.1"));
    }
}
