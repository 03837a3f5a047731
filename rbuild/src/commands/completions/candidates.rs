//! What fits where a word is being typed.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter, complete,
};
use store::Store;

use crate::app::App;
use crate::commands::bake::files;
use crate::failure::Failure;
use crate::usage::{First, first_word};

/// Commands and their arguments that are names of images.
const IMAGES: &[(&str, &str)] = &[
    ("build", "tags"),
    ("explain", "of"),
    ("export", "image"),
    ("history", "image"),
    ("images", "reference"),
    ("inspect", "images"),
    ("ls", "reference"),
    ("push", "name"),
    ("rm", "images"),
    ("rmi", "images"),
    ("save", "images"),
    ("tag", "source"),
];

/// Those that begin with the name of a container, whatever comes after it.
const BEGUN_BY_CONTAINERS: &[(&str, &str)] = &[("exec", "words"), ("top", "words")];

/// Those that are files in a container, or of this machine.
const FILES: &[(&str, &str)] = &[("cp", "source"), ("cp", "target")];

/// Arguments that are names of containers, whichever command has them.
const CONTAINERS: [&str; 2] = ["container", "containers"];

/// Those that are names of networks.
const NETWORKS: &[(&str, &str)] = &[
    ("connect", "network"),
    ("create", "network"),
    ("disconnect", "network"),
    ("inspect", "networks"),
    ("rm", "networks"),
    ("run", "network"),
];

/// Those that are names of targets.
const TARGETS: &[(&str, &str)] = &[("bake", "targets")];

/// Those that are names of volumes.
const VOLUMES: &[(&str, &str)] = &[("inspect", "names"), ("rm", "names")];

/// What fits where names are meant.
#[derive(Clone, Debug, Default)]
pub struct Fitting {
    /// Names of containers.
    containers: Vec<String>,
    /// Names of images.
    images: Vec<String>,
    /// Names of networks.
    networks: Vec<String>,
    /// Names of targets.
    targets: Vec<String>,
    /// Names of volumes.
    volumes: Vec<String>,
}

/// The names of the containers, images, networks, targets and volumes that the words are about.
pub async fn names(app: &App, words: &[OsString]) -> Fitting {
    let store = store(app, words).await;
    Fitting {
        containers: match &store {
            Some(store) => containers(store).await,
            None => Vec::new(),
        },
        images: match &store {
            Some(store) => images(store).await,
            None => Vec::new(),
        },
        networks: match &store {
            Some(store) => networks(store).await,
            None => Vec::new(),
        },
        volumes: match &store {
            Some(store) => volumes(store).await,
            None => Vec::new(),
        },
        targets: targets(words),
    }
}

/// The targets and groups of the files that `rbuild bake` would read.
fn targets(words: &[OsString]) -> Vec<String> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if !words.iter().any(|word| word == "bake") {
        return Vec::new();
    }
    let flags = words.iter().zip(words.iter().skip(1));
    let named =
        flags.filter(|(flag, file)| matches!(flag.as_ref(), "-f" | "--file") && *file != "-");
    let named: Vec<String> = named.map(|(_, file)| file.to_string()).collect();
    let read = files::read(&named, None).and_then(|files| {
        let mut around = files::around()?;
        files::read_others(&files, &mut around, None)?;
        bake::read::read(&files, &around).map_err(Failure::new)
    });
    let Ok(found) = read else {
        return Vec::new();
    };
    let groups = found.groups().iter().map(|group| group.name.clone());
    let targets = found.targets().iter().map(|target| target.name.clone());
    let mut names: Vec<String> = groups.chain(targets).collect();
    names.retain(|name| !name.starts_with('_'));
    names.sort();
    names
}

/// The store, if there is one.
async fn store(app: &App, words: &[OsString]) -> Option<Store> {
    match root(words) {
        Some(root) if Path::new(&root).is_dir() => Store::open(Path::new(&root)).await.ok(),
        Some(_) => None,
        None => app.existing_store().await,
    }
}

async fn containers(store: &Store) -> Vec<String> {
    let containers = store.containers().await.unwrap_or_default();
    let mut names: Vec<String> = containers.into_iter().map(|one| one.name).collect();
    names.sort();
    names
}

