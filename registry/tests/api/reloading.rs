//! Settings, rules, keys and certificates that change while a registry runs, without a signal.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use registry::auth::htpasswd::Htpasswd;

use crate::process::{Process, command, text};

/// A registry whose log is in a file.
fn serve(dir: &Path) -> Process {
    crate::process::start(
        command()
            .args([
                "serve",
                "--addr",
                "127.0.0.1:0",
                "--log",
                "info",
                "--config",
            ])
            .arg(dir.join("registry.toml"))
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stderr(Stdio::from(std::fs::File::create(dir.join("err")).unwrap())),
    )
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-s", "--max-time", "60"])
        .args(args)
        .output()
        .unwrap();
    text(&output)
}

fn status(process: &Process, user: &str, method: &str, path: &str) -> String {
    let url = format!("http://{}{path}", process.addr);
    let user = format!("{user}:{user}");
    curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-u",
        &user,
        "-X",
        method,
        &url,
    ])
}

#[test]
fn rules_and_read_only_count_when_their_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut users = Htpasswd::default();
    for user in ["alice", "bob"] {
        users.add(user, user).unwrap();
    }
    users.write(&dir.path().join("htpasswd")).unwrap();
    let file = dir.path().join("registry.toml");
    // As a Kubernetes ConfigMap has it: links to a directory that is swapped.
    let version = |name: &str, text: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let head = format!(
            "reload.interval = \"50ms\"\nauth.htpasswd = \"{}/htpasswd\"\n",
            dir.path().display()
        );
        std::fs::write(folder.join("registry.toml"), head + text).unwrap();
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        std::fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    let alice = "[groups]\ndevs = [\"alice\"]\n\
                 [[access]]\nrepository = \"**\"\ngroups = [\"devs\"]\nallow = [\"admin\"]\n";
    version("v1", alice);
    symlink("..data/registry.toml", &file).unwrap();
    let process = serve(dir.path());
    let log = || std::fs::read_to_string(dir.path().join("err")).unwrap();
    let upload = "/v2/app/blobs/uploads/";
    assert_eq!(status(&process, "alice", "POST", upload), "202");
    assert_eq!(status(&process, "bob", "POST", upload), "403");
    // Another one is in the group, and the first is out.
    version("v2", &alice.replace("alice", "bob"));
    until("bob may push", || {
        status(&process, "bob", "POST", upload) == "202"
    });
    assert_eq!(status(&process, "alice", "POST", upload), "403");
    assert!(log().contains("settings read again"), "{}", log());
    // What cannot be used, or would open more than it closes, changes nothing and is told once.
    for (name, text, told) in [
        ("v3", "[[acess]]\n".to_owned(), "did you mean `access`?"),
        (
            "v4",
            String::new(),
            "without any rule whoever is logged in may do everything",
        ),
    ] {
        version(name, &text);
        until(told, || log().contains(told));
        assert_eq!(status(&process, "bob", "POST", upload), "202");
        assert_eq!(status(&process, "alice", "POST", upload), "403");
        assert_eq!(log().matches(told).count(), 1, "{}", log());
    }
    // What needs a restart is named; what does not counts.
    version(
        "v5",
        &format!("storage.read_only = true\nlimits.uploads = 7\n{alice}"),
    );
    until("read-only", || {
        status(&process, "alice", "POST", upload) == "405"
    });
    until("told", || {
        log().contains("settings were changed that need a restart")
    });
    assert!(log().contains("limits.uploads"), "{}", log());
    version("v6", alice);
    until("writable", || {
        status(&process, "alice", "POST", upload) == "202"
    });
}

