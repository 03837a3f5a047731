//! Who sent a request, and what it was sent to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::request::Parts;

/// The address at the other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The client proved to have a certificate that is asked for, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCertificate;

/// Who is at the other end, where that is known.
pub(in crate::http) fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0)
}

/// The address of who is at the other end; a stand-in where there is no connection.
pub(in crate::http) fn address(request: &Parts) -> IpAddr {
    peer(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Scheme and host as the client sees them: what the first proxy on the way says of it (RFC 7239,
/// or the headers before that), else how this server was asked.
pub(in crate::http) fn origin(request: &Parts, scheme: &str) -> String {
    let text = |name: &str| request.headers.get(name)?.to_str().ok();
    let first = |name: &str| {
        let first = text(name)?.split(',').next()?.trim();
        (!first.is_empty()).then_some(first)
    };
    let said = text(FORWARDED.as_str()).map(forwarded).unwrap_or_default();
    let proto = said.proto.as_deref().or_else(|| first("x-forwarded-proto"));
    let scheme = match proto {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => scheme,
    };
    let other = said.host.as_deref().or_else(|| first("x-forwarded-host"));
    let fits = |host: &&str| host.parse::<http::uri::Authority>().is_ok();
    let host = other.filter(fits).or_else(|| host(request));
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// What the first element of a `Forwarded` header says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    proto: Option<String>,
    host: Option<String>,
}

/// Reads the first element: `name=value` pairs between semicolons, up to a comma; values may be
/// quoted, and hold both then (RFC 7239, section 4).
fn forwarded(header: &str) -> Said {
    let mut said = Said::default();
    let mut rest = header;
    loop {
        let Some((name, after)) = rest.split_once('=') else {
            return said;
        };
        let (value, after) = match after.strip_prefix('"') {
            None => {
                let end = after.find([';', ',']).unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
            Some(quoted) => unquoted(quoted),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "proto" => said.proto = Some(value),
            "host" => said.host = Some(value),
            _ => {}
        }
        match after.trim_start().strip_prefix(';') {
            Some(next) => rest = next,
            None => return said,
        }
    }
}

/// A quoted text from behind its first quote, and what comes after it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
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
