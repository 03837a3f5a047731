//! What is said of a command line that cannot be understood, in docker's words and with its exit
//! codes. Whoever comes from docker types what docker has: that is named for what it is.
//!
//! - [`commands`]: words that are no command here, and what to use for docker's
//! - [`flags`]: docker's flags that are not here, and what to do instead
//! - [`hints`]: what may have been meant, and where to read on

mod commands;
mod flags;
mod hints;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use hints::see;

pub use commands::{First, first_word, no_command};

/// What is told, and how the process ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Help or the version: text of clap's for standard output.
    Asked,
    /// What is wrong, without the word `ERROR`, and the exit code.
    Wrong(String, u8),
}

/// What clap makes of a command line, told our way. `typed` are the words after the program's
/// name, with the command in front.
pub fn answer(error: &clap::Error, program: &Command, typed: &[String]) -> Answer {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Answer::Asked,
        ErrorKind::InvalidSubcommand => {
            let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let group = path(program, typed);
            Answer::Wrong(no_command(program, &group, &word), 1)
        }
        ErrorKind::UnknownArgument => {
            let flag = text(error, ContextKind::InvalidArg).unwrap_or_default();
            let path = path(program, typed);
            match flag.starts_with('-') && flag != "-" {
                true => Answer::Wrong(flags::unknown(program, &path, &flag), 125),
                false => Answer::Wrong(one_too_many(&path, &flag), 1),
            }
        }
        kind => {
            let code = match kind {
                // As docker: 1 for a wrong number of arguments, 125 for wrong flags.
                ErrorKind::MissingRequiredArgument
                | ErrorKind::TooFewValues
                | ErrorKind::TooManyValues
                | ErrorKind::WrongNumberOfValues => 1,
                _ => 125,
            };
            Answer::Wrong(message(error), code)
        }
    }
}

fn one_too_many(path: &[&str], word: &str) -> String {
    let command = path.join(" ");
    format!(
        "rbuild {command}: {word:?} is one argument too many\n\n{}",
        see(path)
    )
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(all) => all.first().cloned(),
        _ => None,
    }
}

/// clap's message without its word for errors, which is another than ours.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.trim_end().replace(
        "For more information, try '--help'.",
        "Run it with --help for more information",
    )
}

/// The commands of `typed`, from the outermost to the innermost that there is.
fn path<'t>(program: &Command, typed: &'t [String]) -> Vec<&'t str> {
    let mut path = Vec::new();
    let mut at = program;
    for word in typed {
        match at.find_subcommand(word) {
            Some(command) => {
                path.push(word.as_str());
                at = command;
            }
            // The program's own flags may stand before a command, one of them with a value.
            None if path.is_empty() => {}
            None => break,
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn told(line: &str) -> (String, u8) {
        let words = line.split_whitespace().map(Into::into).collect();
        let typed: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        let error = args::parse(words).unwrap_err();
        match answer(&error, &args::command(), &typed) {
            Answer::Wrong(text, code) => (text, code),
            Answer::Asked => ("asked".to_owned(), 0),
        }
    }

    #[test]
    fn unknown_flags_are_named_with_what_is_meant_or_nothing() {
        for (line, told_first, code) in [
            // docker's words for what nobody knows.
            ("rbuild build --frob .", "unknown flag: --frob", 125),
            ("rbuild build -Z .", "unknown shorthand flag: -Z", 125),
            (
                "rbuild build --no-cahce .",
                "unknown flag: --no-cahce; did you mean --no-cache?",
                125,
            ),
            (
                "rbuild images --digest",
                "unknown flag: --digest; did you mean --digests?",
                125,
            ),
        ] {
            let (text, found) = told(line);
            assert_eq!(text.lines().next().unwrap(), told_first, "{line}");
            assert_eq!(found, code, "{line}");
        }
    }

    #[test]
    fn what_is_asked_for_is_no_error() {
        for line in [
            "rbuild --help",
            "rbuild build --help",
            "rbuild -v",
            "rbuild image",
        ] {
            assert_eq!(told(line).1, 0, "{line}");
        }
    }

    #[test]
    fn wrong_numbers_of_arguments_end_with_1_as_dockers_do() {
        for line in [
            "rbuild build",
            "rbuild build a b",
            "rbuild tag a",
            "rbuild tag a b c",
        ] {
            let (text, code) = told(line);
            assert_eq!(code, 1, "{line}: {text}");
            assert!(!text.contains("error:"), "{text}");
        }
        assert!(
            told("rbuild build a b")
                .0
                .starts_with("rbuild build: \"b\" is one argument too many")
        );
    }

    #[test]
    fn values_that_are_none_end_with_125() {
        let (text, code) = told("rbuild build --network=moon .");
        assert_eq!(code, 125);
        assert!(
            text.starts_with("invalid value 'moon' for '--network"),
            "{text}"
        );
    }
}
