//! Whether a base name could be an image at all.

use std::sync::LazyLock;

use regex::Regex;

/// Docker's reference grammar: `[domain/]path[:tag][@digest]`.
static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
    let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let domain = format!("(?:{label}(?:\\.{label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?");
    let tag = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    let name = format!("(?:{domain}/)?{component}(?:/{component})*");
    Regex::new(&format!("^{name}(?::{tag})?(?:@{digest})?$")).ok()
});

/// Whether `name` is a valid image reference, short forms included.
pub(super) fn is_valid(name: &str) -> bool {
    // A bare image ID is not a name.
    let is_id = name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // Making the expression costs more than all else that is looked at in a small Dockerfile.
    let is_valid = || {
        let mut reference = REFERENCE.as_ref().into_iter();
        reference.all(|reference| reference.is_match(name))
    };
    !is_id && (is_plain(name) || is_valid()) && has_lower_case_path(name) && fits(name)
}

/// Whether a name is one of those that the grammar takes at first sight, as most are: parts of
/// small letters and digits, with single dots, dashes or underscores within, and a tag.
fn is_plain(name: &str) -> bool {
    let (path, tag) = match name.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (name, None),
    };
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        // What separates stands between two that it separates.
        part.split(['.', '-', '_'])
            .all(|word| !word.is_empty() && word.bytes().all(alphanumeric))
    };
    let begins = |tag: &str| !tag.starts_with(['.', '-']);
    let in_tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    path.split('/').all(part)
        && tag.is_none_or(|tag| {
            (1..=128).contains(&tag.len()) && begins(tag) && tag.bytes().all(in_tag)
        })
}

/// Docker takes 255 characters of a name, and digests of the length that their algorithm has.
fn fits(name: &str) -> bool {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    let path = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => name,
    };
    // Counted with what a short name leaves out.
    let domain = path.split_once('/').map_or("", |(first, _)| first);
    let whole = match (
        path.contains('/'),
        domain.contains(['.', ':']) || domain == "localhost",
    ) {
        (false, _) => path.len() + "library/".len(),
        (true, true) => path.len() - domain.len() - 1,
        (true, false) => path.len(),
    };
    let hex = digest.and_then(|digest| digest.split_once(':'));
    let digest_fits = hex.is_none_or(|(algorithm, hex)| match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => false,
    });
    whole <= 255 && digest_fits
}

/// The grammar alone would take the `Foo` of `Foo/bar` for a domain; Docker wants a dot, a port or
/// `localhost` in one, or capitals.
fn has_lower_case_path(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((first, rest)) => {
            let domain = first.contains(['.', ':']) || first == "localhost" || !is_lower(first);
            if domain { rest } else { name }
        }
        None => name,
    };
    is_lower(path.split([':', '@']).next().unwrap_or_default())
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is taken at first sight is what the grammar takes.
        #[test]
        fn plain_names_are_names(name in "[a-zA-Z0-9./:_-]{0,12}", tag in "(:[a-zA-Z0-9._-]{0,130})?") {
            let name = name + &tag;
            let grammar = REFERENCE.as_ref().unwrap();
            prop_assert!(!is_plain(&name) || grammar.is_match(&name), "{name}");
        }
    }

    #[test]
    fn usual_names_are_plain() {
        for name in [
            "scratch",
            "busybox:latest",
            "library/a-b_c.d:1.2-Alpine",
            "ghcr.io/a/b",
        ] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "a--b", "A", "a:", "a:-b", "a@b", "/a", "a/", "a:b:c"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn tells_names_from_others() {
        for name in [
            "scratch",
            "alpine:3.20",
            "a/b/c__d:T_1",
            "localhost:5000/x",
            "[::1]:5000/x",
            "Registry/x",
            &format!("x@sha256:{}", "a".repeat(64)),
        ] {
            assert!(is_valid(name), "{name}");
        }
        for name in [
            "",
            "busybox:",
            ":tag",
            "Alpine",
            "a//b",
            "-a",
            "a b",
            "x@sha256:1",
            &format!("x@sha256:{}", "a".repeat(63)),
            &format!("a/{}", "b".repeat(255)),
            &"a".repeat(64),
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
