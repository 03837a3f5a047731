//! One request to a registry: credentials, redirects, a second try after a 401, and further tries
//! of what is transient.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use crate::auth::Scopes;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{Error, RegistryError};
use crate::growing::Stream;
use crate::http::{Transports, classify, read_capped, timed_out};
use crate::origin::{Origin, may_follow};
use crate::part::Part;
use crate::retry::{is_transient, retry_after};
use crate::text::shown;

const MAX_REDIRECTS: usize = 10;
/// An error document is read up to this size.
const MAX_ERROR: u64 = 64 << 10;
/// Once all of an upload is sent, the registry may have to copy it together in its storage.
const COMMIT_PATIENCE: u32 = 10;

/// A request, which can be sent more than once.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) scopes: Scopes,
}

/// What goes along.
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Part of a blob, read while sending, anew for each try.
    Part(Part),
    /// All of a blob that is still being made, read while sending, anew for each try.
    Stream(Stream),
}

impl Call {
    pub(crate) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            scopes,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The request in words.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, shown(&self.url))
    }
}

/// Sends; any status is an answer. A 401 is answered once.
pub(crate) async fn exchange(
    transports: &Transports,
    endpoint: &Endpoint,
    call: &Call,
) -> Result<(Response, Url), Error> {
    let at_home = Origin::of(&call.url).as_ref() == Some(&endpoint.home);
    let mut header = if at_home {
        endpoint.auth.header(transports, &call.scopes).await?
    } else {
        None
    };
    let mut answered = false;
    loop {
        let (response, url) = follow(transports, endpoint, call, header.as_ref()).await?;
        let from_home = Origin::of(&url).as_ref() == Some(&endpoint.home);
        if response.status() != StatusCode::UNAUTHORIZED || !from_home || answered {
            return Ok((response, url));
        }
        let auth = &endpoint.auth;
        let headers = response.headers();
        match auth
            .answer(transports, headers, &call.scopes, header.as_ref())
            .await?
        {
            Some(better) => header = Some(better),
            None => return Ok((response, url)),
        }
        answered = true;
    }
}

/// Sends, following redirects of what has no body. Credentials go to the home only.
async fn follow(
    transports: &Transports,
    endpoint: &Endpoint,
    call: &Call,
    authorization: Option<&HeaderValue>,
) -> Result<(Response, Url), Error> {
    let protocol = |reason: String| Error::Protocol {
        what: call.what(),
        reason,
    };
    let mut url = call.url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let Some(origin) = Origin::of(&url) else {
            let url = shown(&url);
            return Err(protocol(format!(
                "it points to {url}, which is neither http nor https"
            )));
        };
        let insecure = transports.is_insecure(&origin, &origin.authority());
        if !may_follow(&endpoint.home, &origin, insecure) {
            return Err(protocol(format!(
                "it points to {}, which is plain http; mark {} insecure in registries.toml if \
                 that is meant",
                shown(&url),
                origin.authority()
            )));
        }
        let client = if origin == endpoint.home {
            endpoint.http.clone()
        } else {
            transports
                .for_target(&endpoint.home, &endpoint.name, &origin)
                .await?
        };
        let mut request = client
            .request(call.method.clone(), url.clone())
            .headers(call.headers.clone());
        if origin == endpoint.home
            && let Some(authorization) = authorization
        {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = send_body(transports, endpoint, call, request, &url).await?;
        let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let bodyless = matches!(call.method, Method::GET | Method::HEAD);
        if !redirects || !bodyless {
            return Ok((response, url));
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|l| l.to_str().ok());
        let next = location.and_then(|l| endpoint.location(&url, l));
        url = next.ok_or_else(|| protocol("a redirect without a usable Location".to_owned()))?;
    }
    Err(protocol(format!("more than {MAX_REDIRECTS} redirects")))
}

