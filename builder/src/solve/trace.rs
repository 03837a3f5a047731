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
    /// Remembers the key of a step.
    pub fn insert(&mut self, place: &str, key: StepKey) {
        self.keys.insert(place.to_owned(), key);
    }

    /// Why a step with `key` was not found in the cache; `None` where there is nothing to
    /// compare with. `flag` is what kept it from being looked up.
    pub fn explain(
        &self,
        place: &str,
        key: &StepKey,
        flag: Option<&'static str>,
    ) -> Option<String> {
        if let Some(flag) = flag {
            return Some(flag.to_owned());
        }
        let before = self.keys.get(place)?;
        Some(
            key.difference(before)
                .unwrap_or_else(|| "its record was removed".to_owned()),
        )
    }

    /// Adds the keys of a later build; what it did not reach stays.
    pub fn update(&mut self, later: Self) {
        self.keys.extend(later.keys);
    }
}
