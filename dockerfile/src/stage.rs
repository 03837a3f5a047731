//! Stages: what the instructions between one `FROM` and the next make up.

use std::collections::HashMap;

use serde::Serialize;

use crate::instruction::{Arg, Header, Instruction, Kind, Onbuild};
use crate::parser::Directives;
use crate::span::{Text, Word};

/// The `PATH` of a stage whose base image sets none, as BuildKit has it for Linux. Whoever runs
/// something takes it from the stage's environment; nothing else has a default of its own.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dockerfile {
    /// The parser directives at its top.
    pub directives: Directives,
    /// `ARG` instructions before the first `FROM`, in order. Their values are visible in `FROM`
    /// lines, and inside a stage only once the stage declares the name again.
    pub global_args: Vec<GlobalArg>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Where each name is, for files with very many stages.
    #[serde(skip)]
    names: HashMap<String, Vec<usize>>,
}

/// An `ARG` before the first `FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GlobalArg {
    /// Place and source text.
    pub header: Header,
    /// The variables.
    pub arg: Arg,
}

/// A build stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Place and source text of the `FROM`.
    pub header: Header,
    /// The base: an image, `scratch`, or an earlier stage. Expanded with global ARGs only.
    pub base: Word,
    /// The name after `AS`, as written; [`Stage::name`] is what it is called.
    pub name_text: Option<Text>,
    /// The `AS` keyword as written.
    pub as_keyword: Option<Text>,
    /// `--platform=`, expanded with global ARGs only.
    pub platform: Option<Word>,
    /// The description: a comment `# NAME text` right above the `FROM`.
    pub comment: Option<String>,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// The triggers that it leaves to the stages based on it.
    pub fn triggers(&self) -> impl Iterator<Item = &Onbuild> {
        self.instructions
            .iter()
            .filter_map(|instruction| match &instruction.kind {
                Kind::Onbuild(onbuild) => Some(onbuild),
                _ => None,
            })
    }

    /// The stage's name in lower case, if it has one.
    pub fn name(&self) -> Option<String> {
        self.name_text.as_ref().map(|name| name.text.to_lowercase())
    }

    /// Whether the stage is called `name`; case does not matter.
    pub fn is_named(&self, name: &str) -> bool {
        self.name_text
            .as_ref()
            .is_some_and(|own| own.text.eq_ignore_ascii_case(name))
    }
}

impl Dockerfile {
    /// From its parts.
    pub fn new(directives: Directives, global_args: Vec<GlobalArg>, stages: Vec<Stage>) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, stage) in stages.iter().enumerate() {
            if let Some(name) = stage.name() {
                names.entry(name).or_default().push(index);
            }
        }
        Self {
            directives,
            global_args,
            stages,
            names,
        }
    }

    /// The stage that a `FROM`, `COPY --from` or `--mount=from` in stage `before` means by
    /// `name`: the latest earlier stage of that name.
    pub fn earlier_stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let all = self.names.get(&name.to_lowercase())?;
        let earlier = all.partition_point(|index| *index < before);
        all.get(earlier.checked_sub(1)?).copied()
    }

    /// Like [`Dockerfile::earlier_stage_named`], a stage's index (from 0) being allowed as well,
    /// as it is in `COPY --from` and `--mount=from` but not in `FROM`.
    pub fn earlier_stage(&self, name_or_index: &str, before: usize) -> Option<usize> {
        self.earlier_stage_named(name_or_index, before).or_else(|| {
            let index: usize = name_or_index.parse().ok()?;
            (index < before.min(self.stages.len())).then_some(index)
        })
    }

    /// The stage that `--target` means: by name (the last of that name), or by index; the last
    /// stage when `target` is empty.
    pub fn target(&self, target: &str) -> Option<usize> {
        if target.is_empty() {
            return self.stages.len().checked_sub(1);
        }
        self.earlier_stage(target, self.stages.len())
    }
}
