//! Copies within the store.

use std::time::{Duration, Instant};

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
/// How long such a request may take, or a copy that the store makes later.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at such a copy.
const PAUSE: Duration = Duration::from_millis(250);
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
        let mut found = self.head(to).await?;
        // Azure may copy later: until then an object is there, and empty.
        let begun = Instant::now();
        while !self.is_s3()
            && size > 0
            && found.as_ref().is_some_and(|found| found.size == 0)
            && begun.elapsed() < PATIENCE
        {
            tokio::time::sleep(PAUSE).await;
            found = self.head(to).await?;
        }
        match found {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use object_store::GetRange;

    use super::super::connect::connect;
    use super::super::settings::{ObjectSettings, Service};
    use crate::standin::serve;

    #[tokio::test]
    async fn a_large_object_is_copied_a_piece_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let addr = serve(dir.path()).await;
        let store = connect(&ObjectSettings {
            service: Service::S3,
            bucket: "bucket".to_owned(),
            prefix: "a/".to_owned(),
            endpoint: Some(format!("http://{addr}")),
            region: None,
            path_style: true,
            allow_http: true,
            ca: None,
            access_key: Some("key".to_owned()),
            secret_key: Some("secret".to_owned()),
            redirect: false,
        })
        .unwrap();
        let (from, to) = (store.key("from"), store.key("to"));
        let piece = 5 << 20;
        let content: Bytes = (0..2 * piece + 7)
            .map(|n: u64| (n * n % 251) as u8)
            .collect();
        let size = content.len() as u64;
        store.put(&from, [content.clone()]).await.unwrap();
        store.copy_in_pieces(&from, &to, size, piece).await.unwrap();
        let copied = store
            .get(&to, Some(GetRange::Bounded(0..size)))
            .await
            .unwrap();
        assert!(copied.unwrap().bytes().await.unwrap() == content);
        // What is not there is not copied, and no parts stay.
        let (none, other) = (store.key("none"), store.key("other"));
        store
            .copy_in_pieces(&none, &other, size, piece)
            .await
            .unwrap_err();
        assert!(store.head(&other).await.unwrap().is_none());
        let names = std::fs::read_dir(dir.path()).unwrap().flatten();
        let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
        assert!(names.all(|name| !name.contains("upload_id")));
    }
}
