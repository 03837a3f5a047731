//! Lists of repositories and tags with what people want to know of each, and one image as a whole.

use oci::Digest;
use registry::meta::{Cursor, ListQuery, Listing, RepositoryEntry, Sort, TagEntry};
use registry::name::ManifestRef;
use serde_json::{Value, json};

use crate::harness::{App, CONFIG, INDEX, LAYER, MANIFEST, image};
use crate::images::{sql, texts};

/// A list in pages of `n`; checks that all but the last are full.
async fn pages<T>(
    n: u32,
    query: &ListQuery,
    mut page: impl AsyncFnMut(&ListQuery) -> Listing<T>,
) -> Vec<T> {
    let mut query = ListQuery { n, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let found = page(&query).await;
        let full = found.entries.len() == n as usize;
        all.extend(found.entries);
        match found.next {
            None => return all,
            Some(next) => {
                assert!(full, "a page that is not full has another behind it");
                query.after = Cursor::parse(&next.text());
            }
        }
    }
}

async fn repositories(app: &App, n: u32, query: &ListQuery) -> Vec<RepositoryEntry> {
    let page = async |query: &ListQuery| {
        let page = app.registry.repository_entries(query, "", "~");
        page.await.unwrap()
    };
    pages(n, query, page).await
}

async fn tags(app: &App, repository: &str, n: u32, query: &ListQuery) -> Vec<TagEntry> {
    let name = repository.parse().unwrap();
    let page = async |query: &ListQuery| app.registry.tag_entries(&name, query).await.unwrap();
    pages(n, query, page).await
}

fn sorted(sort: Sort, descending: bool) -> ListQuery {
    ListQuery {
        sort,
        descending,
        ..ListQuery::default()
    }
}

/// Pushes an image for a platform, with labels and a layer of so many bytes; its digest.
pub async fn push(app: &App, name: &str, tag: &str, about: &Value, layer: usize) -> Digest {
    let config = app.blob(name, about.to_string().as_bytes()).await;
    let layer = app.blob(name, &vec![b'x'; layer]).await;
    let text = image(&config, &[&layer]).to_string();
    let path = format!("/v2/{name}/manifests/{tag}");
    let pushed = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
    pushed.ok(201);
    Digest::sha256(text.as_bytes())
}

fn about(architecture: &str) -> Value {
    json!({"os": "linux", "architecture": architecture, "created": "2024-05-06T07:08:09Z",
           "config": {"Labels": {"org.opencontainers.image.description": "Serves things"}}})
}

#[tokio::test]
async fn repositories_tell_what_is_in_them() {
    let app = App::new().await;
    push(&app, "team/web", "v1", &about("amd64"), 5000).await;
    push(&app, "team/web", "v2", &about("amd64"), 6000).await;
    push(&app, "team/db", "v1", &about("arm64"), 90_000).await;
    app.blob("team/unfinished", b"x").await;
    sql(
        app.path(),
        "UPDATE manifests SET pushed_at = 100; UPDATE repository_list SET pushed_at = 0;
         UPDATE manifests SET pushed_at = 200 WHERE content_bytes > 80000;
         UPDATE manifests SET pushed_at = 300 WHERE content_bytes < 6000",
    )
    .await;
    let by_name = repositories(&app, 10, &ListQuery::default()).await;
    let names: Vec<&str> = by_name.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["team/db", "team/unfinished", "team/web"]);
    assert_eq!((by_name[0].tags, by_name[2].tags), (1, 2));
    assert_eq!(by_name[0].description, "Serves things");
    assert_eq!(
        (by_name[0].pushed, by_name[2].pushed),
        (Some(200), Some(300))
    );
    assert_eq!((by_name[1].pushed, by_name[1].pulled), (None, None));
    // What `usage` tells.
    for used in app.registry.usage_report().await.unwrap().repositories {
        let entry = by_name.iter().find(|entry| entry.name == used.name);
        assert_eq!(entry.unwrap().bytes, used.bytes, "{}", used.name);
    }
    for (sort, descending, expected) in [
        (Sort::Name, true, ["team/web", "team/unfinished", "team/db"]),
        (Sort::Time, true, ["team/web", "team/db", "team/unfinished"]),
        (
            Sort::Time,
            false,
            ["team/unfinished", "team/db", "team/web"],
        ),
        (Sort::Size, true, ["team/db", "team/web", "team/unfinished"]),
        (
            Sort::Size,
            false,
            ["team/unfinished", "team/web", "team/db"],
        ),
    ] {
        for n in 1..=4 {
            let found = repositories(&app, n, &sorted(sort, descending)).await;
            let names: Vec<&str> = found.iter().map(|entry| entry.name.as_str()).collect();
            assert_eq!(names, expected, "{sort:?} {descending} {n}");
        }
    }
    let filter = ListQuery {
        filter: "WEB".into(),
        ..ListQuery::default()
    };
    let found = repositories(&app, 10, &filter).await;
    assert_eq!(found.len(), 1);

    // A pull is known once it is written down.
    app.get("/v2/team/db/manifests/v1").await.ok(200);
    app.registry.flush_pulls().await.unwrap();
    let db = "team/db".parse().unwrap();
    let db = app.registry.repository_entry(&db);
    assert!(db.await.unwrap().pulled.is_some());
}

