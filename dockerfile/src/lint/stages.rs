//! Rules that need values: the stages replayed, ARG by ARG and ENV by ENV.

use std::collections::BTreeSet;

use super::image_name;
use super::instructions::{Context, StageState, check_instruction};
use super::options::{BaseImage, Options, UnknownBase};
use super::reporter::Reporter;
use crate::build::parse_trigger;
use crate::diagnostic::{Code, Diagnostic};
use crate::eval::global::{Scope, global};
use crate::eval::platform::{PlatformParts, automatic, target_stage};
use crate::eval::stage::StageVariables;
use crate::instruction::Instruction;
use crate::rule::Rule;
use crate::shell::{Expansion, Lexer, NoVariables, Variables};
use crate::span::Word;
use crate::stage::{Dockerfile, Stage};
use crate::suggest::nearest;
use golang::quote::go_quote;

pub(super) fn check(file: &Dockerfile, options: &Options<'_>, reporter: &mut Reporter) {
    let lexer = Lexer::new(file.directives.escape_char());
    let target = target_stage(file, options.target.unwrap_or_default());
    let auto = automatic(
        &options.build_platform,
        &options.target_platform,
        &target,
        options.build_args,
    );
    default_bases(file, lexer, &auto, reporter);
    let (globals, mistakes) = global(file, &auto, options.build_args);
    if let Some(mistake) = mistakes.into_iter().next() {
        return reporter.error(mistake);
    }
    let mut bases = Vec::new();
    for stage in &file.stages {
        // Nothing further can be said of a stage whose base cannot be named.
        match from(file, stage, lexer, &globals, reporter) {
            Some(base) => bases.push(base),
            None => return,
        }
    }
    let parents: Vec<Option<usize>> = bases
        .iter()
        .enumerate()
        .map(|(index, base)| file.earlier_stage_named(&base.name, index))
        .collect();
    let fired = reachable(file, &parents, options.target.unwrap_or_default());
    let needed = match options.target {
        Some(_) => fired.clone(),
        None => (0..file.stages.len()).collect(),
    };
    let mut states: Vec<StageState> = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let mut state = match parents[index] {
            Some(parent) => states[parent].inherit(),
            None => from_image(
                stage,
                &bases[index],
                options,
                needed.contains(&index),
                reporter,
            ),
        };
        if needed.contains(&index) {
            if let Some(parent) = parents[index] {
                state.triggers = triggers_of(&file.stages[parent]);
            }
            if !fired.contains(&index) {
                state.triggers.clear();
            }
            let context = Context {
                lexer,
                options,
                globals: &globals,
            };
            for trigger in std::mem::take(&mut state.triggers) {
                let place = stage.base.span;
                check_instruction(&trigger, Some(place), &context, &mut state, reporter);
            }
            for instruction in &stage.instructions {
                check_instruction(instruction, None, &context, &mut state, reporter);
            }
        }
        states.push(state);
    }
}

/// A base, expanded.
struct Base {
    name: String,
    /// The platform asked for with `--platform`.
    platform: Option<String>,
}

/// A base name ought to be valid with nothing but defaults.
fn default_bases(file: &Dockerfile, lexer: Lexer, auto: &Scope, reporter: &mut Reporter) {
    let (defaults, mistakes) = global(file, auto, &NoVariables);
    if !mistakes.is_empty() {
        return;
    }
    for (index, stage) in file.stages.iter().enumerate() {
        let Ok(expanded) = lexer.expand(stage.base.as_str(), &defaults) else {
            return;
        };
        // Stages are found in any case, images are not.
        let is_stage = file.earlier_stage_named(&expanded.text, index).is_some();
        if !is_stage && !image_name::is_valid(&expanded.text) {
            reporter.report(
                Rule::InvalidDefaultArgInFrom,
                stage.base.span,
                format!(
                    "Default value for ARG {} results in empty or invalid base image name",
                    stage.base.as_str()
                ),
                "give the ARG a default, or the reference one: ${NAME:-default}",
            );
        }
    }
}

/// Checks a FROM; gives its base.
fn from(
    file: &Dockerfile,
    stage: &Stage,
    lexer: Lexer,
    globals: &Scope,
    reporter: &mut Reporter,
) -> Option<Base> {
    let base = from_word(file, &stage.base, lexer, globals, reporter)?;
    let mut asked = None;
    if let Some(platform) = &stage.platform
        && let Some(expanded) = from_word(file, platform, lexer, globals, reporter)
    {
        redundant_platform(platform, &expanded, globals, reporter);
        constant_platform(stage, platform, &expanded, reporter);
        asked = Some(expanded.text);
    }
    if base.text.is_empty() {
        let message = format!("base name ({}) should not be blank", stage.base.as_str());
        let error = Diagnostic::error(Code::InvalidArgument, message, stage.base.span);
        reporter.error(error.help("give the ARG a default before the first FROM"));
        return None;
    }
    Some(Base {
        name: base.text,
        platform: asked,
    })
}

