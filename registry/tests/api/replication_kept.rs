//! What replication sends no second time, what of other registries it brings along, and what it
//! leaves where deleting it would take more.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use oci::Digest;
use registry::replication::Progress;
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST};
use crate::replication::{digest_of, done, has, index, rule, start, state, until, url};
use crate::upstream::Upstream;

/// The requests that came, each as its method and path with query.
type Asked = Arc<Mutex<Vec<String>>>;

/// What tells of each request.
fn told(asked: &Asked) -> impl FnOnce(Router) -> Router + use<> {
    let asked = Arc::clone(asked);
    move |router| {
        let asked = Arc::clone(&asked);
        router.layer(from_fn(move |request: Request, next: Next| {
            let line = format!("{} {}", request.method(), request.uri());
            asked.lock().unwrap().push(line);
            next.run(request)
        }))
    }
}

/// The requests of a method for uploads into a repository.
fn uploads(asked: &Asked, method: &str, name: &str) -> Vec<String> {
    let begin = format!("{method} /v2/{name}/blobs/uploads/");
    let asked = asked.lock().unwrap();
    let of = asked.iter().filter(|line| line.starts_with(&begin));
    of.cloned().collect()
}

#[tokio::test]
async fn what_another_repository_has_there_is_mounted_and_not_sent() {
    let (here, there) = (App::new().await, App::new().await);
    let asked = Asked::default();
    let to = there.listen_behind(told(&asked)).await;
    let replication = start(&here, &rule("push", url(to), "prefix = \"copy\"")).await;
    let (first, _) = here.image("team/a", "v1", "shared").await;
    has(&there, "copy/team/a", "v1", &first).await;
    done(&replication).await;
    asked.lock().unwrap().clear();
    // The same layer and configuration: two blobs, each of which is there already.
    here.image("team/b", "v1", "shared").await;
    has(&there, "copy/team/b", "v1", &first).await;
    done(&replication).await;
    let mounts = uploads(&asked, "POST", "copy/team/b");
    assert_eq!(mounts.len(), 2, "{mounts:?}");
    for blob in [
        Digest::sha256(b"shared"),
        Digest::sha256(b"{\"c\":\"shared\"}"),
    ] {
        let mounted = mounts.iter().any(|line| {
            line.contains("from=copy") && line.contains("team") && line.contains(blob.hex())
        });
        assert!(mounted, "{blob} of {mounts:?}");
    }
    for method in ["PATCH", "PUT"] {
        let sent = uploads(&asked, method, "copy/team/b");
        assert!(sent.is_empty(), "{sent:?}");
    }
    // Where they are gone again, they are sent.
    for name in ["copy/team/a", "copy/team/b"] {
        let name = name.parse().unwrap();
        let gone = there.registry.delete_repository(&name, &None);
        gone.await.unwrap();
    }
    here.image("team/c", "v1", "shared").await;
    has(&there, "copy/team/c", "v1", &first).await;
    let layer = Digest::sha256(b"shared");
    let got = there.get(&format!("/v2/copy/team/c/blobs/{layer}")).await;
    assert_eq!(&got.ok(200).body[..], b"shared");
    replication.stop().await;
}

#[tokio::test]
async fn what_is_mirrored_goes_on_whole_where_that_is_asked_for() {
    let hub = Upstream::start().await;
    let (one, layer) = hub.image("lib/app", "one", b"first");
    let (two, _) = hub.image("lib/app", "two", b"second");
    let children = [&one, &two].map(|d| json!({"mediaType": MANIFEST, "digest": d, "size": 1}));
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string();
    let all = hub.manifest("lib/app", "all", &text, INDEX);
    for mirrored in [false, true] {
        let there = App::new().await;
        let more = format!("mirrored = {mirrored}\nat_once = 1");
        let settings = format!(
            "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{}\"\n{}",
            hub.url(),
            rule("push", url(there.listen().await), &more)
        );
        let app = App::configured(|_| {}, &settings).await;
        let replication = app.replication.clone().unwrap();
        done(&replication).await;
        // Only the index is pulled: neither its children nor their blobs are here by that.
        let path = "/v2/docker.io/lib/app/manifests/all";
        app.get(path).await.ok(200);
        let (own, _) = app.image("own/app", "v1", "own").await;
        has(&there, "own/app", "v1", &own).await;
        if mirrored {
            has(&there, "docker.io/lib/app", "all", &all).await;
            for child in [&one, &two] {
                has(&there, "docker.io/lib/app", &child.to_string(), child).await;
            }
            let blob = format!("/v2/docker.io/lib/app/blobs/{layer}");
            assert_eq!(&there.get(&blob).await.ok(200).body[..], b"first");
        }
        let rule = done(&replication).await;
        assert_eq!((rule.error.clone(), rule.failing), (None, 0), "{rule:?}");
        let brought = digest_of(&there, "docker.io/lib/app", "all").await;
        assert_eq!(brought.is_some(), mirrored);
        replication.stop().await;
    }
}

