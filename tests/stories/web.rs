//! As a user I look at what a registry holds with a browser.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
