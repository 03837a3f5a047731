//! `rbuild bake`: the targets of a definition, each built as `rbuild build` builds.

mod arguments;
mod consent;
pub mod files;
pub mod flags;
mod listing;

use std::collections::BTreeMap;
use std::path::Path;

use bake::error::BakeError;
use bake::plan::{Plan, is_remote, links};
use bake::read::{self, Bake};
use bake::shorthands::Shorthands;
use bake::target::Target;
use clap::{Command, Parser};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::build::call::Method;
use crate::commands::build::{self, flags::BuildFlags};
use crate::failure::{Failure, Outcome};
use crate::term::progress::Mode;
use crate::usage::{self, Answer};
use arguments::With;
use consent::Consent;
use flags::BakeFlags;
use listing::List;

/// What is typed after `rbuild build`, alone.
#[derive(Parser)]
#[command(no_binary_name = true)]
#[command(args_override_self = true)]
struct Typed {
    #[command(flatten)]
    build: BuildFlags,
}

/// Runs the command. `program` is the whole command line, for flags that it does not have.
pub async fn run(app: &App, args: BakeFlags, program: Command) -> Outcome {
    if args.print && args.list.is_some() {
        return Err(Failure::new("--print and --list are mutually exclusive"));
    }
    if let Some(place) = args.targets.first().filter(|word| is_remote(word)) {
        return Err(Failure::new(format!(
            "definitions are not fetched from {place:?}: clone the repository, and name its files \
             with -f; the contexts of targets may be there"
        )));
    }
    let named = args.files.clone();
    let read = tokio::task::spawn_blocking(move || -> Result<Result<Bake, BakeError>, Failure> {
        let files = files::read(&named)?;
        Ok(read::read(&files, &files::around()?))
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
    let words = match args.targets.as_slice() {
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

/// Where targets are built.
struct Oven<'a> {
    app: &'a App,
    args: &'a BakeFlags,
    plan: &'a Plan,
    program: Command,
    common: Vec<String>,
}

impl Oven<'_> {
    /// Builds all targets, each after those that it links to.
    async fn bake(&self) -> Outcome {
        let dir = tempfile::tempdir()?;
        let (mut built, mut metadata) = (BTreeMap::new(), Map::new());
        let order = self.plan.order();
        let count = order.len();
        for (at, name) in order.iter().enumerate() {
            let Some(target) = self.plan.targets.get(name) else {
                continue;
            };
            if matches!(self.args.progress, Mode::Auto | Mode::Plain | Mode::Tty)
                && target.call.is_none()
            {
                let number = at + 1;
                self.app
                    .printer
                    .note(format!("\ntarget {name} ({number}/{count})"));
            }
            let made = self.build_target(target, &built, dir.path()).await;
            let made = made.map_err(|failure| Failure {
                message: match failure.message.is_empty() {
                    true => failure.message,
                    false => format!("target {name}: {}", failure.message),
                },
                ..failure
            })?;
            if let Some((id, outcome)) = made {
                built.extend(id.map(|id| (name.clone(), id)));
                metadata.insert(name.clone(), outcome);
            }
        }
        if let Some(path) = &self.args.metadata_file {
            metadata.sort_keys();
            let bytes = serde_json::to_vec_pretty(&metadata)?;
            build::write_whole(path, bytes).await?;
        }
        Ok(())
    }

    /// Builds a target: the ID of its image, if it makes one, and its outcome; or nothing where its
    /// Dockerfile is only looked at.
    async fn build_target(
        &self,
        target: &Target,
        built: &BTreeMap<String, String>,
        dir: &Path,
    ) -> Result<Option<(Option<String>, Value)>, Failure> {
        let place = |what: &str| dir.join(format!("{}.{what}", target.name));
        let inline = match &target.dockerfile_inline {
            Some(text) => {
                let path = place("Dockerfile");
                tokio::fs::write(&path, text).await?;
                Some(path)
            }
            None => None,
        };
        let method = target.call.as_deref().filter(|method| *method != "build");
        let mut common = self.common.clone();
        let outcome = place("metadata");
        match method {
            Some(method) => common.push(format!("--call={method}{}", self.call_options())),
            None => {
                common.push(format!("--metadata-file={}", outcome.display()));
            }
        }
        let with = With {
            built,
            inline: inline.as_deref(),
            common: &common,
            needed: self.is_needed(&target.name),
            looked_at: method.is_some(),
        };
        let words = arguments::arguments(target, &with)?;
        if method.is_some() {
            self.app.printer.line(&target.name);
            if !target.description.is_empty() {
                self.app.printer.line(&target.description);
            }
            self.app.printer.line("");
        }
        build::run(self.app, self.typed(words)?).await?;
        if method.is_some() {
            return Ok(None);
        }
        let outcome: Value = serde_json::from_slice(&tokio::fs::read(&outcome).await?)?;
        // The image's ID, or that of the index of several.
        let id = outcome
            .get("containerimage.config.digest")
            .or_else(|| outcome.get("containerimage.digest"));
        let id = id.and_then(Value::as_str).map(str::to_owned);
        Ok(Some((id, outcome)))
    }

    /// Whether other targets start from it.
    fn is_needed(&self, name: &str) -> bool {
        let mut targets = self.plan.targets.values();
        targets.any(|target| links(target).any(|other| other == name))
    }

    fn call_options(&self) -> String {
        let call = self.args.call;
        let mut options = String::new();
        if call.json {
            options.push_str(",format=json");
        }
        if call.ignore_status {
            options.push_str(",ignorestatus=true");
        }
        options
    }

    /// The flags of a build, as if they were typed.
    fn typed(&self, words: Vec<String>) -> Result<BuildFlags, Failure> {
        let mut line = vec!["build".to_owned()];
        line.extend(words.iter().cloned());
        match Typed::try_parse_from(words) {
            Ok(typed) => Ok(typed.build),
            Err(error) => Err(match usage::answer(&error, &self.program, &line) {
                Answer::Asked => Failure::new(error),
                Answer::Wrong(text, code) => {
                    let (first, _) = text.split_once("\n\n").unwrap_or((&text, ""));
                    Failure::with_code(first, code)
                }
            }),
        }
    }
}
