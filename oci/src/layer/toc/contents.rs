//! What becomes of a layer by its table.

use std::collections::BTreeMap;

use crate::DiffId;

/// What a table of contents adds to a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// For the layer's descriptor: where the table is, and its digest.
    pub annotations: BTreeMap<String, String>,
    /// Of what the blob decompresses to: eStargz has one file more than the tar that was written.
    pub diff_id: DiffId,
}
