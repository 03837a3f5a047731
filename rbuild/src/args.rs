//! What can be typed: every command and flag, with the help that teaches it.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::commands::bake::flags::BakeFlags;
use crate::commands::build::flags::BuildFlags;
use crate::commands::builders::BuildersCommand;
use crate::commands::builds::{BuildsArgs, BuildsCommand};
use crate::commands::completions::{CompleteArgs, CompletionsArgs};
use crate::commands::container::{self, ContainerCommand};
use crate::commands::context::ContextCommand;
use crate::commands::debug::DebugCommand;
use crate::commands::df::DfArgs;
use crate::commands::events::EventsArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::export::ExportArgs;
use crate::commands::fsck::FsckArgs;
use crate::commands::history::HistoryArgs;
use crate::commands::images::ImagesArgs;
use crate::commands::imagetools::ImagetoolsCommand;
use crate::commands::import::ImportArgs;
use crate::commands::info::InfoArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::lint::LintArgs;
use crate::commands::load::LoadArgs;
use crate::commands::login::LoginArgs;
use crate::commands::logout::LogoutArgs;
use crate::commands::man::ManArgs;
use crate::commands::manifest::ManifestCommand;
use crate::commands::network::NetworkCommand;
use crate::commands::prune::{CachePruneArgs, ImagePruneArgs, PruneArgs, SystemPruneArgs};
use crate::commands::pull::PullArgs;
use crate::commands::push::PushArgs;
use crate::commands::rmi::RmiArgs;
use crate::commands::save::SaveArgs;
use crate::commands::search::SearchArgs;
use crate::commands::tag::TagArgs;
use crate::commands::version::VersionArgs;
use crate::commands::volume::VolumeCommand;
use crate::flags::Global;
use crate::late::Late;

const EXAMPLES: &str = "\
Examples:
  rbuild -t app:v1 .                      build the Dockerfile in this folder
  rbuild -t app:v1 -f docker/Dockerfile . build another Dockerfile with this folder as context
  rbuild tag app:v1 localhost:5000/app:v1
  rbuild push localhost:5000/app:v1       push it to a registry
  rbuild import rootfs.tar debian:bookworm
                                          make a base image from a root file system

`rbuild build …` and plain `rbuild …` are the same. No daemon is involved: images, layers and the
build cache live under --root.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "rbuild",
    version,
    about = "Build, keep and move container images, and run them, without a daemon",
    arg_required_else_help = true,
    disable_version_flag = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// Print the version
    #[arg(short = 'v', long, short_alias = 'V', action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Late<BuildFlags>),

    /// Build the targets that HCL, JSON or compose files define
    Bake(Late<BakeFlags>),

    /// List the last builds, and where their time went
    Builds(BuildsArgs),

    /// Tell why the steps of a build ran
    Explain(ExplainArgs),

    /// Make a container and start it
    Run(Late<container::run::RunArgs>),

    /// Run a command in a container
    Exec(container::exec::ExecArgs),

    /// List containers
    Ps(container::ps::PsArgs),

    /// Make a container
    Create(Late<container::create::CreateArgs>),

    /// Start containers
    Start(container::start::StartArgs),

    /// Ask containers to end
    Stop(container::stop::StopArgs),

    /// Stop containers and start them
    Restart(container::stop::StopArgs),

    /// Send containers a signal
    Kill(container::kill::KillArgs),

    /// Stop all processes of containers where they are
    Pause(container::pause::PauseArgs),

    /// Let paused containers go on
    Unpause(container::unpause::UnpauseArgs),

    /// Wait until containers have ended, and print their exit codes
    Wait(container::wait::WaitArgs),

    /// Give a container another name
    Rename(container::rename::RenameArgs),

    /// Remove containers
    Rm(container::rm::RmArgs),

    /// Take part in the streams of a container
    Attach(container::attach::AttachArgs),

    /// Show what a container has said
    Logs(container::logs::LogsArgs),

    /// Show the processes of a container
    Top(container::top::TopArgs),

    /// Show what containers use
    Stats(container::stats::StatsArgs),

    /// Show what has changed in a container since it was made
    Diff(container::diff::DiffArgs),

    /// Copy files between a container and this machine
    Cp(container::cp::CpArgs),

    /// Make an image of a container
    Commit(container::commit::CommitArgs),

    /// Change what containers may use
    Update(Late<container::update::UpdateArgs>),

    /// Show which ports of this machine lead to a container
    Port(container::port::PortArgs),

    /// Commands about networks of containers
    #[command(subcommand, arg_required_else_help = true)]
    Network(Late<NetworkCommand>),

    /// Commands about containers, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Container(Late<ContainerCommand>),

    /// Commands about volumes, which keep files beyond containers
    #[command(subcommand, arg_required_else_help = true)]
    Volume(Late<VolumeCommand>),

    /// List images
    #[command(visible_alias = "ls")]
    Images(ImagesArgs),

    /// Show how an image was made
    History(HistoryArgs),

    /// Show all that is known about images
    Inspect(InspectArgs),

    /// Make an image of a root file system
    Import(ImportArgs),

    /// Give an image another name
    Tag(TagArgs),

    /// Remove images, or names of them
    Rmi(RmiArgs),

    /// Fetch an image from a registry
    Pull(PullArgs),

    /// Bring an image to a registry
    Push(PushArgs),

    /// Write images to an archive
    Save(SaveArgs),

    /// Read images from an archive
    Load(LoadArgs),

    /// Write the files of a container or an image to a tar archive
    Export(ExportArgs),

    /// Log in to a registry
    Login(LoginArgs),

    /// Log out of a registry
    Logout(LogoutArgs),

    /// Look for images by a word
    Search(SearchArgs),

    /// Check a Dockerfile without building it
    Lint(LintArgs),

    /// Show how much disk space is used
    Df(DfArgs),

    /// Remove what is not used
    Prune(PruneArgs),

    /// Check the store, and mend it
    Fsck(FsckArgs),

    /// Show where images are kept, and with what
    Info(InfoArgs),

    /// Tell what happens to containers
    Events(EventsArgs),

    /// Commands about images, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Image(Late<ImageCommand>),

    /// Commands about builds, as docker groups them
    #[command(subcommand, arg_required_else_help = true, alias = "buildx")]
    Builder(Late<BuilderCommand>),

    /// Lists of images for several platforms, made of images in registries
    #[command(subcommand, arg_required_else_help = true)]
    Manifest(Late<ManifestCommand>),

    /// Look at images in registries and join them, as docker buildx does it
    #[command(subcommand, arg_required_else_help = true)]
    Imagetools(Late<ImagetoolsCommand>),

    /// Commands about the whole store, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    System(Late<SystemCommand>),

    /// Where commands are run, as docker asks for it: there is this machine
    #[command(subcommand, arg_required_else_help = true)]
    Context(Late<ContextCommand>),

    /// Look inside
    #[command(subcommand, arg_required_else_help = true)]
    Debug(Late<DebugCommand>),

    /// Print a shell's completion script
    Completions(CompletionsArgs),

    /// What fits where a word is being typed, for the completion scripts
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),

    /// Manual pages, for packages
    #[command(name = "__man", hide = true)]
    Man(ManArgs),

    /// Show the version
    Version(VersionArgs),
}

