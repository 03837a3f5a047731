//! What a build takes from outside (its arguments, secrets and SSH agents), and the stages that
//! can be built: what BuildKit's `outline` and `targets` requests tell.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::diagnostic::Diagnostic;
use dockerfile::instruction::{Kind, MountKind, RawMount};
use dockerfile::shell::Lexer;
use dockerfile::span::LineRange;
use dockerfile::stage::{Dockerfile, Stage};
use oci::config::Config;

use super::PlanError;
use super::args::BuildArgs;
use super::graph::{Base, Graph};
use super::named::ImageName;
use super::state::{Declared, StageState};

/// What the target takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// What the comment above the target says of it.
    pub description: Option<String>,
    /// The arguments that matter to it, in the file's order.
    pub args: Vec<OutlineArg>,
    /// The secrets that its steps mount.
    pub secrets: Vec<Wanted>,
    /// The SSH agents that its steps mount.
    pub ssh: Vec<Wanted>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What the comment above it says of it.
    pub description: Option<String>,
    /// The value in force: given, or the default.
    pub value: Option<String>,
    /// Where it is declared.
    pub lines: LineRange,
}

/// A secret or an SSH agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its ID.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Where it is first asked for.
    pub lines: LineRange,
}

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is built when no stage is asked for.
    pub default: bool,
    /// What the comment above it says of it.
    pub description: Option<String>,
    /// What it is based on, expanded.
    pub base: String,
    /// `--platform`, expanded.
    pub platform: Option<String>,
    /// Where its FROM is.
    pub lines: LineRange,
}

/// Every stage of a file.
pub fn targets(file: &Dockerfile, global: &BTreeMap<String, String>) -> Vec<Target> {
    let lexer = Lexer::new(file.directives.escape_char());
    // A FROM that cannot be expanded is listed as it is written.
    let expand = |text: &str| lexer.process_word(text, global).unwrap_or(text.to_owned());
    let stages = file.stages.iter().enumerate();
    let listed = stages.map(|(i, stage)| Target {
        name: stage.name(),
        default: i + 1 == file.stages.len(),
        description: stage.comment.clone(),
        base: expand(stage.base.as_str()),
        platform: stage.platform.as_ref().map(|word| expand(word.as_str())),
        lines: stage.header.lines,
    });
    listed.collect()
}

/// What the target of a graph takes. `config` tells what is known of an image's configuration.
///
/// # Errors
/// All words that cannot be expanded, with their places.
pub fn outline(
    file: &Dockerfile,
    graph: &Graph,
    args: &BuildArgs,
    config: &dyn Fn(&ImageName) -> Option<Config>,
) -> Result<Outline, PlanError> {
    let mut walk = Walk {
        lexer: Lexer::new(file.directives.escape_char()),
        file,
        graph,
        args,
        found: Outline::default(),
        states: BTreeMap::new(),
        errors: Vec::new(),
    };
    for plan in &graph.stages {
        let Some(stage) = file.stages.get(plan.index) else {
            continue;
        };
        let state = match &plan.base {
            Base::Stage(earlier) => walk.inherited(*earlier),
            Base::Image(name) => {
                StageState::new(config(name).unwrap_or_default(), None, Declared::default())
            }
            Base::Scratch | Base::Tree(_) => {
                StageState::new(Config::default(), None, Declared::default())
            }
        };
        walk.global_args(stage);
        walk.stage(plan.index, stage, state);
    }
    if !walk.errors.is_empty() {
        return Err(PlanError(walk.errors));
    }
    let mut found = walk.found;
    if let Some(stage) = file.stages.get(graph.target) {
        found.name = stage.name();
        found.description.clone_from(&stage.comment);
    }
    found.args.sort_by_key(|arg| arg.lines.start);
    found.secrets.sort_by_key(|wanted| wanted.lines.start);
    found.ssh.sort_by_key(|wanted| wanted.lines.start);
    Ok(found)
}

