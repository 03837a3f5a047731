//! How much may be stored: rules for repositories, and one limit for everything. Pure.
//!
//! The [`Ledger`] is where it is decided. It knows what is used, as the database last committed
//! it, and what uploads under way have been promised. Promises are made before bytes are taken
//! and are kept until the commit that turns them into use, so that many uploads at once can never
//! come to more than a limit together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};

use crate::name::{RepositoryName, UploadId};
use crate::pattern::matches;
use crate::units::{show_size, size};

/// How long an upload that rests keeps what it was promised of its repository; when it goes on
/// after that, it must be promised again. A client that died would otherwise keep others out. What
/// lies on the disk counts in all until it is finished, given up or expired.
const REST: Duration = Duration::from_secs(15 * 60);

/// How much repositories may show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The repositories, as a pattern.
    pub repository: String,
    /// Bytes that each of them may show.
    #[serde(default, deserialize_with = "bytes")]
    pub each: Option<u64>,
    /// Bytes that all of them may show together.
    #[serde(default, deserialize_with = "bytes")]
    pub together: Option<u64>,
}

fn bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    // Whatever stands there, what should is told.
    let value = toml::Value::deserialize(d)?;
    let read = value.as_str().and_then(size);
    read.map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{value} is no size: a number and a unit in quotes, such as \"500MiB\", \"10GiB\" or \"2TB\""
        ))
    })
}

/// All limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Limits for repositories; the first rule for a repository counts.
    pub rules: Vec<Quota>,
    /// Bytes that may be stored in all.
    pub total: Option<u64>,
}

impl Quotas {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.total.is_none()
    }

    /// The rule for a repository.
    pub fn rule(&self, repository: &str) -> Option<(usize, &Quota)> {
        self.rules
            .iter()
            .enumerate()
            .find(|(_, rule)| matches(&rule.repository, repository))
    }
}

/// What a limit is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One repository.
    Repository(String),
    /// All repositories of a rule, by its pattern.
    Together(String),
    /// Everything.
    Total,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "repository {name}"),
            Self::Together(pattern) => write!(f, "the repositories {pattern} together"),
            Self::Total => f.write_str("this registry"),
        }
    }
}

/// A limit that would be passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quota exceeded: {scope} may store {}, {} are used (other uploads under way included), and \
     this needs at least {}",
    show_size(*.limit), show_size(*.used), show_size(*.wanted)
)]
pub struct Exceeded {
    /// What the limit is for.
    pub scope: Scope,
    /// The limit in bytes.
    pub limit: u64,
    /// Bytes used and promised.
    pub used: u64,
    /// Bytes that were asked for.
    pub wanted: u64,
}

/// What a push adds: nothing where its bytes are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes more in the repository.
    pub repository: u64,
    /// Bytes more in all.
    pub total: u64,
}

/// A repository's use, or everything's when there is no name, as just committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageChange {
    /// The repository.
    pub repository: Option<String>,
    /// What it shows by now.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    used: u64,
    held: u64,
}

