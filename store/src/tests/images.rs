use super::*;
use crate::{Error, RawManifest, Removal};
use oci::{Descriptor, media_type};

fn lines(removals: &[Removal]) -> Vec<String> {
    removals.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn resolves_as_docker_does() {
    let f = Fixture::new().await;
    let mut pulled = image(&[], &["localhost:5000/app:v1", "app"]);
    pulled.manifest = Some(RawManifest {
        media_type: media_type::OCI_MANIFEST.into(),
        bytes: b"{}".to_vec(),
    });
    let digest = Digest::sha256(b"{}");
    pulled.repo_digests = vec![format!("localhost:5000/app@{digest}").parse().unwrap()];
    let app = f.store.put_image(pulled).await.unwrap();
    let full = app.id.to_string();
    for text in [
        "app",
        "app:latest",
        "docker.io/library/app",
        "localhost:5000/app:v1",
        &format!("localhost:5000/app@{digest}"),
        &full,
        app.id.hex(),
        app.id.short(),
        &full[..20],
    ] {
        assert_eq!(f.store.resolve(text).await.unwrap(), app, "{text}");
    }
    for (text, familiar) in [
        ("nope", "nope:latest"),
        ("app:v2", "app:v2"),
        (&format!("app@{digest}"), &format!("app@{digest}")),
        (&"0".repeat(64), &format!("sha256:{}", "0".repeat(64))),
    ] {
        match f.store.resolve(text).await.unwrap_err() {
            Error::NoSuchImage { given, familiar: f } => {
                assert_eq!((&*given, &*f), (text, familiar))
            }
            other => panic!("{other}"),
        }
    }
    let manifest = f.store.manifest(&app).await.unwrap().unwrap();
    assert_eq!(manifest.bytes, b"{}");
    let config: oci::ImageConfig =
        serde_json::from_slice(&f.store.config(&app.id).await.unwrap()).unwrap();
    assert_eq!(config.created, app.created);
}

#[tokio::test]
async fn an_ambiguous_prefix_is_an_error_unless_it_is_a_tag() {
    let f = Fixture::new().await;
    let mut seen = std::collections::HashMap::new();
    // Seventeen images: two of them share their first digit.
    for n in 0..17 {
        let stored = f
            .store
            .put_image(image(&[&n.to_string()], &[]))
            .await
            .unwrap();
        *seen.entry(stored.id.hex()[..1].to_owned()).or_insert(0) += 1;
    }
    let (prefix, _) = seen.into_iter().find(|(_, n)| *n > 1).unwrap();
    let error = f.store.resolve(&prefix).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("multiple IDs found with provided prefix: {prefix}")
    );
    let tagged = f.store.put_image(image(&["x"], &[&prefix])).await.unwrap();
    assert_eq!(f.store.resolve(&prefix).await.unwrap(), tagged);
}

#[tokio::test]
async fn a_tag_moves_and_leaves_a_dangling_image() {
    let f = Fixture::new().await;
    let old = f.store.put_image(image(&["a"], &["app"])).await.unwrap();
    let new = f.store.put_image(image(&["b"], &["app"])).await.unwrap();
    assert_eq!(f.store.resolve("app").await.unwrap(), new);
    let old = f.store.image(&old.id).await.unwrap().unwrap();
    assert!(old.is_dangling());
    let line = &old.lines(false)[0];
    assert_eq!((line.repository.as_str(), line.tag), ("<none>", "<none>"));
    f.store
        .tag(&old.id, &"other/name:v3".parse().unwrap())
        .await
        .unwrap();
    let all = f.store.images().await.unwrap();
    let mut shown: Vec<_> = all
        .iter()
        .flat_map(|i| i.lines(false))
        .map(|l| format!("{}:{}", l.repository, l.tag))
        .collect();
    shown.sort();
    assert_eq!(shown, ["app:latest", "other/name:v3"]);
    assert!(f.store.untag(&"app".parse().unwrap()).await.unwrap());
    assert!(!f.store.untag(&"app".parse().unwrap()).await.unwrap());
    let digest = old.repo_digests.first().cloned();
    assert!(digest.is_none());
    let by_digest = format!("app@{}", Digest::empty()).parse().unwrap();
    let error = f.store.tag(&new.id, &by_digest).await.unwrap_err();
    assert!(matches!(error, Error::TagWithDigest));
}

