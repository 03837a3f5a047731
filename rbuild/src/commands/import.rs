//! `rbuild import`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};

use clap::Args;
use oci::config::Config;
use oci::{Platform, Reference};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::happened;
use crate::term::safe;
use builder::auth::Auth;
use builder::download::{Download, fetch};
use builder::plan::changes::changed_config;
use images::Images;
use images::import::{ImportOptions, Source, import};

/// `rbuild import`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  debootstrap --variant=minbase bookworm rootfs && tar -C rootfs -cf - . | rbuild import - debian:bookworm
  rbuild import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' busybox.tar.gz busybox
  rbuild import https://example.com/rootfs.tar.xz base:v1")]
pub struct ImportArgs {
    /// The root file system as a tar archive, which may be compressed: a file, an address, or `-`
    /// for standard input
    #[arg(value_name = "FILE|URL|-")]
    pub source: String,

    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub reference: Option<String>,

    /// Apply a Dockerfile instruction, such as CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER,
    /// VOLUME or WORKDIR; may be repeated
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub changes: Vec<String>,

    /// The note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,

    /// The platform that the files are for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: ImportArgs) -> Outcome {
    let tags = names(args.reference.as_deref(), "import")?;
    let platform: Platform = match &args.platform {
        None => Platform::host(),
        Some(text) => text.parse().map_err(|e| Failure::with_code(e, 125))?,
    };
    let config = changed(app, Config::default(), &args.changes, &platform)?;
    let source = Source::new(&args.source);
    let options = ImportOptions {
        config,
        message: args.message.clone().unwrap_or_else(|| source.message()),
        platform,
        created: now()?,
        tags,
    };
    let images = app.images().await?;
    let _lease = images.store.lease().await?;
    let (archive, _download) = open(&images, &source).await?;
    let id = import(&images, archive, options).await.map_err(|e| {
        Failure::new(format!(
            "import {}: {}",
            args.source,
            Failure::from(e).message
        ))
    })?;
    happened::tell(&images.store, &id, None, "import").await;
    app.printer.line(id);
    Ok(())
}

/// The name that a new image gets, if one was typed; `action` says what is done with it.
///
/// # Errors
/// When it is no name, or that of what is in an image already.
pub fn names(typed: Option<&str>, action: &str) -> Result<Vec<Reference>, Failure> {
    let Some(text) = typed else {
        return Ok(Vec::new());
    };
    let reference: Reference = text
        .parse()
        .map_err(|e| Failure::new(format!("invalid reference {text:?}: {e}")))?;
    match reference.digest() {
        Some(_) => Err(Failure::new(format!("cannot {action} digest reference"))),
        None => Ok(vec![reference.or_latest()]),
    }
}

/// The configuration that the instructions of `--change` make of another.
pub fn changed(
    app: &App,
    base: Config,
    changes: &[String],
    platform: &Platform,
) -> Result<Config, Failure> {
    changed_config(base, changes, platform).map_err(|e| {
        let shown = safe::render(&e.diagnostics, "--change", &e.source, app.printer.color());
        Failure::new("the changes cannot be applied").at(shown)
    })
}

/// Now, or the time that `SOURCE_DATE_EPOCH` gives.
fn now() -> Result<String, Failure> {
    let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(jiff::Timestamp::now().to_string());
    };
    let time = epoch
        .parse()
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok());
    match time {
        Some(time) => Ok(time.to_string()),
        None => Err(Failure::with_code(
            format!("invalid SOURCE_DATE_EPOCH {epoch:?}: expected seconds since 1970"),
            125,
        )),
    }
}

type Archive = Box<dyn Read + Send>;

/// Opens the archive; a download lasts as long as the second value.
async fn open(images: &Images, source: &Source) -> Result<(Archive, Option<Download>), Failure> {
    match source {
        Source::Stdin => {
            if io::stdin().is_terminal() {
                let text =
                    "standard input is a terminal: redirect an archive to it, or name a file";
                return Err(Failure::new(text));
            }
            Ok((Box::new(io::stdin()), None))
        }
        Source::File(path) => {
            let failed = |e: io::Error| {
                let why = golang::errno::said(&e);
                Failure::new(format!("open {}: {why}", path.display()))
            };
            let file = File::open(path).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_dir() {
                return Err(Failure::new(format!(
                    "{} is a directory; give a tar archive: tar -C {0} -cf - . | rbuild import -",
                    path.display()
                )));
            }
            Ok((Box::new(file), None))
        }
        Source::Url(url) => {
            let download = fetch(
                url,
                None,
                &images.store.scratch_dir().await?,
                &Auth::default(),
            )
            .await?;
            Ok((Box::new(download.open()?), Some(download)))
        }
    }
}
