//! `rregistry inspect`

use std::fmt::Write;

use clap::Args;

use super::failure::{Failure, out};
use super::operate::{Format, Operator, show_json};
use super::settings::Settings;
use super::table::{minute, plain, table};
use crate::operate::Operation;
use crate::service::Image;
use crate::units::show_size;

/// Show one image: its layers and what made each, its children, what refers to it.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    settings: Settings,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// The image: REPOSITORY:TAG or REPOSITORY@DIGEST; without either, the tag latest.
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(super) fn run(options: Inspect) -> Result<(), Failure> {
    let (repository, reference) = split(&options.image);
    let reference = reference.unwrap_or("latest").to_owned();
    let operator = Operator::new(options.settings)?;
    let image: Image = operator.ask(&Operation::Image(repository.to_owned(), reference))?;
    match options.format {
        Format::Json => show_json(&image),
        Format::Table => out(&text(&image)),
    }
}

/// The repository of an image's name, and its tag or digest, if it has one.
pub(super) fn split(image: &str) -> (&str, Option<&str>) {
    // What has a digest is that, whatever tag stands before it.
    if let Some((name, digest)) = image.split_once('@') {
        let name = split(name).0;
        return (name, Some(digest));
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

fn text(image: &Image) -> String {
    let manifest = &image.manifest;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<12} {}", format!("{name}:"), plain(value));
        }
    };
    line("Repository", &image.repository);
    line("Digest", &manifest.digest);
    line("Media type", &manifest.media_type);
    line(
        "Artifact",
        manifest.artifact_type.as_deref().unwrap_or_default(),
    );
    line("Tags", &image.tags.join(" "));
    line("Size", &show_size(manifest.bytes));
    line("Platforms", &manifest.platforms.join(" "));
    line("Created", &minute(manifest.created));
    line("Pushed", &minute(manifest.pushed));
    line("Pulled", &minute(manifest.pulled));
    line("Subject", image.subject.as_deref().unwrap_or_default());
    line("Listed by", &image.listed_by.join(" "));
    if let Some(config) = &image.config {
        line("Config", &config.digest);
    }
    for (name, value) in &image.annotations {
        line("Annotation", &format!("{name}={value}"));
    }
    let mut tables = Vec::new();
    if !image.layers.is_empty() {
        let rows = image.layers.iter().map(|layer| {
            let made = layer.instruction.as_deref().unwrap_or("-");
            vec![layer.digest.clone(), show_size(layer.bytes), plain(made)]
        });
        let rows: Vec<_> = rows.collect();
        tables.push(table(&["LAYER", "SIZE", "MADE BY"], &rows));
    }
    if !image.children.is_empty() {
        let rows = image.children.iter().map(|child| {
            let size = child.manifest.as_ref().map(|entry| show_size(entry.bytes));
            let platform = child.platform.as_deref().unwrap_or("-");
            vec![
                child.digest.clone(),
                plain(platform),
                size.unwrap_or_else(|| "not here".to_owned()),
            ]
        });
        let rows: Vec<_> = rows.collect();
        tables.push(table(&["CHILD", "PLATFORM", "SIZE"], &rows));
    }
    if !image.referrers.is_empty() {
        let rows = image.referrers.iter().map(|found| {
            let kind = found.artifact_type.as_deref().unwrap_or("-");
            vec![found.digest.clone(), plain(kind)]
        });
        let rows: Vec<_> = rows.collect();
        tables.push(table(&["REFERRER", "ARTIFACT"], &rows));
    }
    for table in tables {
        text.push('\n');
        text.push_str(&table);
    }
    if image.more_referrers {
        text.push_str("and more referrers\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_tags_or_digests() {
        for (text, name, reference) in [
            ("app", "app", None),
            ("team/app:v1", "team/app", Some("v1")),
            ("host:5000/app", "host:5000/app", None),
            ("app@sha256:00", "app", Some("sha256:00")),
            ("app:v1@sha256:00", "app", Some("sha256:00")),
        ] {
            assert_eq!(split(text), (name, reference), "{text}");
        }
    }
}
