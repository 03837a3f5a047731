//! `rbuild build`

mod answers;
pub mod call;
mod checks;
mod epoch;
pub mod flags;
mod given;
mod interrupts;
pub mod options;
mod outcome;
mod trace;

use std::sync::Arc;

use builder::context::{self, BuildContext};
use builder::engine::cancel::Cancel;
use builder::engine::secrets::{Masked, Masker, Secrets};
use builder::engine::{Engine, EngineOptions};
use builder::plan::graph::GraphOptions;
use builder::plan::mistakes::base_images;
use builder::solve::backend::Execute as _;
use builder::solve::image::StageImage;
use builder::solve::jobs::Bound;
use builder::solve::progress::Progress;
use builder::solve::trace::Trace;
use builder::solve::{Build, Solver};
use dockerfile::lint::Report;
use images::Images;
use oci::Platform;

use crate::app::App;
use crate::commands::push::push_one;
use crate::failure::{Failure, Outcome};
use crate::frontend::bases::Bases;
use crate::frontend::contexts::{self, Layouts, Trees};
use crate::frontend::text::{self, Text};
use crate::term::progress::{Mode, Shown};
use call::Method;
use checks::Checks;
use flags::BuildFlags as Args;
use interrupts::Interrupts;
use options::Options;
use trace::LastBuild;

/// Runs the command.
pub async fn run(app: &App, args: Args) -> Outcome {
    let mut options = options::validate(&args)?;
    let method = args.method();
    if method == Method::Build {
        outcome::forget(&args).await?;
    }
    let opened = context::open(args.context.clone(), args.file.clone()).await;
    let (context, source) =
        opened.map_err(|e| text::meant_a_command(&app.commands, &args.context, e))?;
    let text = Text::read(source, app.printer.color())?;
    match method {
        Method::Check => return answers::check(app, &args, &options, &text, &context).await,
        Method::Targets => return answers::targets(app, args.call, &text),
        Method::Build | Method::Outline => {}
    }

    let opened = match method {
        Method::Build => Opened::of(&options, context).await?,
        _ => Opened::alone(context),
    };
    let (named, host) = (options.named(), Platform::host());
    if method == Method::Build {
        epoch::date(&mut options, &args.target, &text, &opened).await?;
    }
    let planned = GraphOptions {
        target: &args.target,
        args: &options.args,
        build_platform: &host,
        target_platform: &options.platform,
        named: &named,
        consent: options.consent,
    };
    let wanted = base_images(&text.parsed.dockerfile, &planned);
    let bases = Bases::find(app, wanted, &planned, &options.contexts).await;
    let graph = text.graph(&planned, &bases, method == Method::Build)?;
    if method == Method::Outline {
        return answers::outline(app, args.call, &options, &text, &graph, &bases);
    }
    if !rustix::process::geteuid().is_root() {
        let text = "building needs root: run it with sudo (pull, push, load, save and tag do not)";
        return Err(Failure::new(text));
    }
    let build = Build {
        file: &text.parsed.dockerfile,
        graph: &graph,
        args: &options.args,
        named: &named,
        consent: options.consent,
        platform: &options.platform,
        run_flags: &options.run_flags(&args.network),
        no_cache: args.no_cache,
        jobs: args.jobs.map_or_else(Bound::cores, Bound::Steps),
    };
    let command = Command {
        app,
        args: &args,
        options: &options,
        text: &text,
        planned: &planned,
    };
    command.build(build, opened).await
}

/// What files are taken from.
struct Opened {
    context: BuildContext,
    named: Trees,
    layouts: Layouts,
}

impl Opened {
    /// The context, and those of `--build-context`.
    async fn of(options: &Options, context: BuildContext) -> Result<Self, Failure> {
        let opened = contexts::open(&options.contexts).await;
        let (named, layouts) = opened.map_err(text::without_context)?;
        Ok(Self {
            context,
            named,
            layouts,
        })
    }

    /// The context alone, where no file is asked for.
    fn alone(context: BuildContext) -> Self {
        Self {
            context,
            named: Trees::new(),
            layouts: Layouts::new(),
        }
    }
}

/// A build that was asked for, and planned.
struct Command<'a> {
    app: &'a App,
    args: &'a Args,
    options: &'a Options,
    text: &'a Text,
    planned: &'a GraphOptions<'a>,
}

