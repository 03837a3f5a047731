//! `rbuild bake`: the targets of a definition, each built as `rbuild build` builds.

mod arguments;
mod consent;
pub mod files;
pub mod flags;
mod listing;
mod looked;
mod oven;

use bake::error::BakeError;
use bake::plan::is_remote;
use bake::read::{self, Bake};
use bake::shorthands::Shorthands;
use builder::auth::Auth;
use builder::context;
use clap::Command;

use crate::app::App;
use crate::commands::build::call::Method;
use crate::failure::{Failure, Outcome};
use crate::term::progress::Mode;
use consent::Consent;
use flags::BakeFlags;
use listing::List;
use oven::Oven;

/// Runs the command. `program` is the whole command line, for flags that it does not have.
pub async fn run(app: &App, args: BakeFlags, program: Command) -> Outcome {
    if args.print && args.list.is_some() {
        return Err(Failure::new("--print and --list are mutually exclusive"));
    }
    let remote = args
        .targets
        .iter()
        .take(2)
        .take_while(|word| is_remote(word));
    let places: Vec<String> = remote.cloned().collect();
    let fetched = match places.first() {
        Some(place) => Some(context::open_named(place.clone(), &Auth::default()).await?),
        None => None,
    };
    let (named, urls) = (args.files.clone(), places.clone());
    let variables = args.variables.clone();
    let read = tokio::task::spawn_blocking(move || -> Result<Result<Bake, BakeError>, Failure> {
        let files = files::read(&named, fetched.as_ref())?;
        let mut around = files::around()?;
        around.environment.extend(variables);
        around.remote = urls.first().cloned();
        if let Some(place) = urls.get(1) {
            around.place.clone_from(place);
        }
        files::read_others(&files, &mut around, fetched.as_ref())?;
        Ok(read::read(&files, &around))
    });
    let told = |error: BakeError| told(app, &error);
    let definitions = read.await??.map_err(told)?;
    for warning in &definitions.warnings {
        app.printer.warning(warning);
    }
    if let Some(list) = &args.list {
        let listed = List::read(list)?.write(&definitions)?;
        app.printer.write_out(listed.as_bytes());
        return Ok(());
    }
    let words = match args.targets.get(places.len()..).unwrap_or_default() {
        [] => vec!["default".to_owned()],
        words => words.to_vec(),
    };
    let mut set = args.set.clone();
    set.extend(shorthands(&args).written_out());
    let plan = definitions.plan(&words, &set).map_err(told)?;
    if args.print {
        app.printer
            .line(plan.print().map_err(|mistake| told(mistake.told(&[])))?);
        return Ok(());
    }
    Consent::new(&args.allow, &plan.granted)?.check(&plan)?;
    let oven = Oven {
        app,
        args: &args,
        plan: &plan,
        program,
        common: common(&args),
    };
    oven.bake().await
}

fn told(app: &App, error: &BakeError) -> Failure {
    let failure = Failure::new(error);
    match error.excerpt(app.printer.color()) {
        Some(excerpt) => failure.at(excerpt),
        None => failure,
    }
}

fn shorthands(args: &BakeFlags) -> Shorthands {
    let method = if args.check {
        Method::Check
    } else {
        args.call.method
    };
    let call = match method {
        Method::Build => None,
        Method::Check => Some("check"),
        Method::Outline => Some("outline"),
        Method::Targets => Some("targets"),
    };
    Shorthands {
        push: args.push,
        load: args.load,
        call: call.map(str::to_owned),
        no_cache: args.no_cache,
        pull: args.pull,
        sbom: args.sbom.clone(),
        provenance: args.provenance.clone(),
    }
}

/// Flags that all targets are built with.
fn common(args: &BakeFlags) -> Vec<String> {
    let progress = match args.progress {
        // What the variables say of a build holds for each.
        Mode::Auto => return Vec::new(),
        Mode::Plain => "plain",
        Mode::Tty => "tty",
        // Of several images no ID is told.
        Mode::Quiet | Mode::None => "none",
        Mode::Rawjson => "rawjson",
    };
    vec![format!("--progress={progress}")]
}