/// Docker's registry before 3.0 deletes no tags: it says that a digest is needed.
async fn by_digest_alone(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let tag = path.contains("/manifests/") && !path.contains(':');
    if tag && request.method() == Method::DELETE {
        let errors = json!({"errors": [{"code": "UNSUPPORTED", "message": "a digest, please"}]});
        return (StatusCode::METHOD_NOT_ALLOWED, errors.to_string()).into_response();
    }
    next.run(request).await
}

#[tokio::test]
async fn where_only_digests_are_deleted_nothing_goes_that_something_else_needs() {
    let (here, there) = (App::new().await, App::new().await);
    let to = there.listen_behind(|router| router.layer(from_fn(by_digest_alone)));
    let to = to.await;
    let (arm, _) = here.image("app", "arm", "arm").await;
    let all = index(&here, "app", "all", &[&arm]).await;
    let (same, _) = here.image("app", "v1", "same").await;
    here.image("app", "latest", "same").await;
    let (theirs, _) = here.image("app", "theirs", "listed there").await;
    let replication = start(&here, &rule("push", url(to), "deletes = true")).await;
    for (tag, digest) in [
        ("arm", &arm),
        ("all", &all),
        ("v1", &same),
        ("latest", &same),
    ] {
        has(&there, "app", tag, digest).await;
    }
    has(&there, "app", "theirs", &theirs).await;
    done(&replication).await;
    // Nobody brought this index from here.
    let other = index(&there, "app", "other", &[&theirs]).await;
    let refused = async |tag: &str, why: &str| {
        here.delete(&format!("/v2/app/manifests/{tag}"))
            .await
            .ok(202);
        until(&format!("it is told of {tag}"), async || {
            let rule = state(&replication).await;
            let error = rule.error.unwrap_or_default();
            error.contains(&format!("app:{tag} stays there")) && error.contains(why)
        })
        .await;
        assert_eq!(state(&replication).await.state, Progress::Failed);
    };
    refused("arm", "an index lists its digest").await;
    refused("theirs", "the index other lists its digest").await;
    refused("v1", "latest has the same digest").await;
    for (tag, digest) in [
        ("arm", &arm),
        ("theirs", &theirs),
        ("v1", &same),
        ("other", &other),
    ] {
        has(&there, "app", tag, digest).await;
    }
    // What held them goes, and they with it: of two tags of one digest the last takes both along.
    here.delete("/v2/app/manifests/latest").await.ok(202);
    here.delete(&format!("/v2/app/manifests/{all}"))
        .await
        .ok(202);
    there
        .delete(&format!("/v2/app/manifests/{other}"))
        .await
        .ok(202);
    until("all of it is gone there", async || {
        replication.hurry("other").await.unwrap();
        let mut left = 0;
        for tag in ["arm", "all", "theirs", "v1", "latest"] {
            left += usize::from(digest_of(&there, "app", tag).await.is_some());
        }
        left == 0
    })
    .await;
    done(&replication).await;
    replication.stop().await;
}

#[tokio::test]
async fn who_deletes_many_tags_by_digest_asks_about_the_others_once() {
    const TAGS: usize = 40;
    let (here, there) = (App::new().await, App::new().await);
    let asked = Asked::default();
    let to = there.listen_behind(|router| told(&asked)(router.layer(from_fn(by_digest_alone))));
    let to = to.await;
    let mut digests = Vec::new();
    for at in 0..TAGS {
        digests.push(
            here.image("app", &format!("v{at}"), &format!("{at}"))
                .await
                .0,
        );
    }
    let replication = start(&here, &rule("push", url(to), "deletes = true")).await;
    for (at, digest) in digests.iter().enumerate() {
        has(&there, "app", &format!("v{at}"), digest).await;
    }
    there.image("app", "theirs", "theirs").await;
    done(&replication).await;
    asked.lock().unwrap().clear();
    for at in 0..TAGS {
        let path = format!("/v2/app/manifests/v{at}");
        here.delete(&path).await.ok(202);
    }
    until("all of them are gone there", async || {
        let path = "/v2/app/tags/list";
        there.get(path).await.ok(200).json()["tags"] == json!(["theirs"])
    })
    .await;
    let asked = asked.lock().unwrap().clone();
    let questions = asked
        .iter()
        .filter(|line| line.starts_with("HEAD /v2/app/manifests/"));
    let questions = questions.count();
    // Two about each tag itself, and one look at all of them; not all of them for each.
    assert!(questions < TAGS * TAGS / 2, "{questions} questions");
    replication.stop().await;
}
