//! `_catalog`, `tags/list` and `referrers`.

use std::sync::Arc;

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, LINK};
use http::request::Parts;
use oci::{Digest, media_type};
use serde_json::json;

use crate::auth::rules::Reach;
use crate::http::answer::{self, ApiError, OCI_FILTERS_APPLIED, value};
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::guards::access::{Needs, challenge, unauthorized};
use crate::http::request::{Query, encode};
use crate::meta::Page;
use crate::name::RepositoryName;
use crate::service::{MAX_PAGE, Registry};

/// Repositories in a page when the client does not say.
const CATALOG_PAGE: u32 = 1000;

pub(super) async fn catalog(
    api: &Api,
    caller: &Caller,
    request: &Parts,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let n = query.n()?.unwrap_or(CATALOG_PAGE);
    let page = readable(api, caller, n, query.get("last").unwrap_or_default()).await?;
    if let Some(auth) = &api.auth
        && caller.is_anonymous()
        && page.names.is_empty()
    {
        // There may be more for those who log in.
        let challenge = challenge(api, auth, &Needs::Filter, request, None);
        return Err(unauthorized(challenge, "authentication required"));
    }
    let mut response = answer::json(json!({ "repositories": page.names }).to_string());
    link(&mut response, request, &page, n);
    Ok(response)
}

/// A page of those repositories that the caller may read. Only those within reach are looked at:
/// who may see one of many thousands does not wait for all of them.
async fn readable(api: &Api, caller: &Caller, n: u32, last: &str) -> Result<Page, ApiError> {
    let mut bounds: Vec<_> = caller.reach().iter().map(Reach::bounds).collect();
    bounds.sort_unstable();
    let mut names = Vec::new();
    let mut last = last.to_owned();
    // One more tells whether there is another page.
    let wanted = n as usize;
    for (first, end) in bounds {
        // What lies before belonged to another's reach too.
        while names.len() <= wanted && last < end {
            let n = n.saturating_add(1);
            let page = api.registry.catalog(n, &last, &first, &end).await?;
            if let Some(end) = page.names.last() {
                last.clone_from(end);
            }
            for name in page.names {
                if caller.may_see(&name) {
                    names.push(name);
                }
            }
            if !page.more {
                break;
            }
        }
    }
    let more = names.len() > wanted;
    names.truncate(wanted);
    Ok(Page { names, more })
}

pub(super) async fn tags(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    request: &Parts,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let n = query.n()?.unwrap_or(MAX_PAGE);
    let page = registry
        .tags(name, n, query.get("last").unwrap_or_default())
        .await?;
    let mut response =
        answer::json(json!({ "name": name.as_str(), "tags": page.names }).to_string());
    link(&mut response, request, &page, n);
    Ok(response)
}

/// Says where the next page is (RFC 5988), as Docker's registry spells it.
fn link(response: &mut Response, request: &Parts, page: &Page, n: u32) {
    if let Some(last) = page.names.last()
        && page.more
    {
        let path = request.uri.path();
        let last = encode(last);
        response.headers_mut().insert(
            LINK,
            value(format_args!("<{path}?last={last}&n={n}>; rel=\"next\"")),
        );
    }
}

pub(super) async fn referrers(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
    request: &Parts,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let artifact_type = query.get("artifactType").filter(|t| !t.is_empty());
    let page = registry
        .referrers(
            name,
            digest,
            artifact_type,
            query.get("last").unwrap_or_default(),
        )
        .await?;
    let mut response = answer::json(page.index.to_string());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(media_type::OCI_INDEX),
    );
    let mut filter = String::new();
    if let Some(artifact_type) = artifact_type {
        headers.insert(
            OCI_FILTERS_APPLIED,
            HeaderValue::from_static("artifactType"),
        );
        filter = format!("artifactType={}&", encode(artifact_type));
    }
    if let Some(next) = page.next {
        let path = request.uri.path();
        let next = encode(&next);
        headers.insert(
            LINK,
            value(format_args!("<{path}?{filter}last={next}>; rel=\"next\"")),
        );
    }
    Ok(response)
}
