//! Upload sessions: where they are, and what of them the registry has.

use oci::Digest;
use reqwest::header::{HeaderMap, LOCATION, RANGE};
use reqwest::{Response, Url};

use crate::endpoint::Endpoint;

/// An upload that a registry has begun.
pub(super) struct Session {
    /// Where the next request goes; taken from each answer, its query kept.
    pub(super) url: Url,
    /// The least that a `PATCH` other than the last may carry.
    pub(super) min_chunk: u64,
}

impl Session {
    /// From the answer to a `POST`; `None` when it names no place.
    pub(super) fn begin(endpoint: &Endpoint, current: &Url, response: &Response) -> Option<Self> {
        let url = location(endpoint, current, response.headers())?;
        let min_chunk = response
            .headers()
            .get("oci-chunk-min-length")
            .and_then(|v| v.to_str().ok()?.trim().parse().ok())
            .unwrap_or(0);
        Some(Self { url, min_chunk })
    }

    /// Goes on where an answer says, or stays.
    pub(super) fn advance(&mut self, endpoint: &Endpoint, current: &Url, response: &Response) {
        if let Some(url) = location(endpoint, current, response.headers()) {
            self.url = url;
        }
    }

    /// The URL that ends the upload.
    pub(super) fn closing(&self, digest: &Digest) -> Url {
        let mut url = self.url.clone();
        // Appended by hand: the query may be a signature over its exact bytes, which a
        // re-encoding would break.
        let digest = format!("{}%3A{}", digest.algorithm(), digest.hex());
        let query = match url.query().filter(|q| !q.is_empty()) {
            Some(query) => format!("{query}&digest={digest}"),
            None => format!("digest={digest}"),
        };
        url.set_query(Some(&query));
        url
    }
}

fn location(endpoint: &Endpoint, current: &Url, headers: &HeaderMap) -> Option<Url> {
    endpoint.location(current, headers.get(LOCATION)?.to_str().ok()?)
}

/// How many bytes `Range: 0-LAST` says the registry has. `0-0` is what some say for none and some
/// for one; it counts as unknown.
pub(super) fn received(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let text = text.trim().trim_start_matches("bytes=");
    let (first, last) = text.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (first == "0" && last > 0).then_some(last.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_location_is_kept() {
        let digest = Digest::sha256(b"x");
        for (url, query) in [
            ("https://r/u/1", format!("digest=sha256%3A{}", digest.hex())),
            (
                "https://r/u/1?_state=a%2Bb%3D",
                format!("_state=a%2Bb%3D&digest=sha256%3A{}", digest.hex()),
            ),
        ] {
            let session = Session {
                url: url.parse().unwrap(),
                min_chunk: 0,
            };
            assert_eq!(session.closing(&digest).query(), Some(query.as_str()));
        }
    }

    #[test]
    fn reads_what_was_received() {
        for (range, count) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", None),
            ("5-9", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            assert_eq!(received(&headers), count, "{range}");
        }
    }
}