#[tokio::test]
async fn rmi_frees_what_no_other_image_or_record_needs() {
    let f = Fixture::new().await;
    let base = layers(&f.store, &["base"]).await;
    let a = layer(&f.store, Some(&base), "a").await;
    let b = layer(&f.store, Some(&base), "b").await;
    let cached = layer(&f.store, Some(&a.chain_id), "cached").await;
    f.store
        .cache_put(record("cached", Some(&cached.chain_id)))
        .await
        .unwrap();
    let first = f
        .store
        .put_image(image(&["base", "a", "cached"], &["first"]))
        .await
        .unwrap();
    let second = f
        .store
        .put_image(image(&["base", "b"], &["second", "again"]))
        .await
        .unwrap();
    let tar = blob(&f.store, b"b.tar");
    let form = Descriptor::new(media_type::OCI_LAYER, tar.clone(), 5);
    f.store.record_layer_blob(&diff("b"), form).await.unwrap();

    // The cache record holds all of its layers.
    let removed = f.store.remove_image("first", false).await.unwrap();
    assert_eq!(
        lines(&removed),
        [
            "Untagged: first:latest".to_owned(),
            format!("Deleted: {}", first.id)
        ]
    );
    assert!(cached.fs_path.exists());
    assert!(f.store.blobs().size(&first.id).unwrap().is_none());

    let error = f
        .store
        .remove_image(second.id.short(), false)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MultipleReferences { .. }));
    assert!(b.fs_path.exists());
    let removed = f.store.remove_image("again", false).await.unwrap();
    assert_eq!(lines(&removed), ["Untagged: again:latest"]);
    let removed = f
        .store
        .remove_image(second.id.short(), false)
        .await
        .unwrap();
    assert_eq!(
        lines(&removed),
        [
            "Untagged: second:latest".to_owned(),
            format!("Deleted: {}", second.id),
            format!("Deleted: {}", b.chain_id),
        ]
    );
    assert!(!b.fs_path.exists());
    assert!(f.store.blobs().size(&tar).unwrap().is_none());
    assert!(f.store.layer_blobs(&diff("b")).await.unwrap().is_empty());
    assert_eq!(f.store.chain(&cached.chain_id).await.unwrap().len(), 3);
    assert!(matches!(
        f.store.remove_image("second", false).await.unwrap_err(),
        Error::NoSuchImage { .. }
    ));
    assert_eq!(entries(&f.store.0.layout.trash), 0);
}

