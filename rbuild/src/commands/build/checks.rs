//! What is said of a Dockerfile beside its errors: build checks, and arguments nobody asked for.

use std::collections::BTreeSet;

use dockerfile::ignore::IgnoreMatcher;
use dockerfile::instruction::Kind;
use dockerfile::lint::{self, UnknownBase};
use dockerfile::shell::Variables as _;
use dockerfile::stage::Dockerfile;
use oci::Platform;

use super::options::Options;
use crate::failure::Failure;
use crate::frontend::bases::Bases;
use crate::frontend::checks::config_of;
use crate::frontend::text::Text;
use builder::plan::BuildArgs;
use builder::plan::args::PROXIES;

/// BuildKit's build checks, on what this build knows.
pub struct Checks<'a> {
    target: &'a str,
    options: &'a Options,
    host: &'a Platform,
    /// The context's ignore file.
    ignore: IgnoreMatcher,
    /// The rules that run, when the command line says it.
    config: Option<lint::Config>,
}

impl<'a> Checks<'a> {
    /// For a build of `target`.
    pub fn new(
        target: &'a str,
        options: &'a Options,
        host: &'a Platform,
        ignore: IgnoreMatcher,
    ) -> Result<Self, Failure> {
        Ok(Self {
            target,
            options,
            host,
            ignore,
            config: config_of(&options.args)?,
        })
    }

    /// Runs them, once the base images are known.
    pub fn run(&self, text: &Text, bases: &Bases) -> lint::Report {
        let options = lint::Options {
            build_args: &self.options.args,
            target_platform: &self.options.platform.to_string(),
            build_platform: &self.host.to_string(),
            target: Some(self.target),
            base_images: &|name| bases.image(name),
            unknown_base: UnknownBase::Anything,
            ignore: Some(&self.ignore),
            config: self.config.as_ref(),
        };
        lint::lint(&text.parsed, &options)
    }
}

/// Build arguments that no ARG asks for, and that mean nothing by themselves.
pub fn unconsumed(args: &BuildArgs, file: &Dockerfile) -> Vec<String> {
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
    let unused = names.filter(|n| !declared.contains(n) && !predefined(n));
    unused.map(str::to_owned).collect()
}
