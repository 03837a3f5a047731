//! What the command line has consented to by naming it.

/// What the command line itself asks for, so that no further consent is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Files and folders that may be read.
    pub read: Vec<String>,
    /// Files and folders that may be written.
    pub write: Vec<String>,
    /// Entitlements.
    pub entitlements: Vec<String>,
}
