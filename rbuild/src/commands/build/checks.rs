//! What is said of a Dockerfile beside its errors: build checks, and arguments nobody asked for.

use std::collections::BTreeSet;

use dockerfile::ignore::IgnoreMatcher;
use dockerfile::instruction::Kind;
use dockerfile::lint::{self, UnknownBase};
use dockerfile::shell::Variables as _;
use dockerfile::stage::Dockerfile;

use crate::failure::Failure;
use crate::frontend::bases::Bases;
use crate::frontend::checks::config_of;
use crate::frontend::text::Text;
use builder::plan::BuildArgs;
use builder::plan::args::{PROXIES, platform_parts};
use builder::plan::graph::GraphOptions;

/// BuildKit's build checks, on what this build knows.
pub struct Checks<'a> {
    planned: &'a GraphOptions<'a>,
    /// The context's ignore file.
    ignore: IgnoreMatcher,
    /// The rules that run, when the command line says it.
    config: Option<lint::Config>,
}

impl<'a> Checks<'a> {
    /// For a build that is planned.
    ///
    /// # Errors
    /// When the build arguments do not tell well which rules are to run.
    pub fn new(planned: &'a GraphOptions<'a>, ignore: IgnoreMatcher) -> Result<Self, Failure> {
        Ok(Self {
            planned,
            ignore,
            config: config_of(planned.args)?,
        })
    }

    /// Runs them, once the base images are known.
    pub fn run(&self, text: &Text, bases: &Bases<'_>) -> lint::Report {
        let options = lint::Options {
            build_args: self.planned.args,
            target_platform: platform_parts(self.planned.target_platform),
            build_platform: platform_parts(self.planned.build_platform),
            target: Some(self.planned.target),
            base_images: &|name, platform| bases.image(name, platform),
            unknown_base: UnknownBase::Anything,
            ignore: Some(&self.ignore),
            config: self.config.as_ref(),
        };
        lint::lint(&text.parsed, &options)
    }
}

/// Tells of build arguments that no ARG asks for, and that mean nothing by themselves.
pub fn unconsumed(args: &BuildArgs, file: &Dockerfile) -> Option<String> {
    let in_stages = file
        .stages
        .iter()
        .flat_map(|s| &s.instructions)
        .filter_map(|i| match &i.kind {
            Kind::Arg(arg) => Some(arg),
            Kind::Onbuild(onbuild) => match &onbuild.instruction.as_deref()?.kind {
                Kind::Arg(arg) => Some(arg),
                _ => None,
            },
            _ => None,
        });
    let declared: BTreeSet<&str> = file
        .global_args
        .iter()
        .map(|global| &global.arg)
        .chain(in_stages)
        .flat_map(|arg| &arg.args)
        .map(|def| def.name.as_str())
        .collect();
    let predefined = |name: &str| {
        PROXIES.contains(&name) || name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_")
    };
    let names = args.names().into_iter();
    let unused: Vec<&str> = names
        .filter(|n| !declared.contains(n) && !predefined(n))
        .collect();
    let names = unused.join(" ");
    (!unused.is_empty()).then(|| format!("One or more build-args [{names}] were not consumed"))
}
