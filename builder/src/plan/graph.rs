//! Which stages the target needs, what each is based on, and in which order they are built.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::instruction::{Kind, Mount, MountKind};
use dockerfile::shell::Lexer;
use dockerfile::span::{Span, Word};
use dockerfile::stage::Dockerfile;
use oci::{Platform, Reference};

use super::PlanError;
use super::args::{BuildArgs, NamedContext, NamedContexts, platform_args};
use super::step::CopyFrom;

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(Reference),
}

/// A stage of the graph.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// Its index in the Dockerfile.
    pub index: usize,
    /// Its name, or `stage-` and its index.
    pub name: String,
    /// What it starts from.
    pub base: Base,
    /// The platform asked for with `--platform`.
    pub platform: Option<Platform>,
    /// Earlier stages that it copies from or starts from.
    pub stages: BTreeSet<usize>,
    /// Other trees that it copies from, each with the place where it is first named.
    pub sources: Vec<(CopyFrom, Span)>,
}

/// The stages that are to be built.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The stages needed, each after those it needs.
    pub stages: Vec<StagePlan>,
    /// The index in the Dockerfile of the one whose image is wanted.
    pub target: usize,
    /// The global scope: what FROM lines see, and what stages inherit by declaring it.
    pub global: BTreeMap<String, String>,
}

/// What the graph depends on beside the Dockerfile.
#[derive(Clone, Debug)]
pub struct GraphOptions<'a> {
    /// `--target`, empty for the last stage.
    pub target: &'a str,
    /// `--build-arg`
    pub args: &'a BuildArgs,
    /// The platform that builds.
    pub build_platform: &'a Platform,
    /// `--platform`
    pub target_platform: &'a Platform,
    /// The names given with `--build-context`.
    pub named: &'a NamedContexts,
}

impl Graph {
    /// Plans the stages that the target needs.
    ///
    /// # Errors
    /// All mistakes found, with their places.
    pub fn new(file: &Dockerfile, options: &GraphOptions<'_>) -> Result<Self, PlanError> {
        let target = file
            .target(options.target)
            .ok_or_else(|| no_target(file, options.target))?;
        let lexer = Lexer::new(file.directives.escape_char());
        let mut errors = Vec::new();
        let global = globals(file, options, lexer, &mut errors);
        let mut stages: BTreeMap<usize, StagePlan> = BTreeMap::new();
        let mut wanted = vec![target];
        while let Some(index) = wanted.pop() {
            if stages.contains_key(&index) {
                continue;
            }
            match plan_stage(file, index, options, lexer, &global) {
                Ok(stage) => {
                    wanted.extend(&stage.stages);
                    stages.insert(index, stage);
                }
                Err(PlanError(mut found)) => {
                    errors.append(&mut found);
                    // Not planned again: its errors are told once.
                    let name = index.to_string();
                    let (base, platform) = (Base::Scratch, None);
                    let (deps, sources) = (BTreeSet::new(), Vec::new());
                    stages.insert(
                        index,
                        StagePlan {
                            index,
                            name,
                            base,
                            platform,
                            stages: deps,
                            sources,
                        },
                    );
                }
            }
        }
        if errors.is_empty() {
            // A stage only ever needs earlier ones, so the file's order is an order to build in.
            Ok(Self {
                stages: stages.into_values().collect(),
                target,
                global,
            })
        } else {
            errors.sort_by_key(|e| e.span);
            Err(PlanError(errors))
        }
    }
}

fn no_target(file: &Dockerfile, target: &str) -> PlanError {
    let names: Vec<String> = file.stages.iter().filter_map(|s| s.name()).collect();
    let help = if names.is_empty() {
        "no stage of this Dockerfile has a name: give one with FROM … AS name".to_owned()
    } else {
        format!("the stages are: {}", names.join(", "))
    };
    let span = file.stages.last().map_or(Span::at(0), |s| s.header.span);
    let message = format!("target stage {target:?} could not be found");
    Diagnostic::error(Code::InvalidArgument, message, span)
        .help(help)
        .into()
}

/// The global scope, in order: automatic platform arguments, then ARG by ARG.
fn globals(
    file: &Dockerfile,
    options: &GraphOptions<'_>,
    lexer: Lexer,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    let automatic = platform_args(
        options.build_platform,
        options.target_platform,
        options.target,
    );
    let mut scope: BTreeMap<String, String> = automatic.into_iter().collect();
    for name in scope.keys().cloned().collect::<Vec<_>>() {
        if let Some(value) = options.args.get(&name) {
            scope.insert(name, value.to_owned());
        }
    }
    for def in file.global_args.iter().flat_map(|global| &global.arg.args) {
        let Some(name) = expand(lexer, &def.name, &scope, errors) else {
            continue;
        };
        let value = match (options.args.get(&name), &def.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => expand(lexer, default, &scope, errors),
            (None, None) => None,
        };
        if let Some(value) = value {
            scope.insert(name, value);
        }
    }
    scope
}

fn expand(
    lexer: Lexer,
    word: &Word,
    scope: &BTreeMap<String, String>,
    errors: &mut Vec<Diagnostic>,
) -> Option<String> {
    match lexer.process_word(word.as_str(), scope) {
        Ok(text) => Some(text),
        Err(e) => {
            errors.push(Diagnostic::error(
                Code::InvalidWord,
                e.to_string(),
                word.span,
            ));
            None
        }
    }
}

