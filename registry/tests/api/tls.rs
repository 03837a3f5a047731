//! TLS, as clients of the program see it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process::{Process, command, text};

/// TLS as a client sees it, with a certificate that is replaced while the registry runs.
#[test]
fn tls_with_certificates_that_change_and_clients_that_have_one() {
    for tool in ["openssl", "curl"] {
        if Command::new(tool).arg("version").output().is_err() {
            println!("skipped: {tool} is not installed");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let certificate = |name: &str, extra: &[&str]| {
        let (key, cert) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
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
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                &key,
                "-out",
                &cert,
            ])
            .args(extra)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        (cert, key)
    };
    let (cert, key) = certificate("first", &[]);
    let (ca, ca_key) = certificate("ca", &[]);
    let signed = [
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let (client_cert, client_key) = certificate("client", &signed);
    let settings = format!(
        "[tls]\ncert = {cert:?}\nkey = {key:?}\nclient_ca = {ca:?}\n[log]\nlevel = \"info\"\n"
    );
    std::fs::write(at("registry.toml"), settings).unwrap();
    let mut child = command()
        .args([
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--config",
            &at("registry.toml"),
        ])
        .args(["--data-dir", &at("data")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let process = Process {
        addr: line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned(),
        child,
    };
    let curl = |ca: &str, extra: &[&str]| {
        Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--cacert",
                ca,
            ])
            .args(extra)
            .arg(format!("{}/v2/", process.addr))
            .output()
            .unwrap()
    };
    let mine = ["--cert", client_cert.as_str(), "--key", client_key.as_str()];
    assert!(process.addr.starts_with("https://"));
    assert_eq!(text(&curl(&cert, &mine)), "{}");
    assert_eq!(
        text(&curl(&cert, &[&mine[..], &["--http1.1"]].concat())),
        "{}"
    );
    // Without a certificate there is nothing but what load balancers ask.
    let to = |path: &str, extra: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "--max-time", "20", "--cacert", &cert])
            .args(["-w", " %{http_code}"])
            .args(extra)
            .arg(format!("{}{path}", process.addr))
            .output()
            .unwrap();
        text(&output)
    };
    for path in [
        "/v2/",
        "/v2/_catalog",
        "/metrics",
        "/auth/token",
        "/healthz/",
    ] {
        let answer = to(path, &[]);
        assert!(answer.contains("client certificate"), "{path}: {answer}");
        assert!(answer.ends_with(" 403"), "{path}: {answer}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(to(path, &[]), "ok\n 200");
    }
    // One of another signer is refused before that.
    let (strange_cert, strange_key) = certificate("strange", &[]);
    let strange = ["--cert", strange_cert.as_str(), "--key", &strange_key];
    assert!(!curl(&cert, &strange).status.success());
    // Plain http gets an answer that can be read.
    let plain = process.addr.replace("https:", "http:");
    let output = Command::new("curl")
        .args(["-s", "--max-time", "20", "-w", " %{http_code}", "-d"])
        .arg("x".repeat(10_000))
        .arg(format!("{plain}/v2/"))
        .output()
        .unwrap();
    assert_eq!(
        text(&output),
        "Client sent an HTTP request to an HTTPS server.\n 400"
    );

    let (new_cert, new_key) = certificate("second", &[]);
    std::fs::rename(&new_cert, &cert).unwrap();
    std::fs::rename(&new_key, &key).unwrap();
    let hangup = Command::new("kill")
        .args(["-HUP", &process.child.id().to_string()])
        .status()
        .unwrap();
    assert!(hangup.success());
    // It says so when it is done.
    let mut said = String::new();
    while !said.contains("certificates read again") {
        assert!(log.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert_eq!(text(&curl(&cert, &mine)), "{}");
}
