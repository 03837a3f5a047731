//! `POST /auth/token`: a token by OAuth 2 (Docker token authentication, oauth.md; RFC 6749).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, PRAGMA};
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use crate::auth::{Auth, BadCredentials, Identity, is_personal};
use crate::http::answer::{self, ApiError, Refusal};
use crate::http::guards::access::unavailable;
use crate::http::guards::throttle;
use crate::http::request::{Query, address};

/// Longest form that is read, and how long it may take to come.
const MAX_FORM: usize = 64 << 10;
const TIME: Duration = Duration::from_secs(10);

/// The exchange of tokens (RFC 8693), and what may be exchanged.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
];

/// What a client proved, and what it asks for.
#[derive(Debug)]
pub(in crate::http) struct Grant {
    /// Who it is.
    pub(in crate::http) identity: Identity,
    /// The scope, empty or several separated by spaces.
    pub(in crate::http) scope: String,
    /// What it goes on with instead of the password.
    pub(in crate::http) refresh_token: Option<String>,
}

/// Why a client gets no token (RFC 6749, section 5.2).
#[derive(Debug)]
pub(in crate::http) struct Refused {
    error: &'static str,
    description: String,
    /// How long to wait before another password is looked at.
    wait: Option<Duration>,
    /// Whoever knows cannot be asked.
    unavailable: bool,
}

impl Refused {
    fn request(description: impl Into<String>) -> Self {
        Self {
            error: "invalid_request",
            description: description.into(),
            wait: None,
            unavailable: false,
        }
    }

    fn grant(description: &str) -> Self {
        Self {
            error: "invalid_grant",
            description: description.to_owned(),
            wait: None,
            unavailable: false,
        }
    }

    fn unavailable() -> Self {
        Self {
            unavailable: true,
            ..Self::grant("whoever knows the users cannot be asked")
        }
    }

    fn wait(time: Duration) -> Self {
        Self {
            wait: Some(time),
            ..Self::grant("too many wrong passwords")
        }
    }

    /// As OAuth has it, and as the rest of the registry: clients know one or the other.
    pub(in crate::http) fn response(self) -> Response {
        if self.unavailable {
            return unavailable().into_response();
        }
        if let Some(time) = self.wait {
            let refused = throttle::too_many(&self.description, time).refused();
            return refused.into_response();
        }
        let kept_out = self.error == "invalid_grant";
        let code = match self.error {
            "invalid_grant" => "UNAUTHORIZED",
            _ => "UNSUPPORTED",
        };
        let errors = json!([{ "code": code, "message": self.description, "detail": null }]);
        let body = json!({
            "error": self.error,
            "error_description": self.description,
            "errors": errors,
        });
        let mut response = answer::json(body.to_string());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.extensions_mut().insert(Refusal {
            code: code.to_owned(),
            message: self.description,
            kept_out,
        });
        response
            .headers_mut()
            .insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}

impl From<ApiError> for Refused {
    fn from(_: ApiError) -> Self {
        Self::request("the form is not percent-encoded UTF-8")
    }
}

/// Reads the form and checks what it proves.
pub(in crate::http) async fn grant(
    auth: &Arc<Auth>,
    request: &Parts,
    body: Body,
) -> Result<Grant, Refused> {
    let form = form(request, body).await?;
    let need = |name: &str| match form.get(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(Refused::request(format!("{name} is missing"))),
    };
    let kind = need("grant_type")?;
    if kind == EXCHANGE {
        return exchange(auth, &form).await;
    }
    let service = need("service")?;
    if !auth.is_service(service) {
        return Err(Refused::request("this registry is another service"));
    }
    // Only for the one who reads what is sent where.
    need("client_id")?;
    let (identity, refresh_token) = match kind {
        "password" => {
            let identity = login(auth, request, need("username")?, need("password")?).await?;
            let token = match &identity {
                Identity::User(user) if form.get("access_type") == Some("offline") => {
                    auth.refresh_token(user)
                }
                _ => None,
            };
            (identity, token)
        }
        "refresh_token" => {
            let token = need("refresh_token")?;
            let identity = auth.refreshed(token).await.map_err(|_| {
                Refused::grant("the refresh token is not valid any more; log in again")
            })?;
            (identity, Some(token.to_owned()))
        }
        _ => {
            return Err(Refused {
                error: "unsupported_grant_type",
                description: "password, refresh_token and token-exchange are supported".to_owned(),
                wait: None,
                unavailable: false,
            });
        }
    };
    let scope: Vec<&str> = form.all("scope").collect();
    Ok(Grant {
        identity,
        scope: scope.join(" "),
        refresh_token,
    })
}

/// A token of ours for one that a provider signed (RFC 8693): for a CI's job, which has no secret.
async fn exchange(auth: &Arc<Auth>, form: &Query) -> Result<Grant, Refused> {
    let kind = form.get("subject_token_type").unwrap_or_default();
    if !TOKEN_TYPES.contains(&kind) {
        let wanted = TOKEN_TYPES.join(" or ");
        return Err(Refused::request(format!("subject_token_type is {wanted}")));
    }
    let token = form.get("subject_token").filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refused::request("subject_token is missing"))?;
    let identity = auth.vouched(token).await.map_err(|_| {
        Refused::grant(
            "no [[oidc]] takes this token: its issuer, audience, claims or time do not fit",
        )
    })?;
    let scope: Vec<&str> = form.all("scope").collect();
    Ok(Grant {
        identity,
        scope: scope.join(" "),
        refresh_token: None,
    })
}

async fn login(
    auth: &Arc<Auth>,
    request: &Parts,
    user: &str,
    password: &str,
) -> Result<Identity, Refused> {
    let wrong = || Refused::grant("user or password is wrong");
    // But for the names of providers' users, who have personal tokens alone.
    if user.contains(':') && !is_personal(password) {
        return Err(wrong());
    }
    // The same as a password in a header, and remembered as such.
    let pair = STANDARD.encode(format!("{user}:{password}"));
    let header = format!("Basic {pair}");
    let login = auth.login(Some(&header), address(request));
    login.await.map_err(|why| match why {
        BadCredentials::Wrong => wrong(),
        BadCredentials::Wait(time) => Refused::wait(time),
        BadCredentials::Unavailable => Refused::unavailable(),
    })
}

async fn form(request: &Parts, body: Body) -> Result<Query, Refused> {
    let kind = request.headers.get(CONTENT_TYPE);
    let essence = kind.and_then(|v| v.to_str().ok()?.split(';').next());
    let form = "application/x-www-form-urlencoded";
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(form)) {
        return Err(Refused::request(format!("not a form ({form})")));
    }
    let read = tokio::time::timeout(TIME, Limited::new(body, MAX_FORM).collect());
    let bytes = match read.await {
        Ok(Ok(read)) => read.to_bytes(),
        Ok(Err(_)) | Err(_) => return Err(Refused::request("the form could not be read")),
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Refused::request("the form is not percent-encoded UTF-8"))?;
    Ok(Query::of_form(text)?)
}
