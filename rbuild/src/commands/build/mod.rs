//! `rbuild build`

mod among;
mod answers;
mod caches;
pub mod call;
mod checks;
mod deliver;
mod epoch;
pub mod flags;
mod given;
mod interrupts;
mod opened;
pub mod options;
mod outcome;
mod outputs;
mod provenance;
mod record;
mod squash;
mod steps;
pub mod together;
mod trace;

use std::sync::Arc;

use builder::auth::Auth;
use builder::context::{self, BuildContext};
use builder::engine::cancel::Cancel;
use builder::engine::secrets::{Agents, Masked, Masker, Secrets};
use builder::engine::sharing::Sharing;
use builder::engine::{Engine, EngineOptions};
use builder::plan::Graph;
use builder::plan::graph::GraphOptions;
use builder::plan::mistakes::base_images;
use builder::record::recorder::Recorder;
use builder::solve::backend::Execute as _;
use builder::solve::error::{SolveError, StepError};
use builder::solve::image::StageImage;
use builder::solve::progress::Progress;
use builder::solve::{Build, NoCache, Solver};
use dockerfile::lint::Report;
use futures_util::future::join_all;
use images::{ConfigDocument, Images};
use oci::{Digest, Platform};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::frontend::bases::Bases;
use crate::frontend::contexts::{Layouts, Trees};
use crate::frontend::text::{self, Text};
use crate::term::progress::Mode;
use among::Among;
use call::Method;
use checks::Checks;
use deliver::{Built, Delivery};
use flags::BuildFlags as Args;
use opened::Opened;
use options::Options;
use outputs::Output;
use together::Together;
use trace::LastBuild;

pub use deliver::WARNINGS;
pub use outcome::{forget_one, write_whole};

/// Runs the command.
pub async fn run(app: &App, args: Args) -> Outcome {
    let args = args.without_empty();
    let options = options::validate(&args)?;
    let together = Together::new(app, options.mode, args.jobs);
    let warnings = one(app, &args, options, (&together, None)).await?;
    if let Some(warnings) = warnings {
        app.printer.note(warnings);
    }
    Ok(())
}

/// Builds a target, shown under its name if it is one of several. What deserves attention in its
/// Dockerfile is returned, for when nothing more is shown.
///
/// # Errors
/// Why there is no image.
pub async fn run_target(
    app: &App,
    args: &Args,
    together: &Together,
    name: Option<&str>,
) -> Result<Option<String>, Failure> {
    let options = options::validate(args)?;
    one(app, args, options, (together, name)).await
}

async fn one(
    app: &App,
    args: &Args,
    mut options: Options,
    (together, name): (&Together, Option<&str>),
) -> Result<Option<String>, Failure> {
    let method = args.method();
    match (method, &args.metadata_file) {
        (Method::Build, _) => outcome::forget(args).await?,
        (_, Some(path)) => forget_one("--metadata-file", path).await?,
        (_, None) => {}
    }
    let interrupts = &together.interrupts;
    let secrets = match (given::read(&options.secrets), method) {
        (Err(e), Method::Build) => return Err(Failure::new(e)),
        // A question can be answered without.
        (read, _) => read.unwrap_or_default(),
    };
    let auth = Auth::of(&secrets);
    let (at, file) = (args.context.clone(), args.file.clone());
    let opening = context::open(at, file, &auth, options.keep_git_dir());
    let opened = interrupts.unless(opening).await?;
    let (context, mut source) =
        opened.map_err(|e| text::meant_a_command(&app.commands, &args.context, e))?;
    if let Some(name) = &args.called {
        source.name.clone_from(name);
    }
    let text = Text::read(source, app.printer.color())?;
    match method {
        Method::Check => {
            let checked = answers::check(app, args, &options, &text, &context);
            return interrupts.unless(checked).await?.map(|()| None);
        }
        Method::Targets => return answers::targets(app, args, &text).await.map(|()| None),
        Method::Build | Method::Outline => {}
    }

    let opened = match method {
        Method::Build => {
            let opening = Opened::of(&options, context, &auth);
            interrupts.unless(opening).await??
        }
        _ => Opened::alone(context),
    };
    let (named, host) = (options.named(), Platform::host());
    if method == Method::Build {
        let dated = epoch::date(&mut options, &args.target, &text, (&opened, &auth));
        interrupts.unless(dated).await??;
    }
    let mut plans = Vec::new();
    for platform in &options.platforms {
        let planned = GraphOptions {
            target: &args.target,
            args: &options.args,
            build_platform: &host,
            target_platform: platform,
            named: &named,
            consent: options.consent.clone(),
        };
        let wanted = base_images(&text.parsed.dockerfile, &planned);
        let bases = Bases::find(app, wanted, &planned, &options.contexts);
        let bases = interrupts.unless(bases).await?;
        let graph = text.graph(&planned, &bases, method == Method::Build)?;
        if method == Method::Outline {
            let told = answers::outline(app, (args, &options), &text, &graph, &bases);
            return told.await.map(|()| None);
        }
        plans.push((planned, graph));
    }
    if !rustix::process::geteuid().is_root() {
        let text = "building needs root: run it with sudo (pull, push, load, save and tag do not)";
        return Err(Failure::new(text));
    }
    let run_flags = options.run_flags(args);
    let command = Command {
        app,
        args,
        options: &options,
        text: &text,
        plans: &plans,
        run_flags: &run_flags,
        together,
        name,
        secrets,
    };
    command.build(opened).await
}