#[tokio::test]
async fn tags_tell_what_they_point_to() {
    let app = App::new().await;
    let amd = push(&app, "app", "b", &about("amd64"), 500).await;
    let arm = push(&app, "app", "c", &about("arm64"), 100).await;
    let entry = |digest: &Digest, architecture: &str| {
        json!({"mediaType": MANIFEST, "digest": digest, "size": size(&app, digest),
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        entry(&amd, "amd64"), entry(&arm, "arm64")]})
    .to_string();
    app.put_manifest("/v2/app/manifests/a", INDEX, index.as_bytes())
        .await
        .ok(201);
    // A chart is no image: it runs nowhere, and is what its configuration says.
    let config = app.blob("app", b"{\"name\": \"chart\"}").await;
    let mut chart = image(&config, &[]);
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    app.put_manifest(
        "/v2/app/manifests/d",
        MANIFEST,
        chart.to_string().as_bytes(),
    )
    .await
    .ok(201);

    let all = tags(&app, "app", 10, &ListQuery::default()).await;
    let names: Vec<&str> = all.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let [a, b, c, d] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(a.manifest.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(b.manifest.platforms, ["linux/amd64"]);
    assert_eq!(d.manifest.platforms, [""; 0]);
    assert_eq!(b.manifest.digest, amd.to_string());
    assert_eq!(b.manifest.created, Some(1_714_979_289));
    assert_eq!(a.manifest.media_type, INDEX);
    let helm = Some("application/vnd.cncf.helm.config.v1+json");
    assert_eq!(d.manifest.artifact_type.as_deref(), helm);
    let bytes = |tag: &TagEntry| tag.manifest.bytes;
    assert_eq!(
        bytes(b),
        500 + size(&app, &amd) + config_size(&about("amd64"))
    );
    assert_eq!(bytes(a), bytes(b) + bytes(c) + index.len() as u64);
    for (sort, descending, expected) in [
        (Sort::Name, true, ["d", "c", "b", "a"]),
        (Sort::Time, false, ["b", "c", "a", "d"]),
        (Sort::Time, true, ["d", "a", "c", "b"]),
        (Sort::Size, false, ["d", "c", "b", "a"]),
        (Sort::Size, true, ["a", "b", "c", "d"]),
    ] {
        for n in 1..=5 {
            let found = tags(&app, "app", n, &sorted(sort, descending)).await;
            let names: Vec<&str> = found.iter().map(|tag| tag.name.as_str()).collect();
            assert_eq!(names, expected, "{sort:?} {descending} {n}");
        }
    }

    // Signed the old way, and the new one.
    assert!(all.iter().all(|tag| !tag.signed));
    let sig = format!(
        "sha256-{}.sig",
        amd.to_string().trim_start_matches("sha256:")
    );
    push(&app, "app", &sig, &json!({}), 1).await;
    let mut refers = image(&config, &[]);
    refers["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
    refers["subject"] = json!({"mediaType": MANIFEST, "digest": arm, "size": size(&app, &arm)});
    let text = refers.to_string();
    let path = format!("/v2/app/manifests/{}", Digest::sha256(text.as_bytes()));
    let pushed = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
    pushed.ok(201);
    let filter = ListQuery {
        filter: "B".into(),
        ..ListQuery::default()
    };
    assert!(tags(&app, "app", 9, &filter).await[0].signed);
    let signed = tags(&app, "app", 9, &ListQuery::default()).await;
    let signed = signed.iter().filter(|tag| tag.signed);
    let signed: Vec<&str> = signed.map(|tag| tag.name.as_str()).collect();
    assert_eq!(signed, ["b", "c"]);
    // Neither says anything of the repository.
    let entry = "app".parse().unwrap();
    let entry = app.registry.repository_entry(&entry);
    assert_eq!(entry.await.unwrap().description, "");
    let unknown = "nobody".parse().unwrap();
    let unknown = app.registry.tag_entries(&unknown, &filter).await;
    assert!(unknown.is_err());
}

/// Bytes of a manifest that was pushed.
fn size(app: &App, digest: &Digest) -> u64 {
    let hex = digest.to_string();
    let hex = hex.trim_start_matches("sha256:");
    let found = walk(app.path().join("blobs")).into_iter();
    let mut found = found.filter(|path| path.to_string_lossy().contains(hex));
    std::fs::metadata(found.next().unwrap()).unwrap().len()
}

fn walk(dir: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let found = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => walk(entry.path()),
        false => vec![entry.path()],
    });
    found.flatten().collect()
}

