//! `[[replicate]]`: what is brought where, and when. Pure.

use std::path::PathBuf;
use std::time::Duration;

use oci::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::mirror::settings::{Remote, Secret};
use crate::pattern::matches;
use crate::policy::is_companion;
use crate::units::duration;

/// Longest name of a rule.
const MAX_NAME: usize = 64;
/// The shortest time between two comparisons.
const SHORTEST: Duration = Duration::from_secs(1);

/// Which way images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From here to the other registry.
    Push,
    /// From the other registry to here.
    Pull,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Push => "push",
            Self::Pull => "pull",
        })
    }
}

/// One rule of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// Its name, in the log, in metrics, and for what is left to do on disk.
    pub name: String,
    /// Which way images go.
    pub direction: Direction,
    /// The other registry: `http[s]://host[:port][/prefix]`.
    pub url: String,
    /// Whether it rests for now.
    #[serde(default)]
    pub disabled: bool,
    /// The repositories, as patterns for their names where they come from.
    #[serde(default = "everything")]
    pub repositories: Vec<String>,
    /// Those of them that are left out, as patterns.
    #[serde(default)]
    pub except: Vec<String>,
    /// The tags, as patterns.
    #[serde(default = "everything")]
    pub tags: Vec<String>,
    /// What of a name is left away where images go.
    #[serde(default)]
    pub strip: String,
    /// What is put before a name where images go.
    #[serde(default)]
    pub prefix: String,
    /// Whether changes here are brought there at once; for pushes only.
    #[serde(default)]
    pub on_event: Option<bool>,
    /// How often both sides are compared.
    #[serde(default, deserialize_with = "time")]
    pub interval: Option<Duration>,
    /// Whether tags that the rule has brought go when they are gone where they came from.
    #[serde(default)]
    pub deletes: bool,
    /// Whether signatures and other referrers come along.
    #[serde(default = "yes")]
    pub referrers: bool,
    /// Whether repositories that are mirrored here are pushed too.
    #[serde(default)]
    pub mirrored: bool,
    /// Images on their way at once.
    #[serde(default = "at_once")]
    pub at_once: usize,
    /// Who we are there.
    #[serde(default)]
    pub username: Option<String>,
    /// With this password or access token.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Or with the one in this file.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates in PEM that are trusted beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether credentials may go over plain http, and certificates are not verified.
    #[serde(default)]
    pub insecure: bool,
    /// How long nothing may come.
    #[serde(default = "timeout", deserialize_with = "seconds")]
    pub timeout: Duration,
}

impl Replicate {
    /// Checks what its types do not.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub fn check(&self) -> Result<(), String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.bytes().all(fits) {
            return Err(format!(
                "a name is 1 to {MAX_NAME} letters, digits, dashes, dots and underscores"
            ));
        }
        self.remote().check()?;
        if !(1..=64).contains(&self.at_once) {
            return Err("at_once is a number from 1 to 64".to_owned());
        }
        if self.interval.is_some_and(|interval| interval < SHORTEST) {
            return Err("interval is 1s or longer".to_owned());
        }
        for (what, text) in [("strip", &self.strip), ("prefix", &self.prefix)] {
            if !text.is_empty() && !oci::reference::is_path(text.trim_matches('/')) {
                return Err(format!(
                    "{what} = {text:?} is no part of a repository's name"
                ));
            }
        }
        if self.direction == Direction::Pull {
            if self.on_event == Some(true) {
                return Err(
                    "on_event is for pushes: the other registry does not tell of changes; set \
                     interval"
                        .to_owned(),
                );
            }
            if self.interval.is_none() {
                return Err(
                    "a rule that pulls needs interval: how often the other registry is asked"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// The other registry, and who we are there.
    pub fn remote(&self) -> Remote<'_> {
        Remote {
            url: &self.url,
            username: self.username.as_deref(),
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
            insecure: self.insecure,
        }
    }

    /// Whether changes here are brought there at once.
    pub fn is_told(&self) -> bool {
        self.direction == Direction::Push && self.on_event.unwrap_or(true)
    }

    /// Whether it is about a repository, by the name that it has where it comes from.
    pub fn wants_repository(&self, name: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        any(&self.repositories) && !any(&self.except) && self.target(name).is_some()
    }

    /// Whether it is about a tag of those repositories by its patterns.
    pub fn wants_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|pattern| matches(pattern, tag))
    }

    /// Whether it may be about a tag or a manifest of those repositories: what belongs to an image
    /// comes along with it, and only with it.
    pub fn may_want(&self, reference: &str) -> bool {
        let belongs = reference.contains(':') || is_companion(reference);
        self.referrers && belongs || !reference.contains(':') && self.wants_tag(reference)
    }

    /// What a repository is called where it goes; `None` when `strip` is not a part of its name, or
    /// all of it.
    pub fn target(&self, source: &str) -> Option<String> {
        let strip = self.strip.trim_matches('/');
        let rest = match strip {
            "" => source,
            strip => source.strip_prefix(strip)?.strip_prefix('/')?,
        };
        let prefix = self.prefix.trim_matches('/');
        Some(match prefix {
            "" => rest.to_owned(),
            prefix => format!("{prefix}/{rest}"),
        })
    }

    /// The names that its patterns are, where none of them is a pattern.
    pub fn names(&self) -> Option<&[String]> {
        let plain = self.repositories.iter().all(|name| !name.contains('*'));
        plain.then_some(self.repositories.as_slice())
    }

    /// Another text when what was brought is not what the rule means any more.
    pub fn fingerprint(&self) -> String {
        let meant = (
            self.direction,
            &self.url,
            &self.repositories,
            &self.except,
            &self.tags,
            self.strip.trim_matches('/'),
            self.prefix.trim_matches('/'),
            (self.referrers, self.mirrored),
        );
        Digest::sha256(format!("{meant:?}").as_bytes()).to_string()
    }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    seconds(from).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no time: a number and a unit, such as 30s, 15m, 24h or 7d"
        ))
    })
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

