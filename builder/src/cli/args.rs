//! What can be typed: every command and flag, with the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::build::call::Call;
use super::completions::CompletionsArgs;
use super::debug::DebugCommand;
use super::df::DfArgs;
use super::export::ExportArgs;
use super::history::HistoryArgs;
use super::images::ImagesArgs;
use super::import::ImportArgs;
use super::inspect::InspectArgs;
use super::lint::LintArgs;
use super::load::LoadArgs;
use super::login::LoginArgs;
use super::logout::LogoutArgs;
use super::progress::Mode;
use super::prune::PruneArgs;
use super::pull::PullArgs;
use super::push::PushArgs;
use super::rmi::RmiArgs;
use super::save::SaveArgs;
use super::tag::TagArgs;
use super::version::VersionArgs;

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
    about = "Build, keep and move container images without a daemon",
    arg_required_else_help = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where images, layers and the build cache are kept
    /// [default: $RBUILD_ROOT, else /var/lib/rbuild for root, $XDG_DATA_HOME/rbuild for others]
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Do not colour the output (so does a non-empty NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),

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

    /// Write the files of an image to a tar archive
    Export(ExportArgs),

    /// Log in to a registry
    Login(LoginArgs),

    /// Log out of a registry
    Logout(LogoutArgs),

    /// Check a Dockerfile without building it
    Lint(LintArgs),

    /// Show how much disk space is used
    Df(DfArgs),

    /// Remove what is not used
    Prune(PruneArgs),

    /// Commands about images, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Image(ImageCommand),

    /// Commands about builds, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Builder(BuilderCommand),

    /// Commands about the whole store, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    System(SystemCommand),

    /// Look inside
    #[command(subcommand, arg_required_else_help = true)]
    Debug(DebugCommand),

    /// Print a shell's completion script
    Completions(CompletionsArgs),

    /// Show the version
    Version(VersionArgs),
}

/// `rbuild image`
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
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
    Prune(PruneArgs),
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
    Build(Box<BuildArgs>),
    /// Remove build cache
    Prune(PruneArgs),
}

/// `rbuild system`
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show how much disk space is used
    Df(DfArgs),
    /// Remove what is not used
    Prune(PruneArgs),
}

/// `rbuild build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The build context: a folder, the URL of an archive or git repository (`URL.git#REF:FOLDER`),
    /// or `-` for a Dockerfile or archive on standard input
    #[arg(value_name = "PATH | URL | -")]
    pub context: String,

    /// Name, and optionally a tag, of the image (`name:tag`); may be repeated
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,

    /// The Dockerfile [default: PATH/Dockerfile]; `-` reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,

    /// Set a build argument; without `=VALUE` the value comes from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub build_args: Vec<String>,

    /// Give a further context a name, for FROM and COPY --from: a folder, a URL, a git repository,
    /// docker-image://REFERENCE, or oci-layout://PATH[:TAG|@DIGEST]
    #[arg(long = "build-context", value_name = "NAME=PLACE")]
    pub build_contexts: Vec<String>,

    /// The stage to build [default: the last one]
    #[arg(
        long,
        value_name = "STAGE",
        default_value = "",
        hide_default_value = true
    )]
    pub target: String,

    /// Add a label to the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,

    /// Build for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,

    /// Do not use the cache
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub no_cache: bool,

    /// Always ask the registry for newer base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub pull: bool,

    /// Print only the image ID
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,

    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "RBUILD_PROGRESS")]
    pub progress: Mode,

    /// The network of RUN steps
    #[arg(long, value_name = "MODE", default_value = "default",
          value_parser = ["default", "host", "none"])]
    pub network: String,

    /// What to do with the Dockerfile: build, check, outline (list arguments, secrets and SSH
    /// agents) or targets (list stages); `,format=json` makes the answer one for programs
    #[arg(
        long,
        alias = "print",
        value_name = "METHOD[,OPTION]",
        default_value = "build"
    )]
    pub call: Call,

    /// Check the Dockerfile and build nothing, as --call=check
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub check: bool,

    /// Push every name of the image to its registry when it is built
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub push: bool,

    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,

    /// Write the build's outcome to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Add a line to /etc/hosts of RUN steps
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub add_hosts: Vec<String>,

    /// What docker does when it is asked to, and this builder always: accepted, nothing to do
    #[command(flatten)]
    pub habits: HabitArgs,

    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Flags of `docker build` that ask for what is always done here: containers of steps are removed,
