//! What is inside images: layers, files, packages, what changed.

use serde_json::{Value, json};

use super::browser::{Browser, layer, push, push_with};
use crate::harness::App;

const DPKG: &str = "var/lib/dpkg/status";

fn package(name: &str, version: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n")
}

fn config(env: &[&str]) -> Value {
    json!({
        "os": "linux", "architecture": "amd64",
        "config": {"Env": env, "Cmd": ["sh"], "Labels": {"team": "blue"}},
        "history": [
            {"created_by": "COPY rootfs / # buildkit"},
            {"created_by": "ENV A=1", "empty_layer": true},
            {"created_by": "RUN make all # buildkit"},
        ],
    })
}

async fn two(app: &App) {
    let base = layer(&[
        ("bin/tool", "0123456789"),
        ("etc/motd", "hello, world\n"),
        ("etc/old", "gone soon"),
        (DPKG, &(package("bash", "5.1") + &package("zlib1g", "1.2"))),
    ]);
    let one = layer(&[("bin/tool", "01234567"), ("etc/.wh.old", "")]);
    let two = layer(&[
        ("bin/tool", "another"),
        ("srv/new", "brand new"),
        (DPKG, &(package("bash", "5.2") + &package("curl", "8.0"))),
    ]);
    push(app, "", "app:v1", &config(&["A=1"]), &[base.clone(), one]).await;
    push(app, "", "app:v2", &config(&["A=2", "B=3"]), &[base, two]).await;
}

#[tokio::test]
async fn an_image_is_shown_with_layers_and_what_made_them() {
    let app = App::new().await;
    two(&app).await;
    let browser = Browser::new(&app);
    let page = browser.page("/ui/image/app:v1").await;
    for text in [
        "COPY rootfs /",
        "RUN make all",
        "linux/amd64",
        "docker pull localhost/app:v1",
        "<dt>A</dt><dd><code>1</code></dd>",
        "<dt>team</dt><dd><code>blue</code></dd>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("# buildkit"));
    let list = browser.page("/ui/tags/app").await;
    assert!(list.contains("/ui/image/app:v1") && list.contains("/ui/image/app:v2"));
    assert!(browser.page("/ui/tags/app?q=V2").await.contains("app:v2"));
    assert!(
        !browser
            .page("/ui/tags/app?q=v2")
            .await
            .contains("/ui/image/app:v1\"")
    );
}

#[tokio::test]
async fn files_are_shown_of_one_layer_and_of_all() {
    let app = App::new().await;
    two(&app).await;
    let browser = Browser::new(&app);
    let all = browser.page("/ui/files/app:v1?path=etc").await;
    assert!(all.contains("motd") && !all.contains("old"), "{all}");
    let upper = browser.page("/ui/files/app:v1?layer=2&path=etc").await;
    assert!(
        upper.contains("<del>old</del>") && upper.contains("removed"),
        "{upper}"
    );
    assert!(!upper.contains("motd"));
    let upper = browser.page("/ui/files/app:v1?layer=2&path=bin").await;
    assert!(upper.contains("changed"), "{upper}");
    // bin/tool twice, 10 and 8 bytes, and etc/old, as dive counts them.
    let top = browser.page("/ui/files/app:v1").await;
    assert!(
        top.contains("<dt>Wasted</dt><dd><span class=\"number\" title=\"27 bytes\">"),
        "{top}"
    );
    let file = "/ui/file/app:v1?layer=1&path=etc/motd";
    assert!(browser.page(file).await.contains(">hello, world\n</pre>"));
    for missing in [
        "/ui/files/app:v1?path=nowhere",
        "/ui/files/app:v1?layer=3",
        "/ui/files/app:v1?layer=x",
        "/ui/file/app:v1?layer=1&path=nowhere",
        "/ui/file/app:v1?layer=1&path=etc",
        "/ui/file/app:v1?layer=0&path=etc/motd",
        "/ui/file/app:v1?path=../../etc/passwd",
    ] {
        browser.get(missing).await.ok(404);
    }
}

#[tokio::test]
async fn a_listing_is_kept_as_long_as_its_layer() {
    let app = App::new().await;
    two(&app).await;
    let files = || {
        let mut found = 0;
        let mut dirs = vec![app.path().join("listings")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => dirs.push(entry.path()),
                    false => found += 1,
                }
            }
        }
        found
    };
    assert_eq!(files(), 0);
    let browser = Browser::new(&app);
    browser.get("/ui/files/app:v1").await.ok(200);
    assert_eq!(files(), 2);
    browser.get("/ui/files/app:v2").await.ok(200);
    assert_eq!(files(), 3);
    let image = app.get("/v2/app/manifests/v2").await;
    let digest = image.header("docker-content-digest").to_owned();
    app.delete(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(202);
    let options = registry::service::CollectOptions {
        grace: std::time::Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
    assert_eq!(files(), 2);
    // One that is damaged is made again.
    let dir = app.path().join("listings/sha256");
    for shard in std::fs::read_dir(dir).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            std::fs::write(file.unwrap().path(), b"damaged").unwrap();
        }
    }
    assert!(browser.page("/ui/files/app:v1").await.contains("etc/"));
}

