//! Builds the targets of a plan, at the same time where none needs another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bake::plan::{Plan, links};
use bake::target::Target;
use builder::solve::progress::Progress as _;
use clap::{Command, Parser};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};

use super::arguments::{self, With};
use super::flags::BakeFlags;
use crate::app::App;
use crate::commands::build::together::Together;
use crate::commands::build::{self, flags::BuildFlags};
use crate::failure::{Failure, Outcome};
use crate::usage::{self, Answer};

/// What is typed after `rbuild build`, alone.
#[derive(Parser)]
#[command(no_binary_name = true)]
#[command(args_override_self = true)]
struct Typed {
    #[command(flatten)]
    build: BuildFlags,
}

/// Where targets are built.
pub struct Oven<'a> {
    pub app: &'a App,
    pub args: &'a BakeFlags,
    pub plan: &'a Plan,
    /// The whole command line, for flags that it does not have.
    pub program: Command,
    /// Flags that all targets are built with.
    pub common: Vec<String>,
}

/// What has come of targets so far.
#[derive(Default)]
struct Done {
    names: BTreeSet<String>,
    /// Their images.
    ids: BTreeMap<String, String>,
    metadata: Map<String, Value>,
    warnings: Vec<String>,
    /// What deserves attention in their Dockerfiles, for the metadata, each once.
    found: Vec<Value>,
}

/// A target that was built.
struct Baked {
    id: Option<String>,
    outcome: Value,
    warnings: Option<String>,
}