/// A build that was asked for, and planned.
struct Command<'a> {
    app: &'a App,
    args: &'a Args,
    options: &'a Options,
    text: &'a Text,
    /// One for each platform.
    plans: &'a [(GraphOptions<'a>, Graph)],
    run_flags: &'a str,
    together: &'a Together,
    /// Its name among several builds.
    name: Option<&'a str>,
    secrets: Secrets,
}

/// What the builds for all platforms share.
struct Shared {
    images: Images,
    context: Arc<BuildContext>,
    named: Trees,
    layouts: Layouts,
    secrets: Secrets,
    agents: Agents,
    progress: Arc<dyn Progress>,
    cancel: Arc<Cancel>,
}

impl<'a> Command<'a> {
    /// Builds the image of each platform, brings the result where it is to go, and keeps a record
    /// of it. Returns what deserves attention.
    async fn build(&self, opened: Opened) -> Result<Option<String>, Failure> {
        let progress = self.together.progress(self.name);
        let recorder = Arc::new(Recorder::new(Arc::clone(&progress)));
        let images = self.together.images(self.app).await?;
        let root = images.store.root().to_owned();
        let context = opened.context.identity.clone();
        let mut warnings = None;
        let outcome = self
            .work(opened, images, (&progress, &recorder), &mut warnings)
            .await;
        let place = (root.as_path(), context.as_deref());
        let command = record::Command {
            app: self.app,
            args: self.args,
            options: self.options,
            text: self.text,
        };
        let interrupts = &self.together.interrupts;
        record::keep(&command, place, &recorder, interrupts, &outcome).await;
        outcome.map(|_| warnings)
    }

