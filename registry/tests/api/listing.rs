use oci::Digest;
use serde_json::{Value, json};

use crate::harness::{App, INDEX, MANIFEST, image};

/// Follows `Link` to the end; all entries of `field`.
async fn walk(app: &App, mut path: String, field: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = app.get(&path).await.ok(200);
        for entry in page.json()[field].as_array().unwrap() {
            let text = entry.as_str().or(entry["digest"].as_str()).unwrap();
            all.push(text.to_owned());
        }
        match page.headers.get("link") {
            None => return all,
            Some(link) => {
                let link = link.to_str().unwrap();
                path = link
                    .strip_prefix('<')
                    .and_then(|l| l.strip_suffix(">; rel=\"next\""))
                    .unwrap()
                    .to_owned();
            }
        }
    }
}

#[tokio::test]
async fn tags_in_pages() {
    let app = App::new().await;
    let (digest, text) = app.image("app", "seed", "x").await;
    let mut tags: Vec<String> = ["10", "9", "a", "B", "_x", "a-b", "a.b"]
        .map(String::from)
        .into();
    for tag in &tags {
        app.put_manifest(
            &format!("/v2/app/manifests/{tag}"),
            MANIFEST,
            text.as_bytes(),
        )
        .await
        .ok(201);
    }
    tags.push("seed".into());
    tags.sort();
    assert_eq!(
        app.get("/v2/app/tags/list").await.json(),
        json!({"name": "app", "tags": tags})
    );
    for n in 1..=9 {
        assert_eq!(
            walk(&app, format!("/v2/app/tags/list?n={n}"), "tags").await,
            tags
        );
    }
    let first = app.get("/v2/app/tags/list?n=3").await;
    assert_eq!(
        first.header("link"),
        format!("</v2/app/tags/list?last={}&n=3>; rel=\"next\"", tags[2])
    );
    // The last page has no link, even when it is full.
    assert!(
        !app.get("/v2/app/tags/list?n=8")
            .await
            .headers
            .contains_key("link")
    );
    let none = app.get("/v2/app/tags/list?n=0").await.ok(200);
    assert_eq!(none.json()["tags"], json!([]));
    assert!(!none.headers.contains_key("link"));
    // `last` need not exist, nor come with n.
    assert_eq!(
        app.get("/v2/app/tags/list?last=a-a").await.json()["tags"],
        json!(["a-b", "a.b", "seed"])
    );
    assert_eq!(
        app.get("/v2/app/tags/list?last=zzz").await.json()["tags"],
        json!([])
    );
    app.get("/v2/app/tags/list?n=2147483648").await.ok(200);
    for bad in ["-1", "x", ""] {
        app.get(&format!("/v2/app/tags/list?n={bad}"))
            .await
            .is(400, "PAGINATION_NUMBER_INVALID");
    }
    let _ = digest;
}

