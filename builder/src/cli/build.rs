//! `rbuild build`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::diagnostic::{Code, Diagnostic, render, render_all};
use dockerfile::lint::{self, BaseImage, UnknownBase};
use dockerfile::span::Span;
use oci::{Digest, Platform, Reference};
use runtime::{Limits, Ulimit};
use serde_json::json;

use super::app::App;
use super::args::{BuildArgs as Args, LimitArgs};
use super::progress::{self, Mode};
use super::push::push_one;
use super::{Failure, Outcome};
use crate::context::{self, Source};
use crate::engine::run::{Cancel, RunSettings};
use crate::engine::{EngineOptions, LocalEngine};
use crate::files::FilesError;
use crate::image::ConfigDocument;
use crate::local::Local;
use crate::plan::graph::GraphOptions;
use crate::plan::{Base, BuildArgs, Graph, PlanError};
use crate::solve::engine::{Engine as _, Progress, SolveError, StepError};
use crate::solve::trace::Trace;
use crate::solve::{Build, Solver};

/// Flags that were understood.
struct Options {
    tags: Vec<Reference>,
    args: BuildArgs,
    labels: Vec<(String, String)>,
    platform: Platform,
    settings: RunSettings,
}

/// Runs the command.
pub async fn run(app: &App, args: Args) -> Outcome {
    let options = validate(&args)?;
    let mode = if args.quiet {
        Mode::Quiet
    } else {
        args.progress
    };
    let progress: Arc<dyn Progress> = Arc::from(progress::new(mode, &app.printer));

    let (at, file) = (args.context.clone(), args.file.clone());
    let opened = tokio::task::spawn_blocking(move || context::open(&at, file.as_deref())).await?;
    let (context, source) = opened?;
    let text = Text::parse(source, app.printer.color())?;
    let named = BTreeSet::new();
    let host = Platform::host();
    let graph = Graph::new(
        &text.parsed.dockerfile,
        &GraphOptions {
            target: &args.target,
            args: &options.args,
            build_platform: &host,
            target_platform: &options.platform,
            named: &named,
        },
    )
    .map_err(|e| text.refused(&e))?;
    let checks = Checks {
        args: &args,
        options: &options,
        host: &host,
    };
    // With `# check=error=true` a violation stops the build before anything runs.
    let strict = checks.run(&text, &BTreeMap::new());
    if strict.fails_build() {
        let shown = text.render(&strict.diagnostics);
        return Err(Failure::new(format!("{} violates its build checks", text.name)).at(shown));
    }

    let local = app.local().await?;
    // What this build uses and makes is kept from being pruned meanwhile.
    let _lease = local.store.lease().await?;
    let trace_path = context.identity.as_deref().map(|identity| {
        let target = format!("{}\0{}\0{}", identity.display(), text.name, args.target);
        local
            .cache_dir()
            .join("traces")
            .join(Digest::sha256(target.as_bytes()).hex())
    });
    let before = trace_path.as_deref().map(load_trace).unwrap_or_default();
    let cancel = Arc::new(Cancel::default());
    let engine = LocalEngine::new(
        local.clone(),
        EngineOptions {
            context,
            settings: options.settings.clone(),
            network: args.network.clone(),
            pull: args.pull,
            epoch: options.args.source_date_epoch(),
        },
        Arc::clone(&progress),
        Arc::clone(&cancel),
    );
    let build = Build {
        file: &text.parsed.dockerfile,
        graph: &graph,
        args: &options.args,
        named: &named,
        platform: &options.platform,
        network: &args.network,
        no_cache: args.no_cache,
    };
    let solver = Solver::new(build, &engine, progress.as_ref(), before.clone());
    let interrupts = tokio::spawn(watch_interrupts(Arc::clone(&cancel)));
    let solved = solver.solve().await;
    interrupts.abort();
    let (image, after) = match solved {
        Ok(solved) => solved,
        Err(error) => {
            // Steps that were done stay in the cache, also across a power cut.
            local.store.make_durable().await?;
            return Err(text.failed(&error));
        }
    };

    let mut document = image.document(&engine.now());
    let config = document.config.get_or_insert_default();
    config.labels.extend(options.labels.iter().cloned());
    let document = ConfigDocument::new(&document)?;
    local.put_built(&document, &options.tags).await?;
    if let Some(path) = &trace_path {
        let mut trace = before.clone();
        trace.update(after);
        if trace != before {
            save_trace(path, &trace);
        }
    }
    report(app, &args, &options, &document)?;
    if !args.quiet {
        let bases = checks.bases(&local, &graph).await;
        let mut warnings = text.warnings.clone();
        warnings.extend(checks.run(&text, &bases).diagnostics);
        if !warnings.is_empty() {
            app.printer.note(format!("\n{}", text.render(&warnings)));
        }
    }
    if args.push {
        for tag in &options.tags {
            push_one(app, &local, tag, None, args.quiet).await?;
        }
    }
    Ok(())
}