    /// Builds, and brings the result where it is to go; returns what was made of it.
    async fn work(
        &self,
        opened: Opened,
        images: Images,
        (shown, recorder): (&Arc<dyn Progress>, &Arc<Recorder>),
        warnings: &mut Option<String>,
    ) -> Result<Vec<Digest>, Failure> {
        let Self {
            app,
            args,
            options,
            text,
            together,
            ..
        } = *self;
        let interrupts = &together.interrupts;
        let secrets = self.secrets.clone();
        let masker = Masker::new(&secrets);
        let recorder: Arc<Recorder> = Arc::clone(recorder);
        let progress: Arc<dyn Progress> = Arc::new(Masked::new(recorder, masker.clone()));
        if let Some(warning) = checks::unconsumed(&options.args, &text.parsed.dockerfile) {
            progress.warning(&warning);
        }
        if !options.settings.volumes.is_empty() {
            progress.warning(VOLUMES);
        }
        // What this build uses and makes is kept from being pruned meanwhile.
        let _lease = images.store.lease().await?;
        let usual = std::env::var_os("SSH_AUTH_SOCK").map(Into::into);
        let shared = Shared {
            images,
            context: Arc::new(opened.context),
            named: opened.named,
            layouts: opened.layouts,
            secrets,
            agents: given::agents(&options.ssh, usual).map_err(Failure::new)?,
            progress,
            cancel: interrupts.cancel(),
        };
        let mut report = None;
        let solved = self.solve_all(&shared, &mut report).await;
        shown.finished();
        let images = &shared.images;
        if solved.is_err() {
            images.stop_compressing().await;
        }
        let solved = solved.map_err(|failure| failure.masked(&masker));
        let built = match solved {
            Ok(built) => built,
            // Who waits for the end does not want to wait for the disk.
            Err(failure) if interrupts.came() => return Err(interrupts.code(failure)),
            Err(failure) if failure.canceled => return Err(failure),
            Err(failure) => {
                // Steps that were done stay in the cache, also across a power cut.
                match interrupts.unless(images.make_durable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => app
                        .printer
                        .warning(format!("finished steps may be lost in a power cut: {e}")),
                    Err(interrupted) if interrupts.came() => return Err(interrupted),
                    // Another build has failed as well; this one's reason is told all the same.
                    Err(_) => {}
                }
                // A variable that is not set may be why. Of several targets the reason is told
                // alone.
                if self.name.is_none()
                    && let Some(report) = report
                    && let Some(told) = outcome::warnings(text, report, options.mode)
                {
                    app.printer.note(format!("{}\n", told.trim()));
                }
                return Err(failure.with_log(&together.shown.last_lines()));
            }
        };
        let delivery = Delivery {
            app,
            images,
            args,
            options,
            interrupts,
            warnings: outcome::wanted_warnings(text, report.as_ref()),
            progress: (options.mode == Mode::Rawjson || self.name.is_some())
                .then_some(shown.as_ref()),
        };
        let delivered = delivery.all_shown(&built).await;
        images.stop_compressing().await;
        // Outputs alone make nothing durable; what was built is in the cache all the same.
        if delivered.is_ok() {
            interrupts.unless(images.make_durable()).await??;
        }
        let index = delivered?;
        if let Some(report) = report {
            *warnings = outcome::warnings(text, report, options.mode);
        }
        let mut made: Vec<Digest> = built.iter().map(|one| one.document.id.clone()).collect();
        made.extend(index.filter(|id| !made.contains(id)));
        Ok(made)
    }

    /// Builds for all platforms at the same time. All of them are prepared, and all that is wrong
    /// is told, before anything runs. `report` becomes what the build checks found for the first of
    /// them, also where a step fails then.
    async fn solve_all(
        &self,
        shared: &Shared,
        report: &mut Option<Report>,
    ) -> Result<Vec<Built>, Failure> {
        let mut ways = Vec::new();
        let lines = Arc::default();
        let caches = &self.options.caches;
        let targets = caches.targets(&shared.images, &shared.progress);
        for (planned, _) in self.plans {
            let progress: Arc<dyn Progress> = match self.plans.len() {
                1 => Arc::clone(&shared.progress),
                _ => {
                    let platform = planned.target_platform;
                    Arc::new(Among::platforms(&shared.progress, platform, &lines))
                }
            };
            let last = self.last_build(shared, planned.target_platform).await;
            let (images, platform) = (&shared.images, planned.target_platform);
            let sharing = caches.sharing(images, platform, &targets, &progress);
            ways.push((self.engine(shared, &progress, sharing), progress, last));
        }
        let mut solvers = Vec::new();
        let mut materials = Vec::new();
        for ((planned, graph), (engine, progress, last)) in self.plans.iter().zip(&ways) {
            let build = self.build_of(planned, graph);
            let solver = Solver::new(build, engine, progress.as_ref(), last.trace());
            let (solver, found) = self.prepare(solver, planned, &shared.context).await?;
            if report.is_none() && self.options.mode == Mode::Rawjson {
                outcome::tell_programs(self.app, self.text, &found);
            }
            report.get_or_insert(found);
            materials.push(provenance::materials(&shared.images.store, solver.images()).await?);
            solvers.push(solver);
        }
        let mut built = Vec::new();
        // The first that fails ends the others; whatever happens, all have ended then.
        let (solved, traces): (Vec<_>, Vec<_>) = join_all(solvers.into_iter().map(Solver::solve))
            .await
            .into_iter()
            .unzip();
        for ((.., last), trace) in ways.iter().zip(traces) {
            last.replace(trace).await;
        }
        if let Some(error) = first_failure(&solved) {
            return Err(self.text.failed(error));
        }
        let plans = self.plans.iter().zip(&ways).zip(solved).zip(materials);
        for ((((planned, _), (engine, progress, _)), solved), materials) in plans {
            let image = solved.map_err(|e| self.text.failed(&e))?;
            built.push(Built {
                platform: planned.target_platform.clone(),
                base_layers: image.base.rootfs.diff_ids.len(),
                document: self.document(image, engine, progress.as_ref()).await?,
                materials,
            });
        }
        Ok(built)
    }

