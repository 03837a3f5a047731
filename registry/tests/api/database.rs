//! A registry whose metadata is on a database server: how it is told where, what it does when the
//! server is gone for a while, and how its metadata is put away and made again.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use oci::Digest;
use registry::meta::{Place, Server};
use registry::policy::Policy;
use registry::service::{BackupOptions, CheckOptions, Registry};
use registry::storage::Backend;

use crate::harness::{Answer, App, MANIFEST, image, sized};
use crate::layout::{assert_same, fill};
use crate::postgres::{self, Cluster, PASSWORD};
use crate::process::{Process, command, start, text};
use crate::schemas;

/// A place in a cluster that is for a directory.
fn place(cluster: &Cluster, dir: &Path) -> Place {
    let url = cluster.url(&cluster.database(dir), true);
    Place::Server(Server::new(&url, None).unwrap())
}

async fn problems(registry: &Registry) -> Vec<String> {
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    let checked = registry.check(options).await.unwrap();
    let problems = checked.problems.iter();
    problems.map(|problem| format!("{problem:?}")).collect()
}

/// Whether it was done; if not, clients were told to ask again.
#[track_caller]
fn done_or_later(answer: &Answer, done: u16) -> bool {
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        return false;
    }
    assert_eq!(answer.status.as_u16(), done, "{answer:?}");
    true
}

/// The same manifest until it is taken.
async fn pushed(app: &App, tag: &str, manifest: &[u8]) -> u32 {
    let path = format!("/v2/app/manifests/{tag}");
    for refused in 0..200 {
        let answer = app.put_manifest(&path, MANIFEST, manifest).await;
        if done_or_later(&answer, 201) {
            return refused;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} is never taken");
}

#[tokio::test]
async fn connections_that_are_lost_are_made_again() {
    if !postgres::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = postgres::server();
    let (place, database) = (place(cluster, dir.path()), cluster.database(dir.path()));
    let app = App::at(dir, &place).await;
    let (_, manifest) = app.image("app", "v0", "a layer").await;
    for round in 1..=4 {
        let gone = cluster.psql(
            "postgres",
            &format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = '{database}'"
            ),
        );
        assert!(gone.parse::<u32>().unwrap() > 0, "nobody was connected");
        // Whoever asks first may find out; nobody is told anything that is wrong.
        if round % 2 == 0 {
            let answer = app.get("/v2/app/manifests/v0").await;
            done_or_later(&answer, 200);
        }
        pushed(&app, &format!("v{round}"), manifest.as_bytes()).await;
        let tags = app.get("/v2/app/tags/list").await.ok(200).json();
        assert_eq!(tags["tags"].as_array().unwrap().len(), round + 1);
    }
    // A transaction that is taken back halfway leaves nothing: as many tags as were told.
    assert_eq!(problems(&app.registry).await, [""; 0]);
    app.registry.close().await;
}

#[tokio::test]
async fn a_server_that_stops_is_waited_for() {
    if !postgres::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(true);
    let place = place(&cluster, dir.path());
    let app = App::at(dir, &place).await;
    let (_, manifest) = app.image("app", "v0", "a layer").await;
    assert_eq!(app.get("/readyz").await.status, 200);
    // As a crash does: what was acknowledged is on its disk.
    cluster.stop();
    let put = app
        .put_manifest("/v2/app/manifests/v1", MANIFEST, manifest.as_bytes())
        .await;
    assert!(!done_or_later(&put, 201));
    let content = b"a blob that comes meanwhile";
    let blob = format!("/v2/app/blobs/uploads/?digest={}", sized(content));
    let post = app.request("POST", &blob, &[], content.to_vec()).await;
    assert!(!done_or_later(&post, 201));
    let get = app.get("/v2/app/tags/list").await;
    assert!(!done_or_later(&get, 200));
    assert_eq!(app.get("/readyz").await.status, 503);
    assert_eq!(app.get("/healthz").await.status, 200);
    cluster.go();
    pushed(&app, "v1", manifest.as_bytes()).await;
    assert_eq!(app.get("/readyz").await.status, 200);
    let tags = app.get("/v2/app/tags/list").await.ok(200).json();
    assert_eq!(tags["tags"], serde_json::json!(["v0", "v1"]));
    let told = app.request("POST", &blob, &[], content.to_vec()).await;
    assert_eq!(told.status, 201);
    assert_eq!(problems(&app.registry).await, [""; 0]);
    app.registry.close().await;
}

#[tokio::test]
async fn a_database_is_for_one_process() {
    if !postgres::is_there() {
        return;
    }
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = place(postgres::server(), dir.path());
    let app = App::at(dir, &place).await;
    let second = Registry::with_database(other.path(), Policy::default(), &Backend::Disk, &place);
    let refused = second.await.unwrap_err().to_string();
    assert!(refused.contains("is served by another"), "{refused}");
    assert!(!refused.contains(PASSWORD), "{refused}");
    app.image("app", "v1", "a layer").await;
    let dir = app.stop().await;
    App::at(dir, &place).await.stop().await;
}

