//! Flags that are none.

use clap::Command;

use super::hints::{see, similar};

/// docker's flags that builds here do not have, with what to do instead.
const BUILD: &[(&str, &str)] = &[
    (
        "--policy",
        "what a build may take is decided by who starts it: --allow and `rbuild lint`",
    ),
    ("--stream", "the context is read where it is"),
];

/// buildah's and podman's flags of builds that people type most, likewise.
const BUILDAH: &[(&str, &str)] = &[
    (
        "--all-platforms",
        "name the platforms: --platform linux/amd64,linux/arm64",
    ),
    ("--arch", "--platform OS/ARCH says it"),
    (
        "--authfile",
        "DOCKER_CONFIG names the folder of credentials",
    ),
    (
        "--build-arg-file",
        "--build-arg NAME=VALUE sets one, and --build-arg NAME takes it from the environment",
    ),
    (
        "--cache-ttl",
        "`rbuild prune --filter until=24h` takes away what is old",
    ),
    (
        "--cap-add",
        "RUN --security=insecure has all capabilities, with --allow security.insecure",
    ),
    (
        "--cap-drop",
        "RUN has docker's capabilities; `setpriv` in it drops some",
    ),
    (
        "--cert-dir",
        "certificates are found in /etc/docker/certs.d/HOST",
    ),
    ("--cgroupns", "RUN always has a cgroup namespace of its own"),
    ("--cpp-flag", "run cpp first, and give its output with -f -"),
    ("--creds", "`rbuild login` keeps credentials"),
    ("--env", "ENV in the Dockerfile sets variables"),
    ("--format", "--output type=oci or type=docker says it"),
    (
        "--from",
        "--build-context NAME=docker-image://OTHER puts another image in its place",
    ),
    ("--group-add", "RUN has the groups of its user in the image"),
    (
        "--ignorefile",
        "put it beside the Dockerfile, as Dockerfile.dockerignore",
    ),
    ("--ipc", "RUN always has an IPC namespace of its own"),
    ("--layers", "every step is a layer, and is cached"),
    ("--logfile", "2>FILE keeps what a build tells"),
    (
        "--manifest",
        "--platform with several platforms makes a list, `rbuild manifest` others",
    ),
    ("--no-hosts", "RUN always has an /etc/hosts of its own"),
    ("--os", "--platform OS/ARCH says it"),
    ("--pid", "RUN always has a PID namespace of its own"),
    (
        "--rewrite-timestamp",
        "--output …,rewrite-timestamp=true says it",
    ),
    ("--runtime", "steps are run by rbuild itself"),
    (
        "--source-date-epoch",
        "--build-arg SOURCE_DATE_EPOCH=SECONDS says it",
    ),
    (
        "--timestamp",
        "--build-arg SOURCE_DATE_EPOCH=SECONDS dates what is made",
    ),
    (
        "--stdin",
        "RUN has no standard input; a secret or a bound file brings what it is to read",
    ),
    (
        "--tls-verify",
        "insecure = true in registries.toml says it of a registry",
    ),
    (
        "--userns",
        "steps run as this machine's root without its privileges",
    ),
    ("--unsetenv", "ENV in the Dockerfile sets it to nothing"),
    ("--uts", "RUN always has a UTS namespace of its own"),
    ("--variant", "--platform OS/ARCH/VARIANT says it"),
];

/// docker's flags of other commands: command, flag, what to do instead.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "bake",
        "--debug",
        "--progress=plain shows all that builds do",
    ),
    ("load", "--platform", "all images of the archive are loaded"),
    (
        "run",
        "--use-api-socket",
        "there is no daemon whose socket it could have",
    ),
    (
        "create",
        "--use-api-socket",
        "there is no daemon whose socket it could have",
    ),
    (
        "start",
        "--checkpoint",
        "processes are not stored: `rbuild pause` holds them where they are",
    ),
    (
        "start",
        "--checkpoint-dir",
        "processes are not stored: `rbuild pause` holds them where they are",
    ),
    (
        "rmi",
        "--platform",
        "`rbuild inspect NAME` lists the image of each platform, to be removed by its ID",
    ),
    (
        "prune",
        "--volumes",
        "`rbuild system prune --volumes` removes volumes without a name",
    ),
];

/// docker's own flags, before any command.
const GLOBAL: &[(&str, &str)] = &[
    ("--config", "it stands before a command"),
    ("--context", "there is no daemon to choose"),
    ("--debug", "it stands before a command"),
    ("--host", "there is no daemon to reach"),
    ("--log-level", "it stands before a command"),
    ("--tls", "there is no daemon to reach"),
    ("--tlscacert", "there is no daemon to reach"),
    ("--tlscert", "there is no daemon to reach"),
    ("--tlskey", "there is no daemon to reach"),
    ("--tlsverify", "there is no daemon to reach"),
];

/// Long names of docker's short flags, for those that are not here.
const SHORT: &[(&str, &str)] = &[("-D", "--debug"), ("-H", "--host"), ("-l", "--log-level")];

/// What to do in place of one of docker's own flags.
pub(super) fn instead_of_own(flag: &str) -> Option<&'static str> {
    let mut found = GLOBAL.iter().filter(|(name, _)| *name == flag);
    found.next().map(|(_, text)| *text)
}

