use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::{Client, Error};
use oci::Platform;

use crate::fake::*;

/// `Basic alice:secret`.
pub const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

/// Makes `registry` ask for a token from `realm`; it takes `Bearer good` only.
pub fn ask_for_token(registry: &Fake, realm: String) {
    let challenge = format!(r#"Bearer realm="{realm}",service="reg""#);
    registry.hook_all(move |seen| {
        if seen.path.starts_with("/token") {
            return Some(answer(200, &[], r#"{"token":"good","expires_in":300}"#));
        }
        let good = seen.authorization() == Some("Bearer good");
        (!good).then(|| answer(401, &[("www-authenticate", &challenge)], ""))
    });
}

#[tokio::test]
async fn basic_credentials_go_to_their_registry_once_asked_for() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    registry.hook(|seen| {
        let asked = answer(401, &[("www-authenticate", "Basic realm=\"x\"")], "");
        (seen.authorization() != Some(ALICE)).then_some(asked)
    });
    let dir = tempfile::tempdir().unwrap();
    let reference = registry.reference("app:v1");

    let client = Client::new(config_with(dir.path(), &[(&registry.host, "alice:secret")]));
    client.manifest(&reference).await.unwrap();
    client.manifest(&reference).await.unwrap();
    let sent: Vec<_> = registry
        .seen()
        .iter()
        .map(|s| s.authorization().map(str::to_owned))
        .collect();
    assert_eq!(sent, [None, Some(ALICE.to_owned()), Some(ALICE.to_owned())]);

    let client = Client::new(config_with(dir.path(), &[(&registry.host, "alice:wrong")]));
    let error = client.manifest(&reference).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {}/app, repository does not exist or may require \
             authorization: unauthorized: authentication required",
            registry.host
        )
    );
    // Refused credentials are not sent over and over.
    assert_eq!(registry.seen().len(), 5);
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    ask_for_token(&registry, registry.url("/token"));
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(config_with(dir.path(), &[(&registry.host, "alice:secret")]));
    let image = client
        .resolve(&registry.reference("app:v1"), &Platform::host())
        .await
        .unwrap();
    let blobs = [image.manifest.config, image.manifest.layers[0].clone()];
    let store = store();
    client
        .pull_blobs(&registry.repository("app"), &blobs, &store, &client::Silent)
        .await
        .unwrap();

    let tokens: Vec<_> = registry
        .seen()
        .into_iter()
        .filter(|s| s.path == "/token")
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].authorization(), Some(ALICE));
    assert_eq!(
        tokens[0].query,
        "service=reg&scope=repository%3Aapp%3Apull&account=alice"
    );
}

