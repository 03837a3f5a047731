//! Raw flags of `rbuild build` to validated options.

use client::config::DaemonConfig;
use oci::{Platform, Reference};
use runtime::{Dns, Limits, Pids, Ulimit};

use super::caches::{Caches, caches};
use super::call::Method;
use super::flags::{BuildFlags, LimitArgs};
use super::given::{self, SecretFlag, SshFlag};
use super::outputs::{Dest, Look, Output};
use crate::failure::Failure;
use crate::frontend::annotations::Annotations;
use crate::frontend::arguments::{build_args, platforms};
use crate::frontend::contexts::{Places, contexts, named};
use builder::engine::run::RunSettings;
use builder::plan::{BuildArgs, Consent, NamedContexts};

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
            Failure::with_code(
                format!("invalid argument {tag:?} for \"-t, --tag\": {e}"),
                125,
            )
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
            let text = format!("invalid label {label:?}: it has no name");
            return Err(Failure::with_code(text, 125));
        }
        labels.push((name.to_owned(), value.to_owned()));
    }
    let platforms = platforms(&args.platform)?;
    let (outputs, annotations) =
        outputs(args, &tags, platforms.len()).map_err(|e| Failure::with_code(e, 125))?;
    let mut settings = settings(args, &build_args).map_err(|e| Failure::with_code(e, 125))?;
    let daemon = DaemonConfig::from_machine()?;
    settings.dns = Dns {
        servers: daemon.dns,
        search: daemon.dns_search,
        options: daemon.dns_options,
    };
    let consent = consent(args).map_err(|e| Failure::with_code(e, 125))?;
    let wrong = |flag: &str| {
        let flag = flag.to_owned();
        move |e: String| Failure::with_code(format!("--{flag}: {e}"), 125)
    };
    let set = |name: &str| std::env::var_os(name).is_some();
    let secrets = args.secrets.iter().map(|text| given::secret(text, &set));
    let secrets = secrets.collect::<Result<_, _>>().map_err(wrong("secret"))?;
    let ssh = args.ssh.iter().map(|text| given::ssh(text));
    let ssh = ssh.collect::<Result<_, _>>().map_err(wrong("ssh"))?;
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
        Output::Files { .. } => return Ok(()),
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
    look.annotations.check(platforms)?;
    look.check()
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
            "device" => consent.devices = true,
            other => {
                return Err(format!(
                    "unknown entitlement {other}; what can be allowed is network.host, \
                     security.insecure and device"
                ));
            }
        }
    }
    Ok(consent)
}

impl Options {
    /// What of the flags a RUN's result may depend on, as part of its cache key.
    pub fn run_flags(&self, network: &str) -> String {
        let mut key = network.to_owned();
        if !self.settings.extra_hosts.is_empty() {
            key.push_str(&format!(" hosts {:?}", self.settings.extra_hosts));
        }
        if !self.settings.limits.ulimits.is_empty() {
            key.push_str(&format!(" ulimits {:?}", self.settings.limits.ulimits));
        }
        if let Some(size) = self.settings.shm_size {
            key.push_str(&format!(" shm {size}"));
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

    /// The named contexts as the planner sees them.
    pub fn named(&self) -> NamedContexts {
        named(&self.contexts)
    }
}

fn settings(args: &BuildFlags, build_args: &BuildArgs) -> Result<RunSettings, String> {
    let mut extra_hosts = Vec::new();
    for host in &args.add_hosts {
        let Some((name, address)) = host.split_once([':', '=']).filter(|(n, a)| {
            !n.is_empty()
                && a.trim_matches(['[', ']'])
                    .parse::<std::net::IpAddr>()
                    .is_ok()
        }) else {
            return Err(format!("bad format for add-host: {host:?}; write NAME:IP"));
        };
        extra_hosts.push((name.to_owned(), address.trim_matches(['[', ']']).to_owned()));
    }
    let shm_size = args.limits.shm_size.as_deref().map(bytes).transpose()?;
    let limits = limits(&args.limits)?;
    runtime::check_sets(&limits)?;
    let hostname = build_args.get(HOSTNAME).filter(|name| !name.is_empty());
    if let Some(name) = hostname.filter(|name| name.len() > MAX_HOSTNAME) {
        return Err(format!(
            "{HOSTNAME}: {name:?} is longer than {MAX_HOSTNAME} bytes"
        ));
    }
    Ok(RunSettings {
        hostname: hostname.map(str::to_owned),
        limits,
        shm_size,
        extra_hosts,
        dns: Dns::default(),
    })
}

/// The build argument that names RUN steps' host, as with BuildKit.
/// The build argument that asks for `--cache-to type=inline`.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// sethostname(2)
const MAX_HOSTNAME: usize = 64;

fn limits(args: &LimitArgs) -> Result<Limits, String> {
    let memory_swap = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        Some(text) => Some(i64::try_from(bytes(text)?).map_err(|e| e.to_string())?),
        None => None,
    };
    let ulimits = args
        .ulimits
        .iter()
        .map(|u| Ulimit::parse(u))
        .collect::<Result<_, _>>()?;
    Ok(Limits {
        memory: args.memory.as_deref().map(memory).transpose()?,
        memory_swap,
        cpu_quota: args.cpu_quota,
        cpu_period: args.cpu_period,
        cpu_shares: args.cpu_shares,
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        pids: match args.pids_limit {
            None => Pids::Precaution(DEFAULT_PIDS),
            Some(number) => u64::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .map_or(Pids::Unlimited, Pids::AtMost),
        },
        ulimits,
    })
}

/// Enough for any build that we know of, and far from what a kernel can number.
const DEFAULT_PIDS: u64 = 8192;

/// What a process needs to start at all, as docker has it.
const MIN_MEMORY: u64 = 6 << 20;

fn memory(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    if size < MIN_MEMORY {
        return Err(format!(
            "invalid memory limit {text:?}: the minimum allowed is 6MB"
        ));
    }
    Ok(size)
}

fn bytes(text: &str) -> Result<u64, String> {
    golang::size::parse_size(text).ok_or_else(|| format!("invalid size: {text:?}"))
}