#[tokio::test]
async fn two_tags_are_compared() {
    let app = App::new().await;
    two(&app).await;
    let browser = Browser::new(&app);
    let page = browser.page("/ui/compare/app?from=v1&to=v2").await;
    let row = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(|c| format!("<code>{c}</code>")).collect();
        cells.join("</td><td>")
    };
    for text in [
        "<th scope=\"row\">bash</th><td>",
        &row(&["5.1", "5.2"]),
        "<th scope=\"row\">curl</th>",
        "<th scope=\"row\">zlib1g</th>",
        "<th scope=\"row\">env A</th>",
        "<th scope=\"row\">env B</th>",
        "<th scope=\"row\">/srv/new</th>",
        "<th scope=\"row\">/bin/tool</th>",
        "<th scope=\"row\">/etc/old</th>",
        "<dt>Layers in common</dt><dd>1 of 2 and 2</dd>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("/etc/motd"));
    let same = browser.page("/ui/compare/app?from=v1&to=v1").await;
    assert!(same.contains("Both are the same image."));
    browser.get("/ui/compare/app?from=v1&to=nope").await.ok(404);
    browser
        .get("/ui/compare/app?from=v1&to=%3Cb%3E")
        .await
        .ok(400);
}

#[tokio::test]
async fn a_bill_of_materials_is_a_table() {
    let app = App::new().await;
    let image = push(&app, "", "app:v1", &config(&[]), &[layer(&[("a", "b")])]).await;
    let sbom = json!({
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "musl", "versionInfo": "1.2.5", "licenseDeclared": "MIT"}],
    });
    let size = app.get("/v2/app/manifests/v1").await.body.len();
    let subject = json!({
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image, "size": size,
        },
        "artifactType": "application/spdx+json",
    });
    let bytes = sbom.to_string().into_bytes();
    let kind = "application/vnd.oci.empty.v1+json";
    let referrer = push_with(&app, "", "app:", (kind, &json!({})), &[bytes], subject).await;
    let browser = Browser::new(&app);
    let page = browser.page("/ui/image/app:v1").await;
    assert!(
        page.contains(&format!("/ui/document/app@{referrer}")),
        "{page}"
    );
    assert!(page.contains("application/spdx+json"));
    let page = browser.page(&format!("/ui/document/app@{referrer}")).await;
    assert!(page.contains("SPDX 2.3, 1 package<"), "{page}");
    assert!(
        page.contains("<th scope=\"row\">musl</th><td>1.2.5</td>"),
        "{page}"
    );
}

#[tokio::test]
async fn signatures_of_cosign_are_found_by_their_tags() {
    let app = App::new().await;
    let image = push(&app, "", "app:v1", &config(&[]), &[layer(&[("a", "b")])]).await;
    let tag = format!("{}.sig", image.to_string().replace(':', "-"));
    let payload = json!({"critical": {"type": "cosign container image signature"}});
    let bytes = payload.to_string().into_bytes();
    let kind = "application/vnd.oci.image.config.v1+json";
    let annotations = json!({"annotations": {"dev.cosignproject.cosign/signature": "MEUC"}});
    let name = format!("app:{tag}");
    push_with(&app, "", &name, (kind, &json!({})), &[bytes], annotations).await;
    let browser = Browser::new(&app);
    let page = browser.page("/ui/image/app:v1").await;
    let link = format!("<a href=\"/ui/document/app:{tag}\">cosign signature</a>");
    assert!(page.contains(&link), "{page}");
    let page = browser.page(&format!("/ui/document/app:{tag}")).await;
    assert!(page.contains("cosign container image signature"), "{page}");
    assert!(page.contains("MEUC"), "{page}");
    assert!(
        browser
            .page("/ui/tags/app")
            .await
            .contains(">signed</span>")
    );
}

#[tokio::test]
async fn what_is_no_layer_says_so() {
    let app = App::new().await;
    let bomb = {
        use std::io::Write;
        let options = Default::default();
        let kind = oci::media_type::LayerCompression::Gzip;
        let mut out = oci::layer::compression::Compressor::new(kind, Vec::new(), &options).unwrap();
        out.write_all(b"not an archive, whatever the media type says, and of some length")
            .unwrap();
        out.finish().unwrap()
    };
    push(&app, "", "app:v1", &config(&[]), &[bomb]).await;
    let page = Browser::new(&app).page("/ui/files/app:v1").await;
    assert!(page.contains("not the archive of a layer"), "{page}");
}

#[tokio::test]
async fn many_tags_come_in_pages() {
    let app = App::new().await;
    let (_, text) = app.image("app", "t000", "x").await;
    for n in 1..205 {
        let path = format!("/v2/app/manifests/t{n:03}");
        app.put_manifest(&path, crate::harness::MANIFEST, text.as_bytes())
            .await
            .ok(201);
    }
    let browser = Browser::new(&app);
    let mut path = "/ui/tags/app?sort=name&order=asc".to_owned();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = browser.page(&path).await;
        pages += 1;
        for piece in page
            .split("<th scope=\"row\"><a href=\"/ui/image/app:")
            .skip(1)
        {
            seen.push(piece.split('"').next().unwrap().to_owned());
        }
        let Some((before, _)) = page.split_once("\">Next page</a>") else {
            break;
        };
        let href = before.rsplit_once("href=\"").unwrap().1;
        path = href.replace("&amp;", "&");
    }
    let all: Vec<String> = (0..205).map(|n| format!("t{n:03}")).collect();
    assert_eq!(seen, all);
    assert_eq!(pages, 3);
}
