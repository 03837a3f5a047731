//! What can be typed after `rbuild build`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum as _};

use super::call::{Call, Method};
use crate::flags::boolean;
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
    /// it from standard input; of a context that is fetched it is a file, `cwd://FILE` is one here
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
    /// dest=PATH and other attributes; type=cacheonly for no result; may be repeated
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
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub no_cache: bool,

    /// Do not use the cache for the steps of these stages; may be repeated
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,

    /// Merge the layers that are new into one, upon those of the base
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub squash: bool,

    /// Always ask the registry for newer base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = pull, action = ArgAction::Set, value_name = "BOOL")]
    pub pull: bool,

    /// Print only the image ID
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,

    /// Steps at a time, at most [default: as many as there are cores, not counting those that
    /// sleep]
    #[arg(long, value_name = "NUMBER")]
    pub jobs: Option<NonZeroUsize>,

    /// How progress is shown [default: what RBUILD_PROGRESS or BUILDKIT_PROGRESS says, else auto]
    #[arg(long, value_enum)]
    pub progress: Option<Mode>,

    /// Show all that the build does, as --progress=plain
    #[arg(short = 'D', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub debug: bool,

    /// The network of RUN steps
    #[arg(long, value_name = "MODE", default_value = "default",
          value_parser = modes(["default", "host", "none"]))]
    pub network: String,

    /// Let the build do what its container keeps it from: network.host, the network of this
    /// machine for RUN --network=host (--network host allows it too); security.insecure, all
    /// privileges for RUN --security=insecure; device, or device=NAME for one of them, devices of
    /// this machine for RUN --device
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,

    /// A secret for RUN --mount=type=secret,id=ID, which the image does not get:
    /// id=ID,src=FILE or id=ID,env=NAME
    #[arg(long = "secret", value_name = "id=ID[,src=FILE|,env=NAME]")]
    pub secrets: Vec<String>,

    /// An SSH agent for RUN --mount=type=ssh: `default` is that of SSH_AUTH_SOCK; private keys
    /// without a passphrase can be named instead, and no step sees more than what they sign
    #[arg(long, value_name = "default|ID[=SOCKET|KEY[,KEY]]")]
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
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub check: bool,

    /// Push every name of the image to its registry when it is built
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub push: bool,

    /// Write the image ID, or the index's digest, to a file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub iidfile: Option<PathBuf>,

    /// Write the build's outcome to a file, as JSON
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub metadata_file: Option<PathBuf>,

    #[command(flatten)]
    pub steps: StepArgs,

    /// What a Dockerfile is called that stands in a definition, wherever it is read from.
    #[arg(skip)]
    pub called: Option<String>,

    /// What docker does when it is asked to, and this builder always: accepted, nothing to do
    #[command(flatten)]
    pub habits: HabitArgs,

    #[command(flatten)]
    pub limits: LimitArgs,
}

impl BuildFlags {
    /// Without the flags whose values are empty, as docker has it: `-f "$FILE"` means no file when
    /// the variable is empty. Those stay of which docker says that something is missing.
    pub fn without_empty(mut self) -> Self {
        let lists = [
            &mut self.outputs,
            &mut self.annotations,
            &mut self.cache_from,
            &mut self.cache_to,
            &mut self.no_cache_filter,
            &mut self.build_contexts,
            &mut self.allow,
            &mut self.secrets,
            &mut self.ssh,
            &mut self.steps.add_hosts,
            &mut self.steps.security_opts,
        ];
        for list in lists {
            list.retain(|value| !value.is_empty());
        }
        let limits = &mut self.limits;
        let single = [
            &mut self.file,
            &mut self.steps.cgroup_parent,
            &mut limits.memory,
            &mut limits.memory_swap,
            &mut limits.cpuset_cpus,
            &mut limits.cpuset_mems,
        ];
        for value in single {
            *value = value.take().filter(|value| !value.is_empty());
        }
        for path in [&mut self.iidfile, &mut self.metadata_file] {
            *path = path.take().filter(|path| !path.as_os_str().is_empty());
        }
        if self.network.is_empty() {
            "default".clone_into(&mut self.network);
        }
        self
    }

    /// What is to be done with the Dockerfile.
    pub fn method(&self) -> Method {
        match self.check {
            true => Method::Check,
            false => self.call.method,
        }
    }

    /// How progress is shown: what was typed, else what the variables say that docker heeds.
    ///
    /// # Errors
    /// A variable that names no way.
    pub fn mode(&self) -> Result<Mode, String> {
        let typed = match (self.quiet, self.progress) {
            (true, _) => Some(Mode::Quiet),
            // With --debug nothing is redrawn over.
            (false, None | Some(Mode::Auto)) if self.debug => Some(Mode::Plain),
            (false, progress) => progress,
        };
        if let Some(mode) = typed {
            return Ok(mode);
        }
        for variable in ["RBUILD_PROGRESS", "BUILDKIT_PROGRESS"] {
            if let Ok(text) = std::env::var(variable)
                && !text.is_empty()
            {
                return Mode::from_str(&text, false)
                    .map_err(|_| format!("invalid progress mode {text} in {variable}"));
            }
        }
        Ok(Mode::Auto)
    }
}

