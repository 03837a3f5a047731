//! What stands in front of a registry: proxies, pages of others, sockets, and what it says then.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use registry::auth::htpasswd::Htpasswd;
use registry::http::{Peer, SocketPeer};

use crate::harness::{Answer, App, MANIFEST};
use crate::process::{Process, command, serve_with, text};

fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    users.add("alice", "alice").unwrap();
    users.write(&dir.join("htpasswd")).unwrap();
}

/// A request as it comes from an address; from a socket without one.
async fn from(app: &App, peer: Option<[u8; 4]>, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/v2/").header("host", "inner:5000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    match peer {
        Some(peer) => drop(request.extensions_mut().insert(Peer((peer, 4000).into()))),
        None => drop(request.extensions_mut().insert(SocketPeer)),
    }
    app.send(request).await
}

#[tokio::test]
async fn challenges_name_what_trusted_proxies_say() {
    let settings = "auth.htpasswd = \"$DIR/htpasswd\"\nauth.method = \"token\"\n\
                    http.trusted_proxies = [\"10.0.0.0/8\", \"unix\"]\n";
    let app = App::configured(users, settings).await;
    let said = [
        ("x-forwarded-proto", "HTTPS"),
        ("x-forwarded-host", "r.example"),
    ];
    let rfc = [(
        "forwarded",
        "for=203.0.113.5;Proto=https;host=\"r.example:8443\"",
    )];
    for (peer, headers, realm) in [
        (
            Some([10, 1, 2, 3]),
            &said[..],
            "https://r.example/auth/token",
        ),
        (
            Some([10, 1, 2, 3]),
            &rfc[..],
            "https://r.example:8443/auth/token",
        ),
        (None, &said[..], "https://r.example/auth/token"),
        (
            Some([192, 0, 2, 1]),
            &said[..],
            "http://inner:5000/auth/token",
        ),
        (
            Some([192, 0, 2, 1]),
            &rfc[..],
            "http://inner:5000/auth/token",
        ),
    ] {
        let answer = from(&app, peer, headers).await;
        let challenge = answer.is(401, "UNAUTHORIZED").header("www-authenticate");
        let expected = format!("Bearer realm=\"{realm}\"");
        assert!(challenge.starts_with(&expected), "{peer:?} {challenge}");
    }
}

#[tokio::test]
async fn limits_are_for_the_client_behind_the_proxy() {
    let settings = "limits.upload_sessions_per_client = 2\n\
                    http.trusted_proxies = [\"10.0.0.1\", \"2001:db8::/32\"]\n";
    let app = App::configured(|_| {}, settings).await;
    let begin = async |peer: [u8; 4], client: &str| {
        let mut request = Request::post("/v2/app/blobs/uploads/")
            .header("x-forwarded-for", client)
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Peer((peer, 4000).into()));
        app.send(request).await
    };
    let proxy = [10, 0, 0, 1];
    for _ in 0..2 {
        begin(proxy, "203.0.113.5").await.ok(202);
    }
    // Whatever it writes before the proxy does, and however many proxies there are, it is the same.
    for same in [
        "203.0.113.5",
        "1.2.3.4, 203.0.113.5",
        "203.0.113.5, 2001:db8::7",
    ] {
        begin(proxy, same).await.is(429, "TOOMANYREQUESTS");
    }
    begin(proxy, "203.0.113.6").await.ok(202);
    // Who is no proxy is who it is.
    for (client, status) in [("9.9.9.1", 202), ("9.9.9.2", 202), ("9.9.9.3", 429)] {
        assert_eq!(
            begin([10, 0, 0, 2], client).await.status,
            status,
            "{client}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_is_read_only_answers_as_docker_s_does() {
    let app = App::configured(|_| {}, "").await;
    let (digest, _) = app.image("app", "v1", "layer").await;
    let app = App::again(app_closed(app).await, "storage.read_only = true\n").await;
    for (method, path) in [
        ("POST", "/v2/app/blobs/uploads/".to_owned()),
        ("PUT", "/v2/app/manifests/v2".to_owned()),
        ("DELETE", format!("/v2/app/manifests/{digest}")),
        ("DELETE", "/v2/app/manifests/v1".to_owned()),
        ("DELETE", format!("/v2/app/blobs/{digest}")),
    ] {
        let answer = app
            .request(method, &path, &[("content-type", MANIFEST)], "{}")
            .await;
        // What docker-registry 2.8 answers, with the specification's code.
        answer.is(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), "GET, HEAD", "{method} {path}");
    }
    app.get("/v2/app/manifests/v1").await.ok(200);
    app.get("/v2/app/tags/list").await.ok(200);
    app.get("/v2/_catalog").await.ok(200);
}