fn from_word(
    file: &Dockerfile,
    word: &Word,
    lexer: Lexer,
    globals: &Scope,
    reporter: &mut Reporter,
) -> Option<Expansion> {
    let expanded = match lexer.expand_placed(word.as_str(), globals) {
        Ok(expanded) => expanded,
        Err(error) => {
            reporter.error(Diagnostic::in_word(&error, |part| word.place(part)));
            return None;
        }
    };
    let mut declared: BTreeSet<&str> = globals.names().into_iter().collect();
    declared.extend(
        file.global_args
            .iter()
            .flat_map(|g| g.arg.args.iter().map(|def| def.name.as_str())),
    );
    let unset = expanded.unset.iter();
    for (name, at) in unset.filter(|(name, _)| !declared.contains(name.as_str())) {
        let names: Vec<&str> = declared.iter().copied().collect();
        let mut message = format!("FROM argument '{name}' is not declared");
        let help = match nearest(name, &names) {
            Some(known) => {
                message.push_str(&format!(" (did you mean {known}?)"));
                format!("write ${known}, or declare ARG {name} above the first FROM")
            }
            None => format!("declare it above the first FROM: ARG {name}=DEFAULT"),
        };
        reporter.report(Rule::UndefinedArgInFrom, word.place(at), message, help);
    }
    Some(expanded)
}

fn redundant_platform(word: &Word, expanded: &Expansion, globals: &Scope, reporter: &mut Reporter) {
    let only_target = expanded.used.len() == 1
        && expanded.unset.is_empty()
        && expanded.used.contains("TARGETPLATFORM");
    if only_target && globals.value("TARGETPLATFORM") == Some(expanded.text.as_str()) {
        reporter.report(
            Rule::RedundantTargetPlatform,
            word.span,
            format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                word.as_str()
            ),
            "remove --platform",
        );
    }
}

fn constant_platform(stage: &Stage, word: &Word, expanded: &Expansion, reporter: &mut Reporter) {
    if !expanded.used.is_empty() || !expanded.unset.is_empty() {
        return;
    }
    let Some((os, arch)) = PlatformParts::compared(&expanded.text) else {
        return;
    };
    let name = stage.name().unwrap_or_default();
    // A stage that is called after a platform is meant for it.
    if name.contains(&os) || name.contains(&arch) {
        return;
    }
    reporter.report(
        Rule::FromPlatformFlagConstDisallowed,
        word.span,
        format!(
            "FROM --platform flag should not use constant value {}",
            go_quote(&expanded.text)
        ),
        "use $BUILDPLATFORM or $TARGETPLATFORM, or put the platform into the stage's name",
    );
}

/// The state that a stage based on an image starts from.
fn from_image(
    stage: &Stage,
    base: &Base,
    options: &Options<'_>,
    needed: bool,
    reporter: &mut Reporter,
) -> StageState {
    let asked = base.platform.as_deref();
    let expected = asked.unwrap_or(&options.target_platform.text);
    let base = base.name.as_str();
    let known = if base == "scratch" {
        Some(BaseImage::default())
    } else if needed {
        (options.base_images)(base, asked)
    } else {
        None
    };
    let mut state = StageState::default();
    state.unknown = known.is_none();
    state.open = state.unknown && options.unknown_base == UnknownBase::Anything;
    let image = known.unwrap_or_default();
    let env = image
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    state.variables = StageVariables::of_image(&env.collect::<Vec<_>>());
    state.has_shell = image.has_shell;
    // Mistakes in them are the base image's; the planner refuses them.
    state.triggers = image
        .onbuild
        .iter()
        .filter_map(|text| parse_trigger(text).0)
        .collect();
    if let Some(actual) = image.platform
        && needed
        && PlatformParts::compared(&actual) != PlatformParts::compared(expected)
    {
        reporter.report(
            Rule::InvalidBaseImagePlatform,
            stage.base.span,
            format!(
                "Base image {base} was pulled with platform {}, expected {} for current build",
                go_quote(&actual),
                go_quote(expected)
            ),
            "build for the image's platform, or use an image that has yours",
        );
    }
    state
}

/// The ONBUILD triggers that a stage leaves to the stages based on it.
fn triggers_of(stage: &Stage) -> Vec<Instruction> {
    let triggers = stage.triggers();
    triggers
        .filter_map(|onbuild| onbuild.instruction.as_deref().cloned())
        .collect()
}

/// The stages that building `target` needs.
fn reachable(file: &Dockerfile, parents: &[Option<usize>], target: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = file.target(target).into_iter().collect();
    while let Some(index) = open.pop() {
        if !found.insert(index) {
            continue;
        }
        open.extend(parents[index]);
        let own = file.stages[index].instructions.iter();
        let fired = parents[index].map(|parent| triggers_of(&file.stages[parent]));
        let fired = fired.unwrap_or_default();
        for instruction in own.chain(&fired) {
            for (name, _) in instruction.kind.sources() {
                open.extend(file.earlier_stage(&name, index));
            }
        }
    }
    found
}
