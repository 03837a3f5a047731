//! What templates know of the values that they show.

/// What Go would know by type and JSON does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Types {
    /// Fields that hold maps: a key that is not there is no mistake.
    pub maps: &'static [&'static str],
    /// Fields that hold lists: `null` is an empty one.
    pub lists: &'static [&'static str],
    /// Fields that hold lengths of time, in nanoseconds.
    pub durations: &'static [&'static str],
    /// Fields that JSON leaves out when they are the empty text.
    pub texts: &'static [&'static str],
    /// Fields that JSON leaves out when they are nil.
    pub pointers: &'static [&'static str],
}