/// `rbuild image`
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildFlags>),
    /// Show how an image was made
    History(HistoryArgs),
    /// Make an image of a root file system
    Import(ImportArgs),
    /// Show all that is known about images
    Inspect(InspectArgs),
    /// Read images from an archive
    Load(LoadArgs),
    /// List images
    #[command(alias = "list")]
    Ls(ImagesArgs),
    /// Remove images that are not used
    Prune(ImagePruneArgs),
    /// Fetch an image from a registry
    Pull(PullArgs),
    /// Bring an image to a registry
    Push(PushArgs),
    /// Remove images, or names of them
    #[command(alias = "remove")]
    Rm(RmiArgs),
    /// Write images to an archive
    Save(SaveArgs),
    /// Give an image another name
    Tag(TagArgs),
}

/// `rbuild builder`
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// Build an image from a Dockerfile
    #[command(alias = "b")]
    Build(Box<BuildFlags>),
    /// Build the targets that HCL, JSON or compose files define
    #[command(alias = "f")]
    Bake(Box<BakeFlags>),
    /// The last builds, and where their time went
    #[command(subcommand, arg_required_else_help = true)]
    History(BuildsCommand),
    /// Look at images in registries and join them
    #[command(subcommand, arg_required_else_help = true)]
    Imagetools(ImagetoolsCommand),
    /// Remove build cache
    Prune(CachePruneArgs),
    /// What scripts say of buildx's builders
    #[command(flatten)]
    Builders(BuildersCommand),
}

/// `rbuild system`
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show how much disk space is used
    Df(DfArgs),
    /// Tell what happens to containers
    Events(EventsArgs),
    /// Show where images are kept, and with what
    Info(InfoArgs),
    /// Remove what is not used
    Prune(SystemPruneArgs),
}

/// Parses a command line. A flag given twice counts as it was given last, as docker has it.
/// `program` is [`program`] or [`command`].
///
/// # Errors
/// clap's, which also carry help and version.
pub fn parse(program: clap::Command, raw: Vec<OsString>) -> Result<Cli, clap::Error> {
    use clap::FromArgMatches as _;
    crate::ways::note(&raw);
    let command = crate::ways::apply(program);
    Cli::from_arg_matches(&command.try_get_matches_from(raw)?)
}

