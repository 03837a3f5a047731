//! Personal tokens: made on the command line, used by docker, gone when they are revoked.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use registry::auth::htpasswd::Htpasswd;

use crate::process::{Process, command, start, text};

fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    for user in ["alice", "bob"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.join("htpasswd")).unwrap();
}

/// A registry that logs in by `method`, and its settings' file.
fn serve(dir: &Path, method: &str) -> (Process, String) {
    users(dir);
    let config = dir.join("registry.toml").to_str().unwrap().to_owned();
    let (at, data) = (dir.display(), dir.join("data"));
    let settings = format!(
        "data_dir = {data:?}\n[auth]\nmethod = \"{method}\"\nhtpasswd = \"{at}/htpasswd\"\n"
    );
    std::fs::write(&config, settings).unwrap();
    let process = start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config", &config])
            .stderr(Stdio::null()),
    );
    (process, config)
}

fn user(config: &str, args: &[&str]) -> (bool, String, String) {
    let output = command()
        .arg("user")
        .args(args)
        .args(["--config", config])
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (
        output.status.success(),
        said(&output.stdout),
        said(&output.stderr),
    )
}

/// The status of what a user with a password is answered, once it is as expected.
fn becomes(process: &Process, user: &str, password: &str, path: &str, expected: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--max-time",
                "60",
            ])
            .args(["-u", &format!("{user}:{password}")])
            .arg(format!("http://{}{path}", process.addr))
            .output()
            .unwrap();
        if text(&output) == expected.to_string() {
            return;
        }
        let said = text(&output);
        assert!(
            Instant::now() < deadline,
            "{user} is answered {said} at {path}, not {expected}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tokens_stand_for_a_user_until_they_are_revoked() {
    for (method, path) in [
        ("basic", "/v2/"),
        ("token", "/auth/token?service=rregistry"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (process, config) = serve(dir.path(), method);
        let made = |args: &[&str]| {
            let (ok, token, said) = user(&config, args);
            assert!(ok, "{said}");
            assert!(token.starts_with("rrt_"), "{token}");
            token
        };
        let ci = made(&["token", "alice", "--note", "the CI", "--expires", "90d"]);
        let other = made(&["token", "alice", "--expires", "never"]);
        let short = made(&["token", "bob", "--expires", "1s"]);
        becomes(&process, "alice", &ci, path, 200);
        becomes(&process, "alice", &other, path, 200);
        // For its own user only.
        becomes(&process, "bob", &ci, path, 401);
        becomes(&process, "bob", &short, path, 401);
        let id = &ci["rrt_".len()..].split('_').next().unwrap();
        let (_, list, _) = user(&config, &["tokens", "alice"]);
        let line = list.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.contains("alice") && line.ends_with("the CI"), "{list}");
        assert!(!list.contains("bob") && list.contains("never"), "{list}");
        let (ok, said, _) = user(&config, &["revoke", id]);
        assert_eq!((ok, said), (true, format!("revoked {id} of alice")));
        becomes(&process, "alice", &ci, path, 401);
        becomes(&process, "alice", &other, path, 200);
        // Who is removed is out, whatever tokens there are.
        let mut known = Htpasswd::read(&dir.path().join("htpasswd")).unwrap();
        known.remove("alice").unwrap();
        known.write(&dir.path().join("htpasswd")).unwrap();
        becomes(&process, "alice", &other, path, 401);
        for (args, message) in [
            (
                &["token", "eve"][..],
                "there is no user eve in auth.htpasswd, or in auth.ldap",
            ),
            (
                &["token", "bob", "--expires", "soon"],
                "--expires soon: a number and a unit",
            ),
            (&["token", "bob", "--note", "a\nb"], "no control characters"),
            (&["revoke", "abc"], "there is no personal token abc"),
        ] {
            let (ok, _, said) = user(&config, args);
            assert!(!ok && said.contains(message), "{args:?}: {said}");
        }
        // Others cannot read what is kept.
        let meta = std::fs::metadata(dir.path().join("data/tokens.json")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// A token that was made for a personal one ends with it.
#[test]
fn what_was_got_for_a_token_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (process, config) = serve(dir.path(), "token");
    let (_, token, _) = user(&config, &["token", "alice"]);
    let curl = |args: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "--max-time", "60"])
            .args(args)
            .output()
            .unwrap();
        text(&output)
    };
    let url = |path: &str| format!("http://{}{path}", process.addr);
    let form = format!(
        "grant_type=password&service=rregistry&client_id=docker&access_type=offline\
         &username=alice&password={token}"
    );
    let json = curl(&["-d", &form, &url("/auth/token")]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    // What it is refreshed by is the personal token itself.
    assert!(json["refresh_token"].is_null(), "{json}");
    let bearer = format!(
        "Authorization: Bearer {}",
        json["access_token"].as_str().unwrap()
    );
    let status = || {
        curl(&[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            &bearer,
            &url("/v2/"),
        ])
    };
    assert_eq!(status(), "200");
    let id = token["rrt_".len()..].split('_').next().unwrap();
    assert!(user(&config, &["revoke", id]).0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while status() != "401" {
        assert!(Instant::now() < deadline, "it is never refused");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As people use it; neither needs a daemon for that.
#[test]
fn docker_and_skopeo_log_in_with_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let (process, config) = serve(dir.path(), "token");
    let (_, token, _) = user(&config, &["token", "alice"]);
    let folder = dir.path().to_str().unwrap();
    for tool in ["docker", "skopeo"] {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("skipped: {tool} is not installed");
            continue;
        }
        let login = |password: &str| {
            let mut command = Command::new(tool);
            match tool {
                "docker" => command.args(["login"]),
                _ => command.args(["login", "--tls-verify=false"]),
            };
            let output = command
                .env("DOCKER_HOST", format!("unix://{folder}/none.sock"))
                .env("DOCKER_CONFIG", folder)
                .env("REGISTRY_AUTH_FILE", format!("{folder}/{tool}.json"))
                .args(["-u", "alice", "-p", password, &process.addr])
                .output()
                .unwrap();
            (output.status.success(), text(&output))
        };
        let (wrong, _) = login(&format!("{token}x"));
        assert!(!wrong, "{tool}");
        let (ok, said) = login(&token);
        assert!(ok && said.contains("Login Succeeded"), "{tool}: {said}");
    }
}
