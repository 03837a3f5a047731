//! All rules, and which of them is about what.

use serde::Deserialize;

use super::retention::Retention;
use crate::pattern::matches;
use crate::quota::Quotas;

/// Tags that never move and are never deleted through the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Immutable {
    /// The repositories, as a pattern.
    pub repository: String,
    /// The tags, as a pattern.
    #[serde(default = "all")]
    pub tags: String,
}

fn all() -> String {
    "**".to_owned()
}

/// No tag would be immutable any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tag would be immutable any more: that needs a restart")]
pub struct NoneImmutable;

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Tags that never move.
    pub immutable: Vec<Immutable>,
    /// How long the others are kept; the first rule for a repository counts.
    pub retention: Vec<Retention>,
    /// How much may be stored.
    pub quotas: Quotas,
    /// An index may list manifests that are not there.
    pub sparse_indexes: bool,
    /// What the index of a tag lists may be deleted.
    pub delete_needed: bool,
    /// Clients whose requests are no pulls, as patterns of what they call themselves.
    pub no_pulls: Vec<String>,
}

impl Policy {
    /// The same with other rules for tags.
    ///
    /// # Errors
    /// [`NoneImmutable`] when none of those that kept tags in place is left: half a file of
    /// settings says that too.
    pub fn with_rules(
        &self,
        immutable: Vec<Immutable>,
        retention: Vec<Retention>,
    ) -> Result<Self, NoneImmutable> {
        if immutable.is_empty() && !self.immutable.is_empty() {
            return Err(NoneImmutable);
        }
        Ok(Self {
            immutable,
            retention,
            ..self.clone()
        })
    }

    /// Whether a tag may neither move nor go.
    pub fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        self.immutable
            .iter()
            .any(|rule| matches(&rule.repository, repository) && matches(&rule.tags, tag))
    }

    /// Whether a repository may have tags that neither move nor go.
    pub fn has_immutable(&self, repository: &str) -> bool {
        self.immutable
            .iter()
            .any(|rule| matches(&rule.repository, repository))
    }

    /// Patterns of a repository's tags that neither move nor go.
    pub fn immutable_tags(&self, repository: &str) -> Vec<String> {
        let rules = self.immutable.iter();
        let own = rules.filter(|rule| matches(&rule.repository, repository));
        own.map(|rule| rule.tags.clone()).collect()
    }

    /// Whether it is a pull when a client that calls itself `agent` asks for a manifest. In these
    /// patterns `*` is anything, and capitals are as good as small letters.
    pub fn is_pull(&self, agent: &str) -> bool {
        let agent = agent.to_ascii_lowercase();
        !self.no_pulls.iter().any(|pattern| {
            let pattern = pattern.to_ascii_lowercase().replace('*', "**");
            matches(&pattern, &agent)
        })
    }

    /// The rule that says how long a repository's tags are kept.
    pub fn retention(&self, repository: &str) -> Option<&Retention> {
        self.retention
            .iter()
            .find(|rule| matches(&rule.repository, repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immutable_tags_are_told_by_both_patterns() {
        let policy = Policy {
            immutable: vec![Immutable {
                repository: "prod/**".into(),
                tags: "v*".into(),
            }],
            ..Policy::default()
        };
        assert!(policy.is_immutable("prod/app", "v1.2"));
        assert!(!policy.is_immutable("prod/app", "latest"));
        assert!(!policy.is_immutable("dev/app", "v1.2"));
    }

    #[test]
    fn some_clients_only_look() {
        let policy = Policy {
            no_pulls: vec!["trivy/*".into(), "*Scanner*".into()],
            ..Policy::default()
        };
        for (agent, pull) in [
            ("docker/28.0.1 go/go1.23 kernel/6.1", true),
            ("", true),
            ("trivy/0.50.1", false),
            ("Trivy/0.50.1 (linux/amd64)", false),
            ("my-trivy/1", true),
            ("acme/scanner/2", false),
        ] {
            assert_eq!(policy.is_pull(agent), pull, "{agent}");
        }
    }
}
