//! Who may send which request.

use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use serde_json::{Value, json};

use super::throttle;
use crate::auth::rules::{Access, Reach};
use crate::auth::{Auth, Authenticated, BadCredentials, Identity, Missing, User, claimed};
use crate::http::answer::{ApiError, value};
use crate::http::api::Api;
use crate::http::request::{Query, address};
use crate::name::RepositoryName;
use crate::route::Route;

/// What a route needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum Needs {
    /// To be logged in.
    Login,
    /// Nothing of itself: only what the caller may read is shown.
    Filter,
    /// To be one who may do everything everywhere, with a password: a token is for repositories.
    Operator,
    /// To be somebody who came with a password: programs have tokens, and make none.
    Person,
    /// A right in a repository.
    Right(RepositoryName, Access),
    /// To push to the first repository, and to pull from the second if the rules let the caller.
    Mount(RepositoryName, RepositoryName),
}

impl Needs {
    /// What a route needs; a request to begin an upload may ask to mount a blob.
    pub(in crate::http) fn of(route: &Route, request: &Parts) -> Self {
        if let Route::StartUpload(name) = route
            && let Some(from) = source(request)
            && from != *name
        {
            return Self::Mount(name.clone(), from);
        }
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

/// Where a blob is to be mounted from, when a request to begin an upload says so.
fn source(request: &Parts) -> Option<RepositoryName> {
    let query = Query::of(request).ok()?;
    query.get("mount")?;
    query.get("from")?.parse().ok()
}

/// Who is asking, as far as the rest of a request may depend on it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller(Option<(Arc<Auth>, Authenticated)>);

impl Caller {
    /// Somebody who came without a token: known from elsewhere, or nobody in particular.
    pub(in crate::http) fn of(auth: Option<&Arc<Auth>>, identity: Identity) -> Self {
        let who = Authenticated {
            identity,
            granted: None,
        };
        Self(auth.map(|auth| (Arc::clone(auth), who)))
    }

    /// Whether the caller may do something in a repository.
    pub(in crate::http) fn may(&self, repository: &str, access: Access) -> bool {
        match &self.0 {
            None => true,
            Some((auth, who)) => auth.allows(who, repository, access),
        }
    }

    /// Whether the caller may do everything everywhere.
    pub(in crate::http) fn is_operator(&self) -> bool {
        match &self.0 {
            None => true,
            Some((auth, who)) => auth.operates(who),
        }
    }

    /// Whether the caller may read a repository.
    pub(in crate::http) fn may_pull(&self, repository: &str) -> bool {
        match &self.0 {
            None => true,
            Some((auth, who)) => auth.allows(who, repository, Access::Pull),
        }
    }

    /// Whether the caller may read a repository, with another token if need be.
    pub(in crate::http) fn could_pull(&self, repository: &str) -> bool {
        match &self.0 {
            None => true,
            Some((auth, who)) => auth.could_pull(who, repository),
        }
    }

    /// Whether the caller may know that there is a repository.
    pub(in crate::http) fn may_see(&self, repository: &str) -> bool {
        match &self.0 {
            None => true,
            Some((auth, who)) => auth.may_see(who, repository),
        }
    }

    /// Where repositories may be that the caller may know of; nowhere else.
    pub(in crate::http) fn reach(&self) -> Vec<Reach> {
        match &self.0 {
            None => vec![Reach::of("*")],
            Some((auth, who)) => auth.reach(who),
        }
    }

    /// Whether nobody said who is asking, where it matters.
    pub(in crate::http) fn is_anonymous(&self) -> bool {
        matches!(&self.0, Some((_, who)) if who.identity == Identity::Anonymous)
    }

    /// The user; none when nobody said.
    pub(in crate::http) fn user(&self) -> Option<&User> {
        match &self.0 {
            Some((_, who)) => match &who.identity {
                Identity::User(user) => Some(user),
                Identity::Anonymous => None,
            },
            None => None,
        }
    }

    /// The user's name; none when nobody said.
    pub(in crate::http) fn name(&self) -> Option<&str> {
        self.user().map(|user| &**user)
    }
}

/// Lets a request through, or says why not.
///
/// `user` becomes who is asking, or says so, for the log.
pub(in crate::http) async fn authorize(
    api: &Api,
    route: &Route,
    request: &Parts,
    user: &mut Option<String>,
) -> Result<Caller, ApiError> {
    authorize_for(api, &Needs::of(route, request), request, user).await
}

/// The same for a request that needs this.
pub(in crate::http) async fn authorize_for(
    api: &Api,
    needs: &Needs,
    request: &Parts,
    user: &mut Option<String>,
) -> Result<Caller, ApiError> {
    let Some(auth) = &api.auth else {
        return Ok(Caller(None));
    };
    let header = request
        .headers
        .get(AUTHORIZATION)
        .map(|v| v.to_str().unwrap_or_default());
    let who = match auth.identify(header, address(request)).await {
        Ok(who) => who,
        Err(why) => {
            *user = header.and_then(claimed);
            let challenge = challenge(api, auth, needs, request, None);
            let wrong = "user, password or token is wrong";
            return Err(rejected(why, challenge, wrong));
        }
    };
    if let Identity::User(name) = &who.identity {
        *user = Some(name.to_string());
    }
    // A token that could be for a mount's source as well is asked for. Where the caller may not
    // read the source, it is as good as not there.
    let hidden = |from: &RepositoryName| !auth.could_pull(&who, from.as_str());
    let allowed = match needs {
        // A token is only given to who may have it.
        Needs::Login => who.identity != Identity::Anonymous || who.granted.is_some(),
        Needs::Filter => true,
        Needs::Operator => auth.operates(&who),
        Needs::Person => auth.is_person(&who),
        Needs::Right(name, access) => auth.allows(&who, name.as_str(), *access),
        Needs::Mount(name, from) => {
            auth.allows(&who, name.as_str(), Access::Push)
                && (auth.allows(&who, from.as_str(), Access::Pull) || hidden(from))
        }
    };
    if allowed {
        return Ok(Caller(Some((Arc::clone(auth), who))));
    }
    let granted = match needs {
        Needs::Right(name, access) => auth.grants(&who, name.as_str(), *access),
        Needs::Mount(name, from) => {
            auth.grants(&who, name.as_str(), Access::Push)
                && (auth.grants(&who, from.as_str(), Access::Pull) || hidden(from))
        }
        Needs::Operator | Needs::Person => who.granted.is_none(),
        Needs::Login | Needs::Filter => false,
    };
    match &who.identity {
        // Not with a token for something else: the right one can be had.
        Identity::User(user) if granted => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "DENIED",
            "requested access to the resource is denied",
            json!({ "user": &**user }),
        )
        .refused()),
        _ => {
            let missing = match needs {
                Needs::Right(name, access) => auth.missing(&who, name.as_str(), *access),
                Needs::Mount(name, from) => {
                    let push = auth.allows(&who, name.as_str(), Access::Push);
                    let (name, access) = match push {
                        false => (name, Access::Push),
                        true => (from, Access::Pull),
                    };
                    auth.missing(&who, name.as_str(), access)
                }
                Needs::Login | Needs::Filter | Needs::Operator | Needs::Person => None,
            };
            let challenge = challenge(api, auth, needs, request, missing.as_ref());
            Err(match missing {
                Some(Missing(why)) => unauthorized(challenge, &why).refused(),
                None => unauthorized(challenge, "authentication required"),
            })
        }
    }
}

