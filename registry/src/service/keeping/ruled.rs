//! A repository with the rule that is about it.

use std::sync::Arc;

use crate::name::RepositoryName;
use crate::policy::{Policy, Retention};

/// A repository that a rule is about.
#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) id: i64,
    pub(super) name: RepositoryName,
    pub(super) rule: Retention,
    pub(super) policy: Arc<Policy>,
}

impl Ruled {
    /// Whether a tag stays for its name.
    pub(super) fn keeps(&self, tag: &str) -> bool {
        self.rule.keeps_tag(tag) || self.policy.is_immutable(self.name.as_str(), tag)
    }
}
