//! Who is let in without a password, who is told why not, and what the log says of it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use base64::Engine;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use registry::http::Peer;

use crate::harness::{Answer, App, MANIFEST};
use crate::process::{Process, command, text};

const RULES: &str = r#"
auth.htpasswd = "$DIR/htpasswd"
[[access]]
repository = "public/**"
users = ["anonymous"]
allow = ["pull"]
[[access]]
repository = "team/**"
users = ["alice", "bob"]
allow = ["pull"]
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
"#;

fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    for user in ["alice", "bob", "root"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.join("htpasswd")).unwrap();
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

async fn ask(app: &App, method: &str, path: &str, auth: &str) -> Answer {
    app.request(method, path, &[("authorization", auth)], "")
        .await
}

/// A token for one user, or for nobody.
async fn token(app: &App, user: Option<&str>, scope: &str) -> String {
    let path = format!("/auth/token?service=rregistry&scope={scope}");
    let answer = match user {
        Some(user) => ask(app, "GET", &path, &basic(user, user)).await,
        None => app.get(&path).await,
    };
    let json = answer.ok(200).json();
    format!("Bearer {}", json["token"].as_str().unwrap())
}

#[tokio::test]
async fn whoever_may_be_anonymous_is_not_asked_for_a_password() {
    for method in ["basic", "token"] {
        let app = App::configured(users, &format!("auth.method = \"{method}\"\n{RULES}")).await;
        let digest = Digest::sha256(b"x");
        let upload = format!("/v2/public/app/blobs/uploads/?digest={digest}");
        app.request(
            "POST",
            &upload,
            &[("authorization", &root(&app, method).await)],
            "x",
        )
        .await
        .ok(201);
        let blob = format!("/v2/public/app/blobs/{digest}");
        // docker asks for nothing that it was not shown how to ask for, and that is a token.
        let shown = app.get("/v2/").await;
        let challenge = shown.is(401, "UNAUTHORIZED").header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        let nobody = token(&app, None, "repository:public/app:pull").await;
        ask(&app, "GET", "/v2/", &nobody).await.ok(200);
        ask(&app, "GET", &blob, &nobody).await.ok(200);
        ask(&app, "DELETE", &blob, &nobody)
            .await
            .is(401, "UNAUTHORIZED");
        // podman and skopeo answer a password's challenge with an empty one.
        ask(&app, "GET", &blob, "Basic Og==").await.ok(200);
        app.get(&blob).await.ok(200);
        ask(&app, "GET", "/v2/team/app/tags/list", "Basic Og==")
            .await
            .is(401, "UNAUTHORIZED");
    }
    // Without such rules there is nobody to be anonymous.
    let app = App::configured(users, "auth.htpasswd = \"$DIR/htpasswd\"\n").await;
    let shown = app.get("/v2/").await;
    assert_eq!(
        shown.header("www-authenticate"),
        "Basic realm=\"rregistry\""
    );
    ask(&app, "GET", "/v2/", "Basic Og==")
        .await
        .is(401, "UNAUTHORIZED");
}

async fn root(app: &App, method: &str) -> String {
    match method {
        "basic" => basic("root", "root"),
        _ => token(app, Some("root"), "repository:public/app:*").await,
    }
}

#[tokio::test]
async fn a_token_that_is_not_enough_says_so() {
    let app = App::configured(users, &format!("auth.method = \"token\"\n{RULES}")).await;
    let upload = "/v2/team/app/blobs/uploads/";
    let alice = token(&app, Some("alice"), "repository:team/app:pull,push").await;
    let refused = ask(&app, "POST", upload, &alice).await;
    refused.is(401, "UNAUTHORIZED");
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"http://localhost/auth/token\",service=\"rregistry\",\
         error=\"insufficient_scope\",error_description=\"alice may not push to team/app\",\
         scope=\"repository:team/app:pull,push\""
    );
    let message = refused.json()["errors"][0]["message"].clone();
    assert_eq!(message, "alice may not push to team/app");
    // One that is good for something else is not the user's fault.
    let other = token(&app, Some("root"), "repository:public/app:pull").await;
    let refused = ask(&app, "POST", upload, &other).await;
    let challenge = refused.is(401, "UNAUTHORIZED").header("www-authenticate");
    assert!(
        challenge.contains("the token of root is not for pushing to team/app"),
        "{challenge}"
    );
    // Who is nobody has to log in.
    let nobody = token(&app, None, "repository:team/app:pull").await;
    let refused = ask(&app, "GET", "/v2/team/app/tags/list", &nobody).await;
    let challenge = refused.is(401, "UNAUTHORIZED").header("www-authenticate");
    assert!(!challenge.contains("error="), "{challenge}");
}

