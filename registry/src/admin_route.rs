//! `(method, path) → AdminRoute`, a pure function: what a request to `/api/v1` is about.
//!
//! A repository's name is followed by `/-/` and what is asked of it: no part of a name is a dash.
//! Its slashes may stand as they are or percent-encoded.

use http::Method;

use crate::name::{ManifestRef, RepositoryName};
use crate::route::{RouteError, decode, reference, repository};

/// Where all of it is.
const BASE: &str = "/api/v1/";

/// What a request to the API for people and their tools wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRoute {
    /// The API's own description.
    OpenApi,
    /// Repositories in pages.
    Repositories,
    /// Repositories by words.
    Search,
    /// How much is used of what.
    Usage,
    /// Garbage collected.
    Collect,
    /// How replication is doing.
    Replication,
    /// A rule of it told to hurry.
    Replicate(String),
    /// What happened lately.
    Activity,
    /// How each upstream is doing.
    Mirrors,
    /// Whether anything may change.
    State,
    /// The caller's personal tokens.
    Tokens,
    /// A personal token made.
    MakeToken,
    /// A personal token revoked, by its ID.
    RevokeToken(String),
    /// One repository as lists show it.
    Repository(RepositoryName),
    /// A whole repository deleted.
    DeleteRepository(RepositoryName),
    /// Tags in pages.
    Tags(RepositoryName),
    /// Where tags pointed before.
    History(RepositoryName),
    /// Tags put back.
    Restore(RepositoryName),
    /// One image with all that is known of it.
    Image(RepositoryName, ManifestRef),
    /// A tag or manifest deleted.
    DeleteManifest(RepositoryName, ManifestRef),
}

