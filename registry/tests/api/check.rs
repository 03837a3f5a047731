use std::path::PathBuf;

use oci::Digest;
use registry::service::{CheckOptions, Problem};
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image};
use crate::images::{sql, texts};
use crate::{postgres, s3};

fn file(app: &App, digest: &Digest) -> PathBuf {
    s3::files(app.path())
        .join("blobs")
        .join(digest.algorithm().as_str())
        .join(&digest.hex()[..2])
        .join(digest.hex())
}

async fn check(app: &App, deep: bool, repair: bool) -> Vec<Problem> {
    let options = CheckOptions { deep, repair };
    app.registry.check(options).await.unwrap().problems
}

#[tokio::test]
async fn a_sound_registry_has_no_problems() {
    let app = App::new().await;
    app.image("app", "v1", "x").await;
    let options = CheckOptions {
        deep: true,
        repair: true,
    };
    let checked = app.registry.check(options).await.unwrap();
    assert_eq!((checked.blobs, checked.problems.len()), (3, 0));
    app.get("/v2/app/manifests/v1").await.ok(200);
}

/// What a check says of tables that say again what others do.
async fn lists(app: &App, repair: bool) -> Vec<String> {
    let found = check(app, false, repair).await;
    let told = found.iter().map(|problem| match problem {
        Problem::List(wrong) => {
            let whose = wrong.repository.as_deref().unwrap_or("-");
            format!("{} {whose} {}", wrong.table, wrong.what)
        }
        other => format!("{other:?}"),
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

/// What is done to tables, and what a check says of it.
const WRONG: [(&str, &[&str]); 13] = [
    (
        "UPDATE repository_list SET tags = 7 WHERE name = 'one'",
        &["repository_list one its name, tags, size or time are not listed as they are"],
    ),
    (
        "UPDATE repository_list SET bytes = bytes + 1 WHERE name = 'two'",
        &["repository_list two its name, tags, size or time are not listed as they are"],
    ),
    (
        "DELETE FROM repository_list WHERE name = 'one'",
        &["repository_list one is not listed"],
    ),
    (
        "INSERT INTO repository_list (repository_id, name) VALUES (99, 'ghost')",
        &["repository_list ghost is listed and is not there"],
    ),
    (
        "UPDATE tag_list SET sequence = 99 WHERE name = 'v1'",
        &[
            "tag_list one v1 is not listed as it is",
            "tag_list three v1 is not listed as it is",
            "tag_list two v1 is not listed as it is",
        ],
    ),
    (
        "INSERT INTO tag_list (repository_id, name, sequence, bytes)
         SELECT id, 'ghost', 1, 1 FROM repositories WHERE name = 'two'",
        &[
            "repository_list two its name, tags, size or time are not listed as they are",
            "tag_list two ghost is listed and is not there",
        ],
    ),
    (
        "UPDATE repository_search SET name = '/wrong/' WHERE name = '/one/'",
        &["repository_search one is found by another name"],
    ),
    (
        "DELETE FROM repository_search WHERE name = '/two/'",
        &["repository_search two is not found"],
    ),
    (
        "UPDATE manifest_blobs SET repository_id = 99 WHERE manifest_id = 1",
        &["manifest_blobs - 2 blobs are needed by another repository"],
    ),
    (
        "UPDATE manifest_children SET repository_id = 99",
        &["manifest_children - 2 children are listed in another repository"],
    ),
    (
        "UPDATE push_order SET last = 0",
        &["push_order - the next push would not be the last one"],
    ),
    (
        "INSERT INTO activity (action, actor, repository, line)
         VALUES ('push', 'alice', 'one', '{\"action\":\"push\",\"user\":\"bob\"}'),
                ('push', '', '', '{')",
        &["activity - 2 lines are not what they are found by"],
    ),
    // As if nothing had let the oldest go.
    (
        "WITH RECURSIVE lines (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM lines WHERE n < 20007)
         INSERT INTO activity (action, actor, repository, line)
         SELECT 'push', '', 'r' || n,             '{\"action\":\"push\",\"repository\":\"r' || n || '\"}'
         FROM lines",
        &["activity - 20007 lines are more than 20000"],
    ),
];

#[tokio::test]
async fn lists_that_are_wrong_are_found_and_made_again() {
    let app = App::new().await;
    for (name, tag) in [
        ("one", "v1"),
        ("one", "v2"),
        ("two", "v1"),
        ("three", "v1"),
        ("four", "v1"),
    ] {
        app.image(name, tag, &format!("{name} {tag}")).await;
    }
    // What its newest image says of itself has to be read again.
    let layer = app.blob("one", b"layer").await;
    let mut text = image(&layer, &[]);
    text["annotations"] = json!({"org.opencontainers.image.title": "Zebra"});
    let text = text.to_string();
    let path = "/v2/one/manifests/v3";
    app.put_manifest(path, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    let (first, bytes) = app.image("two", "amd64", "amd64").await;
    let (second, _) = app.image("two", "arm64", "arm64").await;
    let child = |digest| json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [child(first), child(second)]});
    let path = "/v2/two/manifests/multi";
    app.put_manifest(path, INDEX, index.to_string().as_bytes())
        .await
        .ok(201);
    let four = "four".parse().unwrap();
    app.registry.delete_repository(&four, &None).await.unwrap();
    assert_eq!(lists(&app, false).await, Vec::<String>::new());
    let shown = async || {
        let mut all = Vec::new();
        for path in [
            "/api/v1/repositories?sort=size",
            "/api/v1/repositories/one/-/tags?sort=time",
            "/api/v1/search?q=one",
            "/api/v1/search?q=two",
            "/api/v1/search?q=zebra",
            "/v2/_catalog",
        ] {
            let answer = app.get(path).await.ok(200);
            all.push(String::from_utf8(answer.body.to_vec()).unwrap());
        }
        all
    };
    let before = shown().await;
    for (damage, expected) in WRONG {
        let (off, on) = match postgres::is_asked() {
            true => (
                "ALTER TABLE activity DISABLE TRIGGER activity_kept",
                "ALTER TABLE activity ENABLE TRIGGER activity_kept",
            ),
            false => (
                "DROP TRIGGER activity_kept",
                "CREATE TRIGGER activity_kept AFTER INSERT ON activity
                 BEGIN DELETE FROM activity WHERE id <= NEW.id - 20000; END",
            ),
        };
        sql(app.path(), &format!("{off}; {damage}; {on}")).await;
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(lists(&app, true).await, expected, "{damage}");
        assert_eq!(lists(&app, false).await, Vec::<String>::new(), "{damage}");
        assert_eq!(shown().await, before, "{damage}");
    }
    // Of too many lines the oldest went.
    let query = "SELECT count(*) || ' ' || (SELECT repository FROM activity ORDER BY id LIMIT 1)
             || ' ' || (SELECT repository FROM activity ORDER BY id DESC LIMIT 1) FROM activity";
    assert_eq!(texts(app.path(), query).await, ["20000 r8 r20007"]);
}

#[tokio::test]
async fn content_that_is_wrong_in_the_database_damages_no_file() {
    let app = App::new().await;
    let layer = app.blob("app", b"right").await;
    let dir = app.stop().await;
    let content = match postgres::is_asked() {
        true => "decode('77726f6e67', 'hex')",
        false => "x'77726f6e67'",
    };
    let wrong =
        format!("INSERT INTO unsettled (id, digest, content) VALUES (1, '{layer}', {content})");
    sql(dir.path(), &wrong).await;
    let app = App::in_dir(dir).await;
    let got = app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
    assert_eq!(&got.body[..], b"right");
    assert_eq!(check(&app, true, false).await, []);
}

#[tokio::test]
async fn every_kind_of_damage_is_found_and_mended() {
    let app = App::new().await;
    let (whole, _) = app.image("app", "whole", "untouched").await;
    let (broken, _) = app.image("app", "broken", "layer").await;
    let (lost, _) = app.image("app", "lost", "other").await;
    let layer = Digest::sha256(b"layer");
    // A bit flipped, a manifest's file gone, a file cut short, and one that nobody knows.
    std::fs::write(file(&app, &layer), b"lAyer").unwrap();
    std::fs::remove_file(file(&app, &lost)).unwrap();
    let short = Digest::sha256(b"other");
    std::fs::write(file(&app, &short), b"oth").unwrap();
    let orphan = Digest::sha256(b"orphan");
    std::fs::create_dir_all(file(&app, &orphan).parent().unwrap()).unwrap();
    std::fs::write(file(&app, &orphan), b"orphan").unwrap();

    let shallow = check(&app, false, false).await;
    assert_eq!(shallow.len(), 3, "{shallow:?}");
    let found = check(&app, true, false).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.contains(&Problem::Orphan {
        digest: orphan.clone(),
        size: 6
    }));
    assert!(found.contains(&Problem::Missing {
        digest: lost.clone(),
        manifests: vec![format!("app@{lost}")],
    }));
    assert!(found.iter().any(|p| matches!(p,
        Problem::Damaged { digest, manifests, .. }
            if *digest == layer && *manifests == [format!("app@{broken}")])));

    assert_eq!(check(&app, true, true).await.len(), 4);
    assert_eq!(check(&app, true, false).await, []);
    assert!(!file(&app, &orphan).exists());
    app.get(&format!("/v2/app/blobs/{layer}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.get("/v2/app/manifests/lost")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    app.get(&format!("/v2/app/manifests/{whole}")).await.ok(200);
    // What is pushed again is whole again.
    app.image("app", "broken", "layer").await;
    app.image("app", "lost", "other").await;
    assert_eq!(check(&app, true, false).await, []);
    app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
}
