//! What happens by rule: which tags never move, which go after a time, how much may be stored.
//! Pure.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

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

/// How long tags and manifests are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The repositories, as a pattern.
    pub repository: String,
    /// So many tags that were pushed last are kept.
    #[serde(default)]
    pub keep_newest: Option<usize>,
    /// Tags pushed within this time are kept.
    #[serde(default, deserialize_with = "duration")]
    pub keep_pushed_within: Option<Duration>,
    /// Tags pulled within this time are kept.
    #[serde(default, deserialize_with = "duration")]
    pub keep_pulled_within: Option<Duration>,
    /// Tags of these patterns are kept.
    #[serde(default)]
    pub keep_tags: Vec<String>,
    /// Manifests without tag go this long after they were pushed, unless an index lists them or
    /// they refer to a manifest that is there.
    #[serde(default, deserialize_with = "duration")]
    pub delete_untagged_after: Option<Duration>,
}

fn all() -> String {
    "**".to_owned()
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    crate::units::duration(&text).map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no time: a number and a unit, such as 15m, 24h or 7d"
        ))
    })
}

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
}

/// A tag, and when it was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagAge {
    /// The tag.
    pub name: String,
    /// When it was last pushed, in seconds since 1970.
    pub pushed_at: i64,
    /// When it was last pulled, if ever.
    pub pulled_at: Option<i64>,
}

impl Policy {
    /// Whether a tag may neither move nor go.
    pub fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        self.immutable
            .iter()
            .any(|rule| matches(&rule.repository, repository) && matches(&rule.tags, tag))
    }

    /// The rule that says how long a repository's tags are kept.
    pub fn retention(&self, repository: &str) -> Option<&Retention> {
        self.retention
            .iter()
            .find(|rule| matches(&rule.repository, repository))
    }
}

impl Retention {
    /// Which of a repository's tags go at `now`. None, when no rule says which are kept: a rule
    /// that keeps nothing is a mistake.
    pub fn expired<'a>(&self, tags: &'a [TagAge], now: i64) -> Vec<&'a TagAge> {
        let says_nothing = self.keep_newest.is_none()
            && self.keep_pushed_within.is_none()
            && self.keep_pulled_within.is_none()
            && self.keep_tags.is_empty();
        if says_nothing {
            return Vec::new();
        }
        let mut newest: Vec<&TagAge> = tags.iter().collect();
        newest.sort_by(|a, b| (b.pushed_at, &b.name).cmp(&(a.pushed_at, &a.name)));
        let within = |time: Option<i64>, limit: Option<Duration>| {
            matches!((time, limit), (Some(time), Some(limit))
                if now.saturating_sub(time) <= seconds(limit))
        };
        newest
            .into_iter()
            .enumerate()
            .filter(|(at, tag)| {
                let kept = self.keep_newest.is_some_and(|n| *at < n)
                    || within(Some(tag.pushed_at), self.keep_pushed_within)
                    || within(tag.pulled_at, self.keep_pulled_within)
                    || self.keep_tags.iter().any(|p| matches(p, &tag.name));
                !kept
            })
            .map(|(_, tag)| tag)
            .collect()
    }
}

/// A time as the database counts it.
pub fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, pushed_at: i64, pulled_at: Option<i64>) -> TagAge {
        TagAge {
            name: name.to_owned(),
            pushed_at,
            pulled_at,
        }
    }

    #[test]
    fn what_no_rule_keeps_goes() {
        let tags = [
            tag("v1", 100, None),
            tag("v2", 200, Some(990)),
            tag("v3", 300, None),
            tag("latest", 50, None),
        ];
        let time = |s| Some(Duration::from_secs(s));
        let rule = Retention::default;
        for (rule, expected) in [
            (rule(), &[][..]),
            (
                Retention {
                    keep_newest: Some(0),
                    ..rule()
                },
                &["v3", "v2", "v1", "latest"],
            ),
            (
                Retention {
                    keep_newest: Some(2),
                    ..rule()
                },
                &["v1", "latest"],
            ),
            (
                Retention {
                    keep_newest: Some(9),
                    ..rule()
                },
                &[],
            ),
            (
                Retention {
                    keep_pushed_within: time(800),
                    ..rule()
                },
                &["v1", "latest"],
            ),
            (
                Retention {
                    keep_pulled_within: time(10),
                    ..rule()
                },
                &["v3", "v1", "latest"],
            ),
            (
                Retention {
                    keep_tags: vec!["latest".into()],
                    ..rule()
                },
                &["v3", "v2", "v1"],
            ),
            (
                Retention {
                    keep_newest: Some(1),
                    keep_tags: vec!["late*".into()],
                    ..rule()
                },
                &["v2", "v1"],
            ),
            (
                Retention {
                    delete_untagged_after: time(1),
                    ..rule()
                },
                &[],
            ),
        ] {
            let gone: Vec<&str> = rule
                .expired(&tags, 1000)
                .iter()
                .map(|t| t.name.as_str())
                .collect();
            assert_eq!(gone, expected, "{rule:?}");
        }
    }

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
}
