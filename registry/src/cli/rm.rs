//! `rregistry rm`

use clap::Args;

use super::failure::{Failure, err, out};
use super::inspect::split;
use super::operate::{Format, Operator, show_json};
use super::settings::Settings;
use crate::meta::Going;
use crate::operate::{Operation, Target};
use crate::service::Preview;
use crate::units::show_size;

/// Delete tags, manifests or whole repositories.
///
/// REPOSITORY:TAG is that tag, REPOSITORY@DIGEST that manifest with all tags that point to it, and
/// REPOSITORY alone, with --all, everything in it. What nothing needs then goes when garbage is
/// collected; until then `rregistry restore` brings it back.
#[derive(Debug, Args)]
pub(super) struct Rm {
    #[command(flatten)]
    settings: Settings,

    /// Delete whole repositories too, where no tag or digest is said.
    #[arg(long)]
    all: bool,

    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// What to delete.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) fn run(options: Rm) -> Result<(), Failure> {
    let mut targets = Vec::new();
    for image in &options.images {
        let (repository, reference) = split(image);
        if reference.is_none() && !options.all {
            return Err(format!(
                "{image} is a whole repository: say --all to delete all of it, or \
                 {image}:TAG"
            )
            .into());
        }
        targets.push(Target {
            repository: repository.to_owned(),
            reference: reference.map(str::to_owned),
        });
    }
    let operator = Operator::new(options.settings)?;
    let mut all = Vec::new();
    let mut failed = None;
    for (image, target) in options.images.iter().zip(targets) {
        let done = match options.dry_run {
            true => operator.ask(&Operation::Preview(target)),
            false => {
                let gone = operator.ask(&Operation::Delete(target));
                gone.map(|going: Going| Preview {
                    going,
                    refused: None,
                })
            }
        };
        match done {
            Ok(preview) => {
                if options.format == Format::Table {
                    out(&report(image, &preview, options.dry_run))?;
                }
                all.push(preview);
            }
            // The others can go nevertheless.
            Err(e) => {
                let e = format!("{image}: {e}");
                if let Some(before) = failed.replace(e) {
                    err(&format!("rregistry: {before}\n"));
                }
            }
        }
    }
    if options.format == Format::Json {
        show_json(&all)?;
    }
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

fn report(image: &str, preview: &Preview, dry_run: bool) -> String {
    if let Some(why) = &preview.refused {
        return format!("would not delete {image}: {why}\n");
    }
    let going = &preview.going;
    let verb = if dry_run { "would delete" } else { "deleted" };
    let mut text = format!(
        "{verb} {image}: {} tags, {} manifests",
        going.tag_count, going.manifest_count
    );
    if going.manifest_count > 0 {
        text.push_str(&format!(
            "; the next collection takes {} blobs and frees {}",
            going.blob_count,
            show_size(going.freed_bytes)
        ));
    }
    text.push('\n');
    text
}
