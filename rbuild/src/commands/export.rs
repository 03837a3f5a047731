//! `rbuild export`

use std::path::PathBuf;

use clap::Args;
use containers::engine::Containers;
use oci::Platform;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::output::Output;
use images::export;

/// `rbuild export`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild export -o rootfs.tar web             a container, as it is
  rbuild export -o rootfs.tar app:v1
  rbuild export app:v1 | tar -tvf -           what is in an image
  rbuild export app:v1 | rbuild import - flat all layers made one")]
pub struct ExportArgs {
    /// The container or image: a name, or its ID or the beginning of it
    #[arg(value_name = "NAME")]
    pub image: String,

    /// The platform, of an image that is there for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(app: &App, args: ExportArgs) -> Outcome {
    let output = Output::new(args.output, "export")?;
    let images = app.images_to_read().await?;
    let _lease = images.store.lease().await?;
    let containers = Containers::new(images.store.clone());
    match containers.find(&args.image).await {
        Ok(container) => {
            let files = containers.files(&container).await?;
            let work = move || output.write(|out| containers::engine::write_tar(&files, out));
            return tokio::task::spawn_blocking(work).await?;
        }
        Err(containers::Error::Store(store::Error::NoSuchContainer(_))) => {}
        Err(error) => return Err(error.into()),
    }
    let found = images
        .store
        .resolve_for(&args.image, args.platform.as_ref())
        .await;
    let image = found.map_err(|error| match error {
        // docker exports containers alone.
        store::Error::NoSuchImage { .. } => {
            Failure::new(store::Error::NoSuchContainer(args.image.clone()))
        }
        other => other.into(),
    })?;
    let files = export::open(&images, &image).await?;
    let work = move || output.write(|out| export::write_tar(&files, out).map(drop));
    tokio::task::spawn_blocking(work).await?
}