/// Tells what was made, where the flags say so.
fn report(app: &App, args: &Args, options: &Options, document: &ConfigDocument) -> Outcome {
    if let Some(path) = &args.iidfile {
        write_whole(path, document.id.to_string().as_bytes())?;
    }
    if let Some(path) = &args.metadata_file {
        let names: Vec<String> = options.tags.iter().map(ToString::to_string).collect();
        let metadata = json!({
            "containerimage.config.digest": document.id,
            "image.name": names.join(","),
        });
        write_whole(path, &serde_json::to_vec_pretty(&metadata)?)?;
    }
    if args.quiet {
        app.printer.line(&document.id);
        return Ok(());
    }
    app.printer.note(format!("writing image {}", document.id));
    for tag in &options.tags {
        app.printer.note(format!("naming to {tag}"));
    }
    Ok(())
}

/// BuildKit's build checks, on what this build knows.
struct Checks<'a> {
    args: &'a Args,
    options: &'a Options,
    host: &'a Platform,
}

impl Checks<'_> {
    /// Runs them; where nothing is known of a base image, no variable counts as undefined.
    fn run(&self, text: &Text, bases: &BTreeMap<Reference, BaseImage>) -> lint::Report {
        let given: Vec<(&str, &str)> = self
            .options
            .args
            .names()
            .filter_map(|n| Some((n, self.options.args.get(n)?)))
            .collect();
        let base = |name: &str| {
            let reference = name.parse::<Reference>().ok()?.or_latest();
            bases.get(&reference).cloned()
        };
        let options = lint::Options {
            build_args: &given,
            target_platform: &self.options.platform.to_string(),
            build_platform: &self.host.to_string(),
            target: Some(&self.args.target),
            base_images: &base,
            unknown_base: UnknownBase::Anything,
            ignore: None,
            config: None,
        };
        lint::lint(&text.parsed, &options)
    }

    /// What the store knows of the images that stages are based on.
    async fn bases(&self, local: &Local, graph: &Graph) -> BTreeMap<Reference, BaseImage> {
        let mut bases = BTreeMap::new();
        for stage in &graph.stages {
            let Base::Image(reference) = &stage.base else {
                continue;
            };
            let Ok(image) = local.find(&reference.to_string()).await else {
                continue;
            };
            let platform = image.config.platform().to_string();
            let config = image.config.config.unwrap_or_default();
            let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
            let base = BaseImage {
                env: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                has_shell: config.shell.is_some(),
                onbuild: config.on_build.clone(),
                platform: Some(platform),
            };
            bases.insert(reference.clone(), base);
        }
        bases
    }
}

/// A Dockerfile as it was written and as it was understood.
struct Text {
    name: String,
    parsed: dockerfile::Parsed,
    warnings: Vec<Diagnostic>,
    color: bool,
}

impl Text {
    fn parse(source: Source, color: bool) -> Result<Self, Failure> {
        let parsed = dockerfile::parse_bytes(&source.bytes);
        let warnings = parsed
            .diagnostics
            .iter()
            .filter(|d| !d.is_error())
            .cloned()
            .collect();
        let text = Self {
            name: source.name,
            parsed,
            warnings,
            color,
        };
        if text.parsed.has_errors() {
            let shown = text.render(&text.parsed.diagnostics);
            return Err(Failure::new(format!("{} cannot be parsed", text.name)).at(shown));
        }
        Ok(text)
    }

