//! The image that a container is made of, pulled when it is not here.

use images::Images;
use images::pull::pull_image;
use oci::{ImageConfig, Platform, Reference};
use store::Image;

use crate::app::App;
use crate::commands::pull::{out_of_reach, usage};
use crate::failure::Failure;
use crate::term::transfer::Transfer;

/// When it is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    Always,
    Missing,
    Never,
}

/// Finds the image, and pulls it if that is wanted.
pub async fn find(
    app: &App,
    images: &Images,
    name: &str,
    pull: Pull,
    platform: Option<&Platform>,
    quiet: bool,
) -> Result<(Image, ImageConfig), Failure> {
    let found = match pull {
        Pull::Always => None,
        Pull::Missing | Pull::Never => match images.store.resolve_for(name, platform).await {
            Ok(image) => Some(image),
            Err(store::Error::NoSuchImage { .. }) if pull == Pull::Missing => None,
            Err(error) => return Err(Failure::with_code(error, 125)),
        },
    };
    let image = match found {
        Some(image) => image,
        None => fetch(app, images, (name, pull), platform, quiet).await?,
    };
    let config = images.store.config(&image.id).await?;
    let config = serde_json::from_slice(&config)?;
    Ok((image, config))
}

async fn fetch(
    app: &App,
    images: &Images,
    (name, pull): (&str, Pull),
    platform: Option<&Platform>,
    quiet: bool,
) -> Result<Image, Failure> {
    let code = |failure: Failure| Failure {
        code: 125,
        ..failure
    };
    let reference: Reference = name.parse().map_err(|e| code(usage(name, e)))?;
    let reference = reference.or_latest();
    if pull == Pull::Missing && !quiet {
        let name = reference.familiar();
        app.printer
            .note(format!("Unable to find image '{name}' locally"));
    }
    let host = Platform::host();
    let platform = platform.unwrap_or(&host);
    // Standard output is the container's.
    let transfer = Transfer::pull(&app.printer, true, String::new());
    let pulled = pull_image(images, &reference, platform, &transfer).await;
    let pulled = pulled.map_err(|error| code(out_of_reach(error)))?;
    transfer.finish(pulled.up_to_date);
    if !quiet {
        let name = reference.familiar();
        app.printer.note(match pulled.up_to_date {
            true => format!("Status: Image is up to date for {name}"),
            false => format!("Status: Downloaded newer image for {name}"),
        });
    }
    Ok(images.store.resolve(&pulled.image.id.to_string()).await?)
}
