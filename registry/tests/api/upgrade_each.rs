//! A directory of every earlier version, opened by this one.

use std::path::{Path, PathBuf};

use oci::Digest;
use registry::service::{CheckOptions, CollectOptions};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::harness::{App, INDEX, MANIFEST, image, sized};
use crate::upgrade::connect;

const REPOSITORIES: i64 = 3;
const IMAGES: i64 = 4;
/// When the first thing came, in seconds since 1970; each later one a second later.
const BEGIN: i64 = 1_700_000_000;

/// The migrations, in order.
fn migrations() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/registry");
    let entries = std::fs::read_dir(all).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// A registry as the version wrote it that knew the first so many migrations.
struct Older {
    dir: tempfile::TempDir,
    version: usize,
    connection: SqliteConnection,
    now: i64,
}

impl Older {
    async fn new(version: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let known = tempfile::tempdir().unwrap();
        for path in &migrations()[..version] {
            std::fs::copy(path, known.path().join(path.file_name().unwrap())).unwrap();
        }
        let mut connection = connect(dir.path()).await;
        let migrator = sqlx::migrate::Migrator::new(known.path().to_owned());
        migrator.await.unwrap().run(&mut connection).await.unwrap();
        Self {
            dir,
            version,
            connection,
            now: BEGIN,
        }
    }

    async fn run(&mut self, sql: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    /// A blob with its file, in a repository; its digest.
    async fn blob(&mut self, repository: i64, bytes: &[u8]) -> Digest {
        let digest = sized(bytes);
        let hex = digest.hex();
        let folder = self.dir.path().join("blobs/sha256").join(&hex[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(hex), bytes).unwrap();
        let (size, now) = (bytes.len(), self.now);
        self.run(format!(
            "INSERT INTO blobs (digest, size, created_at) VALUES ('{digest}', {size}, {now})
             ON CONFLICT DO NOTHING;
             INSERT INTO repository_blobs SELECT {repository}, id, {now} FROM blobs
             WHERE digest = '{digest}'"
        ))
        .await;
        digest
    }

    /// A manifest that needs these blobs and lists these manifests, under a tag or none.
    async fn manifest(
        &mut self,
        repository: i64,
        (text, kind): (&str, &str),
        (blobs, children): (&[&Digest], &[&Digest]),
        (subject, tag): (Option<&Digest>, Option<&str>),
    ) -> Digest {
        self.now += 1;
        let digest = self.blob(repository, text.as_bytes()).await;
        let (size, now, version) = (text.len(), self.now, self.version);
        let id = now - BEGIN;
        let subject = subject.map_or("NULL".to_owned(), |digest| format!("'{digest}'"));
        // A manifest is not among the blobs that its repository shows.
        self.run(format!(
            "DELETE FROM repository_blobs WHERE repository_id = {repository}
                 AND blob_id = (SELECT id FROM blobs WHERE digest = '{digest}');
             INSERT INTO manifests (id, repository_id, blob_id, digest, media_type, size, subject,
                                    pushed_at)
             SELECT {id}, {repository}, id, digest, '{kind}', {size}, {subject}, {now}
             FROM blobs WHERE digest = '{digest}'"
        ))
        .await;
        // Later versions say of what is needed in which repository that is.
        let of = if version < 4 {
            String::new()
        } else {
            format!(", {repository}")
        };
        for blob in blobs {
            self.run(format!(
                "INSERT INTO manifest_blobs SELECT {id}, id{of} FROM blobs WHERE digest = '{blob}'"
            ))
            .await;
        }
        for child in children {
            self.run(format!(
                "INSERT INTO manifest_children VALUES ({id}, '{child}'{of})"
            ))
            .await;
        }
        if version >= 4 {
            self.run(format!(
                "UPDATE manifests SET untagged_at = {now} WHERE id = {id}"
            ))
            .await;
        }
        if version >= 5 {
            self.run(format!(
                "UPDATE manifests SET platforms = '', content_bytes = {size} + (
                     SELECT coalesce(sum(b.size), 0) FROM manifest_blobs n
                     JOIN blobs b ON b.id = n.blob_id WHERE n.manifest_id = {id}) + (
                     SELECT coalesce(sum(m.content_bytes), 0) FROM manifest_children c
                     JOIN manifests m ON m.digest = c.child_digest
                         AND m.repository_id = {repository} WHERE c.manifest_id = {id})
                 WHERE id = {id}"
            ))
            .await;
        }
        if let Some(tag) = tag {
            self.tag(repository, id, &digest, tag).await;
        }
        digest
    }

    async fn tag(&mut self, repository: i64, id: i64, digest: &Digest, tag: &str) {
        let now = self.now;
        let values = format!("{repository}, '{tag}', {id}, {now}");
        self.run(match self.version {
            ..4 => format!(
                "INSERT INTO tags VALUES ({values});
                 INSERT INTO tag_history (repository_id, name, digest, since)
                 VALUES ({repository}, '{tag}', '{digest}', {now})"
            ),
            _ => format!(
                "UPDATE push_order SET last = last + 1;
                 INSERT INTO tags (repository_id, name, manifest_id, updated_at, sequence)
                 SELECT {values}, last FROM push_order"
            ),
        })
        .await;
    }
}

/// What a repository holds: its tags in the order of their pushes, with their manifests.
type Tags = Vec<(String, String)>;

/// Fills a repository: images on a common layer, an index of two of them, a signature.
async fn fill(older: &mut Older, at: i64) -> (Tags, Digest, Digest) {
    let now = older.now;
    older
        .run(format!(
            "INSERT INTO repositories (id, name, created_at) VALUES ({at}, 'team/app{at}', {now})"
        ))
        .await;
    let base = older.blob(at, b"base").await;
    let (mut tags, mut images) = (Tags::new(), Vec::new());
    for n in 0..IMAGES {
        let config = older
            .blob(at, format!("{{\"n\":\"{at}-{n}\"}}").as_bytes())
            .await;
        let layer = older.blob(at, format!("layer {at}-{n}").as_bytes()).await;
        let text = image(&config, &[&base, &layer]).to_string();
        let needed = [&config, &base, &layer];
        let tag = format!("v{}", IMAGES - n);
        let parts = (&needed[..], &[][..]);
        let pushed = older.manifest(at, (&text, MANIFEST), parts, (None, Some(&tag)));
        images.push((pushed.await, text.len()));
        tags.push((tag, text));
    }
    let listed = &images[..2];
    let list: Vec<_> = listed
        .iter()
        .map(|(digest, size)| json!({"mediaType": MANIFEST, "digest": digest, "size": size}))
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list}).to_string();
    let children = [&images[0].0, &images[1].0];
    let parts = (&[][..], &children[..]);
    older
        .manifest(at, (&index, INDEX), parts, (None, Some("multi")))
        .await;
    tags.push(("multi".to_owned(), index));
    let subject = images[0].0.clone();
    let config = older.blob(at, b"{}").await;
    let mut signature = image(&config, &[]);
    signature["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": images[0].1});
    let signature = signature.to_string();
    let needed = [&config];
    let parts = (&needed[..], &[][..]);
    let about = (Some(&subject), None);
    let signature = older
        .manifest(at, (&signature, MANIFEST), parts, about)
        .await;
    (tags, subject, signature)
}

