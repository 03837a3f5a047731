//! `rbuild lint`

use builder::auth::Auth;
use builder::context;
use clap::Args;

use crate::app::App;
use crate::failure::Outcome;
use crate::frontend::arguments::{build_args, platform};
use crate::frontend::checks::{Check, Kind, run_checks};
use crate::frontend::contexts::{contexts, named};
use crate::frontend::text::without_context;

/// `rbuild lint`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild lint                         the Dockerfile in this folder
  rbuild lint -f docker/Dockerfile .
  rbuild lint --format json | jq '.warnings[].ruleName'

A comment `# check=skip=JSONArgsRecommended` at the top of a Dockerfile leaves a check out;
`# check=error=true` makes violations fail builds. A base image that was not pulled counts as one that
sets no variable but PATH.")]
pub struct LintArgs {
    /// The build context: a folder, or `-` for a Dockerfile on standard input
    #[arg(value_name = "PATH | -", default_value = ".")]
    pub context: String,

    /// The Dockerfile [default: PATH/Dockerfile]; `-` reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,

    /// Set a build argument; without `=VALUE` the value comes from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub build_args: Vec<String>,

    /// Give a further context a name, as for a build
    #[arg(long = "build-context", value_name = "NAME=PLACE")]
    pub build_contexts: Vec<String>,

    /// Check for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,

    /// Check only what this stage needs
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// How violations are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Kind,
}

/// Runs the command.
pub async fn run(app: &App, args: LintArgs) -> Outcome {
    let (at, file) = (args.context.clone(), args.file.clone());
    let opened = context::open(at, file, &Auth::default(), None).await;
    let (context, source) = opened.map_err(without_context)?;
    let parsed = dockerfile::parse_bytes(&source.bytes);
    let places = contexts(&args.build_contexts)?;
    let check = Check {
        build_args: build_args(&args.build_args)?,
        target: args.target,
        platform: platform(args.platform.as_deref())?,
        named: named(&places),
        places,
        ignore: context.filter.matcher().clone(),
        format: args.format,
        ignore_status: false,
        place: source.name.clone(),
    };
    let checked = run_checks(app, &parsed, &source.name, &check).await?;
    checked.outcome
}
