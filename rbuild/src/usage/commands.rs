//! Words in a command's place that are none.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;

use super::hints::{see, similar};

/// Docker's other words, with what to use here. Those of a group have it in front.
const OTHERS: &[(&[&str], &str)] = &[
    (
        &["buildx dial-stdio", "builder dial-stdio"],
        "There is no daemon here: `rbuild` builds by itself",
    ),
    (
        &[
            "context create",
            "context rm",
            "context update",
            "context export",
            "context import",
        ],
        "There is no daemon here, and so no other context than `default`",
    ),
    (
        &[
            "buildx history logs",
            "buildx history open",
            "buildx history export",
            "buildx history import",
            "builder history logs",
            "builder history open",
            "builder history export",
            "builder history import",
        ],
        "`rbuild builds show` tells what a build did, `rbuild builds trace` writes it for a viewer",
    ),
    (&["buildx du", "builder du"], "Use `rbuild df`"),
    (
        &["compose"],
        "`rbuild bake` builds the services of a compose file; it runs none",
    ),
    (
        &["swarm", "service", "stack", "node", "secret", "config"],
        "rbuild builds images; clusters are for others",
    ),
    (&["plugin"], "There are no plugins here"),
    (
        &["trust"],
        "Images are signed with cosign, once they are pushed",
    ),
    (
        &["scout"],
        "`rbuild save IMAGE -o app.tar` gives scanners an archive to look into",
    ),
    (&["du"], "Use `rbuild df`"),
    (
        &["unshare", "from", "add", "copy", "mount", "umount"],
        "Containers are not built by hand here: write a Dockerfile and use `rbuild build`",
    ),
    (&["bud"], "Use `rbuild build`"),
];

/// What a word is told that is no command of `group` (the commands before it).
pub fn no_command(program: &Command, group: &[&str], word: &str) -> String {
    let mut of = program;
    for name in group {
        of = of.find_subcommand(name).unwrap_or(of);
    }
    let mut command = String::from("rbuild");
    for name in group {
        command.push(' ');
        command.push_str(name);
    }
    let mut told = format!("{word:?} is not an {command} command");
    told = told.replace('"', "'");
    let full = match group.is_empty() {
        true => word.to_owned(),
        false => format!("{} {word}", group.join(" ")),
    };
    if let Some(instead) = instead(&full) {
        return format!("{told}. {instead}.\n\n{}", see(group));
    }
    let names = of.get_subcommands().filter(|c| !c.is_hide_set());
    let names = names.flat_map(|c| std::iter::once(c.get_name()).chain(c.get_visible_aliases()));
    match similar(word, names) {
        Some(meant) => format!("{told}. Did you mean {meant}?\n\n{}", see(group)),
        None if group.is_empty() => {
            format!(
                "{told}, and there is no folder {word} to build.\n\n{}",
                see(group)
            )
        }
        None => format!("{told}\n\n{}", see(group)),
    }
}

/// What to use in place of a command of docker's, or of buildah's.
fn instead(command: &str) -> Option<&'static str> {
    let others = OTHERS.iter();
    let mut found = others.filter(|(names, _)| names.contains(&command));
    found.next().map(|(_, text)| *text)
}

/// What the first word after the program's own flags is.
#[derive(Debug, PartialEq, Eq)]
pub enum First {
    /// A command, or a question for help.
    Command,
    /// Something to build, at this place in the command line.
    Build(usize),
    /// No command and nothing to build.
    Nothing(String),
}

/// Tells what the first word is. `known` are the commands; `exists` says what is a path.
pub fn first_word(raw: &[OsString], known: &[String], exists: &dyn Fn(&Path) -> bool) -> First {
    let mut at = 1;
    while let Some(word) = raw.get(at) {
        let text = word.to_string_lossy();
        match text.as_ref() {
            "--root" => at += 2,
            "--no-color" => at += 1,
            t if t.starts_with("--root=") => at += 1,
            "-h" | "--help" | "-v" | "-V" | "--version" => return First::Command,
            t if known.iter().any(|k| k == t) => return First::Command,
            t if t.starts_with('-') || !is_word(t) || exists(Path::new(word)) => {
                return First::Build(at);
            }
            t => return First::Nothing(t.to_owned()),
        }
    }
    First::Command
}

/// Whether it is written as commands are: paths and addresses have more than letters.
fn is_word(text: &str) -> bool {
    let letters = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn first(line: &str) -> First {
        let raw: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        first_word(&raw, &args::command_names(&args::command()), &|path| {
            path == Path::new("app")
        })
    }

    #[test]
    fn a_word_that_is_no_command_is_no_build() {
        let nothing = |word: &str| First::Nothing(word.to_owned());
        for (line, what) in [
            ("rbuild", First::Command),
            ("rbuild images", First::Command),
            ("rbuild --root /x images", First::Command),
            ("rbuild -v", First::Command),
            ("rbuild --help", First::Command),
            ("rbuild .", First::Build(1)),
            ("rbuild -", First::Build(1)),
            ("rbuild app", First::Build(1)),
            ("rbuild -t ps .", First::Build(1)),
            ("rbuild --root=/x ./nowhere", First::Build(2)),
            ("rbuild --root /x ../nowhere", First::Build(3)),
            ("rbuild https://example.com/app.git#v1", First::Build(1)),
            ("rbuild git@example.com:app.git", First::Build(1)),
            ("rbuild ps -a", First::Command),
            ("rbuild port x", First::Command),
            ("rbuild --no-color psuh x", nothing("psuh")),
        ] {
            assert_eq!(first(line), what, "{line}");
        }
    }

    #[test]
    fn words_are_told_what_is_meant() {
        let told = |group: &[&str], word: &str| no_command(&args::command(), group, word);
        let start = "'psuh' is not an rbuild command. Did you mean push?\n";
        assert!(
            told(&[], "psuh").starts_with(start),
            "{}",
            told(&[], "psuh")
        );
        let start = "'prnue' is not an rbuild image command. Did you mean prune?\n";
        assert!(told(&["image"], "prnue").starts_with(start));
        let end = "Run 'rbuild image --help' for more information";
        assert!(told(&["image"], "prnue").ends_with(end));
        assert!(told(&[], "xyzzy").contains("no folder xyzzy to build"));
        assert!(told(&["buildx"], "dial-stdio").contains("no daemon"));
        assert!(told(&[], "compose").contains("rbuild bake"));
    }

    #[test]
    fn dockers_words_are_not_ours() {
        let ours = args::command_names(&args::command());
        let others = OTHERS.iter().flat_map(|(names, _)| names.iter());
        for word in others {
            assert!(!ours.iter().any(|own| own == word), "{word} is a command");
        }
    }

    /// `docker --help` of docker 28 lists them.
    #[test]
    fn every_command_of_dockers_is_here_or_named() {
        let docker = "run exec ps build bake pull push images login logout search version \
            builder buildx compose container context image manifest network plugin system trust \
            volume swarm attach commit cp create diff events export history import inspect kill \
            load logs pause port rename restart rm rmi save start stats stop tag top unpause \
            update wait";
        let ours = args::command_names(&args::command());
        for word in docker.split_whitespace() {
            let here = ours.iter().any(|own| own == word);
            assert!(here || instead(word).is_some(), "{word}");
        }
    }
}
