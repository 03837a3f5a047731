//! Proxies in front of this registry, and what they say of the client behind them. Pure.
//!
//! Whoever connects can write any header. So headers count only when a proxy that the settings
//! name is at the other end, and then from the right: each proxy adds whom it was asked by behind
//! what it was sent. The rightmost address that is no proxy's is the client's; whatever stands
//! left of it the client may have made up.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;
use ipnet::IpNet;

/// Hops that are looked at, and bytes of a header; what stands further left is left alone.
const MAX_HOPS: usize = 64;
const MAX_LINE: usize = 8 << 10;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// An address.
    Address(IpAddr),
    /// A program of this machine, over a unix socket.
    Socket,
}

/// Which headers proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `X-Forwarded-…` where there is an `X-Forwarded-For`, else `Forwarded`.
    #[default]
    Either,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl FromStr for Dialect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Either),
            "x-forwarded" => Ok(Self::XForwarded),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err("auto, x-forwarded or forwarded"),
        }
    }
}

/// The proxies whose headers count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    socket: bool,
    dialect: Dialect,
}

/// What trusted proxies say of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// Where the client is; the port is 0 when nobody says it.
    pub client: Option<SocketAddr>,
    /// The scheme that it used.
    pub proto: Option<String>,
    /// The host that it asked.
    pub host: Option<String>,
}

/// One element of a `Forwarded` header, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Who asked.
    pub by: Option<String>,
    /// Over what.
    pub proto: Option<String>,
    /// For whom.
    pub host: Option<String>,
}

impl TrustedProxies {
    /// From texts: addresses, networks such as `10.0.0.0/8`, and `unix` for unix sockets.
    ///
    /// # Errors
    /// The text that is none of these.
    pub fn new(texts: &[String], dialect: Dialect) -> Result<Self, String> {
        let mut proxies = Self {
            dialect,
            ..Self::default()
        };
        for text in texts {
            if text == "unix" {
                proxies.socket = true;
                continue;
            }
            let address = text
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .map(IpNet::from);
            let network = address
                .or_else(|_| text.parse())
                .map_err(|_| text.clone())?;
            proxies.networks.push(network.trunc());
        }
        Ok(proxies)
    }

    /// Whether somebody is one of them.
    pub fn include(&self, hop: Hop) -> bool {
        match hop {
            Hop::Socket => self.socket,
            Hop::Address(address) => {
                let address = address.to_canonical();
                self.networks.iter().any(|net| net.contains(&address))
            }
        }
    }

    /// What they say of a request that came from `peer`; nothing, when that is none of them.
    pub fn via(&self, peer: Hop, headers: &HeaderMap) -> Option<Via> {
        if !self.include(peer) {
            return None;
        }
        let x_forwarded = match self.dialect {
            Dialect::XForwarded => true,
            Dialect::Forwarded => false,
            Dialect::Either => {
                headers.contains_key("x-forwarded-for") || !headers.contains_key("forwarded")
            }
        };
        let hops = match x_forwarded {
            true => x_forwarded_hops(headers),
            false => forwarded_hops(headers),
        };
        let (client, at) = self.client(&hops);
        let said = at.and_then(|at| hops.get(at));
        let first = |name: &str| list(headers, name).into_iter().next();
        Some(match x_forwarded {
            false => Via {
                client,
                proto: said.and_then(|hop| hop.proto.clone()),
                host: said.and_then(|hop| hop.host.clone()),
            },
            // Most proxies send one scheme and one host, however many hops there were.
            true => Via {
                client,
                proto: said
                    .and_then(|hop| hop.proto.clone())
                    .or_else(|| first("x-forwarded-proto")),
                host: said
                    .and_then(|hop| hop.host.clone())
                    .or_else(|| first("x-forwarded-host")),
            },
        })
    }

    /// The client's address, and which hop tells of it. Where a proxy does not know whom it was
    /// asked by, or hides it, that proxy is all that is known.
    fn client(&self, hops: &[Element]) -> (Option<SocketAddr>, Option<usize>) {
        let mut known = (None, None);
        for (at, hop) in hops.iter().enumerate().rev() {
            let Some(address) = hop.by.as_deref().and_then(address) else {
                // What it says of the scheme is still the best there is.
                return (known.0, Some(at));
            };
            known = (Some(address), Some(at));
            if !self.include(Hop::Address(address.ip())) {
                break;
            }
        }
        known
    }
}

/// An address with or without a port, in brackets or without.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => text,
    };
    let address: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(address.to_canonical(), 0))
}

/// The parts of a list that may stand on several lines.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let parts = lines.flat_map(|line| line.split(','));
    let parts = parts.map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

fn x_forwarded_hops(headers: &HeaderMap) -> Vec<Element> {
    let addresses = list(headers, "x-forwarded-for");
    let beside = |name: &str| {
        let values = list(headers, name);
        // Only a list that says something of every hop says which is whose.
        (values.len() == addresses.len()).then_some(values)
    };
    let (protos, hosts) = (beside("x-forwarded-proto"), beside("x-forwarded-host"));
    let at =
        |values: &Option<Vec<String>>, at: usize| values.as_ref().and_then(|v| v.get(at).cloned());
    let start = addresses.len().saturating_sub(MAX_HOPS);
    let hops = addresses.iter().enumerate().skip(start);
    hops.map(|(i, by)| Element {
        by: Some(by.clone()),
        proto: at(&protos, i),
        host: at(&hosts, i),
    })
    .collect()
}

