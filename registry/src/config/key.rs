//! What there is to say of a setting.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file, table and key.
    pub name: &'static str,
    /// Its default, as it would stand in the file; empty when there is none.
    pub default: &'static str,
    /// What it means.
    pub help: &'static str,
}