async fn images(store: &Store) -> Vec<String> {
    let contents = store.contents(false).await.unwrap_or_default();
    let tags = contents.iter().flat_map(|content| content.tags());
    let mut names: Vec<String> = tags.map(|tag| tag.familiar()).collect();
    names.sort();
    names
}

async fn volumes(store: &Store) -> Vec<String> {
    let volumes = store.volumes().await.unwrap_or_default();
    volumes.into_iter().map(|volume| volume.name).collect()
}

async fn networks(store: &Store) -> Vec<String> {
    let networks = store.networks().await.unwrap_or_default();
    networks.into_iter().map(|network| network.name).collect()
}

/// What `--root` says.
fn root(words: &[OsString]) -> Option<OsString> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--root" {
            return words.next().cloned();
        }
        if let Some(root) = text.strip_prefix("--root=") {
            return Some(root.into());
        }
    }
    None
}

/// A line for each word that fits in place of the word `index`, its help after a tab. `commands`
/// are all that can be typed first.
///
/// # Errors
/// Those of listing folders.
pub fn fitting(
    program: Command,
    commands: &[String],
    mut words: Vec<OsString>,
    mut index: usize,
    names: &Fitting,
) -> Result<String, Failure> {
    let typed = words.get(..=index).unwrap_or(&words);
    match first_word(typed, commands, &|path| path.exists()) {
        First::Build(at) if at < index || starts_with_dash(words.get(at)) => {
            words.insert(at, "build".into());
            index += 1;
        }
        _ => {}
    }
    // A command that runs in a container is named behind it.
    let before = words.get(..index).unwrap_or(&words);
    let begun = before
        .iter()
        .any(|word| names.containers.iter().any(|name| name.as_str() == word));
    let mut program = with_names(program, names, begun);
    let here = std::env::current_dir().ok();
    let found = complete(&mut program, words, index, here.as_deref())?;
    let mut out = String::new();
    for candidate in found.iter().filter(|candidate| !candidate.is_hide_set()) {
        out.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            let line = help.lines().next().unwrap_or_default();
            out.push('\t');
            out.push_str(line);
        }
        out.push('\n');
    }
    Ok(out)
}

fn starts_with_dash(word: Option<&OsString>) -> bool {
    word.is_some_and(|word| word.to_string_lossy().starts_with('-'))
}

/// The command, with names where it takes some; `begun`, when a container is named already.
fn with_names(command: Command, names: &Fitting, begun: bool) -> Command {
    let command = command.mut_subcommands(|inner| with_names(inner, names, begun));
    let own = command.get_name().to_owned();
    // All of them in turn, since one that is changed by its name goes behind the others, and words
    // belong to arguments in their order.
    command.mut_args(|arg| {
        let takes = |table: &[(&str, &str)]| {
            let mut taken = table.iter();
            taken.any(|(name, argument)| *name == own && arg.get_id() == argument)
        };
        let names = match () {
            () if takes(IMAGES) => names.images.clone(),
            () if takes(NETWORKS) => names.networks.clone(),
            () if takes(VOLUMES) => names.volumes.clone(),
            () if takes(TARGETS) => names.targets.clone(),
            () if takes(BEGUN_BY_CONTAINERS) && begun => return arg,
            () if takes(BEGUN_BY_CONTAINERS) => names.containers.clone(),
            () if takes(FILES) => {
                let files = names.containers.iter().map(|name| format!("{name}:"));
                return arg.add(ArgValueCompleter::new(files_in(files.collect())));
            }
            () if CONTAINERS.contains(&arg.get_id().as_str()) => names.containers.clone(),
            () => return arg,
        };
        let fit = move |typed: &OsStr| beginning_with(&names, typed);
        arg.add(ArgValueCompleter::new(fit))
    })
}

/// What fits for a file: one in a container, or of this machine.
fn files_in(containers: Vec<String>) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> {
    let here = PathCompleter::any();
    move |typed| {
        let mut found = beginning_with(&containers, typed);
        found.extend(here.complete(typed));
        found
    }
}