struct Walk<'a> {
    lexer: Lexer,
    file: &'a Dockerfile,
    graph: &'a Graph,
    args: &'a BuildArgs,
    found: Outline,
    states: BTreeMap<usize, StageState>,
    errors: Vec<Diagnostic>,
}

impl Walk<'_> {
    /// What a stage based on an earlier one starts from.
    fn inherited(&self, earlier: usize) -> StageState {
        match self.states.get(&earlier) {
            Some(state) => StageState::new(state.config.clone(), None, state.declared()),
            None => StageState::new(Config::default(), None, Declared::default()),
        }
    }

    /// The global arguments that a FROM uses, and those that their defaults use.
    fn global_args(&mut self, stage: &Stage) {
        let words = std::iter::once(&stage.base).chain(&stage.platform);
        let mut used: BTreeSet<String> = words.flat_map(|word| self.uses(word.as_str())).collect();
        for global in self.file.global_args.iter().rev() {
            for def in global.arg.args.iter().rev() {
                let name = def.name.as_str();
                if !used.contains(name) {
                    continue;
                }
                if let Some(default) = &def.default
                    && self.args.get(name).is_none()
                {
                    used.extend(self.uses(default.as_str()));
                }
                self.arg(OutlineArg {
                    name: name.to_owned(),
                    description: def.comment.clone(),
                    value: self.graph.global.get(name).cloned(),
                    lines: global.header.lines,
                });
            }
        }
    }

    /// The global variables that a word uses.
    fn uses(&self, word: &str) -> BTreeSet<String> {
        let expanded = self.lexer.expand(word, &self.graph.global);
        // What cannot be expanded was told when the graph was made.
        expanded.map(|e| e.used).unwrap_or_default()
    }

    fn stage(&mut self, index: usize, stage: &Stage, mut state: StageState) {
        for instruction in &stage.instructions {
            let lines = instruction.header.lines;
            let done = match &instruction.kind {
                Kind::Arg(arg) => {
                    let declared = state.declare(self.lexer, arg, self.args, &self.graph.global);
                    declared.map(|declared| {
                        for ((name, value), def) in declared.into_iter().zip(&arg.args) {
                            self.arg(OutlineArg {
                                name,
                                description: def.comment.clone(),
                                value,
                                lines,
                            });
                        }
                    })
                }
                Kind::Env(env) => state.assign(self.lexer, env).map(drop),
                Kind::Run(run) => {
                    for mount in &run.mounts {
                        self.mount(mount, &state, lines);
                    }
                    Ok(())
                }
                _ => Ok(()),
            };
            self.errors.extend(done.err());
        }
        self.states.insert(index, state);
    }

    /// A stage's own declaration tells more than the global one; else the first one counts.
    fn arg(&mut self, arg: OutlineArg) {
        match self.found.args.iter_mut().find(|a| a.name == arg.name) {
            Some(known) if known.value.is_none() => known.value = arg.value,
            Some(_) => {}
            None => self.found.args.push(arg),
        }
    }

    fn mount(&mut self, mount: &RawMount, state: &StageState, lines: LineRange) {
        let expand = |word: &str| {
            let expanded = self.lexer.process_word(word, state);
            expanded.map_err(|e| e.to_string())
        };
        // A value that is wrong is for the build, and the checks, to tell.
        let Ok(mount) = mount.resolve(expand) else {
            return;
        };
        let (list, name, required) = match mount.kind {
            MountKind::Secret { id, required, .. } => {
                let target = mount.target.as_deref().unwrap_or_default();
                let last = target.rsplit('/').next().unwrap_or_default();
                let name = id.unwrap_or_else(|| last.to_owned());
                (&mut self.found.secrets, name, required)
            }
            MountKind::Ssh { id, required, .. } => {
                let name = id.unwrap_or_else(|| "default".to_owned());
                (&mut self.found.ssh, name, required)
            }
            _ => return,
        };
        match list.iter_mut().find(|wanted| wanted.name == name) {
            Some(known) => known.required |= required,
            None => list.push(Wanted {
                name,
                required,
                lines,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;
    use crate::plan::NamedContexts;
    use crate::plan::graph::GraphOptions;

    fn graph(file: &Dockerfile, target: &str, args: &BuildArgs) -> Graph {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let options = GraphOptions {
            target,
            args,
            build_platform: &platform,
            target_platform: &platform,
            named: &NamedContexts::default(),
        };
        Graph::new(file, &options).unwrap()
    }

    const FILE: &str = "\
ARG tag=3
# flavour picks the base
ARG flavour=slim-${tag}
ARG unused=x
FROM base:${flavour} AS build
# not about DEBUG
ARG DEBUG=0
# LEVEL says how much to tell
ARG LEVEL=${DEBUG}1
RUN --mount=type=secret,id=npm-${LEVEL} --mount=type=ssh true

FROM other AS aside
ARG NEVER=1
RUN --mount=type=secret,id=never true

# app is what runs
FROM scratch AS app
ARG tag
COPY --from=build / /
RUN --mount=type=secret,target=/run/keys/deploy,required --mount=type=ssh,id=git,required true

FROM aside
";

    fn args(outline: &Outline) -> Vec<String> {
        let shown = outline.args.iter().map(|arg| {
            let value = arg.value.as_deref().unwrap_or("-");
            let text = arg.description.as_deref().unwrap_or("-");
            format!("{}:{} {value} ({text})", arg.lines.start, arg.name)
        });
        shown.collect()
    }

    #[test]
    fn the_outline_holds_what_the_target_needs_and_no_more() {
        let parsed = dockerfile::parse(FILE);
        let given = BuildArgs::new([("DEBUG".to_owned(), "7".to_owned())]);
        let graph = graph(&parsed.dockerfile, "app", &given);
        let outline = outline(&parsed.dockerfile, &graph, &given, &|_| None).unwrap();
        assert_eq!(outline.name.as_deref(), Some("app"));
        assert_eq!(outline.description.as_deref(), Some("is what runs"));
        assert_eq!(
            args(&outline),
            [
                "1:tag 3 (-)",
                "3:flavour slim-3 (picks the base)",
                "7:DEBUG 7 (-)",
                "9:LEVEL 71 (says how much to tell)",
            ]
        );
        let wanted = |list: &[Wanted]| -> Vec<String> {
            let shown = list.iter();
            shown
                .map(|w| format!("{}:{} {}", w.lines.start, w.name, w.required))
                .collect()
        };
        assert_eq!(
            wanted(&outline.secrets),
            ["10:npm-71 false", "20:deploy true"]
        );
        assert_eq!(wanted(&outline.ssh), ["10:default false", "20:git true"]);
    }

    #[test]
    fn arguments_of_a_base_stage_are_known_in_the_stages_on_it() {
        let parsed =
            dockerfile::parse("FROM scratch AS a\nARG X=1\nENV Y=2\nFROM a\nARG Z=$X$Y$IMAGE\n");
        let none = BuildArgs::default();
        let graph = graph(&parsed.dockerfile, "", &none);
        let outline = outline(&parsed.dockerfile, &graph, &none, &|_| None).unwrap();
        assert_eq!(args(&outline), ["2:X 1 (-)", "5:Z 12 (-)"]);
    }

    #[test]
    fn every_stage_is_a_target_and_the_last_one_the_default() {
        let parsed = dockerfile::parse(FILE);
        let none = BuildArgs::default();
        let graph = graph(&parsed.dockerfile, "", &none);
        let shown: Vec<String> = targets(&parsed.dockerfile, &graph.global)
            .iter()
            .map(|t| {
                let name = t.name.as_deref().unwrap_or("-");
                let text = t.description.as_deref().unwrap_or("-");
                format!("{}:{name} {} {} ({text})", t.lines.start, t.base, t.default)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "5:build base:slim-3 false (-)",
                "12:aside other false (-)",
                "17:app scratch false (is what runs)",
                "22:- aside true (-)",
            ]
        );
    }
}
