//! What people change by hand: deletions, and tags that go back.

use serde_json::json;

use super::browser::{Browser, layer, push};
use crate::harness::App;

#[tokio::test]
async fn what_would_go_is_shown_before_it_goes() {
    let app = App::new().await;
    let files = layer(&[("a", "b")]);
    let digest = push(
        &app,
        "",
        "app:v1",
        &json!({"os": "linux"}),
        &[files.clone()],
    )
    .await;
    push(&app, "", "app:v2", &json!({"os": "linux"}), &[files]).await;
    let browser = Browser::new(&app);
    let by_tag = "/ui/remove/app:v1";
    let page = browser.page(by_tag).await;
    assert!(
        page.contains("Delete this tag?</h1><p class=\"full\">app:v1<"),
        "{page}"
    );
    assert!(page.contains("Only the tag goes"), "{page}");
    let gone = browser.send(by_tag, by_tag, "").await.ok(303);
    assert_eq!(gone.header("location"), "/ui/tags/app");
    app.get("/v2/app/manifests/v1").await.ok(404);
    let by_digest = format!("/ui/remove/app@{digest}");
    let page = browser.page(&by_digest).await;
    assert!(
        page.contains("Tags that go") && page.contains(">v2<"),
        "{page}"
    );
    assert!(page.contains("<dt>Blobs</dt><dd>2</dd>"), "{page}");
    browser.send(&by_digest, &by_digest, "").await.ok(303);
    app.get("/v2/app/manifests/v2").await.ok(404);
    browser.get(&by_digest).await.ok(404);
}

#[tokio::test]
async fn what_may_not_go_stays() {
    let settings = "[[immutable]]\nrepository = \"app\"\ntags = \"v*\"\n";
    let app = App::configured(|_| {}, settings).await;
    push(&app, "", "app:v1", &json!({}), &[layer(&[("a", "b")])]).await;
    let browser = Browser::new(&app);
    let path = "/ui/remove/app:v1";
    let page = browser.page(path).await;
    assert!(
        page.contains("It cannot be deleted: tag v1 is immutable"),
        "{page}"
    );
    assert!(!page.contains("<button class=\"danger\""), "{page}");
    // Nor by the token of another page of ours.
    push(&app, "", "app:w1", &json!({}), &[layer(&[("a", "b")])]).await;
    let refused = browser.send("/ui/remove/app:w1", path, "").await.ok(403);
    let page = super::browser::text(&refused);
    assert!(page.contains("Tag v1 is immutable"), "{page}");
    app.get("/v2/app/manifests/v1").await.ok(200);
    // Where nothing can be deleted there is no way to.
    let app = App::configured(|_| {}, "delete.enabled = false\n").await;
    push(&app, "", "app:v1", &json!({}), &[layer(&[("a", "b")])]).await;
    let browser = Browser::new(&app);
    browser.get(path).await.ok(403);
    assert!(
        !browser
            .page("/ui/image/app:v1")
            .await
            .contains("/ui/remove/")
    );
}

#[tokio::test]
async fn a_tag_goes_back_to_where_it_was() {
    let app = App::new().await;
    let (one, two) = (layer(&[("a", "1")]), layer(&[("a", "2")]));
    let first = push(&app, "", "app:v", &json!({"n": 1}), &[one]).await;
    let second = push(&app, "", "app:v", &json!({"n": 2}), &[two]).await;
    let browser = Browser::new(&app);
    let path = "/ui/past/app:v";
    let page = browser.page(path).await;
    assert!(page.contains(&first.to_string()), "{page}");
    let fields = format!("digest={}", first.to_string().replace(':', "%3A"));
    let back = browser.send(path, path, &fields).await.ok(303);
    assert_eq!(back.header("location"), "/ui/image/app:v");
    let now = app.get("/v2/app/manifests/v").await;
    assert_eq!(now.header("docker-content-digest"), first.to_string());
    // What was deleted can be had back as long as it was not collected.
    app.delete(&format!("/v2/app/manifests/{second}"))
        .await
        .ok(202);
    assert!(browser.page(path).await.contains("deleted since"));
    let back = format!("digest={}", second.to_string().replace(':', "%3A"));
    browser.send(path, path, &back).await.ok(303);
    let now = app.get("/v2/app/manifests/v").await;
    assert_eq!(now.header("docker-content-digest"), second.to_string());
    browser.send(path, path, &fields).await.ok(303);
    app.delete(&format!("/v2/app/manifests/{second}"))
        .await
        .ok(202);
    let options = registry::service::CollectOptions {
        grace: std::time::Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
    let answer = browser.send(path, path, &back).await.ok(404);
    let text = super::browser::text(&answer);
    assert!(text.contains("The tag stays as it is"), "{text}");
    let never = format!("digest=sha256%3A{}", "0".repeat(64));
    browser.send(path, path, &never).await.ok(404);
    browser.send(path, path, "digest=x").await.ok(400);
    // A tag that was deleted can be had again.
    app.delete("/v2/app/manifests/v").await.ok(202);
    let fields = format!("digest={}", first.to_string().replace(':', "%3A"));
    browser.send(path, path, &fields).await.ok(303);
    app.get("/v2/app/manifests/v").await.ok(200);
}

#[tokio::test]
async fn rules_say_what_would_go() {
    let settings = "[[retention]]\nrepository = \"ci/**\"\nkeep_newest = 1\n";
    let app = App::configured(|_| {}, settings).await;
    for tag in ["one", "two", "three"] {
        let image = format!("ci/app:{tag}");
        push(
            &app,
            "",
            &image,
            &json!({ "t": tag }),
            &[layer(&[("a", tag)])],
        )
        .await;
    }
    let browser = Browser::new(&app);
    let page = browser.page("/ui/rules/ci/app").await;
    assert!(page.contains("1 tag pushed last"), "{page}");
    assert!(page.contains("/ui/image/ci/app:one\"") && page.contains("/ui/image/ci/app:two\""));
    assert!(!page.contains("/ui/image/ci/app:three\""));
    let storage = browser.page("/ui/storage?garbage=show").await;
    assert!(
        storage.contains("<dt>Tags, by rule</dt><dd>2</dd>"),
        "{storage}"
    );
    // Nothing went for being looked at.
    app.get("/v2/ci/app/manifests/one").await.ok(200);
}

#[tokio::test]
async fn a_whole_repository_goes_at_once() {
    let app = App::new().await;
    for tag in ["one", "two"] {
        let image = format!("team/app:{tag}");
        push(
            &app,
            "",
            &image,
            &json!({ "t": tag }),
            &[layer(&[("a", tag)])],
        )
        .await;
    }
    let browser = Browser::new(&app);
    assert!(
        browser
            .page("/ui/tags/team/app")
            .await
            .contains("/ui/remove/team/app\"")
    );
    let path = "/ui/remove/team/app";
    let page = browser.page(path).await;
    assert!(
        page.contains("Delete this repository?</h1><p class=\"full\">team/app<"),
        "{page}"
    );
    assert!(page.contains("<dt>Tags</dt><dd>2</dd>"), "{page}");
    assert!(page.contains("<dt>Images</dt><dd>2</dd>"), "{page}");
    let gone = browser.send(path, path, "").await.ok(303);
    assert_eq!(gone.header("location"), "/ui/");
    assert!(!browser.page("/ui/").await.contains("team/app"));
    browser.get("/ui/tags/team/app").await.ok(404);
}
