//! HTTP below the distribution protocol: transports, redirects, retries, limits.

mod body;
mod call;
mod link;
pub(crate) mod retry;
mod transport;

pub(crate) use body::{next_chunk, read_capped};
pub(crate) use call::{Body, Call, exchange, refuse, send};
pub(crate) use link::next_link;
pub(crate) use transport::Transports;

use reqwest::Url;

/// A URL for messages: without query (which may be a signature) and without user info.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for URLs that can have no user info.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
