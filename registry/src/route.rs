//! `(method, path) → Route`, a pure function: what a request is about, before anything is done.
//!
//! Repository names have any number of segments and may themselves contain `blobs` or `tags`, so
//! a path is read from its end: the last segments say what the resource is, and all that comes
//! before them is the name.

use std::borrow::Cow;

use http::Method;
use oci::Digest;

use crate::name::{ManifestRef, RepositoryName, Tag, UploadId};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, ManifestRef),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

/// What a request wants. GET and HEAD are one: their answers differ only in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Is this a registry, and am I let in?
    Base,
    /// The repositories.
    Catalog,
    /// The tags of a repository.
    ListTags(RepositoryName),
    /// A manifest.
    GetManifest(RepositoryName, ManifestRef),
    /// A manifest pushed.
    PutManifest(RepositoryName, ManifestRef),
    /// A manifest or tag deleted.
    DeleteManifest(RepositoryName, ManifestRef),
    /// A blob.
    GetBlob(RepositoryName, Digest),
    /// A blob taken out of a repository.
    DeleteBlob(RepositoryName, Digest),
    /// An upload begun, a blob pushed in one request, or a blob mounted.
    StartUpload(RepositoryName),
    /// How far an upload is.
    UploadStatus(RepositoryName, UploadId),
    /// More bytes for an upload.
    AppendUpload(RepositoryName, UploadId),
    /// An upload finished.
    FinishUpload(RepositoryName, UploadId),
    /// An upload given up.
    CancelUpload(RepositoryName, UploadId),
    /// The manifests whose subject is this one.
    Referrers(RepositoryName, Digest),
}

/// The names of all routes; the last one is for requests without a route.
pub const LABELS: [&str; 18] = [
    "base",
    "catalog",
    "tags",
    "manifest_get",
    "manifest_put",
    "manifest_delete",
    "blob_get",
    "blob_delete",
    "upload_start",
    "upload_status",
    "upload_append",
    "upload_finish",
    "upload_cancel",
    "referrers",
    "search",
    "api_read",
    "api_change",
    "none",
];

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No such path in the API.
    NotFound,
    /// The path exists, the method does not; the methods that do.
    Method(&'static str),
    /// Not a repository name.
    Name(String),
    /// Not a digest, where only a digest can stand.
    Digest(String),
    /// Neither a tag nor a digest.
    Reference(String),
    /// Not an upload session's ID.
    Upload(String),
}

impl Resource {
    /// Reads a path, percent-encoded as it came.
    ///
    /// # Errors
    /// Every [`RouteError`] but [`RouteError::Method`].
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let path = &*normalise(path);
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NotFound)?,
            None => return Err(RouteError::NotFound),
        };
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        // The name is everything up to the resource's own segments.
        if let Some(name) = rest
            .strip_suffix("/blobs/uploads/")
            .or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads(repository(name)?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
        let last = decode(last).ok_or(RouteError::NotFound)?;
        let (name, kind) = before.rsplit_once('/').ok_or(RouteError::NotFound)?;
        match kind {
            "tags" if last == "list" => Ok(Self::Tags(repository(name)?)),
            "manifests" => Ok(Self::Manifest(repository(name)?, reference(&last)?)),
            "blobs" => Ok(Self::Blob(repository(name)?, digest(&last)?)),
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(&last)?)),
            "uploads" => {
                let name = name.strip_suffix("/blobs").ok_or(RouteError::NotFound)?;
                let id = last
                    .parse()
                    .map_err(|_| RouteError::Upload(last.into_owned()))?;
                Ok(Self::Upload(repository(name)?, id))
            }
            _ => Err(RouteError::NotFound),
        }
    }
}

impl Route {
    /// The route of a request.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn parse(method: &Method, path: &str) -> Result<Self, RouteError> {
        let read = matches!(*method, Method::GET | Method::HEAD);
        match Resource::parse(path)? {
            Resource::Base if read => Ok(Self::Base),
            Resource::Catalog if read => Ok(Self::Catalog),
            Resource::Tags(name) if read => Ok(Self::ListTags(name)),
            Resource::Referrers(name, digest) if read => Ok(Self::Referrers(name, digest)),
            Resource::Base | Resource::Catalog | Resource::Tags(_) | Resource::Referrers(..) => {
                Err(RouteError::Method("GET, HEAD"))
            }
            Resource::Manifest(name, reference) => match *method {
                Method::GET | Method::HEAD => Ok(Self::GetManifest(name, reference)),
                Method::PUT => Ok(Self::PutManifest(name, reference)),
                Method::DELETE => Ok(Self::DeleteManifest(name, reference)),
                _ => Err(RouteError::Method("GET, HEAD, PUT, DELETE")),
            },
            Resource::Blob(name, digest) => match *method {
                Method::GET | Method::HEAD => Ok(Self::GetBlob(name, digest)),
                Method::DELETE => Ok(Self::DeleteBlob(name, digest)),
                _ => Err(RouteError::Method("GET, HEAD, DELETE")),
            },
            Resource::Uploads(name) => match *method {
                Method::POST => Ok(Self::StartUpload(name)),
                _ => Err(RouteError::Method("POST")),
            },
            Resource::Upload(name, id) => match *method {
                Method::GET | Method::HEAD => Ok(Self::UploadStatus(name, id)),
                Method::PATCH => Ok(Self::AppendUpload(name, id)),
                Method::PUT => Ok(Self::FinishUpload(name, id)),
                Method::DELETE => Ok(Self::CancelUpload(name, id)),
                _ => Err(RouteError::Method("GET, HEAD, PATCH, PUT, DELETE")),
            },
        }
    }

    /// The route's name, as logs and metrics show it; one of [`LABELS`].
    pub fn label(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::ListTags(_) => "tags",
            Self::GetManifest(..) => "manifest_get",
            Self::PutManifest(..) => "manifest_put",
            Self::DeleteManifest(..) => "manifest_delete",
            Self::GetBlob(..) => "blob_get",
            Self::DeleteBlob(..) => "blob_delete",
            Self::StartUpload(_) => "upload_start",
            Self::UploadStatus(..) => "upload_status",
            Self::AppendUpload(..) => "upload_append",
            Self::FinishUpload(..) => "upload_finish",
            Self::CancelUpload(..) => "upload_cancel",
            Self::Referrers(..) => "referrers",
        }
    }
}

