//! What both imports tell at their end.

use super::failure::{Failure, out};
use crate::service::Imported;

/// Tells what an import brought, and fails when it could not bring everything.
pub(super) fn report(imported: &Imported) -> Result<(), Failure> {
    let mut text: String = imported
        .skipped
        .iter()
        .map(|line| format!("skipped {line}\n"))
        .collect();
    text.push_str(&format!(
        "imported {} repositories, {} tags, {} manifests; {} new blobs, {} bytes\n",
        imported.repositories, imported.tags, imported.manifests, imported.blobs, imported.bytes
    ));
    out(&text)?;
    match imported.skipped.len() {
        0 => Ok(()),
        n => Err(format!("{n} could not be taken over").into()),
    }
}
