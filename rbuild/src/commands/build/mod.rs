//! `rbuild build`

pub mod call;
mod checks;
pub mod flags;
pub mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Digest, Platform};
use serde_json::json;

use crate::app::App;
use crate::commands::push::push_one;
use crate::failure::{Failure, Outcome};
use crate::frontend::bases::Bases;
use crate::frontend::checks::{Check, Kind, run_checks};
use crate::frontend::contexts::ContextPlace;
use crate::frontend::text::{self, Text};
use crate::term::progress::{self, Mode};
use builder::context;
use builder::engine::run::Cancel;
use builder::engine::{EngineOptions, LocalEngine};
use builder::plan::graph::GraphOptions;
use builder::plan::mistakes::base_images;
use builder::plan::{self, Graph, ImageName};
use builder::solve::engine::{Engine as _, Progress};
use builder::solve::trace::Trace;
use builder::solve::{Build, Solver};
use call::{Call, Method};
use checks::Checks;
use flags::BuildFlags as Args;
use images::ConfigDocument;
use options::Options;

/// Runs the command.
pub async fn run(app: &App, args: Args) -> Outcome {
    let options = options::validate(&args)?;
    let building = args.call.method == Method::Build && !args.check;
    if let Some(path) = args.iidfile.as_ref().filter(|_| building) {
        // A script must not find the ID of an earlier build after this one has failed.
        forget(path)?;
    }
    let mode = if args.quiet {
        Mode::Quiet
    } else {
        args.progress
    };
    let progress: Arc<dyn Progress> = Arc::from(progress::new(mode, &app.printer));

    let opened = context::open(args.context.clone(), args.file.clone()).await;
    let (context, source) =
        opened.map_err(|e| text::meant_a_command(&app.commands, &args.context, e))?;
    let text = Text::read(source, app.printer.color())?;
    if args.check || args.call.method == Method::Check {
        let check = Check {
            build_args: options.args.clone(),
            target: Some(args.target.clone()).filter(|target| !target.is_empty()),
            platform: options.platform.clone(),
            named: options.named(),
            places: options.contexts.clone(),
            ignore: context.filter.matcher().clone(),
            format: if args.call.json {
                Kind::Json
            } else {
                Kind::Text
            },
            ignore_status: args.call.ignore_status,
        };
        return run_checks(app, &text.parsed, &text.name, &check).await;
    }
    if args.call.method == Method::Targets {
        return targets(app, args.call, &text);
    }
    let named = options.named();
    let host = Platform::host();
    let graph_options = GraphOptions {
        target: &args.target,
        args: &options.args,
        build_platform: &host,
        target_platform: &options.platform,
        named: &named,
    };
    let base_images = base_images(&text.parsed.dockerfile, &graph_options);
    let bases = Bases::find(app, &base_images, &graph_options, &options.contexts).await;
    let graph = text.graph(&graph_options, &bases, building)?;
    if args.call.method == Method::Outline {
        return outline(app, args.call, &options, &text, &graph, &bases);
    }
    let ignore = context.filter.matcher().clone();
    let checks = Checks::new(&args.target, &options, &host, ignore)?;

    let unused = checks::unconsumed(&options.args, &text.parsed.dockerfile);
    if !unused.is_empty() {
        let names = unused.join(" ");
        progress.warning(&format!(
            "One or more build-args [{names}] were not consumed"
        ));
    }

    let images = app.images().await?;
    // What this build uses and makes is kept from being pruned meanwhile.
    let _lease = images.store.lease().await?;
    let trace_path = context.identity.as_deref().map(|identity| {
        let target = format!("{}\0{}\0{}", identity.display(), text.name, args.target);
        images
            .store
            .root()
            .join("build/traces")
            .join(Digest::sha256(target.as_bytes()).hex())
    });
    let before = trace_path.as_deref().map(load_trace).unwrap_or_default();
    let cancel = Arc::new(Cancel::default());
    let mut engine = LocalEngine::new(
        images.clone(),
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
    for (name, place) in &options.contexts {
        match place {
            ContextPlace::Tree(place) => {
                let opened = context::open_named(place.clone()).await;
                let opened = opened.map_err(text::without_context)?;
                engine.named.insert(name.clone(), Arc::new(opened));
            }
            ContextPlace::Layout(place) => {
                engine.layouts.insert(name.clone(), place.clone());
            }
            ContextPlace::Image(_) => {}
        }
    }
    let run_key = options.run_key(&args.network);
    let build = Build {
        file: &text.parsed.dockerfile,
        graph: &graph,
        args: &options.args,
        named: &named,
        platform: &options.platform,
        network: &run_key,
        no_cache: args.no_cache,
    };
    let mut solver = Solver::new(build, &engine, progress.as_ref(), before.clone());
    let interrupts = tokio::spawn(watch_interrupts(Arc::clone(&cancel)));
    if let Err(error) = solver.prepare().await {
        return Err(text.failed(&error));
    }
    let report = checks.run(&text, &Bases::of(solver.images(), &named));
    // With `# check=error=true` a violation stops the build before anything runs.
    if report.fails_build() {
        return Err(text.violated(&report.diagnostics));
    }
    let solved = solver.solve().await;
    interrupts.abort();
    let (image, after) = match solved {
        Ok(solved) => solved,
        Err(error) => {
            // Steps that were done stay in the cache, also across a power cut.
            if let Err(e) = images.store.make_durable().await {
                app.printer
                    .warning(format!("finished steps may be lost in a power cut: {e}"));
            }
            return Err(text.failed(&error));
        }
    };

    let mut document = image.document(&engine.now());
    let config = document.config.get_or_insert_default();
    config.labels.extend(options.labels.iter().cloned());
    let document = ConfigDocument::new(&document)?;
    images.put_built(&document, &options.tags).await?;
    if let Some(path) = &trace_path {
        let mut trace = before.clone();
        trace.update(after);
        if trace != before {
            save_trace(path, &trace);
        }
    }
    tell(app, &args, &options, &document)?;
    if !args.quiet {
        let mut warnings = text.warnings.clone();
        warnings.extend(report.diagnostics);
        if !warnings.is_empty() {
            app.printer.note(format!("\n{}", text.render(&warnings)));
        }
    }
    if args.push {
        for tag in &options.tags {
            push_one(app, &images, tag, None, args.quiet).await?;
        }
    }
    Ok(())
}

/// Answers `--call=targets`, from the file alone.
fn targets(app: &App, call: Call, text: &Text) -> Outcome {
    if text.parsed.has_errors() {
        return Err(text.with_mistakes(&text.parsed.diagnostics));
    }
    let targets = plan::outline::targets(&text.parsed.dockerfile);
    if call.json {
        let document = call::targets_json(&targets, &text.parsed.source);
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        let shown = call::targets_text(&targets);
        app.printer.write_out(shown.as_bytes());
    }
    Ok(())
}

/// Answers `--call=outline`.
fn outline(
    app: &App,
    call: Call,
    options: &Options,
    text: &Text,
    graph: &Graph,
    bases: &Bases,
) -> Outcome {
    let known = |name: &ImageName| bases.config(name);
    let outline = plan::outline::outline(&text.parsed.dockerfile, graph, &options.args, &known);
    if call.json {
        let document = call::outline_json(&outline, &text.parsed.source);
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        let shown = call::outline_text(&outline);
        app.printer.write_out(shown.as_bytes());
    }
    Ok(())
}

/// Tells what was made, where the flags say so.
fn tell(app: &App, args: &Args, options: &Options, document: &ConfigDocument) -> Outcome {
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

/// Removes an old result, and makes sure that a new one can be written there.
fn forget(path: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("--iidfile {}: {e}", path.display()));
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => {
            std::fs::metadata(dir).map(drop).map_err(failed)
        }
        _ => Ok(()),
    }
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
