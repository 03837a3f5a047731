//! What can be typed after `rbuild build`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::call::{Call, Method};
use crate::term::progress::Mode;

/// `rbuild build`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild build -t app:v1 .                       the Dockerfile of this folder
  rbuild build -t app:v1 -f docker/app.Dockerfile .
  rbuild build --target test --build-arg VERSION=1.2 .
  rbuild build -t app https://example.com/app.git#v1:docker
  tar -c . | rbuild build -t app -               a context on standard input
  rbuild build -t registry.lan/app:v1 --push .   and push it
  rbuild build --platform linux/amd64,linux/arm64 -t registry.lan/app:v1 --push .
  rbuild build -o out .                          the files, and no image
  rbuild build -o type=oci,dest=app.tar .        an OCI image layout
  rbuild build --check .                         look for mistakes, build nothing")]
pub struct BuildFlags {
    /// The build context: a folder, the URL of an archive or git repository (`URL.git#REF:FOLDER`),
    /// or `-` for a Dockerfile or archive on standard input
    #[arg(value_name = "PATH | URL | -")]
    pub context: String,

    /// Name, and optionally a tag, of the image (`name:tag`); may be repeated
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,

    /// The Dockerfile [default: PATH/Dockerfile, else dockerfile or Containerfile there]; `-` reads
    /// it from standard input
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

    /// Build for this platform [default: this machine's]; several, separated by commas or each with
    /// a flag of its own, make an index of one image each
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<String>,

    /// What becomes of the result, instead of an image in the store: a folder for its files, `-`
    /// for a tar of them on standard output, or type=image|registry|docker|oci|local|tar with
    /// dest=PATH and other attributes; may be repeated
    #[arg(short, long = "output", value_name = "DEST")]
    pub outputs: Vec<String>,

    /// Annotate the manifest, or what else TYPE names: index, manifest-descriptor,
    /// index-descriptor
    #[arg(long = "annotation", value_name = "[TYPE:]KEY=VALUE")]
    pub annotations: Vec<String>,

    /// Look steps up in a cache that other machines share: type=registry,ref=REPOSITORY or
    /// type=local,src=FOLDER; REPOSITORY alone, or an image that has one; may be repeated
    #[arg(long = "cache-from", value_name = "CACHE")]
    pub cache_from: Vec<String>,

    /// Write steps to a cache that other machines share: type=registry,ref=REPOSITORY,
    /// type=local,dest=FOLDER, or type=inline for the image itself; mode=max writes those of all
    /// stages; may be repeated
    #[arg(long = "cache-to", value_name = "CACHE")]
    pub cache_to: Vec<String>,

    /// Do not use the cache
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub no_cache: bool,

    /// Always ask the registry for newer base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub pull: bool,

    /// Print only the image ID
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,

    /// Steps at a time, at most [default: as many as there are cores, not counting those that
    /// sleep]
    #[arg(long, value_name = "NUMBER")]
    pub jobs: Option<NonZeroUsize>,

    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "RBUILD_PROGRESS")]
    pub progress: Mode,

    /// The network of RUN steps
    #[arg(long, value_name = "MODE", default_value = "default",
          value_parser = ["default", "host", "none"])]
    pub network: String,

    /// Let the build do what its container keeps it from: network.host, the network of this
    /// machine for RUN --network=host (--network host allows it too); security.insecure, all
    /// privileges for RUN --security=insecure; device, devices of this machine for RUN --device
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,

    /// A secret for RUN --mount=type=secret,id=ID, which the image does not get:
    /// id=ID,src=FILE or id=ID,env=NAME
    #[arg(long = "secret", value_name = "id=ID[,src=FILE|,env=NAME]")]
    pub secrets: Vec<String>,

    /// An SSH agent for RUN --mount=type=ssh: `default` is that of SSH_AUTH_SOCK
    #[arg(long, value_name = "default|ID[=SOCKET]")]
    pub ssh: Vec<String>,

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

    /// Write the image ID, or the index's digest, to a file
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

impl BuildFlags {
    /// What is to be done with the Dockerfile.
    pub fn method(&self) -> Method {
        match self.check {
            true => Method::Check,
            false => self.call.method,
        }
    }
}

/// Flags of `docker build` that ask for what is always done here: containers of steps are removed,
/// the image is in the store, nothing is sent anywhere to be compressed, there is one builder. So
/// does BuildKit with most of them.
#[derive(Debug, Clone, Default, Args)]
pub struct HabitArgs {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    force_rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = ["true", "1"])]
    load: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    compress: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true, value_parser = ["", "default", "process"])]
    isolation: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = none_wanted)]
    provenance: Option<()>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = none_wanted)]
    sbom: Option<()>,
}

impl HabitArgs {
    /// Whether the image is to be in the store, whatever else becomes of it.
    pub fn loads(&self) -> bool {
        self.load.is_some()
    }
}

/// A statement about the image that is not to be made.
fn none_wanted(text: &str) -> Result<(), String> {
    match text {
        "false" | "0" | "disabled=true" => Ok(()),
        _ => Err(
            "statements about images are not made here, only =false is supported; \
                  cosign and syft make them of an image that is pushed"
                .to_owned(),
        ),
    }
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
    /// Processes and threads at once; 0 for no limit
    #[arg(
        long,
        value_name = "NUMBER",
        env = "RBUILD_PIDS_LIMIT",
        allow_hyphen_values = true
    )]
    pub pids_limit: Option<i64>,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// A process limit, such as nofile=1024:2048
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<String>,
}
