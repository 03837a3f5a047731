//! From a reference to an image manifest (distribution-spec, "Pulling manifests").

use bytes::Bytes;
use oci::manifest::{MAX_MANIFEST_SIZE, ManifestError};
use oci::media_type::MANIFEST_ACCEPT;
use oci::reference::Repository;
use oci::{Descriptor, Digest, Manifest, ManifestDocument, MediaType, Platform, Reference};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use crate::Client;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::{Error, Note, RegistryError};
use crate::http::read_capped;

/// Indexes in indexes are followed this deep.
const MAX_DEPTH: usize = 3;

/// A manifest or index as a registry gave it, its digest verified.
#[derive(Clone, Debug)]
pub struct Document {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes that the digest is of; these are what to store, not a re-encoding.
    pub bytes: Bytes,
    /// What they say.
    pub content: ManifestDocument,
}

/// An image found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What was asked for.
    pub reference: Reference,
    /// The image manifest's descriptor.
    pub descriptor: Descriptor,
    /// The image manifest as it came.
    pub bytes: Bytes,
    /// The image manifest.
    pub manifest: Manifest,
    /// The index that the reference names, if it does not name the manifest itself.
    pub index: Option<Document>,
}

impl Resolved {
    /// The digest that the reference stands for: the index's, if there is one. This is what
    /// `docker pull` prints and `@sha256:…` pins.
    pub fn digest(&self) -> &Digest {
        match &self.index {
            Some(index) => &index.descriptor.digest,
            None => &self.descriptor.digest,
        }
    }
}

impl Client {
    /// Finds the image for a platform. A manifest that is not in an index is taken as it is: what
    /// it is for stands in its config.
    ///
    /// # Errors
    /// [`Error::ManifestNotFound`], [`Error::PullDenied`], [`Error::NoPlatform`],
    /// [`Error::Schema1`], [`Error::DigestMismatch`], [`Error::Manifest`], and transport errors.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Resolved, Error> {
        let mut document = self.manifest(reference).await?;
        let mut top = None;
        for _ in 0..MAX_DEPTH {
            let index = match document.content {
                ManifestDocument::Manifest(manifest) => {
                    return Ok(Resolved {
                        reference: reference.clone(),
                        descriptor: document.descriptor,
                        bytes: document.bytes,
                        manifest,
                        index: top,
                    });
                }
                ManifestDocument::Index(ref index) => index,
            };
            let chosen = index
                .select(platform)
                .map_err(|available| Error::NoPlatform {
                    reference: reference.familiar(),
                    wanted: Box::new(platform.clone()),
                    available,
                })?;
            let chosen = chosen.clone();
            let next = self
                .manifest(&reference.with_digest(chosen.digest.clone()))
                .await?;
            if next.descriptor.size != chosen.size {
                return Err(Error::SizeMismatch {
                    what: format!("manifest {}", chosen.digest),
                    expected: chosen.size,
                    actual: next.descriptor.size,
                });
            }
            let outer = std::mem::replace(&mut document, next);
            document.descriptor.platform = chosen.platform;
            top.get_or_insert(outer);
        }
        Err(Error::Protocol {
            what: reference.familiar(),
            reason: format!("indexes nested more than {MAX_DEPTH} deep"),
        })
    }

    /// Fetches the manifest or index that a reference names, from a mirror if one has it. Its
    /// digest is verified: against the reference's, and against what the registry says it is.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn manifest(&self, reference: &Reference) -> Result<Document, Error> {
        self.read(reference.repository().domain(), |endpoint| async move {
            let call = manifest_call(&endpoint, Method::GET, reference)?;
            let (response, _) = self
                .send(&endpoint, &call)
                .await
                .map_err(|e| explain(e, reference))?;
            if response.status() != StatusCode::OK {
                let error = self.refuse(&endpoint, &call, response).await;
                return Err(explain(error, reference));
            }
            let headers = response.headers().clone();
            let what = call.what();
            let limit = MAX_MANIFEST_SIZE as u64;
            let idle = self.config().idle_timeout;
            let bytes = read_capped(response, limit, idle, &what).await?;
            document(reference, &headers, bytes, &what)
        })
        .await
    }

    /// Asks what a reference stands for now, without fetching it; its platform and content stay
    /// unknown. Registries do not count this against pull limits.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn head(&self, reference: &Reference) -> Result<Descriptor, Error> {
        let found = self
            .read(reference.repository().domain(), |endpoint| async move {
                let call = manifest_call(&endpoint, Method::HEAD, reference)?;
                let (response, _) = self
                    .send(&endpoint, &call)
                    .await
                    .map_err(|e| explain(e, reference))?;
                if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                    return Ok(None);
                }
                if response.status() != StatusCode::OK {
                    // An answer to HEAD has no body to say why; 404 is the plain case.
                    let error = self.refuse(&endpoint, &call, response).await;
                    return Err(explain(error, reference));
                }
                Ok(described(&response))
            })
            .await?;
        match found {
            Some(found) if reference.digest().is_none_or(|d| *d == found.digest) => Ok(found),
            // A registry that does not say, or says something odd: the content decides.
            _ => Ok(self.manifest(reference).await?.descriptor),
        }
    }
}