/// The whole command line, for whoever parses it: what a command takes is found out once it is
/// typed.
pub fn program() -> clap::Command {
    use clap::CommandFactory as _;
    Cli::command()
}

/// The whole command line with all that each command takes, for whoever tells of it.
pub fn command() -> clap::Command {
    let mut program = program();
    program.build();
    program
}

/// The commands that can be typed, aliases too.
pub fn command_names(program: &clap::Command) -> Vec<String> {
    let mut names = vec!["help".to_owned()];
    for command in program.get_subcommands() {
        names.push(command.get_name().to_owned());
        names.extend(command.get_all_aliases().map(str::to_owned));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts_and_lists_add_up() {
        let raw = "rbuild build --network none -t a --network host -t b .";
        let cli = parse(command(), raw.split(' ').map(OsString::from).collect()).unwrap();
        let Command::Build(args) = cli.command else {
            panic!("it is a build")
        };
        let args = args.typed();
        assert_eq!(args.network, "host");
        assert_eq!(args.tags, ["a", "b"]);
    }

    #[test]
    fn what_follows_a_flag_is_its_value_and_switches_may_have_one() {
        let of = |line: &str| {
            parse(program(), line.split(' ').map(OsString::from).collect())
                .unwrap_or_else(|error| panic!("{line}: {error}"))
                .command
        };
        let Command::Run(args) = of("rbuild run -h box --memory -1 -e -x img -c y") else {
            panic!("it is run")
        };
        let args = args.typed();
        assert_eq!(args.make.hostname.as_deref(), Some("box"));
        assert_eq!(args.make.limits.memory.as_deref(), Some("-1"));
        assert_eq!(args.make.env, ["-x"]);
        assert_eq!(args.make.words, ["img", "-c", "y"]);
        let Command::Ps(args) = of("rbuild ps -a=false --no-trunc=true -q") else {
            panic!("it is ps")
        };
        assert!(!args.all && args.no_trunc && args.quiet);
        let line = "rbuild container ls --all=1 -s";
        let Command::Container(command) = of(line) else {
            panic!("it is of containers")
        };
        let ContainerCommand::Ls(args) = command.typed() else {
            panic!("it is ls")
        };
        assert!(args.all && args.size);
    }

    /// docker 28 builds with each of these as without.
    #[test]
    fn flags_with_empty_values_are_none() {
        let names = "file network target output progress iidfile metadata-file secret ssh \
                     cache-from cache-to build-context builder memory memory-swap allow annotation \
                     cgroup-parent no-cache-filter security-opt isolation cpuset-cpus cpuset-mems \
                     provenance sbom add-host call";
        let build = |line: &[&str]| {
            let raw = line.iter().map(OsString::from).collect();
            let cli = parse(command(), raw).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let Command::Build(args) = cli.command else {
                panic!("it is a build")
            };
            let mut args = args.typed().without_empty();
            args.habits = crate::commands::build::flags::HabitArgs::default();
            format!("{args:?}").replace("progress: Some(Auto)", "progress: None")
        };
        let without = build(&["rbuild", "build", "."]);
        for name in names.split_whitespace() {
            let flag = format!("--{name}");
            assert_eq!(
                build(&["rbuild", "build", &flag, "", "."]),
                without,
                "{flag}"
            );
        }
    }

    #[test]
    fn switches_take_values_and_dockers_habits_are_accepted() {
        let build = |line: &str| {
            let cli = parse(command(), line.split(' ').map(OsString::from).collect()).unwrap();
            let Command::Build(args) = cli.command else {
                panic!("it is a build")
            };
            args.typed()
        };
        assert!(!build("rbuild build --no-cache=false .").no_cache);
        assert!(build("rbuild build --no-cache .").no_cache);
        assert!(build("rbuild build --no-cache=T --pull=1 .").no_cache);
        assert!(build("rbuild build --pull=always .").pull);
        assert!(!build("rbuild build --pull=missing --push=F .").pull);
        let args = build("rbuild build -q --rm --force-rm=false --load --compress .");
        assert!(args.quiet && args.context == ".");
        // BuildKit heeds none of these.
        build("rbuild build --rm=false --isolation=default --builder=default .");
        build("rbuild build --provenance=false --sbom=false --disable-content-trust=false .");
        build("rbuild build --provenance false --sbom 0 .");
        build("rbuild build --memory-swappiness=0 --load=false --attest=type=sbom,disabled=true .");
        for refused in [
            "--provenance=mode=max",
            "--attest=type=sbom",
            "--pull=never",
            "--rm=maybe",
            "--sbom true",
            "--isolation=hyperv",
        ] {
            let line = format!("rbuild build {refused} .");
            let parsed = parse(command(), line.split(' ').map(OsString::from).collect());
            assert!(parsed.is_err(), "{line}");
        }
    }
}
