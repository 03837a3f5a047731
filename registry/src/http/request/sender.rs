//! Who sent a request, and what it was sent to.

use std::net::SocketAddr;

use http::header::HOST;
use http::request::Parts;

/// The address at the other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Who is at the other end, where that is known.
pub(in crate::http) fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0)
}

/// The host that was asked.
pub(in crate::http) fn host(request: &Parts) -> Option<&str> {
    let header = request.headers.get(HOST);
    header
        .and_then(|v| v.to_str().ok())
        .or_else(|| request.uri.authority().map(|a| a.as_str()))
}
