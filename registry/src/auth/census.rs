//! Who came and went of those that files know, since they were last looked at: whatever program
//! changed the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::sync::lock;

/// What became of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a user of this name.
    UserAdded(String),
    /// There is no user of this name any more.
    UserRemoved(String),
    /// A user has another password.
    PasswordChanged(String),
    /// There is a personal token of this ID, for this user.
    TokenMade(String, String),
    /// There is none of this ID any more; it was this user's.
    TokenRevoked(String, String),
}

/// Users with what their passwords are, hashed, and IDs of tokens with their users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// By name.
    pub(super) users: BTreeMap<String, [u8; 32]>,
    /// By ID.
    pub(super) tokens: BTreeMap<String, String>,
}

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Census {
    seen: Mutex<Option<Seen>>,
    /// Tokens whose coming or going was told by whoever did it.
    told: Mutex<BTreeSet<String>>,
}

impl Census {
    /// Whoever makes or revokes this token says so.
    pub(super) fn tells(&self, id: &str) {
        lock(&self.told).insert(id.to_owned());
    }

    /// What changed since the last look; nothing at the first one.
    pub(super) fn look(&self, now: Seen) -> Vec<Change> {
        let Some(before) = lock(&self.seen).replace(now.clone()) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        for (name, password) in &now.users {
            match before.users.get(name) {
                None => changes.push(Change::UserAdded(name.clone())),
                Some(other) if other != password => {
                    changes.push(Change::PasswordChanged(name.clone()));
                }
                Some(_) => {}
            }
        }
        let gone = before.users.keys().filter(|n| !now.users.contains_key(*n));
        changes.extend(gone.cloned().map(Change::UserRemoved));
        let mut told = lock(&self.told);
        for (id, user) in &now.tokens {
            if !before.tokens.contains_key(id) && !told.remove(id) {
                changes.push(Change::TokenMade(id.clone(), user.clone()));
            }
        }
        for (id, user) in &before.tokens {
            if !now.tokens.contains_key(id) && !told.remove(id) {
                changes.push(Change::TokenRevoked(id.clone(), user.clone()));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_once() {
        let seen = |users: &[(&str, u8)], tokens: &[&str]| Seen {
            users: users
                .iter()
                .map(|(name, password)| ((*name).to_owned(), [*password; 32]))
                .collect(),
            tokens: tokens
                .iter()
                .map(|id| ((*id).to_owned(), "alice".to_owned()))
                .collect(),
        };
        let census = Census::default();
        let first = seen(&[("alice", 1), ("bob", 1)], &["a", "b"]);
        assert_eq!(census.look(first.clone()), []);
        assert_eq!(census.look(first), []);
        census.tells("b");
        census.tells("d");
        let second = seen(&[("alice", 2), ("carol", 1)], &["c", "d"]);
        let alice = || "alice".to_owned();
        assert_eq!(
            census.look(second.clone()),
            [
                Change::PasswordChanged(alice()),
                Change::UserAdded("carol".into()),
                Change::UserRemoved("bob".into()),
                Change::TokenMade("c".into(), alice()),
                Change::TokenRevoked("a".into(), alice()),
            ]
        );
        assert_eq!(census.look(second), []);
    }
}
