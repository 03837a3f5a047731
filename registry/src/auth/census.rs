//! Who came and went of those that files know, since they were last looked at: whatever program
//! changed the files, also while the registry did not run. What was seen last stands in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::private_file;
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What stands in the file, and where that is.
    kept: Mutex<Option<Seen>>,
    file: Option<PathBuf>,
}

impl Census {
    /// As an earlier process left it in this file; nothing is known where it cannot be read.
    pub(super) fn of(file: PathBuf) -> Self {
        let text = std::fs::read(&file).ok();
        let kept: Option<Seen> = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            seen: Mutex::new(kept.clone()),
            kept: Mutex::new(kept),
            file: Some(file),
            told: Mutex::default(),
        }
    }

    /// Writes down what was seen last, if that is not what the file has.
    pub(super) fn keep(&self) -> io::Result<()> {
        let seen = lock(&self.seen).clone();
        let (Some(file), Some(seen)) = (&self.file, seen) else {
            return Ok(());
        };
        let mut kept = lock(&self.kept);
        if kept.as_ref() == Some(&seen) {
            return Ok(());
        }
        private_file::write(file, &serde_json::to_vec(&seen)?)?;
        *kept = Some(seen);
        Ok(())
    }

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

    #[test]
    fn what_changed_between_two_processes_is_told_by_the_second() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("people.json");
        let seen = |names: &[&str]| Seen {
            users: names.iter().map(|n| ((*n).to_owned(), [1; 32])).collect(),
            tokens: BTreeMap::new(),
        };
        let first = Census::of(file.clone());
        assert_eq!(first.look(seen(&["alice"])), []);
        first.keep().unwrap();
        let second = Census::of(file.clone());
        let added = Change::UserAdded("bob".to_owned());
        assert_eq!(second.look(seen(&["alice", "bob"])), vec![added.clone()]);
        // Killed before that was kept, it is told again.
        let third = Census::of(file.clone());
        assert_eq!(third.look(seen(&["alice", "bob"])), [added]);
        third.keep().unwrap();
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Census::of(file).look(seen(&["carol"])), []);
    }
}
