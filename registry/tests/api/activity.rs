//! What changed and who did it: on the page, under /api/v1 and in the audit log.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use registry::auth::htpasswd::Htpasswd;
use serde_json::{Value, json};

use crate::harness::{App, MANIFEST, image, sized};
use crate::import::Volume;
use crate::process::{Process, command};
use crate::upstream::{Mood, Upstream};
use crate::web::browser::{Browser, users};

const RULES: &str = r#"
auth.htpasswd = "$DIR/htpasswd"
[[access]]
repository = "team/**"
users = ["alice", "bob"]
allow = ["pull", "push", "delete"]
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
"#;

fn basic(user: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{user}"));
    format!("Basic {pair}")
}

async fn ask(app: &App, user: &str, method: &str, path: &str, body: &str) -> Value {
    let auth = basic(user);
    let headers = [("authorization", &*auth), ("content-type", MANIFEST)];
    let answer = app.request(method, path, &headers, body.to_owned()).await;
    assert!(
        answer.status.is_success(),
        "{user} {method} {path} {answer:?}"
    );
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

async fn push(app: &App, user: &str, tag: &str, content: &str) -> String {
    let digest = sized(content.as_bytes());
    let upload = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    ask(app, user, "POST", &upload, content).await;
    let text = image(&digest, &[]).to_string();
    let path = format!("/v2/team/app/manifests/{tag}");
    ask(app, user, "PUT", &path, &text).await;
    oci::Digest::sha256(text.as_bytes()).to_string()
}

/// The actions, users and tags of lines.
fn told(answer: &Value) -> Vec<String> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let lines = answer["activity"].as_array().unwrap().iter();
    lines
        .map(|line| {
            ["action", "user", "tag"]
                .map(|name| text(line, name))
                .join(" ")
        })
        .collect()
}