/// Flags about RUN steps that do not limit them.
#[derive(Debug, Clone, Default, Args)]
pub struct StepArgs {
    /// Add a line to /etc/hosts of RUN steps; host-gateway stands for the address of this machine
    #[arg(
        long = "add-host",
        value_name = "NAME:IP",
        value_delimiter = ',',
        help_heading = STEPS
    )]
    pub add_hosts: Vec<String>,
    /// Name server of RUN steps, in place of this machine's; may be repeated
    #[arg(long, value_name = "IP", value_delimiter = ',', help_heading = STEPS)]
    pub dns: Vec<String>,
    /// Domain to search names in, in place of this machine's; `.` for none
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', help_heading = STEPS)]
    pub dns_search: Vec<String>,
    /// Option of resolv.conf, such as ndots:1
    #[arg(
        long = "dns-option",
        visible_alias = "dns-opt",
        value_name = "OPTION",
        value_delimiter = ',',
        help_heading = STEPS
    )]
    pub dns_options: Vec<String>,
    /// Run steps below this control group, which is made where it is missing
    #[arg(long, value_name = "PATH", help_heading = STEPS)]
    pub cgroup_parent: Option<String>,
    /// Give RUN steps a device of this machine: a path, as in /dev/fuse[:PATH][:rwm], or a name, as
    /// in vendor.com/class=name; may be repeated
    #[arg(long = "device", value_name = "DEVICE", help_heading = STEPS)]
    pub devices: Vec<String>,
    /// Confine RUN steps otherwise: seccomp=unconfined lets all system calls through, seccomp=FILE
    /// those of a profile in docker's form; no-new-privileges keeps set-user-ID programs from
    /// giving any
    #[arg(
        long = "security-opt",
        value_name = "OPTION",
        value_delimiter = ',',
        help_heading = STEPS
    )]
    pub security_opts: Vec<String>,
    /// Show RUN steps a file or folder of this machine, which the cache knows nothing of; options
    /// are ro, rw
    #[arg(
        short = 'v',
        long = "volume",
        value_name = "SOURCE:TARGET[:OPTIONS]",
        help_heading = STEPS
    )]
    pub volumes: Vec<String>,
}

/// Where they are in the help.
const STEPS: &str = "RUN steps";

/// The words that are listed, and no word at all.
fn modes(words: [&'static str; 3]) -> impl TypedValueParser<Value = String> {
    let hidden = PossibleValue::new("").hide(true);
    PossibleValuesParser::new(words.map(PossibleValue::new).into_iter().chain([hidden]))
}

/// A path, which may be empty: clap's own parser refuses that.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `--pull`, as docker has it, and by buildah's words for policies that exist here.
fn pull(text: &str) -> Result<bool, String> {
    match text {
        "always" | "newer" => Ok(true),
        "missing" | "ifmissing" => Ok(false),
        "never" => Err("an image that is not here is always pulled".to_owned()),
        text => boolean(text),
    }
}

/// Flags of `docker build` that ask for what is always done here: containers of steps are removed,
/// the image is in the store, nothing is sent anywhere to be compressed, there is one builder. So
/// does BuildKit with most of them.
#[derive(Debug, Clone, Default, Args)]
pub struct HabitArgs {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean)]
    rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean)]
    force_rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean)]
    load: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean)]
    compress: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean)]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true, value_parser = ["", "default", "process"])]
    isolation: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
    #[arg(long, hide = true, value_parser = none_wanted)]
    provenance: Option<()>,
    #[arg(long, hide = true, value_parser = none_wanted)]
    sbom: Option<()>,
    #[arg(long, hide = true, value_parser = none_attested)]
    attest: Vec<()>,
}

impl HabitArgs {
    /// Whether the image is to be in the store, whatever else becomes of it.
    pub fn loads(&self) -> bool {
        self.load == Some(true)
    }
}

/// A statement about the image that is not to be made.
fn none_wanted(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        text if boolean(text) == Ok(false) => Ok(()),
        text if disabled(text) => Ok(()),
        _ => Err(
            "statements about images are not made here, only =false is supported; \
                  cosign and syft make them of an image that is pushed"
                .to_owned(),
        ),
    }
}

/// `--attest type=…,disabled=true`
fn none_attested(text: &str) -> Result<(), String> {
    match disabled(text) {
        true => Ok(()),
        false => Err(
            "statements about images are not made here, only disabled=true is supported; cosign \
             and syft make them of an image that is pushed"
                .to_owned(),
        ),
    }
}

/// Whether one of the fields says that the statement is not wanted.
fn disabled(text: &str) -> bool {
    let mut fields = text.split(',').filter_map(|field| field.split_once('='));
    fields.any(|(key, value)| key.trim() == "disabled" && boolean(value.trim()) == Ok(true))
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