fn plan_stage(
    file: &Dockerfile,
    index: usize,
    options: &GraphOptions<'_>,
    lexer: Lexer,
    global: &BTreeMap<String, String>,
) -> Result<StagePlan, PlanError> {
    let Some(stage) = file.stages.get(index) else {
        return Err(no_target(file, &index.to_string()));
    };
    let mut errors = Vec::new();
    let name = stage.name().unwrap_or_else(|| format!("stage-{index}"));
    let mut plan = StagePlan {
        index,
        name,
        base: Base::Scratch,
        platform: None,
        stages: BTreeSet::new(),
        sources: Vec::new(),
    };
    if let Some(base) = expand(lexer, &stage.base, global, &mut errors) {
        match base_of(file, index, &base, options, stage.base.span) {
            Ok(base) => plan.base = base,
            Err(e) => errors.push(e),
        }
    }
    if let Base::Stage(earlier) = plan.base {
        plan.stages.insert(earlier);
    }
    if let Some(word) = &stage.platform
        && let Some(text) = expand(lexer, word, global, &mut errors)
    {
        match text.parse() {
            Ok(platform) => plan.platform = Some(platform),
            Err(e) => errors.push(
                Diagnostic::error(Code::InvalidFlag, format!("{e}"), word.span)
                    .help("write it as linux/amd64, or leave --platform out"),
            ),
        }
    }
    for instruction in &stage.instructions {
        for (from, span) in sources_of(&instruction.kind) {
            match copy_from(file, index, &from, options.named, span) {
                Ok(CopyFrom::Stage(earlier)) => {
                    plan.stages.insert(earlier);
                }
                Ok(source) => {
                    if !plan.sources.iter().any(|(known, _)| *known == source) {
                        plan.sources.push((source, span));
                    }
                }
                Err(e) => errors.push(e),
            }
        }
    }
    if errors.is_empty() {
        Ok(plan)
    } else {
        Err(PlanError(errors))
    }
}

/// The `from=` of COPY and of bind and cache mounts.
fn sources_of(kind: &Kind) -> Vec<(String, Span)> {
    match kind {
        Kind::Copy(copy) => copy
            .from
            .iter()
            .map(|from| (from.text.clone(), from.span))
            .collect(),
        Kind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|raw| {
                let mount: Mount = raw.resolve(|word| Ok(word.to_owned())).ok()?;
                let from = match mount.kind {
                    MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => from?,
                    _ => return None,
                };
                Some((from, raw.value.span))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn base_of(
    file: &Dockerfile,
    index: usize,
    base: &str,
    options: &GraphOptions<'_>,
    span: Span,
) -> Result<Base, Diagnostic> {
    if base.is_empty() {
        let message = "base name (FROM) is empty once its variables are expanded";
        return Err(Diagnostic::error(Code::InvalidArgument, message, span)
            .help("give the ARG a default before the first FROM, or pass --build-arg"));
    }
    match options.named.get(base) {
        Some(NamedContext::Image(reference)) => return Ok(Base::Image(reference.clone())),
        Some(NamedContext::Tree) => {
            let message = format!("the build context {base:?} is a folder, and no base image");
            return Err(Diagnostic::error(Code::InvalidArgument, message, span)
                .help("copy from it instead: COPY --from=NAME, on FROM scratch for a bare root"));
        }
        None => {}
    }
    if let Some(earlier) = file.earlier_stage_named(base, index) {
        return Ok(Base::Stage(earlier));
    }
    if base == "scratch" {
        return Ok(Base::Scratch);
    }
    image(base, span).map(Base::Image)
}

/// What a `--from` means: a named context, an earlier stage, or an image.
///
/// # Errors
/// When it is none of them, or the stage itself or a later one.
pub fn copy_from(
    file: &Dockerfile,
    index: usize,
    from: &str,
    named: &NamedContexts,
    span: Span,
) -> Result<CopyFrom, Diagnostic> {
    match named.get(from) {
        Some(NamedContext::Image(reference)) => return Ok(CopyFrom::Image(reference.clone())),
        Some(NamedContext::Tree) => return Ok(CopyFrom::Named(from.to_owned())),
        None => {}
    }
    if let Some(earlier) = file.earlier_stage(from, index) {
        return Ok(CopyFrom::Stage(earlier));
    }
    if let Some(stage) = file.stages.iter().position(|s| s.is_named(from)) {
        let what = if stage == index {
            "the stage itself"
        } else {
            "a later stage"
        };
        let message = format!("--from={from} refers to {what}");
        return Err(Diagnostic::error(Code::InvalidFlag, message, span)
            .help("a stage can only copy from stages above it: move that stage up"));
    }
    if let Ok(number) = from.parse::<usize>() {
        let message = format!("--from={from}: there is no stage {number} above this one");
        return Err(Diagnostic::error(Code::InvalidFlag, message, span)
            .help("stages are counted from 0; a name (FROM … AS name) is easier to keep right"));
    }
    image(from, span).map(CopyFrom::Image)
}

fn image(name: &str, span: Span) -> Result<Reference, Diagnostic> {
    name.parse::<Reference>()
        .map(Reference::or_latest)
        .map_err(|e| {
            let message = format!("{name:?} is no stage and no image reference: {e}");
            Diagnostic::error(Code::InvalidArgument, message, span)
                .help("write an image as [registry/]name[:tag], in lower case")
        })
}