/// What a client must do to be let in.
pub(in crate::http) fn challenge(
    api: &Api,
    auth: &Auth,
    needs: &Needs,
    request: &Parts,
    missing: Option<&Missing>,
) -> String {
    let scope = match needs {
        Needs::Login | Needs::Operator | Needs::Person => None,
        Needs::Filter => Some("registry:catalog:*".to_owned()),
        Needs::Right(name, Access::Push) => Some(format!("repository:{name}:pull,push")),
        Needs::Mount(name, from) => Some(format!(
            "repository:{name}:pull,push repository:{from}:pull"
        )),
        Needs::Right(name, access) => Some(format!("repository:{name}:{}", access.action())),
    };
    let header = request.headers.get(AUTHORIZATION);
    let token = header
        .and_then(|header| header.as_bytes().get(..7))
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let asks = token || *needs == Needs::Login;
    auth.challenge(&api.base(request), scope.as_deref(), asks, missing)
}

/// The answer to a password or token that is not taken.
pub(in crate::http) fn rejected(why: BadCredentials, challenge: String, wrong: &str) -> ApiError {
    match why {
        BadCredentials::Wrong => unauthorized(challenge, wrong).refused(),
        BadCredentials::Wait(time) => {
            throttle::too_many("too many wrong passwords", time).refused()
        }
        BadCredentials::Unavailable => unavailable(),
    }
}

/// The answer while whoever knows the users cannot be asked: a client need not forget a password.
pub(in crate::http) fn unavailable() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "whoever knows the users cannot be asked; the registry's log says why",
        Value::Null,
    )
    .with_header(http::header::RETRY_AFTER, value(10))
    .refused()
}

/// Tells a caller to log in.
pub(in crate::http) fn unauthorized(challenge: String, message: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        message,
        Value::Null,
    )
    .with_header(WWW_AUTHENTICATE, value(challenge))
}