    fn render(&self, diagnostics: &[Diagnostic]) -> String {
        render_all(diagnostics, &self.name, &self.parsed.source, self.color)
    }

    /// The Dockerfile cannot be built.
    fn refused(&self, error: &PlanError) -> Failure {
        let shown = self.render(&error.0);
        Failure::new(format!("{} cannot be built", self.name)).at(shown)
    }

    /// A build that failed.
    fn failed(&self, error: &SolveError) -> Failure {
        match error {
            SolveError::Plan(error) => self.refused(error),
            SolveError::Step { span, source } => {
                let code = source.exit_code();
                if matches!(source, StepError::Cancelled) {
                    return Failure::with_code(source, code);
                }
                if *span == Span::default() {
                    return Failure::with_code(format!("failed to solve: {source}"), code);
                }
                let at = Diagnostic::error(Code::BuildFailed, source.to_string(), *span);
                let at = match help(source) {
                    Some(help) => at.help(help),
                    None => at,
                };
                let shown = render(&at, &self.name, &self.parsed.source, self.color);
                Failure::with_code(format!("failed to solve: {source}"), code).at(shown)
            }
        }
    }
}

/// How to mend a step that failed, where that is known.
fn help(error: &StepError) -> Option<String> {
    match error {
        StepError::Files(FilesError::NotFound {
            similar: Some(similar),
            ..
        }) => Some(format!("did you mean {similar}?")),
        StepError::Files(FilesError::NotFound { .. }) => {
            Some("sources are paths in the build context (or in what --from names)".to_owned())
        }
        StepError::Files(FilesError::Ignored(_)) => {
            Some("take it back in with a line that begins with ! in the ignore file".to_owned())
        }
        _ => None,
    }
}

/// Ctrl-C and SIGTERM end the build in order; a second one ends it at once.
async fn watch_interrupts(cancel: Arc<Cancel>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            std::process::exit(130);
        }
        asked = true;
        cancel.cancel();
    }
}

/// Checks the flags before anything is done.
fn validate(args: &Args) -> Result<Options, Failure> {
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
    let mut build_args = Vec::new();
    for arg in &args.build_args {
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
    let mut labels = Vec::new();
    for label in &args.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        if name.is_empty() {
            let text = format!("invalid label {label:?}: it has no name");
            return Err(Failure::with_code(text, 125));
        }
        labels.push((name.to_owned(), value.to_owned()));
    }
    let platform = match &args.platform {
        None => Platform::host(),
        Some(text) => text.parse().map_err(|e| Failure::with_code(e, 125))?,
    };
    let settings = settings(args).map_err(|e| Failure::with_code(e, 125))?;
    Ok(Options {
        tags,
        args: build_args,
        labels,
        platform,
        settings,
    })
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
        memory: args.memory.as_deref().map(bytes).transpose()?,
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

fn bytes(text: &str) -> Result<u64, String> {
    dockerfile::value::parse_size(text).ok_or_else(|| format!("invalid size: {text:?}"))
}

fn load_trace(path: &Path) -> Trace {
    // Only explains; a damaged or missing one explains nothing.
    let read = std::fs::read(path).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn save_trace(path: &Path, trace: &Trace) {
    let Ok(bytes) = serde_json::to_vec(trace) else {
        return;
    };
    let dir = path
        .parent()
        .map(Path::to_owned)
        .unwrap_or_else(|| PathBuf::from("."));
    let _ = std::fs::create_dir_all(&dir)
        .and_then(|()| tempfile::NamedTempFile::new_in(&dir))
        .and_then(|file| {
            std::fs::write(file.path(), &bytes)?;
            file.persist(path).map_err(|e| e.error)
        });
}

/// Writes a small file whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let failed = |e: std::io::Error| Failure::new(format!("write {}: {e}", path.display()));
    let file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    std::fs::write(file.path(), bytes).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