fn config_size(about: &Value) -> u64 {
    about.to_string().len() as u64
}

#[tokio::test]
async fn an_emptied_repository_leaves_the_catalog_at_once() {
    let app = App::new().await;
    let digest = push(&app, "team/app", "v1", &about("amd64"), 10).await;
    let names = async || app.get("/v2/_catalog").await.json()["repositories"].clone();
    assert_eq!(names().await, json!(["team/app"]));
    // A manifest without a tag is something.
    app.delete("/v2/team/app/manifests/v1").await.ok(202);
    assert_eq!(names().await, json!(["team/app"]));
    let path = format!("/v2/team/app/manifests/{digest}");
    app.delete(&path).await.ok(202);
    assert_eq!(names().await, json!([]));
    assert_eq!(repositories(&app, 9, &ListQuery::default()).await, []);
    let searched = texts(app.path(), "SELECT name FROM repository_search").await;
    assert_eq!(searched, Vec::<String>::new());
    // Its blobs are there until they are collected, and it comes back with its next manifest.
    push(&app, "team/app", "v2", &about("amd64"), 10).await;
    assert_eq!(names().await, json!(["team/app"]));
    let listed = repositories(&app, 9, &ListQuery::default()).await;
    assert_eq!((listed.len(), listed[0].tags), (1, 1));
    let used = app.registry.usage_report().await.unwrap();
    assert_eq!(listed[0].bytes, used.repositories[0].bytes);
}

#[tokio::test]
async fn one_image_tells_of_its_layers_and_what_made_them() {
    let app = App::new().await;
    let first = app.blob("app", b"first layer").await;
    let second = app.blob("app", b"second").await;
    let about = json!({
        "os": "linux", "architecture": "amd64",
        "history": [
            {"created_by": "FROM base", "created": "2024-05-06T07:08:09Z"},
            {"created_by": "ENV a=b", "empty_layer": true},
            {"created_by": "RUN make", "comment": "buildkit"},
        ],
    });
    let config = app.blob("app", about.to_string().as_bytes()).await;
    let mut text = image(&config, &[&first, &second]);
    text["annotations"] = json!({"vendor": "acme"});
    let text = text.to_string();
    let pushed = app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes());
    pushed.await.ok(201);
    let name = "app".parse().unwrap();
    let reference = ManifestRef::Tag("v1".parse().unwrap());
    let found = app.registry.image(&name, &reference).await.unwrap();
    let found = serde_json::to_value(found).unwrap();
    let digest = Digest::sha256(text.as_bytes()).to_string();
    assert_eq!(found["manifest"]["digest"], digest);
    assert_eq!(found["tags"], json!(["v1"]));
    assert_eq!(found["annotations"], json!({"vendor": "acme"}));
    assert_eq!(
        found["config"],
        json!({"digest": config, "media_type": CONFIG, "bytes": about.to_string().len(),
               "document": about})
    );
    assert_eq!(
        found["layers"],
        json!([
            {"digest": first, "media_type": LAYER, "bytes": 11, "instruction": "FROM base"},
            {"digest": second, "media_type": LAYER, "bytes": 6, "instruction": "RUN make"},
        ])
    );
    assert_eq!(
        found["history"],
        json!([
            {"instruction": "FROM base", "comment": "", "created": "2024-05-06T07:08:09Z",
             "layer": 0},
            {"instruction": "ENV a=b", "comment": "", "created": null, "layer": null},
            {"instruction": "RUN make", "comment": "buildkit", "created": null, "layer": 1},
        ])
    );

    // An index tells of children that are there, and of those that went.
    let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": text.len(),
                       "platform": {"os": "linux", "architecture": "amd64"}});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
    let pushed = app.put_manifest("/v2/app/manifests/all", INDEX, index.as_bytes());
    pushed.await.ok(201);
    let all = ManifestRef::Tag("all".parse().unwrap());
    let found = app.registry.image(&name, &all).await.unwrap();
    assert_eq!((found.config, found.layers.len()), (None, 0));
    assert_eq!(found.children[0].platform.as_deref(), Some("linux/amd64"));
    assert!(found.children[0].manifest.is_some());
    let child = app.registry.image(&name, &reference).await.unwrap();
    assert_eq!(
        child.listed_by,
        [Digest::sha256(index.as_bytes()).to_string()]
    );
    let none = ManifestRef::Tag("none".parse().unwrap());
    assert!(app.registry.image(&name, &none).await.is_err());
}

