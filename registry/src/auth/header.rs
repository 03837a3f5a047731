//! `Authorization` headers, and texts within the quotes of a challenge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Text within the quotes of a header.
pub(super) fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\')
        .collect()
}

/// The token of a Bearer header.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The user and password of a Basic header.
pub(super) fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether this is the Basic header of who has nothing to send: podman and skopeo answer a
/// challenge with an empty user and an empty password then.
pub(super) fn is_empty(header: &str) -> bool {
    basic(header).is_some_and(|(user, password)| user.is_empty() && password.is_empty())
}

/// The user that a Basic header names, true or not.
pub(crate) fn claimed(header: &str) -> Option<String> {
    Some(basic(header)?.0).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let pair = |u: &str, p: &str| Some((u.to_owned(), p.to_owned()));
        assert_eq!(basic("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(basic("basic YTo="), pair("a", ""));
        for bad in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic YQ=="] {
            assert_eq!(basic(bad), None, "{bad}");
        }
        assert_eq!(bearer("bearer x.y.z"), Some("x.y.z"));
        assert_eq!(bearer("Basic YTo="), None);
        assert!(is_empty("Basic Og=="));
        for some in ["", "Basic", "Basic YTo=", "Basic OmE=", "Bearer Og=="] {
            assert!(!is_empty(some), "{some}");
        }
        assert_eq!(claimed("Basic YTpi").as_deref(), Some("a"));
        assert_eq!(claimed("Basic Og=="), None);
    }
}
