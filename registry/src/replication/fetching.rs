//! A blob that comes here: from another repository of this registry, or over the network.

use std::pin::Pin;

use bytes::Bytes;
use client::upstream::BlobBody;
use futures_util::{Stream, stream};
use oci::Digest;

use super::error::Trouble;
use super::pulling::Way;
use super::remote::found;
use crate::service::ServiceError;
use crate::storage::Received;

/// Times that a blob is gone on with without a byte in between.
const ATTEMPTS: u32 = 3;

impl Way<'_> {
    /// Sees to it that a blob is here.
    pub(super) async fn take_blob(&self, digest: Digest) -> Result<(), Trouble> {
        let (rule, digest) = (self.rule, &digest);
        match rule.registry.blob(&self.here, digest).await {
            Ok(_) => return Ok(()),
            Err(ServiceError::BlobUnknown(_)) => {}
            Err(e) => return Err(e.into()),
        }
        // Many images stand on one layer: it comes once.
        let lock = rule.remote.fetching(digest);
        let _alone = lock.lock().await;
        if rule.registry.is_stored(digest).await? {
            // It must be in that repository there too: what a manifest names is not to be believed.
            let has = rule.remote.upstream.has_blob(&self.there, digest).await;
            if found(has)?.is_none() {
                return Err(missing(digest));
            }
            if rule.registry.show_stored(&self.here, digest).await? {
                return Ok(());
            }
        }
        self.fetch_blob(digest).await
    }

    /// Fetches a blob, going on where a connection broke; kept once it is what its digest says.
    async fn fetch_blob(&self, digest: &Digest) -> Result<(), Trouble> {
        let rule = self.rule;
        let mut incoming = rule.registry.incoming(digest).await?;
        let (mut failed, mut total) = (0, None);
        loop {
            let offset = incoming.written();
            let body = rule.remote.upstream.blob(&self.there, digest, offset).await;
            let body = match found(body) {
                // It may only not like to begin in the middle.
                Err(_) if total.is_none() && offset > 0 => {
                    let body = rule.remote.upstream.blob(&self.there, digest, 0).await;
                    let body = found(body)?;
                    incoming.forget();
                    incoming = rule.registry.incoming(digest).await?;
                    body
                }
                body => body?,
            };
            let body = body.ok_or_else(|| missing(digest))?;
            let offset = incoming.written();
            total = total.or(body.total());
            let received = incoming.receive(chunks(body)).await;
            let why = match received.map_err(ServiceError::from)? {
                Received::Complete if total.is_none_or(|total| incoming.written() >= total) => {
                    break;
                }
                Received::Complete => "it ended early".to_owned(),
                Received::Broken(why) => why,
            };
            failed = match incoming.written() > offset {
                true => 1,
                false => failed + 1,
            };
            if failed >= ATTEMPTS {
                return Err(Trouble::own(format!("blob {digest}: {why}")));
            }
            tracing::debug!(%digest, offset, "a blob broke off, going on: {why}");
        }
        let bytes = incoming.written();
        let staged = incoming.verified(digest).await;
        let Some(staged) = staged.map_err(ServiceError::from)? else {
            return Err(Trouble::own(format!(
                "blob {digest}: its bytes are not what the digest says"
            )));
        };
        rule.registry
            .keep_blob(staged, digest, vec![self.here.clone()])
            .await?;
        rule.counts.bytes(bytes);
        Ok(())
    }
}

fn missing(digest: &Digest) -> Trouble {
    Trouble::own(format!("blob {digest} is not there"))
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

fn chunks(body: BlobBody) -> Chunks {
    Box::pin(stream::try_unfold(body, |mut body| async move {
        let chunk = body.chunk().await.map_err(|e| e.to_string())?;
        Ok(chunk.map(|chunk| (chunk, body)))
    }))
}