/// From a server into a backup, and out of it into another server and into a file: every row.
#[tokio::test]
async fn a_backup_has_every_row() {
    if !postgres::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = postgres::server();
    let database = cluster.database(dir.path());
    let at = place(cluster, dir.path());
    let app = App::at(dir, &at).await;
    let digests = fill(&app, "team/app").await;
    // What a label may say, and text of PostgreSQL's may not: the character 0.
    let config = app
        .blob("odd", br#"{"config":{"Labels":{"Odd":"a\u0000B\u00c9"}}}"#)
        .await;
    let odd = image(&config, &[]).to_string();
    app.put_manifest("/v2/odd/manifests/v1", MANIFEST, odd.as_bytes())
        .await
        .ok(201);
    app.delete("/v2/team/app/manifests/also").await.ok(202);
    app.get("/v2/odd/manifests/v1").await.ok(200);
    let to = tempfile::tempdir().unwrap();
    for output in [to.path().join("folder"), to.path().join("all.tar")] {
        let options = BackupOptions {
            output: output.clone(),
            prune: false,
        };
        app.registry.back_up_to(&options).await.unwrap();
        let rows = schemas::rows_of(&database).await;
        for on_server in [true, false] {
            let fresh = tempfile::tempdir().unwrap();
            let place = match on_server {
                true => place(cluster, fresh.path()),
                false => Place::File(fresh.path().join("registry.db")),
            };
            let restore = || Registry::restore_whole(fresh.path(), &output, &Backend::Disk, &place);
            let restored = restore().await.unwrap();
            assert_eq!(restored.repositories, 2);
            let found = match &place {
                Place::File(file) => schemas::rows_in(file).await,
                Place::Server(_) => schemas::rows_of(&cluster.database(fresh.path())).await,
            };
            assert_eq!(found, rows);
            let again = restore().await.unwrap_err().to_string();
            assert!(again.ends_with("holds a registry already"), "{again}");
            let restored = App::at(fresh, &place).await;
            assert_same(&app, &restored, "team/app", &digests).await;
            // Numbers go on behind those that came.
            restored.image("new", "v1", "another layer").await;
            let answer = restored.get("/v2/_catalog").await.json();
            assert_eq!(
                answer["repositories"],
                serde_json::json!(["new", "odd", "team/app"])
            );
            assert_eq!(problems(&restored.registry).await, [""; 0]);
            restored.registry.close().await;
        }
    }
    app.registry.close().await;
}

/// The program with settings that name a server.
struct Program {
    dir: tempfile::TempDir,
    database: String,
}

impl Program {
    fn new(cluster: &Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = format!(
            "p{}",
            Digest::sha256(dir.path().as_os_str().as_encoded_bytes()).short()
        );
        cluster.psql(
            "postgres",
            &format!("CREATE DATABASE {database} OWNER {}", postgres::USER),
        );
        std::fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        let settings = format!(
            "data_dir = '{0}/data'\naddr = '127.0.0.1:0'\n[database]\nurl = '{1}'\n\
             password_file = '{0}/password'\n",
            dir.path().display(),
            cluster.url(&database, false),
        );
        std::fs::write(dir.path().join("registry.toml"), settings).unwrap();
        Self { dir, database }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = command();
        command
            .arg(words[0])
            .arg("--config")
            .arg(self.dir.path().join("registry.toml"));
        command.args(&words[1..]);
        command
    }

    fn serve(&self) -> Process {
        start(&mut self.command(&["serve"]))
    }

    /// What it says, and whether it went well.
    fn run(&self, words: &[&str]) -> (bool, String) {
        let output = self.command(words).output().unwrap();
        let said = text(&output);
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.success(), said)
    }

    fn said(&self, words: &[&str]) -> String {
        let (well, said) = self.run(words);
        assert!(well, "{words:?}: {said}");
        said
    }
}

