//! `rbuild tag`

use clap::Args;
use oci::Reference;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened;

/// `rbuild tag`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild tag app:v1 localhost:5000/app:v1     ready to be pushed there
  rbuild tag 3f8a91c0d2e4 app                 as app:latest")]
pub struct TagArgs {
    /// The image: a name, or its ID or the beginning of it
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub source: String,

    /// The name that it gets besides those it has
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    pub target: String,
}

/// Runs the command.
pub async fn run(app: &App, args: TagArgs) -> Outcome {
    let target: Reference = args.target.parse().map_err(|e| {
        let target = &args.target;
        Failure::new(format!("{target:?} is not a valid repository/tag: {e}"))
    })?;
    let store = app.store().await?;
    let source = store.content(&args.source).await?;
    let target = target.or_latest();
    store.tag(source.id(), &target).await?;
    happened::tell(&store, source.id(), Some(&target.familiar()), "tag").await;
    Ok(())
}
