//! What a form sends.

use axum::body::Body;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use maud::{Markup, html};

use super::stop::Stop;
use super::visitor::{Visitor, comes_from_elsewhere};
use crate::auth::sessions::Sessions;
use crate::http::request::Query;

/// Bytes of a form.
const MOST: usize = 16 << 10;
/// The field that shows that a form is of ours.
const TOKEN: &str = "token";

/// Reads a form, if it was made for the browser that sends it.
pub(super) async fn read(
    sessions: &Sessions,
    visitor: &Visitor,
    request: &Parts,
    body: Body,
) -> Result<Query, Stop> {
    let body = Limited::new(body, MOST).collect().await;
    let bytes = body.map_err(|_| Stop::bad("the form is too large, or did not come whole"))?;
    let text = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
    let form = Query::of_form(&text)?;
    let token = form.get(TOKEN).unwrap_or_default();
    if comes_from_elsewhere(request) || !sessions.is_token(visitor.visit(), token) {
        return Err(Stop::denied(
            "This form is not one of this registry's, or it is too old: nothing was done. Go back, \
             load the page again, and send it once more.",
        ));
    }
    Ok(form)
}

/// The field that a form of ours has.
pub(super) fn token(sessions: &Sessions, visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(sessions.token(visitor.visit())); }
}
