//! Raw flags of `rbuild build` to validated options.

use oci::{Platform, Reference};
use runtime::{Limits, Ulimit};

use super::call::Method;
use crate::cli::Failure;
use crate::cli::args::{BuildArgs as Args, LimitArgs};
use crate::cli::bases::Places;
use crate::engine::run::RunSettings;
use crate::local::layout::LayoutPlace;
use crate::plan::BuildArgs;
use crate::plan::named::{NamedContext, NamedContexts, context_name};

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
    /// `--platform`
    pub platform: Platform,
    /// What RUN steps share.
    pub settings: RunSettings,
}

/// Checks the flags before anything is done.
pub fn validate(args: &Args) -> Result<Options, Failure> {
    if args.check && !matches!(args.call.method, Method::Build | Method::Check) {
        let text = "--check is --call=check, and cannot be given with another --call";
        return Err(Failure::with_code(text, 125));
    }
    if args.push && args.tags.is_empty() {
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
    let platform = platform(args.platform.as_deref())?;
    let settings = settings(args).map_err(|e| Failure::with_code(e, 125))?;
    Ok(Options {
        tags,
        contexts,
        args: build_args,
        labels,
        platform,
        settings,
    })
}

/// `--build-context`, by name.
pub fn contexts(given: &[String]) -> Result<Places, Failure> {
    let mut contexts = Places::new();
    for context in given {
        let (name, place) = named_context(context).map_err(|e| Failure::with_code(e, 125))?;
        contexts.insert(name, place);
    }
    Ok(contexts)
}

/// The contexts as the planner sees them.
pub fn named(contexts: &Places) -> NamedContexts {
    let named = contexts.iter().map(|(name, place)| {
        let context = match place {
            ContextPlace::Tree(_) => NamedContext::Tree,
            ContextPlace::Image(reference) => NamedContext::Image(reference.clone()),
            ContextPlace::Layout(_) => NamedContext::Layout,
        };
        (name.clone(), context)
    });
    named.collect()
}

/// `--platform`
pub fn platform(given: Option<&str>) -> Result<Platform, Failure> {
    match given {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|e| Failure::with_code(e, 125)),
    }
}

/// `--build-arg`, and what the environment gives.
pub fn build_args(given: &[String]) -> Result<BuildArgs, Failure> {
    let mut build_args = Vec::new();
    for arg in given {
        match arg.split_once('=') {
            Some((name, value)) => build_args.push((name.to_owned(), value.to_owned())),
            // As docker: a bare name takes the environment's value, and is dropped without one.
            None => {
                if let Ok(value) = std::env::var(arg) {
                    build_args.push((arg.clone(), value));
                }
            }
        }
    }
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH")
        && !build_args
            .iter()
            .any(|(name, _)| name == "SOURCE_DATE_EPOCH")
    {
        build_args.push(("SOURCE_DATE_EPOCH".to_owned(), epoch));
    }
    let build_args = BuildArgs::new(build_args);
    if let Some(epoch) = build_args.get("SOURCE_DATE_EPOCH")
        && build_args.source_date_epoch().is_none()
    {
        let text = format!("invalid SOURCE_DATE_EPOCH {epoch:?}: expected seconds since 1970");
        return Err(Failure::with_code(text, 125));
    }
    Ok(build_args)
}

impl Options {
    /// What of the flags a RUN's result may depend on, as part of its cache key.
    pub fn run_key(&self, network: &str) -> String {
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
        key
    }

    /// The named contexts as the planner sees them.
    pub fn named(&self) -> NamedContexts {
        named(&self.contexts)
    }
}

/// Where a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextPlace {
    /// A folder or something to fetch, as it was typed.
    Tree(String),
    /// An image.
    Image(Reference),
    /// An image of an OCI image layout.
    Layout(LayoutPlace),
}

fn named_context(text: &str) -> Result<(String, ContextPlace), String> {
    let Some((name, place)) = text
        .split_once('=')
        .filter(|(n, p)| !n.is_empty() && !p.is_empty())
    else {
        return Err(format!("invalid context value: {text:?}; write NAME=PLACE"));
    };
    let place = match place.split_once("://") {
        Some(("docker-image", reference)) => {
            let parsed = reference.parse::<Reference>();
            let reference = parsed.map_err(|e| format!("invalid context {text:?}: {e}"))?;
            ContextPlace::Image(reference.or_latest())
        }
        Some(("oci-layout", place)) => {
            let parsed = LayoutPlace::parse(place);
            ContextPlace::Layout(parsed.map_err(|e| format!("invalid context {text:?}: {e}"))?)
        }
        _ => ContextPlace::Tree(place.to_owned()),
    };
    // Names stand where images do, in any way that one can be written.
    let lower = name.to_lowercase();
    lower
        .parse::<Reference>()
        .map_err(|e| format!("invalid context name {name:?}: {e}"))?;
    Ok((context_name(&lower), place))
}

fn settings(args: &Args) -> Result<RunSettings, String> {
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
    Ok(RunSettings {
        limits: limits(&args.limits)?,
        shm_size,
        extra_hosts,
    })
}

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
        pids: None,
        ulimits,
    })
}

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
    dockerfile::value::parse_size(text).ok_or_else(|| format!("invalid size: {text:?}"))
}
