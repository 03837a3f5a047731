//! Who sent a request, and what it was sent to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::request::Parts;

use crate::proxies::{Hop, TrustedProxies, first_element};

/// The address at the other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The client proved to have a certificate that is asked for, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCertificate;

/// The other end is a program of this machine, over a unix socket: an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketPeer;

/// What trusted proxies say of the client, as an extension of the request; there is one wherever
/// the settings name proxies, an empty one where none of them asks.
#[derive(Clone, Debug, Default)]
struct Seen {
    proto: Option<String>,
    host: Option<String>,
}

/// Sees through the proxies that are trusted: from here on a request is the client's own.
pub(in crate::http) fn see_through(proxies: &TrustedProxies, request: &mut Parts) {
    let hop = match (peer(request), request.extensions.get::<SocketPeer>()) {
        (Some(peer), _) => Hop::Address(peer.ip()),
        (None, Some(SocketPeer)) => Hop::Socket,
        (None, None) => return,
    };
    let via = proxies.via(hop, &request.headers).unwrap_or_default();
    if let Some(client) = via.client {
        request.extensions.insert(Peer(client));
    }
    let (proto, host) = (via.proto, via.host);
    request.extensions.insert(Seen { proto, host });
}

/// A peer for logs; a port that is not known is left out.
pub(in crate::http) fn shown(peer: Option<SocketAddr>) -> String {
    match peer {
        None => "-".to_owned(),
        Some(peer) if peer.port() == 0 => peer.ip().to_string(),
        Some(peer) => peer.to_string(),
    }
}

/// Who is at the other end, where that is known.
pub(in crate::http) fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0)
}

/// The address of who is at the other end; a stand-in where there is no connection.
pub(in crate::http) fn address(request: &Parts) -> IpAddr {
    peer(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Scheme and host as the client sees them: what the proxies on the way say of it (RFC 7239, or
/// the headers before that), else how this server was asked. Where the settings name no proxies,
/// anybody is believed: it is the sender alone who is told.
pub(in crate::http) fn origin(request: &Parts, scheme: &str) -> String {
    let seen = request.extensions.get::<Seen>().cloned();
    let seen = seen.unwrap_or_else(|| anybody(request));
    let scheme = match &seen.proto {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => scheme,
    };
    let fits = |host: &&str| host.parse::<http::uri::Authority>().is_ok();
    let other = seen.host.as_deref().filter(fits);
    let host = other.or_else(|| host(request));
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// What the first proxy on the way says, whoever that is.
fn anybody(request: &Parts) -> Seen {
    let text = |name: &str| request.headers.get(name)?.to_str().ok();
    let first = |name: &str| {
        let first = text(name)?.split(',').next()?.trim();
        (!first.is_empty()).then(|| first.to_owned())
    };
    let said = text(FORWARDED.as_str()).and_then(first_element);
    let said = said.unwrap_or_default();
    Seen {
        proto: said.proto.or_else(|| first("x-forwarded-proto")),
        host: said.host.or_else(|| first("x-forwarded-host")),
    }
}

/// The host that was asked.
pub(in crate::http) fn host(request: &Parts) -> Option<&str> {
    let header = request.headers.get(HOST);
    header
        .and_then(|v| v.to_str().ok())
        .or_else(|| request.uri.authority().map(|a| a.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_say_how_the_client_asked() {
        for (headers, expected) in [
            (&[][..], "http://inner:5000"),
            (&[("x-forwarded-proto", "https")], "https://inner:5000"),
            (&[("x-forwarded-proto", "HTTPS")], "https://inner:5000"),
            (
                &[("x-forwarded-proto", "https, http")],
                "https://inner:5000",
            ),
            (
                &[("x-forwarded-proto", " https ,http")],
                "https://inner:5000",
            ),
            // The client spoke to the first of them.
            (&[("x-forwarded-proto", "http, https")], "http://inner:5000"),
            (&[("forwarded", "proto=https")], "https://inner:5000"),
            (
                &[(
                    "forwarded",
                    "for=192.0.2.60;Proto=\"https\";by=203.0.113.43",
                )],
                "https://inner:5000",
            ),
            (
                &[("forwarded", "for=\"[2001:db8::1];x=\\\"\", proto=https")],
                "http://inner:5000",
            ),
            (
                &[(
                    "forwarded",
                    "for=\"_a;b,c\"; host=r.example;proto=https, proto=http",
                )],
                "https://r.example",
            ),
            (
                &[
                    ("forwarded", "for=192.0.2.60"),
                    ("x-forwarded-proto", "https"),
                ],
                "https://inner:5000",
            ),
            (
                &[("x-forwarded-host", "r.example:8443, b")],
                "http://r.example:8443",
            ),
            (&[("x-forwarded-host", "a b\"")], "http://inner:5000"),
            (&[("forwarded", "proto")], "http://inner:5000"),
            (&[("forwarded", "proto=\"")], "http://inner:5000"),
        ] {
            let mut request = http::Request::get("/v2/").header("host", "inner:5000");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            assert_eq!(origin(&parts, "http"), expected, "{headers:?}");
        }
    }
}
