//! Conditional requests (RFC 9110, section 13): entity tags are digests in quotes.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use oci::Digest;

use crate::meta::{Listed, Precondition};

/// What a conditional read gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Read {
    /// The content.
    Full,
    /// That it has the content already.
    NotModified,
    /// That what it has is something else.
    Failed,
}

/// What a read of something that is there gets.
pub(in crate::http) fn read(headers: &HeaderMap, digest: &Digest) -> Read {
    let has = |list: Option<Listed>| list.map(|list| list.has(Some(digest)));
    if has(listed(headers, &IF_MATCH, false)) == Some(false) {
        Read::Failed
    } else if has(listed(headers, &IF_NONE_MATCH, true)) == Some(true) {
        Read::NotModified
    } else {
        Read::Full
    }
}

/// What a change requires.
pub(in crate::http) fn write(headers: &HeaderMap) -> Precondition {
    Precondition {
        only: listed(headers, &IF_MATCH, false),
        not: listed(headers, &IF_NONE_MATCH, true),
    }
}

/// A header's entity tags; weak ones only where a weak comparison is made.
fn listed(headers: &HeaderMap, name: &HeaderName, weak: bool) -> Option<Listed> {
    if !headers.contains_key(name) {
        return None;
    }
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().unwrap_or_default().trim();
        if value == "*" {
            return Some(Listed::Any);
        }
        // A digest without quotes is no tag, but Docker's registry takes it for one.
        if value.parse::<Digest>().is_ok() {
            list.push(value);
            continue;
        }
        list.extend(tags(value).filter(|tag| weak || !tag.0).map(|tag| tag.1));
    }
    Some(Listed::These(list.into_iter().map(str::to_owned).collect()))
}

/// Each tag of a list without its quotes, and whether it is weak. Ends at what is no tag.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        rest = after;
        Some((weak, tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read() {
        for (text, expected) in [
            (r#""a""#, &[(false, "a")][..]),
            (
                r#" "a" , W/"b,c",,"" "#,
                &[(false, "a"), (true, "b,c"), (false, "")],
            ),
            (r#""a", b, "c""#, &[(false, "a")]),
            (r#""a"#, &[]),
            ("", &[]),
        ] {
            assert_eq!(tags(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn if_match_comes_first_and_takes_no_weak_tag() {
        let digest = Digest::empty();
        let tag = format!("\"{digest}\"");
        let weak = format!("W/{tag}");
        let get = |only: &str, not: &str| {
            let mut headers = HeaderMap::new();
            for (name, text) in [(IF_MATCH, only), (IF_NONE_MATCH, not)] {
                if !text.is_empty() {
                    headers.insert(name, text.parse().unwrap());
                }
            }
            read(&headers, &digest)
        };
        for (only, not, expected) in [
            ("", "", Read::Full),
            (&*tag, "", Read::Full),
            ("*", "", Read::Full),
            (&*weak, "", Read::Failed),
            ("junk", "", Read::Failed),
            ("\"x\"", &*tag, Read::Failed),
            ("", &*tag, Read::NotModified),
            (&*tag, &*weak, Read::NotModified),
            ("", "\"x\"", Read::Full),
            ("", &*digest.to_string(), Read::NotModified),
            (&*digest.to_string(), "", Read::Full),
            ("", "sha256:x", Read::Full),
        ] {
            assert_eq!(get(only, not), expected, "{only} {not}");
        }
    }
}
