//! Markup in what clients push is text.

use serde_json::json;

use super::browser::{Browser, layer, push, push_with, text};
use crate::harness::App;

const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";

#[track_caller]
fn is_text(what: &str, page: &str) {
    assert!(!page.contains("<script"), "{what}: {page}");
    assert!(!page.contains("<img src=x"), "{what}: {page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{what}: {page}");
}

#[tokio::test]
async fn markup_is_shown_and_never_taken_for_ours() {
    let app = App::new().await;
    let name = "<script>alert(1)<b>";
    let files = layer(&[(name, EVIL), ("a/motd", EVIL)]);
    let config = json!({
        "os": EVIL, "architecture": EVIL, "author": EVIL,
        "config": {
            "Env": [format!("{EVIL}={EVIL}")], "Cmd": [EVIL], "User": EVIL,
            "Labels": {EVIL: EVIL, "org.opencontainers.image.description": EVIL},
        },
        "history": [{"created_by": EVIL, "comment": EVIL}, {"created_by": EVIL, "empty_layer": true}],
    });
    let kind = "application/vnd.oci.image.config.v1+json";
    let more = json!({"annotations": {EVIL: EVIL}});
    push_with(&app, "", "app:v1", (kind, &config), &[files], more).await;
    push(
        &app,
        "",
        "app:v2",
        &json!({"config": {"User": EVIL}}),
        &[layer(&[("b", "")])],
    )
    .await;
    let browser = Browser::new(&app);
    for path in [
        "/ui/image/app:v1",
        "/ui/files/app:v1",
        "/ui/file/app:v1?layer=1&path=a/motd",
        "/ui/compare/app?from=v1&to=v2",
        "/ui/document/app:v1",
    ] {
        is_text(path, &browser.page(path).await);
    }
    let sbom = json!({
        "spdxVersion": EVIL,
        "packages": [{"name": EVIL, "versionInfo": EVIL, "licenseDeclared": EVIL}],
    });
    let more = json!({"artifactType": "application/x", "annotations": {EVIL: EVIL}});
    let bytes = sbom.to_string().into_bytes();
    push_with(
        &app,
        "",
        "sbom:v1",
        ("application/x", &json!({})),
        &[bytes],
        more,
    )
    .await;
    is_text("sbom", &browser.page("/ui/document/sbom:v1").await);
    is_text("sbom", &browser.page("/ui/image/sbom:v1").await);
}

#[tokio::test]
async fn markup_in_addresses_and_forms_is_text() {
    let app = App::configured(super::browser::users, "auth.htpasswd = \"$DIR/htpasswd\"\n").await;
    let browser = Browser::new(&app);
    browser.login("root").await;
    let evil = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for path in [
        format!("/ui/?q={evil}"),
        format!("/ui/?sort={evil}&order={evil}&after={evil}"),
        format!("/ui/{evil}"),
        format!("/ui/tags/{evil}"),
        format!("/ui/files/app:v1?path={evil}"),
        format!("/ui/compare/app?from={evil}&to={evil}"),
    ] {
        let page = text(&browser.get(&path).await);
        assert!(!page.contains("<script"), "{path}: {page}");
    }
    let other = Browser::new(&app);
    let fields = format!("user={evil}&password=x");
    let page = text(&other.send("/ui/login", "/ui/login", &fields).await);
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;"),
        "{page}"
    );
    let path = format!("/ui/login?next={evil}");
    assert!(!text(&other.get(&path).await).contains("<script"));
}
