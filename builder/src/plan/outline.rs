//! What a build takes from outside (its arguments, secrets and SSH agents), and the stages that
//! can be built: what BuildKit's `outline` and `targets` requests tell.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::instruction::{Kind, MountKind, RawMount};
use dockerfile::shell::Lexer;
use dockerfile::span::{LineRange, Word};
use dockerfile::stage::{Dockerfile, Stage};
use oci::config::Config;

use super::args::BuildArgs;
use super::graph::{Graph, StagePlan};
use super::image::ImageRequest;
use super::names::Base;
use super::state::StageState;

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
    /// What it is based on, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Where its FROM is.
    pub lines: LineRange,
}

/// Every stage of a file.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let stages = file.stages.iter().enumerate();
    let listed = stages.map(|(i, stage)| Target {
        name: stage.name(),
        default: i + 1 == file.stages.len(),
        description: stage.comment.clone(),
        base: stage.base.as_str().to_owned(),
        platform: stage.platform.as_ref().map(|word| word.as_str().to_owned()),
        lines: stage.header.lines,
    });
    listed.collect()
}

/// What the target of a graph takes. `config` tells what is known of an image's configuration.
pub fn outline(
    file: &Dockerfile,
    graph: &Graph,
    args: &BuildArgs,
    config: &dyn Fn(&ImageRequest) -> Option<Config>,
) -> Outline {
    let lexer = Lexer::new(file.directives.escape_char());
    let mut walk = Walk {
        lexer,
        file,
        graph,
        args,
        global: global_args(file, graph, args, lexer),
        stages: BTreeMap::new(),
    };
    for plan in &graph.stages {
        walk.stage(plan, config);
    }
    let mut found = walk.found();
    if let Some(stage) = file.stages.get(graph.target) {
        found.name = stage.name();
        found.description.clone_from(&stage.comment);
    }
    found.args.sort_by_key(|arg| arg.lines.start);
    found.secrets.sort_by_key(|wanted| wanted.lines.start);
    found.ssh.sort_by_key(|wanted| wanted.lines.start);
    found
}

/// The global arguments, each with the variables that its default uses.
fn global_args(
    file: &Dockerfile,
    graph: &Graph,
    args: &BuildArgs,
    lexer: Lexer,
) -> BTreeMap<String, Declared> {
    let mut global = BTreeMap::new();
    for (header, def) in file
        .global_args
        .iter()
        .flat_map(|global| global.arg.args.iter().map(|def| (&global.header, def)))
    {
        let name = def.name.as_str().to_owned();
        let uses = match &def.default {
            Some(default) if args.get(&name).is_none() => uses(lexer, default, graph),
            _ => BTreeSet::new(),
        };
        let arg = OutlineArg {
            name: name.clone(),
            description: def.comment.clone(),
            value: graph.global.get(&name).cloned(),
            lines: header.lines,
        };
        global.insert(name, Declared { arg, uses });
    }
    global
}

/// The global variables that a word uses.
fn uses(lexer: Lexer, word: &Word, graph: &Graph) -> BTreeSet<String> {
    let expanded = lexer.expand(word.as_str(), &graph.global);
    // What cannot be expanded was told when the graph was made.
    expanded.map(|e| e.used).unwrap_or_default()
}

/// An argument, and what its default uses.
#[derive(Clone)]
struct Declared {
    arg: OutlineArg,
    uses: BTreeSet<String>,
}

/// What one stage takes.
struct Taken {
    state: StageState,
    args: BTreeMap<String, Declared>,
    used: BTreeSet<String>,
    secrets: Vec<Wanted>,
    ssh: Vec<Wanted>,
}

struct Walk<'a> {
    lexer: Lexer,
    file: &'a Dockerfile,
    graph: &'a Graph,
    args: &'a BuildArgs,
    global: BTreeMap<String, Declared>,
    stages: BTreeMap<usize, Taken>,
}

