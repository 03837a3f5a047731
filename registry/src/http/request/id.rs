//! What a request is called in logs and by webhooks.

use http::request::Parts;

use crate::http::answer::REQUEST_ID;

/// Longest request ID that is taken over from a client.
const MAX_ID: usize = 64;

/// The ID that a request is logged by, as an extension of the request.
#[derive(Clone, Debug)]
pub(in crate::http) struct RequestId(pub(in crate::http) String);

/// A request's ID: the one that it is logged by, the client's, or a new one.
pub(in crate::http) fn request_id(request: &Parts) -> String {
    if let Some(RequestId(id)) = request.extensions.get() {
        return id.clone();
    }
    let own = request
        .headers
        .get(REQUEST_ID)
        .and_then(|v| v.to_str().ok());
    let fine = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_graphic())
    };
    own.filter(fine)
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}
