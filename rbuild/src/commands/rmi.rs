//! `rbuild rmi`

use clap::Args;
use store::Removal;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened::Told;

/// `rbuild rmi`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild rmi app:v1             the tag; the image with its last tag
  rbuild rmi -f 3f8a91c0d2e4    the image with all its tags")]
pub struct RmiArgs {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,

    /// Remove an image by ID even when it has several names; images that are missing are no error
    #[arg(short, long)]
    pub force: bool,

    /// Accepted for docker's sake: images here have no untagged parents
    #[arg(long, hide = true)]
    pub no_prune: bool,
}

/// Runs the command.
pub async fn run(app: &App, args: RmiArgs) -> Outcome {
    let store = app.store_to_remove().await?;
    let mut failed = None;
    for image in &args.images {
        let told = match store.content(image).await {
            Ok(found) => Some(Told::of(&store, found.id()).await),
            Err(_) => None,
        };
        match store.remove_image(image, args.force).await {
            Ok(removals) => {
                for removal in &removals {
                    app.printer.line(removal);
                    match (removal, &told) {
                        (Removal::Untagged(_), Some(told)) => told.tell(&store, None, "untag"),
                        // Layers go with it.
                        (Removal::Deleted(gone), Some(told)) if told.is(gone) => {
                            told.tell_end(&store, "delete");
                        }
                        _ => {}
                    }
                }
            }
            Err(error) => {
                let missing = matches!(error, store::Error::NoSuchImage { .. });
                let failure = Failure::from(error);
                app.printer.error(&failure.message);
                if !(missing && args.force) {
                    failed = Some(failure.code);
                }
            }
        }
    }
    match failed {
        // Told already, each in its turn.
        Some(code) => Err(Failure::with_code("", code)),
        None => Ok(()),
    }
}