impl Sum {
    fn check(
        self,
        more: u64,
        limit: Option<u64>,
        scope: impl FnOnce() -> Scope,
    ) -> Result<(), Exceeded> {
        let used = self.used.saturating_add(self.held);
        match limit {
            // What adds nothing is fine, also where a limit was lowered below what is used.
            Some(limit) if more > 0 && used.saturating_add(more) > limit => Err(Exceeded {
                scope: scope(),
                limit,
                used,
                wanted: more,
            }),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Held {
    repository: RepositoryName,
    need: Need,
    /// Since when, for one that nobody is working on.
    resting: Option<Instant>,
}

/// What is used and promised under some [`Quotas`].
#[derive(Debug)]
pub struct Ledger {
    quotas: Quotas,
    /// Those with a rule only.
    repositories: HashMap<Box<str>, Sum>,
    rules: Vec<Sum>,
    total: Sum,
    held: HashMap<UploadId, Held>,
    settling: Vec<UploadId>,
}

impl Ledger {
    /// A ledger that knows of no use yet; [`settle`](Self::settle) tells it.
    pub fn new(quotas: Quotas) -> Self {
        Self {
            rules: vec![Sum::default(); quotas.rules.len()],
            quotas,
            repositories: HashMap::new(),
            total: Sum::default(),
            held: HashMap::new(),
            settling: Vec::new(),
        }
    }

    /// Promises `id` at least `need`, all or nothing. What it was promised before is part of it.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn hold(
        &mut self,
        id: UploadId,
        repository: &RepositoryName,
        need: Need,
    ) -> Result<(), Exceeded> {
        let held = self.try_hold(id, repository, need);
        let held = match held {
            Err(_) if self.drop_rested(Some(id)) => self.try_hold(id, repository, need),
            held => held,
        };
        held.map_err(|mut e| {
            // Its own promise is part of what it needs, not of what others use.
            let had = self.held.get(&id).map(|h| h.need).unwrap_or_default();
            let had = match e.scope {
                Scope::Total => had.total,
                Scope::Repository(_) | Scope::Together(_) => had.repository,
            };
            e.used -= had;
            e.wanted += had;
            e
        })
    }

    fn try_hold(
        &mut self,
        id: UploadId,
        repository: &RepositoryName,
        need: Need,
    ) -> Result<(), Exceeded> {
        let had = self.held.get(&id).map(|h| h.need).unwrap_or_default();
        let more = Need {
            repository: need.repository.saturating_sub(had.repository),
            total: need.total.saturating_sub(had.total),
        };
        self.total
            .check(more.total, self.quotas.total, || Scope::Total)?;
        let name = repository.as_str();
        if let Some((at, rule)) = self.quotas.rule(name) {
            let own = self.repositories.get(name).copied().unwrap_or_default();
            own.check(more.repository, rule.each, || {
                Scope::Repository(name.to_owned())
            })?;
            self.rules[at].check(more.repository, rule.together, || {
                Scope::Together(rule.repository.clone())
            })?;
        }
        self.set_held(
            id,
            repository,
            Need {
                repository: had.repository + more.repository,
                total: had.total + more.total,
            },
            None,
        );
        Ok(())
    }

    /// Nobody works on `id` for now: of its repository it keeps what it was promised of
    /// `repository` bytes, for a time, and in all the bytes that lie there.
    pub fn rest(&mut self, id: UploadId, repository: u64, on_disk: u64, now: Instant) {
        if let Some(held) = self.held.get(&id) {
            let (name, had) = (held.repository.clone(), held.need);
            let need = Need {
                repository: repository.min(had.repository),
                total: on_disk,
            };
            self.set_held(id, &name, need, Some(now));
        }
    }

    /// An upload from before the start lies there with so many bytes.
    pub fn found(&mut self, id: UploadId, repository: &RepositoryName, on_disk: u64) {
        let need = Need {
            repository: 0,
            total: on_disk,
        };
        self.set_held(id, repository, need, None);
    }

    /// Takes back what `id` was promised.
    pub fn release(&mut self, id: UploadId) {
        if let Some(held) = self.held.get(&id) {
            let repository = held.repository.clone();
            self.set_held(id, &repository, Need::default(), None);
            self.held.remove(&id);
        }
    }

    /// Whether `need` more fits beside what is used, and what this transaction adds before: where
    /// others promise room too, of which nothing is known here, this alone decides.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn fits(&self, repository: &RepositoryName, need: Need) -> Result<(), Exceeded> {
        let name = repository.as_str();
        let rule = self.quotas.rule(name);
        let (mut total, mut own, mut together) = (0_u64, 0_u64, 0_u64);
        for held in self.settling.iter().filter_map(|id| self.held.get(id)) {
            total += held.need.total;
            let other = held.repository.as_str();
            if other == name {
                own += held.need.repository;
            }
            if self.quotas.rule(other).map(|(at, _)| at) == rule.map(|(at, _)| at) {
                together += held.need.repository;
            }
        }
        let with = |used: u64, held: u64| Sum { used, held };
        with(self.total.used, total).check(need.total, self.quotas.total, || Scope::Total)?;
        if let Some((at, rule)) = rule {
            let used = self.repositories.get(name).map_or(0, |sum| sum.used);
            with(used, own).check(need.repository, rule.each, || {
                Scope::Repository(name.to_owned())
            })?;
            with(self.rules[at].used, together).check(need.repository, rule.together, || {
                Scope::Together(rule.repository.clone())
            })?;
        }
        Ok(())
    }

    /// What `id` was promised becomes use with the transaction that is being written.
    pub fn commit(&mut self, id: UploadId) {
        self.settling.push(id);
    }

    /// The transaction is on disk, and these are its changes; or it failed, without any.
    pub fn settle(&mut self, changes: Vec<UsageChange>) {
        for change in changes {
            match change.repository {
                None => self.total.used = change.bytes,
                Some(name) => self.set_used(name, change.bytes),
            }
        }
        for id in std::mem::take(&mut self.settling) {
            self.release(id);
        }
    }

    fn set_used(&mut self, name: String, bytes: u64) {
        let Some((at, _)) = self.quotas.rule(&name) else {
            return;
        };
        let name = name.into_boxed_str();
        let own = self.repositories.entry(name.clone()).or_default();
        let rule = &mut self.rules[at];
        rule.used = (rule.used - own.used).saturating_add(bytes);
        own.used = bytes;
        if own.used == 0 && own.held == 0 {
            self.repositories.remove(&name);
        }
    }

    fn set_held(
        &mut self,
        id: UploadId,
        repository: &RepositoryName,
        need: Need,
        resting: Option<Instant>,
    ) {
        let held = Held {
            repository: repository.clone(),
            need,
            resting,
        };
        let had = self
            .held
            .insert(id, held)
            .map(|h| h.need)
            .unwrap_or_default();
        self.total.held = self.total.held - had.total + need.total;
        let name = repository.as_str();
        if let Some((at, _)) = self.quotas.rule(name) {
            let own = self.repositories.entry(name.into()).or_default();
            for sum in [&mut *own, &mut self.rules[at]] {
                sum.held = sum.held - had.repository + need.repository;
            }
            if own.used == 0 && own.held == 0 {
                self.repositories.remove(name);
            }
        }
    }

    /// Drops what was promised of repositories to uploads that have rested for too long, but for
    /// one; whether there was any.
    pub fn drop_rested(&mut self, but: Option<UploadId>) -> bool {
        let rested: Vec<(UploadId, RepositoryName, u64)> = self
            .held
            .iter()
            .filter(|(id, held)| {
                Some(**id) != but && held.resting.is_some_and(|s| s.elapsed() >= REST)
            })
            .map(|(id, held)| (*id, held.repository.clone(), held.need.total))
            .collect();
        for (id, repository, on_disk) in &rested {
            if *on_disk == 0 {
                self.release(*id);
            } else {
                self.found(*id, repository, *on_disk);
            }
        }
        !rested.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(repository: &str, each: Option<u64>, together: Option<u64>) -> Quota {
        Quota {
            repository: repository.to_owned(),
            each,
            together,
        }
    }

    fn need(bytes: u64) -> Need {
        Need {
            repository: bytes,
            total: bytes,
        }
    }

    fn used(repository: Option<&str>, bytes: u64) -> UsageChange {
        UsageChange {
            repository: repository.map(str::to_owned),
            bytes,
        }
    }

    #[test]
    fn the_first_rule_counts_and_every_limit_is_told() {
        let mut ledger = Ledger::new(Quotas {
            rules: vec![
                quota("team/big", Some(100), None),
                quota("team/**", Some(10), Some(15)),
            ],
            total: Some(50),
        });
        let mut hold = |name: &str, bytes| {
            let id = UploadId::random();
            ledger
                .hold(id, &name.parse().unwrap(), need(bytes))
                .map_err(|e| e.scope)
        };
        assert_eq!(
            hold("team/a", 11),
            Err(Scope::Repository("team/a".to_owned()))
        );
        assert_eq!(hold("team/a", 10), Ok(()));
        assert_eq!(
            hold("team/b", 6),
            Err(Scope::Together("team/**".to_owned()))
        );
        assert_eq!(hold("team/b", 5), Ok(()));
        assert_eq!(hold("team/big", 30), Ok(()));
        assert_eq!(hold("elsewhere", 6), Err(Scope::Total));
        assert_eq!(hold("elsewhere", 5), Ok(()));
        assert_eq!(hold("elsewhere", 0), Ok(()));
    }

    #[test]
    fn a_promise_becomes_use_at_once_and_rest_ends() {
        let mut ledger = Ledger::new(Quotas {
            rules: vec![quota("a", Some(10), None)],
            total: None,
        });
        let name: RepositoryName = "a".parse().unwrap();
        let (first, second) = (UploadId::random(), UploadId::random());
        ledger.hold(first, &name, need(6)).unwrap();
        ledger.hold(first, &name, need(4)).unwrap();
        ledger.commit(first);
        let error = ledger.hold(second, &name, need(5)).unwrap_err();
        assert_eq!((error.used, error.wanted), (6, 5));
        ledger.settle(vec![used(Some("a"), 6)]);
        ledger.hold(second, &name, need(4)).unwrap();
        let past = Instant::now().checked_sub(REST).unwrap();
        ledger.rest(second, 4, 4, past);
        ledger.hold(UploadId::random(), &name, need(4)).unwrap();
        ledger.hold(second, &name, need(1)).unwrap_err();
        // A lowered limit takes nothing away, and lets nothing more in.
        ledger.settle(vec![used(Some("a"), 60)]);
        ledger.hold(second, &name, need(1)).unwrap_err();
        ledger.hold(second, &name, need(0)).unwrap();
    }

    #[test]
    fn what_lies_on_the_disk_counts_in_all_until_it_goes() {
        let mut ledger = Ledger::new(Quotas {
            rules: vec![quota("a", Some(10), None)],
            total: Some(12),
        });
        let name: RepositoryName = "a".parse().unwrap();
        let (found, rested, third) = (UploadId::random(), UploadId::random(), UploadId::random());
        ledger.found(found, &name, 5);
        ledger.hold(rested, &name, need(4)).unwrap();
        let past = Instant::now().checked_sub(REST).unwrap();
        ledger.rest(rested, 4, 4, past);
        assert!(ledger.drop_rested(None));
        assert!(!ledger.drop_rested(None));
        let error = ledger.hold(third, &name, need(4)).unwrap_err();
        assert_eq!((error.scope, error.used), (Scope::Total, 9));
        ledger.hold(third, &name, need(3)).unwrap();
        // What it has counts for what it needs.
        ledger.hold(found, &name, need(5)).unwrap();
        ledger.release(rested);
        ledger.hold(third, &name, need(5)).unwrap();
    }

    proptest! {
        /// Whatever happens, use never passes a limit, and at the end nothing is held.
        #[test]
        fn use_and_promises_never_pass_a_limit(
            steps in prop::collection::vec((0..4usize, 0..6usize, 0..8u64), 1..80)
        ) {
            let quotas = Quotas { rules: vec![quota("**", Some(12), Some(20))], total: Some(30) };
            let mut ledger = Ledger::new(quotas);
            let names: [RepositoryName; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
            let ids: Vec<UploadId> = (0..6).map(|_| UploadId::random()).collect();
            let mut held = [0; 6];
            let mut stored = [0; 2];
            for (what, upload, bytes) in steps {
                let (id, at) = (ids[upload], upload % 2);
                match what {
                    0 => if ledger.hold(id, &names[at], need(bytes)).is_ok() {
                        held[upload] = held[upload].max(bytes);
                    },
                    1 => {
                        held[upload] = held[upload].min(bytes);
                        ledger.rest(id, bytes, held[upload], Instant::now());
                    }
                    2 => { ledger.release(id); held[upload] = 0; }
                    _ => {
                        stored[at] += held[upload];
                        ledger.commit(id);
                        held[upload] = 0;
                        ledger.settle(vec![
                            used(Some(names[at].as_str()), stored[at]),
                            used(None, stored[0] + stored[1]),
                        ]);
                    }
                }
                let sum = |at: usize| -> u64 {
                    stored[at] + held.iter().skip(at).step_by(2).sum::<u64>()
                };
                prop_assert!(sum(0) <= 12 && sum(1) <= 12 && sum(0) + sum(1) <= 20);
                prop_assert_eq!(ledger.rules[0].used, stored[0] + stored[1]);
                prop_assert_eq!(ledger.rules[0].held, held.iter().sum::<u64>());
                prop_assert_eq!(ledger.total.held, held.iter().sum::<u64>());
            }
        }
    }
}