#[test]
fn certificates_and_the_key_for_tokens_count_when_their_files_change() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let certificate = |name: &str| {
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args([
                "-keyout",
                &at(&format!("{name}.key")),
                "-out",
                &at(&format!("{name}.pem")),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    certificate("tls");
    certificate("second");
    let mut users = Htpasswd::default();
    users.add("alice", "alice").unwrap();
    users.write(&dir.path().join("htpasswd")).unwrap();
    let settings = format!(
        "reload.interval = \"50ms\"\n[tls]\ncert = {:?}\nkey = {:?}\n\
         [auth]\nmethod = \"token\"\nhtpasswd = {:?}\n",
        at("tls.pem"),
        at("tls.key"),
        at("htpasswd"),
    );
    std::fs::write(at("registry.toml"), settings).unwrap();
    let process = serve(dir.path());
    let log = || std::fs::read_to_string(dir.path().join("err")).unwrap();
    let get = |ca: &str, args: &[&str], path: &str| {
        let url = format!("{}{path}", process.addr);
        curl(&[&["-w", " %{http_code}", "--cacert", &at(ca)], args, &[&url]].concat())
    };
    let token = get(
        "tls.pem",
        &["-u", "alice:alice"],
        "/auth/token?service=rregistry",
    );
    let token = token
        .split("\"token\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(get("tls.pem", &["-H", &bearer], "/v2/"), "{} 200");
    // A certificate without its key is of no use, and says why.
    std::fs::copy(at("second.pem"), at("tls.pem")).unwrap();
    until("told of the pair", || {
        log().contains("is not the key of the certificate in")
    });
    std::fs::copy(at("second.key"), at("tls.key")).unwrap();
    until("the second certificate", || {
        get("second.pem", &[], "/healthz") == "ok\n 200"
    });
    // Tokens of another key are none.
    std::fs::remove_file(dir.path().join("data/token.key")).unwrap();
    until("another key", || {
        get("second.pem", &["-H", &bearer], "/v2/").ends_with(" 401")
    });
}

#[test]
fn a_wrong_key_or_certificate_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for name in ["one", "two"] {
        let (key, cert) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
        let files = ["-keyout", &key, "-out", &cert];
        let fixed = [
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=x",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ];
        openssl(&[&fixed[..], &new_key, &files].concat());
    }
    // As many how-tos have it: a request that is signed without extensions.
    let request = [
        "req",
        "-nodes",
        "-subj",
        "/CN=client",
        "-keyout",
        &at("v1.key"),
        "-out",
        &at("v1.csr"),
    ];
    openssl(&[&request[..], &new_key].concat());
    let ca = [
        "-CA",
        &at("one.pem"),
        "-CAkey",
        &at("one.key"),
        "-CAcreateserial",
    ];
    let sign = ["x509", "-req", "-in", &at("v1.csr"), "-out", &at("v1.pem")];
    openssl(&[&sign[..], &ca].concat());
    let (one, locked, pkcs8) = (at("one.key"), at("locked.key"), at("locked.p8"));
    let lock = ["-in", &one, "-aes128", "-passout", "pass:x", "-out"];
    openssl(&[&["ec"][..], &lock, &[&locked]].concat());
    openssl(&[&["pkey"][..], &lock, &[&pkcs8]].concat());
    let start = |cert: &str, key: &str, more: &str| {
        let settings = format!("[tls]\ncert = {:?}\nkey = {:?}\n{more}", at(cert), at(key));
        std::fs::write(at("registry.toml"), settings).unwrap();
    };
    for (cert, key, message) in [
        (
            "one.pem",
            "two.key",
            "two.key is not the key of the certificate in ",
        ),
        ("one.pem", "two.pem", "two.pem holds no private key in PEM"),
        ("one.pem", "locked.key", "it is encrypted; `openssl pkey"),
        ("one.pem", "locked.p8", "it is encrypted; `openssl pkey"),
        ("v1.pem", "v1.key", "X.509 version 1"),
    ] {
        start(cert, key, "");
        let output = command()
            .args([
                "serve",
                "--addr",
                "127.0.0.1:0",
                "--config",
                &at("registry.toml"),
            ])
            .args(["--data-dir", &at("data")])
            .output()
            .unwrap();
        let said = text(&output);
        assert!(
            !output.status.success() && said.contains(message),
            "{cert} {key}: {said}"
        );
    }
    // And a client's.
    start(
        "one.pem",
        "one.key",
        &format!("client_ca = {:?}\n", at("one.pem")),
    );
    let process = serve(dir.path());
    let url = format!("{}/v2/", process.addr);
    let answer = curl(&[
        "--cacert",
        &at("one.pem"),
        "--cert",
        &at("v1.pem"),
        "--key",
        &at("v1.key"),
        &url,
    ]);
    assert!(!answer.contains("{}"), "{answer}");
    until("told of the client's", || {
        let log = std::fs::read_to_string(dir.path().join("err")).unwrap();
        log.contains("X.509 version 1") && log.contains("client=127.0.0.1")
    });
}

#[test]
fn rules_for_tags_count_when_their_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    let settings = |text: &str| {
        // Never read in halves.
        let unready = dir.path().join("unready");
        std::fs::write(&unready, format!("reload.interval = \"50ms\"\n{text}")).unwrap();
        std::fs::rename(&unready, &file).unwrap();
    };
    settings("");
    let process = serve(dir.path());
    let log = || std::fs::read_to_string(dir.path().join("err")).unwrap();
    let push = |tag: &str, content: &str| {
        let digest = crate::harness::sized(content.as_bytes());
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        process.send("POST", &path, content.as_bytes());
        let text = crate::harness::image(&digest, &[]).to_string();
        let path = format!("/v2/app/manifests/{tag}");
        let answer = process.send("PUT", &path, text.as_bytes());
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (push("v1", "a"), push("v1", "b")),
        ("201".into(), "201".into())
    );
    let immutable = "[[immutable]]\nrepository = \"app\"\ntags = \"v*\"\n";
    settings(immutable);
    let mut round = 0;
    until_mut("v1 does not move", || {
        round += 1;
        push("v1", &format!("c{round}")) != "201"
    });
    assert_eq!(push("latest", "d"), "201");
    // Half a file lets no tag go.
    settings("");
    let told = "no tag would be immutable any more";
    until(told, || log().contains(told));
    assert_ne!(push("v1", "e"), "201");
    // What goes by rule, too.
    let keep = "[[retention]]\nrepository = \"**\"\nkeep_newest = 1\n";
    let other = immutable.replace("v*", "w*");
    settings(&format!("{other}{keep}"));
    until("the rule counts", || {
        let output = command()
            .args(["gc", "--dry-run", "--format", "json", "--data-dir"])
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        text(&output).contains("app:v1")
    });
}

#[track_caller]
fn until_mut(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
