//! Who asks, for which page, and the answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE, WWW_AUTHENTICATE, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{Method, StatusCode};
use maud::Markup;

use super::done::Done;
use super::path::{Page, ROOT, with};
use super::stop::Stop;
use super::view::View;
use super::visitor::Visitor;
use super::{
    activity, assets, compare, document, elsewhere, file, files, form, frame, image, login,
    mirrors, past, remove, replication, repositories, rules, storage, tags, tokens,
};
use crate::auth::rules::Access;
use crate::auth::sessions::Sessions;
use crate::http::answer::{ApiError, Refusal, Served, empty, value};
use crate::http::api::Api;
use crate::http::guards::{read_only, throttle};
use crate::http::operations::health;
use crate::http::request::Query;
use crate::route::RouteError;

/// Nothing but style sheet, icon and forms of ours; in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// `/`: the page for a browser, a sign of life for all others.
pub(in crate::http) async fn welcome(State(api): State<Arc<Api>>, request: Request) -> Response {
    let accept = request.headers().get(ACCEPT);
    let wants_page = accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    match api.sessions.is_some() && wants_page {
        true => onward(ROOT),
        false => health::alive().await,
    }
}

/// Answers a request for a page, or for what pages are made of.
pub(in crate::http) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let Some(sessions) = &api.sessions else {
        return ApiError::from_route(RouteError::NotFound, &request.method).into_response();
    };
    if let Some(asset) = assets::answer(&request.method, request.uri.path()) {
        return asset;
    }
    let visitor = match Visitor::of(&api, sessions, &request).await {
        Ok(visitor) => visitor,
        Err(e) => {
            return match Stop::from(e) {
                Stop::Error(e) => e.into_response(),
                Stop::Login | Stop::Elsewhere(_) => onward(ROOT),
            };
        }
    };
    let user = visitor.user.as_deref().map(str::to_owned);
    let mut response = answer(&api, sessions, &visitor, &request, body).await;
    let headers = response.headers_mut();
    if !headers.contains_key(SET_COOKIE)
        && let Some(cookie) = visitor.cookie()
    {
        headers.insert(SET_COOKIE, cookie);
    }
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        // Not "no-referrer": browsers would not say then that a form of ours is one.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        // What one user sees is for nobody who comes after.
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let label = "page";
    response.extensions_mut().insert(Served { label, user });
    response
}

