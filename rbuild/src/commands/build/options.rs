//! Raw flags of `rbuild build` to validated options.

use client::config::DaemonConfig;
use golang::boolean::parse_bool;
use oci::layer::compression::Compression;
use oci::reference::ReferenceError;
use oci::{Platform, Reference};
use runtime::Dns;

use super::caches::{Caches, caches};
use super::call::Method;
use super::flags::BuildFlags;
use super::given::{self, SecretFlag, SshFlag};
use super::outputs::{Dest, Look, Output};
use super::steps::settings;
use crate::failure::Failure;
use crate::frontend::annotations::Annotations;
use crate::frontend::arguments::{build_args, platforms};
use crate::frontend::contexts::{Places, contexts, named};
use crate::term::progress::Mode;
use crate::usage::wrong_value;
use builder::engine::run::{Filter, RunSettings};
use builder::plan::{BuildArgs, Consent, DeviceConsent, NamedContexts};

/// Flags that were understood.
pub struct Options {
    /// `--tag`
    pub tags: Vec<Reference>,
    /// `--build-arg`
    pub args: BuildArgs,
    /// `--build-context`, by name.
    pub contexts: Places,
    /// `--label`
    pub labels: Vec<(String, String)>,
    /// `--platform`, at least one.
    pub platforms: Vec<Platform>,
    /// What becomes of the result.
    pub outputs: Vec<Output>,
    /// `--annotation`
    pub annotations: Annotations,
    /// What RUN steps share.
    pub settings: RunSettings,
    /// `--cache-from` and `--cache-to`
    pub caches: Caches,
    /// `--secret`
    pub secrets: Vec<SecretFlag>,
    /// `--ssh`
    pub ssh: Vec<SshFlag>,
    /// `--progress`, and what stands for it.
    pub mode: Mode,
    /// `--allow`, and what other flags allow with what they ask for.
    pub consent: Consent,
}

/// Checks the flags before anything is done.
pub fn validate(args: &BuildFlags) -> Result<Options, Failure> {
    if args.check && !matches!(args.call.method, Method::Build | Method::Check) {
        let text = "--check is --call=check, and cannot be given with another --call";
        return Err(Failure::with_code(text, 125));
    }
    if args.push && args.tags.is_empty() && !args.outputs.iter().any(|o| o.contains("name=")) {
        let text = "--push needs a name to push: give one with -t REGISTRY/NAME:TAG";
        return Err(Failure::with_code(text, 125));
    }
    let mut tags = Vec::new();
    for tag in &args.tags {
        let reference: Reference = tag.parse().map_err(|e| {
            let why = match e {
                ReferenceError::Format => e.to_string(),
                _ => format!("invalid reference format: {e}"),
            };
            Failure::with_code(wrong_value("-t, --tag", tag, &why), 125)
        })?;
        if reference.digest().is_some() {
            let text = format!("invalid tag {tag:?}: a name cannot have a digest");
            return Err(Failure::with_code(text, 125));
        }
        tags.push(reference.or_latest());
    }
    let build_args = build_args(&args.build_args)?;
    let contexts = contexts(&args.build_contexts)?;
    let mut labels = Vec::new();
    for label in &args.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        if name.is_empty() {
            let why = format!("invalid label '{label}': empty name");
            let text = wrong_value("--label", label, &why);
            return Err(Failure::with_code(text, 125));
        }
        labels.push((name.to_owned(), value.to_owned()));
    }
    if args.no_cache && !args.no_cache_filter.is_empty() {
        let text = "--no-cache and --no-cache-filter cannot be used together: --no-cache is \
                    about all stages";
        return Err(Failure::with_code(text, 125));
    }
    let platforms = platforms(&args.platform)?;
    let (outputs, annotations) =
        outputs(args, &tags, platforms.len()).map_err(|e| Failure::with_code(e, 125))?;
    let daemon = DaemonConfig::from_machine()?;
    let usual = Dns {
        servers: daemon.dns,
        search: daemon.dns_search,
        options: daemon.dns_options,
    };
    let settings = settings(&args.steps, &args.limits, &build_args, usual);
    let settings = settings.map_err(|e| Failure::with_code(e, 125))?;
    let consent = consent(args).map_err(|e| Failure::with_code(e, 125))?;
    let wrong = |flag: &'static str| {
        move |(text, e): (&String, String)| Failure::with_code(wrong_value(flag, text, &e), 125)
    };
    let set = |name: &str| std::env::var_os(name).is_some();
    let secrets = args.secrets.iter();
    let secrets = secrets.map(|text| given::secret(text, &set).map_err(|e| (text, e)));
    let secrets = secrets.collect::<Result<_, _>>();
    let secrets = secrets.map_err(wrong("--secret"))?;
    let ssh = args
        .ssh
        .iter()
        .map(|text| given::ssh(text).map_err(|e| (text, e)));
    let ssh = ssh.collect::<Result<_, _>>().map_err(wrong("--ssh"))?;
    let inline = build_args.get(INLINE_CACHE) == Some("1");
    Ok(Options {
        caches: caches(args, inline)?,
        secrets,
        ssh,
        tags,
        contexts,
        args: build_args,
        labels,
        platforms,
        outputs,
        annotations,
        settings,
        mode: args.mode().map_err(|e| Failure::with_code(e, 125))?,
        consent,
    })
}