#[tokio::test]
async fn who_moved_and_deleted_a_tag_is_told() {
    let app = App::configured(users, RULES).await;
    let first = push(&app, "alice", "v1", "one").await;
    let second = push(&app, "bob", "v1", "two").await;
    ask(&app, "root", "DELETE", "/v2/team/app/manifests/v1", "").await;
    let last = push(&app, "alice", "v1", "three").await;
    let history = "/api/v1/repositories/team/app/-/history";
    let history = ask(&app, "root", "GET", history, "").await;
    let who = |place: &Value| json!([place["digest"], place["pushed_by"], place["deleted_by"]]);
    let places: Vec<Value> = history["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(who)
        .collect();
    assert_eq!(
        places,
        [
            json!([second, "bob", "root"]),
            json!([first, "alice", null])
        ]
    );
    let tags = ask(
        &app,
        "root",
        "GET",
        "/api/v1/repositories/team/app/-/tags",
        "",
    )
    .await;
    assert_eq!(tags["tags"][0]["pushed_by"], "alice");
    let browser = Browser::new(&app);
    browser.login("alice").await;
    let page = browser.page("/ui/past/team/app:v1").await;
    let current = format!("/ui/image/team/app@{last}");
    assert!(
        page.contains(&current) && page.contains("pushed by alice"),
        "{page}"
    );
    assert!(page.contains("deleted by root"), "{page}");
    // What comes without a user leaves nobody's name.
    app.registry
        .delete_manifest(
            &"team/app".parse().unwrap(),
            &registry::name::ManifestRef::Tag("v1".parse().unwrap()),
            registry::meta::Precondition::default(),
            &None,
        )
        .await
        .unwrap();
    let history = "/api/v1/repositories/team/app/-/history?n=1";
    let history = ask(&app, "root", "GET", history, "").await;
    assert_eq!(who(&history["places"][0]), json!([last, "alice", null]));
}

#[tokio::test]
async fn what_changed_is_listed_and_found() {
    let app = App::configured(users, RULES).await;
    push(&app, "alice", "v1", "one").await;
    push(&app, "bob", "v2", "two").await;
    ask(&app, "bob", "DELETE", "/v2/team/app/manifests/v1", "").await;
    let all = ask(&app, "root", "GET", "/api/v1/activity", "").await;
    // Of an image that came its blobs tell nothing.
    assert_eq!(
        told(&all),
        ["delete bob v1", "push bob v2", "push alice v1"]
    );
    assert!(all["next"].is_null(), "{all}");
    let line = &all["activity"][0];
    assert_eq!(line["repository"], "team/app");
    for (query, expected) in [
        ("user=bob", vec!["delete bob v1", "push bob v2"]),
        ("action=push", vec!["push bob v2", "push alice v1"]),
        ("user=bob&action=push", vec!["push bob v2"]),
        ("repository=team/none", vec![]),
        ("n=1", vec!["delete bob v1"]),
    ] {
        let path = format!("/api/v1/activity?{query}");
        let found = ask(&app, "root", "GET", &path, "").await;
        assert_eq!(told(&found), expected, "{query}");
    }
    let mut pages = Vec::new();
    let mut before = String::new();
    for _ in 0..4 {
        let path = format!("/api/v1/activity?n=1&before={before}");
        let page = ask(&app, "root", "GET", &path, "").await;
        pages.extend(told(&page));
        before = page["next"].to_string().replace("null", "0");
    }
    assert_eq!(pages, told(&all));
    let browser = Browser::new(&app);
    browser.login("root").await;
    let page = browser.page("/ui/activity?user=bob").await;
    assert!(page.contains("/ui/past/team/app:v2"), "{page}");
    assert!(!page.contains(">alice<"), "{page}");
    // Tokens and collections are told with who made them.
    let page = browser.page("/ui/tokens").await;
    let form = format!("token={}&note=ci", crate::web::browser::token(&page));
    browser.post("/ui/tokens", &[], &form).await.ok(200);
    let found = ask(&app, "root", "GET", "/api/v1/activity?n=1", "").await;
    assert_eq!(told(&found), ["token.make root -"]);
    assert_eq!(found["activity"][0]["note"], "ci");
    assert!(!found.to_string().contains("rrt_"), "{found}");
}

#[tokio::test]
async fn upstreams_say_how_they_are_doing() {
    let hub = Upstream::start().await;
    let (_, layer) = hub.image("library/nginx", "1", b"nginx");
    let settings = format!(
        "{RULES}[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{}\"\n",
        hub.url()
    );
    let app = App::configured(users, &settings).await;
    let state = async || ask(&app, "root", "GET", "/api/v1/mirrors", "").await["mirror"].take();
    let fresh = state().await;
    assert_eq!((&fresh["hits"], &fresh["misses"]), (&json!(0), &json!(0)));
    assert_eq!(fresh["upstreams"][0]["asked"], true);
    assert!(fresh["upstreams"][0]["last_error"].is_null());
    for path in [
        "/v2/docker.io/library/nginx/manifests/1".to_owned(),
        format!("/v2/docker.io/library/nginx/blobs/{layer}"),
        format!("/v2/docker.io/library/nginx/blobs/{layer}"),
    ] {
        ask(&app, "root", "GET", &path, "").await;
    }
    let used = state().await;
    let upstream = &used["upstreams"][0];
    assert_eq!(
        (&upstream["manifests"], &upstream["repositories"]),
        (&json!(1), &json!(1))
    );
    assert!(upstream["kept_bytes"].as_u64().unwrap() >= 5, "{used}");
    assert!(used["misses"].as_u64().unwrap() >= 1, "{used}");
    hub.mood(Mood::Limited("120"));
    let auth = basic("root");
    let path = "/v2/docker.io/library/nginx/manifests/2";
    let limited = app
        .request("GET", path, &[("authorization", &*auth)], "")
        .await;
    assert!(!limited.status.is_success(), "{limited:?}");
    let rests = state().await["upstreams"][0].take();
    assert_eq!(
        (&rests["asked"], &rests["limited"]),
        (&json!(false), &json!(1))
    );
    assert!(rests["rests_seconds"].as_u64().unwrap() > 60, "{rests}");
    assert!(rests["last_error"].is_string() && rests["last_error_at"].is_string());
    let browser = Browser::new(&app);
    browser.login("root").await;
    let page = browser.page("/ui/mirrors").await;
    assert!(
        page.contains("rests") && page.contains("It failed last"),
        "{page}"
    );
}

#[tokio::test]
async fn read_only_is_shown_where_people_look() {
    let settings = format!("storage.read_only = true\n{RULES}");
    let app = App::configured(users, &settings).await;
    let state = ask(&app, "root", "GET", "/api/v1/state", "").await;
    assert_eq!(state["read_only"], true);
    let browser = Browser::new(&app);
    browser.login("alice").await;
    let page = browser.page("/ui/").await;
    assert!(page.contains("read-only for now"), "{page}");
    let app = App::configured(users, RULES).await;
    let state = ask(&app, "root", "GET", "/api/v1/state", "").await;
    assert_eq!(state["read_only"], false);
    let browser = Browser::new(&app);
    let page = browser.login("alice").await.page("/ui/").await;
    assert!(!page.contains("read-only for now"), "{page}");
}

/// Whoever asks may do everything.
const ADMIN: &str =
    "[[access]]\nrepository = \"**\"\nusers = [\"root\", \"anonymous\"]\nallow = [\"admin\"]\n";

/// The settings' file of a registry with an audit log.
fn settings(dir: &Path, rules: &str) -> String {
    users(dir);
    let config = dir.join("registry.toml").to_str().unwrap().to_owned();
    let settings = format!(
        "reload.interval = \"50ms\"\naudit.file = \"$DIR/audit.log\"\ndata_dir = \"$DIR/data\"\n\
         gc.grace = \"0s\"\nauth.htpasswd = \"$DIR/htpasswd\"\n{rules}"
    );
    std::fs::write(&config, settings.replace("$DIR", dir.to_str().unwrap())).unwrap();
    config
}

/// A registry with an audit log, and its settings' file.
fn serve(dir: &Path, rules: &str) -> (Process, String) {
    let config = settings(dir, rules);
    let process = crate::process::start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config", &config])
            .stderr(Stdio::null()),
    );
    (process, config)
}

