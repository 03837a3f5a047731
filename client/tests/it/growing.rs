//! Blobs that are uploaded while they are made.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use client::{Error, Growing, Growth, Silent};
use oci::media_type::OCI_LAYER_GZIP;
use oci::{Descriptor, Digest};
use tokio::sync::watch;

use crate::fake::*;

/// A blob of which so much is there already.
struct Maker {
    bytes: Vec<u8>,
    file: File,
    grown: watch::Sender<Growth>,
}

impl Maker {
    fn new(bytes: &[u8], there: usize) -> (Self, Growing) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes[..there]).unwrap();
        let reader = Arc::new(file.reopen().unwrap());
        let (grown, growth) = watch::channel(Growth::SoFar(there as u64));
        let maker = Self {
            bytes: bytes[there..].to_owned(),
            file: file.into_file(),
            grown,
        };
        let file = reader;
        (maker, Growing { file, growth })
    }

    /// Writes the rest in pieces.
    async fn finish(mut self, blob: Descriptor) {
        for piece in self.bytes.chunks(300_000) {
            self.file.write_all(piece).unwrap();
            self.grown.send_modify(|growth| {
                if let Growth::SoFar(n) = growth {
                    *n += piece.len() as u64;
                }
            });
            tokio::task::yield_now().await;
        }
        self.grown.send_replace(Growth::Whole(Box::new(blob)));
    }
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(OCI_LAYER_GZIP, Digest::sha256(bytes), bytes.len() as u64)
}

#[tokio::test]
async fn a_blob_is_sent_while_it_is_made() {
    let registry = Fake::start().await;
    let bytes = noise(6 << 20);
    let blob = descriptor(&bytes);
    let (maker, growing) = Maker::new(&bytes, 2 << 20);
    let (client, told) = (client(), Told::default());
    let repository = registry.repository("app");
    let sending = client.push_growing(&repository, &growing, &told);
    let (sent, ()) = tokio::join!(sending, maker.finish(blob.clone()));
    assert!(sent.unwrap());
    let key = ("app".to_owned(), blob.digest.to_string());
    assert_eq!(registry.blobs.lock().unwrap()[&key], bytes);
    assert_eq!(told.of(&blob.digest).last().unwrap(), "Pushed");
    let mut seen = registry.seen();
    // Once it is known what it is, it may be asked for.
    seen.retain(|s| s.method != "HEAD");
    let methods: Vec<&str> = seen.iter().map(|s| s.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "PUT"]);
    // What docker's own client sends: a stream whose length and place nobody tells.
    assert_eq!(seen[1].header("content-length"), None);
    assert_eq!(seen[1].header("content-range"), None);
    assert!(seen[2].body.is_empty());
}

#[tokio::test]
async fn what_is_small_or_to_be_cut_goes_the_ordinary_way() {
    let registry = Fake::start().await;
    let bytes = noise(1000);
    let (maker, growing) = Maker::new(&bytes, 10);
    let client = client();
    let repository = registry.repository("app");
    let sending = client.push_growing(&repository, &growing, &Silent);
    let (sent, ()) = tokio::join!(sending, maker.finish(descriptor(&bytes)));
    assert!(!sent.unwrap());
    let mut config = config();
    config.upload_chunk = Some(1 << 20);
    let client = client::Client::new(config);
    let (_maker, growing) = Maker::new(&noise(3 << 20), 3 << 20);
    let sent = client.push_growing(&repository, &growing, &Silent).await;
    assert!(!sent.unwrap());
    assert!(registry.seen().is_empty(), "{:?}", registry.lines());
}

#[tokio::test]
async fn a_cut_leaves_it_to_the_ordinary_way() {
    let registry = Fake::start().await;
    let bytes = noise(6 << 20);
    let (maker, growing) = Maker::new(&bytes, 3 << 20);
    *registry.cut.lock().unwrap() = Some(2_000_000);
    let client = client();
    let repository = registry.repository("app");
    let sending = client.push_growing(&repository, &growing, &Silent);
    let (sent, ()) = tokio::join!(sending, maker.finish(descriptor(&bytes)));
    assert!(!sent.unwrap());
    assert!(registry.blobs.lock().unwrap().is_empty());
    // The registry is told to forget what it has of it.
    assert_eq!(registry.count("DELETE /v2/app/blobs/uploads/0"), 1);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    let registry = Fake::start().await;
    registry.hook(|seen| (seen.method == "POST").then(|| error(403, "DENIED", "not yours")));
    // It never ends.
    let (_maker, growing) = Maker::new(&noise(2 << 20), 2 << 20);
    let repository = registry.repository("app");
    let client = client();
    let refused = client.push_growing(&repository, &growing, &Silent).await;
    assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_blob_that_fails_is_no_blob() {
    let registry = Fake::start().await;
    let (maker, growing) = Maker::new(&noise(3 << 20), 2 << 20);
    let client = client();
    let repository = registry.repository("app");
    let sending = client.push_growing(&repository, &growing, &Silent);
    let failing = async {
        tokio::task::yield_now().await;
        maker.grown.send_replace(Growth::Failed);
    };
    let (sent, ()) = tokio::join!(sending, failing);
    assert!(!matches!(sent, Ok(true)), "{sent:?}");
    assert!(registry.blobs.lock().unwrap().is_empty());
    assert_eq!(registry.count("PUT /v2/app/blobs/uploads/0"), 0);
}
