//! `rbuild push`

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use client::Pushed;
use oci::layer::compression::{Compression, Kind};
use oci::{Descriptor, Platform, Reference};
use store::Content;

use crate::app::App;
use crate::commands::pull::usage;
use crate::failure::{Failure, Outcome};
use crate::happened;
use crate::term::transfer::Transfer;
use images::Images;
use images::form::Form;
use images::index::push::push_index;
use images::push::push_image;

/// `rbuild push`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild tag app:v1 localhost:5000/app:v1
  rbuild push localhost:5000/app:v1       the registry is the first part of the name
  rbuild push -a localhost:5000/app       every tag that app has here")]
pub struct PushArgs {
    /// What to push; `latest` without tag
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,

    /// Push all tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,

    /// Push only the image for this platform, of one that is there for several
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// Print only the full name
    #[arg(short, long)]
    pub quiet: bool,

    /// How layers are compressed; images that were pulled are otherwise pushed as they came
    #[arg(long, value_name = "TYPE", value_parser = kind())]
    pub compression: Option<Kind>,

    /// How hard: 0 to 9 for gzip and estargz, 1 to 22 for zstd and zstd:chunked
    #[arg(long, value_name = "LEVEL", requires = "compression")]
    pub compression_level: Option<i32>,
}

/// The names that a compression can have.
fn kind() -> impl TypedValueParser<Value = Kind> {
    let names = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str));
    names.try_map(|name| name.parse())
}

/// Runs the command.
pub async fn run(app: &App, args: PushArgs) -> Outcome {
    let reference: Reference = args.name.parse().map_err(|e| usage(&args.name, e))?;
    if reference.digest().is_some() {
        return Err(Failure::new("cannot push a digest reference"));
    }
    if args.all_tags && reference.tag().is_some() {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    let level = args.compression_level;
    let compression = args.compression.map(|kind| Compression::new(kind, level));
    let pushing = Pushing {
        compression: compression.transpose().map_err(Failure::new)?,
        platform: args.platform.clone(),
        quiet: args.quiet,
    };
    let images = app.images().await?;
    let _lease = images.store.lease().await?;
    if !args.all_tags {
        if reference.tag().is_none() && !args.quiet {
            app.printer.line("Using default tag: latest");
        }
        let reference = reference.or_latest();
        push_one(app, &images, &reference, &pushing).await?;
        if args.quiet {
            app.printer.line(reference);
        }
        return Ok(());
    }
    let repository = reference.repository();
    let tags: Vec<Reference> = images
        .store
        .contents(false)
        .await?
        .into_iter()
        .flat_map(|content| content.tags().to_vec())
        .filter(|tag| tag.repository() == repository)
        .collect();
    if tags.is_empty() {
        return Err(missing(&repository.familiar()));
    }
    for tag in &tags {
        push_one(app, &images, tag, &pushing).await?;
    }
    if args.quiet {
        app.printer.line(repository);
    }
    Ok(())
}

fn missing(name: &str) -> Failure {
    Failure::new(format!(
        "An image does not exist locally with the tag: {name}"
    ))
}

/// How names are pushed.
#[derive(Clone, Debug, Default)]
pub struct Pushing {
    /// How layers are compressed, instead of as they came or with gzip.
    pub compression: Option<Compression>,
    /// Only the image for this platform.
    pub platform: Option<Platform>,
    /// Nothing is told.
    pub quiet: bool,
}

/// Pushes one tag, and tells it in docker's words unless `quiet`; returns what the registry has.
pub async fn push_one(
    app: &App,
    images: &Images,
    reference: &Reference,
    pushing: &Pushing,
) -> Result<Descriptor, Failure> {
    let quiet = pushing.quiet;
    if !quiet {
        let repository = reference.repository();
        app.printer
            .line(format!("The push refers to repository [{repository}]"));
    }
    let content = match images.store.find(reference).await? {
        Some(content) => content,
        None => return Err(missing(&reference.repository().familiar())),
    };
    let content = match &pushing.platform {
        None => content,
        Some(wanted) => {
            let name = reference.familiar();
            let image = images.store.image_of(&name, content, Some(wanted)).await?;
            Content::Image(image)
        }
    };
    let transfer = Transfer::push(&app.printer, quiet);
    let compression = pushing.compression;
    let pushed = match content {
        Content::Image(image) => {
            push_image(images, &image, reference, compression, &transfer).await?
        }
        Content::Index(index) => {
            let form = Form {
                compression,
                force: compression.is_some(),
                ..Form::default()
            };
            push_index(images, &index, reference, &form, &transfer).await?
        }
    };
    transfer.finish(false);
    if let Ok(found) = images.store.content(&reference.to_string()).await {
        happened::tell(
            &images.store,
            found.id(),
            Some(&reference.familiar()),
            "push",
        )
        .await;
    }
    if !quiet {
        let tag = reference.manifest_key();
        let (digest, size) = (&pushed.digest, pushed.size);
        app.printer
            .line(format!("{tag}: digest: {digest} size: {size}"));
    }
    let Pushed {
        digest,
        size,
        media_type,
    } = pushed;
    Ok(Descriptor::new(media_type, digest, size))
}
