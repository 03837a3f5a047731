//! Rules count images: what belongs to one lives and goes with it, and what a tag needs stays.

use std::path::Path;
use std::time::Duration;

use oci::Digest;
use registry::service::{CollectOptions, Collected};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::harness::{App, INDEX, MANIFEST, image};
use crate::postgres;

pub async fn gc(app: &App, dry_run: bool) -> Collected {
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap()
}

/// SQLite's function, as far as tests ask for it; and numbers that come after those that a test
/// gave out itself.
const PRINTF: &str = r"
CREATE OR REPLACE FUNCTION printf(pattern text, VARIADIC numbers bigint[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
    place text[];
BEGIN
    FOREACH number IN ARRAY numbers LOOP
        place := regexp_match(pattern, '%0(\d+)([dx])');
        pattern := regexp_replace(pattern, '%0\d+[dx]', lpad(
            CASE place[2] WHEN 'x' THEN to_hex(number) ELSE CAST(number AS text) END,
            CAST(place[1] AS integer), '0'));
    END LOOP;
    RETURN pattern;
END $$;";
const NUMBERS: &str = "
SELECT setval(pg_get_serial_sequence('repositories', 'id'), 1 + (SELECT count(*) FROM repositories));
SELECT setval(pg_get_serial_sequence('blobs', 'id'), 10 + (SELECT count(*) FROM blobs));
SELECT setval(pg_get_serial_sequence('manifests', 'id'), 1 + (SELECT count(*) FROM manifests));";

/// Runs statements on the database of a directory.
pub async fn sql(dir: &Path, text: &str) {
    if let Some(url) = postgres::asked_url(dir) {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let text = match text.contains("printf(") {
            true => format!("{PRINTF} {text}; {NUMBERS}"),
            false => text.to_owned(),
        };
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection);
        done.await.unwrap();
        return connection.close().await.unwrap();
    }
    let mut connection = lite(dir).await;
    sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// What a query for one text says, a row each.
pub async fn texts(dir: &Path, query: &str) -> Vec<String> {
    let query = AssertSqlSafe(query.to_owned());
    if let Some(url) = postgres::asked_url(dir) {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let asked = sqlx::query_scalar(query).fetch_all(&mut connection);
        return asked.await.unwrap();
    }
    let mut connection = lite(dir).await;
    let found = sqlx::query_scalar(query).fetch_all(&mut connection).await;
    connection.close().await.unwrap();
    found.unwrap()
}

async fn lite(dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.join("registry.db"));
    options.connect().await.unwrap()
}

/// Makes all that happened so far so many seconds older.
pub async fn age(app: &App, seconds: u32) {
    let text = format!(
        "UPDATE manifests SET pushed_at = pushed_at - {seconds},
             untagged_at = untagged_at - {seconds}, pulled_at = pulled_at - {seconds};
         UPDATE tags SET updated_at = updated_at - {seconds}"
    );
    sql(app.path(), &text).await;
}

pub async fn configured(settings: &str) -> App {
    App::configured(|_| {}, settings).await
}

async fn tags(app: &App, name: &str) -> Value {
    app.get(&format!("/v2/{name}/tags/list")).await.json()["tags"].clone()
}

/// What cosign pushes for an image: an image of its own, under a tag made of the digest.
pub async fn cosign(app: &App, name: &str, of: &Digest, suffix: &str) -> Digest {
    let tag = format!("sha256-{}{suffix}", of.hex());
    app.image(name, &tag, &format!("{suffix} of {of}")).await.0
}

/// Something that refers to an image, under a tag or by its digest alone.
pub async fn refer(app: &App, name: &str, to: &Digest, what: &str, tag: Option<&str>) -> Digest {
    let config = app.blob(name, b"{}").await;
    let mut text = image(&config, &[]);
    text["subject"] = json!({"mediaType": MANIFEST, "digest": to, "size": 1});
    text["annotations"] = json!({"what": what});
    let text = text.to_string();
    let digest = Digest::sha256(text.as_bytes());
    let reference = tag.map_or_else(|| digest.to_string(), str::to_owned);
    let path = format!("/v2/{name}/manifests/{reference}");
    app.put_manifest(&path, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    digest
}

/// An index of these, under a tag or by its digest alone; `None` when one of them is not there.
pub async fn index(app: &App, name: &str, of: &[&Digest], tag: Option<&str>) -> Option<Digest> {
    let listed: Vec<Value> = of
        .iter()
        .map(|digest| json!({"mediaType": MANIFEST, "digest": digest, "size": 1}))
        .collect();
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).to_string();
    let digest = Digest::sha256(text.as_bytes());
    let reference = tag.map_or_else(|| digest.to_string(), str::to_owned);
    let path = format!("/v2/{name}/manifests/{reference}");
    let answer = app.put_manifest(&path, INDEX, text.as_bytes()).await;
    (answer.status == 201).then_some(digest)
}

const KEEP_TWO: &str = "[[retention]]\nrepository = \"**\"\nkeep_newest = 2\n";

#[tokio::test]
async fn signatures_do_not_push_images_out_and_go_with_theirs() {
    for (settings, manifests) in [
        (KEEP_TWO.to_owned(), 0),
        // With the image its signature, its attestation and that one's signature.
        (format!("{KEEP_TWO}delete_untagged_after = \"0s\""), 5),
    ] {
        let app = configured(&settings).await;
        let mut expected = Vec::new();
        for version in ["v1", "v2", "v3"] {
            let (digest, _) = app.image("app", version, version).await;
            let attestation = cosign(&app, "app", &digest, ".att").await;
            let hex = digest.hex();
            expected.extend([
                format!("sha256-{}.sig", attestation.hex()),
                format!("sha256-{hex}.att"),
                format!("sha256-{hex}.sig"),
                format!("{version}-sbom"),
                version.to_owned(),
            ]);
            cosign(&app, "app", &digest, ".sig").await;
            cosign(&app, "app", &attestation, ".sig").await;
            refer(
                &app,
                "app",
                &digest,
                version,
                Some(&format!("{version}-sbom")),
            )
            .await;
        }
        let mut gone: Vec<String> = expected
            .drain(..5)
            .map(|tag| format!("app:{tag}"))
            .collect();
        gone.sort();
        expected.sort();
        let dry = gc(&app, true).await;
        assert_eq!(dry.tags, gone, "{settings}");
        let done = gc(&app, false).await;
        assert_eq!(done.tags, gone, "{settings}");
        assert_eq!(done.manifests.len(), manifests, "{settings}");
        assert_eq!(tags(&app, "app").await, json!(expected), "{settings}");
        // And nothing more the next time.
        assert_eq!(gc(&app, false).await, Collected::default(), "{settings}");
    }
}

#[tokio::test]
async fn what_belongs_to_an_image_without_tag_waits_with_it() {
    let settings = format!("{KEEP_TWO}delete_untagged_after = \"7d\"");
    let app = configured(&settings).await;
    let (old, _) = app.image("app", "v1", "old").await;
    let sig = format!(
        "sha256-{}.sig",
        cosign(&app, "app", &old, ".sig").await.hex()
    );
    let of_old = format!("sha256-{}.sig", old.hex());
    assert_ne!(sig, of_old);
    app.image("app", "v1", "new").await;
    let day = 24 * 3600;
    for (days, expected) in [(6, json!([of_old, "v1"])), (2, json!(["v1"]))] {
        age(&app, days * day).await;
        let done = gc(&app, false).await;
        assert_eq!(tags(&app, "app").await, expected, "{done:?}");
    }
    app.get(&format!("/v2/app/manifests/{old}")).await.ok(404);
}

#[tokio::test]
async fn signatures_of_what_is_deleted_go_and_those_kept_elsewhere_stay() {
    let app = configured(KEEP_TWO).await;
    let (digest, _) = app.image("app", "v1", "one").await;
    app.image("app", "v2", "two").await;
    cosign(&app, "app", &digest, ".sig").await;
    // Where cosign is told to keep signatures in a repository of their own.
    for _ in 0..3 {
        cosign(&app, "signatures", &digest, ".sig").await;
    }
    assert_eq!(gc(&app, false).await, Collected::default());
    app.delete(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(202);
    let sig = format!("sha256-{}.sig", digest.hex());
    // Clients that copy a repository may bring signatures first: not within the grace.
    let options = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: false,
        every_file: true,
    };
    assert_eq!(
        app.registry.collect(options).await.unwrap().tags,
        Vec::<String>::new()
    );
    let gone = [format!("app:{sig}"), format!("signatures:{sig}")];
    assert_eq!(gc(&app, true).await.tags, gone);
    assert_eq!(gc(&app, false).await.tags, gone);
    assert_eq!(tags(&app, "app").await, json!(["v2"]));
}

#[tokio::test]
async fn a_signature_of_one_platform_lives_with_the_index() {
    let app = configured("[[retention]]\nrepository = \"**\"\nkeep_newest = 1").await;
    let (child, _) = app.image("app", "amd64", "child").await;
    app.delete("/v2/app/manifests/amd64").await.ok(202);
    index(&app, "app", &[&child], Some("multi")).await.unwrap();
    cosign(&app, "app", &child, ".sig").await;
    let referrer = refer(&app, "app", &child, "sbom", None).await;
    assert_eq!(gc(&app, false).await, Collected::default());
    app.image("app", "newer", "newer").await;
    let sig = format!("app:sha256-{}.sig", child.hex());
    let mut gone = [sig, "app:multi".to_owned()];
    gone.sort();
    assert_eq!(gc(&app, false).await.tags, gone);
    app.get(&format!("/v2/app/manifests/{referrer}"))
        .await
        .ok(200);
}

#[tokio::test]
async fn a_head_by_tag_is_a_pull_but_not_a_scanners() {
    let app = configured(
        "[pulls]\nignore_agents = [\"trivy/*\"]\n\
         [[retention]]\nrepository = \"**\"\nkeep_pulled_within = \"1h\"",
    )
    .await;
    let mut digests = Vec::new();
    for tag in ["got", "asked", "by-digest", "scanned", "nobody"] {
        digests.push(app.image("app", tag, tag).await.0);
    }
    // Just pushed is as good as pulled.
    assert_eq!(gc(&app, false).await, Collected::default());
    age(&app, 2 * 3600).await;
    let path = |reference: &str| format!("/v2/app/manifests/{reference}");
    app.get(&path("got")).await.ok(200);
    app.head(&path("asked")).await.ok(200);
    app.head(&path(&digests[2].to_string())).await.ok(200);
    let agent = [("user-agent", "Trivy/0.50.1 (linux)")];
    for method in ["HEAD", "GET"] {
        let scan = app.request(method, &path("scanned"), &agent, "").await;
        scan.ok(200);
    }
    assert_eq!(
        gc(&app, false).await.tags,
        ["app:by-digest", "app:nobody", "app:scanned"]
    );
    assert_eq!(tags(&app, "app").await, json!(["asked", "got"]));
}

#[tokio::test]
async fn manifests_go_so_long_after_their_last_tag() {
    let app =
        configured("[[retention]]\nrepository = \"**\"\ndelete_untagged_after = \"7d\"").await;
    let day = 24 * 3600;
    let (child, _) = app.image("app", "child", "child").await;
    let multi = index(&app, "app", &[&child], Some("multi")).await.unwrap();
    let (moved, _) = app.image("app", "latest", "old").await;
    let (never, _) = app.image("app", "x", "never").await;
    app.delete("/v2/app/manifests/child").await.ok(202);
    age(&app, 30 * day).await;
    // Old all of them, and without tag since now.
    app.image("app", "latest", "new").await;
    app.delete("/v2/app/manifests/multi").await.ok(202);
    app.delete("/v2/app/manifests/x").await.ok(202);
    assert_eq!(gc(&app, false).await.manifests, Vec::<String>::new());
    age(&app, 6 * day).await;
    assert_eq!(gc(&app, true).await.manifests, Vec::<String>::new());
    assert_eq!(gc(&app, false).await.manifests, Vec::<String>::new());
    age(&app, 2 * day).await;
    let mut gone = [child, multi, moved, never].map(|digest| format!("app@{digest}"));
    gone.sort();
    assert_eq!(gc(&app, true).await.manifests, gone);
    assert_eq!(gc(&app, false).await.manifests, gone);
}

#[tokio::test]
async fn what_an_index_kept_is_without_tag_since_that_was_deleted() {
    let app =
        configured("[[retention]]\nrepository = \"**\"\ndelete_untagged_after = \"7d\"").await;
    let (child, _) = app.image("app", "child", "child").await;
    let multi = index(&app, "app", &[&child], Some("multi")).await.unwrap();
    let referrer = refer(&app, "app", &multi, "sbom", None).await;
    app.delete("/v2/app/manifests/child").await.ok(202);
    age(&app, 30 * 24 * 3600).await;
    app.delete(&format!("/v2/app/manifests/{multi}"))
        .await
        .ok(202);
    assert_eq!(gc(&app, false).await.manifests, Vec::<String>::new());
    age(&app, 8 * 24 * 3600).await;
    let mut gone = [child, referrer].map(|digest| format!("app@{digest}"));
    gone.sort();
    assert_eq!(gc(&app, false).await.manifests, gone);
}

#[tokio::test]
async fn pushes_within_a_second_keep_their_order() {
    let app = configured(KEEP_TWO).await;
    for tag in ["z", "y", "b", "a", "x"] {
        app.image("app", tag, tag).await;
    }
    // Pushed once more, it is the last.
    app.image("app", "z", "z").await;
    assert_eq!(gc(&app, false).await.tags, ["app:a", "app:b", "app:y"]);
    assert_eq!(tags(&app, "app").await, json!(["x", "z"]));
}

#[tokio::test]
async fn an_immutable_tag_protects_all_that_it_needs() {
    let app = configured(
        "[delete]\nneeded = true\n\
         [[immutable]]\nrepository = \"prod/*\"\ntags = \"v*\"",
    )
    .await;
    for name in ["prod/app", "dev/app"] {
        let (child, _) = app.image(name, "child", "layer").await;
        let inner = index(&app, name, &[&child], None).await.unwrap();
        index(&app, name, &[&inner], Some("v1")).await.unwrap();
        app.delete(&format!("/v2/{name}/manifests/child"))
            .await
            .ok(202);
        let (layer, config) = (
            Digest::sha256(b"layer"),
            Digest::sha256(b"{\"c\":\"layer\"}"),
        );
        for path in [
            format!("/v2/{name}/blobs/{layer}"),
            format!("/v2/{name}/blobs/{config}"),
            format!("/v2/{name}/manifests/{child}"),
            format!("/v2/{name}/manifests/{inner}"),
        ] {
            let answer = app.delete(&path).await;
            if name == "prod/app" {
                assert_eq!(
                    answer.is(403, "DENIED").json()["errors"][0]["detail"]["tag"],
                    "v1"
                );
                app.get(&path).await.ok(200);
            } else {
                answer.ok(202);
            }
        }
    }
    // What it doesn't need goes, and what isn't there is not there.
    let stray = app.blob("prod/app", b"stray").await;
    app.delete(&format!("/v2/prod/app/blobs/{stray}"))
        .await
        .ok(202);
    app.delete(&format!("/v2/prod/app/blobs/{stray}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.delete(&format!("/v2/none/blobs/{stray}"))
        .await
        .is(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn what_the_index_of_a_tag_lists_is_not_deleted() {
    for (settings, refused) in [("", true), ("[delete]\nneeded = true", false)] {
        let app = configured(settings).await;
        let (child, _) = app.image("app", "child", "child").await;
        let inner = index(&app, "app", &[&child], None).await.unwrap();
        let path = |digest: &Digest| format!("/v2/app/manifests/{digest}");
        let outer = index(&app, "app", &[&inner], Some("multi")).await.unwrap();
        for digest in [&child, &inner] {
            let answer = app.delete(&path(digest)).await;
            if refused {
                let error = answer.is(403, "DENIED").json()["errors"][0].clone();
                assert_eq!(error["detail"]["tag"], "multi");
                app.get(&path(digest)).await.ok(200);
            } else {
                answer.ok(202);
            }
        }
        // Without its tag an index is nobody's image, and nothing holds what it lists.
        app.delete("/v2/app/manifests/multi").await.ok(202);
        if refused {
            app.delete(&path(&inner)).await.ok(202);
            app.delete(&path(&child)).await.ok(202);
        }
        app.delete(&path(&outer)).await.ok(202);
    }
}
