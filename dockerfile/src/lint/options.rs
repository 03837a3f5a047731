//! What the checks are told about the build.

use super::config::Config;
use crate::eval::platform::PlatformParts;
use crate::ignore::IgnoreMatcher;
use crate::shell::{NoVariables, Variables};

/// What is known about a base image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseImage {
    /// `Env` of its config.
    pub env: Vec<(String, String)>,
    /// Whether its config has a `Shell`.
    pub has_shell: bool,
    /// Its ONBUILD triggers.
    pub onbuild: Vec<String>,
    /// Its platform, such as `linux/amd64`, where it may differ from the one asked for.
    pub platform: Option<String>,
}

/// Looks a base image up by its expanded name and the platform that its FROM asks for, if it does;
/// `None` when nothing is known about it.
pub type BaseImages<'a> = &'a dyn Fn(&str, Option<&str>) -> Option<BaseImage>;

/// What variables are taken to be in a base image that nothing is known about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownBase {
    /// `PATH` only: a reference to any other variable is a violation.
    #[default]
    OnlyPath,
    /// Possibly any: no variable counts as undefined in its stages.
    Anything,
}

/// What the checks are to know about the build.
#[derive(Clone)]
pub struct Options<'a> {
    /// Values of `--build-arg`.
    pub build_args: &'a dyn Variables,
    /// The platform built for.
    pub target_platform: PlatformParts,
    /// The platform built on.
    pub build_platform: PlatformParts,
    /// Stage to build (`Some("")` is the last): only stages it needs are checked. `None` checks
    /// all.
    pub target: Option<&'a str>,
    /// Base images.
    pub base_images: BaseImages<'a>,
    /// Variables of unknown base images.
    pub unknown_base: UnknownBase,
    /// The ignore file of the context, if there is one.
    pub ignore: Option<&'a IgnoreMatcher>,
    /// Overrides the file's `# check=` directive.
    pub config: Option<&'a Config>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            build_args: &NoVariables,
            target_platform: PlatformParts::new("linux/amd64"),
            build_platform: PlatformParts::new("linux/amd64"),
            target: None,
            base_images: &|_, _| None,
            unknown_base: UnknownBase::default(),
            ignore: None,
            config: None,
        }
    }
}
