//! The keys of a build's steps, kept so that the next build can say why a step missed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::StepKey;

/// Keys by the place of their step: stage and position in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    keys: BTreeMap<String, StepKey>,
}

impl Trace {
    /// Remembers the key of a step, without the values that may be secrets.
    pub fn insert(&mut self, place: &str, key: &StepKey) {
        self.keys.insert(place.to_owned(), key.kept());
    }

    /// The key of the step at a place, if it was done.
    pub fn key(&self, place: &str) -> Option<&StepKey> {
        self.keys.get(place)
    }

    /// Adds the keys of a later build; what it did not reach stays.
    pub fn update(&mut self, later: Self) {
        self.keys.extend(later.keys);
    }
}