/// The first line of the log that is about this.
fn line(dir: &Path, action: &str, part: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(dir.join("audit.log")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(part));
        let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| line["action"] == action) {
            return line;
        }
        assert!(
            Instant::now() < deadline,
            "no {action} with {part} in {text}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rregistry(args: &[&str]) -> String {
    let output = command().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?} {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_audit_log_tells_of_all_that_operators_do() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let keep = format!("{ADMIN}[[retention]]\nrepository = \"ci/**\"\nkeep_newest = 1\n");
    let (process, config) = serve(at, &keep);
    for content in ["one", "two"] {
        let digest = sized(content.as_bytes());
        let path = format!("/v2/ci/app/blobs/uploads/?digest={digest}");
        process.send("POST", &path, content.as_bytes());
        let text = image(&digest, &[]).to_string();
        let path = format!("/v2/ci/app/manifests/{content}");
        let put = process.send("PUT", &path, text.as_bytes());
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    }
    let with = |args: &[&str]| rregistry(&[args, &["--config", &config]].concat());
    with(&["gc"]);
    let gone = line(at, "delete", "retention");
    assert_eq!(
        (&gone["repository"], &gone["tag"], &gone["user"]),
        (&json!("ci/app"), &json!("one"), &Value::Null)
    );
    assert_eq!(line(at, "collect", "blobs")["tags"], 1);
    let backup = at.join("backup");
    with(&["backup", backup.to_str().unwrap()]);
    assert_eq!(line(at, "backup", "to")["to"], backup.to_str().unwrap());
    with(&["rm", "ci/app:two"]);
    assert_eq!(
        line(at, "delete", "\"two\"")["agent"],
        "rregistry on this machine"
    );
    let from = backup.to_str().unwrap();
    with(&["restore", "--from", from, "ci/app"]);
    assert_eq!(line(at, "restore", "from")["from"], from);
    // Whatever program changes the files of users and tokens.
    let token = with(&["user", "token", "alice"]);
    let id = token["rrt_".len()..].split('_').next().unwrap();
    assert_eq!(line(at, "token.make", id)["of"], "alice");
    with(&["user", "revoke", id]);
    assert_eq!(line(at, "token.revoke", id)["of"], "alice");
    let mut known = Htpasswd::read(&at.join("htpasswd")).unwrap();
    known.remove("bob").unwrap();
    known.add("carol", "carol").unwrap();
    known.remove("alice").unwrap();
    known.add("alice", "another").unwrap();
    known.write(&at.join("htpasswd")).unwrap();
    for (action, user) in [
        ("user.remove", "bob"),
        ("user.add", "carol"),
        ("user.password", "alice"),
    ] {
        assert_eq!(line(at, action, user)["of"], user);
    }
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("keep_newest = 1", "keep_newest = 2")).unwrap();
    assert_eq!(
        line(at, "settings.reload", "retention")["settings"],
        "retention"
    );
}