#[tokio::test]
async fn a_realm_on_another_host_gets_no_credentials_over_plain_http() {
    let registry = Fake::start().await;
    let other = Fake::start().await;
    registry.add_image("app", "v1");
    ask_for_token(&registry, other.url("/token"));
    other.hook(|_| Some(answer(401, &[], "")));
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_with(dir.path(), &[(&registry.host, "alice:secret")]);
    let reference = registry.reference("app:v1");

    let error = Client::new(config.clone())
        .manifest(&reference)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("were not sent to"), "{error}");
    let seen = other.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization(), None);
    assert!(!seen[0].query.contains("alice"));
    // Nor does the registry itself get them when it asks for a token.
    assert!(registry.seen().iter().all(|s| s.authorization().is_none()));

    // Unless the user has said so.
    insecure(&mut config, &other.host);
    other.hook(|_| Some(answer(200, &[], r#"{"access_token":"good"}"#)));
    Client::new(config).manifest(&reference).await.unwrap();
    assert_eq!(other.seen().last().unwrap().authorization(), Some(ALICE));
}

#[tokio::test]
async fn an_identity_token_stays_at_home_too() {
    let registry = Fake::start().await;
    let other = Fake::start().await;
    registry.add_image("app", "v1");
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_with(dir.path(), &[]);
    let auths = serde_json::json!({ "auths": { &registry.host: { "identitytoken": "idt" } } });
    std::fs::write(config.docker.path().unwrap(), auths.to_string()).unwrap();
    let reference = registry.reference("app:v1");

    ask_for_token(&registry, other.url("/token"));
    other.hook(|_| Some(answer(401, &[], "")));
    assert!(
        Client::new(config.clone())
            .manifest(&reference)
            .await
            .is_err()
    );
    assert!(
        other
            .seen()
            .iter()
            .all(|s| s.body.is_empty() && s.authorization().is_none())
    );

    ask_for_token(&registry, registry.url("/token"));
    config.max_concurrent_downloads = 1;
    Client::new(config).manifest(&reference).await.unwrap();
    let seen = registry.seen();
    let token = seen.iter().find(|s| s.path == "/token").unwrap();
    assert_eq!(token.line(), "POST /token");
    assert_eq!(
        token.body,
        "grant_type=refresh_token&service=reg&client_id=rbuild&refresh_token=idt\
         &scope=repository%3Aapp%3Apull"
    );
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced_once() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    let issued = Arc::new(AtomicUsize::new(0));
    let challenge = format!(r#"Bearer realm="{}""#, registry.url("/token"));
    let newest = Arc::clone(&issued);
    registry.hook(move |seen| {
        if seen.path == "/token" {
            let n = newest.fetch_add(1, Ordering::SeqCst) + 1;
            return Some(answer(200, &[], format!(r#"{{"token":"t{n}"}}"#)));
        }
        // Each token is taken once.
        let good = format!("Bearer t{}", newest.load(Ordering::SeqCst));
        let used = seen.query.contains("used") || seen.authorization() != Some(&good);
        used.then(|| answer(401, &[("www-authenticate", &challenge)], ""))
    });
    let client = client();
    client
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    issued.fetch_add(1, Ordering::SeqCst);
    client
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert_eq!(registry.count("GET /token"), 2);

    registry.hook(move |seen| {
        if seen.path == "/token" {
            return Some(answer(200, &[], r#"{"token":"never"}"#));
        }
        let challenge = r#"Bearer realm="/token""#;
        Some(answer(401, &[("www-authenticate", challenge)], ""))
    });
    assert!(
        client
            .manifest(&registry.reference("app:v1"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_redirect_elsewhere_loses_the_authorization() {
    let registry = Fake::start().await;
    let storage = Fake::start().await;
    let blob = storage.add_blob("app", b"layer");
    let target = storage.url(&format!("/v2/app/blobs/{}", blob.digest));
    registry.hook(move |seen| {
        Some(match seen.authorization() {
            Some(ALICE) => answer(307, &[("location", &target)], ""),
            _ => answer(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let auths = [
        (registry.host.as_str(), "alice:secret"),
        (storage.host.as_str(), "bob:hidden"),
    ];
    let client = Client::new(config_with(dir.path(), &auths));
    let store = store();
    let repository = registry.repository("app");
    client
        .pull_blob(&repository, &blob, &store, &client::Silent)
        .await
        .unwrap();
    assert_eq!(read(&store, &blob.digest), b"layer");
    assert!(storage.seen().iter().all(|s| s.authorization().is_none()));

    // A 401 from there is not answered.
    storage.hook(|_| {
        Some(answer(
            401,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ))
    });
    let other = registry.add_blob("app", b"other");
    assert!(
        client
            .pull_blob(&repository, &other, &store, &client::Silent)
            .await
            .is_err()
    );
    assert!(storage.seen().iter().all(|s| s.authorization().is_none()));
}

#[tokio::test]
async fn nobody_is_led_to_plain_http_elsewhere() {
    let registry = Fake::start().await;
    for location in ["http://192.0.2.1/x", "file:///etc/passwd"] {
        registry.hook(move |_| Some(answer(302, &[("location", location)], "")));
        let error = client()
            .manifest(&registry.reference("app:v1"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
    let location = registry.url("/v2/app/manifests/v1");
    registry.hook(move |_| Some(answer(302, &[("location", &location)], "")));
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
}

#[tokio::test]
async fn foreign_urls_get_no_credentials() {
    let registry = Fake::start().await;
    let elsewhere = Fake::start().await;
    let bytes = b"windows";
    let mut blob = elsewhere.add_blob("x", bytes);
    blob.media_type = oci::media_type::DOCKER_LAYER_FOREIGN.into();
    blob.urls = vec![elsewhere.url(&format!("/v2/x/blobs/{}", blob.digest))];
    let host = elsewhere.host.clone();
    let dir = tempfile::tempdir().unwrap();
    let auths = [
        (registry.host.as_str(), "alice:secret"),
        (host.as_str(), "bob:hidden"),
    ];
    let client = Client::new(config_with(dir.path(), &auths));
    let store = store();
    let repository = registry.repository("app");
    client
        .pull_blob(&repository, &blob, &store, &client::Silent)
        .await
        .unwrap();
    assert_eq!(read(&store, &blob.digest), bytes);

    elsewhere.hook(|_| {
        Some(answer(
            401,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ))
    });
    let fresh = crate::fake::store();
    assert!(
        client
            .pull_blob(&repository, &blob, &fresh, &client::Silent)
            .await
            .is_err()
    );
    assert!(elsewhere.seen().iter().all(|s| s.authorization().is_none()));
}

#[tokio::test]
async fn a_missing_helper_does_not_stop_anonymous_reading_and_is_told_on_denial() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    ask_for_token(&registry, registry.url("/token"));
    let dir = tempfile::tempdir().unwrap();
    let config = config_with(dir.path(), &[]);
    std::fs::write(
        config.docker.path().unwrap(),
        r#"{"credsStore":"no-such-helper"}"#,
    )
    .unwrap();
    Client::new(config.clone())
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();

    registry.hook(|_| {
        Some(answer(
            401,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ))
    });
    let error = Client::new(config)
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("docker-credential-no-such-helper: not found"),
        "{error}"
    );
}