fn beginning_with(names: &[String], typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let fit = names.iter().filter(|name| name.starts_with(typed.as_ref()));
    fit.map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn values(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let index = words.len() - 1;
        let names = Fitting {
            containers: vec!["db".to_owned(), "webserver".to_owned()],
            images: vec!["app:v1".to_owned(), "base:latest".to_owned()],
            networks: vec!["static".to_owned()],
            targets: vec!["web".to_owned()],
            volumes: vec!["data".to_owned()],
        };
        let found = fitting(
            args::command(),
            &args::command_names(&args::command()),
            words,
            index,
            &names,
        )
        .unwrap();
        let value = |line: &str| line.split('\t').next().unwrap().to_owned();
        found.lines().map(value).collect()
    }

    #[test]
    fn names_of_images_fit_where_images_are_meant() {
        for line in [
            "rbuild rmi ",
            "rbuild image rm ",
            "rbuild tag ",
            "rbuild --root /x save ",
            "rbuild history ",
            "rbuild explain ",
            "rbuild inspect ",
            "rbuild push ",
            "rbuild export -o f ",
            "rbuild -t ",
            "rbuild build --tag ",
        ] {
            let found = values(line);
            assert!(found.contains(&"app:v1".to_owned()), "{line}: {found:?}");
        }
        for line in [
            "rbuild network rm st",
            "rbuild network connect st",
            "rbuild network inspect st",
            "rbuild run --network st",
        ] {
            assert_eq!(values(line), ["static"], "{line}");
        }
        assert_eq!(values("rbuild bake we"), ["web"]);
        assert_eq!(values("rbuild volume rm d"), ["data"]);
        assert_eq!(values("rbuild volume inspect da"), ["data"]);
        assert_eq!(values("rbuild buildx bake --print we"), ["web"]);
        assert_eq!(values("rbuild rmi app:"), ["app:v1"]);
        assert_eq!(values("rbuild rmi app:v1 b"), ["base:latest"]);
        assert!(!values("rbuild pull ").contains(&"app:v1".to_owned()));
    }

    #[test]
    fn names_of_containers_fit_where_containers_are_meant() {
        for line in [
            "rbuild exec ",
            "rbuild exec -it ",
            "rbuild container exec ",
            "rbuild logs -f ",
            "rbuild stop ",
            "rbuild start -a ",
            "rbuild rm ",
            "rbuild rm -f db ",
            "rbuild kill ",
            "rbuild top ",
            "rbuild attach ",
            "rbuild commit ",
            "rbuild rename ",
            "rbuild port ",
            "rbuild stats ",
            "rbuild update ",
            "rbuild wait ",
            "rbuild --root /x pause ",
        ] {
            let found = values(line);
            assert!(found.contains(&"webserver".to_owned()), "{line}: {found:?}");
        }
        assert_eq!(values("rbuild exec we"), ["webserver"]);
        assert_eq!(values("rbuild cp we"), ["webserver:"]);
        assert_eq!(values("rbuild cp /etc/hosts we"), ["webserver:"]);
        // What is run in one is no container.
        let command = values("rbuild exec db ");
        assert!(!command.contains(&"webserver".to_owned()), "{command:?}");
        assert!(!values("rbuild rmi ").contains(&"webserver".to_owned()));
    }

    #[test]
    fn every_table_entry_is_a_command_with_that_argument() {
        fn has(command: &Command, name: &str, argument: &str) -> bool {
            let own = command.get_name() == name
                && command.get_arguments().any(|arg| arg.get_id() == argument);
            own || command
                .get_subcommands()
                .any(|inner| has(inner, name, argument))
        }
        let tables = [IMAGES, TARGETS, VOLUMES, BEGUN_BY_CONTAINERS, FILES];
        for (name, argument) in tables.into_iter().flatten() {
            assert!(has(&args::command(), name, argument), "{name} {argument}");
        }
    }

    #[test]
    fn commands_and_flags_fit_with_and_without_build() {
        assert_eq!(values("rbuild pus"), ["push"]);
        assert!(values("rbuild build --no-c").contains(&"--no-cache".to_owned()));
        assert!(values("rbuild --no-ca").contains(&"--no-cache".to_owned()));
        assert!(values("rbuild -t x --targ").contains(&"--target".to_owned()));
        assert!(!values("rbuild ").contains(&"__complete".to_owned()));
        assert!(!values("rbuild build --").contains(&"--force-rm".to_owned()));
    }
}