/// the image is in the store, nothing is sent anywhere to be compressed.
#[derive(Debug, Clone, Default, Args)]
pub struct HabitArgs {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = ["true", "1"])]
    rm: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    force_rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = ["true", "1"])]
    load: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    compress: Option<bool>,
}

/// Limits of RUN steps, in `docker build`'s words.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of RUN steps")]
pub struct LimitArgs {
    /// Memory, such as 512m
    #[arg(short = 'm', long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Length of a CPU period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,
    /// Relative CPU weight
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// A process limit, such as nofile=1024:2048
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<String>,
}

/// Parses a command line. A flag given twice counts as it was given last, as docker has it.
///
/// # Errors
/// clap's, which also carry help and version.
pub fn parse(raw: Vec<OsString>) -> Result<Cli, clap::Error> {
    use clap::{CommandFactory as _, FromArgMatches as _};
    let command = Cli::command()
        .args_override_self(true)
        .mut_subcommands(|command| command.args_override_self(true));
    Cli::from_arg_matches(&command.try_get_matches_from(raw)?)
}

/// The commands that can be typed, aliases too.
pub fn command_names() -> Vec<String> {
    use clap::CommandFactory as _;
    let mut names = vec!["help".to_owned()];
    for command in Cli::command().get_subcommands() {
        names.push(command.get_name().to_owned());
        names.extend(command.get_all_aliases().map(str::to_owned));
    }
    names
}

/// Puts `build` where no command was typed, so that `rbuild -t app .` builds.
pub fn with_default_command(mut raw: Vec<OsString>) -> Vec<OsString> {
    let known = command_names();
    let mut at = 1;
    while let Some(word) = raw.get(at) {
        let text = word.to_string_lossy();
        match text.as_ref() {
            "--root" => at += 2,
            "--no-color" => at += 1,
            t if t.starts_with("--root=") => at += 1,
            "-h" | "--help" | "-V" | "--version" => return raw,
            t if known.iter().any(|k| k == t) => return raw,
            _ => break,
        }
    }
    if at < raw.len() {
        raw.insert(at, "build".into());
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn first_words(line: &str) -> Vec<String> {
        let raw = line.split_whitespace().map(OsString::from).collect();
        with_default_command(raw)
            .iter()
            .map(|w| w.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts_and_lists_add_up() {
        let raw = "rbuild build --network none -t a --network host -t b .";
        let cli = parse(raw.split(' ').map(OsString::from).collect()).unwrap();
        let Command::Build(args) = cli.command else {
            panic!("it is a build")
        };
        assert_eq!(args.network, "host");
        assert_eq!(args.tags, ["a", "b"]);
    }

    #[test]
    fn switches_take_values_and_dockers_habits_are_accepted() {
        let build = |line: &str| {
            let cli = parse(line.split(' ').map(OsString::from).collect()).unwrap();
            let Command::Build(args) = cli.command else {
                panic!("it is a build")
            };
            args
        };
        assert!(!build("rbuild build --no-cache=false .").no_cache);
        assert!(build("rbuild build --no-cache .").no_cache);
        let args = build("rbuild build -q --rm --force-rm=false --load --compress .");
        assert!(args.quiet && args.context == ".");
        let refused = "rbuild build --rm=false .";
        assert!(parse(refused.split(' ').map(OsString::from).collect()).is_err());
    }

    #[test]
    fn build_is_the_default_command() {
        assert_eq!(
            first_words("rbuild -t a ."),
            ["rbuild", "build", "-t", "a", "."]
        );
        assert_eq!(first_words("rbuild ."), ["rbuild", "build", "."]);
        assert_eq!(first_words("rbuild build ."), ["rbuild", "build", "."]);
        assert_eq!(
            first_words("rbuild --root /x -t a ."),
            ["rbuild", "--root", "/x", "build", "-t", "a", "."]
        );
        assert_eq!(first_words("rbuild --version"), ["rbuild", "--version"]);
        assert_eq!(first_words("rbuild"), ["rbuild"]);
    }
}