impl Oven<'_> {
    /// Builds all targets, each after those that it links to; then those are looked at that are
    /// not to be built.
    pub async fn bake(&self) -> Outcome {
        let dir = tempfile::tempdir()?;
        let order = self.plan.order();
        let targets = order.iter().filter_map(|name| self.plan.targets.get(name));
        let (looked_at, built): (Vec<_>, Vec<_>) = targets.partition(|t| method(t).is_some());
        one_to_stdout(&built)?;
        if let Some(path) = &self.args.metadata_file {
            build::forget_one("--metadata-file", path).await?;
        }
        let done = self.build_all(&built, dir.path()).await?;
        let mut metadata = done.metadata;
        if !done.found.is_empty() {
            metadata.insert(build::WARNINGS.to_owned(), Value::Array(done.found));
        }
        let looked = match looked_at.is_empty() {
            true => Ok(()),
            false => {
                self.look_at(&looked_at, &done.ids, (dir.path(), &mut metadata))
                    .await
            }
        };
        if let Some(path) = &self.args.metadata_file {
            metadata.sort_keys();
            let bytes = serde_json::to_vec_pretty(&metadata)?;
            build::write_whole(path, bytes).await?;
        }
        looked
    }

    async fn build_all(&self, targets: &[&Target], dir: &Path) -> Result<Done, Failure> {
        let mut shown = self.common.clone();
        shown.push(".".to_owned());
        let mode = self.typed(shown)?.mode();
        let mode = mode.map_err(|e| Failure::with_code(e, 125))?;
        let together = Together::new(self.app, mode, self.args.jobs);
        let several = targets.len() > 1;
        let (mut waiting, mut done) = (targets.to_vec(), Done::default());
        let mut running = FuturesUnordered::new();
        let mut failed: Option<Failure> = None;
        loop {
            let free = |target: &&Target| {
                let mut needs = links(target).filter(|name| waited_for(targets, name));
                failed.is_none() && needs.all(|name| done.names.contains(name))
            };
            let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(free);
            waiting = rest;
            for target in ready {
                let (ids, together) = (done.ids.clone(), &together);
                let name = several.then_some(target.name.as_str());
                running.push(async move {
                    let baked = self.build_target(target, (&ids, dir), together, name);
                    (target, baked.await)
                });
            }
            match running.next().await {
                None => break,
                Some((target, Ok(baked))) => done.add(&target.name, baked),
                Some((target, Err(failure))) => {
                    together.interrupts.give_up();
                    let failure = of_target(&target.name, failure);
                    // What was ended because of another says nothing of that.
                    let first = failed.as_ref();
                    if first.is_none_or(|first| first.canceled && !failure.canceled) {
                        failed = Some(failure);
                    }
                }
            }
        }
        if several {
            together.shown.finished();
        }
        for warnings in &done.warnings {
            self.app.printer.note(warnings);
        }
        match failed {
            Some(failure) => Err(together.interrupts.code(failure)),
            None => Ok(done),
        }
    }

    async fn build_target(
        &self,
        target: &Target,
        (built, dir): (&BTreeMap<String, String>, &Path),
        together: &Together,
        name: Option<&str>,
    ) -> Result<Baked, Failure> {
        let outcome = dir.join(format!("{}.metadata", target.name));
        let own = format!("--metadata-file={}", outcome.display());
        let flags = self.flags(target, (built, dir), own).await?;
        let warnings = build::run_target(self.app, &flags, together, name).await?;
        let outcome: Value = serde_json::from_slice(&tokio::fs::read(&outcome).await?)?;
        // The image's ID, or that of the index of several.
        let id = outcome
            .get("containerimage.config.digest")
            .or_else(|| outcome.get("containerimage.digest"));
        let id = id.and_then(Value::as_str).map(str::to_owned);
        Ok(Baked {
            id,
            outcome,
            warnings,
        })
    }

    /// A target as the flags of a build; `own` is one more of its own.
    pub async fn flags(
        &self,
        target: &Target,
        (built, dir): (&BTreeMap<String, String>, &Path),
        own: String,
    ) -> Result<BuildFlags, Failure> {
        let inline = inline(target, dir).await?;
        let mut common = self.common.clone();
        common.push(own);
        let with = With {
            built,
            inline: inline.as_deref(),
            common: &common,
            needed: self.is_needed(&target.name),
            looked_at: method(target).is_some(),
            remote: self.plan.remote.as_deref(),
        };
        let mut flags = self.typed(arguments::arguments(target, &with)?)?;
        // Its path is another one each time.
        flags.called = inline
            .as_ref()
            .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(flags)
    }

    /// Whether other targets start from it.
    fn is_needed(&self, name: &str) -> bool {
        let mut targets = self.plan.targets.values();
        targets.any(|target| links(target).any(|other| other == name))
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

impl Done {
    fn add(&mut self, name: &str, mut baked: Baked) {
        let outcome = baked.outcome.as_object_mut();
        // Targets of one Dockerfile have the same, and buildx tells it once for all.
        if let Some(Value::Array(found)) = outcome.and_then(|told| told.remove(build::WARNINGS)) {
            let new = found.into_iter().filter(|one| !self.found.contains(one));
            let new: Vec<Value> = new.collect();
            self.found.extend(new);
        }
        self.names.insert(name.to_owned());
        self.ids.extend(baked.id.map(|id| (name.to_owned(), id)));
        self.metadata.insert(name.to_owned(), baked.outcome);
        self.warnings.extend(baked.warnings);
    }
}

/// What is done with a target in place of building it.
pub fn method(target: &Target) -> Option<&str> {
    target.call.as_deref().filter(|method| *method != "build")
}

/// The same failure, by the name of the target.
pub fn of_target(name: &str, failure: Failure) -> Failure {
    Failure {
        message: match failure.message.is_empty() {
            true => failure.message,
            false => format!("target {name}: {}", failure.message),
        },
        ..failure
    }
}

fn waited_for(targets: &[&Target], name: &str) -> bool {
    targets.iter().any(|target| target.name == name)
}

/// The file of a target's own Dockerfile.
async fn inline(target: &Target, dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let Some(text) = &target.dockerfile_inline else {
        return Ok(None);
    };
    let path = dir.join(format!("{}.Dockerfile", target.name));
    tokio::fs::write(&path, text).await?;
    Ok(Some(path))
}

/// Two archives in one stream are none.
fn one_to_stdout(targets: &[&Target]) -> Outcome {
    let writes = |target: &&&Target| {
        let mut outputs = target.output.iter().flatten();
        !target.linked
            && outputs.any(|one| {
                let dest = one.dest.as_deref();
                match one.kind.as_str() {
                    "tar" | "oci" => matches!(dest, None | Some("" | "-")),
                    "docker" => dest == Some("-"),
                    _ => false,
                }
            })
    };
    let mut writing = targets.iter().filter(writes);
    match (writing.next(), writing.next()) {
        (Some(one), Some(other)) => Err(Failure::new(format!(
            "targets {} and {} would both write to standard output: give one of them a dest",
            one.name, other.name
        ))),
        _ => Ok(()),
    }
}