#[tokio::test]
async fn all_of_every_older_version_is_found_in_order() {
    // The newest one is what every other test has.
    for version in 1..migrations().len() {
        let mut older = Older::new(version).await;
        let mut filled = Vec::new();
        for at in 1..=REPOSITORIES {
            filled.push(fill(&mut older, at).await);
        }
        let bytes: i64 = sqlx::query_scalar("SELECT sum(size) FROM blobs")
            .fetch_one(&mut older.connection)
            .await
            .unwrap();
        let Older {
            dir, connection, ..
        } = older;
        connection.close().await.unwrap();
        let app = App::in_dir(dir).await;
        app.registry.fill_lists().await.unwrap();
        let everything = CheckOptions {
            deep: true,
            repair: false,
        };
        let checked = app.registry.check(everything).await.unwrap();
        assert_eq!(checked.problems, [], "version {version}");
        assert_eq!(checked.bytes, bytes.unsigned_abs(), "version {version}");
        // One base layer and one empty configuration for all.
        let blobs = REPOSITORIES * (3 * IMAGES + 2) + 2;
        assert_eq!(checked.blobs, blobs.unsigned_abs(), "version {version}");
        for (at, (tags, subject, signature)) in filled.iter().enumerate() {
            let name = format!("team/app{}", at + 1);
            for (tag, text) in tags {
                let path = format!("/v2/{name}/manifests/{tag}");
                let got = app.get(&path).await.ok(200);
                assert_eq!(&got.body[..], text.as_bytes(), "version {version}: {path}");
            }
            let path = format!("/api/v1/repositories/{name}/-/tags?sort=time");
            let listed = app.get(&path).await.ok(200).json();
            let listed = listed["tags"].as_array().unwrap().iter();
            let names: Vec<_> = listed.map(|tag| tag["name"].as_str().unwrap()).collect();
            let pushed: Vec<_> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
            assert_eq!(names, pushed, "version {version}");
            let path = format!("/v2/{name}/referrers/{subject}");
            let referrers = app.get(&path).await.ok(200).json();
            let found = &referrers["manifests"][0]["digest"];
            assert_eq!(found, &json!(signature), "version {version}");
            let path = format!("/api/v1/search?q=app{}", at + 1);
            let found = app.get(&path).await.ok(200).json();
            assert_eq!(found["repositories"][0]["name"], name, "version {version}");
        }
        // Nothing of it is garbage, and what comes now is the newest.
        let collected = app.registry.collect(CollectOptions {
            grace: std::time::Duration::ZERO,
            dry_run: false,
            every_file: true,
        });
        assert_eq!(collected.await.unwrap().blob_count, 0, "version {version}");
        app.image("team/app1", "later", "later").await;
        let path = "/api/v1/repositories/team/app1/-/tags?sort=time&order=desc&n=1";
        let listed = app.get(path).await.ok(200).json();
        assert_eq!(listed["tags"][0]["name"], "later", "version {version}");
    }
}