/// What was done while the registry did not run is told as if it had: by commands at once, of
/// users when it starts again.
#[test]
fn commands_on_a_stopped_registry_leave_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let keep = "[[retention]]\nrepository = \"ci/**\"\nkeep_newest = 1\n\
                [[access]]\nrepository = \"**\"\nusers = [\"anonymous\"]\nallow = [\"admin\"]\n";
    let (process, config) = serve(at, keep);
    for (repository, tag) in [
        ("ci/app", "one"),
        ("ci/app", "two"),
        ("app", "v1"),
        ("old", "v1"),
    ] {
        let digest = sized(tag.as_bytes());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        process.send("POST", &path, tag.as_bytes());
        let text = image(&digest, &[]).to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = process.send("PUT", &path, text.as_bytes());
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    }
    // Its users are known by now.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !at.join("data/people.json").exists() {
        assert!(Instant::now() < deadline, "nobody writes down who is there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(process.signal("TERM"));
    let mut process = process;
    process.child.wait().unwrap();

    let with = |args: &[&str]| rregistry(&[args, &["--config", &config]].concat());
    // What only looks leaves nothing.
    std::fs::remove_file(at.join("audit.log")).unwrap();
    with(&["ls"]);
    with(&["gc", "--dry-run"]);
    assert!(!at.join("audit.log").exists());
    let of_command = |line: &Value| assert_eq!(line["agent"], "rregistry on this machine");
    with(&["gc"]);
    let gone = line(at, "delete", "retention");
    assert_eq!(
        (&gone["repository"], &gone["tag"]),
        (&json!("ci/app"), &json!("one"))
    );
    assert_eq!(line(at, "collect", "blobs")["tags"], 1);
    with(&["rm", "app:v1"]);
    let gone = line(at, "delete", "\"app\"");
    assert_eq!(gone["tag"], "v1");
    of_command(&gone);
    with(&["restore", "app:v1"]);
    let back = line(at, "push", "\"app\"");
    assert_eq!(back["tag"], "v1");
    of_command(&back);
    with(&["rm", "--all", "old"]);
    of_command(&line(at, "delete", "\"old\""));
    let backup = at.join("backup");
    let backup = backup.to_str().unwrap();
    with(&["backup", backup]);
    assert_eq!(line(at, "backup", "to")["to"], backup);
    with(&["restore", "--from", backup, "app"]);
    assert_eq!(line(at, "restore", "from")["from"], backup);
    let layout = at.join("layout");
    let layout = layout.to_str().unwrap();
    with(&["export", "app:v1", "-o", layout]);
    with(&["import", layout, "imported"]);
    assert_eq!(line(at, "import", "from")["from"], layout);
    // The log is for whoever owns the directory.
    let owner =
        |path: &str| std::os::unix::fs::MetadataExt::uid(&at.join(path).metadata().unwrap());
    assert_eq!(owner("audit.log"), owner("data"));
    // Users and tokens, whose files any program may change.
    let token = with(&["user", "token", "alice"]);
    let id = token["rrt_".len()..].split('_').next().unwrap();
    let mut known = Htpasswd::read(&at.join("htpasswd")).unwrap();
    known.remove("bob").unwrap();
    known.add("carol", "carol").unwrap();
    known.write(&at.join("htpasswd")).unwrap();
    let lines = std::fs::read_to_string(at.join("audit.log")).unwrap();
    drop(process);
    let process = crate::process::start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config", &config])
            .stderr(Stdio::null()),
    );
    assert_eq!(line(at, "token.make", id)["of"], "alice");
    assert_eq!(line(at, "user.remove", "bob")["of"], "bob");
    assert_eq!(line(at, "user.add", "carol")["of"], "carol");
    // Nothing is told twice, and people find all of it too.
    let now = std::fs::read_to_string(at.join("audit.log")).unwrap();
    assert!(now.starts_with(&lines));
    let told = process.send("GET", "/api/v1/activity?n=200", b"");
    for action in ["collect", "backup", "restore", "import", "user.add"] {
        let of = format!("\"action\":\"{action}\"");
        assert_eq!(told.matches(&of).count(), 1, "{action} in {told}");
        assert_eq!(now.matches(&of).count(), 1, "{action} in {now}");
    }
}

