//! As a user I look at what a registry holds with a browser.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Cmd, Registry, need, program, repository};

/// Rules for three kinds of users, and one that takes tags away.
const SETTINGS: &str = r#"
auth.htpasswd = "$USERS"
[[access]]
repository = "**"
users = ["root"]
allow = ["admin"]
[[retention]]
repository = "ci/**"
keep_newest = 5
[[upstream]]
repository = "mirrored.example/**"
url = "http://127.0.0.1:1"
[[replicate]]
name = "standby"
direction = "push"
url = "http://127.0.0.1:1"
"#;

/// The modules that drive a browser, got once.
fn modules() -> PathBuf {
    let dir = repository().join("target/test-web");
    std::fs::create_dir_all(&dir).expect("folder");
    // Several runs may want them at once.
    let lock = File::create(dir.join("lock")).expect("lock");
    lock.lock().expect("lock");
    let wanted = repository().join("tests/web");
    let same = |name: &str| {
        let read = |dir: &Path| std::fs::read(dir.join(name)).ok();
        read(&dir).is_some() && read(&dir) == read(&wanted)
    };
    if !(same("package-lock.json") && dir.join("complete").exists()) {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(wanted.join(name), dir.join(name)).expect("copy");
        }
        Cmd::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&dir)
            .limit(Duration::from_secs(600))
            .ok();
        File::create(dir.join("complete")).expect("mark");
    }
    dir
}

#[test]
fn the_web_page_works_in_a_browser() {
    let chromium = need!(program("chromium"));
    let node = need!(program("node"));
    need!(program("npm"));
    let registry = Registry::configured(SETTINGS, &["root"]);
    let mut browser = Cmd::new(node)
        .arg(repository().join("tests/web/page.mjs"))
        .arg(format!("http://{}", registry.address()))
        .arg(chromium)
        .arg(modules())
        .limit(Duration::from_secs(900));
    if let Some(dir) = std::env::var_os("WEB_SCREENSHOTS") {
        browser = browser.arg(dir);
    }
    browser.ok().says("all is well");
}

/// An OpenID provider that ends with its story.
struct Provider {
    running: Child,
    port: u16,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

impl Provider {
    fn start(node: &Path) -> Self {
        let folder = repository().join("target/test-oidc");
        Cmd::new(repository().join("scripts/test-npm.sh"))
            .arg("oidc")
            .arg(&folder)
            .limit(Duration::from_secs(600))
            .ok();
        // The port may be taken between being found and being used.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = free.local_addr().expect("its address").port();
            drop(free);
            let mut running = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "--"])
                .arg(node)
                .args(["provider.mjs", &port.to_string()])
                .current_dir(&folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("node");
            let deadline = Instant::now() + Duration::from_secs(60);
            while running.try_wait().expect("its state").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { running, port };
                }
                assert!(Instant::now() < deadline, "the provider does not listen");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("the provider does not start");
    }
}

/// I sign in where my company knows me, make a token, and give it to docker.
#[test]
fn people_sign_in_at_a_provider_and_docker_has_their_token() {
    let chromium = need!(program("chromium"));
    let node = need!(program("node"));
    need!(program("npm"));
    let docker = need!(program("docker"));
    let provider = Provider::start(&node);
    let settings = format!(
        "auth.method = \"token\"\n[[oidc]]\nname = \"idp\"\ntitle = \"Example\"\n\
         issuer = \"http://127.0.0.1:{}\"\nclient_id = \"registry.example\"\n\
         claims = {{ repository = \"myorg/*\" }}\ngroups_claim = \"groups\"\n\
         [[access]]\nrepository = \"**\"\ngroups = [\"runners\"]\nallow = [\"pull\"]\n",
        provider.port
    );
    let registry = Registry::configured(&settings, &[]);
    let said = Cmd::new(&node)
        .arg(repository().join("tests/web/oidc.mjs"))
        .arg(format!("http://{}", registry.address()))
        .arg(chromium)
        .arg(modules())
        .limit(Duration::from_secs(900))
        .ok();
    let token = said.out().lines().last().expect("a token").to_owned();
    let config = tempfile::tempdir().expect("folder");
    let login = |password: &str| {
        Cmd::new(&docker)
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("DOCKER_CONFIG", config.path())
            .args([
                "login",
                "-u",
                "idp:dev",
                "--password-stdin",
                registry.address(),
            ])
            .stdin(format!("{password}\n"))
    };
    login(&token).ok().says("Login Succeeded");
    login(&format!("{token}x")).fails(1);
}
