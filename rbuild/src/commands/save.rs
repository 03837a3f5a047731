//! `rbuild save`

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use oci::archive::Format;
use oci::{Digest, Platform, Reference};
use store::{Content, Store};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened::Told;
use crate::term::output::Output;
use crate::term::transfer::Transfer;
use images::progress::LayerProgress;
use images::save::{self, Saved};

/// `rbuild save`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild save -o app.tar app:v1               docker load, podman load and rbuild load read it
  rbuild save app:v1 base:v1 | zstd > both.tar.zst
  rbuild save --format oci-dir -o layout app:v1")]
pub struct SaveArgs {
    /// Names or IDs; a name without tag means all its tags
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Save the image for this platform, of one that is there for several [default: all of them]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// The kind of archive
    #[arg(long, value_enum, default_value = "docker-archive")]
    pub format: Kind,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// As docker saves it, and an OCI image layout as well
    DockerArchive,
    /// An OCI image layout as tar
    OciArchive,
    /// An OCI image layout as directory
    OciDir,
}

/// Runs the command.
pub async fn run(app: &App, args: SaveArgs) -> Outcome {
    let output = match (args.format, &args.output) {
        (Kind::OciDir, None) => {
            return Err(Failure::with_code(
                "--format oci-dir needs a directory: name one with -o",
                125,
            ));
        }
        (Kind::OciDir, Some(dir)) => Err(dir.clone()),
        (_, file) => Ok(Output::new(file.clone(), "save")?),
    };
    let from = app.images_to_read().await?;
    let _lease = from.store.lease().await?;
    let transfer = Arc::new(Transfer::save(&app.printer, false));
    let progress: Arc<dyn LayerProgress> = transfer.clone();
    let mut images = Saved::default();
    let mut told = Vec::new();
    for (content, references) in wanted(&from.store, &args.images).await? {
        let content = match &args.platform {
            None => content,
            Some(wanted) => {
                let name = references.first().map(Reference::familiar);
                let name = name.unwrap_or_else(|| content.id().to_string());
                let image = from.store.image_of(&name, content, Some(wanted)).await?;
                Content::Image(image)
            }
        };
        told.push(Told::of(&from.store, content.id()).await);
        match content {
            Content::Image(image) => {
                images.add(save::prepare(&from, &image, references, &progress).await?);
            }
            Content::Index(index) => {
                let added = images.add_index(&from, &index, references, &progress);
                added.await?;
            }
        }
    }
    let work = move || match (output, args.format) {
        (Err(dir), _) => save::write_directory(&images, &dir).map_err(Failure::from),
        (Ok(output), Kind::OciArchive) => {
            output.write(|out| save::write_tar(&images, Format::Oci, out))
        }
        (Ok(output), _) => output.write(|out| save::write_tar(&images, Format::Docker, out)),
    };
    let saved = tokio::task::spawn_blocking(work).await?;
    if saved.is_ok() {
        for told in &told {
            told.tell(&from.store, None, "save");
        }
    }
    transfer.finish(false);
    saved
}

/// What these names lead to, each once, with the names that it is to be saved under.
async fn wanted(
    store: &Store,
    names: &[String],
) -> Result<Vec<(Content, Vec<Reference>)>, Failure> {
    let mut wanted: Vec<(Content, Vec<Reference>)> = Vec::new();
    let mut add = |image: Content, reference: Option<Reference>| {
        let known = wanted
            .iter()
            .position(|(known, _)| known.id() == image.id());
        let at = known.unwrap_or_else(|| {
            wanted.push((image, Vec::new()));
            wanted.len() - 1
        });
        if let (Some((_, references)), Some(reference)) = (wanted.get_mut(at), reference)
            && !references.contains(&reference)
        {
            references.push(reference);
        }
    };
    for name in names {
        let reference = name.parse::<Reference>().ok();
        let bare = reference
            .as_ref()
            .filter(|r| r.tag().is_none() && r.digest().is_none());
        if let Some(bare) = bare {
            let mut found = false;
            for image in store.contents(false).await? {
                let tags: Vec<Reference> = image
                    .tags()
                    .iter()
                    .filter(|tag| tag.repository() == bare.repository())
                    .cloned()
                    .collect();
                for tag in tags {
                    found = true;
                    add(image.clone(), Some(tag));
                }
            }
            if found {
                continue;
            }
        }
        let image = store.content(name).await?;
        let tag = reference.filter(|r| r.digest().is_none() && !names_id(name, image.id()));
        let tag = tag
            .map(Reference::or_latest)
            .filter(|tag| image.tags().contains(tag));
        add(image, tag);
    }
    Ok(wanted)
}

fn names_id(name: &str, id: &Digest) -> bool {
    id.hex().starts_with(name) || id.to_string().starts_with(name)
}