/// What becomes of the result: what `--output` says, else the image is in the store.
fn outputs(
    args: &BuildFlags,
    tags: &[Reference],
    platforms: usize,
) -> Result<(Vec<Output>, Annotations), String> {
    let mut annotations = Annotations::default();
    for text in &args.annotations {
        annotations.flag(text)?;
    }
    let mut outputs = Vec::new();
    for text in &args.outputs {
        outputs.push(Output::parse(text)?);
    }
    let image = |output: &Output| matches!(output, Output::Image { store: true, .. });
    let loads = outputs.is_empty() || args.habits.loads();
    if !outputs.iter().any(image) && (loads || args.push) {
        outputs.push(Output::Image {
            store: loads,
            push: args.push,
            by_digest: false,
            look: Look::default(),
        });
    } else if args.push {
        for output in &mut outputs {
            if let Output::Image { push, .. } = output {
                *push = true;
            }
        }
    }
    let mut stdout = 0;
    for output in &outputs {
        check_output(output, args, tags, platforms)?;
        stdout += usize::from(matches!(
            output,
            Output::Archive {
                dest: Dest::Stdout,
                ..
            } | Output::Files {
                dest: Dest::Stdout,
                ..
            }
        ));
    }
    if stdout > 1 {
        return Err("only one output can go to standard output".to_owned());
    }
    annotations.check(platforms)?;
    Ok((outputs, annotations))
}

fn check_output(
    output: &Output,
    args: &BuildFlags,
    tags: &[Reference],
    platforms: usize,
) -> Result<(), String> {
    let look = match output {
        Output::Files { .. } if args.iidfile.is_some() => {
            return Err("local and tar exporters are incompatible with image ID file".to_owned());
        }
        Output::Files { .. } | Output::Cache { .. } => return Ok(()),
        Output::Archive { docker: true, .. } if platforms > 1 => {
            return Err(
                "docker exporter does not currently support exporting manifest lists".to_owned(),
            );
        }
        Output::Image {
            push: true, look, ..
        } if look.names.as_deref().unwrap_or(tags).is_empty() => {
            return Err("tag is needed when pushing to registry".to_owned());
        }
        Output::Archive { look, .. } | Output::Image { look, .. } => look,
    };
    look.annotations.check(platforms)
}

/// Whoever asks for the host's network on the command line agrees to it, as with buildx.
fn consent(args: &BuildFlags) -> Result<Consent, String> {
    let mut consent = Consent {
        host_network: args.network == "host",
        ..Consent::default()
    };
    for entitlement in &args.allow {
        match entitlement.as_str() {
            "network.host" => consent.host_network = true,
            "security.insecure" => consent.insecure = true,
            "device" | "device=*" => consent.devices = DeviceConsent::All,
            other => match other
                .strip_prefix("device=")
                .filter(|name| !name.is_empty())
            {
                Some(name) => allow_device(name, &mut consent.devices)?,
                None => {
                    return Err(format!(
                        "unknown entitlement {other}; what can be allowed is network.host, \
                         security.insecure, device and device=NAME"
                    ));
                }
            },
        }
    }
    Ok(consent)
}

/// `--allow device=NAME`, or with buildx's `name=`.
fn allow_device(text: &str, consent: &mut DeviceConsent) -> Result<(), String> {
    let name = text.strip_prefix("name=").unwrap_or(text);
    if let Some((_, option)) = name.split_once(',') {
        return Err(format!(
            "--allow device={text}: {option} is not supported: name the device alone, as RUN \
             --device does"
        ));
    }
    if let DeviceConsent::Named(names) = consent {
        names.push(name.to_owned());
    }
    Ok(())
}

impl Options {
    /// How the outputs will want the layers that the build makes, each way once.
    pub fn compressions(&self) -> Vec<Option<Compression>> {
        let mut all = Vec::new();
        for wanted in self.outputs.iter().filter_map(Output::compresses) {
            if !all.contains(&wanted) {
                all.push(wanted);
            }
        }
        all
    }

    /// What of the flags a RUN's result may depend on, as part of its cache key.
    pub fn run_flags(&self, args: &BuildFlags) -> String {
        let mut key = args.network.clone();
        if !self.settings.extra_hosts.is_empty() {
            key.push_str(&format!(" hosts {:?}", self.settings.extra_hosts));
        }
        if !self.settings.limits.ulimits.is_empty() {
            key.push_str(&format!(" ulimits {:?}", self.settings.limits.ulimits));
        }
        if let Some(size) = self.settings.shm_size {
            key.push_str(&format!(" shm {size}"));
        }
        let steps = &args.steps;
        for (flag, typed) in [
            ("dns", &steps.dns),
            ("dns-search", &steps.dns_search),
            ("dns-option", &steps.dns_options),
        ] {
            if !typed.is_empty() {
                key.push_str(&format!(" {flag} {typed:?}"));
            }
        }
        match &self.settings.filter {
            Filter::Usual => {}
            Filter::None => key.push_str(" seccomp=unconfined"),
            Filter::Profile { digest, .. } => key.push_str(&format!(" seccomp={digest}")),
        }
        for device in &self.settings.devices {
            key.push_str(&format!(" device {:?}", device.name));
        }
        if self.settings.no_new_privileges {
            key.push_str(" no-new-privileges");
        }
        if let Some(name) = &self.settings.hostname {
            key.push_str(&format!(" hostname {name:?}"));
        }
        key
    }

    /// The platform that stands for all of them where there is one answer.
    pub fn first_platform(&self) -> Platform {
        self.platforms
            .first()
            .cloned()
            .unwrap_or_else(Platform::host)
    }

    /// Whether a context that is a repository keeps its `.git`, if anybody says so. What is
    /// neither true nor false says nothing, as with BuildKit.
    pub fn keep_git_dir(&self) -> Option<bool> {
        parse_bool(self.args.get(KEEP_GIT_DIR)?)
    }

    /// The named contexts as the planner sees them.
    pub fn named(&self) -> NamedContexts {
        named(&self.contexts)
    }
}

/// The build argument that says whether a context that is a repository keeps its `.git`.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
/// The build argument that asks for `--cache-to type=inline`.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
