//! Which stages the target needs, what each is based on, and in which order they are built.

use std::collections::BTreeSet;

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::eval::expand_word;
use dockerfile::eval::global::{Scope, global};
use dockerfile::eval::platform::{automatic, target_stage};
use dockerfile::shell::Lexer;
use dockerfile::span::{Span, Word};
use dockerfile::stage::{Dockerfile, Stage};
use oci::Platform;

use super::PlanError;
use super::args::{BuildArgs, platform_parts};
use super::copy::CopyFrom;
use super::named::NamedContexts;
use super::names::{Base, Names};

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
    pub global: Scope,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// `network.host`: a RUN may ask for the network of this machine.
    pub host_network: bool,
    /// `security.insecure`: a RUN may ask for all privileges.
    pub insecure: bool,
    /// `device`: a RUN may ask for devices of this machine.
    pub devices: DeviceConsent,
}

/// Which devices a RUN may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceConsent {
    /// Any.
    All,
    /// Those that are named: by a path, a CDI name, or the kind that CDI names have in common.
    Named(Vec<String>),
}

impl Default for DeviceConsent {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl DeviceConsent {
    /// Whether it goes for a device by this name, as RUN `--device` has it.
    pub fn allows(&self, device: &str) -> bool {
        let Self::Named(names) = self else {
            return true;
        };
        // Of a path, what follows says where it is shown and what may be done with it.
        let wanted = match device.starts_with('/') {
            true => device.split(':').next().unwrap_or(device),
            false => device,
        };
        names.iter().any(|name| {
            let kind = name.strip_suffix("=*").unwrap_or(name);
            let of_kind = wanted.split_once('=').is_some_and(|(of, _)| of == kind);
            name == wanted || of_kind || kind == wanted
        })
    }
}

impl<'a> GraphOptions<'a> {
    /// What the names in a Dockerfile mean with these options.
    pub fn names(&self, file: &'a Dockerfile) -> Names<'a> {
        Names {
            file,
            named: self.named,
            platform: self.target_platform,
        }
    }
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
        let global = globals(file, options, &mut errors);
        let mut stages = Vec::new();
        let names = options.names(file);
        for index in 0..file.stages.len() {
            let (stage, mut found) = plan_stage(&names, index, lexer, &global);
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
        names: &Names<'_>,
        index: usize,
        triggers: &[String],
    ) -> Result<bool, PlanError> {
        let file = names.file;
        let span = file.stages.get(index).map_or(Span::at(0), |s| s.base.span);
        let Some(stage) = self.stages.iter_mut().find(|stage| stage.index == index) else {
            return Ok(false);
        };
        let before = (stage.stages.len(), stage.sources.len());
        if !stage.replaced {
            let errors = stage.add_triggers(names, triggers, span);
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
            let (stage, errors) = plan_stage(names, index, lexer, &self.global);
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
fn globals(file: &Dockerfile, options: &GraphOptions<'_>, errors: &mut Vec<Diagnostic>) -> Scope {
    let automatic = automatic(
        &platform_parts(options.build_platform),
        &platform_parts(options.target_platform),
        &target_stage(file, options.target),
        options.args,
    );
    let (scope, mistakes) = global(file, &automatic, options.args);
    errors.extend(mistakes);
    scope
}

fn expand(
    lexer: Lexer,
    word: &Word,
    scope: &Scope,
    errors: &mut Vec<Diagnostic>,
) -> Option<String> {
    expand_word(lexer, word, scope)
        .map_err(|e| errors.push(e))
        .ok()
}

/// A stage as far as it can be planned, and what is wrong with it.
fn plan_stage(
    names: &Names<'_>,
    index: usize,
    lexer: Lexer,
    global: &Scope,
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
    let Some(stage) = names.file.stages.get(index) else {
        return (plan, no_target(names.file, &index.to_string()).0);
    };
    if let Some(word) = &stage.platform {
        plan.platform = platform(word, lexer, global, &mut errors);
    }
    if let Some(name) = stage.name() {
        if let Some(base) = names.replacement(&name, plan.platform.as_ref()) {
            plan.base = base;
            plan.replaced = true;
        }
        plan.name = name;
    }
    if plan.replaced {
        return (plan, errors);
    }
    if let Some(base) = expand(lexer, &stage.base, global, &mut errors) {
        match names.base(index, &base, plan.platform.as_ref(), stage.base.span) {
            Ok(base) => plan.base = base,
            Err(e) => errors.push(e),
        }
    }
    if plan.base == Base::Scratch {
        // Nothing is of no platform: what is made of it is for the one that is built for.
        plan.platform = None;
    }
    if let Base::Stage(earlier) = plan.base {
        plan.stages.insert(earlier);
    }
    for instruction in &stage.instructions {
        for (from, span) in instruction.kind.sources() {
            match names.copy_from(index, &from, span) {
                Ok(source) => plan.add(source, span),
                Err(e) => errors.push(e),
            }
        }
    }
    if let Base::Stage(earlier) = plan.base {
        let earlier = names.file.stages.get(earlier).into_iter();
        let triggers: Vec<String> = earlier
            .flat_map(Stage::triggers)
            .map(|onbuild| onbuild.trigger.clone())
            .collect();
        errors.extend(plan.add_triggers(names, &triggers, stage.header.span));
    }
    (plan, errors)
}

/// The value of `--platform`.
fn platform(
    word: &Word,
    lexer: Lexer,
    global: &Scope,
    errors: &mut Vec<Diagnostic>,
) -> Option<Platform> {
    let text = expand(lexer, word, global, errors)?;
    if text.is_empty() {
        let message = format!("empty platform value from expression {}", word.as_str());
        errors.push(
            Diagnostic::error(Code::InvalidFlag, message, word.span)
                .help("give the ARG a default before the first FROM, or pass --build-arg"),
        );
        return None;
    }
    match text.parse() {
        Ok(platform) => Some(platform),
        Err(e) => {
            errors.push(
                Diagnostic::error(Code::InvalidFlag, format!("{e}"), word.span)
                    .help("write it as linux/amd64, or leave --platform out"),
            );
            None
        }
    }
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
        names: &Names<'_>,
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
                match names.copy_from(self.index, &from, span) {
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
