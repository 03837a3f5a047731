//! The style sheet and the icon, under names that change with them: browsers keep them for good.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method};
use oci::Digest;

/// One file that pages use.
struct Asset {
    path: String,
    kind: &'static str,
    bytes: &'static [u8],
}

static ALL: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    [
        asset(
            "style",
            "css",
            "text/css; charset=utf-8",
            include_bytes!("assets/style.css"),
        ),
        asset(
            "icon",
            "svg",
            "image/svg+xml",
            include_bytes!("assets/icon.svg"),
        ),
    ]
});

fn asset(name: &str, ending: &str, kind: &'static str, bytes: &'static [u8]) -> Asset {
    let digest = Digest::sha256(bytes);
    let path = format!("/ui/assets/{name}.{}.{ending}", &digest.hex()[..16]);
    Asset { path, kind, bytes }
}

/// Where the style sheet is.
pub(super) fn style() -> &'static str {
    &ALL[0].path
}

/// Where the icon is.
pub(super) fn icon() -> &'static str {
    &ALL[1].path
}

/// The answer to a request for one; `None` when it is for none.
pub(super) fn answer(method: &Method, path: &str) -> Option<Response> {
    let asset = ALL.iter().find(|asset| asset.path == path)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = Response::new(Body::from(asset.bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(asset.bytes.len()));
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, forever);
    Some(response)
}
