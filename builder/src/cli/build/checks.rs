//! What is said of a Dockerfile beside its errors: build checks, and arguments nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::instruction::Kind;
use dockerfile::lint::{self, BaseImage, UnknownBase};
use dockerfile::stage::Dockerfile;
use oci::{Platform, Reference};

use super::options::Options;
use super::text::Text;
use crate::cli::args::BuildArgs as Args;
use crate::local::Local;
use crate::plan::args::PROXIES;
use crate::plan::{Base, BuildArgs, Graph};

/// BuildKit's build checks, on what this build knows.
pub struct Checks<'a> {
    pub args: &'a Args,
    pub options: &'a Options,
    pub host: &'a Platform,
}

impl Checks<'_> {
    /// Runs them; where nothing is known of a base image, no variable counts as undefined.
    pub fn run(&self, text: &Text, bases: &BTreeMap<Reference, BaseImage>) -> lint::Report {
        let given: Vec<(&str, &str)> = self
            .options
            .args
            .names()
            .filter_map(|n| Some((n, self.options.args.get(n)?)))
            .collect();
        let base = |name: &str| {
            let reference = name.parse::<Reference>().ok()?.or_latest();
            bases.get(&reference).cloned()
        };
        let options = lint::Options {
            build_args: &given,
            target_platform: &self.options.platform.to_string(),
            build_platform: &self.host.to_string(),
            target: Some(&self.args.target),
            base_images: &base,
            unknown_base: UnknownBase::Anything,
            ignore: None,
            config: None,
        };
        lint::lint(&text.parsed, &options)
    }

    /// What the store knows of the images that stages are based on.
    pub async fn bases(&self, local: &Local, graph: &Graph) -> BTreeMap<Reference, BaseImage> {
        let mut bases = BTreeMap::new();
        for stage in &graph.stages {
            let Base::Image(reference) = &stage.base else {
                continue;
            };
            let Ok(image) = local.find(&reference.to_string()).await else {
                continue;
            };
            let platform = image.config.platform().to_string();
            let config = image.config.config.unwrap_or_default();
            let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
            let base = BaseImage {
                env: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                has_shell: config.shell.is_some(),
                onbuild: config.on_build.clone(),
                platform: Some(platform),
            };
            bases.insert(reference.clone(), base);
        }
        bases
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
    // A name that is itself made of variables could be any.
    if declared.iter().any(|name| name.contains('$')) {
        return Vec::new();
    }
    let predefined = |name: &str| {
        PROXIES.contains(&name) || name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_")
    };
    let unused = args
        .names()
        .filter(|n| !declared.contains(n) && !predefined(n));
    unused.map(str::to_owned).collect()
}
