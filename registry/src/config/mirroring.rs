//! The part of the settings that says what is mirrored, and what replicated.

use std::collections::BTreeSet;

use super::error::{ConfigError, wrong};
use super::settings::Settings;
use crate::mirror::settings::MirrorSettings;
use crate::replication::settings::Replicate;
use crate::units::size;

/// What is mirrored, checked.
///
/// # Errors
/// [`ConfigError::Value`].
pub(super) fn mirror(settings: &Settings) -> Result<MirrorSettings, ConfigError> {
    let upstreams = settings.lists.upstream.clone();
    for upstream in &upstreams {
        upstream
            .check()
            .map_err(|why| wrong("upstream", &upstream.repository, why))?;
    }
    let max_size = match settings.given("mirror.max_size")? {
        None => None,
        Some(text) => {
            let why = "a number and a unit, such as 500MiB, 10GiB or 2TB";
            Some(size(&text).ok_or_else(|| wrong("mirror.max_size", &text, why))?)
        }
    };
    let max_age = match settings.given("mirror.max_age")? {
        None => None,
        Some(_) => Some(settings.duration("mirror.max_age")?),
    };
    Ok(MirrorSettings {
        upstreams,
        offline: settings.boolean("mirror.offline")?,
        max_size,
        max_age,
        pinned: settings.list("mirror.pinned")?,
    })
}

/// The rules of replication, checked.
///
/// # Errors
/// [`ConfigError::Value`].
pub(super) fn replicate(settings: &Settings) -> Result<Vec<Replicate>, ConfigError> {
    let mut names = BTreeSet::new();
    for rule in &settings.lists.replicate {
        let wrong = |why: String| wrong("replicate", &rule.name, why);
        rule.check().map_err(wrong)?;
        if !names.insert(&rule.name) {
            return Err(wrong("there are two of this name".to_owned()));
        }
    }
    Ok(settings.lists.replicate.clone())
}
