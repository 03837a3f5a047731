//! `rregistry restore` without a backup: tags that were deleted or moved.

use super::failure::{Failure, err, out};
use super::inspect::split;
use super::operate::{Format, Operator, show_json};
use super::settings::Settings;
use super::table::{minute, short, table};
use crate::meta::TagPast;
use crate::operate::Operation;
use crate::service::Restored;

/// What is to be put back, and how that is shown.
pub(super) struct Undelete<'u> {
    /// REPOSITORY, REPOSITORY:TAG or REPOSITORY:TAG@DIGEST.
    pub(super) image: &'u str,
    /// Only list what is known.
    pub(super) list: bool,
    pub(super) format: Format,
}

pub(super) fn run(settings: Settings, all: &[Undelete<'_>]) -> Result<(), Failure> {
    let operator = Operator::new(settings)?;
    for one in all {
        undelete(&operator, one)?;
    }
    Ok(())
}

fn undelete(operator: &Operator, options: &Undelete<'_>) -> Result<(), Failure> {
    let (name, digest) = match options.image.split_once('@') {
        Some((name, digest)) => (name, Some(digest.to_owned())),
        None => (options.image, None),
    };
    let (repository, tag) = split(name);
    let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
    if digest.is_some() && tag.is_none() {
        let why = format!("{name}: say which tag, as in {repository}:TAG@DIGEST");
        return Err(why.into());
    }
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
            if place.deleted { "deleted" } else { "moved" }.to_owned(),
        ]
    };
    let rows: Vec<_> = past.iter().map(row).collect();
    table(&["TAG", "DIGEST", "SINCE", "UNTIL", "THEN"], &rows)
}