#[tokio::test]
async fn who_is_removed_from_the_file_is_out_at_once() {
    for method in ["basic", "token"] {
        let app = App::configured(users, &format!("auth.method = \"{method}\"\n{RULES}")).await;
        let bearer = match method {
            "basic" => basic("alice", "alice"),
            _ => token(&app, Some("alice"), "repository:team/app:pull").await,
        };
        let path = "/v2/team/app/tags/list";
        ask(&app, "GET", path, &bearer)
            .await
            .is(404, "NAME_UNKNOWN");
        let file = app.path().join("htpasswd");
        let mut known = Htpasswd::read(&file).unwrap();
        known.remove("alice").unwrap();
        known.add("carol", "carol").unwrap();
        known.write(&file).unwrap();
        // It is looked at some times a second.
        tokio::time::sleep(Duration::from_millis(50)).await;
        ask(&app, "GET", path, &bearer)
            .await
            .is(401, "UNAUTHORIZED");
        ask(&app, "GET", path, &basic("alice", "alice"))
            .await
            .is(401, "UNAUTHORIZED");
        ask(&app, "GET", "/v2/", &basic("carol", "carol"))
            .await
            .ok(200);
        // A file that cannot be used changes nothing.
        std::fs::write(&file, "carol:plain\n").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        ask(&app, "GET", "/v2/", &basic("carol", "carol"))
            .await
            .ok(200);
    }
}

