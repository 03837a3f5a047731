//! Blobs of mirrored repositories.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use client::upstream::BlobBody;
use futures_util::{Stream, stream};
use oci::Digest;
use tokio::sync::watch;

use super::error::MirrorError;
use super::fetches::{Fetch, Opened, Place};
use super::manifests::key;
use super::sources::{Source, Verdict};
use super::whole::{Mirror, Trouble};
use crate::name::RepositoryName;
use crate::service::{Blob, ServiceError};
use crate::storage::{Filling, Incoming, Received, Segment, Staged, read_incoming};

/// Times that a blob is asked for again without a byte in between.
const ATTEMPTS: u32 = 5;
/// The pause before the second time; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// A blob of a mirrored repository.
#[derive(Debug)]
pub enum MirroredBlob {
    /// It is here by now.
    Here(Arc<Blob>),
    /// It is coming.
    Arriving(Arriving),
}

/// A blob that is coming.
#[derive(Debug)]
pub struct Arriving {
    /// Bytes of all of it.
    pub size: u64,
    file: Arc<File>,
    filling: watch::Receiver<Filling>,
}

impl Arriving {
    /// Streams parts of it, each as soon as it is here; its last byte only once all is verified.
    pub fn read(
        &self,
        segments: Vec<Segment>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (file, filling) = (Arc::clone(&self.file), self.filling.clone());
        read_incoming(file, filling, self.size, segments)
    }

    /// Waits until it is here, verified and kept; whether it is.
    pub(super) async fn complete(mut self) -> Result<(), String> {
        let ended = self.filling.wait_for(|filling| filling.end.is_some()).await;
        match ended.map(|filling| filling.end.clone()) {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(why))) => Err(why.to_string()),
            _ => Err("the fetch was given up".to_owned()),
        }
    }
}