impl AdminRoute {
    /// The route of a request whose path begins with `/api/v1/`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn parse(method: &Method, path: &str) -> Result<Self, RouteError> {
        let path = path.strip_prefix(BASE).ok_or(RouteError::NotFound)?;
        let read = matches!(*method, Method::GET | Method::HEAD);
        let post = *method == Method::POST;
        let fixed = match path {
            "openapi.json" => Some(Self::OpenApi),
            "repositories" => Some(Self::Repositories),
            "search" => Some(Self::Search),
            "usage" => Some(Self::Usage),
            "replication" => Some(Self::Replication),
            "activity" => Some(Self::Activity),
            "mirrors" => Some(Self::Mirrors),
            "state" => Some(Self::State),
            _ => None,
        };
        match fixed {
            Some(route) if read => return Ok(route),
            Some(_) => return Err(RouteError::Method("GET, HEAD")),
            None => {}
        }
        if path == "gc" {
            return match post {
                true => Ok(Self::Collect),
                false => Err(RouteError::Method("POST")),
            };
        }
        if let Some(name) = path.strip_prefix("replication/") {
            let name = name.strip_suffix("/run").and_then(decode).map(Into::into);
            let name = name.filter(|name: &String| !name.is_empty() && !name.contains('/'));
            let name = name.ok_or(RouteError::NotFound)?;
            return match post {
                true => Ok(Self::Replicate(name)),
                false => Err(RouteError::Method("POST")),
            };
        }
        if path == "tokens" {
            return match post {
                _ if read => Ok(Self::Tokens),
                true => Ok(Self::MakeToken),
                false => Err(RouteError::Method("GET, HEAD, POST")),
            };
        }
        if let Some(id) = path.strip_prefix("tokens/") {
            let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            return match *method {
                _ if !fits => Err(RouteError::NotFound),
                Method::DELETE => Ok(Self::RevokeToken(id.to_owned())),
                _ => Err(RouteError::Method("DELETE")),
            };
        }
        let path = path
            .strip_prefix("repositories/")
            .ok_or(RouteError::NotFound)?;
        let Some((name, what)) = path.split_once("/-/") else {
            let name = repository(path)?;
            return match *method {
                _ if read => Ok(Self::Repository(name)),
                Method::DELETE => Ok(Self::DeleteRepository(name)),
                _ => Err(RouteError::Method("GET, HEAD, DELETE")),
            };
        };
        let name = repository(name)?;
        match what {
            "tags" if read => Ok(Self::Tags(name)),
            "history" if read => Ok(Self::History(name)),
            "tags" | "history" => Err(RouteError::Method("GET, HEAD")),
            "restore" if post => Ok(Self::Restore(name)),
            "restore" => Err(RouteError::Method("POST")),
            _ => {
                let text = what
                    .strip_prefix("manifests/")
                    .ok_or(RouteError::NotFound)?;
                let text = decode(text).ok_or(RouteError::NotFound)?;
                let reference = reference(&text)?;
                match *method {
                    _ if read => Ok(Self::Image(name, reference)),
                    Method::DELETE => Ok(Self::DeleteManifest(name, reference)),
                    _ => Err(RouteError::Method("GET, HEAD, DELETE")),
                }
            }
        }
    }

    /// Whether it takes something away.
    pub fn deletes(&self) -> bool {
        matches!(self, Self::DeleteRepository(_) | Self::DeleteManifest(..))
    }

    /// Whether it changes what is there.
    pub fn changes(&self) -> bool {
        self.deletes() || matches!(self, Self::Restore(_) | Self::Collect)
    }

    /// The route's name, as logs and metrics show it; one of [`LABELS`](crate::route::LABELS).
    pub fn label(&self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Collect
            | Self::Replicate(_)
            | Self::DeleteRepository(_)
            | Self::Restore(_)
            | Self::MakeToken
            | Self::RevokeToken(_)
            | Self::DeleteManifest(..) => "api_change",
            _ => "api_read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_table() {
        for (method, path, expected) in [
            ("GET", "openapi.json", "OpenApi"),
            ("HEAD", "repositories", "Repositories"),
            ("POST", "repositories", r#"Method("GET, HEAD")"#),
            ("GET", "search", "Search"),
            ("GET", "usage", "Usage"),
            ("GET", "activity", "Activity"),
            ("DELETE", "activity", r#"Method("GET, HEAD")"#),
            ("GET", "mirrors", "Mirrors"),
            ("GET", "state", "State"),
            ("GET", "tokens", "Tokens"),
            ("POST", "tokens", "MakeToken"),
            ("DELETE", "tokens", r#"Method("GET, HEAD, POST")"#),
            ("DELETE", "tokens/0a1b", r#"RevokeToken("0a1b")"#),
            ("GET", "tokens/0a1b", r#"Method("DELETE")"#),
            ("DELETE", "tokens/..", "NotFound"),
            ("DELETE", "tokens/", "NotFound"),
            ("POST", "gc", "Collect"),
            ("GET", "gc", r#"Method("POST")"#),
            ("GET", "replication", "Replication"),
            ("POST", "replication", r#"Method("GET, HEAD")"#),
            ("POST", "replication/a.b/run", r#"Replicate("a.b")"#),
            ("GET", "replication/a/run", r#"Method("POST")"#),
            ("POST", "replication/a", "NotFound"),
            ("POST", "replication//run", "NotFound"),
            ("POST", "replication/a/b/run", "NotFound"),
            ("GET", "repositories/app", r#"Repository("app")"#),
            ("GET", "repositories/a/b", r#"Repository("a/b")"#),
            ("GET", "repositories/a%2Fb", r#"Repository("a/b")"#),
            ("DELETE", "repositories/a/b", r#"DeleteRepository("a/b")"#),
            ("PUT", "repositories/a", r#"Method("GET, HEAD, DELETE")"#),
            ("GET", "repositories/a/b/-/tags", r#"Tags("a/b")"#),
            ("GET", "repositories/a/tags", r#"Repository("a/tags")"#),
            ("DELETE", "repositories/a/-/tags", r#"Method("GET, HEAD")"#),
            ("GET", "repositories/a/-/history", r#"History("a")"#),
            ("POST", "repositories/a/-/restore", r#"Restore("a")"#),
            ("GET", "repositories/a/-/restore", r#"Method("POST")"#),
            (
                "GET",
                "repositories/a/-/manifests/v1",
                r#"Image("a", Tag("v1"))"#,
            ),
            (
                "DELETE",
                "repositories/a%2fb/-/manifests/$D",
                r#"DeleteManifest("a/b", Digest($D))"#,
            ),
            (
                "GET",
                "repositories/a/-/manifests/sha256:x",
                r#"Digest("sha256:x")"#,
            ),
            ("GET", "repositories/a/-/manifests/", r#"Reference("")"#),
            ("GET", "repositories/a/-/other", "NotFound"),
            ("GET", "repositories/", r#"Name("")"#),
            ("GET", "repositories/A", r#"Name("A")"#),
            ("GET", "repositories/..%2f..%2fetc", r#"Name("../../etc")"#),
            ("GET", "repositories/%zz", r#"Name("%zz")"#),
            ("GET", "", "NotFound"),
            ("GET", "other", "NotFound"),
        ] {
            let path = format!("{BASE}{path}").replace("$D", D);
            let found = match AdminRoute::parse(&method.parse().unwrap(), &path) {
                Ok(route) => format!("{route:?}"),
                Err(e) => format!("{e:?}"),
            };
            assert_eq!(found.replace(D, "$D"), expected, "{method} {path}");
        }
    }
}
