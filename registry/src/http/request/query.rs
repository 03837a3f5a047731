//! A request's query parameters.

use http::StatusCode;
use http::request::Parts;
use serde_json::json;

use crate::http::answer::ApiError;
use crate::route::decode;
use crate::service::MAX_PAGE;

/// The decoded parameters, in order.
///
/// A plus sign means itself: none of the values that a registry knows contains a space, and media
/// types contain pluses.
#[derive(Debug, Default)]
pub(in crate::http) struct Query(Vec<(String, String)>);

impl Query {
    pub(in crate::http) fn of(request: &Parts) -> Result<Self, ApiError> {
        Self::parse(request.uri.query().unwrap_or_default())
    }

    /// The fields of a form, where a plus sign means a space.
    pub(in crate::http) fn of_form(text: &str) -> Result<Self, ApiError> {
        Self::parse(&text.replace('+', " "))
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name)?.into_owned(), decode(value)?.into_owned()))
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "UNSUPPORTED",
                    "the parameters are not percent-encoded UTF-8",
                    serde_json::Value::Null,
                )
            })
    }

    /// The first value of `name`.
    pub(in crate::http) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name`.
    pub(in crate::http) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// `n`, the number of entries wanted; more than a page can hold is as many as it can.
    pub(in crate::http) fn n(&self) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.get("n") else {
            return Ok(None);
        };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "PAGINATION_NUMBER_INVALID",
                "n is the number of entries wanted: an integer, not negative",
                json!({ "n": text }),
            ));
        }
        // Digits that do not fit are a very large number.
        Ok(Some(text.parse().unwrap_or(MAX_PAGE).min(MAX_PAGE)))
    }
}

/// Encodes a value so that [`decode`] gives it back, as Go's `url.QueryEscape` does.
pub(in crate::http) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        let request = http::Request::get(format!("/?{text}")).body(()).unwrap();
        Query::of(&request.into_parts().0).unwrap()
    }

    #[test]
    fn values_are_decoded() {
        let q = query("tag=1&tag=2&artifactType=application%2Fvnd.a+json&flag&&");
        assert_eq!(q.all("tag").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(q.get("artifactType"), Some("application/vnd.a+json"));
        assert_eq!(q.get("flag"), Some(""));
        for bad in ["%zz", "%", "a=%2", "a=%ff", "%c3=1"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        let form = Query::of_form("scope=a:b:c+d%2be&x").unwrap();
        assert_eq!(form.get("scope"), Some("a:b:c d+e"));
    }

    #[test]
    fn n_is_clamped_and_checked() {
        assert_eq!(query("").n().unwrap(), None);
        assert_eq!(query("n=0").n().unwrap(), Some(0));
        assert_eq!(query("n=7").n().unwrap(), Some(7));
        for huge in [
            "2147483648",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert_eq!(query(&format!("n={huge}")).n().unwrap(), Some(MAX_PAGE));
        }
        for bad in ["-1", "x", "", "1.5", "0x10"] {
            assert!(query(&format!("n={bad}")).n().is_err(), "{bad}");
        }
    }

    #[test]
    fn encode_and_decode_are_inverse() {
        for text in ["a/b", "a b&c=d", "ä", "application/vnd.a+json"] {
            assert_eq!(decode(&encode(text)).unwrap(), text);
        }
    }
}