fn forwarded_hops(headers: &HeaderMap) -> Vec<Element> {
    let lines = headers.get_all("forwarded").iter();
    let mut hops: Vec<Element> = lines
        .flat_map(|v| trailing(v.to_str().unwrap_or_default()))
        .collect();
    let start = hops.len().saturating_sub(MAX_HOPS);
    hops.split_off(start)
}

/// The elements at the end of a line that are well formed: a quote that a client left open is not
/// to hide what proxies wrote behind it.
fn trailing(line: &str) -> Vec<Element> {
    if line.len() <= MAX_LINE
        && let Some(all) = elements(line)
    {
        return all;
    }
    let commas: Vec<usize> = line.match_indices(',').map(|(at, _)| at + 1).collect();
    let start = commas.len().saturating_sub(MAX_HOPS);
    let ends = commas[start..].iter().filter_map(|at| line.get(*at..));
    ends.filter(|end| end.len() <= MAX_LINE)
        .find_map(elements)
        .unwrap_or_default()
}

/// The first element of a `Forwarded` header, if it begins with one.
pub fn first_element(line: &str) -> Option<Element> {
    Some(element(line)?.0)
}

/// Reads a `Forwarded` header: elements between commas, `name=value` pairs between semicolons in
/// each; values may be quoted, and hold both then (RFC 7239, section 4).
fn elements(line: &str) -> Option<Vec<Element>> {
    let mut all = Vec::new();
    let mut rest = line;
    loop {
        let (element, after) = element(rest)?;
        all.push(element);
        match after {
            None => return Some(all),
            Some(after) => rest = after,
        }
    }
}

/// The first element, and what comes behind its comma.
fn element(text: &str) -> Option<(Element, Option<&str>)> {
    let mut element = Element::default();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        if name.contains([',', ';', '"']) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            None => {
                let end = after.find([';', ',']).unwrap_or(after.len());
                let value = after[..end].trim();
                if value.contains('"') {
                    return None;
                }
                (value.to_owned(), &after[end..])
            }
            Some(quoted) => unquoted(quoted)?,
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => element.by = Some(value),
            "proto" => element.proto = Some(value),
            "host" => element.host = Some(value),
            _ => {}
        }
        let after = after.trim_start();
        if after.is_empty() {
            return Some((element, None));
        }
        match (after.strip_prefix(';'), after.strip_prefix(',')) {
            (Some(next), _) if next.trim().is_empty() => return Some((element, None)),
            (Some(next), _) => rest = next,
            (None, Some(next)) => return Some((element, Some(next))),
            (None, None) => return None,
        }
    }
}