impl Walk<'_> {
    fn stage(&mut self, plan: &StagePlan, config: &dyn Fn(&ImageRequest) -> Option<Config>) {
        let Some(stage) = self.file.stages.get(plan.index) else {
            return;
        };
        let mut triggers: Vec<String> = Vec::new();
        let state = match &plan.base {
            Base::Stage(earlier) => {
                let base = self.file.stages.get(*earlier).into_iter();
                let fired = base.flat_map(Stage::triggers);
                triggers.extend(fired.map(|onbuild| onbuild.trigger.clone()));
                self.stages.get(earlier).map(|base| {
                    let (config, declared) = (base.state.config.clone(), base.state.declared());
                    StageState::new(config, None, declared, false)
                })
            }
            Base::Image(name) => config(name).map(|config| {
                triggers.extend(config.on_build.iter().cloned());
                StageState::new(config, None, Default::default(), false)
            }),
            Base::Unknown | Base::Scratch | Base::Tree(_) => None,
        };
        let empty = || StageState::new(Config::default(), None, Default::default(), false);
        let mut taken = Taken {
            state: state.unwrap_or_else(empty),
            args: self.global.clone(),
            used: BTreeSet::new(),
            secrets: Vec::new(),
            ssh: Vec::new(),
        };
        if !plan.replaced {
            for word in std::iter::once(&stage.base).chain(&stage.platform) {
                taken.used.extend(uses(self.lexer, word, self.graph));
            }
            let fired = triggers
                .iter()
                .filter_map(|text| dockerfile::parse_trigger(text).0);
            for instruction in fired {
                self.instruction(&instruction.kind, stage.header.lines, &mut taken);
            }
            for instruction in &stage.instructions {
                self.instruction(&instruction.kind, instruction.header.lines, &mut taken);
            }
        }
        self.stages.insert(plan.index, taken);
    }

    /// What cannot be expanded is for the build, and the checks, to tell.
    fn instruction(&self, kind: &Kind, lines: LineRange, taken: &mut Taken) {
        match kind {
            Kind::Arg(arg) => {
                let global = &self.graph.global;
                let declared = taken.state.declare(self.lexer, arg, self.args, global);
                for ((name, value), def) in declared.into_iter().flatten().zip(&arg.args) {
                    taken.used.insert(name.clone());
                    let given = self.args.get(&name).is_some();
                    if def.default.is_none() && !given && self.global.contains_key(&name) {
                        // Only let in: the global scope has all there is to tell.
                        continue;
                    }
                    let arg = OutlineArg {
                        name: name.clone(),
                        description: def.comment.clone(),
                        value,
                        lines,
                    };
                    let uses = BTreeSet::new();
                    taken.args.insert(name, Declared { arg, uses });
                }
            }
            Kind::Env(env) => {
                let _ = taken.state.assign(self.lexer, env);
            }
            Kind::Run(run) => {
                for mount in &run.mounts {
                    self.mount(mount, lines, taken);
                }
            }
            _ => {}
        }
    }

    fn mount(&self, mount: &RawMount, lines: LineRange, taken: &mut Taken) {
        let expand = |word: &str| {
            let expanded = self.lexer.process_word(word, &taken.state);
            expanded.map_err(|e| e.to_string())
        };
        let Ok(mount) = mount.resolve(expand) else {
            return;
        };
        let (list, name, required) = match mount.kind {
            MountKind::Secret { id, required, .. } => {
                let target = mount.target.as_deref().unwrap_or_default();
                let last = target.rsplit('/').next().unwrap_or_default();
                let name = id.unwrap_or_else(|| last.to_owned());
                (&mut taken.secrets, name, required)
            }
            MountKind::Ssh { id, required, .. } => {
                let name = id.unwrap_or_else(|| "default".to_owned());
                (&mut taken.ssh, name, required)
            }
            _ => return,
        };
        add(list, name, required, lines);
    }

    /// From the target on: what a stage tells counts for more than what those below it do.
    fn found(self) -> Outline {
        let mut found = Outline::default();
        let mut told: BTreeSet<String> = BTreeSet::new();
        for plan in self.graph.stages.iter().rev() {
            let Some(taken) = self.stages.get(&plan.index) else {
                continue;
            };
            let mut open: Vec<&String> = taken.used.iter().collect();
            while let Some(name) = open.pop() {
                let Some(declared) = taken.args.get(name) else {
                    continue;
                };
                if told.insert(name.clone()) {
                    open.extend(&declared.uses);
                    found.args.push(declared.arg.clone());
                }
            }
            for (from, list) in [
                (&taken.secrets, &mut found.secrets),
                (&taken.ssh, &mut found.ssh),
            ] {
                for wanted in from {
                    add(list, wanted.name.clone(), wanted.required, wanted.lines);
                }
            }
        }
        found
    }
}

fn add(list: &mut Vec<Wanted>, name: String, required: bool, lines: LineRange) {
    match list.iter_mut().find(|wanted| wanted.name == name) {
        Some(known) => known.required |= required,
        None => list.push(Wanted {
            name,
            required,
            lines,
        }),
    }
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;
    use crate::plan::graph::GraphOptions;
    use crate::plan::{Consent, NamedContexts};

    fn graph(file: &Dockerfile, target: &str, args: &BuildArgs) -> Graph {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let options = GraphOptions {
            target,
            args,
            build_platform: &platform,
            target_platform: &platform,
            named: &NamedContexts::default(),
            consent: Consent::default(),
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
        let outline = outline(&parsed.dockerfile, &graph, &given, &|_| None);
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
        let outline = outline(&parsed.dockerfile, &graph, &none, &|_| None);
        assert_eq!(args(&outline), ["2:X 1 (-)", "5:Z 12 (-)"]);
    }

    #[test]
    fn every_stage_is_a_target_and_the_last_one_the_default() {
        let parsed = dockerfile::parse(FILE);
        let shown: Vec<String> = targets(&parsed.dockerfile)
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
                "5:build base:${flavour} false (-)",
                "12:aside other false (-)",
                "17:app scratch false (is what runs)",
                "22:- aside true (-)",
            ]
        );
    }

    #[test]
    fn the_nearest_declaration_is_told_and_the_global_one_where_it_is_only_let_in() {
        for (text, expected) in [
            (
                "FROM scratch AS a\nARG A=1\nFROM a\nARG A=2\n",
                &["4:A 2 (-)"][..],
            ),
            (
                "# V is it\nARG V=1\nFROM scratch\nARG V\n",
                &["2:V 1 (is it)"],
            ),
            (
                "ARG W=0\nARG V=$W\nFROM scratch\nARG V\n",
                &["1:W 0 (-)", "2:V 0 (-)"],
            ),
            (
                "FROM scratch AS a\nONBUILD ARG Q=5\nFROM a\n",
                &["3:Q 5 (-)"],
            ),
        ] {
            let parsed = dockerfile::parse(text);
            let none = BuildArgs::default();
            let graph = graph(&parsed.dockerfile, "", &none);
            let outline = outline(&parsed.dockerfile, &graph, &none, &|_| None);
            assert_eq!(args(&outline), expected, "{text}");
        }
    }
}
