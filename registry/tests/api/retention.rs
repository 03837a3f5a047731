use std::time::Duration;

use oci::Digest;
use registry::service::{CollectOptions, Collected};
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image};

async fn gc(app: &App, dry_run: bool) -> Collected {
    let options = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap()
}

#[tokio::test]
async fn immutable_tags_neither_move_nor_go() {
    let app = App::configured(
        |_| {},
        "[[immutable]]\nrepository = \"prod/**\"\ntags = \"v*\"",
    )
    .await;
    let (digest, text) = app.image("prod/app", "v1", "one").await;
    // Pushing the same again changes nothing, and is fine.
    let path = "/v2/prod/app/manifests/v1";
    app.put_manifest(path, MANIFEST, text.as_bytes())
        .await
        .ok(201);

    let config = app.blob("prod/app", b"{}").await;
    let other = image(&config, &[]).to_string();
    app.put_manifest(path, MANIFEST, other.as_bytes())
        .await
        .is(403, "DENIED");
    // Nor by a push by digest; and none of its tags is set then.
    let by_digest = format!(
        "/v2/prod/app/manifests/{}?tag=latest&tag=v1",
        Digest::sha256(other.as_bytes())
    );
    app.put_manifest(&by_digest, MANIFEST, other.as_bytes())
        .await
        .is(403, "DENIED");
    app.get("/v2/prod/app/manifests/latest").await.ok(404);
    app.delete(path).await.is(403, "DENIED");
    app.delete(&format!("/v2/prod/app/manifests/{digest}"))
        .await
        .is(403, "DENIED");
    assert_eq!(&app.get(path).await.ok(200).body[..], text.as_bytes());

    // Other tags and other repositories move and go.
    let latest = "/v2/prod/app/manifests/latest";
    app.put_manifest(latest, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    app.put_manifest(latest, MANIFEST, other.as_bytes())
        .await
        .ok(201);
    app.delete(latest).await.ok(202);
    app.image("dev/app", "v1", "one").await;
    app.image("dev/app", "v1", "two").await;
    app.delete("/v2/dev/app/manifests/v1").await.ok(202);
}

#[tokio::test]
async fn tags_that_no_rule_keeps_go_and_dry_runs_say_which() {
    let app = App::configured(
        |_| {},
        "[[immutable]]\nrepository = \"ci/**\"\ntags = \"release-*\"\n\
         [[retention]]\nrepository = \"ci/**\"\nkeep_newest = 1\nkeep_tags = [\"keep-*\"]\n\
         delete_untagged_after = \"0s\"",
    )
    .await;
    for tag in ["a1", "a2", "a3", "keep-me", "release-1"] {
        app.image("ci/app", tag, tag).await;
        app.image("other", tag, tag).await;
    }
    let dry = gc(&app, true).await;
    assert_eq!(dry.tags.len(), 3, "{dry:?}");
    assert_eq!(
        app.get("/v2/ci/app/tags/list").await.json()["tags"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let done = gc(&app, false).await;
    assert_eq!(done.tags, dry.tags);
    // The newest is the release, which would stay anyhow.
    assert_eq!(
        app.get("/v2/ci/app/tags/list").await.json()["tags"],
        json!(["keep-me", "release-1"])
    );
    // Their manifests went too, and what those needed may go after its grace.
    assert_eq!(done.manifests.len(), 3, "{done:?}");
    app.get("/v2/ci/app/manifests/a1").await.ok(404);
    assert_eq!(
        app.get("/v2/other/tags/list").await.json()["tags"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[tokio::test]
async fn indexes_and_subjects_keep_what_has_no_tag() {
    let app = App::configured(
        |_| {},
        "[[retention]]\nrepository = \"**\"\ndelete_untagged_after = \"0s\"",
    )
    .await;
    let config = app.blob("app", b"{}").await;
    let mut digests = Vec::new();
    let put = async |text: String, kind: &str| {
        let digest = Digest::sha256(text.as_bytes());
        let path = format!("/v2/app/manifests/{digest}");
        app.put_manifest(&path, kind, text.as_bytes()).await.ok(201);
        digest
    };
    let child = put(image(&config, &[]).to_string(), MANIFEST).await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": 1}]})
    .to_string();
    app.put_manifest("/v2/app/manifests/multi", INDEX, index.as_bytes())
        .await
        .ok(201);
    let mut signature = image(&config, &[]);
    signature["subject"] = json!({"mediaType": INDEX,
        "digest": Digest::sha256(index.as_bytes()), "size": 1});
    let signature = put(signature.to_string(), MANIFEST).await;
    let mut stray = image(&config, &[]);
    stray["annotations"] = json!({"nobody": "wants me"});
    let stray = put(stray.to_string(), MANIFEST).await;
    digests.extend([child, signature]);

    assert_eq!(gc(&app, false).await.manifests, [format!("app@{stray}")]);
    for digest in &digests {
        app.get(&format!("/v2/app/manifests/{digest}"))
            .await
            .ok(200);
    }
    // With the index goes all that it kept.
    app.delete("/v2/app/manifests/multi").await.ok(202);
    assert_eq!(gc(&app, false).await.manifests.len(), 3);
    for digest in &digests {
        app.get(&format!("/v2/app/manifests/{digest}"))
            .await
            .ok(404);
    }
}

#[tokio::test]
async fn what_is_pulled_is_kept() {
    let app = App::configured(
        |_| {},
        "[[retention]]\nrepository = \"**\"\nkeep_pulled_within = \"1h\"",
    )
    .await;
    app.image("app", "pulled", "one").await;
    app.image("app", "asked", "two").await;
    app.image("app", "left", "three").await;
    crate::images::age(&app, 2 * 3600).await;
    app.get("/v2/app/manifests/pulled").await.ok(200);
    // docker and containerd ask no more when they have what a tag is.
    app.head("/v2/app/manifests/asked").await.ok(200);
    assert_eq!(gc(&app, false).await.tags, ["app:left"]);
    app.get("/v2/app/manifests/pulled").await.ok(200);
}