impl Command<'_> {
    /// Builds the image, names it and pushes it.
    async fn build(&self, build: Build<'_>, opened: Opened) -> Outcome {
        let Self {
            app,
            args,
            options,
            text,
            ..
        } = *self;
        let secrets = given::read(&options.secrets).map_err(Failure::new)?;
        let masker = Masker::new(&secrets);
        let shown = self.progress();
        let progress: Arc<dyn Progress> = Arc::new(Masked::new(shown.clone(), masker.clone()));
        let checks = Checks::new(self.planned, opened.context.filter.matcher().clone())?;
        if let Some(warning) = checks::unconsumed(&options.args, build.file) {
            progress.warning(&warning);
        }
        let images = app.images().await?;
        // What this build uses and makes is kept from being pruned meanwhile.
        let _lease = images.store.lease().await?;
        sweep().await;
        let identity = opened.context.identity.clone();
        let identity = identity.as_deref();
        let root = images.store.root();
        let last = LastBuild::load(root, identity, &text.name, &args.target).await;
        let cancel = Arc::new(Cancel::default());
        let engine = self.engine(&images, opened, secrets, &progress, &cancel)?;
        let solver = Solver::new(build, &engine, progress.as_ref(), last.trace());
        let interrupts = Interrupts::watch(cancel);
        let solved = self.solve(solver, &checks).await;
        shown.finished();
        let solved = solved.map_err(|failure| failure.masked(&masker));
        let (image, trace, report) = match solved {
            Ok(solved) => solved,
            // Who waits for the end does not want to wait for the disk.
            Err(failure) if interrupts.came() => return Err(interrupts.code(failure)),
            Err(failure) => {
                // Steps that were done stay in the cache, also across a power cut.
                if let Err(e) = images.store.make_durable().await {
                    app.printer
                        .warning(format!("finished steps may be lost in a power cut: {e}"));
                }
                return Err(failure.with_log(&shown.last_lines()));
            }
        };
        let document = outcome::document(&image, engine.dated().as_deref(), options)?;
        tokio::select! {
            put = images.put_built(&document, &options.tags) => put?,
            failure = interrupts.interrupted() => return Err(failure),
        }
        drop(interrupts);
        last.replace(trace).await;
        outcome::tell(app, args, options, &document).await?;
        if !args.quiet {
            outcome::warn(app, text, report);
        }
        if args.push {
            for tag in &options.tags {
                push_one(app, &images, tag, None, args.quiet).await?;
            }
        }
        Ok(())
    }

    fn progress(&self) -> Arc<Shown> {
        let mode = match self.args.quiet {
            true => Mode::Quiet,
            false => self.args.progress,
        };
        Arc::new(Shown::new(mode, &self.app.printer))
    }

    /// What the build's steps are done with.
    fn engine(
        &self,
        images: &Images,
        opened: Opened,
        secrets: Secrets,
        progress: &Arc<dyn Progress>,
        cancel: &Arc<Cancel>,
    ) -> Result<Engine, Failure> {
        let usual = std::env::var_os("SSH_AUTH_SOCK").map(Into::into);
        let options = EngineOptions {
            secrets,
            agents: given::agents(&self.options.ssh, usual).map_err(Failure::new)?,
            no_cache: self.args.no_cache,
            context: Arc::new(opened.context),
            named: opened.named,
            layouts: opened.layouts,
            settings: self.options.settings.clone(),
            network: self.args.network.clone(),
            pull: self.args.pull,
            epoch: self.options.args.source_date_epoch(),
        };
        let (progress, cancel) = (Arc::clone(progress), Arc::clone(cancel));
        Ok(Engine::new(images.clone(), options, progress, cancel))
    }

    /// Checks the Dockerfile, now that its base images are known, and does what it says.
    async fn solve(
        &self,
        mut solver: Solver<'_, Engine>,
        checks: &Checks<'_>,
    ) -> Result<(StageImage, Trace, Report), Failure> {
        let failed = |e| self.text.failed(&e);
        let warned = solver.prepare().await.map_err(failed)?;
        let mut report = checks.run(self.text, &Bases::of(solver.images(), self.planned));
        // With `# check=error=true` a violation stops the build before anything runs.
        if report.fails_build() {
            return Err(self.text.violated(&report.diagnostics));
        }
        report.diagnostics.extend(warned);
        let (image, trace) = solver.solve().await.map_err(failed)?;
        Ok((image, trace, report))
    }
}

/// Takes back what killed builds have left on this host, where a next one might not use it again.
async fn sweep() {
    let network = runtime::network::Config::default();
    let _ = tokio::task::spawn_blocking(move || runtime::sweep(&network)).await;
}