async fn answer(
    api: &Api,
    sessions: &Sessions,
    visitor: &Visitor,
    request: &Parts,
    body: Body,
) -> Response {
    let done = serve(api, sessions, visitor, request, body).await;
    let view = View {
        api,
        sessions,
        visitor,
        request,
        query: Query::default(),
    };
    match done {
        Ok(Done::Page(title, content)) => page(&view, StatusCode::OK, &title, content),
        Ok(Done::Again(seconds, title, content)) => {
            let mut response = page(&view, StatusCode::OK, &title, content);
            let again = HeaderName::from_static("refresh");
            response
                .headers_mut()
                .insert(again, HeaderValue::from(seconds));
            response
        }
        Ok(Done::Onward(path, cookie)) => {
            let mut response = onward(&path);
            if let Some(cookie) = cookie {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(Stop::Elsewhere(path)) => onward(&path),
        Err(Stop::Login) => {
            let asked = request
                .uri
                .path_and_query()
                .map_or(ROOT, |asked| asked.as_str());
            // What a form would have done is not done by going there.
            let next = if request.method == Method::GET {
                asked
            } else {
                ""
            };
            onward(&with("/ui/login", &[("next", next)]))
        }
        Err(Stop::Error(e)) => refused(&view, e),
    }
}

/// Lets the request through, and has its page made.
async fn serve(
    api: &Api,
    sessions: &Sessions,
    visitor: &Visitor,
    request: &Parts,
    body: Body,
) -> Result<Done, Stop> {
    throttle::request(api, request, visitor.user.as_deref())?;
    let path = request.uri.path();
    if path == "/ui" {
        return Err(Stop::Elsewhere(ROOT.to_owned()));
    }
    let page =
        Page::parse(path).ok_or_else(|| Stop::missing("There is no page at this address."))?;
    let view = View {
        api,
        sessions,
        visitor,
        request,
        query: Query::of(request)?,
    };
    if let Some(name) = page.repository() {
        view.need(name, Access::Pull)?;
    }
    if request.method == Method::POST {
        let form = form::read(sessions, visitor, request, body).await?;
        return change(&view, page, &form).await;
    }
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(RouteErrorOf(&request.method).into());
    }
    match page {
        Page::Repositories => repositories::page(&view).await,
        Page::Login => login::page(&view, None),
        Page::Logout => Err(Stop::Elsewhere(ROOT.to_owned())),
        Page::Leave(name) => elsewhere::leave(&view, &name).await,
        Page::Arrive => elsewhere::arrive(&view).await,
        Page::Tokens => tokens::page(&view, None).await,
        Page::Storage => storage::page(&view).await,
        Page::Replication => replication::page(&view).await,
        Page::Activity => activity::page(&view).await,
        Page::Mirrors => mirrors::page(&view).await,
        Page::Tags(name) => tags::page(&view, &name).await,
        Page::Rules(name) => rules::page(&view, &name).await,
        Page::Compare(name) => compare::page(&view, &name).await,
        Page::Image(name, reference) => image::page(&view, &name, &reference).await,
        Page::Files(name, reference) => files::page(&view, &name, &reference).await,
        Page::File(name, reference) => file::page(&view, &name, &reference).await,
        Page::Document(name, reference) => document::page(&view, &name, &reference).await,
        Page::Remove(name, reference) => remove::page(&view, &name, reference.as_ref()).await,
        Page::Past(name, tag) => past::page(&view, &name, &tag).await,
    }
}

/// What a form does.
async fn change(view: &View<'_>, page: Page, form: &Query) -> Result<Done, Stop> {
    match page {
        Page::Login => login::enter(view, form).await,
        Page::Logout => login::leave(view),
        Page::Replication => replication::hurry(view, form).await,
        Page::Tokens => tokens::change(view, form).await,
        Page::Remove(..) | Page::Past(..) if view.api.is_read_only() => {
            read_only::check(view.api)?;
            Err(Stop::Elsewhere(ROOT.to_owned()))
        }
        Page::Remove(name, reference) => remove::remove(view, &name, reference.as_ref()).await,
        Page::Past(name, tag) => past::restore(view, &name, &tag, form).await,
        _ => Err(RouteErrorOf(&Method::POST).into()),
    }
}

/// A method that a page does not know.
struct RouteErrorOf<'m>(&'m Method);

impl From<RouteErrorOf<'_>> for Stop {
    fn from(RouteErrorOf(method): RouteErrorOf<'_>) -> Self {
        Self::Error(ApiError::from_route(
            RouteError::Method("GET, HEAD"),
            method,
        ))
    }
}

fn page(view: &View<'_>, status: StatusCode, title: &str, content: Markup) -> Response {
    let text = frame::page(view, title, content).into_string();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    fill(&mut response, text);
    response
}

/// A page that says what is wrong, with all that programs and logs are told of it.
fn refused(view: &View<'_>, error: ApiError) -> Response {
    let mut response = error.into_response();
    let status = response.status();
    let refusal = response.extensions().get::<Refusal>();
    let message = refusal.map_or_else(String::new, |refusal| refusal.message.clone());
    let (title, content) = frame::wrong(status, &message);
    fill(
        &mut response,
        frame::page(view, &title, content).into_string(),
    );
    // The browser's own way to ask for a password knows no way out.
    response.headers_mut().remove(WWW_AUTHENTICATE);
    response
}

fn fill(response: &mut Response, text: String) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, html);
    *response.body_mut() = text.into();
}

/// Go and look there.
fn onward(path: &str) -> Response {
    let mut response = empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, value(path));
    response
}
