//! `_catalog`, `tags/list` and `referrers`.

use std::sync::Arc;

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, LINK, WARNING};
use http::request::Parts;
use oci::{Digest, media_type};
use serde_json::json;

use crate::auth::rules::Reach;
use crate::http::answer::{self, ApiError, OCI_FILTERS_APPLIED, value};
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::guards::access::{Needs, challenge, unauthorized};
use crate::http::guards::mirrored::warning;
use crate::http::request::{Query, encode};
use crate::meta::Page;
use crate::mirror::Mirror;
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
    let mut step = n.saturating_add(1);
    for (first, end) in bounds {
        // What lies before belonged to another's reach too.
        while names.len() <= wanted && last < end {
            let page = api.registry.catalog(step, &last, &first, &end).await?;
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
            // Few of these may be seen: a small page must not take thousands of questions.
            step = step.saturating_mul(2).min(MAX_PAGE);
        }
    }
    let more = names.len() > wanted;
    names.truncate(wanted);
    Ok(Page { names, more })
}

pub(super) async fn tags(
    registry: &Arc<Registry>,
    mirror: Option<&Arc<Mirror>>,
    name: &RepositoryName,
    request: &Parts,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let n = query.n()?.unwrap_or(MAX_PAGE);
    let last = query.get("last").unwrap_or_default();
    let (page, stale) = match mirror {
        Some(mirror) => {
            let shown = mirror.tags(name, n.min(MAX_PAGE), last).await?;
            (shown.page, shown.stale)
        }
        None => (registry.tags(name, n, last).await?, None),
    };
    // As it was asked for: clients that take us for another registry know no other name.
    let path = request.uri.path();
    let asked = path
        .strip_prefix("/v2/")
        .and_then(|rest| rest.strip_suffix("/tags/list"));
    let asked = asked.unwrap_or(name.as_str());
    let mut response = answer::json(json!({ "name": asked, "tags": page.names }).to_string());
    if let Some(stale) = stale {
        response.headers_mut().insert(WARNING, warning(stale));
    }
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http::header::AUTHORIZATION;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
    use tower::ServiceExt as _;

    use super::*;
    use crate::auth::Auth;
    use crate::auth::htpasswd::Htpasswd;
    use crate::config::Settings;

    /// `near` knows the name of what she may see; `far` may see what ends in it.
    const SETTINGS: &str = r#"
auth.htpasswd = "$DIR/htpasswd"
[[access]]
repository = "team/r000700"
users = ["near"]
allow = ["pull"]
[[access]]
repository = "**/r000700"
users = ["far"]
allow = ["pull"]
"#;

    /// The steps that SQLite takes for all pages of `n` names, by user.
    async fn steps(repositories: u32, n: u32) -> [u64; 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut users = Htpasswd::default();
        for user in ["near", "far"] {
            users.add(user, "password").unwrap();
        }
        users.write(&dir.path().join("htpasswd")).unwrap();
        let file = dir.path().join("registry.toml");
        let settings = SETTINGS.replace("$DIR", dir.path().to_str().unwrap());
        std::fs::write(&file, settings).unwrap();
        let config = Settings::from_file(&file).unwrap().check().unwrap();
        let auth = Auth::open(&config.auth, dir.path()).unwrap().map(Arc::new);
        let registry = Arc::new(Registry::open(dir.path()).await.unwrap());
        let fill = format!(
            "WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {repositories})
             INSERT INTO repositories (name, created_at)
             SELECT printf('team/r%06d', i), 0 FROM i"
        );
        let database = SqliteConnectOptions::new().filename(dir.path().join("registry.db"));
        let mut connection = database.connect().await.unwrap();
        let filled = sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection);
        filled.await.unwrap();
        connection.close().await.unwrap();
        let router = crate::http::router(Api::new(
            Arc::clone(&registry),
            auth,
            Arc::default(),
            &config,
        ));
        let mut counted = [0; 2];
        let users = ["near:password", "far:password"];
        for (user, counted) in users.into_iter().zip(&mut counted) {
            let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, user);
            let request = Request::get(format!("/v2/_catalog?n={n}"))
                .header("host", "localhost")
                .header(AUTHORIZATION, format!("Basic {pair}"))
                .body(Body::empty())
                .unwrap();
            let before = registry.steps();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers().get(LINK), None, "{user}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let answer: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(answer["repositories"], json!(["team/r000700"]), "{user}");
            *counted = registry.steps() - before;
        }
        registry.close().await;
        counted
    }

    #[tokio::test]
    async fn who_may_see_one_repository_does_not_wait_for_all() {
        let [near, far] = steps(1000, 100).await;
        let [near_of_many, far_of_many] = steps(10_000, 100).await;
        assert!(
            near_of_many <= near + near / 4 + 20,
            "{near}, then {near_of_many}"
        );
        assert!(
            far > 0 && far_of_many <= 11 * far,
            "{far}, then {far_of_many}"
        );
        // However small the page is.
        let [near_alone, far_alone] = steps(10_000, 1).await;
        assert!(
            near_alone <= near + near / 4 + 20,
            "{near}, then {near_alone}"
        );
        assert!(
            far_alone <= 2 * far_of_many,
            "{far_of_many}, then {far_alone}"
        );
    }
}
