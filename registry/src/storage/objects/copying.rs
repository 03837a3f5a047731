//! Copies within the store.

use std::time::Duration;

use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use reqwest::Method;
use reqwest::header::HeaderName;

use super::store::Store;
use crate::outgoing;
use crate::storage::error::StorageError;

/// What is copied, as S3 is told.
const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");

/// Bytes up to which S3 copies an object in one request.
pub(super) const AT_ONCE: u64 = 5 << 30;
/// Bytes that are copied in one request of a larger one.
const PIECE: u64 = 1 << 30;
/// How long such a request may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Times that one is made.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Copies an object of so many bytes within the store, and sees to it that all of it is there.
    ///
    /// # Errors
    /// [`StorageError::Store`], [`StorageError::Unreachable`].
    pub(super) async fn copy_whole(
        &self,
        from: &Path,
        to: &Path,
        size: u64,
    ) -> Result<(), StorageError> {
        if size > AT_ONCE && self.is_s3() {
            self.copy_in_pieces(from, to, size, PIECE).await?;
        } else {
            self.copy(from, to).await?;
        }
        match self.head(to).await? {
            Some(found) if found.size == size => Ok(()),
            found => Err(StorageError::Unreachable {
                place: self.place(to),
                why: format!(
                    "the store copied {} bytes of {size}",
                    found.map_or(0, |found| found.size)
                ),
            }),
        }
    }

    /// The same a piece at a time, as S3 wants it of large ones.
    pub(super) async fn copy_in_pieces(
        &self,
        from: &Path,
        to: &Path,
        size: u64,
        piece: u64,
    ) -> Result<(), StorageError> {
        let id = self.begin(to).await?;
        let copied = self.pieces(from, to, &id, size, piece).await;
        let completed = match copied {
            Ok(parts) => self.complete(to, &id, &parts, size).await,
            Err(e) => Err(e),
        };
        if completed.is_err()
            && let Err(e) = self.abort(to, &id).await
        {
            tracing::warn!(error = %e, "the parts of a copy stay");
        }
        completed
    }

    async fn pieces(
        &self,
        from: &Path,
        to: &Path,
        id: &str,
        size: u64,
        piece: u64,
    ) -> Result<Vec<String>, StorageError> {
        let settings = self.settings();
        let failed = |why: String| StorageError::Unreachable {
            place: self.place(to),
            why,
        };
        let endpoint = settings.endpoint.as_deref().unwrap_or("https://");
        let client = outgoing::client(endpoint, settings.ca.as_deref(), PATIENCE);
        let client = client.map_err(|e| failed(e.to_string()))?;
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < size {
            let end = size.min(at + piece);
            let number = (parts.len() + 1).to_string();
            let query = [("partNumber", number), ("uploadId", id.to_owned())];
            let mut options = SignedUrlOptions::default().with_query(query);
            let headers = [
                (SOURCE, format!("{}/{from}", settings.bucket)),
                (RANGE, format!("bytes={at}-{}", end - 1)),
            ];
            for (name, value) in headers {
                let value = value
                    .parse()
                    .map_err(|_| failed(format!("{from} is no key")))?;
                options = options.with_signed_header(name, value);
            }
            let mut tried = 0;
            let part = loop {
                let signed = self
                    .signer()
                    .signed_url_opts(Method::PUT, to, PATIENCE, &options)
                    .await;
                let url = signed.map_err(self.failed("sign", to))?;
                let asked = client.put(url).headers(options.signed_headers.clone());
                let why = match answer(asked).await {
                    Ok(part) => break part,
                    Err(why) => why,
                };
                tried += 1;
                if tried == ATTEMPTS {
                    return Err(failed(why));
                }
                tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(tried)).await;
            };
            parts.push(part);
            at = end;
        }
        Ok(parts)
    }
}

/// What the store calls the part that it copied.
async fn answer(asked: reqwest::RequestBuilder) -> Result<String, String> {
    let answer = asked.send().await.map_err(|e| outgoing::reason(&e))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|e| outgoing::reason(&e))?;
    let between = |text: &str| Some(text.split_once("<ETag>")?.1.split_once('<')?.0.to_owned());
    match between(&text).filter(|_| status.is_success()) {
        Some(etag) => Ok(etag.replace("&quot;", "\"")),
        None => Err(format!("a copy was answered {status}")),
    }
}
