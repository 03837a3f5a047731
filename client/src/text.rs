//! What may be shown of others' words and of URLs.

use reqwest::Url;

/// How many characters of a registry's own words are shown.
const MAX_MESSAGE: usize = 500;

/// A registry's text without control characters (it goes to a terminal) and not too long.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_MESSAGE)
        .collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        out.push('…');
    }
    out
}

/// A URL for messages: without query (which may be a signature) and without user info.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for URLs that can have no user info.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
