//! What is said of a command line that cannot be understood, in docker's words and with its exit
//! codes. Whoever comes from docker types what docker has: that is named for what it is.
//!
//! - [`commands`]: words that are no command here, and what to use for docker's
//! - [`flags`]: docker's flags that are not here, and what to do instead
//! - [`hints`]: what may have been meant, and where to read on
//! - [`line`]: how a command is used, in one line
//! - [`own`]: docker's own flags, before its commands

mod commands;
mod flags;
mod hints;
mod line;
mod own;

use std::error::Error as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use golang::quote::go_quote;
use hints::see;

pub use commands::{First, first_word, no_command};
pub use own::take as take_own;

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
                true => Answer::Wrong(flags::unknown(program, &path, &flag, typed), 125),
                false => {
                    let told = line::wrong_number(program, &path, false);
                    let told = told.unwrap_or_else(|| one_too_many(&path, &flag));
                    Answer::Wrong(told, 1)
                }
            }
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let path = path(program, typed);
            if let Some(told) = lacking(error, program, &path, typed) {
                return Answer::Wrong(told, 125);
            }
            let told = wrong_typed(error, program, &path).unwrap_or_else(|| message(error));
            Answer::Wrong(told, 125)
        }
        kind => {
            // As docker: 1 for a wrong number of arguments, 125 for wrong flags.
            let is_number = matches!(
                kind,
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::TooFewValues
                    | ErrorKind::TooManyValues
                    | ErrorKind::WrongNumberOfValues
            );
            let invalid = text(error, ContextKind::InvalidArg).unwrap_or_default();
            let lacks = kind == ErrorKind::MissingRequiredArgument;
            let told = match is_number && !invalid.starts_with('-') {
                true => line::wrong_number(program, &path(program, typed), lacks),
                false => None,
            };
            let code = if is_number { 1 } else { 125 };
            Answer::Wrong(told.unwrap_or_else(|| message(error)), code)
        }
    }
}

/// Docker's words for a value that a flag does not take; `flag` as [`named`] shows it.
pub fn wrong_value(flag: &str, value: &str, why: &str) -> String {
    format!(
        "invalid argument {} for {} flag: {why}",
        go_quote(value),
        go_quote(flag)
    )
}

/// A flag by all its names, as docker's messages have it: `-c, --cpu-shares`.
fn named(arg: &clap::Arg) -> Option<String> {
    let long = arg.get_long()?;
    Some(match arg.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    })
}

/// Docker's words for a flag at the end of the line that needs a value.
fn lacking(
    error: &clap::Error,
    program: &Command,
    path: &[&str],
    typed: &[String],
) -> Option<String> {
    let last = typed.last().filter(|word| !word.contains('='))?;
    let is_empty = text(error, ContextKind::InvalidValue)?.is_empty();
    let shown = text(error, ContextKind::InvalidArg)?;
    let long = shown.split([' ', '[', '=', '<']).next()?;
    let told = match last.strip_prefix("--") {
        Some(_) if last == long => last.clone(),
        None if last.starts_with('-') => format!("'{}' in {last}", last.chars().last()?),
        _ => return None,
    };
    let after = line::after(program, path);
    is_empty.then(|| format!("flag needs an argument: {told}\n\n{after}"))
}

/// What is said of a value that clap has refused.
fn wrong_typed(error: &clap::Error, program: &Command, path: &[&str]) -> Option<String> {
    let shown = text(error, ContextKind::InvalidArg)?;
    let value = text(error, ContextKind::InvalidValue)?;
    let long = shown.split([' ', '[', '=', '<']).next()?;
    let long = long.strip_prefix("--")?;
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    let arguments = command.get_arguments().chain(program.get_arguments());
    let arg = arguments
        .into_iter()
        .find(|arg| arg.get_long() == Some(long))?;
    let number = arg.get_value_parser().type_id();
    let signed = number == clap::builder::ValueParser::from(clap::value_parser!(i64)).type_id();
    let unsigned = [
        clap::builder::ValueParser::from(clap::value_parser!(u64)).type_id(),
        clap::builder::ValueParser::from(clap::value_parser!(u16)).type_id(),
    ]
    .contains(&number);
    let why = match error.source() {
        Some(_) if named(arg).is_some_and(|flag| flag == "--blkio-weight") => {
            not_a_number(&value).replace("ParseInt", "ParseUint")
        }
        Some(_) if signed || unsigned => not_a_number(&value),
        Some(cause) => cause.to_string(),
        None => {
            let known: Vec<String> = arg
                .get_possible_values()
                .iter()
                .filter(|known| !known.get_name().is_empty())
                .map(|known| known.get_name().to_owned())
                .collect();
            match known.is_empty() {
                true => "it cannot be empty".to_owned(),
                false => format!("there are {}", known.join(", ")),
            }
        }
    };
    let flag = named(arg)?;
    Some(format!(
        "{}\n\n{}",
        wrong_value(&flag, &value, &why),
        line::after(program, path)
    ))
}

