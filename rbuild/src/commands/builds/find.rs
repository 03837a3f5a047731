//! Which build is meant.

use std::str::FromStr;

use builder::record::build::BuildRecord;
use builder::record::kept::{Damaged, Kept};
use oci::Reference;
use store::Store;

use crate::app::App;
use crate::failure::Failure;

/// How a build is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Number(u64),
    /// So many before the last one.
    Back(usize),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix('^')) {
            ("latest", _) => Ok(Self::Back(0)),
            (_, Some(back)) => back.parse().map(Self::Back).map_err(|_| wrong(text)),
            (number, None) => number.parse().map(Self::Number).map_err(|_| wrong(text)),
        }
    }
}

fn wrong(text: &str) -> String {
    format!(
        "{text:?} is no build: write its number as `rbuild builds` lists it, latest, or ^1 for the \
         one before"
    )
}

/// The records of a store.
pub fn kept(store: &Store) -> Kept {
    Kept::of(store.root())
}

/// All records, the newest first. Those that cannot be read are warned of.
///
/// # Errors
/// Those of reading the folder.
pub async fn all(app: &App, kept: Kept) -> Result<Vec<BuildRecord>, Failure> {
    let read = tokio::task::spawn_blocking(move || kept.all()).await?;
    let (records, damaged) = read?;
    for one in damaged {
        app.printer.warning(told(&one));
    }
    Ok(records)
}

fn told(damaged: &Damaged) -> String {
    let Damaged { number, why } = damaged;
    format!(
        "the record of build {number} cannot be read: {why}; forget it with \
         `rbuild builds rm {number}`"
    )
}

/// The build that is meant.
///
/// # Errors
/// When there is none, or its record is damaged.
pub async fn one(kept: Kept, which: Which) -> Result<BuildRecord, Failure> {
    tokio::task::spawn_blocking(move || {
        let numbers = kept.numbers()?;
        let number = match which {
            Which::Number(number) => number,
            Which::Back(back) => {
                let found = numbers.iter().rev().nth(back);
                *found.ok_or_else(|| match numbers.len() {
                    0 => Failure::new(NONE),
                    count => Failure::new(format!("only {count} builds are kept")),
                })?
            }
        };
        match kept.load(number) {
            Ok(Some(record)) => Ok(record),
            Ok(None) if numbers.is_empty() => Err(Failure::new(NONE)),
            Ok(None) => Err(Failure::new(format!(
                "there is no build {number}; `rbuild builds` lists them"
            ))),
            Err(damaged) => Err(Failure::new(told(&damaged))),
        }
    })
    .await?
}

const NONE: &str = "no build is kept here yet: `rbuild build` makes one";

/// The build that made an image, by its name or ID: the last one in which something ran for it.
///
/// # Errors
/// When none is known.
pub async fn of_image(app: &App, store: &Store, text: &str) -> Result<BuildRecord, Failure> {
    let id = store
        .content(text)
        .await
        .map(|content| content.id().to_string());
    let name = text
        .parse::<Reference>()
        .map(|name| name.or_latest().to_string());
    let mut records = all(app, kept(store)).await?;
    records.retain(|record| match (&id, &name) {
        (Ok(id), _) => record.images.contains(id),
        // What is in no store, or was never made, has the names that were asked for.
        (Err(_), Ok(name)) => record.asked.tags.contains(name),
        (Err(_), Err(_)) => false,
    });
    let ran = records
        .iter()
        .position(|record| record.ran().next().is_some());
    if records.is_empty() {
        return Err(match id {
            Ok(_) => Failure::new(format!(
                "none of the builds that are kept has made {text}; `rbuild history {text}` tells \
                 what it is made of"
            )),
            Err(e) => e.into(),
        });
    }
    Ok(records.swap_remove(ran.unwrap_or(0)))
}

/// A length of time as buildx lists it: `1.2s`, `3m  4s`.
pub fn length(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0..60 => format!("{:.1}s", micros as f64 / 1e6),
        _ => format!("{}m {:2}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_named_by_number_or_from_the_last_one() {
        for (text, which) in [
            ("7", Which::Number(7)),
            ("latest", Which::Back(0)),
            ("^0", Which::Back(0)),
            ("^2", Which::Back(2)),
        ] {
            assert_eq!(text.parse(), Ok(which));
        }
        for text in ["", "x", "^", "^x", "-1", "1.5"] {
            assert!(text.parse::<Which>().is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_buildxs() {
        for (micros, text) in [
            (0, "0.0s"),
            (1_234_000, "1.2s"),
            (59_940_000, "59.9s"),
            (60_000_000, "1m  0s"),
            (192_000_000, "3m 12s"),
        ] {
            assert_eq!(length(micros), text);
        }
    }
}