#[tokio::test]
async fn a_deletion_says_before_what_it_takes() {
    let settings = "[[immutable]]\nrepository = \"app\"\ntags = \"release-*\"\n";
    let app = App::configured(|_| {}, settings).await;
    // One layer that both need, another that a second repository shows.
    let shared = app.blob("app", &[b's'; 100]).await;
    let mut digests = Vec::new();
    for (tag, own) in [("one", 1000), ("two", 2000)] {
        let own = app.blob("app", &vec![b'o'; own]).await;
        let config = app
            .blob("app", format!("{{\"t\":\"{tag}\"}}").as_bytes())
            .await;
        let text = image(&config, &[&shared, &own]).to_string();
        let path = format!("/v2/app/manifests/{tag}");
        let put = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
        put.ok(201);
        digests.push((Digest::sha256(text.as_bytes()), text.len() as u64));
    }
    app.blob("other", &vec![b'o'; 2000]).await;
    let name = "app".parse().unwrap();
    let preview = async |reference: ManifestRef| {
        let preview = app.registry.preview_manifest(&name, &reference).await;
        preview.unwrap()
    };
    let (second, size) = digests[1].clone();
    let found = preview(ManifestRef::Digest(second.clone())).await;
    assert_eq!(found.refused, None);
    assert_eq!(found.going.tags, ["two"]);
    // Its configuration of 11 bytes and its own layer go from here; the layer stays elsewhere.
    assert_eq!(found.going.blob_count, 2);
    assert_eq!(found.going.bytes, size + 11 + 2000);
    assert_eq!(found.going.freed_bytes, size + 11);
    let tag = preview(ManifestRef::Tag("one".parse().unwrap())).await;
    assert_eq!((tag.going.tag_count, tag.going.manifest_count), (1, 0));

    let whole = app.registry.preview_repository(&name).await.unwrap();
    assert_eq!((whole.going.tag_count, whole.going.manifest_count), (2, 2));
    assert_eq!(whole.going.tags, ["one", "two"]);
    let used = app.registry.usage_report().await.unwrap();
    assert_eq!(whole.going.bytes, used.repositories[0].bytes);
    assert_eq!(whole.going.freed_bytes, whole.going.bytes - 2000);
    assert_eq!(whole.refused, None);

    // What the index of a tag needs, and what never moves.
    let entry = json!({"mediaType": MANIFEST, "digest": second, "size": size});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
    let put = app.put_manifest("/v2/app/manifests/all", INDEX, index.as_bytes());
    put.await.ok(201);
    let refused = preview(ManifestRef::Digest(second.clone())).await.refused;
    assert!(refused.unwrap().starts_with("tag all needs it"));
    let put = app.put_manifest("/v2/app/manifests/release-1", INDEX, index.as_bytes());
    put.await.ok(201);
    for reference in [
        ManifestRef::Digest(second.clone()),
        ManifestRef::Digest(Digest::sha256(index.as_bytes())),
        ManifestRef::Tag("release-1".parse().unwrap()),
    ] {
        let path = format!("/v2/app/manifests/{reference}");
        let refused = preview(reference).await.refused.unwrap();
        assert!(
            refused.starts_with("tag release-1 is immutable"),
            "{refused}"
        );
        // And that is what happens.
        app.delete(&path).await.is(403, "DENIED");
    }
    let whole = app.registry.preview_repository(&name).await.unwrap();
    assert!(whole.refused.unwrap().starts_with("tag release-1"));
}