pub(crate) fn repository(name: &str) -> Result<RepositoryName, RouteError> {
    let name = decode(name).ok_or_else(|| RouteError::Name(name.to_owned()))?;
    name.parse()
        .map_err(|_| RouteError::Name(name.into_owned()))
}

fn digest(text: &str) -> Result<Digest, RouteError> {
    text.parse()
        .map_err(|_| RouteError::Digest(text.to_owned()))
}

/// A tag cannot contain a colon, so that whatever does was meant as a digest.
pub(crate) fn reference(text: &str) -> Result<ManifestRef, RouteError> {
    if text.contains(':') {
        return digest(text).map(ManifestRef::Digest);
    }
    text.parse::<Tag>()
        .map(ManifestRef::Tag)
        .map_err(|_| RouteError::Reference(text.to_owned()))
}

/// Decodes those characters that mean the same either way (RFC 3986, section 6.2.2.2); no
/// separator and no percent sign is among them.
fn normalise(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3).unwrap_or("%");
        match decode(escape).as_deref().map(str::as_bytes) {
            Some(&[b]) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                out.push(char::from(b));
            }
            _ => out.push_str(escape),
        }
        rest = &rest[at + escape.len()..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Decodes percent-encoding; `None` when it is malformed or no UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (hex, tail) = tail.split_at_checked(2)?;
            let digit = |b: u8| char::from(b).to_digit(16);
            bytes.push((digit(hex[0])? * 16 + digit(hex[1])?) as u8);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ID: &str = "6b0c1e88-4f5a-4d1f-9f0e-2d6f8b6c1a55";

    fn show(method: &str, path: &str) -> String {
        let path = path.replace("$D", D).replace("$ID", ID);
        match Route::parse(&method.parse().unwrap(), &path) {
            Ok(route) => format!("{route:?}").replace(D, "$D").replace(ID, "$ID"),
            Err(e) => format!("{e:?}").replace(D, "$D").replace(ID, "$ID"),
        }
    }

    #[test]
    fn the_table() {
        let table = [
            ("GET", "/v2", "Base"),
            ("GET", "/v2/", "Base"),
            ("HEAD", "/v2/", "Base"),
            ("POST", "/v2/", r#"Method("GET, HEAD")"#),
            ("GET", "/", "NotFound"),
            ("GET", "/v1/", "NotFound"),
            ("GET", "/v2x", "NotFound"),
            ("GET", "/v2/_catalog", "Catalog"),
            ("DELETE", "/v2/_catalog", r#"Method("GET, HEAD")"#),
            ("GET", "/v2/app/tags/list", r#"ListTags("app")"#),
            ("GET", "/v2/a/b/c/d/tags/list", r#"ListTags("a/b/c/d")"#),
            ("GET", "/v2/app/tags/other", "NotFound"),
            ("GET", "/v2/tags/list", "NotFound"),
            (
                "GET",
                "/v2/app/manifests/v1",
                r#"GetManifest("app", Tag("v1"))"#,
            ),
            (
                "HEAD",
                "/v2/app/manifests/$D",
                r#"GetManifest("app", Digest($D))"#,
            ),
            (
                "PUT",
                "/v2/a/b/manifests/v1",
                r#"PutManifest("a/b", Tag("v1"))"#,
            ),
            (
                "DELETE",
                "/v2/app/manifests/$D",
                r#"DeleteManifest("app", Digest($D))"#,
            ),
            (
                "PATCH",
                "/v2/app/manifests/v1",
                r#"Method("GET, HEAD, PUT, DELETE")"#,
            ),
            ("GET", "/v2/app/manifests/.bad", r#"Reference(".bad")"#),
            ("GET", "/v2/app/manifests/sha256:x", r#"Digest("sha256:x")"#),
            ("GET", "/v2/app/manifests/", r#"Reference("")"#),
            // Names that look like the API itself.
            (
                "GET",
                "/v2/blobs/uploads/tags/list",
                r#"ListTags("blobs/uploads")"#,
            ),
            (
                "GET",
                "/v2/a/manifests/b/manifests/c",
                r#"GetManifest("a/manifests/b", Tag("c"))"#,
            ),
            (
                "POST",
                "/v2/manifests/blobs/uploads/",
                r#"StartUpload("manifests")"#,
            ),
            (
                "GET",
                "/v2/daocloud.io/library/mysql/manifests/8",
                r#"GetManifest("daocloud.io/library/mysql", Tag("8"))"#,
            ),
            ("GET", "/v2/app/blobs/$D", r#"GetBlob("app", $D)"#),
            (
                "GET",
                "/v2/app/blobs/sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                r#"GetBlob("app", $D)"#,
            ),
            ("DELETE", "/v2/app/blobs/$D", r#"DeleteBlob("app", $D)"#),
            ("PUT", "/v2/app/blobs/$D", r#"Method("GET, HEAD, DELETE")"#),
            ("GET", "/v2/app/blobs/sha256:../../x", "NotFound"),
            (
                "GET",
                "/v2/app/blobs/sha256:..%2f..%2fx",
                r#"Digest("sha256:../../x")"#,
            ),
            ("GET", "/v2/app/blobs/md5:00", r#"Digest("md5:00")"#),
            ("POST", "/v2/app/blobs/uploads/", r#"StartUpload("app")"#),
            ("POST", "/v2/app/blobs/uploads", r#"StartUpload("app")"#),
            ("GET", "/v2/app/blobs/uploads/", r#"Method("POST")"#),
            (
                "GET",
                "/v2/app/blobs/uploads/$ID",
                r#"UploadStatus("app", $ID)"#,
            ),
            (
                "PATCH",
                "/v2/app/blobs/uploads/$ID",
                r#"AppendUpload("app", $ID)"#,
            ),
            (
                "PUT",
                "/v2/app/blobs/uploads/$ID",
                r#"FinishUpload("app", $ID)"#,
            ),
            (
                "DELETE",
                "/v2/app/blobs/uploads/$ID",
                r#"CancelUpload("app", $ID)"#,
            ),
            (
                "POST",
                "/v2/app/blobs/uploads/$ID",
                r#"Method("GET, HEAD, PATCH, PUT, DELETE")"#,
            ),
            (
                "PATCH",
                "/v2/app/blobs/uploads/..%2f..%2fx",
                r#"Upload("../../x")"#,
            ),
            ("PATCH", "/v2/app/blobs/uploads/nope", r#"Upload("nope")"#),
            ("GET", "/v2/app/referrers/$D", r#"Referrers("app", $D)"#),
            ("GET", "/v2/app/referrers/v1", r#"Digest("v1")"#),
            ("PUT", "/v2/app/referrers/$D", r#"Method("GET, HEAD")"#),
            // Encoded or not, it is the same path.
            ("GET", "/%762/", "Base"),
            ("GET", "/v2/%5fcatalog", "Catalog"),
            ("GET", "/v2/app/t%61gs/lis%74", r#"ListTags("app")"#),
            (
                "POST",
                "/v2/%61pp/blob%73/%75ploads/",
                r#"StartUpload("app")"#,
            ),
            ("GET", "/v2/app/tags%2Flist", "NotFound"),
            ("GET", "/v2/app/t%2561gs/list", "NotFound"),
            ("GET", "/v2/app/tags/lis%7", "NotFound"),
            ("GET", "/v2/app/tags/list%", "NotFound"),
            ("GET", "/v2/%2e%2e/etc/tags/list", r#"Name("../etc")"#),
            (
                "GET",
                "/v2/a/%252e%252e/b/tags/list",
                r#"Name("a/%2e%2e/b")"#,
            ),
            // Names that are none.
            ("GET", "/v2/APP/tags/list", r#"Name("APP")"#),
            ("GET", "/v2/../etc/tags/list", r#"Name("../etc")"#),
            ("GET", "/v2/a/..%2f..%2fb/tags/list", r#"Name("a/../../b")"#),
            ("GET", "/v2/a%00b/tags/list", r#"Name("a\0b")"#),
            ("GET", "/v2//tags/list", r#"Name("")"#),
            ("GET", "/v2/a%zz/tags/list", r#"Name("a%zz")"#),
        ];
        for (method, path, expected) in table {
            assert_eq!(show(method, path), expected, "{method} {path}");
        }
    }

    proptest! {
        /// Whatever comes, a route holds only what its types allow, and nothing panics.
        #[test]
        fn no_path_escapes(path in "/v2/[a-zA-Z0-9._%:/-]{0,60}") {
            if let Ok(Route::ListTags(name) | Route::StartUpload(name)) =
                Route::parse(&Method::GET, &path)
            {
                prop_assert!(!name.as_str().split('/').any(|s| s.is_empty() || s.starts_with('.')));
            }
        }
    }
}
