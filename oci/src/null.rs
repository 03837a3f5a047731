//! `null` where a map or list may be left out: tools in Go write their empty ones so.

use serde::{Deserialize, Deserializer};

/// Takes `null` as nothing.
pub(crate) fn null_as_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(d)?.unwrap_or_default())
}
