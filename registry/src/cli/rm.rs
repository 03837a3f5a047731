//! `rregistry rm` and `rregistry restore`

use clap::Args;

use super::failure::{Failure, err, out};
use super::inspect::split;
use super::operate::{Format, Operator, show_json};
use super::settings::Settings;
use super::table::{minute, short, table};
use crate::meta::{Going, TagPast};
use crate::operate::{Operation, Target};
use crate::service::{Preview, Restored};
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

/// Put back tags that were deleted or moved.
///
/// REPOSITORY:TAG points where it did before, REPOSITORY:TAG@DIGEST to that manifest, and of
/// REPOSITORY alone all deleted tags come back. Ten places of each tag are known, for thirty days;
/// what was collected as garbage since cannot come back.
#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    settings: Settings,

    /// Only list what is known.
    #[arg(long)]
    list: bool,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// What to put back.
    #[arg(value_name = "IMAGE")]
    image: String,
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

pub(super) fn run_restore(options: Restore) -> Result<(), Failure> {
    let (name, digest) = match options.image.split_once('@') {
        Some((name, digest)) => (name, Some(digest.to_owned())),
        None => (options.image.as_str(), None),
    };
    let (repository, tag) = split(name);
    let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
    if digest.is_some() && tag.is_none() {
        return Err(format!("{}: say which tag, as in {repository}:TAG@DIGEST", name).into());
    }
    let operator = Operator::new(options.settings)?;
    if options.list {
        let past: Vec<TagPast> = operator.ask(&Operation::Past(repository, tag))?;
        return match options.format {
            Format::Json => show_json(&past),
            Format::Table => out(&places(&past)),
        };
    }
    let restored: Vec<Restored> =
        operator.ask(&Operation::Restore(repository.clone(), tag, digest))?;
    let mut failed = 0;
    if options.format == Format::Json {
        show_json(&restored)?;
    }
    for tag in &restored {
        let (name, digest) = (&tag.tag, &tag.digest);
        match &tag.failed {
            None if options.format == Format::Table => {
                out(&format!("restored {repository}:{name} to {digest}\n"))?;
            }
            None => {}
            Some(why) => {
                failed += 1;
                err(&format!("rregistry: {repository}:{name}: {why}\n"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(format!("{n} of {} tags cannot be restored", restored.len()).into()),
    }
}

fn places(past: &[TagPast]) -> String {
    let row = |place: &TagPast| {
        vec![
            place.tag.clone(),
            short(&place.digest),
            minute(place.since),
            minute(place.until),
            if place.moved { "moved" } else { "deleted" }.to_owned(),
        ]
    };
    let rows: Vec<_> = past.iter().map(row).collect();
    table(&["TAG", "DIGEST", "SINCE", "UNTIL", "THEN"], &rows)
}
