//! Flags that are none.

use clap::Command;

use super::hints::{see, similar};

/// docker's flags that builds here do not have, with what to do instead.
const BUILD: &[(&str, &str)] = &[
    (
        "--cache-from",
        "the cache is the store's own: keep the folder that --root names between builds",
    ),
    (
        "--cache-to",
        "the cache is the store's own: keep the folder that --root names between builds",
    ),
    (
        "--policy",
        "what a build may take is decided by who starts it: --allow and `rbuild lint`",
    ),
    (
        "--squash",
        "`rbuild export IMAGE | rbuild import - NAME` makes one layer of all",
    ),
    ("--stream", "the context is read where it is"),
];

/// docker's flags of other commands: command, flag, what to do instead.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "images",
        "--tree",
        "`rbuild images --digests` lists names and digests",
    ),
    (
        "bake",
        "--debug",
        "--progress=plain shows all that builds do",
    ),
    (
        "bake",
        "--var",
        "variables are set by the environment, as in NAME=VALUE rbuild bake",
    ),
    ("load", "--platform", "all images of the archive are loaded"),
    (
        "inspect",
        "--type",
        "everything that is inspected is an image",
    ),
    (
        "rmi",
        "--platform",
        "`rbuild inspect NAME` lists the image of each platform, to be removed by its ID",
    ),
    ("prune", "--volumes", "there are no volumes here"),
];

/// docker's own flags, before any command.
const GLOBAL: &[(&str, &str)] = &[
    ("--config", "DOCKER_CONFIG names the folder of credentials"),
    ("--context", "there is no daemon to choose"),
    (
        "--debug",
        "`rbuild build --progress=plain` shows all that a build does",
    ),
    ("--host", "there is no daemon to reach"),
    ("--log-level", "nothing is logged but what is shown"),
    ("--tls", "there is no daemon to reach"),
    ("--tlscacert", "there is no daemon to reach"),
    ("--tlscert", "there is no daemon to reach"),
    ("--tlskey", "there is no daemon to reach"),
    ("--tlsverify", "there is no daemon to reach"),
];

/// Long names of docker's short flags, for those that are not here.
const SHORT: &[(&str, &str)] = &[("-D", "--debug"), ("-H", "--host"), ("-l", "--log-level")];

/// What a flag is told that the command `path` does not have.
pub fn unknown(program: &Command, path: &[&str], flag: &str) -> String {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    if let Some(instead) = instead(program, path, name) {
        return format!(
            "{name} is docker's, and is not supported here; {instead}\n\n{}",
            see(path)
        );
    }
    if !name.starts_with("--") {
        return format!("unknown shorthand flag: {name}\n\n{}", see(path));
    }
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let own = flags.filter_map(clap::Arg::get_long);
    let global = program.get_arguments().filter(|arg| arg.is_global_set());
    let names = own.chain(global.filter_map(clap::Arg::get_long));
    let meant = match similar(name.trim_start_matches('-'), names) {
        Some(meant) => format!("; did you mean --{meant}?"),
        None => String::new(),
    };
    format!("unknown flag: {name}{meant}\n\n{}", see(path))
}

/// What to do in place of a flag of docker's.
fn instead(program: &Command, path: &[&str], flag: &str) -> Option<&'static str> {
    let short = SHORT.iter().find(|(short, _)| *short == flag);
    let flag = short.map_or(flag, |(_, long)| long);
    // Aliases and groups are as good as the name: `image ls` is `images`.
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name)?;
    }
    let name = match (path, command.get_name()) {
        ([], _) => None,
        ([_, ..], "ls") => Some("images"),
        ([_, ..], "rm") => Some("rmi"),
        ([_, ..], name) => Some(name),
    };
    let find = |table: &'static [(&str, &str)]| {
        let mut found = table.iter().filter(|(name, _)| *name == flag);
        found.next().map(|(_, text)| *text)
    };
    match name {
        None => find(GLOBAL),
        Some("build") => find(BUILD),
        Some(command) => {
            let mut found = OTHERS
                .iter()
                .filter(|(of, name, _)| *of == command && *name == flag);
            found.next().map(|(_, _, text)| *text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    /// `docker build --help` and `docker buildx build --help` of docker 28.
    const DOCKER: &str = "--add-host --allow --annotation --attest --build-arg --build-context \
        --builder --cache-from --cache-to --call --cgroup-parent --check --compress --cpu-period \
        --cpu-quota --cpu-shares --cpuset-cpus --cpuset-mems --debug --disable-content-trust \
        --file --force-rm --iidfile --isolation --label --load --memory --memory-swap \
        --metadata-file --network --no-cache --no-cache-filter --output --platform --progress \
        --provenance --pull --push --quiet --rm --sbom --secret --security-opt --shm-size --ssh \
        --tag --target --ulimit";

    #[test]
    fn every_flag_of_dockers_build_is_here_or_named() {
        let program = args::command();
        let build = program.find_subcommand("build").unwrap();
        let own: Vec<&str> = build
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .collect();
        for flag in DOCKER.split_whitespace() {
            let here = own.contains(&flag.trim_start_matches('-'));
            let named = instead(&program, &["build"], flag).is_some();
            assert!(here || named, "{flag}");
        }
    }

    #[test]
    fn dockers_flags_are_called_dockers() {
        let told = |path: &[&str], flag: &str| unknown(&args::command(), path, flag);
        let text = told(&["build"], "--cache-from=user/app");
        let start = "--cache-from is docker's, and is not supported here; the cache is";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with("Run 'rbuild build --help' for more information"));
        assert!(told(&["image", "ls"], "--tree").starts_with("--tree is docker's"));
        assert!(told(&[], "-H").starts_with("-H is docker's"));
        assert!(told(&["images"], "--cache-from").starts_with("unknown flag: --cache-from\n"));
    }
}
