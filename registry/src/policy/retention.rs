//! How long tags are kept.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::pattern::matches;

/// How long tags and manifests are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The repositories, as a pattern.
    pub repository: String,
    /// So many tags that were pushed last are kept; what belongs to images does not count.
    #[serde(default)]
    pub keep_newest: Option<usize>,
    /// Tags pushed within this time are kept.
    #[serde(default, deserialize_with = "duration")]
    pub keep_pushed_within: Option<Duration>,
    /// Tags pulled or pushed within this time are kept.
    #[serde(default, deserialize_with = "duration")]
    pub keep_pulled_within: Option<Duration>,
    /// Tags of these patterns are kept.
    #[serde(default)]
    pub keep_tags: Vec<String>,
    /// Manifests without tag go this long after they lost the last one (or were pushed, when they
    /// never had any), unless an index lists them or they refer to a manifest that is there.
    #[serde(default, deserialize_with = "duration")]
    pub delete_untagged_after: Option<Duration>,
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d)?;
    crate::units::duration(&text).map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no time: a number and a unit, such as 15m, 24h or 7d"
        ))
    })
}

/// A tag, what it points to, and when it was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagAge {
    /// The tag.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The digest of the manifest of the same repository that its own refers to, if there is one.
    pub subject: Option<String>,
    /// When it was last pushed, in seconds since 1970.
    pub pushed_at: i64,
    /// Its place in the order of all pushes.
    pub sequence: i64,
    /// When its manifest was last pulled, if ever.
    pub pulled_at: Option<i64>,
}

impl TagAge {
    /// When it was last pushed or pulled, in seconds since 1970.
    fn used_at(&self) -> i64 {
        self.pulled_at
            .map_or(self.pushed_at, |at| at.max(self.pushed_at))
    }
}

impl Retention {
    /// Which of a repository's tags go at `now`, those pushed last first. None, when no rule says
    /// which are kept: a rule that keeps nothing is a mistake. The tags of what belongs to images
    /// are not to be among them.
    pub fn expired<'a>(&self, tags: &[&'a TagAge], now: i64) -> Vec<&'a TagAge> {
        let says_nothing = self.keep_newest.is_none()
            && self.keep_pushed_within.is_none()
            && self.keep_pulled_within.is_none()
            && self.keep_tags.is_empty();
        if says_nothing {
            return Vec::new();
        }
        let mut newest = tags.to_vec();
        newest.sort_by_key(|tag| std::cmp::Reverse(tag.sequence));
        let within = |time: i64, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_sub(time) <= seconds(limit))
        };
        newest
            .into_iter()
            .enumerate()
            .filter(|(at, tag)| {
                let kept = self.keep_newest.is_some_and(|n| *at < n)
                    || within(tag.pushed_at, self.keep_pushed_within)
                    || within(tag.used_at(), self.keep_pulled_within)
                    || self.keeps_tag(&tag.name);
                !kept
            })
            .map(|(_, tag)| tag)
            .collect()
    }

    /// Whether a tag is kept for its name.
    pub fn keeps_tag(&self, tag: &str) -> bool {
        self.keep_tags.iter().any(|pattern| matches(pattern, tag))
    }
}

/// A time as the database counts it.
pub fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of pushes in the order of their times.
    fn tag(name: &str, pushed_at: i64, pulled_at: Option<i64>) -> TagAge {
        TagAge {
            name: name.to_owned(),
            digest: format!("sha256:{name}"),
            subject: None,
            pushed_at,
            sequence: pushed_at,
            pulled_at,
        }
    }

    #[test]
    fn what_no_rule_keeps_goes() {
        let tags = [
            tag("v1", 100, None),
            tag("v2", 200, Some(990)),
            tag("v3", 300, None),
            tag("latest", 50, Some(20)),
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
                // v3 was pushed 700 s ago and never pulled: its push counts.
                Retention {
                    keep_pulled_within: time(700),
                    ..rule()
                },
                &["v1", "latest"],
            ),
            (
                // latest was pulled 980 s ago, and pushed again after that.
                Retention {
                    keep_pulled_within: time(950),
                    ..rule()
                },
                &[],
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
                .expired(&tags.each_ref(), 1000)
                .iter()
                .map(|t| t.name.as_str())
                .collect();
            assert_eq!(gone, expected, "{rule:?}");
        }
    }

    #[test]
    fn pushes_within_one_second_keep_their_order() {
        let mut tags = ["z", "b", "a"].map(|name| tag(name, 100, None));
        for (tag, sequence) in tags.iter_mut().zip(7..) {
            tag.sequence = sequence;
        }
        // A clock that was set back does not make a push older than those before.
        tags[2].pushed_at = 50;
        let rule = Retention {
            keep_newest: Some(2),
            ..Retention::default()
        };
        let gone = rule.expired(&tags.each_ref(), 1000);
        assert_eq!(gone.iter().map(|t| &t.name).collect::<Vec<_>>(), ["z"]);
    }
}
