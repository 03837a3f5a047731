//! `SOURCE_DATE_EPOCH`: dates the build, once it is known what the contexts are of.

use builder::auth::Auth;
use builder::context::added_time;
use builder::plan::epoch::{Epoch, EpochError, wanted};
use builder::plan::graph::GraphOptions;
use oci::Platform;

use super::opened::Opened;
use super::options::Options;
use crate::failure::{Failure, Outcome};
use crate::frontend::text::Text;

/// Finds the moment that everything made is dated to, and tells it to the build arguments.
pub async fn date(
    options: &mut Options,
    target: &str,
    text: &Text,
    (opened, auth): (&Opened, &Auth),
) -> Outcome {
    let (named, host) = (options.named(), Platform::host());
    let target_platform = options.first_platform();
    let planned = GraphOptions {
        target,
        args: &options.args,
        build_platform: &host,
        target_platform: &target_platform,
        named: &named,
        consent: options.consent.clone(),
    };
    let found = wanted(&text.parsed.dockerfile, &planned).map_err(|e| match e {
        EpochError::Given(text) => Failure::with_code(text, 125),
        EpochError::Written(found) => text.with_mistakes(&found),
    })?;
    let (epoch, in_words) = match found {
        Epoch::Unset => (None, false),
        Epoch::At(seconds) => (Some(seconds), false),
        Epoch::Context => (opened.context.dated, true),
        Epoch::Named(name) => (opened.named.get(&name).and_then(|tree| tree.dated), true),
        Epoch::Added { source, checksum } => {
            (added_time(&source, checksum.as_ref(), auth).await?, true)
        }
    };
    options.args.date(epoch, in_words);
    Ok(())
}