#[tokio::test]
async fn the_catalog_in_pages() {
    let app = App::new().await;
    assert_eq!(
        app.get("/v2/_catalog").await.json(),
        json!({"repositories": []})
    );
    let mut names: Vec<String> = ["b", "a/b", "a", "a-b", "daocloud.io/library/mysql"]
        .map(String::from)
        .into();
    for name in &names {
        app.blob(name, b"x").await;
    }
    names.sort();
    assert_eq!(
        app.get("/v2/_catalog").await.json(),
        json!({"repositories": names})
    );
    for n in 1..=6 {
        let path = format!("/v2/_catalog?n={n}");
        assert_eq!(walk(&app, path, "repositories").await, names);
    }
    assert_eq!(
        app.get("/v2/_catalog?n=2").await.header("link"),
        "</v2/_catalog?last=a-b&n=2>; rel=\"next\""
    );
    assert_eq!(
        app.get("/v2/_catalog?n=1&last=a-b").await.header("link"),
        "</v2/_catalog?last=a%2Fb&n=1>; rel=\"next\""
    );
    app.get("/v2/_catalog?n=2147483648").await.ok(200);
    app.get("/v2/_catalog?n=-1")
        .await
        .is(400, "PAGINATION_NUMBER_INVALID");
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_go_with_their_manifest() {
    let app = App::new().await;
    let (subject, _) = app.image("app", "v1", "x").await;
    let path = format!("/v2/app/referrers/{subject}");
    let empty = app.get(&path).await.ok(200);
    assert_eq!(
        empty.json(),
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    );
    assert_eq!(empty.header("content-type"), INDEX);
    // Not even a repository that nobody has pushed to is a 404.
    app.get(&format!("/v2/nobody/referrers/{subject}"))
        .await
        .ok(200);

    let config = app.blob("app", b"{}").await;
    let refer = |artifact_type: Option<&str>, note: &str| {
        let mut manifest = image(&config, &[]);
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
        manifest["annotations"] = json!({"note": note});
        if let Some(artifact_type) = artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        manifest.to_string()
    };
    let sbom = refer(Some("application/vnd.example.sbom+json"), "one");
    let plain = refer(None, "two");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}})
    .to_string();
    for (text, media_type) in [(&sbom, MANIFEST), (&plain, MANIFEST), (&index, INDEX)] {
        let digest = Digest::sha256(text.as_bytes());
        let pushed = app
            .put_manifest(
                &format!("/v2/app/manifests/{digest}"),
                media_type,
                text.as_bytes(),
            )
            .await
            .ok(201);
        assert_eq!(pushed.header("oci-subject"), subject.to_string());
    }
    let entry = |text: &str, media_type: &str| {
        json!({"mediaType": media_type, "digest": Digest::sha256(text.as_bytes()),
               "size": text.len()})
    };
    let mut first = entry(&sbom, MANIFEST);
    first["artifactType"] = json!("application/vnd.example.sbom+json");
    first["annotations"] = json!({"note": "one"});
    let mut second = entry(&plain, MANIFEST);
    second["artifactType"] = json!("application/vnd.oci.image.config.v1+json");
    second["annotations"] = json!({"note": "two"});
    let mut expected = vec![first.clone(), second, entry(&index, INDEX)];
    expected.sort_by_key(|e| e["digest"].as_str().map(String::from));
    assert_eq!(
        app.get(&path).await.json()["manifests"],
        Value::from(expected)
    );

    for spelled in [
        "application/vnd.example.sbom+json",
        "application%2Fvnd.example.sbom%2Bjson",
    ] {
        let filtered = app
            .get(&format!("{path}?artifactType={spelled}"))
            .await
            .ok(200);
        assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
        assert_eq!(filtered.json()["manifests"], json!([first]));
    }
    let none = app.get(&format!("{path}?artifactType=x/y")).await.ok(200);
    assert_eq!(none.json()["manifests"], json!([]));

    app.delete(&format!(
        "/v2/app/manifests/{}",
        Digest::sha256(sbom.as_bytes())
    ))
    .await
    .ok(202);
    assert_eq!(
        app.get(&path).await.json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_referrer_may_come_before_its_subject() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let subject = Digest::sha256(b"not pushed yet");
    let mut manifest = image(&config, &[]);
    manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    let pushed = app
        .put_manifest(
            "/v2/app/manifests/sig",
            MANIFEST,
            manifest.to_string().as_bytes(),
        )
        .await
        .ok(201);
    assert_eq!(pushed.header("oci-subject"), subject.to_string());
    let list = app
        .get(&format!("/v2/app/referrers/{subject}"))
        .await
        .json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn long_lists_of_referrers_come_in_pages() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let subject = Digest::sha256(b"subject");
    let mut expected = Vec::new();
    // Annotations so large that a page fills up long before its number of entries.
    let note = "n".repeat(1 << 20);
    for i in 0..7 {
        let mut manifest = image(&config, &[]);
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
        manifest["artifactType"] = json!("a/b+c");
        manifest["annotations"] = json!({"note": note, "i": i.to_string()});
        let text = manifest.to_string();
        let digest = Digest::sha256(text.as_bytes());
        app.put_manifest(
            &format!("/v2/app/manifests/{digest}"),
            MANIFEST,
            text.as_bytes(),
        )
        .await
        .ok(201);
        expected.push(digest.to_string());
    }
    expected.sort();
    for filter in ["", "?artifactType=a/b%2Bc"] {
        let path = format!("/v2/app/referrers/{subject}{filter}");
        let first = app.get(&path).await;
        assert!(first.body.len() <= 4 << 20, "{}", first.body.len());
        assert!(first.headers.contains_key("link"));
        assert_eq!(walk(&app, path, "manifests").await, expected);
    }
}
