//! Uploading a blob while it is made: the same requests that docker's own client sends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use oci::reference::Repository;
use oci::{Algorithm, Descriptor};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use super::place::{Place, SMALL, TICK, may_go_on};
use super::session::Session;
use crate::Client;
use crate::call::{Body, Call};
use crate::error::Error;
use crate::events::{Events, LayerState};
use crate::growing::{Growing, Stream};

/// With more than this to send, it is worth a request to ask whether the registry has it all.
const WORTH_ASKING: u64 = 4 << 20;

impl Client {
    /// Uploads a blob while it is made, without knowing its digest before the end. `events` is told
    /// once that is known. False when it is to be pushed in the ordinary way once it is whole: it
    /// is small, chunks of a size are configured, or the registry has broken off.
    ///
    /// # Errors
    /// Those of [`Client::push`] that would meet the ordinary way too.
    pub async fn push_growing(
        &self,
        repository: &Repository,
        blob: &Growing,
        events: &dyn Events,
    ) -> Result<bool, Error> {
        if self.config().upload_chunk.is_some() || !blob.exceeds(SMALL).await {
            return Ok(false);
        }
        let endpoint = self.registry(repository.domain()).await?;
        let scopes = endpoint.scopes(repository, "pull,push");
        let _permit = self.may_upload(|| {}).await?;
        let place = Place {
            client: self,
            endpoint: &endpoint,
            repository,
            scopes: &scopes,
        };
        let session = match place.begin(Algorithm::Sha256).await {
            Ok(session) => session,
            Err(e) if may_go_on(&e) => return Ok(false),
            Err(e) => return Err(e),
        };
        let upload = Upload {
            place,
            blob,
            events,
        };
        upload.send(session).await
    }
}

/// An upload of a blob that grows.
struct Upload<'a> {
    place: Place<'a>,
    blob: &'a Growing,
    events: &'a dyn Events,
}

/// What sending came to.
enum Sent {
    /// The registry has all of it, and is to be told so.
    All(Session),
    /// The registry had it already.
    Needless,
}

impl Upload<'_> {
    async fn send(&self, session: Session) -> Result<bool, Error> {
        // Dropped with the request, so that a registry keeps nothing of a push that was ended.
        let url = session.url.clone();
        let sent = match self.stream(session).await {
            Ok(sent) => sent,
            Err(e) => return self.broke(url, e).await,
        };
        let Sent::All(session) = sent else {
            self.place.cancel(Session { url, min_chunk: 0 }).await;
            return Ok(true);
        };
        let url = session.url.clone();
        let Some(blob) = self.blob.whole().await else {
            self.place.cancel(session).await;
            return Ok(false);
        };
        let closing = session.closing(&blob.digest);
        let call = Call::new(Method::PUT, closing, self.place.scopes.clone());
        let Place {
            client, endpoint, ..
        } = self.place;
        let answer = client.exchange(endpoint, &call).await;
        let closed = match answer {
            Ok(answer) => self.place.taken(&call, answer).await.map_err(|(e, _)| e),
            Err(e) => Err(e),
        };
        match closed {
            Ok(_) => {
                self.events.layer(&blob, &LayerState::Pushed);
                Ok(true)
            }
            Err(e) => self.broke(url, e).await,
        }
    }

    /// The ordinary way goes on from the file, and tells what stands in its way as well.
    async fn broke(&self, url: reqwest::Url, error: Error) -> Result<bool, Error> {
        self.place.cancel(Session { url, min_chunk: 0 }).await;
        match may_go_on(&error) || error.registry_error().is_some() {
            true => {
                tracing::debug!("an upload broke while its blob was made: {error}");
                Ok(false)
            }
            false => Err(error),
        }
    }

    /// Sends all of the blob in one `PATCH`, whose end nobody knows at its beginning.
    async fn stream(&self, mut session: Session) -> Result<Sent, Error> {
        let stream = Stream {
            blob: self.blob.clone(),
            moved: Arc::default(),
        };
        let kind = HeaderValue::from_static("application/octet-stream");
        let scopes = self.place.scopes.clone();
        let call = Call::new(Method::PATCH, session.url.clone(), scopes)
            .header(CONTENT_TYPE, kind)
            .body(Body::Stream(stream.clone()));
        let Place {
            client, endpoint, ..
        } = self.place;
        let sending = client.exchange(endpoint, &call);
        tokio::pin!(sending);
        let mut tick = tokio::time::interval(TICK);
        let mut whole: Option<Descriptor> = None;
        let answer = loop {
            tokio::select! {
                answer = &mut sending => break answer?,
                _ = tick.tick() => {}
            }
            let current = stream.moved.load(Ordering::Relaxed);
            if let Some(blob) = &whole {
                let total = blob.size;
                self.events
                    .layer(blob, &LayerState::Pushing { current, total });
                continue;
            }
            whole = self.blob.now_whole();
            if let Some(blob) = &whole
                && current + WORTH_ASKING < blob.size
                && matches!(self.place.has(blob).await, Ok(true))
            {
                self.events.layer(blob, &LayerState::LayerAlreadyExists);
                return Ok(Sent::Needless);
            }
        };
        let (response, url) = self.place.taken(&call, answer).await.map_err(|(e, _)| e)?;
        session.advance(endpoint, &url, &response);
        Ok(Sent::All(session))
    }
}
