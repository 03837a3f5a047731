//! `rregistry completions`, and the hidden command that its scripts ask for what fits: commands,
//! flags, and names of repositories and tags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use serde::de::DeserializeOwned;

use super::failure::{Failure, out};
use super::operate::Operator;
use super::settings::Settings;
use crate::meta::{Cursor, ListQuery, Listing, RepositoryEntry, TagEntry};
use crate::operate::Operation;

/// The scripts of both programs; `PROGRAM` in them is the program's name.
const BASH: &str = include_str!("../../../packaging/completions/completion.bash");
const ZSH: &str = include_str!("../../../packaging/completions/completion.zsh");
const FISH: &str = include_str!("../../../packaging/completions/completion.fish");

/// Names that are looked for at most.
const MOST: u32 = 500;

/// Commands and their arguments that are names of repositories or, behind a colon, tags.
const NAMES: [(&str, &str); 5] = [
    ("tags", "repository"),
    ("inspect", "image"),
    ("rm", "images"),
    ("restore", "images"),
    ("export", "what"),
];

/// Print a script that completes rregistry's words in a shell.
///
/// For bash: source <(rregistry completions bash)
///
/// In bash, zsh and fish names of repositories and tags are completed too.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// What fits for a word.
#[derive(Debug, Args)]
pub(super) struct Complete {
    /// Which of the words is being typed, counted from 0, the program's name.
    index: usize,
    /// The command line.
    #[arg(last = true)]
    words: Vec<OsString>,
}

pub(super) fn run(options: &Completions, mut program: Command) -> Result<(), Failure> {
    let own = |script: &str| script.replace("PROGRAM", "rregistry");
    let script = match options.shell {
        Shell::Bash => own(BASH),
        Shell::Zsh => own(ZSH),
        Shell::Fish => own(FISH),
        shell => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program, "rregistry", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
    };
    out(&script)
}

/// A line for each word that fits, with its help after a tab.
pub(super) fn run_complete(options: Complete, program: Command) -> Result<(), Failure> {
    let Complete { index, words } = options;
    let typed = words.get(index).map(|word| word.to_string_lossy());
    let names = match typed {
        Some(typed) if takes_names(&words) => names(&words, &typed),
        _ => Vec::new(),
    };
    out(&fitting(program, words, index, &names)?)
}

/// Whether the words are of a command that takes names.
fn takes_names(words: &[OsString]) -> bool {
    let command = |word: &OsString| NAMES.iter().any(|(name, _)| word == name);
    words.iter().skip(1).any(command)
}

fn fitting(
    program: Command,
    words: Vec<OsString>,
    index: usize,
    names: &[String],
) -> Result<String, Failure> {
    let mut program = program.mut_subcommands(|command| {
        let own = command.get_name().to_owned();
        command.mut_args(|arg| {
            let taken = NAMES
                .iter()
                .any(|(name, argument)| *name == own && arg.get_id().as_str() == *argument);
            if !taken {
                return arg;
            }
            let names = names.to_vec();
            let fit = move |typed: &OsStr| beginning_with(&names, typed);
            arg.add(ArgValueCompleter::new(fit))
        })
    });
    let here = std::env::current_dir().ok();
    let mut text = String::new();
    for candidate in complete(&mut program, words, index, here.as_deref())? {
        if candidate.is_hide_set() {
            continue;
        }
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            text.push('\t');
            text.push_str(help.lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    Ok(text)
}

fn beginning_with(names: &[String], typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let fit = names.iter().filter(|name| name.starts_with(typed.as_ref()));
    fit.map(CompletionCandidate::new).collect()
}

/// The names of the registry that the words are about, none where there is none.
fn names(words: &[OsString], typed: &str) -> Vec<String> {
    let config = flag(words, "--config").or_else(|| std::env::var_os("RREGISTRY_CONFIG"));
    let settings = Settings {
        config: config.map(PathBuf::from),
        data_dir: flag(words, "--data-dir").map(PathBuf::from),
    };
    let Ok(operator) = Operator::new(settings) else {
        return Vec::new();
    };
    match typed.rsplit_once(':') {
        Some((repository, tag)) => {
            let tags = Operation::Tags(repository.to_owned(), query(tag));
            let found = ask::<TagEntry>(&operator, &tags);
            found
                .map(|tag| format!("{repository}:{}", tag.name))
                .collect()
        }
        None => {
            let repositories = Operation::Repositories(query(typed));
            let found = ask::<RepositoryEntry>(&operator, &repositories);
            found.map(|repository| repository.name).collect()
        }
    }
}

fn ask<T: DeserializeOwned>(operator: &Operator, what: &Operation) -> std::vec::IntoIter<T> {
    let found = operator.ask::<Listing<T>>(what);
    let entries = found.map(|page| page.entries).unwrap_or_default();
    entries.into_iter()
}

/// The first names that may begin with what was typed.
fn query(typed: &str) -> ListQuery {
    ListQuery {
        after: before(typed).map(|name| Cursor { key: 0, name }),
        n: MOST,
        ..ListQuery::default()
    }
}

/// Something that is before all names that begin with a text, and behind all that are before it:
/// no name has a tilde.
fn before(typed: &str) -> Option<String> {
    let last = typed.chars().last()?;
    let begin = typed.strip_suffix(last)?;
    let lower = u8::try_from(last).ok()?.checked_sub(1)?;
    Some(format!("{begin}{}~", char::from(lower)))
}

/// What a flag says.
fn flag(words: &[OsString], name: &str) -> Option<OsString> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == name {
            return words.next().cloned();
        }
        let text = word.to_string_lossy();
        if let Some(value) = text.strip_prefix(name).and_then(|t| t.strip_prefix('=')) {
            return Some(value.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn values(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let index = words.len() - 1;
        let names = ["team/app".to_owned(), "team/web".to_owned()];
        let found = fitting(Cli::command(), words, index, &names).unwrap();
        let value = |line: &str| line.split('\t').next().unwrap().to_owned();
        found.lines().map(value).collect()
    }

    #[test]
    fn names_fit_where_names_are_meant() {
        for line in [
            "rregistry tags team/w",
            "rregistry inspect team/w",
            "rregistry rm --all team/w",
            "rregistry rm other:v1 team/w",
            "rregistry restore team/w",
            "rregistry export team/w",
            "rregistry tags --data-dir /x team/w",
        ] {
            assert_eq!(values(line), ["team/web"], "{line}");
        }
        assert_eq!(values("rregistry ins"), ["inspect"]);
        assert!(values("rregistry import team/w").is_empty());
        assert!(values("rregistry rm --al").contains(&"--all".to_owned()));
    }

    #[test]
    fn a_page_begins_where_names_begin_with_what_is_typed() {
        for (typed, smaller, larger) in [
            ("team/", "team.z", "team/a"),
            ("a", "9z", "a"),
            ("v1", "v0.9", "v1"),
            ("-", "", "-"),
        ] {
            let before = before(typed).unwrap();
            assert!(
                smaller < before.as_str() && before.as_str() < larger,
                "{before}"
            );
        }
        assert_eq!(before(""), None);
    }
}
