//! `Link: <…>; rel="next"` (RFC 8288) as registries page with it.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// The URL of the next page, relative to the one at hand.
pub(crate) fn next_link(headers: &HeaderMap, current: &Url) -> Option<Url> {
    headers.get_all(LINK).iter().find_map(|value| {
        let text = value.to_str().ok()?;
        let (target, params) = text.trim().strip_prefix('<')?.split_once('>')?;
        let next = params.split(';').any(|param| {
            param
                .trim()
                .strip_prefix("rel=")
                .is_some_and(|rel| rel.trim_matches('"').eq_ignore_ascii_case("next"))
        });
        next.then(|| current.join(target).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        let current: Url = "https://r.example.com/v2/a/tags/list?n=1".parse().unwrap();
        for (value, next) in [
            (
                r#"</v2/a/tags/list?n=1&last=x>; rel="next""#,
                Some("https://r.example.com/v2/a/tags/list?n=1&last=x"),
            ),
            (
                "<?last=y>; rel=next",
                Some("https://r.example.com/v2/a/tags/list?last=y"),
            ),
            (r#"</x>; rel="prev""#, None),
            ("junk", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            let got = next_link(&headers, &current).map(|u| u.to_string());
            assert_eq!(got.as_deref(), next);
        }
    }
}
