//! What a handler tells of a request beside its answer, for the log and the metrics.

/// Goes along with an answer, as an extension of it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Served {
    /// The route's name, one of [`LABELS`](crate::route::LABELS).
    pub(in crate::http) label: &'static str,
    /// Who asked, where that is known and logged.
    pub(in crate::http) user: Option<String>,
}
