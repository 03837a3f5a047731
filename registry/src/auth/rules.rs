//! Access rules: which users may do what in which repositories. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::identity::Identity;
use crate::pattern::matches;

/// Everybody who is logged in.
const EVERYBODY: &str = "*";
/// Also those who are not.
const ANONYMOUS: &str = "anonymous";

/// What can be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Bring manifests and blobs.
    Push,
    /// Take manifests, tags and blobs away.
    Delete,
    /// All of that.
    Admin,
}

impl Access {
    /// The action's name in Docker's scopes.
    pub fn action(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Admin => "*",
        }
    }

    /// The same as a verb for people, before a repository's name.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
            Self::Delete => "delete from",
            Self::Admin => "do everything in",
        }
    }

    /// The same as a noun for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pull => "pulling from",
            Self::Push => "pushing to",
            Self::Delete => "deleting from",
            Self::Admin => "everything in",
        }
    }
}

/// One rule of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The repositories, as a pattern: `*` stands for anything within a part of a name, `**` for
    /// anything across parts.
    pub repository: String,
    /// Users by name; `*` for everybody logged in, `anonymous` for everybody.
    #[serde(default)]
    pub users: Vec<String>,
    /// Groups by name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What they may do.
    pub allow: Vec<Access>,
}

/// Names that somebody may be let see, as far as a pattern's beginning tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// All that begin so.
    Prefix(String),
    /// This one.
    Name(String),
}

impl Reach {
    /// What a pattern of names can match.
    pub fn of(pattern: &str) -> Self {
        match pattern.split_once('*') {
            Some((prefix, _)) => Self::Prefix(prefix.to_owned()),
            None => Self::Name(pattern.to_owned()),
        }
    }

    /// The first and the last name within reach, in byte order: no name has a tilde.
    pub fn bounds(&self) -> (String, String) {
        match self {
            Self::Prefix(prefix) => (prefix.clone(), format!("{prefix}~")),
            Self::Name(name) => (name.clone(), name.clone()),
        }
    }
}

/// All rules. Each only adds to what may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Compiled>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiled {
    repository: String,
    users: HashSet<String>,
    allow: Vec<Access>,
}

impl Rules {
    /// Rules with their groups resolved. None at all let everybody who is logged in do everything.
    pub fn new(rules: &[Rule], groups: &BTreeMap<String, Vec<String>>) -> Self {
        if rules.is_empty() {
            return Self(vec![Compiled {
                repository: "**".into(),
                users: HashSet::from([EVERYBODY.into()]),
                allow: vec![Access::Admin],
            }]);
        }
        Self(
            rules
                .iter()
                .map(|rule| Compiled {
                    repository: rule.repository.clone(),
                    users: rule
                        .groups
                        .iter()
                        .filter_map(|group| groups.get(group))
                        .flatten()
                        .chain(&rule.users)
                        .cloned()
                        .collect(),
                    allow: rule.allow.clone(),
                })
                .collect(),
        )
    }

    /// Whether anything is for those who are not logged in.
    pub fn are_for_anonymous(&self) -> bool {
        self.0.iter().any(|rule| rule.users.contains(ANONYMOUS))
    }

    /// Whether `identity` may do `access` in `repository`.
    pub fn allow(&self, identity: &Identity, repository: &str, access: Access) -> bool {
        self.0
            .iter()
            .any(|rule| rule.lets(identity, access) && matches(&rule.repository, repository))
    }

    /// Whether `identity` may do everything in every repository.
    pub fn operates(&self, identity: &Identity) -> bool {
        self.0
            .iter()
            .any(|rule| rule.repository == "**" && rule.lets(identity, Access::Admin))
    }

    /// Where repositories may be in which `identity` may do `access`; nowhere else.
    pub fn reach(&self, identity: &Identity, access: Access) -> Vec<Reach> {
        let rules = self.0.iter().filter(|rule| rule.lets(identity, access));
        rules.map(|rule| Reach::of(&rule.repository)).collect()
    }
}

impl Compiled {
    /// Whether it lets `identity` do `access` in some repository.
    fn lets(&self, identity: &Identity, access: Access) -> bool {
        let who = self.users.contains(ANONYMOUS)
            || match identity {
                Identity::Anonymous => false,
                Identity::User(user) => {
                    self.users.contains(EVERYBODY) || self.users.contains(&**user)
                }
            };
        who && (self.allow.contains(&access) || self.allow.contains(&Access::Admin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Identity {
        Identity::User(name.into())
    }

    #[test]
    fn without_rules_everybody_logged_in_may_do_everything() {
        let rules = Rules::new(&[], &BTreeMap::new());
        for access in [Access::Pull, Access::Push, Access::Delete, Access::Admin] {
            assert!(rules.allow(&user("a"), "x/y", access));
            assert!(!rules.allow(&Identity::Anonymous, "x/y", access));
        }
    }

    #[test]
    fn rules_add_up() {
        use Access::{Delete, Pull, Push};
        let rule = |repository: &str, users: &[&str], groups: &[&str], allow: &[Access]| Rule {
            repository: repository.into(),
            users: users.iter().map(|u| (*u).to_owned()).collect(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            allow: allow.to_vec(),
        };
        let groups = BTreeMap::from([("devs".to_owned(), vec!["dora".to_owned()])]);
        let rules = Rules::new(
            &[
                rule("public/**", &["anonymous"], &[], &[Pull]),
                rule("team/**", &["*"], &[], &[Pull]),
                rule("team/**", &[], &["devs"], &[Push]),
                rule("**", &["root"], &[], &[Access::Admin]),
            ],
            &groups,
        );
        for (who, repository, access, allowed) in [
            (Identity::Anonymous, "public/a", Pull, true),
            (Identity::Anonymous, "public/a", Push, false),
            (Identity::Anonymous, "team/a", Pull, false),
            (user("eve"), "public/a", Pull, true),
            (user("eve"), "team/a", Pull, true),
            (user("eve"), "team/a", Push, false),
            (user("dora"), "team/a", Push, true),
            (user("dora"), "team/a", Delete, false),
            (user("dora"), "other", Pull, false),
            (user("root"), "other", Delete, true),
            // A user who is called what the rules call everybody is nobody special.
            (user("anonymous"), "team/a", Push, false),
        ] {
            assert_eq!(
                rules.allow(&who, repository, access),
                allowed,
                "{who:?} {repository}"
            );
        }
    }

    #[test]
    fn names_out_of_reach_are_not_looked_at() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (pattern, name, expected) in [
            ("team/app", "team/app", Equal),
            ("team/app", "team/app2", Greater),
            ("team/app", "team/ap", Less),
            ("team/**", "team/a/b", Equal),
            ("team/**", "team", Less),
            ("team/**", "team0", Greater),
            ("team*", "team-a", Equal),
            ("**", "z/z", Equal),
            ("*/app", "a/app", Equal),
        ] {
            let (first, last) = Reach::of(pattern).bounds();
            let place = if name < first.as_str() {
                Less
            } else if name > last.as_str() {
                Greater
            } else {
                Equal
            };
            assert_eq!(place, expected, "{pattern} {name}");
        }
    }
}