async fn send_body(
    transports: &Transports,
    endpoint: &Endpoint,
    call: &Call,
    request: reqwest::RequestBuilder,
    url: &Url,
) -> Result<Response, Error> {
    let name = &endpoint.name;
    match &call.body {
        Body::Empty => {
            // Registries want the length of an empty POST or PUT to be said.
            let request = match call.method {
                Method::POST | Method::PUT | Method::PATCH => request.body(Bytes::new()),
                _ => request,
            };
            transports.timed(request.send(), name, url).await
        }
        Body::Bytes(bytes) => {
            transports
                .timed(request.body(bytes.clone()).send(), name, url)
                .await
        }
        Body::Part(part) => {
            let (moved, total) = (&part.moved, part.end - part.start);
            moved.store(0, Ordering::Relaxed);
            let flow = Flow {
                moved,
                sent: &|| moved.load(Ordering::Relaxed) >= total,
                starves: &|| false,
            };
            patiently(transports, request.body(part.body()), (name, url), &flow).await
        }
        Body::Stream(stream) => {
            stream.moved.store(0, Ordering::Relaxed);
            let flow = Flow {
                moved: &stream.moved,
                sent: &|| stream.is_sent(),
                starves: &|| stream.starves(),
            };
            patiently(transports, request.body(stream.body()), (name, url), &flow).await
        }
    }
}

/// How a body goes out.
struct Flow<'f> {
    /// Bytes handed to the network.
    moved: &'f AtomicU64,
    /// Whether that was all of them.
    sent: &'f (dyn Fn() -> bool + Sync),
    /// Whether there is nothing to be sent just now.
    starves: &'f (dyn Fn() -> bool + Sync),
}

/// Sends for as long as bytes go out, or it is for us that the registry waits.
async fn patiently(
    transports: &Transports,
    request: reqwest::RequestBuilder,
    (name, url): (&str, &Url),
    flow: &Flow<'_>,
) -> Result<Response, Error> {
    let sending = request.send();
    tokio::pin!(sending);
    let mut seen = 0;
    loop {
        let patience = match (flow.sent)() {
            true => transports.idle() * COMMIT_PATIENCE,
            false => transports.idle(),
        };
        let outcome = tokio::time::timeout(patience, &mut sending).await;
        let moved = flow.moved.load(Ordering::Relaxed);
        match outcome {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(e)) => return Err(classify(&e, name, url)),
            Err(_) if moved != seen => seen = moved,
            Err(_) if (flow.starves)() => {}
            Err(_) => return Err(timed_out(url, patience)),
        }
    }
}

/// Sends, and again as long as what fails is transient. Only for what may be repeated.
pub(crate) async fn send(
    transports: &Transports,
    config: &Config,
    endpoint: &Endpoint,
    call: &Call,
) -> Result<(Response, Url), Error> {
    let mut failed = 0;
    loop {
        failed += 1;
        let result = exchange(transports, endpoint, call).await;
        let asked: Option<Duration> = match &result {
            Ok((response, _)) if is_transient(response.status()) => retry_after(response.headers()),
            Err(e) if e.is_transient() => None,
            _ => return result,
        };
        let Some(pause) = config.retry.pause(failed, asked) else {
            return result;
        };
        tracing::debug!(call = call.what(), ?pause, "trying again");
        tokio::time::sleep(pause).await;
    }
}

/// Turns an answer that is not the one hoped for into an error.
pub(crate) async fn refuse(
    transports: &Transports,
    endpoint: &Endpoint,
    what: String,
    response: Response,
) -> Error {
    let status = response.status();
    let later = response.headers().get(RETRY_AFTER);
    let later = later.and_then(|v| Some(v.to_str().ok()?.to_owned()));
    let body = read_capped(response, MAX_ERROR, transports.idle(), &what).await;
    let cause = RegistryError {
        retry_after: later,
        ..RegistryError::parse(status, body.as_deref().unwrap_or_default())
    };
    match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized {
            cause,
            note: endpoint.auth.note().await,
        },
        StatusCode::FORBIDDEN => Error::Denied {
            cause,
            note: endpoint.auth.note().await,
        },
        _ => Error::Registry { what, cause },
    }
}
