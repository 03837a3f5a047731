//! The path of a page, and the page of a path. Pure.
//!
//! A name has any number of segments, so that the page comes first and the name is all the rest,
//! with `:TAG` or `@DIGEST` behind it as in a reference.

use std::fmt::Display;

use oci::Digest;

use crate::http::request::encode;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::route::decode;

/// Where pages are.
pub(super) const ROOT: &str = "/ui/";

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// All repositories.
    Repositories,
    /// Log in.
    Login,
    /// Log out.
    Logout,
    /// Leave for a provider to log in there, by its name.
    Leave(String),
    /// Come back from there.
    Arrive,
    /// The personal tokens of who is logged in.
    Tokens,
    /// How much is stored.
    Storage,
    /// How replication is doing.
    Replication,
    /// What happened lately.
    Activity,
    /// How each upstream is doing.
    Mirrors,
    /// A repository's tags.
    Tags(RepositoryName),
    /// What rules do to a repository.
    Rules(RepositoryName),
    /// Two images of a repository beside each other.
    Compare(RepositoryName),
    /// An image.
    Image(RepositoryName, ManifestRef),
    /// Its files.
    Files(RepositoryName, ManifestRef),
    /// One of them.
    File(RepositoryName, ManifestRef),
    /// A referrer, readable.
    Document(RepositoryName, ManifestRef),
    /// A tag, a manifest or a whole repository to be deleted.
    Remove(RepositoryName, Option<ManifestRef>),
    /// Where a tag pointed.
    Past(RepositoryName, Tag),
}

impl Page {
    /// Reads a path, percent-encoded as it came; `None` when it names no page.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        match rest {
            "" => return Some(Self::Repositories),
            "login" => return Some(Self::Login),
            "logout" => return Some(Self::Logout),
            "callback" => return Some(Self::Arrive),
            "tokens" => return Some(Self::Tokens),
            "activity" => return Some(Self::Activity),
            "mirrors" => return Some(Self::Mirrors),
            "storage" => return Some(Self::Storage),
            "replication" => return Some(Self::Replication),
            _ => {}
        }
        let (page, rest) = rest.split_once('/')?;
        let rest = decode(rest)?;
        if page == "login" {
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            let name = rest.bytes().all(fine).then(|| rest.into_owned());
            return name.map(Self::Leave);
        }
        let (name, reference) = reference(&rest)?;
        match (page, reference) {
            ("tags", None) => Some(Self::Tags(name)),
            ("rules", None) => Some(Self::Rules(name)),
            ("compare", None) => Some(Self::Compare(name)),
            ("image", Some(reference)) => Some(Self::Image(name, reference)),
            ("files", Some(reference)) => Some(Self::Files(name, reference)),
            ("file", Some(reference)) => Some(Self::File(name, reference)),
            ("document", Some(reference)) => Some(Self::Document(name, reference)),
            ("remove", reference) => Some(Self::Remove(name, reference)),
            ("past", Some(ManifestRef::Tag(tag))) => Some(Self::Past(name, tag)),
            _ => None,
        }
    }

    /// The repository that it is about.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Repositories
            | Self::Login
            | Self::Logout
            | Self::Leave(_)
            | Self::Arrive
            | Self::Tokens
            | Self::Activity
            | Self::Mirrors
            | Self::Replication
            | Self::Storage => None,
            Self::Tags(name)
            | Self::Rules(name)
            | Self::Compare(name)
            | Self::Image(name, _)
            | Self::Files(name, _)
            | Self::File(name, _)
            | Self::Document(name, _)
            | Self::Remove(name, _)
            | Self::Past(name, _) => Some(name),
        }
    }
}

/// A name with what stands behind it.
fn reference(text: &str) -> Option<(RepositoryName, Option<ManifestRef>)> {
    if let Some((name, digest)) = text.split_once('@') {
        let digest: Digest = digest.parse().ok()?;
        return Some((name.parse().ok()?, Some(ManifestRef::Digest(digest))));
    }
    match text.split_once(':') {
        Some((name, tag)) => Some((
            name.parse().ok()?,
            Some(ManifestRef::Tag(tag.parse().ok()?)),
        )),
        None => Some((text.parse().ok()?, None)),
    }
}

/// A name with a reference, as one types it.
pub(super) fn named(name: impl Display, reference: &str) -> String {
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("{name}{separator}{reference}")
}

/// The path of a page about a repository.
pub(super) fn of(page: &str, name: impl Display) -> String {
    format!("{ROOT}{page}/{name}")
}

/// The path of a page about a tag or a digest.
pub(super) fn at(page: &str, name: impl Display, reference: &str) -> String {
    format!("{ROOT}{page}/{}", named(name, reference))
}

/// A path with parameters; those without a value are left out.
pub(super) fn with(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(separator);
        out.push_str(&format!("{name}={}", encode(value)));
        separator = '&';
    }
    out
}

/// A path of ours to go on to, as a form has it; no other host and no other path is ever one.
pub(super) fn onward(text: &str) -> &str {
    let ours = text.starts_with(ROOT)
        && !text.starts_with("/ui//")
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if ours { text } else { ROOT }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn paths_name_pages() {
        let show = |path: &str| {
            let page = Page::parse(&path.replace("$D", D));
            page.map_or("-".to_owned(), |page| format!("{page:?}").replace(D, "$D"))
        };
        for (path, page) in [
            ("/ui/", "Repositories"),
            ("/ui/login", "Login"),
            ("/ui/storage", "Storage"),
            ("/ui/replication", "Replication"),
            ("/ui/login/a.b-c_d", r#"Leave("a.b-c_d")"#),
            ("/ui/login/a/b", "-"),
            ("/ui/login/%2F", "-"),
            ("/ui/callback", "Arrive"),
            ("/ui/tokens", "Tokens"),
            ("/ui/tags/team/app", r#"Tags("team/app")"#),
            ("/ui/tags/tags/tags", r#"Tags("tags/tags")"#),
            ("/ui/image/a/b:v1", r#"Image("a/b", Tag("v1"))"#),
            ("/ui/image/a/b@$D", r#"Image("a/b", Digest($D))"#),
            ("/ui/image/a%2Fb%3Av1", r#"Image("a/b", Tag("v1"))"#),
            ("/ui/remove/a", r#"Remove("a", None)"#),
            ("/ui/past/a:v1", r#"Past("a", "v1")"#),
            ("/ui/past/a@$D", "-"),
            ("/ui/image/a", "-"),
            ("/ui/image/a:", "-"),
            ("/ui/image/A:v1", "-"),
            ("/ui/tags/../etc", "-"),
            ("/ui/tags/", "-"),
            ("/ui/nowhere/a", "-"),
            ("/ui", "-"),
            ("/v2/", "-"),
        ] {
            assert_eq!(show(path), page, "{path}");
        }
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (text, to) in [
            ("/ui/tags/a?q=b", "/ui/tags/a?q=b"),
            ("", ROOT),
            ("//evil.example", ROOT),
            ("https://evil.example/ui/", ROOT),
            ("/ui//evil.example", ROOT),
            ("/ui/\\evil.example", ROOT),
            ("/ui/a\r\nSet-Cookie: x=y", ROOT),
            ("/v2/", ROOT),
            ("javascript:alert(1)", ROOT),
        ] {
            assert_eq!(onward(text), to, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let path = with("/ui/", &[("q", "a&b=<c>"), ("sort", ""), ("x", "ä")]);
        assert_eq!(path, "/ui/?q=a%26b%3D%3Cc%3E&x=%C3%A4");
    }
}
