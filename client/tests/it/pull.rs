use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use client::{Error, Silent};
use futures_util::{StreamExt, stream};
use oci::Digest;
use oci::blob::BlobError;

use crate::fake::*;

/// A body that breaks off after `bytes`, once they are on their way.
fn broken(bytes: Vec<u8>) -> Body {
    let parts = stream::iter([Ok(bytes), Err(std::io::Error::other("cut"))]);
    Body::from_stream(parts.then(async |part| {
        if part.is_err() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        part
    }))
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let registry = Fake::start().await;
    let bytes = noise(300_000);
    let blob = registry.add_blob("app", &bytes);
    let content = bytes.clone();
    registry.hook(move |seen| {
        let start = range_of(seen).unwrap_or(0);
        let end = start + 100_000;
        (end < content.len()).then(|| {
            let length = (content.len() - start).to_string();
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            let status = if start == 0 { 200 } else { 206 };
            let headers = [
                ("content-length", length.as_str()),
                ("content-range", &range),
            ];
            answer(status, &headers, broken(content[start..end].to_vec()))
        })
    });
    let (store, told) = (store(), Told::default());
    client()
        .pull_blob(&registry.repository("app"), &blob, &store, &told)
        .await
        .unwrap();
    assert_eq!(read(&store, &blob.digest), bytes);
    let ranges: Vec<_> = registry.seen().iter().map(range_of).collect();
    assert_eq!(ranges[0], None);
    assert!(
        ranges.len() > 1 && ranges[1..].iter().all(Option::is_some),
        "{ranges:?}"
    );
    let told = told.of(&blob.digest);
    assert_eq!(told.first().unwrap(), "Pulling fs layer");
    assert!(
        told.iter().any(|words| words.starts_with("Retrying in")),
        "{told:?}"
    );
    assert_eq!(
        told[told.len() - 2..],
        ["Verifying Checksum", "Download complete"]
    );
}

#[tokio::test]
async fn a_server_without_ranges_is_read_again_from_the_start() {
    let registry = Fake::start().await;
    let bytes = noise(200_000);
    let blob = registry.add_blob("app", &bytes);
    let content = bytes.clone();
    registry.hook(move |seen| {
        let length = content.len().to_string();
        let body = match range_of(seen) {
            None => broken(content[..70_000].to_vec()),
            Some(_) => content.clone().into(),
        };
        Some(answer(200, &[("content-length", &length)], body))
    });
    let store = store();
    client()
        .pull_blob(&registry.repository("app"), &blob, &store, &Silent)
        .await
        .unwrap();
    assert_eq!(read(&store, &blob.digest), bytes);
}

#[tokio::test]
async fn a_download_that_never_gets_on_ends() {
    let registry = Fake::start().await;
    let blob = registry.add_blob("app", &noise(1000));
    registry.hook(|_| {
        Some(answer(
            200,
            &[("content-length", "1000")],
            broken(Vec::new()),
        ))
    });
    let store = store();
    let result = client()
        .pull_blob(&registry.repository("app"), &blob, &store, &Silent)
        .await;
    assert!(matches!(result, Err(Error::Transport { .. })), "{result:?}");
    assert_eq!(registry.seen().len(), 5);
    assert_eq!(store.size(&blob.digest).unwrap(), None);
}

#[tokio::test]
async fn wrong_content_never_becomes_visible() {
    let registry = Fake::start().await;
    let mut blob = registry.add_blob("app", b"right");
    let repository = registry.repository("app");
    let store = store();
    registry.hook(|_| Some(answer(200, &[], "wrong")));
    let result = client()
        .pull_blob(&repository, &blob, &store, &Silent)
        .await;
    let wrong = matches!(
        result,
        Err(Error::Blob {
            cause: BlobError::DigestMismatch { .. },
            ..
        })
    );
    assert!(wrong, "{result:?}");
    // Longer and shorter than the descriptor says, with and without a Content-Length.
    for size in [4, 6] {
        blob.size = size;
        let result = client()
            .pull_blob(&repository, &blob, &store, &Silent)
            .await;
        assert!(
            matches!(result, Err(Error::SizeMismatch { .. })),
            "{result:?}"
        );
    }
    registry.hook(|_| {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1 << 16]));
        Some(answer(200, &[], Body::from_stream(endless)))
    });
    let result = client()
        .pull_blob(&repository, &blob, &store, &Silent)
        .await;
    assert!(
        matches!(result, Err(Error::SizeMismatch { .. })),
        "{result:?}"
    );
    assert!(store.list().unwrap().is_empty());
}

#[tokio::test]
async fn one_blob_wanted_often_is_downloaded_once() {
    let registry = Fake::start().await;
    let blob = registry.add_blob("app", b"layer");
    let empty = registry.add_blob("app", b"");
    let (store, told) = (store(), Told::default());
    let client = client();
    let repository = registry.repository("app");
    let wanted = [blob.clone(), blob.clone(), empty.clone(), blob.clone()];
    client
        .pull_blobs(&repository, &wanted, &store, &told)
        .await
        .unwrap();
    client
        .pull_blob(&repository, &blob, &store, &told)
        .await
        .unwrap();
    assert_eq!(
        registry.count(&format!("GET /v2/app/blobs/{}", blob.digest)),
        1
    );
    assert_eq!(told.of(&blob.digest).last().unwrap(), "Already exists");
    assert_eq!(store.size(&empty.digest).unwrap(), Some(0));
}

#[tokio::test]
async fn downloads_at_once_are_limited() {
    let registry = Fake::start().await;
    let blobs: Vec<_> = (0..12_u8)
        .map(|n| registry.add_blob("app", &[n; 10]))
        .collect();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    registry.hook(move |seen| {
        let running = now.fetch_add(1, Ordering::SeqCst) + 1;
        peak.fetch_max(running, Ordering::SeqCst);
        let n = (0..12_u8).find(|n| seen.path.contains(Digest::sha256(&[*n; 10]).hex()))?;
        let now = Arc::clone(&now);
        let slow = stream::once(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(vec![n; 10])
        });
        Some(answer(200, &[], Body::from_stream(slow)))
    });
    let store = store();
    let client = client();
    client
        .pull_blobs(&registry.repository("app"), &blobs, &store, &Silent)
        .await
        .unwrap();
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn small_blobs_can_be_read_into_memory() {
    let registry = Fake::start().await;
    let blob = registry.add_blob("app", b"{}");
    let repository = registry.repository("app");
    assert_eq!(
        client().fetch_blob(&repository, &blob, 10).await.unwrap(),
        "{}"
    );
    let error = client()
        .fetch_blob(&repository, &blob, 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    registry.hook(|_| Some(answer(200, &[], "[]")));
    let error = client()
        .fetch_blob(&repository, &blob, 10)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_client_can_be_used_from_any_task() {
    let registry = Fake::start().await;
    let blob = registry.add_blob("app", b"layer");
    let repository = registry.repository("app");
    let (client, store) = (client(), store());
    let task = tokio::spawn(async move {
        client
            .pull_blob(&repository, &blob, &store, &Silent)
            .await
            .unwrap();
        let layer = client::PushLayer::new(blob);
        client
            .push_blob(&repository, &layer, &store, &Silent)
            .await
            .unwrap();
    });
    task.await.unwrap();
}
