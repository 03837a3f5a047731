use std::sync::atomic::Ordering::SeqCst;

use client::{Client, Error};
use futures_util::stream;
use oci::media_type::{DOCKER_SCHEMA1_SIGNED, OCI_INDEX, OCI_MANIFEST};
use oci::{Digest, Platform};

use crate::fake::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_tag_and_a_digest_lead_to_the_same_image() {
    let registry = Fake::start().await;
    let (digest, bytes) = registry.add_image("app", "v1");
    let client = client();
    let by_tag = registry.reference("app:v1");
    let image = client.resolve(&by_tag, &Platform::host()).await.unwrap();
    assert_eq!(image.descriptor.digest, digest);
    assert_eq!(image.bytes, bytes);
    assert!(image.index.is_none());
    let by_digest = by_tag.with_digest(digest.clone());
    assert_eq!(
        client
            .resolve(&by_digest, &Platform::host())
            .await
            .unwrap()
            .bytes,
        bytes
    );
    assert_eq!(client.head(&by_tag).await.unwrap().digest, digest);
    let accept = registry.seen()[0].header("accept").unwrap().to_owned();
    for media_type in oci::media_type::MANIFEST_ACCEPT {
        assert!(accept.contains(media_type));
    }
}

#[tokio::test]
async fn an_index_leads_to_the_platform_asked_for() {
    let registry = Fake::start().await;
    let (digest, bytes) = registry.add_image("app", "amd64");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[
            {{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{},
              "platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        bytes.len()
    );
    let index_digest = registry.add_manifest("app", "v1", OCI_INDEX, index.as_bytes());
    let client = client();
    let reference = registry.reference("app:v1");
    let image = client
        .resolve(&reference, &platform("linux/amd64"))
        .await
        .unwrap();
    assert_eq!(image.descriptor.digest, digest);
    assert_eq!(*image.digest(), index_digest);
    assert_eq!(image.index.unwrap().bytes, index);

    let error = client
        .resolve(&reference, &platform("linux/s390x"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no matching manifest for linux/s390x in the manifest list entries of {}/app:v1: it \
             has linux/amd64",
            registry.host
        )
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_in_docker_s_words() {
    let registry = Fake::start().await;
    let error = client()
        .manifest(&registry.reference("app:nope"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "manifest for {}/app:nope not found: manifest unknown: manifest unknown",
            registry.host
        )
    );
    // HEAD has no body to say why.
    let error = client()
        .head(&registry.reference("app:nope"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ManifestNotFound { .. }), "{error}");
    assert!(error.to_string().contains("manifest unknown"), "{error}");
    registry.hook(|_| Some(error_name_unknown()));
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
    registry.hook(|_| Some(crate::fake::error(403, "DENIED", "no")));
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("pull access denied for"),
        "{error}"
    );
}

fn error_name_unknown() -> Answer {
    error(404, "NAME_UNKNOWN", "repository name not known to registry")
}

#[tokio::test]
async fn content_that_is_not_what_its_name_says_is_refused() {
    let registry = Fake::start().await;
    let (_, bytes) = registry.add_image("app", "v1");
    let wrong = Digest::sha256(b"else");
    let key = ("app".to_owned(), wrong.to_string());
    let value = (OCI_MANIFEST.to_owned(), bytes.clone().into());
    registry.manifests.lock().unwrap().insert(key, value);
    let reference = registry.reference("app:v1").with_digest(wrong.clone());
    let error = client().manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    // The header lies about a tag.
    registry.hook(move |_| {
        let digest = wrong.to_string();
        let headers = [
            ("content-type", OCI_MANIFEST),
            ("docker-content-digest", &digest),
        ];
        Some(answer(200, &headers, bytes.clone()))
    });
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_manifest_is_not_read_to_its_end() {
    let registry = Fake::start().await;
    registry.hook(|_| {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
        let body = axum::body::Body::from_stream(endless);
        Some(answer(200, &[("content-type", OCI_MANIFEST)], body))
    });
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // So is an endless error.
    registry.hook(|_| {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
        Some(answer(400, &[], axum::body::Body::from_stream(endless)))
    });
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
}

#[tokio::test]
async fn schema_1_is_refused_politely() {
    let registry = Fake::start().await;
    let old = br#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#;
    for media_type in [DOCKER_SCHEMA1_SIGNED, "application/json"] {
        registry.add_manifest("app", "old", media_type, old);
        let error = client()
            .manifest(&registry.reference("app:old"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Schema1 { .. }), "{error}");
    }
}

#[tokio::test]
async fn too_many_requests_are_waited_out_if_that_is_bearable() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    let left = std::sync::atomic::AtomicUsize::new(2);
    registry.hook(move |_| {
        let busy = left
            .fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1))
            .is_ok();
        busy.then(|| answer(429, &[("retry-after", "0")], ""))
    });
    client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert_eq!(registry.count("GET /v2/app/manifests/v1"), 3);

    registry.hook(|_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        Some(answer(429, &[("retry-after", "21600")], body))
    });
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("toomanyrequests: You have reached your pull rate limit.")
    );
    assert_eq!(registry.count("GET /v2/app/manifests/v1"), 4);
}

