//! What can be typed after `rbuild bake`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::commands::build::call::Call;
use crate::flags::boolean;
use crate::term::progress::Mode;

/// `--var`
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// `rbuild bake`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild bake                              the group or target `default` of this folder's files
  rbuild bake app db                       two targets
  rbuild bake -f docker-bake.hcl 'app-*'   all targets whose name begins so
  TAG=v2 rbuild bake                       variables are set by the environment
  rbuild bake --var TAG=v2                 or one by one
  rbuild bake --set '*.args.VERSION=2' --set app.tags+=app:two
  rbuild bake --print                      what would be built, as JSON
  rbuild bake --list=targets               what there is
  rbuild bake https://host/app.git#v2 app  the definitions and contexts of a repository

Without -f these are read, as far as they are there: compose.yaml, compose.yml, docker-compose.yml,
docker-compose.yaml, docker-bake.json, docker-bake.hcl, docker-bake.override.json,
docker-bake.override.hcl.")]
pub struct BakeFlags {
    /// Targets and groups, also by wildcards [default: default]; a repository's address before them
    /// is where the definitions come from
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// A file that defines targets: HCL, JSON or compose; may be repeated, `-` is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<String>,

    /// The value of a variable, before that of the environment
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,

    /// Print what would be built, as JSON, and build nothing
    #[arg(long)]
    pub print: bool,

    /// List `targets` or `variables` (`type=targets,format=json` for programs), and build nothing
    #[arg(long, value_name = "KIND")]
    pub list: Option<String>,

    /// Change what targets say: `TARGET.KEY=VALUE`, `+=` adds to a list; wildcards in TARGET
    #[arg(long, value_name = "TARGET.KEY=VALUE")]
    pub set: Vec<String>,

    /// Do not use the cache
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub no_cache: Option<bool>,

    /// Always ask the registry for newer base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub pull: Option<bool>,

    /// Push every name of the images to its registry
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub push: bool,

    /// Put images into the store, beside other outputs
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub load: bool,

    /// Steps of all targets at a time, at most [default: as many as there are cores, not counting
    /// those that sleep]
    #[arg(long, value_name = "NUMBER")]
    pub jobs: Option<NonZeroUsize>,

    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "RBUILD_PROGRESS")]
    pub progress: Mode,

    /// Write the outcome of each target to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// What to do with the Dockerfiles: build, check, outline or targets
    #[arg(long, value_name = "METHOD[,OPTION]", default_value = "build")]
    pub call: Call,

    /// Check the Dockerfiles and build nothing, as --call=check
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub check: bool,

    /// Let a definition reach what it may not by itself: network.host, security.insecure,
    /// ssh (the agent that runs here), fs.read=PATH, fs.write=PATH or fs=PATH outside of this
    /// folder
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,

    /// A list of what is in the images
    #[arg(long, hide = true)]
    pub sbom: Option<String>,

    /// A statement about how the images were made
    #[arg(long, hide = true)]
    pub provenance: Option<String>,

    /// There is one builder
    #[arg(long, hide = true)]
    pub builder: Option<String>,
}