impl Mirror {
    /// A blob that a mirrored repository does not show yet.
    ///
    /// # Errors
    /// [`ServiceError::BlobUnknown`], [`MirrorError::Unavailable`].
    pub async fn blob(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<MirroredBlob, MirrorError> {
        self.may_be_there(name, digest)?;
        self.counts.misses.fetch_add(1, Relaxed);
        let found = self.blob_of(name, digest).await;
        if matches!(found, Err(MirrorError::Unavailable(_))) {
            self.counts.failed.fetch_add(1, Relaxed);
        }
        found
    }

    /// The size of a blob that a mirrored repository does not show yet. It is not fetched.
    ///
    /// # Errors
    /// As [`Mirror::blob`].
    pub async fn blob_size(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, MirrorError> {
        self.may_be_there(name, digest)?;
        match self.confirm(name, digest).await? {
            Some(size) => Ok(size),
            // An upstream that does not tell.
            None => match self.blob_of(name, digest).await? {
                MirroredBlob::Here(blob) => Ok(blob.size),
                MirroredBlob::Arriving(arriving) => Ok(arriving.size),
            },
        }
    }

    fn may_be_there(&self, name: &RepositoryName, digest: &Digest) -> Result<(), ServiceError> {
        match self.settings.offline || self.is_missing(name, &key(name, digest)) {
            true => Err(ServiceError::BlobUnknown(digest.clone())),
            false => Ok(()),
        }
    }

    async fn blob_of(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<MirroredBlob, MirrorError> {
        let mut confirmed = false;
        loop {
            // What others have here is not asked for again, but the upstream must say that it is
            // in this repository too: manifests are not to be believed.
            if self.registry.is_stored(digest).await? {
                if !confirmed {
                    self.confirm(name, digest).await?;
                    confirmed = true;
                }
                if self.registry.show_stored(name, digest).await? {
                    let blob = self.registry.blob(name, digest).await?;
                    return Ok(MirroredBlob::Here(blob));
                }
            }
            let fetch = match self.fetches.join(digest, name, confirmed) {
                Place::Joined(fetch) => fetch,
                Place::Begun(fetch) => {
                    let (this, fetch) = (Arc::clone(self), fetch);
                    let (work, name, digest) = (Arc::clone(&fetch), name.clone(), digest.clone());
                    tokio::spawn(async move { this.run(&work, &name, &digest).await });
                    fetch
                }
                Place::Elsewhere => {
                    self.confirm(name, digest).await?;
                    confirmed = true;
                    continue;
                }
            };
            let mut opened = fetch.opened.subscribe();
            let opened = opened.wait_for(|opened| !matches!(opened, Opened::Waiting));
            let opened = opened.await.map(|opened| opened.clone());
            return match opened {
                Ok(Opened::Coming {
                    size,
                    file,
                    filling,
                }) => Ok(MirroredBlob::Arriving(Arriving {
                    size,
                    file,
                    filling,
                })),
                Ok(Opened::Unavailable(why)) => Err(why.into()),
                Ok(Opened::Missing | Opened::Waiting) => {
                    Err(ServiceError::BlobUnknown(digest.clone()).into())
                }
                Err(_) => Err(self.broken("the registry is closing").into()),
            };
        }
    }

    /// Asks whether a repository of an upstream has a blob; its size, where that is told.
    async fn confirm(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, MirrorError> {
        let mut silent = None;
        for (source, path) in self.sources_of(name) {
            match source.ask(source.client.has_blob(&path, digest)).await {
                Verdict::Found(size) => return Ok(size),
                Verdict::Missing => {}
                Verdict::Unavailable(why) => {
                    silent.get_or_insert(why);
                }
            }
        }
        match silent {
            Some(why) => Err(why.into()),
            None => {
                self.missing.put(&key(name, digest), ());
                Err(ServiceError::BlobUnknown(digest.clone()).into())
            }
        }
    }

    /// Brings a blob here, for all who wait for it.
    async fn run(self: &Arc<Self>, fetch: &Arc<Fetch>, name: &RepositoryName, digest: &Digest) {
        // Those that had trouble with it lately come last.
        let mut sources = self.sources_of(name);
        sources.sort_by_key(|(source, _)| self.trouble(source, digest).is_some());
        let mut incoming = match self.registry.incoming(digest).await {
            Ok(incoming) => incoming,
            Err(e) => return self.cannot_keep(fetch, digest, &e),
        };
        let (mut silent, mut sources) = (None, sources.into_iter());
        let (source, path, body) = loop {
            let Some((source, path)) = sources.next() else {
                self.fetches.end(digest);
                if silent.is_none() {
                    self.missing.put(&key(name, digest), ());
                }
                let _ = fetch.opened.send_replace(match silent {
                    None => Opened::Missing,
                    Some(why) => Opened::Unavailable(why),
                });
                return;
            };
            if self.trouble(&source, digest) == Some(Trouble::Wrong) {
                let why = "it gave other bytes than the digest says".to_owned();
                silent.get_or_insert(source.unavailable(why));
                continue;
            }
            let (asked, kept) = match self.ask_for(&source, &path, digest, incoming).await {
                Ok(asked) => asked,
                Err(e) => return self.cannot_keep(fetch, digest, &e),
            };
            incoming = kept;
            match asked {
                Verdict::Found(body) => break (source, path, body),
                Verdict::Missing => {}
                Verdict::Unavailable(why) => {
                    silent.get_or_insert(why);
                }
            }
        };
        let (file, filling) = incoming.watch();
        let total = body.total();
        let coming = |size| Opened::Coming {
            size,
            file: Arc::clone(&file),
            filling: filling.subscribe(),
        };
        // Where the size is not told, nobody is told anything before all is here.
        if let Some(size) = total {
            let _ = fetch.opened.send_replace(coming(size));
        }
        let mut transfer = Transfer {
            first: Arc::clone(&source),
            source,
            path,
            others: sources.collect(),
            total,
        };
        let received = transfer.all(incoming, body, digest).await;
        let end = match received {
            Ok(staged) => {
                let size = filling.borrow().written;
                let counts = &transfer.source.counts;
                counts.blobs.fetch_add(1, Relaxed);
                counts.bytes.fetch_add(size, Relaxed);
                self.settle(fetch, digest, staged).await;
                if total.is_none() {
                    let _ = fetch.opened.send_replace(coming(size));
                }
                Ok(())
            }
            Err(broken) => {
                let source = &transfer.source;
                if broken.trouble == Trouble::Wrong {
                    source.counts.wrong.fetch_add(1, Relaxed);
                }
                let alone = Arc::ptr_eq(&transfer.first, source);
                for source in [&transfer.first, source] {
                    // Of two it is not known which one lies.
                    let trouble = if alone {
                        broken.trouble
                    } else {
                        Trouble::Broken
                    };
                    self.troubles.put(&trouble_key(source, digest), trouble);
                }
                let why = broken.why;
                tracing::warn!(upstream = source.settings.url, %digest, "a blob did not come: {why}");
                self.fetches.end(digest);
                let _ = fetch.opened.send_replace(match total {
                    Some(size) => coming(size),
                    None => Opened::Unavailable(source.unavailable(why.clone())),
                });
                Err(why.into())
            }
        };
        filling.send_modify(|filling| filling.end = Some(end));
    }

    /// Asks for what is missing of a blob; for all of it where it cannot be had from the middle.
    async fn ask_for(
        &self,
        source: &Source,
        path: &str,
        digest: &Digest,
        incoming: Incoming,
    ) -> Result<(Verdict<BlobBody>, Incoming), ServiceError> {
        let offset = incoming.written();
        let asked = source.ask(source.client.blob(path, digest, offset)).await;
        if offset == 0 || !matches!(asked, Verdict::Unavailable(_)) {
            return Ok((asked, incoming));
        }
        let anew = source.ask(source.client.blob(path, digest, 0)).await;
        if !matches!(anew, Verdict::Found(_)) {
            return Ok((anew, incoming));
        }
        incoming.forget();
        Ok((anew, self.registry.incoming(digest).await?))
    }

    /// Ends a fetch that this registry's disk does not take.
    fn cannot_keep(&self, fetch: &Fetch, digest: &Digest, e: &ServiceError) {
        tracing::error!(error = %e, "a mirrored blob cannot be kept");
        self.fetches.end(digest);
        let why = self.broken("its disk failed");
        let _ = fetch.opened.send_replace(Opened::Unavailable(why));
    }

    /// Keeps a blob that came, for all repositories that wait for it.
    async fn settle(self: &Arc<Self>, fetch: &Fetch, digest: &Digest, staged: Staged) {
        let mut staged = Some(staged);
        loop {
            let wanted = self.fetches.wanted(digest, fetch);
            if wanted.is_empty() {
                return;
            }
            let kept = match staged.take() {
                Some(staged) => self.registry.keep_blob(staged, digest, wanted).await,
                None => self.show_in(digest, wanted).await,
            };
            if let Err(e) = kept {
                // Its bytes are right all the same.
                tracing::warn!(error = %e, %digest, "a mirrored blob is not kept");
            }
        }
    }

    async fn show_in(
        self: &Arc<Self>,
        digest: &Digest,
        repositories: Vec<RepositoryName>,
    ) -> Result<(), ServiceError> {
        for repository in repositories {
            self.registry.show_stored(&repository, digest).await?;
        }
        Ok(())
    }

    /// What went wrong lately with a blob of an upstream.
    fn trouble(&self, source: &Source, digest: &Digest) -> Option<Trouble> {
        let (age, trouble) = self.troubles.get(&trouble_key(source, digest))?;
        (age < source.settings.missing_ttl).then_some(trouble)
    }
}

fn trouble_key(source: &Source, digest: &Digest) -> String {
    format!("{}@{digest}", source.settings.url)
}

/// Why a blob did not come.
struct Broken {
    why: String,
    trouble: Trouble,
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        let trouble = Trouble::Broken;
        Self { why, trouble }
    }
}

/// A blob that comes from one upstream, or goes on from another.
struct Transfer {
    first: Arc<Source>,
    source: Arc<Source>,
    path: String,
    others: Vec<(Arc<Source>, String)>,
    total: Option<u64>,
}

impl Transfer {
    /// Receives all of it, going on where a connection broke.
    async fn all(
        &mut self,
        mut incoming: Incoming,
        mut body: BlobBody,
        digest: &Digest,
    ) -> Result<Staged, Broken> {
        let mut failed = 0;
        loop {
            let before = incoming.written();
            let received = incoming.receive(capped(body, before, self.total)).await;
            let why = match received.map_err(|e| e.to_string())? {
                // Whatever broke after the last byte.
                Received::Broken(_) if Some(incoming.written()) == self.total => break,
                Received::Broken(why) => why,
                Received::Complete => match self.total {
                    Some(total) if incoming.written() < total => {
                        format!("it ended after {} of {total} bytes", incoming.written())
                    }
                    _ => break,
                },
            };
            if incoming.written() > before {
                failed = 0;
            }
            body = self.again(&incoming, digest, why, &mut failed).await?;
        }
        let resumed = incoming.is_resumed();
        match incoming.verified(digest).await {
            Ok(Some(staged)) => Ok(staged),
            // Whose bytes were wrong is not known: all of it comes anew the next time.
            Ok(None) if resumed => {
                let why = "what came of it at two times is not what the digest says";
                Err(why.to_owned().into())
            }
            Ok(None) => Err(Broken {
                why: "its bytes are not what the digest says".to_owned(),
                trouble: Trouble::Wrong,
            }),
            Err(e) => Err(e.to_string().into()),
        }
    }

    /// The rest, from the same upstream, else from the next one.
    async fn again(
        &mut self,
        incoming: &Incoming,
        digest: &Digest,
        mut why: String,
        failed: &mut u32,
    ) -> Result<BlobBody, Broken> {
        let offset = incoming.written();
        loop {
            *failed += 1;
            if *failed >= ATTEMPTS || self.total.is_none() {
                if self.total.is_none() || self.others.is_empty() {
                    return Err(why.into());
                }
                (self.source, self.path) = self.others.remove(0);
                *failed = 0;
            }
            tracing::debug!(%digest, offset, "a blob broke off, going on: {why}");
            tokio::time::sleep(PAUSE * 2u32.pow(*failed)).await;
            let asked = self.source.client.blob(&self.path, digest, offset);
            match self.source.ask(asked).await {
                Verdict::Found(body) if body.total().is_none_or(|t| Some(t) == self.total) => {
                    return Ok(body);
                }
                Verdict::Found(body) => {
                    why = format!("it has {} bytes now", body.total().unwrap_or_default());
                    // It will not have another number the next time.
                    *failed = ATTEMPTS;
                }
                Verdict::Missing => why = "it is not there any more".to_owned(),
                Verdict::Unavailable(unavailable) => why = unavailable.why,
            }
        }
    }
}

type Bytewise = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// The body as a stream, which fails when more comes than was told.
fn capped(body: BlobBody, from: u64, total: Option<u64>) -> Bytewise {
    Box::pin(stream::try_unfold(
        (body, from),
        move |(mut body, at)| async move {
            let Some(chunk) = body.chunk().await.map_err(|e| e.to_string())? else {
                return Ok(None);
            };
            let after = at + chunk.len() as u64;
            match total {
                Some(total) if after > total => {
                    Err(format!("more than the {total} bytes told came"))
                }
                _ => Ok(Some((chunk, (body, after)))),
            }
        },
    ))
}
