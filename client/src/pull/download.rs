//! One blob: streamed, resumed with `Range` where the connection broke.

use std::sync::Arc;

use oci::Descriptor;
use oci::blob::BlobStore;
use oci::reference::Repository;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::sink::Sink;
use crate::Client;
use crate::auth::Scopes;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::events::{Events, LayerState};
use crate::http::next_chunk;
use crate::origin::Origin;
use crate::resolve::explain_denied;

impl Client {
    /// From the mirrors, the registry, and for a layer that registries need not hold from where
    /// its descriptor says; to the last without credentials.
    pub(super) async fn download(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        store: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        let result = self
            .read(repository.domain(), |endpoint| async move {
                let url = endpoint.repository_url(repository, &format!("blobs/{}", blob.digest))?;
                let scopes = endpoint.scopes(repository, "pull");
                self.download_from(&endpoint, url, scopes, blob, store, events)
                    .await
            })
            .await;
        let error = match result {
            Ok(()) => return Ok(()),
            Err(e) => explain_denied(e, repository),
        };
        if !blob.media_type.is_non_distributable() {
            return Err(error);
        }
        let endpoint = self.registry(repository.domain()).await?;
        for url in blob.urls.iter().filter_map(|url| url.parse::<Url>().ok()) {
            // The home would get credentials; these URLs are for elsewhere.
            if Origin::of(&url).as_ref() == Some(&endpoint.home) {
                continue;
            }
            let from = self.download_from(&endpoint, url, Scopes::none(), blob, store, events);
            match from.await {
                Ok(()) => return Ok(()),
                Err(e) => tracing::warn!("foreign layer {}: {e}", blob.digest),
            }
        }
        Err(error)
    }

    async fn download_from(
        &self,
        endpoint: &Endpoint,
        url: Url,
        scopes: Scopes,
        blob: &Descriptor,
        store: &Arc<dyn BlobStore>,
        events: &dyn Events,
    ) -> Result<(), Error> {
        let total = blob.size;
        let sink = Sink::start(store, &blob.digest);
        let mut offset = 0;
        let mut failed = 0;
        events.layer(blob, &LayerState::Downloading { current: 0, total });
        while offset < total || total == 0 {
            let mut call = Call::new(Method::GET, url.clone(), scopes.clone());
            if offset > 0 {
                let range = HeaderValue::try_from(format!("bytes={offset}-"));
                let range = range.map_err(|_| Error::Interrupted("a request"))?;
                call = call.header(RANGE, range);
            }
            let before = offset;
            // Opening has had its own further tries; what breaks later goes on from here.
            let (response, skip) = self.open(endpoint, &call, blob, offset).await?;
            let copied = copy(
                self,
                response,
                skip,
                &call,
                blob,
                &sink,
                events,
                &mut offset,
            );
            let error = match copied.await {
                Ok(true) => break,
                // The writer failed, and says why when asked to finish.
                Ok(false) => return sink.finish(total).await,
                Err(e) => e,
            };
            if !error.is_transient() {
                return Err(error);
            }
            failed = if offset > before { 1 } else { failed + 1 };
            let Some(after) = self.config().retry.pause(failed, None) else {
                return Err(error);
            };
            let reason = error.to_string();
            tracing::debug!(offset, "download of {} broke: {reason}", blob.digest);
            events.layer(blob, &LayerState::Retrying { after, reason });
            tokio::time::sleep(after).await;
        }
        events.layer(blob, &LayerState::VerifyingChecksum);
        sink.finish(total).await
    }

    /// Asks for the blob from `offset` on; returns how many bytes of the answer to skip.
    async fn open(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<(Response, u64), Error> {
        let (response, _) = self.send(endpoint, call).await?;
        let (skip, length) = match response.status() {
            // A server that does not know ranges begins anew.
            StatusCode::OK => (offset, blob.size),
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(offset) => {
                (0, blob.size - offset)
            }
            StatusCode::PARTIAL_CONTENT => {
                return Err(Error::Protocol {
                    what: call.what(),
                    reason: format!("asked from byte {offset}, it answers with another range"),
                });
            }
            _ => return Err(self.refuse(endpoint, call, response).await),
        };
        match response.content_length() {
            Some(actual) if actual != length => Err(Error::SizeMismatch {
                what: call.what(),
                expected: length,
                actual,
            }),
            _ => Ok((response, skip)),
        }
    }
}

/// Copies a body to the sink, moving `offset` along. `false`: the sink has failed.
#[allow(clippy::too_many_arguments)]
async fn copy(
    client: &Client,
    mut response: Response,
    mut skip: u64,
    call: &Call,
    blob: &Descriptor,
    sink: &Sink,
    events: &dyn Events,
    offset: &mut u64,
) -> Result<bool, Error> {
    let what = call.what();
    let idle = client.config().idle_timeout;
    while let Some(mut chunk) = next_chunk(&mut response, idle, &what).await? {
        let skipped = skip.min(chunk.len() as u64);
        skip -= skipped;
        let chunk = chunk.split_off(skipped as usize);
        if chunk.is_empty() {
            continue;
        }
        let after = *offset + chunk.len() as u64;
        if after > blob.size {
            return Err(Error::SizeMismatch {
                what,
                expected: blob.size,
                actual: after,
            });
        }
        if !sink.write(chunk).await {
            return Ok(false);
        }
        *offset = after;
        let state = LayerState::Downloading {
            current: after,
            total: blob.size,
        };
        events.layer(blob, &state);
    }
    if *offset < blob.size {
        return Err(Error::Transport {
            what,
            reason: format!("it ended after {offset} of {} bytes", blob.size),
        });
    }
    Ok(true)
}

/// The first byte of `Content-Range: bytes FIRST-LAST/TOTAL`.
pub(crate) fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = text
        .trim()
        .strip_prefix("bytes")?
        .trim_start()
        .split_once('-')?;
    first.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_range() {
        for (value, start) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-9/*", Some(0)),
            ("bytes */10", None),
            ("items 1-2/3", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            assert_eq!(range_start(&headers), start);
        }
    }
}