/// What a check mended, and a volume that was taken over, by commands on a stopped registry.
#[test]
fn repairs_and_volumes_taken_over_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let volume = Volume::new();
    let config = volume.layer("team/app", b"{}");
    let layer = volume.layer("team/app", b"layer");
    let text = image(&config, &[&layer]).to_string();
    volume.manifest("team/app", &text, &["v1", "v2"]);
    let config = settings(at, ADMIN);
    let with = |args: &[&str]| rregistry(&[args, &["--config", &config]].concat());
    let told = |action: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(at.join("audit.log")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["action"] == action)
            .collect()
    };
    let from = volume.path().to_str().unwrap();
    with(&["import-distribution", from]);
    let import = line(at, "import", "from");
    assert_eq!(import["from"], from);
    assert_eq!(import["agent"], "rregistry on this machine");
    // What only looks, and finds nothing to mend, leaves nothing.
    with(&["fsck", "--deep"]);
    with(&["fsck", "--repair"]);
    assert_eq!(told("repair"), Vec::<Value>::new());
    let hex = layer.hex();
    let file = at.join("data/blobs/sha256").join(&hex[..2]).join(hex);
    std::fs::remove_file(&file).unwrap();
    let looked = command().args(["fsck", "--config", &config]).output();
    assert_eq!(looked.unwrap().status.code(), Some(1));
    assert_eq!(told("repair"), Vec::<Value>::new());
    let mended = with(&["fsck", "--repair"]);
    assert!(mended.ends_with("; 1 problems"), "{mended}");
    let repair = line(at, "repair", "problems");
    assert_eq!(repair["problems"], 1);
    assert_eq!(repair["agent"], "rregistry on this machine");
    // What was lost is brought again; a database that is lost is made anew.
    with(&["import-distribution", from]);
    for name in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        let _ = std::fs::remove_file(at.join("data").join(name));
    }
    with(&["fsck", "--rebuild"]);
    assert_eq!(line(at, "rebuild", "repositories")["repositories"], 1);
    // People find them too, once the registry runs.
    let process = crate::process::start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config", &config])
            .stderr(Stdio::null()),
    );
    let found = process.send("GET", "/api/v1/activity?action=rebuild", b"");
    let of = "\"action\":\"rebuild\"";
    assert_eq!(found.matches(of).count(), 1, "{found}");
}