/// The same, with nobody at work in its directory.
async fn app_closed(app: App) -> App {
    app.registry.close().await;
    app
}

#[tokio::test]
async fn pages_elsewhere_may_use_it_when_they_are_named() {
    let settings = "auth.htpasswd = \"$DIR/htpasswd\"\nhttp.cors_credentials = true\n\
                    http.cors_origins = [\"https://ui.example\", \"http://localhost:8080\"]\n";
    let app = App::configured(users, settings).await;
    let preflight = async |app: &App, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "authorization,accept"),
        ];
        app.request("OPTIONS", "/v2/app/manifests/v1", &headers, "")
            .await
    };
    // Before anybody logs in.
    let answer = preflight(&app, "https://ui.example").await.ok(200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://ui.example"
    );
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization,accept"
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("DELETE")
    );
    let other = preflight(&app, "https://evil.example").await;
    assert!(
        !other.headers.contains_key("access-control-allow-origin"),
        "{other:?}"
    );
    // The challenge can be read.
    let refused = app
        .request("GET", "/v2/", &[("origin", "http://localhost:8080")], "")
        .await;
    refused.is(401, "UNAUTHORIZED");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "http://localhost:8080"
    );
    let exposed = refused
        .header("access-control-expose-headers")
        .to_ascii_lowercase();
    for name in [
        "docker-content-digest",
        "www-authenticate",
        "link",
        "location",
    ] {
        assert!(exposed.contains(name), "{exposed}");
    }
    // All of them, and none.
    let open = App::configured(|_| {}, "http.cors_origins = [\"*\"]\n").await;
    let answer = preflight(&open, "https://any.example").await.ok(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let closed = App::configured(|_| {}, "").await;
    preflight(&closed, "https://ui.example")
        .await
        .is(405, "UNSUPPORTED");
}

#[tokio::test]
async fn headers_of_the_settings_go_along_with_every_answer() {
    let settings = "[http.headers]\nX-Frame-Options = \"DENY\"\nX-Content-Type-Options = \"none\"\n\
                    Cache-Control = [\"private\", \"no-transform\"]\n";
    let app = App::configured(|_| {}, settings).await;
    for path in ["/v2/", "/v2/none/tags/list", "/nowhere", "/healthz"] {
        let answer = app.get(path).await;
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(
            answer.headers.get_all("cache-control").iter().count(),
            2,
            "{path}"
        );
        assert_eq!(
            answer
                .headers
                .get_all("x-content-type-options")
                .iter()
                .count(),
            1
        );
        assert_eq!(answer.header("x-content-type-options"), "none");
    }
    let digest = app.blob("app", b"x").await;
    let answer = app.get(&format!("/v2/app/blobs/{digest}")).await;
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts nginx in front of a registry; the port it listens on. `None` where there is none.
fn nginx(dir: &Path, upstream: &str) -> Option<(Running, u16)> {
    if Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        crate::harness::skipped("nginx is not installed");
        return None;
    }
    // The port may be taken between being found and being used.
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let at = dir.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/nginx-{kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nuser root;\nerror_log stderr;\npid {at}/nginx.pid;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}\
             server {{\nlisten 127.0.0.1:{port};\nclient_max_body_size 0;\n\
             location / {{\nproxy_pass http://{upstream};\n\
             proxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Forwarded-Proto https;\n}}\n}}\n}}\n"
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut child = Command::new("nginx")
            .args([
                "-e",
                "stderr",
                "-p",
                dir.to_str().unwrap(),
                "-c",
                "nginx.conf",
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some((Running(child), port));
            }
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("nginx does not start");
}

