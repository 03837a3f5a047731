//! Which stages the target needs, what each is based on, and in which order they are built.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::shell::Lexer;
use dockerfile::span::{Span, Word};
use dockerfile::stage::{Dockerfile, Stage};
use oci::{Platform, Reference};

use super::PlanError;
use super::args::{BuildArgs, platform_args};
use super::named::{ImageName, NamedContext, NamedContexts};
use super::state::expand_word;
use super::step::CopyFrom;

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The FROM is wrong: there is no such base.
    Unknown,
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(ImageName),
    /// The files of a named context.
    Tree(String),
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
    /// Its own name is that of a context, which takes its place: its instructions are left out.
    pub replaced: bool,
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
    /// `--allow`
    pub consent: Consent,
}

/// What steps may do beyond their container because the user, and not only the Dockerfile, wants
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// `network.host`: a RUN may ask for the network of this machine.
    pub host_network: bool,
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
        match Self::sketch(file, options, target) {
            (mut graph, errors) if errors.is_empty() => {
                graph.prune();
                Ok(graph)
            }
            (_, errors) => Err(PlanError(errors)),
        }
    }

    /// Plans all stages as far as that goes, and tells what is wrong with them.
    pub(super) fn sketch(
        file: &Dockerfile,
        options: &GraphOptions<'_>,
        target: usize,
    ) -> (Self, Vec<Diagnostic>) {
        let lexer = Lexer::new(file.directives.escape_char());
        let mut errors = Vec::new();
        let global = globals(file, options, lexer, &mut errors);
        let mut stages = Vec::new();
        for index in 0..file.stages.len() {
            let (stage, mut found) = plan_stage(file, index, options.named, lexer, &global);
            errors.append(&mut found);
            stages.push(stage);
        }
        errors.sort_by_key(|e| e.span);
        let graph = Self {
            stages,
            target,
            global,
        };
        (graph, errors)
    }

    /// Leaves only the stages that the target needs.
    pub(super) fn prune(&mut self) {
        let mut needed = BTreeSet::new();
        let mut wanted = vec![self.target];
        while let Some(index) = wanted.pop() {
            if needed.insert(index) {
                wanted.extend(self.stages.get(index).iter().flat_map(|s| &s.stages));
            }
        }
        // A stage only ever needs earlier ones, so the file's order is an order to build in.
        self.stages.retain(|stage| needed.contains(&stage.index));
    }

    /// Adds what the ONBUILD triggers of a stage's base image copy from, and the stages that are
    /// needed for it; whether that was anything new.
    ///
    /// # Errors
    /// All mistakes found, with their places.
    pub fn add_triggers(
        &mut self,
        file: &Dockerfile,
        named: &NamedContexts,
        index: usize,
        triggers: &[String],
    ) -> Result<bool, PlanError> {
        let span = file.stages.get(index).map_or(Span::at(0), |s| s.base.span);
        let Some(stage) = self.stages.iter_mut().find(|stage| stage.index == index) else {
            return Ok(false);
        };
        let before = (stage.stages.len(), stage.sources.len());
        if !stage.replaced {
            let errors = stage.add_triggers(file, named, triggers, span);
            if !errors.is_empty() {
                return Err(PlanError(errors));
            }
        }
        let changed = (stage.stages.len(), stage.sources.len()) != before;
        let lexer = Lexer::new(file.directives.escape_char());
        let mut wanted: Vec<usize> = stage.stages.iter().copied().collect();
        while let Some(index) = wanted.pop() {
            if self.stages.iter().any(|stage| stage.index == index) {
                continue;
            }
            let (stage, errors) = plan_stage(file, index, named, lexer, &self.global);
            if !errors.is_empty() {
                return Err(PlanError(errors));
            }
            wanted.extend(&stage.stages);
            self.stages.push(stage);
        }
        self.stages.sort_by_key(|stage| stage.index);
        Ok(changed)
    }
}

