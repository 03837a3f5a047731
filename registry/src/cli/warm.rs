//! `rregistry warm`

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use oci::Platform;

use super::failure::{Failure, err, out};
use super::opened::opened;
use super::settings::{Settings, data_dir};
use crate::control::request_warm;
use crate::mirror::{Mirror, WarmOptions, Warmed};

/// Bring images from their upstreams before anybody asks for them.
///
/// LIST has an image a line, as docker pull takes it (nginx:1.27, ghcr.io/org/app@sha256:...);
/// empty lines and lines that begin with # are left out. What is here already is not fetched again.
/// A running registry does it itself.
#[derive(Debug, Args)]
pub(super) struct Warm {
    #[command(flatten)]
    settings: Settings,

    /// Only for this platform, such as linux/amd64; may be given several times [default: all].
    #[arg(long, value_parser = platform)]
    platform: Vec<String>,

    /// The file of names; - is standard input.
    list: PathBuf,
}

/// A platform, as it was written.
fn platform(text: &str) -> Result<String, String> {
    let parsed = text.parse::<Platform>().map_err(|e| e.to_string());
    parsed.map(|_| text.to_owned())
}

pub(super) fn run(options: Warm) -> Result<(), Failure> {
    let images = names(&read(&options.list)?);
    if images.is_empty() {
        return Err(format!("{} names no image", options.list.display()).into());
    }
    let config = options.settings.read()?.check()?;
    if config.mirror.upstreams.is_empty() {
        return Err("there is no [[upstream]] in the settings (--config)".into());
    }
    let data_dir = data_dir(&config)?;
    let what = WarmOptions {
        images,
        platforms: options.platform,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let warmed = runtime.block_on(async {
        if let Some(warmed) = request_warm(&data_dir, &what).await? {
            return Ok::<_, Failure>(warmed);
        }
        let registry = Arc::new(opened(&config, &data_dir).await?);
        let warmed = match Mirror::open(&config.mirror, &registry).await? {
            Some(mirror) => Ok(mirror.warm(&what).await),
            None => Err("there is no [[upstream]] in the settings".into()),
        };
        registry.close().await;
        warmed
    })?;
    report(&warmed)
}

fn report(warmed: &Warmed) -> Result<(), Failure> {
    for (image, digest) in &warmed.here {
        out(&format!("{image} {digest}\n"))?;
    }
    for (image, why) in &warmed.failed {
        err(&format!("rregistry: {image}: {why}\n"));
    }
    match warmed.failed.len() {
        0 => Ok(()),
        failed => {
            let all = failed + warmed.here.len();
            Err(format!("{failed} of {all} images could not be brought").into())
        }
    }
}

fn read(list: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    if list == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(list).map_err(|e| format!("{}: {e}", list.display()).into())
}

/// The images of a list.
fn names(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn lists_have_comments_and_empty_lines() {
        let text = "# base images\n\n  nginx:1.27 \r\nghcr.io/a/b\n";
        assert_eq!(names(text), ["nginx:1.27", "ghcr.io/a/b"]);
    }
}
