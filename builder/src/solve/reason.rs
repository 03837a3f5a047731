//! Why a step was not found in the cache, in words and as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::files::listing::{Change, FileChange};

/// What stands for a value that is not told.
const HIDDEN: &str = "***";
/// So many files are named in a line.
const FEW: usize = 3;

/// Why a step was not found in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// No earlier build is known that has done this step.
    New,
    /// A flag says that it is not to be looked for.
    NoCache {
        /// `--no-cache` or `--no-cache-filter`.
        flag: String,
    },
    /// Nothing differs from the last build, but what it made is gone.
    Removed,
    /// It differs from what the last build did in its place.
    Changed {
        /// In what.
        differences: Vec<Difference>,
    },
}

/// In what a step differs from what the last build did in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// rbuild itself, whose keys mean something else now.
    Version,
    /// It is another instruction.
    Instruction,
    /// The layers that it is done to.
    Below {
        /// What made them: a step by its name, or `FROM` and an image.
        from: String,
    },
    /// The network or the hosts of RUN.
    Network,
    /// The command, as it was and as it is.
    Command {
        /// As a list in JSON.
        before: String,
        /// As a list in JSON.
        after: String,
    },
    /// ARG or ENV; `None` where it is not set.
    Variable {
        /// Its name.
        name: String,
        /// What it was.
        before: Option<String>,
        /// What it is.
        after: Option<String>,
    },
    /// Files that it takes, one by one.
    Files {
        /// Those that are told.
        changes: Vec<FileChange>,
        /// How many there are beside them.
        more: usize,
    },
    /// Files that it takes, where no more is known.
    Content {
        /// What the instruction names.
        path: String,
    },
    /// Anything else, by its name.
    Other {
        /// Such as `--chown`.
        name: String,
        /// What it was.
        before: Option<String>,
        /// What it is.
        after: Option<String>,
    },
}

impl Reason {
    /// The same with every text as `map` gives it.
    pub fn mapped(&self, map: &dyn Fn(&str) -> String) -> Self {
        match self {
            Self::Changed { differences } => Self::Changed {
                differences: differences.iter().map(|one| one.mapped(map)).collect(),
            },
            other => other.clone(),
        }
    }

    /// Whole sentences, at most `files` of them about files.
    pub fn sentences(&self, files: usize) -> Vec<String> {
        match self {
            Self::New => vec!["No earlier build is known that did this step.".to_owned()],
            Self::NoCache { flag } => vec![format!("The build was told not to look ({flag}).")],
            Self::Removed => {
                vec!["Nothing has changed, but its cache record was removed.".to_owned()]
            }
            Self::Changed { differences } => {
                let all = differences.iter().map(|one| one.sentences(files));
                all.flatten().collect()
            }
        }
    }
}

/// In one line, the most telling first.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = match self {
            Self::New => return f.write_str("it is new"),
            Self::NoCache { flag } => return f.write_str(flag),
            Self::Removed => return f.write_str("its record was removed"),
            Self::Changed { differences } => differences,
        };
        // What lies below explains all that follows; the rest would be noise.
        let below = differences
            .iter()
            .find(|d| matches!(d, Difference::Below { .. }));
        match below {
            Some(below) => write!(f, "{below}"),
            None => {
                let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("a new version of rbuild keys it differently"),
            Self::Instruction => f.write_str("the instruction is a different one"),
            Self::Below { from } => write!(f, "the layers below it changed ({from})"),
            Self::Network => f.write_str("the network or hosts of RUN changed"),
            Self::Command { before, .. } => write!(f, "the command changed (it was {before})"),
            Self::Variable {
                name,
                before,
                after,
            }
            | Self::Other {
                name,
                before,
                after,
            } => write!(f, "{}", moved(name, before.as_deref(), after.as_deref())),
            Self::Files { changes, more } => {
                let few: Vec<String> = changes.iter().take(FEW).map(of_file).collect();
                f.write_str(&few.join(", "))?;
                match changes.len().saturating_sub(FEW) + more {
                    0 => Ok(()),
                    rest => write!(f, ", and {rest} more files changed"),
                }
            }
            Self::Content { path } => match path.as_str() {
                "" => f.write_str("the content of . changed"),
                path => write!(f, "the content of {path} changed"),
            },
        }
    }
}

impl Difference {
    fn mapped(&self, map: &dyn Fn(&str) -> String) -> Self {
        let some = |text: &Option<String>| text.as_deref().map(map);
        match self {
            Self::Version | Self::Instruction | Self::Network => self.clone(),
            Self::Below { from } => Self::Below { from: map(from) },
            Self::Command { before, after } => Self::Command {
                before: map(before),
                after: map(after),
            },
            Self::Variable {
                name,
                before,
                after,
            } => Self::Variable {
                name: map(name),
                before: some(before),
                after: some(after),
            },
            Self::Files { changes, more } => {
                let one = |file: &FileChange| FileChange {
                    path: map(&file.path),
                    change: match &file.change {
                        Change::Renamed { from } => Change::Renamed { from: map(from) },
                        other => other.clone(),
                    },
                };
                Self::Files {
                    changes: changes.iter().map(one).collect(),
                    more: *more,
                }
            }
            Self::Content { path } => Self::Content { path: map(path) },
            Self::Other {
                name,
                before,
                after,
            } => Self::Other {
                name: map(name),
                before: some(before),
                after: some(after),
            },
        }
    }

