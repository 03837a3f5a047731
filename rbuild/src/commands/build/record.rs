//! What is kept of a build once it has ended, however it did.

use std::path::Path;
use std::sync::Arc;

use builder::record::build::{Asked, Ended};
use builder::record::kept::Kept;
use builder::record::recorder::Recorder;
use dockerfile::span::LineIndex;
use oci::Digest;

use super::flags::BuildFlags;
use super::interrupts::Interrupts;
use super::options::Options;
use crate::app::App;
use crate::failure::Failure;
use crate::frontend::text::Text;

/// What was asked for.
pub struct Command<'a> {
    pub app: &'a App,
    pub args: &'a BuildFlags,
    pub options: &'a Options,
    pub text: &'a Text,
}

/// Keeps the record of a build. That it cannot is told, and is no failure.
pub async fn keep(
    command: &Command<'_>,
    (root, context): (&Path, Option<&Path>),
    recorder: &Arc<Recorder>,
    interrupts: &Interrupts,
    outcome: &Result<Vec<Digest>, Failure>,
) {
    let ended = match outcome {
        Ok(_) => Ended::Completed,
        Err(failure) if interrupts.came() || failure.canceled => Ended::Canceled,
        Err(failure) => Ended::Error {
            error: failure.message.clone(),
        },
    };
    let images = outcome.as_ref().map(Vec::as_slice).unwrap_or_default();
    let images = images.iter().map(ToString::to_string).collect();
    let lines = LineIndex::new(&command.text.parsed.source);
    let line = |offset: usize| lines.line(offset);
    let record = recorder.record(asked(command, context), ended, images, &line);
    let kept = Kept::of(root);
    let written = tokio::task::spawn_blocking(move || kept.keep(record)).await;
    let failed = match written {
        Ok(Ok(_)) => return,
        Ok(Err(e)) => e.to_string(),
        Err(e) => e.to_string(),
    };
    let text = format!("`rbuild builds` will not list this build: {failed}");
    command.app.printer.warning(text);
}

fn asked(command: &Command<'_>, context: Option<&Path>) -> Asked {
    let (args, options) = (command.args, command.options);
    let context = match context {
        Some(path) => path.display().to_string(),
        None => without_user(&args.context),
    };
    Asked {
        dockerfile: command.text.name.clone(),
        context,
        target: args.target.clone(),
        platforms: options.platforms.iter().map(ToString::to_string).collect(),
        tags: options.tags.iter().map(ToString::to_string).collect(),
    }
}

/// An address without the user and password that may be in it.
pub fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_addresses_are_left_out() {
        for (text, kept) in [
            (".", "."),
            (
                "https://u:p@x.org/a@b.git#main",
                "https://x.org/a@b.git#main",
            ),
            ("https://x.org", "https://x.org"),
            ("https://u@x.org", "https://x.org"),
        ] {
            assert_eq!(without_user(text), kept);
        }
    }
}
