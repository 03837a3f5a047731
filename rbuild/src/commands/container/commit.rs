//! `rbuild commit`

use clap::{ArgAction, Args};
use containers::engine::Commit;
use oci::Platform;

use crate::app::App;
use crate::commands::import::{changed, names};
use crate::failure::Outcome;
use crate::flags::boolean;

/// `rbuild commit`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild commit box app:v2
  rbuild commit -a me -m why -c 'CMD [\"serve\"]' box app:v2")]
pub struct CommitArgs {
    /// Who made it
    #[arg(short, long, value_name = "AUTHOR")]
    pub author: Option<String>,

    /// Apply a Dockerfile instruction, such as CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER,
    /// VOLUME or WORKDIR; may be repeated
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub changes: Vec<String>,

    /// The note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,

    /// Let its processes stand still meanwhile
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub pause: bool,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,

    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub reference: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: CommitArgs) -> Outcome {
    let tags = names(args.reference.as_deref(), "commit to")?;
    let containers = app.containers().await?;
    let _lease = containers.store().lease().await?;
    let container = containers.find(&args.container).await?;
    let config = changed(app, container.settings(), &args.changes, &Platform::host())?;
    let commit = Commit {
        tags,
        author: args.author.unwrap_or_default(),
        message: args.message.unwrap_or_default(),
        without_pause: !args.pause,
        config,
    };
    app.printer
        .line(containers.commit(&container, commit).await?);
    Ok(())
}