/// A registry with these settings, its log in a file.
fn serve(dir: &Path, addr: &str, settings: &str) -> Process {
    users(dir);
    let settings = settings.replace("$DIR", dir.to_str().unwrap());
    std::fs::write(dir.join("registry.toml"), settings).unwrap();
    crate::process::start(
        command()
            .args(["serve", "--addr", addr, "--config"])
            .arg(dir.join("registry.toml"))
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stderr(Stdio::from(std::fs::File::create(dir.join("err")).unwrap())),
    )
}

fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-si", "--max-time", "60"])
        .args(args)
        .output()
        .unwrap();
    text(&output)
}

/// A file's text once it has `part`.
fn waited(path: &Path, part: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.contains(part) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {part} in {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn behind_nginx_the_client_is_who_asked_nginx() {
    for kind in ["tcp", "socket"] {
        let dir = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}/r.sock", dir.path().display());
        let addr = if kind == "tcp" {
            "127.0.0.1:0"
        } else {
            &socket
        };
        let settings = "log.level = \"info\"\nhttp.trusted_proxies = [\"127.0.0.1\", \"unix\"]\n\
                        audit.file = \"$DIR/audit.log\"\n\
                        [auth]\nmethod = \"token\"\nhtpasswd = \"$DIR/htpasswd\"\n";
        let process = serve(dir.path(), addr, settings);
        let upstream = if kind == "tcp" {
            process.addr.clone()
        } else {
            format!("{socket}:")
        };
        let Some((_nginx, port)) = nginx(dir.path(), &upstream) else {
            return;
        };
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        // Another address of this machine than nginx's own, and what a client makes up.
        let from = [
            "--interface",
            "127.0.0.2",
            "-H",
            "X-Forwarded-For: 198.51.100.9",
        ];
        let ask = |args: &[&str]| curl(&[&from[..], args].concat());
        let refused = ask(&[&url("/v2/team/app/tags/list")]);
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        let realm = format!("Bearer realm=\"https://127.0.0.1:{port}/auth/token\"");
        assert!(refused.contains(&realm), "{refused}");
        let wrong = ask(&["-u", "alice:hunter2", &url("/auth/token?service=rregistry")]);
        assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
        let log = waited(&dir.path().join("err"), "/auth/token");
        for parts in [
            [
                "INFO",
                "code=\"UNAUTHORIZED\"",
                "repository=\"team/app\"",
                "client=127.0.0.2",
            ],
            [
                "WARN",
                "user=\"alice\"",
                "path=\"/auth/token\"",
                "client=127.0.0.2",
            ],
        ] {
            let told = |line: &str| parts.iter().all(|part| line.contains(part));
            assert!(log.lines().any(told), "{parts:?} in {log}");
        }
        assert!(
            !log.contains("hunter2") && !log.contains("198.51.100.9"),
            "{log}"
        );
        // A push through nginx is in the audit log, with who did it and from where.
        let scope = "/auth/token?service=rregistry&scope=repository:team/app:pull,push";
        let token = ask(&["-u", "alice:alice", &url(scope)]);
        let token = token
            .split("\"token\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let bearer = format!("Authorization: Bearer {token}");
        let digest = oci::Digest::sha256(b"{}");
        let upload = url(&format!("/v2/team/app/blobs/uploads/?digest={digest}"));
        let pushed = ask(&["-H", &bearer, "-d", "{}", &upload]);
        assert!(pushed.contains("HTTP/1.1 201"), "{pushed}");
        let audit = waited(&dir.path().join("audit.log"), "push");
        let line: serde_json::Value = serde_json::from_str(audit.lines().next().unwrap()).unwrap();
        assert_eq!(line["user"], "alice", "{line}");
        assert_eq!(line["client"], "127.0.0.2");
        assert_eq!(line["repository"], "team/app");
        assert_eq!(line["digest"], digest.to_string());
    }
}

#[test]
fn a_socket_and_an_address_for_metrics_are_asked_for_health() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/r.sock", dir.path().display());
    let metrics = format!("unix:{}/m.sock", dir.path().display());
    let process = serve(
        dir.path(),
        &socket,
        &format!("[metrics]\naddr = \"{metrics}\"\n"),
    );
    assert_eq!(process.addr, socket);
    let ask = |name: &str, path: &str| {
        let socket = dir.path().join(name);
        curl(&[
            "--unix-socket",
            socket.to_str().unwrap(),
            &format!("http://localhost{path}"),
        ])
    };
    for (name, path, status) in [
        ("r.sock", "/v2/", "200"),
        ("r.sock", "/healthz", "200"),
        // They have their own.
        ("r.sock", "/metrics", "404"),
        ("m.sock", "/metrics", "200"),
        ("m.sock", "/readyz", "200"),
        ("m.sock", "/v2/", "404"),
    ] {
        let answer = ask(name, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{name} {path} {answer}"
        );
    }
    assert!(ask("m.sock", "/metrics").contains("rregistry_blobs 0"));
    let health = |args: &[&str]| {
        let output = command().arg("health").args(args).output().unwrap();
        (output.status.code(), text(&output))
    };
    let config = dir.path().join("registry.toml");
    let config = config.to_str().unwrap();
    assert_eq!(health(&["--config", config]), (Some(0), "healthy\n".into()));
    assert_eq!(
        health(&["--addr", &socket, "--live"]),
        (Some(0), "healthy\n".into())
    );
    drop(process);
    let (code, said) = health(&["--config", config]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with(&format!("rregistry: unhealthy: {metrics}: ")),
        "{said}"
    );
    // By TCP, and by the port alone.
    let process = serve_with(dir.path(), &[]);
    let (_, port) = process.addr.rsplit_once(':').unwrap();
    for addr in [
        process.addr.clone(),
        format!(":{port}"),
        format!("localhost:{port}"),
    ] {
        assert_eq!(
            health(&["--addr", &addr]),
            (Some(0), "healthy\n".into()),
            "{addr}"
        );
    }
    let other = health(&["--addr", "127.0.0.1:1", "--timeout", "2s"]);
    assert_eq!(other.0, Some(1), "{}", other.1);
}

#[test]
fn the_version_is_told_to_people_and_programs() {
    let version = |args: &[&str]| text(&command().arg("version").args(args).output().unwrap());
    let number = env!("CARGO_PKG_VERSION");
    assert!(version(&[]).starts_with(&format!("rregistry {number} (linux, ")));
    let json: serde_json::Value = serde_json::from_str(&version(&["--format", "json"])).unwrap();
    assert_eq!(json["version"], number);
}

#[test]
fn an_audit_log_outlives_kills_and_is_begun_anew_when_it_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let mut pushed = Vec::new();
    let mut moved = String::new();
    for round in 0..3 {
        let process = serve(
            dir.path(),
            "127.0.0.1:0",
            "audit.file = \"$DIR/audit.log\"\n",
        );
        for blob in 0..5 {
            let bytes = format!("{round} {blob}");
            let digest = oci::Digest::sha256(bytes.as_bytes());
            let path = format!("/v2/app/blobs/uploads/?digest={digest}");
            let answer = process.send("POST", &path, bytes.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
            pushed.push(digest.to_string());
        }
        if round == 1 {
            // What the database has not forgotten yet would be written to the new file as well.
            let deadline = Instant::now() + Duration::from_secs(60);
            while !process
                .send("GET", "/metrics", b"")
                .contains("audit_events_pending 0\n")
            {
                assert!(Instant::now() < deadline, "it is never written");
                std::thread::sleep(Duration::from_millis(20));
            }
            let old = dir.path().join("audit.log.1");
            std::fs::rename(&log, &old).unwrap();
            moved = std::fs::read_to_string(&old).unwrap();
        }
        // Dropped: SIGKILL, whatever was written by then.
    }
    let process = serve(
        dir.path(),
        "127.0.0.1:0",
        "audit.file = \"$DIR/audit.log\"\n",
    );
    let gone = process.send("DELETE", &format!("/v2/app/blobs/{}", pushed[0]), b"");
    assert!(gone.starts_with("HTTP/1.1 202"), "{gone}");
    let text = moved + &waited(&log, "\"action\":\"delete\"");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let told: Vec<&str> = lines
        .iter()
        .filter(|line| line["action"] == "push")
        .map(|line| line["digest"].as_str().unwrap())
        .collect();
    assert_eq!(told, pushed);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["action"], &last["digest"]),
        (&"delete".into(), &pushed[0].clone().into())
    );
    assert_eq!(last["client"], "127.0.0.1");
}