#[tokio::test]
async fn wrong_passwords_get_slow_and_concern_nobody_else() {
    let app = App::configured(users, "auth.htpasswd = \"$DIR/htpasswd\"\n").await;
    let from = |last: u8, user: &str, password: &str| {
        let mut request = http::Request::get("/v2/")
            .header("authorization", basic(user, password))
            .body(Body::empty())
            .unwrap();
        let peer = Peer(([192, 0, 2, last], 4000).into());
        request.extensions_mut().insert(peer);
        app.sending(request)
    };
    from(9, "root", "root").await.ok(200);
    let guesses = (0..200).map(|i| from(1, "alice", &format!("guess{i}")));
    let guesses = futures_util::future::join_all(guesses);
    // Their passwords are not known yet, so they have to be looked at meanwhile.
    let others = futures_util::future::join_all([
        from(2, "bob", "bob"),
        from(2, "bob", "bob"),
        from(9, "root", "root"),
    ]);
    let (guesses, others) = futures_util::future::join(guesses, others).await;
    assert!(others.iter().all(|answer| answer.status == 200));
    let looked_at = guesses.iter().filter(|answer| answer.status == 401).count();
    assert!((10..=12).contains(&looked_at), "{looked_at}");
    let refused = guesses.iter().find(|answer| answer.status == 429).unwrap();
    refused.is(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "1");
    // The user waits, wherever they come from, and the address, whomever it asks for.
    from(3, "alice", "guess").await.is(429, "TOOMANYREQUESTS");
    from(1, "carol", "guess").await.is(429, "TOOMANYREQUESTS");
    from(3, "carol", "guess").await.is(401, "UNAUTHORIZED");
    // After the wait the right one is looked at, and known from then on.
    let deadline = Instant::now() + Duration::from_secs(60);
    while from(4, "alice", "alice").await.status != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A registry whose lines go to files.
fn logging(dir: &Path, settings: &str) -> Process {
    let config = dir.join("registry.toml");
    std::fs::write(&config, settings.replace("$DIR", dir.to_str().unwrap())).unwrap();
    let child = command()
        .args(["serve", "--addr", "localhost:0", "--config"])
        .arg(config)
        .arg("--data-dir")
        .arg(dir.join("data"))
        .stdout(Stdio::from(File::create(dir.join("out")).unwrap()))
        .stderr(Stdio::from(File::create(dir.join("err")).unwrap()))
        .spawn()
        .unwrap();
    let mut process = Process {
        addr: String::new(),
        child,
    };
    let line = waited(&dir.join("out"), "\n");
    let addr = line.trim().strip_prefix("listening on http://").unwrap();
    process.addr = addr.to_owned();
    process
}

/// A file's text once it has `part`.
fn waited(path: &Path, part: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(path).unwrap();
        if text.contains(part) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {part} in {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn curl(process: &Process, path: &str, args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-s", "--max-time", "20"])
        .args(args)
        .arg(format!("http://{}{path}", process.addr))
        .output()
        .unwrap();
    text(&output)
}

#[test]
fn refusals_leave_a_line_with_code_and_user() {
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        users(dir.path());
        let log = format!("log.access = true\nlog.format = \"{format}\"\n{RULES}");
        let process = logging(dir.path(), &log);
        curl(&process, "/v2/", &["-u", "alice:hunter2"]);
        curl(
            &process,
            "/v2/team/app/blobs/uploads/",
            &["-u", "bob:bob", "-X", "POST"],
        );
        curl(&process, "/auth/token", &["-u", "root:hunter2"]);
        curl(&process, "/v2/public/none/tags/list", &[]);
        let lines = waited(&dir.path().join("out"), "NAME_UNKNOWN");
        let told = waited(&dir.path().join("err"), "/auth/token");
        for (user, code, path) in [
            ("alice", "UNAUTHORIZED", "/v2/"),
            ("bob", "DENIED", "/v2/team/app/blobs/uploads/"),
            ("root", "UNAUTHORIZED", "/auth/token"),
        ] {
            for log in [&lines, &told] {
                assert!(
                    log.lines()
                        .any(|line| [user, code, path].iter().all(|part| line.contains(part))),
                    "{user} {code} {path} in {log}"
                );
            }
        }
        // Who has not tried anything yet is no news.
        assert!(!told.contains("public/none"), "{told}");
        assert!(!told.contains('\x1b') && !lines.contains('\x1b'), "{told}");
        // No secrets.
        assert!(!told.contains("hunter2") && !lines.contains("hunter2"));
    }
}

#[test]
fn variables_that_are_misspelled_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = command()
        .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .env("RREGISTRY_AUTH_HTPASWD", "/etc/htpasswd")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("did you mean RREGISTRY_AUTH_HTPASSWD?"),
        "{message}"
    );
}

#[test]
fn a_port_alone_is_on_all_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = crate::process::start(
        command()
            .args(["serve", "--addr", ":0", "--data-dir"])
            .arg(dir.path())
            .stderr(Stdio::null()),
    );
    let (_, port) = process.addr.rsplit_once(':').unwrap();
    process.addr = format!("127.0.0.1:{port}");
    let answer = process.send("GET", "/v2/", b"");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_artifact_manifest_is_called_what_it_is() {
    let app = App::new().await;
    let kind = "application/vnd.oci.artifact.manifest.v1+json";
    let manifest = format!("{{\"mediaType\":\"{kind}\",\"artifactType\":\"a/b\",\"blobs\":[]}}");
    for given in [kind, MANIFEST] {
        let answer = app
            .put_manifest("/v2/app/manifests/v1", given, manifest.as_bytes())
            .await;
        answer.is(400, "MANIFEST_INVALID");
        let message = answer.json()["errors"][0]["message"].to_string();
        assert!(message.contains("OCI artifact manifests"), "{message}");
    }
}

