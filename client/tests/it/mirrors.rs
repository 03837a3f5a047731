use axum::body::Bytes;
use client::config::{Mirror, RegistrySettings};
use client::{Client, Config, PushImage, Silent};
use oci::Platform;
use oci::media_type::OCI_MANIFEST;

use crate::auth::ALICE;
use crate::fake::*;

fn mirrored(config: &mut Config, registry: &Fake, mirrors: &[String]) {
    let settings = RegistrySettings {
        mirrors: mirrors.iter().map(|m| Mirror::parse(m).unwrap()).collect(),
        ..RegistrySettings::default()
    };
    config.registries.set(&registry.host, settings);
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_never_with_the_registry_s_credentials() {
    let registry = Fake::start().await;
    let mirror = Fake::start().await;
    let (_, bytes) = registry.add_image("app", "v1");
    mirror.add_manifest("hub/app", "v1", OCI_MANIFEST, &bytes);
    registry.hook(|seen| {
        let asked = answer(401, &[("www-authenticate", "Basic realm=\"x\"")], "");
        (seen.authorization() != Some(ALICE)).then_some(asked)
    });
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_with(dir.path(), &[(&registry.host, "alice:secret")]);
    mirrored(&mut config, &registry, &[format!("{}/hub", mirror.host)]);
    let client = Client::new(config);
    let image = client
        .resolve(&registry.reference("app:v1"), &Platform::host())
        .await
        .unwrap();
    assert!(registry.seen().is_empty());
    assert_eq!(
        mirror.seen()[0].query,
        format!("ns={}", registry.host.replace(':', "%3A"))
    );

    // What the mirror lacks comes from the registry, with credentials there and only there; also
    // when the mirror asks for some.
    let store = store();
    let layer = &image.manifest.layers[0];
    client
        .pull_blob(&registry.repository("app"), layer, &store, &Silent)
        .await
        .unwrap();
    mirror.hook(|_| {
        Some(answer(
            401,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ))
    });
    client
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert_eq!(mirror.seen().len(), 3);
    assert!(mirror.seen().iter().all(|s| s.authorization().is_none()));
}

#[tokio::test]
async fn what_a_mirror_gets_wrong_is_mended_by_the_registry() {
    let registry = Fake::start().await;
    let (wrong, dead) = (
        Fake::start().await,
        tokio::net::TcpListener::bind("127.0.0.1:0").await,
    );
    let dead = {
        let listener = dead.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let blob = registry.add_blob("app", b"right");
    let key = ("app".to_owned(), blob.digest.to_string());
    wrong
        .blobs
        .lock()
        .unwrap()
        .insert(key, Bytes::from_static(b"wrong"));
    let mut config = config();
    mirrored(&mut config, &registry, &[dead, wrong.host.clone()]);
    let client = Client::new(config);
    let store = store();
    client
        .pull_blob(&registry.repository("app"), &blob, &store, &Silent)
        .await
        .unwrap();
    assert_eq!(read(&store, &blob.digest), b"right");
    assert_eq!(wrong.seen().len(), 1);
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn nothing_is_pushed_to_a_mirror() {
    let registry = Fake::start().await;
    let mirror = Fake::start().await;
    let mut config = config();
    mirrored(&mut config, &registry, std::slice::from_ref(&mirror.host));
    let store = store();
    let blob = put(&store, b"{}");
    let image = PushImage {
        manifest: manifest(&blob, &[]).into(),
        media_type: OCI_MANIFEST.into(),
        config: blob,
        layers: Vec::new(),
    };
    let reference = registry.reference("app:v1");
    Client::new(config)
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap();
    assert!(mirror.seen().is_empty());
    assert!(
        registry
            .lines()
            .last()
            .unwrap()
            .starts_with("PUT /v2/app/manifests/v1")
    );
}