fn yes() -> bool {
    true
}

fn at_once() -> usize {
    4
}

fn timeout() -> Duration {
    Duration::from_secs(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(more: &str) -> Replicate {
        let text = format!("name = \"a\"\nurl = \"https://x.example\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn names_are_mapped() {
        for (more, source, target) in [
            ("", "team/app", Some("team/app")),
            ("prefix = \"copy\"", "team/app", Some("copy/team/app")),
            ("prefix = \"copy/of/\"", "app", Some("copy/of/app")),
            ("strip = \"team\"", "team/app", Some("app")),
            ("strip = \"team\"", "teams/app", None),
            ("strip = \"team\"", "team", None),
            (
                "strip = \"/team/\"\nprefix = \"x\"",
                "team/a/b",
                Some("x/a/b"),
            ),
        ] {
            let rule = rule(&format!("direction = \"push\"\n{more}"));
            assert_eq!(rule.target(source).as_deref(), target, "{more} {source}");
        }
    }

    #[test]
    fn what_belongs_to_an_image_comes_with_it() {
        let signature = format!("sha256-{}.sig", "0".repeat(64));
        let referrer = format!("sha256:{}", "0".repeat(64));
        let all = rule("direction = \"push\"\ntags = [\"v*\"]\nrepositories = [\"team/**\"]");
        let alone = rule("direction = \"push\"\ntags = [\"v*\"]\nreferrers = false");
        for (reference, with, without) in [
            ("v1", true, true),
            ("latest", false, false),
            (&*signature, true, false),
            (&*referrer, true, false),
        ] {
            assert_eq!(all.may_want(reference), with, "{reference}");
            assert_eq!(alone.may_want(reference), without, "{reference}");
        }
        assert!(all.wants_repository("team/a") && !all.wants_repository("other/a"));
        let but = rule("direction = \"push\"\nexcept = [\"tmp/**\"]");
        assert!(but.wants_repository("a") && !but.wants_repository("tmp/a"));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (more, why) in [
            ("direction = \"pull\"", "needs interval"),
            (
                "direction = \"pull\"\ninterval = \"1m\"\non_event = true",
                "for pushes",
            ),
            ("direction = \"push\"\nat_once = 0", "at_once"),
            ("direction = \"push\"\nprefix = \"A\"", "prefix = \"A\""),
            ("direction = \"push\"\nusername = \"u\"", "go together"),
            ("direction = \"push\"\ninterval = \"0s\"", "1s or longer"),
        ] {
            let error = rule(more).check().unwrap_err();
            assert!(error.contains(why), "{more}: {error}");
        }
        let mut open = rule("direction = \"push\"\nusername = \"u\"\npassword = \"p\"");
        open.check().unwrap();
        open.url = "http://x.example".to_owned();
        assert!(open.check().unwrap_err().contains("plain http"));
        open.url = "x.example".to_owned();
        assert!(open.check().unwrap_err().contains("is no http"));
    }

    #[test]
    fn only_what_is_brought_makes_another_rule() {
        let first = rule("direction = \"push\"");
        let same = rule("direction = \"push\"\ninterval = \"1h\"\nat_once = 9\ndeletes = true");
        let other = rule("direction = \"push\"\nprefix = \"x\"");
        assert_eq!(first.fingerprint(), same.fingerprint());
        assert_ne!(first.fingerprint(), other.fingerprint());
    }
}