    fn sentences(&self, files: usize) -> Vec<String> {
        let changed = |after: &str| sentence(&self.to_string(), after);
        match self {
            Self::Below { from } => vec![format!(
                "The layers below it are not those of the last build: they come from {from}."
            )],
            Self::Command { before, after } => {
                vec![format!("The command was {before} and is {after}.")]
            }
            Self::Files { changes, more } => {
                let told = changes.iter().take(files);
                let mut all: Vec<String> = told.map(|file| sentence(&of_file(file), "")).collect();
                match changes.len().saturating_sub(files) + more {
                    0 => {}
                    1 => all.push("And 1 more file changed.".to_owned()),
                    rest => all.push(format!("And {rest} more files changed.")),
                }
                all
            }
            Self::Content { .. } => vec![changed(", but which files is not known any more")],
            _ => vec![changed("")],
        }
    }
}

/// A clause as a sentence, with what else there is to say.
fn sentence(clause: &str, more: &str) -> String {
    let mut letters = clause.chars();
    match letters.next() {
        // A name stays as it is written.
        Some(first) if clause.starts_with("the ") || clause.starts_with("a ") => {
            format!("{}{}{more}.", first.to_uppercase(), letters.as_str())
        }
        _ => format!("{clause}{more}."),
    }
}

fn moved(name: &str, before: Option<&str>, after: Option<&str>) -> String {
    let quoted = |value: &str| match value {
        HIDDEN => HIDDEN.to_owned(),
        value => format!("{value:?}"),
    };
    match (before, after) {
        (Some(HIDDEN), Some(HIDDEN)) => format!("{name} changed (its values are not told)"),
        (Some(before), Some(after)) => {
            let (before, after) = (quoted(before), quoted(after));
            format!("{name} changed from {before} to {after}")
        }
        (None, Some(after)) => format!("{name} is new, with the value {}", quoted(after)),
        (Some(before), None) => format!("{name} is gone, which was {}", quoted(before)),
        (None, None) => format!("{name} changed"),
    }
}

fn of_file(file: &FileChange) -> String {
    let path = &file.path;
    match &file.change {
        Change::Added => format!("the file {path} is new"),
        Change::Removed => format!("the file {path} is gone"),
        Change::Renamed { from } => format!("the file {from} was renamed to {path}"),
        Change::Type { before, after } => format!("{path} was a {before} and is a {after}"),
        Change::Content => format!("the content of {path} changed"),
        Change::Mode { before, after } => {
            format!("the mode of {path} changed from {before} to {after}")
        }
        Change::Owner { before, after } => {
            format!("the owner of {path} changed from {before} to {after}")
        }
    }
}

/// A value as it may be told: not where the name of its variable says that it is a secret.
pub fn tellable(name: &str, value: &str) -> String {
    match dockerfile::lint::names_a_secret(name) {
        true => HIDDEN.to_owned(),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, change: Change) -> FileChange {
        FileChange {
            path: path.to_owned(),
            change,
        }
    }

    #[test]
    fn reasons_are_lines_and_sentences() {
        let some = |text: &str| Some(text.to_owned());
        let variable = |name: &str, before, after| Difference::Variable {
            name: name.to_owned(),
            before,
            after,
        };
        let (before, after) = ("0644".to_owned(), "0755".to_owned());
        let mode = file("run.sh", Change::Mode { before, after });
        let from = "b".to_owned();
        let files = vec![
            mode,
            file("a", Change::Renamed { from }),
            file("c", Change::Added),
        ];
        for (difference, line, told) in [
            (
                variable("V", some("1"), some("2")),
                "V changed from \"1\" to \"2\"",
                "V changed from \"1\" to \"2\".",
            ),
            (
                variable("V", None, some("2")),
                "V is new, with the value \"2\"",
                "V is new, with the value \"2\".",
            ),
            (
                variable("TOKEN", some(HIDDEN), some(HIDDEN)),
                "TOKEN changed (its values are not told)",
                "TOKEN changed (its values are not told).",
            ),
            (
                Difference::Content {
                    path: "src".to_owned(),
                },
                "the content of src changed",
                "The content of src changed, but which files is not known any more.",
            ),
            (
                Difference::Files {
                    changes: files.clone(),
                    more: 0,
                },
                "the mode of run.sh changed from 0644 to 0755, the file b was renamed to a, \
                 the file c is new",
                "The mode of run.sh changed from 0644 to 0755.|The file b was renamed to a.\
                 |And 1 more file changed.",
            ),
        ] {
            let reason = Reason::Changed {
                differences: vec![difference],
            };
            assert_eq!(reason.to_string(), line);
            assert_eq!(reason.sentences(2).join("|"), told);
            let text = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
        }
    }

    #[test]
    fn what_lies_below_explains_the_rest() {
        let from = "[2/4] COPY src /src".to_owned();
        let differences = vec![Difference::Network, Difference::Below { from }];
        let reason = Reason::Changed { differences };
        let told = "the layers below it changed ([2/4] COPY src /src)";
        assert_eq!(reason.to_string(), told);
        assert_eq!(reason.sentences(20).len(), 2);
    }

    #[test]
    fn every_text_is_mapped() {
        let text = || "hunter2".to_owned();
        let (name, before, after) = (text(), Some(text()), Some(text()));
        let all = vec![
            Difference::Below { from: text() },
            Difference::Command {
                before: text(),
                after: text(),
            },
            Difference::Variable {
                name: name.clone(),
                before: before.clone(),
                after: after.clone(),
            },
            Difference::Files {
                changes: vec![file("hunter2", Change::Renamed { from: text() })],
                more: 0,
            },
            Difference::Content { path: text() },
            Difference::Other {
                name,
                before,
                after,
            },
        ];
        let reason = Reason::Changed { differences: all };
        let mapped = reason.mapped(&|text| text.replace("hunter2", HIDDEN));
        let text = serde_json::to_string(&mapped).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.matches(HIDDEN).count(), 12);
    }
}