/// There is no such target.
pub(super) fn no_target(file: &Dockerfile, target: &str) -> PlanError {
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
    let last = || file.stages.last().and_then(|stage| stage.name());
    let target = match options.target {
        "" => last().unwrap_or_default(),
        target => target.to_owned(),
    };
    let automatic = platform_args(options.build_platform, options.target_platform, &target);
    let mut scope: BTreeMap<String, String> = automatic.into_iter().collect();
    for name in scope.keys().cloned().collect::<Vec<_>>() {
        if let Some(value) = options.args.get(&name) {
            scope.insert(name, value.to_owned());
        }
    }
    for def in file.global_args.iter().flat_map(|global| &global.arg.args) {
        let name = def.name.as_str().to_owned();
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
    expand_word(lexer, word, scope)
        .map_err(|e| errors.push(e))
        .ok()
}

/// A stage as far as it can be planned, and what is wrong with it.
fn plan_stage(
    file: &Dockerfile,
    index: usize,
    named: &NamedContexts,
    lexer: Lexer,
    global: &BTreeMap<String, String>,
) -> (StagePlan, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    let mut plan = StagePlan {
        index,
        name: format!("stage-{index}"),
        base: Base::Unknown,
        platform: None,
        stages: BTreeSet::new(),
        sources: Vec::new(),
        replaced: false,
    };
    let Some(stage) = file.stages.get(index) else {
        return (plan, no_target(file, &index.to_string()).0);
    };
    if let Some(name) = stage.name() {
        if let Some((name, context)) = named.get(&name) {
            plan.base = context_base(name, context);
            plan.replaced = true;
        }
        plan.name = name;
    }
    if plan.replaced {
        return (plan, errors);
    }
    if let Some(base) = expand(lexer, &stage.base, global, &mut errors) {
        match base_of(file, index, &base, named, stage.base.span) {
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
            _ if text.is_empty() => errors.push(
                Diagnostic::error(
                    Code::InvalidFlag,
                    format!("empty platform value from expression {}", word.as_str()),
                    word.span,
                )
                .help("give the ARG a default before the first FROM, or pass --build-arg"),
            ),
            Ok(platform) => plan.platform = Some(platform),
            Err(e) => errors.push(
                Diagnostic::error(Code::InvalidFlag, format!("{e}"), word.span)
                    .help("write it as linux/amd64, or leave --platform out"),
            ),
        }
    }
    for instruction in &stage.instructions {
        for (from, span) in instruction.kind.sources() {
            match copy_from(file, index, &from, named, span) {
                Ok(source) => plan.add(source, span),
                Err(e) => errors.push(e),
            }
        }
    }
    if let Base::Stage(earlier) = plan.base {
        let earlier = file.stages.get(earlier).into_iter();
        let triggers: Vec<String> = earlier
            .flat_map(Stage::triggers)
            .map(|onbuild| onbuild.trigger.clone())
            .collect();
        errors.extend(plan.add_triggers(file, named, &triggers, stage.header.span));
    }
    (plan, errors)
}

impl StagePlan {
    /// Adds a tree that it copies from.
    fn add(&mut self, source: CopyFrom, span: Span) {
        match source {
            CopyFrom::Stage(earlier) => {
                self.stages.insert(earlier);
            }
            source if self.sources.iter().any(|(known, _)| *known == source) => {}
            source => self.sources.push((source, span)),
        }
    }

    /// Adds the trees that ONBUILD triggers copy from; `span` is the FROM that fires them.
    fn add_triggers(
        &mut self,
        file: &Dockerfile,
        named: &NamedContexts,
        triggers: &[String],
        span: Span,
    ) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        for trigger in triggers {
            // One that cannot be parsed is told when it fires.
            let Some(instruction) = dockerfile::parse_trigger(trigger).0 else {
                continue;
            };
            for (from, _) in instruction.kind.sources() {
                match copy_from(file, self.index, &from, named, span) {
                    Ok(source) => self.add(source, span),
                    Err(mut e) => {
                        e.message = format!("in the base's ONBUILD {trigger}: {}", e.message);
                        errors.push(e);
                    }
                }
            }
        }
        errors
    }
}

/// A named context as a base.
fn context_base(name: &str, context: &NamedContext) -> Base {
    match context.image(name) {
        Some(image) => Base::Image(image),
        None => Base::Tree(name.to_owned()),
    }
}

fn base_of(
    file: &Dockerfile,
    index: usize,
    base: &str,
    named: &NamedContexts,
    span: Span,
) -> Result<Base, Diagnostic> {
    if base.is_empty() {
        let written = file.stages.get(index).map_or("", |s| s.base.as_str());
        let message = format!("base name ({written}) should not be blank");
        return Err(Diagnostic::error(Code::InvalidArgument, message, span)
            .help("give the ARG a default before the first FROM, or pass --build-arg"));
    }
    if let Some(earlier) = file.earlier_stage_named(base, index) {
        return Ok(Base::Stage(earlier));
    }
    if base == "scratch" {
        return Ok(Base::Scratch);
    }
    if let Some((name, context)) = named.get(base) {
        return Ok(context_base(name, context));
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
    let number = from.parse::<usize>().is_ok();
    if !number && let Some((name, context)) = named.get(from) {
        return Ok(match context.image(name) {
            Some(image) => CopyFrom::Image(image),
            None => CopyFrom::Named(name.to_owned()),
        });
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
    if number {
        let message = format!("--from={from}: there is no stage {from} above this one");
        return Err(Diagnostic::error(Code::InvalidFlag, message, span)
            .help("stages are counted from 0; a name (FROM … AS name) is easier to keep right"));
    }
    if from == "scratch" {
        return Ok(CopyFrom::Scratch);
    }
    image(from, span).map(CopyFrom::Image)
}

fn image(name: &str, span: Span) -> Result<ImageName, Diagnostic> {
    name.parse::<Reference>()
        .map(|reference| ImageName::Reference(reference.or_latest()))
        .map_err(|e| {
            let message = format!("{name:?} is no stage and no image reference: {e}");
            Diagnostic::error(Code::InvalidArgument, message, span)
                .help("write an image as [registry/]name[:tag], in lower case")
        })
}