#[tokio::test]
async fn layer_blobs_and_sources_are_remembered() {
    let f = Fixture::new().await;
    let tar = blob(&f.store, b"tar");
    let form = Descriptor::new(media_type::OCI_LAYER_GZIP, tar.clone(), 3);
    f.store
        .record_layer_blob(&diff("a"), form.clone())
        .await
        .unwrap();
    assert_eq!(f.store.layer_blobs(&diff("a")).await.unwrap(), [form]);
    assert_eq!(f.store.blob_diff_ids(&tar).await.unwrap(), [diff("a")]);
    let missing = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::empty(), 0);
    let error = f
        .store
        .record_layer_blob(&diff("a"), missing)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::BlobMissing(d) if d == Digest::empty()));
    let repository: oci::reference::Repository = "localhost:5000/app".parse().unwrap();
    for _ in 0..2 {
        f.store
            .record_blob_sources(&repository, [&tar])
            .await
            .unwrap();
    }
    assert_eq!(
        f.store.blob_sources(&tar).await.unwrap(),
        std::slice::from_ref(&repository)
    );
    f.store.forget_blob_source(&repository, &tar).await.unwrap();
    assert!(f.store.blob_sources(&tar).await.unwrap().is_empty());
    f.store.forget_layer_blob(&tar).await.unwrap();
    assert!(f.store.layer_blobs(&diff("a")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_config_stores_nothing() {
    let f = Fixture::new().await;
    let new = NewImage {
        config: b"[]".to_vec(),
        ..NewImage::default()
    };
    assert!(matches!(
        f.store.put_image(new).await,
        Err(Error::BadConfig(_))
    ));
    assert!(f.store.blobs().list().unwrap().is_empty());
}

#[tokio::test]
async fn lines_are_those_of_docker_images() {
    let f = Fixture::new().await;
    let mut new = image(&[], &["app:v1", "app:v2"]);
    let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    new.repo_digests = [
        ("app", &one),
        ("app", &two),
        ("other", &one),
        ("other", &two),
    ]
    .iter()
    .map(|(name, digest)| format!("{name}@{digest}").parse().unwrap())
    .collect();
    let stored = f.store.put_image(new).await.unwrap();
    let short = |digests| -> Vec<String> {
        let lines = stored.lines(digests);
        let line = lines.iter().map(|l| {
            let digest = if l.digest.len() > 12 {
                &l.digest[7..11]
            } else {
                &l.digest
            };
            format!("{} {} {digest}", l.repository, l.tag)
        });
        line.collect()
    };
    let (one, two) = (&one.hex()[..4], &two.hex()[..4]);
    assert_eq!(
        short(false),
        ["app v1 <none>", "app v2 <none>", "other <none> <none>"]
    );
    let mut expected: Vec<String> = Vec::new();
    for name in ["app v1", "app v2", "other <none>"] {
        for digest in [one, two] {
            expected.push(format!("{name} {digest}"));
        }
    }
    let mut shown = short(true);
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_record_needs_its_snapshot() {
    let f = Fixture::new().await;
    let nowhere = ChainId(Digest::empty());
    let error = f
        .store
        .cache_put(record("a", Some(&nowhere)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoSuchSnapshot(id) if id == nowhere));
    assert!(f.store.cache_list().await.unwrap().is_empty());
}

/// An index of images in the store, each said to have the manifest that its name is.
async fn index(
    f: &Fixture,
    children: &[(&str, &crate::Image)],
    tags: &[&str],
) -> crate::StoredIndex {
    let manifest = |name: &str| RawManifest {
        media_type: media_type::OCI_MANIFEST.into(),
        bytes: name.as_bytes().to_vec(),
    };
    let entries: Vec<serde_json::Value> = children
        .iter()
        .map(|(name, _)| {
            let bytes = manifest(name).bytes;
            serde_json::json!({
                "mediaType": media_type::OCI_MANIFEST,
                "digest": Digest::sha256(&bytes),
                "size": bytes.len(),
                "platform": {"os": "linux", "architecture": name},
            })
        })
        .collect();
    let document = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    let new = crate::NewIndex {
        document: RawManifest {
            media_type: media_type::OCI_INDEX.into(),
            bytes: document.to_string().into_bytes(),
        },
        images: children
            .iter()
            .map(|(name, image)| (Digest::sha256(name.as_bytes()), image.id.clone()))
            .collect(),
        manifests: children.iter().map(|(name, _)| manifest(name)).collect(),
        blobs: Vec::new(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        repo_digests: Vec::new(),
    };
    f.store.put_index(new).await.unwrap()
}

#[tokio::test]
async fn a_name_leads_to_an_index_and_by_platform_to_its_images() {
    let f = Fixture::new().await;
    let one = f.store.put_image(image(&["a"], &[])).await.unwrap();
    let two = f.store.put_image(image(&["b"], &[])).await.unwrap();
    let both = index(&f, &[("s390x", &one), ("arm64", &two)], &["multi"]).await;
    assert_eq!(both.tags.len(), 1);
    let short = both.id.short();
    for text in ["multi", short, &both.id.to_string()] {
        let content = f.store.content(text).await.unwrap();
        assert_eq!(content, crate::Content::Index(both.clone()), "{text}");
    }
    for (platform, found) in [
        ("linux/s390x", Some(&one)),
        ("linux/arm64", Some(&two)),
        ("linux/386", None),
    ] {
        let wanted: Platform = platform.parse().unwrap();
        let got = f.store.resolve_for("multi", Some(&wanted)).await;
        match found {
            Some(image) => assert_eq!(got.unwrap().id, image.id),
            None => {
                let told = got.unwrap_err().to_string();
                assert!(
                    told.ends_with("(linux/386); it has linux/s390x, linux/arm64"),
                    "{told}"
                );
            }
        }
    }
    // Only the index is listed; a name of its own brings an image in.
    let ids = |contents: Vec<crate::Content>| -> Vec<Digest> {
        contents.iter().map(|c| c.id().clone()).collect()
    };
    assert_eq!(
        ids(f.store.contents(false).await.unwrap()),
        std::slice::from_ref(&both.id)
    );
    assert_eq!(f.store.contents(true).await.unwrap().len(), 3);
    f.store.tag(&one.id, &"one".parse().unwrap()).await.unwrap();
    assert_eq!(f.store.contents(false).await.unwrap().len(), 2);
    // The name can go to an image, and to an index again.
    f.store
        .tag(&one.id, &"multi".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(f.store.resolve("multi").await.unwrap().id, one.id);
    f.store
        .tag(&both.id, &"multi".parse().unwrap())
        .await
        .unwrap();
    let content = f.store.content("multi").await.unwrap();
    assert_eq!(content.id(), &both.id);
    let usage = f.store.usage().await.unwrap();
    assert_eq!((usage.images.total, usage.images.active), (2, 2));
}

#[tokio::test]
async fn an_index_keeps_its_images_from_pruning_and_takes_them_along() {
    let f = Fixture::new().await;
    let one = f.store.put_image(image(&["a"], &[])).await.unwrap();
    let two = f.store.put_image(image(&["b"], &[])).await.unwrap();
    let first = index(&f, &[("s390x", &one), ("arm64", &two)], &["first"]).await;
    let second = index(&f, &[("arm64", &two)], &["second"]).await;
    let report = f
        .store
        .prune(&crate::PruneOptions::default())
        .await
        .unwrap();
    assert!(report.images.is_empty(), "{:?}", report.images);
    let error = f
        .store
        .remove_image(one.id.short(), false)
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Listed { indexes, .. } if indexes == &["first:latest"]));
    // What another index lists stays.
    let removed = lines(&f.store.remove_image("first", false).await.unwrap());
    let expected = [
        "Untagged: first:latest".to_owned(),
        format!("Deleted: {}", first.id),
        format!("Deleted: {}", one.id),
    ];
    assert_eq!(removed, expected);
    assert!(f.store.blobs().size(&first.id).unwrap().is_none());
    assert!(
        f.store
            .blobs()
            .size(&Digest::sha256(b"s390x"))
            .unwrap()
            .is_none()
    );
    assert!(
        f.store
            .blobs()
            .size(&Digest::sha256(b"arm64"))
            .unwrap()
            .is_some()
    );
    // By force an image goes by itself, and the index has none for its platform.
    f.store.remove_image(two.id.short(), true).await.unwrap();
    let content = f.store.content("second").await.unwrap();
    assert_eq!(content.id(), &second.id);
    assert!(f.store.resolve("second").await.is_err());
    // Without a name it is pruned.
    f.store.untag(&"second".parse().unwrap()).await.unwrap();
    let report = f
        .store
        .prune(&crate::PruneOptions::default())
        .await
        .unwrap();
    assert_eq!(lines(&report.images), [format!("Deleted: {}", second.id)]);
    assert!(f.store.blobs().list().unwrap().is_empty());
}

#[tokio::test]
async fn what_an_image_was_committed_on_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("root")).await.unwrap();
    let base = store.put_image(image(&[], &["base:v1"])).await.unwrap();
    let mut new = image(&[], &["app:v1"]);
    // Another configuration, and so another ID.
    new.config.push(b' ');
    new.parent = Some(base.id.clone());
    let made = store.put_image(new).await.unwrap();
    assert_eq!(store.parent(&made.id).await.unwrap(), Some(base.id.clone()));
    assert_eq!(store.parent(&base.id).await.unwrap(), None);
    let nobody = Digest::sha256(b"nobody");
    assert_eq!(store.parent(&nobody).await.unwrap(), None);
}

#[tokio::test]
async fn names_of_a_store_without_indexes_survive_the_migration() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let kept = {
        let store = Store::open(&root).await.unwrap();
        let mut new = image(&[], &["app:v1"]);
        let digest = Digest::sha256(b"elsewhere");
        new.repo_digests = vec![format!("app@{digest}").parse().unwrap()];
        let kept = store.put_image(new).await.unwrap();
        // Back to how it was before there were indexes.
        let mut db = store.0.db.lock().await;
        let old = "PRAGMA foreign_keys = OFF;
            CREATE TABLE old_tags (repository TEXT NOT NULL, tag TEXT NOT NULL,
                image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
                PRIMARY KEY (repository, tag)) STRICT, WITHOUT ROWID;
            INSERT INTO old_tags SELECT repository, tag, image_id FROM tags;
            DROP TABLE tags; ALTER TABLE old_tags RENAME TO tags;
            CREATE INDEX tags_by_image ON tags (image_id);
            CREATE TABLE old_digests (repository TEXT NOT NULL, digest TEXT NOT NULL,
                image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
                PRIMARY KEY (repository, digest)) STRICT, WITHOUT ROWID;
            INSERT INTO old_digests SELECT repository, digest, image_id FROM repo_digests;
            DROP TABLE repo_digests; ALTER TABLE old_digests RENAME TO repo_digests;
            CREATE INDEX repo_digests_by_image ON repo_digests (image_id);
            CREATE INDEX repo_digests_by_digest ON repo_digests (digest);
            DROP TABLE index_blobs; DROP TABLE index_manifests; DROP TABLE indexes;
            DROP TABLE containers; DROP TABLE volumes; DROP TABLE volume_users;
            DROP TABLE container_images; DROP TABLE networks; DROP TABLE parents;
            PRAGMA user_version = 2";
        sqlx::raw_sql(old).execute(&mut *db).await.unwrap();
        kept
    };
    let store = Store::open(&root).await.unwrap();
    assert_eq!(store.resolve("app:v1").await.unwrap(), kept);
    assert_eq!(kept.repo_digests.len(), 1);
    assert!(store.check_database().await.unwrap().is_empty());
    assert!(store.indexes().await.unwrap().is_empty());
}
