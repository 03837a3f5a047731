//! Who may send which request.

use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use crate::auth::rules::Access;
use crate::auth::{Auth, Identity};
use crate::name::RepositoryName;
use crate::route::Route;

/// What a route needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To be logged in.
    Login,
    /// Nothing of itself: only what the caller may read is shown.
    Filter,
    /// A right in a repository.
    Right(RepositoryName, Access),
}

impl Needs {
    pub(super) fn of(route: &Route) -> Self {
        let (name, access) = match route {
            Route::Base => return Self::Login,
            Route::Catalog => return Self::Filter,
            Route::ListTags(name)
            | Route::Referrers(name, _)
            | Route::GetManifest(name, _)
            | Route::GetBlob(name, _) => (name, Access::Pull),
            Route::PutManifest(name, _)
            | Route::StartUpload(name)
            | Route::UploadStatus(name, _)
            | Route::AppendUpload(name, _)
            | Route::FinishUpload(name, _)
            | Route::CancelUpload(name, _) => (name, Access::Push),
            Route::DeleteManifest(name, _) | Route::DeleteBlob(name, _) => (name, Access::Delete),
        };
        Self::Right(name.clone(), access)
    }
}

/// Who is asking, as far as the rest of a request may depend on it.
#[derive(Clone, Debug)]
pub(super) struct Caller(Option<(Arc<Auth>, Identity)>);

impl Caller {
    /// Whether the caller may read a repository.
    pub(super) fn may_pull(&self, repository: &str) -> bool {
        match &self.0 {
            None => true,
            Some((auth, identity)) => auth.allows(identity, repository, Access::Pull),
        }
    }

    /// Whether nobody said who is asking, where it matters.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(&self.0, Some((_, Identity::Anonymous)))
    }

    /// The user's name, for the log.
    pub(super) fn name(&self) -> &str {
        match &self.0 {
            Some((_, Identity::User(user))) => user,
            _ => "-",
        }
    }
}

/// Lets a request through, or says why not.
pub(super) async fn authorize(
    api: &Api,
    route: &Route,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let Some(auth) = &api.auth else {
        return Ok(Caller(None));
    };
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str);
    let identity = match header {
        None => auth.identify(None).await,
        Some(Ok(header)) => auth.identify(Some(header)).await,
        Some(Err(_)) => Err(crate::auth::BadCredentials),
    };
    let Ok(identity) = identity else {
        return Err(unauthorized(auth, "user or password is wrong"));
    };
    let allowed = match Needs::of(route) {
        Needs::Login => identity != Identity::Anonymous,
        Needs::Filter => true,
        Needs::Right(name, access) => auth.allows(&identity, name.as_str(), access),
    };
    match (allowed, &identity) {
        (true, _) => Ok(Caller(Some((Arc::clone(auth), identity)))),
        (false, Identity::Anonymous) => Err(unauthorized(auth, "authentication required")),
        (false, Identity::User(user)) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "DENIED",
            "requested access to the resource is denied",
            json!({ "user": &**user }),
        )),
    }
}

/// Tells an anonymous caller to log in.
pub(super) fn unauthorized(auth: &Auth, message: &str) -> ApiError {
    let challenge = HeaderValue::try_from(auth.challenge())
        .unwrap_or(HeaderValue::from_static("Basic realm=\"rregistry\""));
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        message,
        Value::Null,
    )
    .with_header(WWW_AUTHENTICATE, challenge)
}
