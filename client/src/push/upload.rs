//! One blob into one repository: found there, mounted, or uploaded and resumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci::Descriptor;
use oci::blob::BlobStore;
use oci::reference::Repository;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use super::place::{Failed, Place, SMALL, TICK, may_go_on};
use super::session::{Session, received};
use crate::call::{Body, Call};
use crate::error::Error;
use crate::events::{Events, LayerState};
use crate::part::Part;

/// What is pushed where.
pub(super) struct Target<'a> {
    pub(super) place: Place<'a>,
    pub(super) blob: &'a Descriptor,
    pub(super) source: &'a Arc<dyn BlobStore>,
    pub(super) events: &'a dyn Events,
}

/// How a blob came to be in a repository.
pub(super) enum Arrival {
    Existed,
    Mounted(Repository),
    Uploaded,
}

impl Target<'_> {
    /// Sees to it that the repository has the blob without sending it, if that can be.
    pub(super) async fn place(&self, mount_from: &[Repository]) -> Result<Option<Arrival>, Error> {
        if self.exists().await? {
            return Ok(Some(Arrival::Existed));
        }
        for from in mount_from {
            match self.mount(from).await? {
                Mount::Done => return Ok(Some(Arrival::Mounted(from.clone()))),
                Mount::Session(begun) => self.place.cancel(begun).await,
                Mount::Refused => {}
            }
        }
        Ok(None)
    }

    /// Sees to it that the repository has the blob.
    pub(super) async fn bring(&self, mount_from: &[Repository]) -> Result<Arrival, Error> {
        if self.exists().await? {
            return Ok(Arrival::Existed);
        }
        let mut session = None;
        for from in mount_from {
            match self.mount(from).await? {
                Mount::Done => return Ok(Arrival::Mounted(from.clone())),
                Mount::Session(begun) => {
                    if let Some(before) = session.replace(begun) {
                        self.place.cancel(before).await;
                    }
                }
                Mount::Refused => {}
            }
        }
        self.upload(session).await?;
        Ok(Arrival::Uploaded)
    }

    async fn exists(&self) -> Result<bool, Error> {
        self.place.has(self.blob).await
    }

    /// Asks for a blob of another repository (distribution-spec, "Mounting a blob from another
    /// repository"). A registry that does not mount begins an upload instead.
    async fn mount(&self, from: &Repository) -> Result<Mount, Error> {
        let Place {
            client,
            endpoint,
            scopes,
            ..
        } = self.place;
        let mut url = self.place.uploads()?;
        url.query_pairs_mut()
            .append_pair("mount", &self.blob.digest.to_string())
            .append_pair("from", &endpoint.path(from));
        let call = Call::new(Method::POST, url, scopes.clone());
        let (response, url) = client.send(endpoint, &call).await?;
        Ok(match response.status() {
            StatusCode::CREATED => Mount::Done,
            StatusCode::ACCEPTED => match Session::begin(endpoint, &url, &response) {
                Some(session) => Mount::Session(session),
                None => Mount::Refused,
            },
            _ => Mount::Refused,
        })
    }

    /// Uploads, going on after failures where the registry says it is, or from the start.
    async fn upload(&self, first: Option<Session>) -> Result<(), Error> {
        let size = self.blob.size;
        let mut next = first;
        let (mut failed, mut furthest) = (0, 0);
        'session: loop {
            let mut session = match next.take() {
                Some(session) => session,
                None => self.place.begin(self.blob.digest.algorithm()).await?,
            };
            let mut offset = 0;
            loop {
                let closing = offset == size || (offset == 0 && size <= self.small(&session));
                let step = if closing {
                    self.close(&session, offset).await
                } else {
                    self.patch(&mut session, &mut offset).await
                };
                let (error, asked) = match step {
                    Ok(()) if closing => return Ok(()),
                    Ok(()) => continue,
                    Err(failure) => failure,
                };
                if !may_go_on(&error) {
                    self.place.cancel(session).await;
                    return Err(error);
                }
                // Only what was never reached before counts as progress.
                failed = if offset > furthest { 1 } else { failed + 1 };
                furthest = furthest.max(offset);
                let Some(after) = self.place.client.config().retry.pause(failed, asked) else {
                    self.place.cancel(session).await;
                    return Err(error);
                };
                let reason = error.to_string();
                tracing::debug!(offset, "upload of {} broke: {reason}", self.blob.digest);
                self.events
                    .layer(self.blob, &LayerState::Retrying { after, reason });
                tokio::time::sleep(after).await;
                if closing && self.exists().await? {
                    return Ok(());
                }
                match self.status(&mut session).await {
                    Some(there) if there <= size && size > self.small(&session) => offset = there,
                    _ => {
                        self.place.cancel(session).await;
                        continue 'session;
                    }
                }
            }
        }
    }

    fn small(&self, session: &Session) -> u64 {
        match self.place.client.config().upload_chunk {
            Some(chunk) => SMALL.min(chunk.max(session.min_chunk)),
            None => SMALL,
        }
    }

    /// Sends the next chunk, or all the rest where none is configured.
    async fn patch(&self, session: &mut Session, offset: &mut u64) -> Result<(), Failed> {
        let size = self.blob.size;
        let end = match self.place.client.config().upload_chunk {
            Some(chunk) => size.min(*offset + chunk.max(session.min_chunk).max(1)),
            None => size,
        };
        let mut call = self.part(Method::PATCH, session.url.clone(), *offset, end);
        // A whole blob in one piece is a stream, to which registries of old do not want a range.
        if *offset > 0 || end < size {
            let range = HeaderValue::try_from(format!("{offset}-{}", end - 1));
            let range = range.map_err(|_| (Error::Interrupted("a request"), None))?;
            call = call.header(CONTENT_RANGE, range);
        }
        let (response, url) = self.stream(&call, *offset).await?;
        session.advance(self.place.endpoint, &url, &response);
        *offset = end;
        Ok(())
    }

    /// Ends the upload; a small blob goes along.
    async fn close(&self, session: &Session, offset: u64) -> Result<(), Failed> {
        let url = session.closing(&self.blob.digest);
        let call = if offset < self.blob.size {
            self.part(Method::PUT, url, offset, self.blob.size)
        } else {
            Call::new(Method::PUT, url, self.place.scopes.clone())
        };
        self.stream(&call, offset).await.map(drop)
    }

    fn part(&self, method: Method, url: Url, start: u64, end: u64) -> Call {
        let part = Part {
            source: Arc::clone(self.source),
            digest: self.blob.digest.clone(),
            start,
            end,
            moved: Arc::new(AtomicU64::new(0)),
            failure: Arc::default(),
        };
        Call::new(method, url, self.place.scopes.clone())
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(Body::Part(part))
    }

    /// Sends once, telling progress meanwhile.
    async fn stream(&self, call: &Call, offset: u64) -> Result<(Response, Url), Failed> {
        let total = self.blob.size;
        let sending = self.place.client.exchange(self.place.endpoint, call);
        tokio::pin!(sending);
        let mut tick = tokio::time::interval(TICK);
        let result = loop {
            tokio::select! {
                result = &mut sending => break result,
                _ = tick.tick() => {
                    if let Body::Part(part) = &call.body {
                        let current = offset + part.moved.load(Ordering::Relaxed);
                        self.events.layer(self.blob, &LayerState::Pushing { current, total });
                    }
                }
            }
        };
        if let (Err(_), Body::Part(part)) = (&result, &call.body)
            && let Some(cause) = part.take_failure()
        {
            return Err((crate::pull::blob_error(&self.blob.digest, cause), None));
        }
        let (response, url) = result.map_err(|e| (e, None))?;
        self.place.taken(call, (response, url)).await
    }

    /// How much the registry has of an upload (distribution-spec, end-13).
    async fn status(&self, session: &mut Session) -> Option<u64> {
        let Place {
            client,
            endpoint,
            scopes,
            ..
        } = self.place;
        let call = Call::new(Method::GET, session.url.clone(), scopes.clone());
        let (response, url) = client.send(endpoint, &call).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        session.advance(endpoint, &url, &response);
        received(response.headers())
    }
}

enum Mount {
    Done,
    Session(Session),
    Refused,
}