/// What a flag is told that the command `path` does not have; `typed` are all words.
pub fn unknown(program: &Command, path: &[&str], flag: &str, typed: &[String]) -> String {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    if let Some(instead) = instead(program, path, name) {
        return format!(
            "{name} is docker's, and is not supported here; {instead}\n\n{}",
            see(path)
        );
    }
    if is_build(program, path)
        && let Some((_, instead)) = BUILDAH.iter().find(|(flag, _)| *flag == name)
    {
        return format!(
            "{name} is buildah's, and is not supported here; {instead}\n\n{}",
            see(path)
        );
    }
    if !name.starts_with("--") {
        let letter = name.trim_start_matches('-');
        let is_among = |word: &&String| {
            word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
        };
        let among = typed.iter().find(is_among).map_or(name, String::as_str);
        let among = among.split('=').next().unwrap_or(among);
        return format!(
            "unknown shorthand flag: '{letter}' in {among}\n\n{}",
            super::line::after(program, path)
        );
    }
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let own = flags.filter_map(clap::Arg::get_long);
    let global = program.get_arguments().filter(|arg| arg.is_global_set());
    let names = own.chain(global.filter_map(clap::Arg::get_long));
    let after = super::line::after(program, path);
    let meant = match similar(name.trim_start_matches('-'), names) {
        Some(meant) => format!("; did you mean --{meant}?"),
        None => String::new(),
    };
    format!("unknown flag: {name}{meant}\n\n{after}")
}

fn is_build(program: &Command, path: &[&str]) -> bool {
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    command.get_name() == "build"
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
    match name {
        None => instead_of_own(flag),
        Some("build") => {
            let mut found = BUILD.iter().filter(|(name, _)| *name == flag);
            found.next().map(|(_, text)| *text)
        }
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

    /// `docker build --help` of docker 20.10, with DOCKER_BUILDKIT=0 and 1 and experiments, and
    /// what older clients had.
    const OLDER: &str = "--add-host --build-arg --cache-from --cgroup-parent --compress \
        --cpu-period --cpu-quota --cpu-shares --cpuset-cpus --cpuset-mems \
        --disable-content-trust --file --force-rm --iidfile --isolation --label --memory \
        --memory-swap --network --no-cache --output --platform --progress --pull --quiet --rm \
        --secret --security-opt --shm-size --squash --ssh --stream --tag --target --ulimit \
        --memory-swappiness --policy --print";

    /// Flags of those lists that change what a build does.
    const WORK: &str = "--add-host --allow --annotation --build-arg --build-context --call \
        --cgroup-parent --check --cpu-period --cpu-quota --cpu-shares --cpuset-cpus \
        --cpuset-mems --debug --file --iidfile --label --memory --memory-swap --metadata-file \
        --network --no-cache --no-cache-filter --output --platform --progress --pull --push \
        --quiet --secret --security-opt --shm-size --ssh --tag --target --ulimit \
        --dns --dns-search --dns-option --volume --jobs --squash --device";

    /// Those that are taken and change nothing, with the values that are.
    const TAKEN: &[&str] = &[
        "--rm",
        "--rm=false",
        "--force-rm=T",
        "--compress",
        "--load",
        "--load=false",
        "--builder=default",
        "--isolation=default",
        "--disable-content-trust=0",
        "--memory-swappiness=-1",
        "--provenance=false",
        "--provenance=disabled=true",
        "--sbom=0",
        "--attest=type=provenance,disabled=true",
    ];

    #[test]
    fn every_flag_of_dockers_build_works_is_taken_or_is_refused_by_name() {
        let program = args::command();
        let build = program.find_subcommand("build").unwrap();
        let find = |flag: &str| {
            let name = flag.trim_start_matches('-');
            let of_name = |arg: &&clap::Arg| {
                arg.get_long() == Some(name)
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            };
            build.get_arguments().find(of_name)
        };
        for flag in DOCKER.split_whitespace().chain(OLDER.split_whitespace()) {
            let named = instead(&program, &["build"], flag).is_some();
            assert!(find(flag).is_some() != named, "{flag}");
        }
        for flag in WORK.split_whitespace() {
            let arg = find(flag).unwrap_or_else(|| panic!("{flag} works"));
            assert!(!arg.is_hide_set(), "{flag} is in the help");
        }
        for flag in TAKEN {
            let line = ["rbuild", "build", flag, "."].map(std::ffi::OsString::from);
            args::parse(args::command(), line.into()).unwrap_or_else(|e| panic!("{flag}: {e}"));
            let name = flag.split('=').next().unwrap();
            assert!(find(name).unwrap().is_hide_set(), "{flag} does nothing");
        }
    }

    #[test]
    fn buildahs_flags_are_called_buildahs() {
        let program = args::command();
        let build = program.find_subcommand("build").unwrap();
        for (flag, instead) in BUILDAH {
            let name = flag.trim_start_matches('-');
            let own = build
                .get_arguments()
                .any(|arg| arg.get_long() == Some(name));
            assert!(!own, "{flag} is here");
            let told = unknown(&program, &["image", "build"], &format!("{flag}=x"), &[]);
            let start = format!("{flag} is buildah's, and is not supported here; {instead}");
            assert!(told.starts_with(&start), "{told}");
        }
        let told = unknown(&program, &["images"], "--authfile", &[]);
        assert!(told.starts_with("unknown flag: --authfile"), "{told}");
    }

    #[test]
    fn dockers_flags_are_called_dockers() {
        let told = |path: &[&str], flag: &str| unknown(&args::command(), path, flag, &[]);
        let text = told(&["build"], "--stream=true");
        let start = "--stream is docker's, and is not supported here; the context is";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with("Run 'rbuild build --help' for more information"));
        assert!(told(&["image", "rm"], "--platform").starts_with("--platform is docker's"));
        assert!(told(&[], "-H").starts_with("-H is docker's"));
        assert!(told(&["images"], "--cache-from").starts_with("unknown flag: --cache-from\n"));
    }
}