fn manifest_call(
    endpoint: &Endpoint,
    method: Method,
    reference: &Reference,
) -> Result<Call, Error> {
    let repository = reference.repository();
    let url = endpoint.repository_url(
        repository,
        &format!("manifests/{}", reference.manifest_key()),
    )?;
    accept(Call::new(method, url, endpoint.scopes(repository, "pull")))
}

/// The same call, for every kind of manifest that we know.
pub(crate) fn accept(call: Call) -> Result<Call, Error> {
    let accept = HeaderValue::try_from(MANIFEST_ACCEPT.join(", "));
    let accept = accept.map_err(|_| Error::Interrupted("a request"))?;
    Ok(call.header(ACCEPT, accept))
}

/// `Content-Type` without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let text = text.split(';').next().unwrap_or(text).trim();
    (!text.is_empty()).then(|| MediaType::new(text))
}

pub(crate) fn stated_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn described(response: &Response) -> Option<Descriptor> {
    let headers = response.headers();
    let size = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(Descriptor::new(
        media_type(headers)?,
        stated_digest(headers)?,
        size,
    ))
}

/// Verifies and reads what came.
fn document(
    reference: &Reference,
    headers: &HeaderMap,
    bytes: Bytes,
    what: &str,
) -> Result<Document, Error> {
    let stated = stated_digest(headers);
    let mut digest = None;
    for expected in [reference.digest().cloned(), stated].into_iter().flatten() {
        let actual = expected.algorithm().digest(&bytes);
        if actual != expected {
            return Err(Error::DigestMismatch {
                what: what.to_owned(),
                expected,
                actual,
            });
        }
        digest.get_or_insert(expected);
    }
    let digest = digest.unwrap_or_else(|| Digest::sha256(&bytes));
    let given = media_type(headers);
    let schema1 = || Error::Schema1 {
        reference: reference.familiar(),
    };
    if given.as_ref().is_some_and(MediaType::is_schema1) {
        return Err(schema1());
    }
    // Some servers know no better than "JSON"; the document then speaks for itself.
    let given = given.filter(|g| g.is_manifest() || g.is_index());
    let content = ManifestDocument::parse(&bytes, given.as_ref()).map_err(|cause| match cause {
        ManifestError::SchemaVersion(1) => schema1(),
        cause => Error::Manifest {
            reference: reference.familiar(),
            cause,
        },
    })?;
    let media_type = given.unwrap_or_else(|| content.media_type());
    Ok(Document {
        descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
        bytes,
        content,
    })
}

/// Errors of reading, in docker's words.
pub(crate) fn explain(error: Error, reference: &Reference) -> Error {
    match error {
        Error::Registry { cause, .. } if cause.status == StatusCode::NOT_FOUND => {
            if cause.has("NAME_UNKNOWN") {
                Error::RepositoryNotFound {
                    repository: reference.repository().familiar(),
                    cause,
                }
            } else {
                Error::ManifestNotFound {
                    reference: reference.familiar(),
                    cause: or_say(cause, "MANIFEST_UNKNOWN", "manifest unknown"),
                }
            }
        }
        other => explain_denied(other, reference.repository()),
    }
}

/// 401 and 403 in docker's words.
pub(crate) fn explain_denied(error: Error, repository: &Repository) -> Error {
    let (cause, note): (RegistryError, Note) = match error {
        Error::Unauthorized { cause, note } | Error::Denied { cause, note } => (cause, note),
        other => return other,
    };
    Error::PullDenied {
        repository: repository.familiar(),
        cause,
        note,
    }
}

/// An answer without words gets the ones that its status has in docker's.
fn or_say(mut cause: RegistryError, code: &str, message: &str) -> RegistryError {
    if cause.errors.is_empty() {
        cause.errors.push(crate::error::ApiError {
            code: code.to_owned(),
            message: message.to_owned(),
            detail: serde_json::Value::Null,
        });
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_platform_is_told_with_those_there_are() {
        let platforms = ["linux/s390x", "linux/arm/v6"].map(|p| p.parse().unwrap());
        let wanted: Platform = "linux/amd64".parse().unwrap();
        let error = Error::NoPlatform {
            reference: "app:v1".into(),
            available: platforms.to_vec(),
            wanted: Box::new(wanted),
        };
        assert_eq!(
            error.to_string(),
            "no matching manifest for linux/amd64 in the manifest list entries of app:v1: it has \
             linux/s390x, linux/arm/v6"
        );
    }
}