/// Go's words for text that is no number, or too large a one.
fn not_a_number(text: &str) -> String {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let why = match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => "value out of range",
        false => "invalid syntax",
    };
    format!("strconv.ParseInt: parsing {}: {why}", go_quote(text))
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
        let error = args::parse(args::command(), words).unwrap_err();
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
            (
                "rbuild build -Z .",
                "unknown shorthand flag: 'Z' in -Z",
                125,
            ),
            ("rbuild ps -aZq", "unknown shorthand flag: 'Z' in -aZq", 125),
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
    }

    /// The words are those of docker 28's client.
    #[test]
    fn so_many_arguments_are_wanted() {
        for (line, first) in [
            ("rbuild run", "'rbuild run' requires at least 1 argument"),
            (
                "rbuild run --rm",
                "'rbuild run' requires at least 1 argument",
            ),
            ("rbuild rename a", "'rbuild rename' requires 2 arguments"),
            (
                "rbuild exec a",
                "'rbuild exec' requires at least 2 arguments",
            ),
            ("rbuild ps x", "'rbuild ps' accepts no arguments"),
            ("rbuild build", "'rbuild build' requires 1 argument"),
            ("rbuild build a b", "'rbuild build' requires 1 argument"),
            (
                "rbuild image ls x y",
                "'rbuild image ls' requires at most 1 argument",
            ),
            (
                "rbuild network create",
                "'rbuild network create' requires 1 argument",
            ),
            ("rbuild rm", "'rbuild rm' requires at least 1 argument"),
            (
                "rbuild import a b c",
                "'rbuild import' requires at least 1 and at most 2 arguments",
            ),
        ] {
            let (text, code) = told(line);
            assert_eq!(text.lines().next().unwrap(), first, "{line}");
            assert_eq!(code, 1, "{line}");
        }
        for (line, usage) in [
            (
                "rbuild rm",
                "Usage:  rbuild rm [OPTIONS] CONTAINER [CONTAINER...]",
            ),
            (
                "rbuild rename a",
                "Usage:  rbuild rename CONTAINER NEW_NAME",
            ),
            (
                "rbuild start",
                "Usage:  rbuild start [OPTIONS] CONTAINER [CONTAINER...]",
            ),
            (
                "rbuild container run",
                "Usage:  rbuild container run [OPTIONS] IMAGE [COMMAND] [ARG...]",
            ),
            (
                "rbuild create",
                "Usage:  rbuild create [OPTIONS] IMAGE [COMMAND] [ARG...]",
            ),
            (
                "rbuild exec a",
                "Usage:  rbuild exec [OPTIONS] CONTAINER COMMAND [ARG...]",
            ),
            ("rbuild top", "Usage:  rbuild top CONTAINER [ps OPTIONS]"),
            (
                "rbuild port",
                "Usage:  rbuild port CONTAINER [PRIVATE_PORT[/PROTO]]",
            ),
            (
                "rbuild wait",
                "Usage:  rbuild wait CONTAINER [CONTAINER...]",
            ),
            ("rbuild ps --frob", "Usage:  rbuild ps [OPTIONS]"),
            (
                "rbuild stop -t x a",
                "Usage:  rbuild stop [OPTIONS] CONTAINER [CONTAINER...]",
            ),
            (
                "rbuild network create --ipv6=x n",
                "Usage:  rbuild network create [OPTIONS] NETWORK",
            ),
        ] {
            assert_eq!(told(line).0.lines().nth(2), Some(usage), "{line}");
        }
    }

    #[test]
    fn values_that_are_none_end_with_125() {
        let (text, code) = told("rbuild build --network=moon .");
        assert_eq!(code, 125);
        let start =
            "invalid argument \"moon\" for \"--network\" flag: there are default, host, none";
        assert!(text.starts_with(start), "{text}");
        let end = "Run 'rbuild build --help' for more information";
        assert!(text.ends_with(end), "{text}");
    }

    /// The words are those of docker's client.
    #[test]
    fn values_that_are_none_are_told_as_docker_does() {
        for (line, first) in [
            ("rbuild ps --filter", "flag needs an argument: --filter"),
            ("rbuild ps -aqf", "flag needs an argument: 'f' in -aqf"),
            ("rbuild build -t", "flag needs an argument: 't' in -t"),
            ("rbuild build . -qt", "flag needs an argument: 't' in -qt"),
            ("rbuild build --tag", "flag needs an argument: --tag"),
            (
                "rbuild build --network",
                "flag needs an argument: --network",
            ),
            ("rbuild run --name", "flag needs an argument: --name"),
            ("rbuild build --sbom", "flag needs an argument: --sbom"),
            (
                "rbuild build -c a .",
                r#"invalid argument "a" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "a": invalid syntax"#,
            ),
            (
                "rbuild build --cpu-period 99999999999999999999 .",
                r#"invalid argument "99999999999999999999" for "--cpu-period" flag: strconv.ParseInt: parsing "99999999999999999999": value out of range"#,
            ),
            (
                "rbuild build --no-cache=maybe .",
                r#"invalid argument "maybe" for "--no-cache" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            (
                "rbuild build --pull=x .",
                r#"invalid argument "x" for "--pull" flag: strconv.ParseBool: parsing "x": invalid syntax"#,
            ),
        ] {
            let (text, code) = told(line);
            assert_eq!(text.lines().next().unwrap(), first, "{line}");
            assert_eq!(code, 125, "{line}");
        }
    }
}
