use client::{Client, Error, PushImage, PushLayer, Silent};
use oci::media_type::{DOCKER_LAYER_FOREIGN, OCI_MANIFEST};
use oci::{Descriptor, Digest};

use crate::fake::*;

fn image(config: Descriptor, layers: Vec<PushLayer>) -> PushImage {
    let descriptors: Vec<_> = layers.iter().map(|l| l.descriptor.clone()).collect();
    PushImage {
        manifest: manifest(&config, &descriptors).into(),
        media_type: OCI_MANIFEST.into(),
        config,
        layers,
    }
}

#[tokio::test]
async fn a_push_sends_what_is_missing_and_the_manifest_last() {
    let registry = Fake::start().await;
    let store = store();
    let big = noise(3 << 20);
    let layers: Vec<_> = [b"there".as_slice(), b"mounted", b"small", &big]
        .iter()
        .map(|bytes| PushLayer::new(put(&store, bytes)))
        .collect();
    registry.add_blob("app", b"there");
    registry.add_blob("other/app", b"mounted");
    let mut image = image(put(&store, b"{}"), layers);
    image.layers[1].mount_from = vec![
        "elsewhere.example.com/x".parse().unwrap(),
        registry.repository("empty"),
        registry.repository("other/app"),
    ];
    // The same layer twice is fine.
    image.layers.push(image.layers[2].clone());
    let told = Told::default();
    let pushed = client()
        .push(&registry.reference("app:v1"), &image, &store, &told)
        .await
        .unwrap();
    assert_eq!(pushed.digest, Digest::sha256(&image.manifest));
    assert_eq!(pushed.size, image.manifest.len() as u64);

    let last = |n: usize| {
        told.of(&image.layers[n].descriptor.digest)
            .last()
            .unwrap()
            .clone()
    };
    assert_eq!(last(0), "Layer already exists");
    assert_eq!(last(1), format!("Mounted from {}/other/app", registry.host));
    assert!(
        told.of(&image.layers[2].descriptor.digest)
            .contains(&"Pushed".to_owned())
    );
    assert_eq!(last(3), "Pushed");
    let lines = registry.lines();
    assert_eq!(lines.last().unwrap(), "PUT /v2/app/manifests/v1");
    assert!(lines.iter().all(|line| !line.contains("elsewhere")));
    let blobs = registry.blobs.lock().unwrap();
    for descriptor in image
        .layers
        .iter()
        .map(|l| &l.descriptor)
        .chain([&image.config])
    {
        let stored = &blobs[&("app".to_owned(), descriptor.digest.to_string())];
        assert_eq!(Digest::sha256(stored), descriptor.digest);
    }
    let sent = |bytes: &[u8]| registry.seen().iter().filter(|s| s.body == bytes).count();
    assert_eq!(
        (sent(b"there"), sent(b"mounted"), sent(b"small")),
        (0, 0, 1)
    );
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_the_registry_is() {
    let registry = Fake::start().await;
    let store = store();
    let bytes = noise(5 << 20);
    let layer = PushLayer::new(put(&store, &bytes));
    *registry.cut.lock().unwrap() = Some(2_000_000);
    let told = Told::default();
    let repository = registry.repository("app");
    client()
        .push_blob(&repository, &layer, &store, &told)
        .await
        .unwrap();
    let key = ("app".to_owned(), layer.descriptor.digest.to_string());
    assert_eq!(registry.blobs.lock().unwrap()[&key], bytes);
    let patches: Vec<_> = registry
        .seen()
        .into_iter()
        .filter(|s| s.method == "PATCH")
        .collect();
    assert_eq!(patches.len(), 2);
    assert_eq!(patches[0].header("content-range"), None);
    let expected = format!("2000000-{}", bytes.len() - 1);
    assert_eq!(patches[1].header("content-range"), Some(expected.as_str()));
    assert!(
        told.of(&layer.descriptor.digest)
            .iter()
            .any(|w| w.starts_with("Retrying"))
    );
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_anew() {
    let registry = Fake::start().await;
    let store = store();
    let layer = PushLayer::new(put(&store, &noise(2 << 20)));
    registry.hook(|seen| {
        let first = seen.path.ends_with("/uploads/0") && seen.method != "DELETE";
        first.then(|| error(404, "BLOB_UPLOAD_UNKNOWN", "gone"))
    });
    client()
        .push_blob(&registry.repository("app"), &layer, &store, &Silent)
        .await
        .unwrap();
    assert_eq!(registry.count("POST /v2/app/blobs/uploads/"), 2);
}

#[tokio::test]
async fn chunks_are_as_long_as_configured_and_the_registry_allows() {
    let registry = Fake::start().await;
    let store = store();
    let bytes = noise(1000);
    for (chunk, min, lengths) in [
        (400, None, vec![400, 400, 200]),
        (100, Some(300), vec![300, 300, 300, 100]),
        (1000, None, vec![]),
    ] {
        *registry.min_chunk.lock().unwrap() = min;
        let mut config = config();
        config.upload_chunk = Some(chunk);
        let layer = PushLayer::new(put(&store, &bytes));
        let repository = registry.repository(&format!("app{chunk}"));
        Client::new(config)
            .push_blob(&repository, &layer, &store, &Silent)
            .await
            .unwrap();
        let path = format!("/v2/app{chunk}/");
        let seen = registry.seen();
        let patches: Vec<_> = seen
            .iter()
            .filter(|s| s.method == "PATCH" && s.path.starts_with(&path))
            .map(|s| s.body.len())
            .collect();
        assert_eq!(patches, lengths);
    }
}

#[tokio::test]
async fn a_layer_that_registries_do_not_hold_is_skipped() {
    let registry = Fake::start().await;
    let store = store();
    let mut foreign = Descriptor::new(DOCKER_LAYER_FOREIGN, Digest::sha256(b"windows"), 7);
    foreign.urls = vec!["https://example.com/layer".into()];
    let image = image(put(&store, b"{}"), vec![PushLayer::new(foreign.clone())]);
    let told = Told::default();
    client()
        .push(&registry.reference("app:v1"), &image, &store, &told)
        .await
        .unwrap();
    assert_eq!(
        told.of(&foreign.digest).last().unwrap(),
        "Skipped foreign layer"
    );
    assert!(
        registry
            .lines()
            .iter()
            .all(|line| !line.contains(foreign.digest.hex()))
    );
}

#[tokio::test]
async fn a_blob_missing_here_pushes_no_manifest() {
    let registry = Fake::start().await;
    let store = store();
    let missing = Descriptor::new("x", Digest::sha256(b"missing"), 7);
    let image = image(put(&store, b"{}"), vec![PushLayer::new(missing)]);
    let error = client()
        .push(&registry.reference("app:v1"), &image, &store, &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Blob { .. }), "{error}");
    let lines = registry.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("DELETE /v2/app/blobs/uploads/")),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| !line.contains("manifests")));
}

#[tokio::test]
async fn a_refusal_is_told_in_docker_s_words() {
    let registry = Fake::start().await;
    let store = store();
    let image = image(put(&store, b"{}"), Vec::new());
    registry.hook(|seen| {
        let denied = error(403, "DENIED", "requested access to the resource is denied");
        (seen.method != "GET").then_some(denied)
    });
    let reference = registry.reference("app:v1");
    let error = client()
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("denied: requested access to the resource"),
        "{error}"
    );

    registry.hook(|seen| {
        let put = seen.method == "PUT" && seen.path.contains("manifests");
        put.then(|| crate::fake::error(400, "MANIFEST_INVALID", "manifest invalid"))
    });
    let error = client()
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("manifest invalid: manifest invalid"),
        "{error}"
    );
    // A registry that stores something else than what was sent is not believed.
    let wrong = Digest::sha256(b"else").to_string();
    registry.hook(move |seen| {
        let put = seen.method == "PUT" && seen.path.contains("manifests");
        put.then(|| answer(201, &[("docker-content-digest", &wrong)], ""))
    });
    let error = client()
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}