#[tokio::test]
async fn a_server_error_is_tried_again_but_not_for_ever() {
    let registry = Fake::start().await;
    registry.hook(|_| Some(answer(503, &[], "")));
    let error = client()
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(registry.seen().len(), 5);
    registry.hook(|_| Some(answer(418, &[], "")));
    assert!(
        client()
            .manifest(&registry.reference("app:v1"))
            .await
            .is_err()
    );
    assert_eq!(registry.seen().len(), 6);
}

#[tokio::test]
async fn nobody_there_is_told_with_a_hint() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let reference = format!("{host}/app:v1").parse().unwrap();
    let error = client().manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("refused") && text.contains("is the registry running"),
        "{text}"
    );
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let registry = Fake::start().await;
    registry.hook(|seen| {
        Some(match seen.query.as_str() {
            "" => {
                let link = [("link", r#"</v2/app/tags/list?last=b>; rel="next""#)];
                answer(200, &link, r#"{"name":"app","tags":["a","b"]}"#)
            }
            "last=b" => answer(200, &[], r#"{"name":"app","tags":["c"]}"#),
            _ => answer(400, &[], ""),
        })
    });
    assert_eq!(
        client().tags(&registry.repository("app")).await.unwrap(),
        ["a", "b", "c"]
    );
    registry.hook(|_| Some(answer(200, &[], r#"{"name":"app","tags":null}"#)));
    assert!(
        client()
            .tags(&registry.repository("app"))
            .await
            .unwrap()
            .is_empty()
    );
    registry.hook(|_| {
        let link = [("link", r#"</v2/_catalog?last=b>; rel="next""#)];
        Some(answer(200, &link, r#"{"repositories":["a"]}"#))
    });
    let error = client().catalog(&registry.host).await.unwrap_err();
    assert!(error.to_string().contains("no end"), "{error}");
}

#[tokio::test]
async fn the_client_says_who_it_is() {
    let registry = Fake::start().await;
    registry.add_image("app", "v1");
    Client::new(config())
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert!(
        registry.seen()[0]
            .header("user-agent")
            .unwrap()
            .starts_with("rbuild/")
    );
}

/// A registry that can search is asked for that; of another the catalog is looked through.
#[tokio::test]
async fn a_registry_searches_or_its_catalog_is_looked_through() {
    let registry = Fake::start().await;
    let host = registry.host.clone();
    registry.hook(|seen| {
        Some(match (seen.path.as_str(), seen.query.as_str()) {
            ("/v1/search", "q=web&n=5") => {
                let found = r#"{"results":[{"name":"team/web","description":"d","star_count":3}]}"#;
                answer(200, &[], found)
            }
            ("/v1/search", _) => answer(404, &[], ""),
            _ => answer(200, &[], r#"{"repositories":["db","team/WEBhook","web"]}"#),
        })
    });
    let found = client().search(&host, "web", 5).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, format!("{host}/team/web"));
    assert_eq!((found[0].stars, found[0].description.as_str()), (3, "d"));
    let found = client().search(&host, "web", 7).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, format!("{host}/web"));
    // What is no list is as good as none.
    registry.hook(|seen| {
        Some(match seen.path.as_str() {
            "/v1/search" => answer(200, &[], "<html>"),
            _ => answer(200, &[], r#"{"repositories":["web"]}"#),
        })
    });
    assert_eq!(client().search(&host, "web", 5).await.unwrap().len(), 1);
}
