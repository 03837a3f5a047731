//! `rbuild pull`

use clap::Args;
use oci::{Platform, Reference};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened;
use crate::reach;
use crate::term::transfer::Transfer;
use images::index::pull::{Wanted, pull_index};
use images::pull::pull_image;
use images::{ImageError, Images};

/// `rbuild pull`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild pull docker.io/library/debian:bookworm
  rbuild pull localhost:5000/app@sha256:…     exactly this image, whatever a tag says now
  rbuild pull --platform linux/arm64 busybox
  rbuild pull -a localhost:5000/app           every tag")]
pub struct PullArgs {
    /// What to pull; `latest` without tag or digest
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub name: String,

    /// Pull all tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,

    /// Print only the full name
    #[arg(short, long)]
    pub quiet: bool,

    /// Pull the image for this platform [default: this machine's]; several, separated by commas, or
    /// `all` keep the index, so that it can be pushed and saved with all of them
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: PullArgs) -> Outcome {
    let reference: Reference = args.name.parse().map_err(|e| usage(&args.name, e))?;
    let platform = Platforms::parse(args.platform.as_deref())?;
    if args.all_tags && (reference.tag().is_some() || reference.digest().is_some()) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    let images = app.images().await?;
    let _lease = images.store.lease().await?;
    if !args.all_tags {
        if reference.tag().is_none() && reference.digest().is_none() && !args.quiet {
            app.printer.line("Using default tag: latest");
        }
        let reference = reference.or_latest();
        let up_to_date = pull_one(app, &images, &reference, &platform, args.quiet).await?;
        if !args.quiet {
            app.printer.line(status(&reference.familiar(), up_to_date));
        }
        app.printer.line(&reference);
        return Ok(());
    }
    let repository = reference.repository();
    let tags = images.client().await?.tags(repository).await?;
    if tags.is_empty() {
        let name = repository.familiar();
        return Err(Failure::new(format!("repository {name} has no tags")));
    }
    let mut up_to_date = true;
    for tag in tags {
        let reference = Reference::new(repository.clone(), Some(&tag))?;
        up_to_date &= pull_one(app, &images, &reference, &platform, args.quiet).await?;
    }
    if !args.quiet {
        app.printer.line(status(&repository.familiar(), up_to_date));
    }
    app.printer.line(repository);
    Ok(())
}

/// `--platform`
enum Platforms {
    One(Platform),
    Several(Wanted),
}

impl Platforms {
    fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else {
            return Ok(Self::One(Platform::host()));
        };
        if text == "all" {
            return Ok(Self::Several(Wanted::All));
        }
        let platforms: Result<Vec<Platform>, _> = text.split(',').map(str::parse).collect();
        let mut platforms = platforms.map_err(|e| Failure::with_code(e, 125))?;
        match (platforms.len(), platforms.pop()) {
            (1, Some(only)) => Ok(Self::One(only)),
            (_, last) => {
                platforms.extend(last);
                Ok(Self::Several(Wanted::Platforms(platforms)))
            }
        }
    }
}

/// The failure of a name that is none.
pub fn usage(name: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("invalid reference {name:?}: {error}"))
}

/// A pull that failed, with what can be done without it.
pub fn out_of_reach(error: ImageError) -> Failure {
    match reach::help(&error) {
        Some(help) => Failure::new(format!("{error}\n{help}")),
        None => error.into(),
    }
}

fn status(name: &str, up_to_date: bool) -> String {
    match up_to_date {
        true => format!("Status: Image is up to date for {name}"),
        false => format!("Status: Downloaded newer image for {name}"),
    }
}

/// Pulls one image and tells it in docker's words; returns whether it was there already.
async fn pull_one(
    app: &App,
    images: &Images,
    reference: &Reference,
    platform: &Platforms,
    quiet: bool,
) -> Result<bool, Failure> {
    let path = reference.repository().path();
    let what = match reference.digest() {
        Some(_) => reference.to_string(),
        None => reference.manifest_key(),
    };
    let heading = format!("{what}: Pulling from {path}");
    let transfer = Transfer::pull(&app.printer, quiet, heading);
    let (digest, up_to_date) = match platform {
        Platforms::One(platform) => {
            let fetched = pull_image(images, reference, platform, &transfer).await;
            let fetched = fetched.map_err(out_of_reach)?;
            (fetched.digest, fetched.up_to_date)
        }
        Platforms::Several(wanted) => {
            let fetched = pull_index(images, reference, wanted, &transfer).await;
            let fetched = fetched.map_err(out_of_reach)?;
            (fetched.index.id, fetched.up_to_date)
        }
    };
    transfer.finish(up_to_date);
    if let Ok(found) = images.store.content(&reference.to_string()).await {
        happened::tell(
            &images.store,
            found.id(),
            Some(&reference.familiar()),
            "pull",
        )
        .await;
    }
    if !quiet {
        app.printer.line(format!("Digest: {digest}"));
    }
    Ok(up_to_date)
}