/// Pushes a small image to a process; its digest.
fn push(process: &Process, name: &str, tag: &str) -> Digest {
    let content = format!("{{\"of\":\"{name}:{tag}\"}}");
    let config = sized(content.as_bytes());
    let path = format!("/v2/{name}/blobs/uploads/?digest={config}");
    let answer = process.send("POST", &path, content.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let manifest = image(&config, &[]).to_string();
    let answer = process.send(
        "PUT",
        &format!("/v2/{name}/manifests/{tag}"),
        manifest.as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Digest::sha256(manifest.as_bytes())
}

#[test]
fn every_command_finds_the_database() {
    if !postgres::is_there() {
        return;
    }
    let cluster = postgres::server();
    let program = Program::new(cluster);
    assert_eq!(program.said(&["config"]), "the settings can be used\n");
    let (well, nothing) = program.run(&["ls"]);
    assert!(!well && nothing.contains("holds no registry"), "{nothing}");
    let process = program.serve();
    let digest = push(&process, "app", "v1");
    push(&process, "app", "v2");
    push(&process, "other", "v1");
    let running = program.said(&["tags", "app"]);
    assert!(
        running.contains("v1") && running.contains("v2"),
        "{running}"
    );
    assert!(process.signal("TERM"));
    let mut process = process;
    assert!(process.child.wait().unwrap().success());
    // Nothing of it is in the data directory.
    let data = program.dir.path().join("data");
    assert!(!data.join("registry.db").exists());
    assert_eq!(program.said(&["tags", "app"]), running);
    assert!(
        program
            .said(&["inspect", "app:v1"])
            .contains(&digest.to_string())
    );
    assert!(program.said(&["usage"]).contains("other"));
    program.said(&["rm", "other:v1"]);
    assert!(
        program
            .said(&["restore", "--list", "other:v1"])
            .contains("deleted")
    );
    program.said(&["restore", "other:v1"]);
    program.said(&["gc", "--dry-run"]);
    let layout = program.dir.path().join("layout");
    let layout = layout.to_str().unwrap();
    program.said(&["export", "app", "-o", layout]);
    program.said(&["import", layout, "app"]);
    let backup = program.dir.path().join("backup");
    program.said(&["backup", backup.to_str().unwrap()]);
    let checked = program.said(&["fsck", "--deep"]);
    assert!(checked.starts_with("6 blobs, "), "{checked}");
    assert!(checked.ends_with("; 0 problems\n"), "{checked}");
    // A database that is lost: nothing is taken for garbage, and names come from the last copy. The
    // first one was made when there was nothing yet.
    std::fs::remove_file(data.join("registry.backup.db")).unwrap();
    let process = program.serve();
    for _ in 0..100 {
        if data.join("registry.backup.db").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(process);
    let database = &program.database;
    cluster.psql(
        "postgres",
        &format!("DROP DATABASE {database} WITH (FORCE)"),
    );
    cluster.psql(
        "postgres",
        &format!("CREATE DATABASE {database} OWNER {}", postgres::USER),
    );
    let (well, refused) = program.run(&["serve"]);
    assert!(!well && refused.contains("fsck --rebuild"), "{refused}");
    let rebuilt = program.said(&["fsck", "--rebuild"]);
    assert!(
        rebuilt.contains("rebuilt 2 repositories, 3 tags, 3 manifests from 6 blobs"),
        "{rebuilt}"
    );
    let (well, refused) = program.run(&["fsck", "--rebuild"]);
    assert!(
        !well && refused.contains("there is nothing to rebuild"),
        "{refused}"
    );
    assert!(
        program
            .said(&["inspect", "app:v1"])
            .contains(&digest.to_string())
    );
    let checked = program.said(&["fsck", "--deep"]);
    assert!(checked.ends_with("; 0 problems\n"), "{checked}");
    assert!(!data.join("registry.rebuilding.db").exists());
}

/// From a file into a server and back: the same registry each time.
#[tokio::test]
async fn a_registry_moves_from_one_database_to_another() {
    if !postgres::is_there() {
        return;
    }
    let cluster = postgres::server();
    let program = Program::new(cluster);
    let settings = program.dir.path().join("registry.toml");
    let server = std::fs::read_to_string(&settings).unwrap();
    let (file, _) = server.split_once("[database]").unwrap();
    std::fs::write(&settings, file).unwrap();
    let mut process = program.serve();
    push(&process, "app", "v1");
    push(&process, "app", "v2");
    push(&process, "other", "v1");
    let (data, url) = (
        program.dir.path().join("data"),
        cluster.url(&program.database, false),
    );
    let password = program.dir.path().join("password");
    let to_server = [
        "migrate",
        "--to",
        &url,
        "--to-password-file",
        password.to_str().unwrap(),
    ];
    let (well, refused) = program.run(&to_server);
    assert!(!well && refused.contains("in use by another"), "{refused}");
    assert!(process.signal("TERM"));
    process.child.wait().unwrap();
    let tags = program.said(&["tags", "app"]);
    let database = data.join("registry.db");
    let rows = async |of: Option<&Path>| {
        let mut rows = match of {
            Some(file) => schemas::rows_in(file).await,
            None => schemas::rows_of(&program.database).await,
        };
        // That it was moved is noted in the new one.
        rows.remove("activity");
        rows
    };
    let before = rows(Some(&database)).await;
    let moved = program.said(&to_server);
    let shown = format!("copied 2 repositories, 3 tags, 3 manifests to {url}");
    assert!(moved.starts_with(&shown), "{moved}");
    assert_eq!(rows(None).await, before);
    let (well, again) = program.run(&to_server);
    assert!(
        !well && again.contains("holds a registry already"),
        "{again}"
    );
    std::fs::write(&settings, &server).unwrap();
    assert_eq!(program.said(&["tags", "app"]), tags);
    let back = ["migrate", "--to", "sqlite"];
    let (well, there) = program.run(&back);
    assert!(
        !well && there.contains("holds a registry already"),
        "{there}"
    );
    std::fs::rename(&database, data.join("before.db")).unwrap();
    let moved = program.said(&back);
    assert!(moved.contains("registry.db: let database.url"), "{moved}");
    assert_eq!(rows(Some(&database)).await, before);
    std::fs::write(&settings, file).unwrap();
    let checked = program.said(&["fsck", "--deep"]);
    assert!(checked.ends_with("; 0 problems\n"), "{checked}");
    assert!(!data.join("registry.migrating.db").exists());
}

#[test]
fn a_server_that_cannot_be_used_is_told_without_the_password() {
    if !postgres::is_there() {
        return;
    }
    let program = Program::new(postgres::server());
    std::fs::write(program.dir.path().join("password"), "not it").unwrap();
    let (well, said) = program.run(&["serve"]);
    assert!(
        !well && said.contains("password authentication failed"),
        "{said}"
    );
    assert!(!said.contains("not it"), "{said}");
    let other = program.database.clone();
    postgres::server().psql("postgres", &format!("DROP DATABASE {other}"));
    std::fs::write(program.dir.path().join("password"), PASSWORD).unwrap();
    let (well, said) = program.run(&["serve"]);
    assert!(
        !well && said.contains(&other) && said.contains("does not exist"),
        "{said}"
    );
}

/// How many rows and entries of indexes the server looked at since it was last asked.
fn looked_at(cluster: &Cluster, database: &str) -> u64 {
    let connected = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
    for _ in 0..200 {
        // Who ends says what they did, at the latest then.
        if cluster.psql("postgres", &connected) == "0" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let count = cluster.psql(
        database,
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
              + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)",
    );
    cluster.psql(database, "SELECT pg_stat_reset()");
    count.parse().unwrap()
}

/// What answers requests looks at as many rows whatever else there is; `RREGISTRY_TEST_GROWTH` says
/// how many images there are.
#[tokio::test]
async fn requests_do_not_grow_with_what_there_is() {
    if !postgres::is_there() {
        return;
    }
    let images: u64 = std::env::var("RREGISTRY_TEST_GROWTH")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let cluster = postgres::server();
    let dir = tempfile::tempdir().unwrap();
    // The rows, made in a file.
    let made = App::at(
        tempfile::tempdir().unwrap(),
        &Place::File(dir.path().join("made.db")),
    )
    .await;
    made.registry.close().await;
    let fill = include_str!("../growth.sql").replace("$N", &images.to_string());
    schemas::run_in(&dir.path().join("made.db"), &fill).await;
    let (place, database) = (place(cluster, dir.path()), cluster.database(dir.path()));
    let Place::Server(server) = &place else {
        panic!("{place} is no server");
    };
    server.fill(&dir.path().join("made.db")).await.unwrap();
    looked_at(cluster, &database);
    // What is done at each start is not what is asked here.
    let app = App::at(dir, &place).await;
    let dir = app.stop().await;
    let start = looked_at(cluster, &database);
    let app = App::at(dir, &place).await;
    let middle = images / 20;
    let repository = format!("team/r{middle:06}");
    let (digest, _) = app.image(&repository, "new", "a layer").await;
    let at = |rest: &str| format!("/v2/{repository}/{rest}");
    // Not searches: the server looks through a list of some thousands rather than its index.
    let mut paths = vec![
        format!("/v2/_catalog?n=50&last=team/r{middle:06}"),
        at("tags/list"),
        at("manifests/new"),
        at(&format!("manifests/{digest}")),
        at(&format!("referrers/{digest}")),
        format!("/api/v1/repositories/{repository}"),
    ];
    for sort in ["name", "time", "size"] {
        for order in ["asc", "desc"] {
            let query = format!("sort={sort}&order={order}&n=20");
            paths.push(format!("/api/v1/repositories?{query}"));
            paths.push(format!("/api/v1/repositories/{repository}/-/tags?{query}"));
        }
    }
    for path in &paths {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    app.delete(&at("manifests/new")).await.ok(202);
    app.stop().await;
    let asked = looked_at(cluster, &database).saturating_sub(start);
    assert!(
        asked > 0 && asked < 5000,
        "{asked} rows looked at for {} requests to {images} images, {start} at the start",
        paths.len()
    );
}
