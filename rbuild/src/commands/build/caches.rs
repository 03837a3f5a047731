//! `--cache-from` and `--cache-to`.

use std::sync::Arc;

use builder::engine::sharing::Sharing;
use builder::solve::progress::Progress;
use images::Images;
use images::shared::place::{CachePlace, CacheTo, cache_from, cache_to};
use images::shared::sources::{Sources, Warn};
use images::shared::targets::{TargetOptions, Targets};
use oci::Platform;

use super::flags::BuildFlags;
use crate::failure::Failure;

/// The caches that other machines share.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    from: Vec<CachePlace>,
    to: Vec<TargetOptions>,
    inline: bool,
}

/// Reads the flags; `inline` is asked for by a build argument of BuildKit's.
pub fn caches(args: &BuildFlags, inline: bool) -> Result<Caches, Failure> {
    let mut caches = Caches {
        inline,
        ..Caches::default()
    };
    let wrong = |flag: &str, text: &str, cause: String| {
        let text = format!("invalid argument {text:?} for \"{flag}\": {cause}");
        Failure::with_code(text, 125)
    };
    for text in &args.cache_from {
        let place = cache_from(text).map_err(|e| wrong("--cache-from", text, e))?;
        caches.from.push(place);
    }
    for text in &args.cache_to {
        match cache_to(text).map_err(|e| wrong("--cache-to", text, e))? {
            CacheTo::Inline => caches.inline = true,
            CacheTo::Place {
                place,
                mode,
                compression,
            } => caches.to.push(TargetOptions {
                place,
                mode,
                compression,
            }),
        }
    }
    Ok(caches)
}

/// What tells whoever watches of caches that do not work.
fn warn(progress: &Arc<dyn Progress>) -> Warn {
    let progress = Arc::clone(progress);
    Box::new(move |text| progress.warning(text))
}

impl Caches {
    /// Where steps of all platforms are written.
    pub fn targets(&self, images: &Images, progress: &Arc<dyn Progress>) -> Arc<Targets> {
        Arc::new(Targets::new(images, &self.to, warn(progress)))
    }

    /// What the build for a platform shares.
    pub fn sharing(
        &self,
        images: &Images,
        platform: &Platform,
        targets: &Arc<Targets>,
        progress: &Arc<dyn Progress>,
    ) -> Sharing {
        Sharing {
            sources: Sources::new(images, &self.from, platform, warn(progress)),
            targets: Arc::clone(targets),
            inline: self.inline,
        }
    }
}