/// What others may do with anything in a directory.
fn open_to_others(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut open = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if meta.mode() & 0o077 != 0 {
            open.push(format!("{} {:o}", path.display(), meta.mode()));
        }
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    open
}

#[test]
fn nobody_else_can_look_into_the_data() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&data, 0o755);
    let serve = || {
        let script = "umask 0; exec \"$0\" \"$@\"";
        let program = env!("CARGO_BIN_EXE_rregistry");
        crate::process::start(
            Command::new("sh")
                .args(["-c", script, program, "serve", "--addr", "127.0.0.1:0"])
                .arg("--data-dir")
                .arg(&data),
        )
    };
    for round in 0..2 {
        let process = serve();
        let digest = crate::harness::sized(b"{}");
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        process.send("POST", &path, b"{}");
        process.send("POST", "/v2/app/blobs/uploads/", b"");
        let manifest = crate::harness::image(&digest, &[]).to_string();
        let put = process.send("PUT", "/v2/app/manifests/v1", manifest.as_bytes());
        assert!(put.starts_with("HTTP/1.1 201"), "{put}");
        // The first copy is made at once.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !data.join("registry.backup.db").exists() {
            assert!(Instant::now() < deadline, "no copy of the database");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(open_to_others(&data), Vec::<String>::new(), "round {round}");
        drop(process);
        // As an older version left it.
        open(&data, 0o755);
        for name in ["registry.db", "registry.db-wal", "registry.backup.db"] {
            if data.join(name).exists() {
                open(&data.join(name), 0o644);
            }
        }
    }
}

#[tokio::test]
async fn unfinished_uploads_are_capped_for_each_and_for_all() {
    let settings = format!(
        "limits.upload_sessions = 5\nlimits.upload_sessions_per_client = 3\n{RULES}\
         [[access]]\nrepository = \"**\"\nusers = [\"bob\", \"alice\"]\nallow = [\"push\"]\n"
    );
    let app = App::configured(users, &settings).await;
    let begin = async |user: &str| {
        let path = "/v2/app/blobs/uploads/";
        ask(&app, "POST", path, &basic(user, user)).await
    };
    let mut open = Vec::new();
    for _ in 0..3 {
        let begun = begin("alice").await.ok(202);
        open.push(begun.header("location").to_owned());
    }
    let refused = begin("alice").await;
    refused.is(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "60");
    for _ in 0..2 {
        begin("bob").await.ok(202);
    }
    begin("root").await.is(429, "TOOMANYREQUESTS");
    // A whole blob in one request needs one while it comes.
    let alice = basic("alice", "alice");
    let digest = Digest::sha256(b"x");
    let end = ask(&app, "DELETE", &open[0], &alice).await;
    end.ok(204);
    for _ in 0..3 {
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        app.request("POST", &path, &[("authorization", &alice)], "x")
            .await
            .ok(201);
        // And one that is not what it says leaves none.
        app.request("POST", &path, &[("authorization", &alice)], "y")
            .await
            .is(400, "DIGEST_INVALID");
    }
    let path = format!("{}?digest={digest}", open[1]);
    app.request("PUT", &path, &[("authorization", &alice)], "x")
        .await
        .ok(201);
    for _ in 0..2 {
        begin("alice").await.ok(202);
    }
    begin("alice").await.is(429, "TOOMANYREQUESTS");
    // A restart forgets whose they are, and not that they are.
    let app = App::again(app, &settings).await;
    let path = "/v2/app/blobs/uploads/";
    ask(&app, "POST", path, &alice)
        .await
        .is(429, "TOOMANYREQUESTS");
    // Five are there; only those that nobody needs end.
    app.registry.expire_uploads(Duration::ZERO).await.unwrap();
    ask(&app, "POST", path, &alice).await.ok(202);
}

#[tokio::test]
async fn the_defaults_cap_unfinished_uploads() {
    let app = App::configured(|_| {}, "").await;
    let mut begun = 0;
    while app.post("/v2/app/blobs/uploads/").await.status == 202 {
        begun += 1;
        assert!(begun <= 1000);
    }
    assert_eq!(begun, 1000);
}
