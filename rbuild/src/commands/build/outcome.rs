//! What a build leaves beside its image: files that scripts read, and lines that people do.

use std::io;
use std::path::Path;

use builder::solve::image::StageImage;
use dockerfile::lint::Report;
use images::ConfigDocument;
use images::shared::inline::Inline;
use serde_json::Value;

use super::flags::BuildFlags;
use super::options::Options;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::frontend::report;
use crate::frontend::text::Text;
use crate::term::output::Output;
use crate::term::progress::Mode;

/// Removes the results of an earlier build, so that a script does not find them after this one
/// has failed, and makes sure that new ones can be written.
pub async fn forget(args: &BuildFlags) -> Outcome {
    for (flag, path) in [
        ("--iidfile", &args.iidfile),
        ("--metadata-file", &args.metadata_file),
    ] {
        if let Some(path) = path {
            forget_one(flag, path).await?;
        }
    }
    Ok(())
}

/// Removes one of them; `flag` is what names it in an error.
///
/// # Errors
/// It cannot be removed, or its folder is not there.
pub async fn forget_one(flag: &str, path: &Path) -> Outcome {
    let failed = |e: io::Error| Failure::new(format!("{flag} {}: {e}", path.display()));
    // A pipe or device, /dev/stdout too, holds no results of an earlier build.
    let there = tokio::fs::metadata(path).await;
    if there.is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Ok(());
    }
    match tokio::fs::remove_file(path).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => {
            tokio::fs::metadata(dir).await.map(drop).map_err(failed)
        }
        _ => Ok(()),
    }
}

/// The configuration of what was built, with the labels of the flags.
pub fn document(
    image: &StageImage,
    dated: Option<&str>,
    options: &Options,
    inline: Option<Inline>,
) -> Result<ConfigDocument, Failure> {
    let mut document = image.document(dated);
    if let Some(inline) = inline {
        inline.write(&mut document)?;
    }
    let config = document.config.get_or_insert_default();
    config.labels.extend(options.labels.iter().cloned());
    Ok(ConfigDocument::new(&document)?)
}

/// Tells programs what deserves attention in the Dockerfile, before anything runs.
pub fn tell_programs(app: &App, text: &Text, report: &Report) {
    let found: Vec<_> = text.warnings.iter().chain(&report.diagnostics).collect();
    if !found.is_empty() {
        let line = report::status(&text.parsed, &text.name, &found);
        app.printer.raw_note(line.to_string());
    }
}

/// What deserves attention in the Dockerfile, for the metadata file: when BUILDX_METADATA_WARNINGS
/// asks for it, as with buildx.
pub fn wanted_warnings(text: &Text, report: Option<&Report>) -> Option<Value> {
    let said = std::env::var("BUILDX_METADATA_WARNINGS").ok()?;
    if !matches!(said.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True") {
        return None;
    }
    let checked = report.into_iter().flat_map(|report| &report.diagnostics);
    let found: Vec<_> = text.warnings.iter().chain(checked).collect();
    let mut told = report::status(&text.parsed, &text.name, &found);
    (!found.is_empty()).then(|| told["warnings"].take())
}

/// What deserves attention in the Dockerfile, to be shown below all progress.
pub fn warnings(text: &Text, report: Report, mode: Mode) -> Option<String> {
    let mut warnings = text.warnings.clone();
    warnings.extend(report.diagnostics);
    match mode {
        Mode::Quiet | Mode::None | Mode::Rawjson => return None,
        Mode::Auto | Mode::Plain | Mode::Tty => {}
    }
    (!warnings.is_empty()).then(|| format!("\n{}", text.render(&warnings)))
}

/// Writes a small file whole or not at all, with the mode that the umask leaves. A pipe or device
/// is written to.
pub async fn write_whole(path: &Path, bytes: Vec<u8>) -> Outcome {
    let output = Output::File(path.to_owned());
    let written = tokio::task::spawn_blocking(move || output.write(|out| out.write_all(&bytes)));
    written
        .await
        .map_err(|e| Failure::new(format!("write {}: {e}", path.display())))?
}