/// A quoted text from behind its first quote, and what comes after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn trusting(texts: &[&str]) -> TrustedProxies {
        let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
        TrustedProxies::new(&texts, Dialect::Either).unwrap()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn from(peer: &str) -> Hop {
        Hop::Address(peer.parse().unwrap())
    }

    /// Client, scheme and host, as `-` where nothing is known.
    fn seen(proxies: &TrustedProxies, peer: Hop, lines: &[(&'static str, &str)]) -> String {
        let Some(via) = proxies.via(peer, &headers(lines)) else {
            return "untrusted".to_owned();
        };
        let client = via.client.map_or("-".to_owned(), |c| match c.port() {
            0 => c.ip().to_string(),
            _ => c.to_string(),
        });
        let text = |t: Option<String>| t.unwrap_or("-".to_owned());
        format!("{client} {} {}", text(via.proto), text(via.host))
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        let proxies = trusting(&["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1", "[::1]"]);
        let x = "x-forwarded-for";
        for (peer, lines, expected) in [
            ("10.1.2.3", &[(x, "203.0.113.5")][..], "203.0.113.5 - -"),
            // What the client made up stands left of its address.
            (
                "10.1.2.3",
                &[(x, "1.1.1.1, 203.0.113.5")],
                "203.0.113.5 - -",
            ),
            (
                "10.1.2.3",
                &[(x, "1.1.1.1,203.0.113.5 , 10.9.9.9")],
                "203.0.113.5 - -",
            ),
            // Also on another line.
            (
                "10.1.2.3",
                &[(x, "1.1.1.1"), (x, "203.0.113.5")],
                "203.0.113.5 - -",
            ),
            // All are proxies: the first of them asked.
            ("10.1.2.3", &[(x, "10.0.0.7, 10.0.0.8")], "10.0.0.7 - -"),
            (
                "192.0.2.1",
                &[(x, "203.0.113.5:4711")],
                "203.0.113.5:4711 - -",
            ),
            (
                "2001:db8:1::5",
                &[(x, "2001:db8:2::9")],
                "2001:db8:2::9 - -",
            ),
            (
                "::1",
                &[(x, "[2001:db8:2::9]:99")],
                "[2001:db8:2::9]:99 - -",
            ),
            (
                "::ffff:10.1.2.3",
                &[(x, "::ffff:203.0.113.5")],
                "203.0.113.5 - -",
            ),
            // Nobody else is believed.
            ("192.0.2.2", &[(x, "203.0.113.5")], "untrusted"),
            ("2001:db8:2::5", &[(x, "203.0.113.5")], "untrusted"),
            // A proxy that does not know, or hides it.
            ("10.1.2.3", &[(x, "unknown")], "- - -"),
            (
                "10.1.2.3",
                &[(x, "1.1.1.1, junk, 10.0.0.9")],
                "10.0.0.9 - -",
            ),
            ("10.1.2.3", &[], "- - -"),
        ] {
            assert_eq!(
                seen(&proxies, from(peer), lines),
                expected,
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn schemes_and_hosts_are_of_the_hop_that_the_client_asked() {
        let proxies = trusting(&["10.0.0.0/8"]);
        let (x, proto, host) = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host");
        for (lines, expected) in [
            (
                &[(x, "9.9.9.9"), (proto, "https"), (host, "r.example")][..],
                "9.9.9.9 https r.example",
            ),
            // One for all hops.
            (
                &[(x, "9.9.9.9, 10.0.0.2"), (proto, "https")],
                "9.9.9.9 https -",
            ),
            // One for each: the client asked the second.
            (
                &[
                    (x, "1.1.1.1, 9.9.9.9, 10.0.0.2"),
                    (proto, "http, https, http"),
                ],
                "9.9.9.9 https -",
            ),
            (&[(proto, "HTTPS , http")], "- HTTPS -"),
        ] {
            assert_eq!(
                seen(&proxies, from("10.0.0.1"), lines),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        let proxies = trusting(&["10.0.0.0/8", "2001:db8:1::/48"]);
        for (line, expected) in [
            (
                "for=9.9.9.9;proto=https;host=r.example",
                "9.9.9.9 https r.example",
            ),
            (
                "For=\"[2001:db8:cafe::17]:4711\";Proto=HTTPS",
                "[2001:db8:cafe::17]:4711 HTTPS -",
            ),
            (
                "for=1.1.1.1;proto=http, for=9.9.9.9;proto=https;by=10.0.0.3",
                "9.9.9.9 https -",
            ),
            (
                "for=1.1.1.1, for=9.9.9.9;proto=https, for=10.0.0.4;proto=http",
                "9.9.9.9 https -",
            ),
            // Obfuscated, or not known.
            ("for=_hidden;proto=https", "- https -"),
            ("for=unknown, for=\"[2001:db8:1::2]\"", "2001:db8:1::2 - -"),
            // A client's open quote hides nothing that a proxy wrote behind it.
            ("for=\"1.1.1.1, for=9.9.9.9;proto=https", "9.9.9.9 https -"),
            (
                "x=\"\\, for=\"[2001:db8::9]\";proto=https",
                "2001:db8::9 https -",
            ),
            ("for=\"a, for=\"[2001:db8::9]\"", "2001:db8::9 - -"),
            ("junk, for=9.9.9.9", "9.9.9.9 - -"),
            ("junk", "- - -"),
        ] {
            let lines = [("forwarded", line)];
            assert_eq!(seen(&proxies, from("10.0.0.1"), &lines), expected, "{line}");
        }
        let two = [("forwarded", "for=\"1.1.1.1"), ("forwarded", "for=9.9.9.9")];
        assert_eq!(seen(&proxies, from("10.0.0.1"), &two), "9.9.9.9 - -");
    }

    #[test]
    fn one_dialect_is_read_and_sockets_are_named() {
        let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2")];
        for (dialect, expected) in [
            (Dialect::Either, "1.1.1.1 - -"),
            (Dialect::XForwarded, "1.1.1.1 - -"),
            (Dialect::Forwarded, "2.2.2.2 - -"),
        ] {
            let proxies = TrustedProxies::new(&["unix".to_owned()], dialect).unwrap();
            assert_eq!(seen(&proxies, Hop::Socket, &both), expected);
            assert_eq!(seen(&proxies, from("127.0.0.1"), &both), "untrusted");
        }
        for bad in ["10.0.0.0/33", "proxy.example", "", "10.0.0", "::/129"] {
            let texts = [bad.to_owned()];
            assert_eq!(
                TrustedProxies::new(&texts, Dialect::Either),
                Err(bad.to_owned())
            );
        }
    }

    #[test]
    fn long_lists_cost_little_and_end_at_the_right_address() {
        let proxies = trusting(&["10.0.0.0/8"]);
        let many = "\"x, ".repeat(20_000) + "for=9.9.9.9";
        let lines = [("forwarded", many.as_str())];
        assert_eq!(seen(&proxies, from("10.0.0.1"), &lines), "9.9.9.9 - -");
        let many = "1.1.1.1, ".repeat(20_000) + "9.9.9.9";
        let lines = [("x-forwarded-for", many.as_str())];
        assert_eq!(seen(&proxies, from("10.0.0.1"), &lines), "9.9.9.9 - -");
    }
}