    /// The configuration of what was built for a platform.
    async fn document(
        &self,
        image: StageImage,
        engine: &Engine,
        progress: &dyn Progress,
    ) -> Result<ConfigDocument, Failure> {
        let dated = engine.dated();
        let inline = engine.inline(&image.diff_ids);
        let document = outcome::document(&image, dated.as_deref(), self.options, inline)?;
        // There may be nothing to merge.
        if !self.args.squash || squash::is_merged(&image) {
            return Ok(document);
        }
        let image = squash::squash(engine, image, &document.id, progress).await?;
        let inline = engine.inline(&image.diff_ids);
        outcome::document(&image, dated.as_deref(), self.options, inline)
    }

    /// What there is to be built for a platform.
    fn build_of<'b>(&'b self, planned: &'b GraphOptions<'b>, graph: &'b Graph) -> Build<'b> {
        Build {
            file: &self.text.parsed.dockerfile,
            graph,
            args: &self.options.args,
            named: planned.named,
            consent: &self.options.consent,
            platform: planned.target_platform,
            run_flags: self.run_flags,
            no_cache: match (self.args.no_cache, self.args.no_cache_filter.as_slice()) {
                (true, _) => NoCache::All,
                (false, []) => NoCache::No,
                (false, stages) => NoCache::Stages(stages),
            },
            together: &self.together.solving,
            whole: self.options.outputs.iter().any(Output::needs_layers),
            image: self.options.outputs.iter().any(Output::is_image),
        }
    }

    /// The keys of the last build for a platform.
    async fn last_build(&self, shared: &Shared, platform: &Platform) -> LastBuild {
        let identity = shared.context.identity.as_deref();
        let root = shared.images.store.root();
        let target = match self.plans.len() {
            1 => self.args.target.clone(),
            _ => format!("{} for {platform}", self.args.target),
        };
        LastBuild::load(root, identity, &self.text.name, &target).await
    }

    /// What the build's steps are done with.
    fn engine(&self, shared: &Shared, progress: &Arc<dyn Progress>, sharing: Sharing) -> Engine {
        let options = EngineOptions {
            sharing,
            secrets: shared.secrets.clone(),
            agents: shared.agents.clone(),
            no_cache: self.args.no_cache,
            context: Arc::clone(&shared.context),
            named: shared.named.clone(),
            layouts: shared.layouts.clone(),
            settings: self.options.settings.clone(),
            network: self.args.network.clone(),
            pull: self.args.pull,
            compress: self.options.compressions(),
            epoch: self.options.args.source_date_epoch(),
        };
        let (progress, cancel) = (Arc::clone(progress), Arc::clone(&shared.cancel));
        let common = self.together.common.clone();
        Engine::new(shared.images.clone(), options, common, progress, cancel)
    }

    /// Finds what a build needs, and all that is wrong with it.
    async fn prepare<'s>(
        &self,
        mut solver: Solver<'s, Engine>,
        planned: &GraphOptions<'_>,
        context: &BuildContext,
    ) -> Result<(Solver<'s, Engine>, Report), Failure> {
        let checks = Checks::new(planned, context.filter.matcher().clone())?;
        let prepared = solver.prepare().await;
        let warned = prepared.map_err(|e| self.text.failed(&e))?;
        let mut report = checks.run(self.text, &Bases::of(solver.images(), planned));
        // With `# check=error=true` a violation stops the build before anything runs.
        if report.fails_build() {
            return Err(self.text.violated(&report.diagnostics));
        }
        report.diagnostics.extend(warned);
        for (platform, span) in solver.run_platforms() {
            let host = &planned.build_platform.architecture;
            if let Err(foreign) = runtime::binfmt::check(host, &platform.architecture) {
                let cause = StepError::Other(foreign.to_string());
                return Err(self.text.failed(&SolveError::Step { span, cause }));
            }
        }
        Ok((solver, report))
    }
}

/// What is said with `--volume`.
const VOLUMES: &str = "what --volume shows is not part of the cache's key: a step that read it is \
                       not run again when it changes (--no-cache-filter STAGE does that)";

/// Why a build failed: those that were ended with it say nothing of that.
fn first_failure<T>(solved: &[Result<T, SolveError>]) -> Option<&SolveError> {
    let errors = solved.iter().filter_map(|one| one.as_ref().err());
    let told = errors.clone().find(|error| !error.is_canceled());
    told.or_else(|| errors.into_iter().next())
}
