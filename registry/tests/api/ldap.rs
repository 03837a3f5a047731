//! Users of a directory: Debian's slapd, with groups, certificates, and names that are filters.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use registry::auth::htpasswd::Htpasswd;

use crate::harness::{Answer, App};
use crate::process::text;
use crate::web::browser::{Browser, text as shown};

/// A directory that ends with the test.
struct Slapd {
    child: Child,
    port: u16,
    tls_port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ENTRIES: &str = r"dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=reader,dc=example,dc=com
objectClass: person
cn: reader
sn: Reader
userPassword: readers secret

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
userPassword: alice's password

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
userPassword: bob

dn: cn=w(ei)r*d\5c,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: w(ei)r*d\
cn: w(ei)r*d\
sn: W
userPassword: weird

dn: cn=twin one,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: twin one
sn: T
userPassword: twin

dn: cn=twin two,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: twin two
sn: T
userPassword: twin

dn: cn=devs,dc=example,dc=com
objectClass: groupOfNames
cn: devs
member: uid=alice,ou=people,dc=example,dc=com
member: cn=w(ei)r*d\5c,ou=people,dc=example,dc=com
";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Slapd {
    /// `None` where there is no slapd.
    fn start() -> Option<Self> {
        let slapd = ["/usr/sbin/slapd", "/usr/lib/openldap/slapd"].into_iter();
        let Some(slapd) = slapd.map(Path::new).find(|path| path.exists()) else {
            crate::harness::skipped("slapd is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=directory",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args([
                "-keyout",
                &format!("{at}/key.pem"),
                "-out",
                &format!("{at}/cert.pem"),
            ]));
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\n\
             moduleload back_mdb\npidfile {at}/slapd.pid\nTLSCertificateFile {at}/cert.pem\n\
             TLSCertificateKeyFile {at}/key.pem\ndatabase mdb\nsuffix \"dc=example,dc=com\"\n\
             rootdn \"cn=admin,dc=example,dc=com\"\nrootpw admin\ndirectory {at}/db\nmaxsize 10485760\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"cn=reader,dc=example,dc=com\" read by anonymous auth by * none\n"
        );
        std::fs::write(dir.path().join("slapd.conf"), config).unwrap();
        std::fs::write(dir.path().join("entries.ldif"), ENTRIES).unwrap();
        run(Command::new(slapd)
            .args(["-T", "add", "-f", &format!("{at}/slapd.conf")])
            .args(["-l", &format!("{at}/entries.ldif")]));
        // The ports may be taken between being found and being used.
        for _ in 0..10 {
            let (port, tls_port) = (free_port(), free_port());
            let urls = format!("ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/");
            let mut child = Command::new(slapd)
                .args(["-d", "0", "-f", &format!("{at}/slapd.conf"), "-h", &urls])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self {
                        child,
                        port,
                        tls_port,
                        dir,
                    });
                }
                assert!(Instant::now() < deadline, "slapd does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("slapd does not start");
    }

    /// The settings of a registry that asks it at `url`.
    fn settings(&self, url: &str, auth: &str, more: &str) -> String {
        format!(
            "[auth]\nhtpasswd = \"$DIR/htpasswd\"\n{auth}\n[auth.ldap]\n{more}\nurl = \"{url}\"\n\
             ca = \"{at}/cert.pem\"\nbind_dn = \"cn=reader,dc=example,dc=com\"\n\
             bind_password_file = \"$DIR/secret\"\nbase_dn = \"ou=people,dc=example,dc=com\"\n\
             group_base_dn = \"dc=example,dc=com\"\n\
             group_filter = \"(&(objectClass=groupOfNames)(member={{dn}}))\"\n\
             [[access]]\nrepository = \"team/**\"\ngroups = [\"devs\"]\nallow = [\"pull\", \"push\"]\n\
             [[access]]\nrepository = \"bobs/**\"\nusers = [\"bob\"]\nallow = [\"push\"]\n",
            at = self.dir.path().display(),
        )
    }
}

fn prepare(dir: &Path) {
    let mut users = Htpasswd::default();
    // Also in the directory, with another password.
    users.add("bob", "local bob").unwrap();
    users.write(&dir.join("htpasswd")).unwrap();
    std::fs::write(dir.join("secret"), "readers secret\n").unwrap();
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

async fn ask(app: &App, method: &str, path: &str, auth: &str) -> Answer {
    app.request(method, path, &[("authorization", auth)], "")
        .await
}

#[tokio::test]
async fn users_of_a_directory_log_in_with_their_groups() {
    let Some(slapd) = Slapd::start() else { return };
    let plain = format!("ldap://127.0.0.1:{}", slapd.port);
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    for (url, more) in [(&tls, ""), (&plain, "start_tls = true"), (&plain, "")] {
        let app = App::configured(prepare, &slapd.settings(url, "", more)).await;
        let upload = "/v2/team/app/blobs/uploads/";
        let alice = basic("alice", "alice's password");
        ask(&app, "POST", upload, &alice).await.ok(202);
        ask(&app, "POST", "/v2/bobs/app/blobs/uploads/", &alice)
            .await
            .is(403, "DENIED");
        let weird = basic("w(ei)r*d\\", "weird");
        ask(&app, "POST", upload, &weird).await.ok(202);
        for (user, password) in [
            ("alice", "wrong"),
            // Nobody's bind succeeds.
            ("alice", ""),
            ("nobody", "alice's password"),
            // Names that would be filters.
            ("*", "alice's password"),
            ("al*", "alice's password"),
            ("alice)(uid=*", "alice's password"),
            ("*)(|(uid=alice", "alice's password"),
            // Which of the two it is cannot be told.
            ("twin", "twin"),
            // The file knows bob.
            ("bob", "bob"),
        ] {
            let answer = ask(&app, "GET", "/v2/", &basic(user, password)).await;
            assert!(
                [401, 429].contains(&answer.status.as_u16()),
                "{user} {answer:?}"
            );
        }
        ask(
            &app,
            "POST",
            "/v2/bobs/app/blobs/uploads/",
            &basic("bob", "local bob"),
        )
        .await
        .ok(202);
    }
}

#[tokio::test]
async fn groups_of_a_directory_go_into_tokens() {
    let Some(slapd) = Slapd::start() else { return };
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    let settings = slapd.settings(&tls, "method = \"token\"", "");
    let app = App::configured(prepare, &settings).await;
    let path = "/auth/token?service=rregistry&scope=repository:team/app:pull,push,delete";
    let answer = ask(&app, "GET", path, &basic("alice", "alice's password"))
        .await
        .ok(200);
    assert_eq!(answer.json()["scope"], "repository:team/app:pull,push");
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    let upload = "/v2/team/app/blobs/uploads/";
    ask(&app, "POST", upload, &bearer).await.ok(202);
    // A directory that does not answer is not a wrong password; who is known stays so for now.
    let down = app;
    drop(slapd);
    ask(&down, "GET", path, &basic("alice", "alice's password"))
        .await
        .ok(200);
    let other = ask(&down, "GET", path, &basic("alice", "other")).await;
    other.is(503, "UNAVAILABLE");
    assert_eq!(other.header("retry-after"), "10");
    ask(&down, "POST", upload, &bearer).await.ok(202);
    // Where no directory is asked any more, its users are none.
    let without = "[auth]\nhtpasswd = \"$DIR/htpasswd\"\nmethod = \"token\"\n";
    let without = App::again(closed(down).await, without).await;
    ask(&without, "POST", upload, &bearer)
        .await
        .is(401, "UNAUTHORIZED");
}

/// A personal token of a user that the directory has: with its groups, and gone with its entry.
#[tokio::test]
async fn personal_tokens_are_for_users_of_a_directory_too() {
    let Some(slapd) = Slapd::start() else { return };
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    let app = App::configured(prepare, &slapd.settings(&tls, "", "cache = \"0s\"")).await;
    let token = |user: &str| {
        let output = crate::process::command()
            .args(["user", "token", user, "--config"])
            .arg(app.path().join("registry.toml"))
            .arg("--data-dir")
            .arg(app.path())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    assert!(!token("nobody").0);
    let (made, token) = token("alice");
    assert!(made, "{token}");
    let auth = basic("alice", &token);
    let upload = "/v2/team/app/blobs/uploads/";
    // The file of tokens is looked at some times a second.
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask(&app, "POST", upload, &auth).await.status != 202 {
        assert!(Instant::now() < deadline, "the token is never taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask(&app, "POST", "/v2/other/blobs/uploads/", &auth)
        .await
        .is(403, "DENIED");
    run(Command::new("ldapdelete")
        .args(["-x", "-H", &format!("ldap://127.0.0.1:{}", slapd.port)])
        .args(["-D", "cn=admin,dc=example,dc=com", "-w", "admin"])
        .arg("uid=alice,ou=people,dc=example,dc=com"));
    ask(&app, "POST", upload, &auth)
        .await
        .is(401, "UNAUTHORIZED");
}

/// The page is for users of a directory as for those of the file, for as long as they have an
/// entry.
#[tokio::test]
async fn users_of_a_directory_log_in_on_the_page() {
    let Some(slapd) = Slapd::start() else { return };
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    let settings = slapd.settings(&tls, "", "cache = \"0s\"");
    // Without a file of passwords too.
    let alone = settings.replace("htpasswd = \"$DIR/htpasswd\"\n", "");
    for (settings, last) in [(&settings, false), (&alone, true)] {
        let app = App::configured(prepare, settings).await;
        let browser = Browser::new(&app);
        let fields = "user=alice&password=wrong";
        let wrong = browser.send("/ui/login", "/ui/login", fields).await.ok(200);
        assert!(shown(&wrong).contains("User or password is wrong."));
        let fields = "user=alice&password=alice%27s+password";
        // A wrong password costs a wait.
        let deadline = Instant::now() + Duration::from_secs(60);
        while browser.send("/ui/login", "/ui/login", fields).await.status != 303 {
            assert!(Instant::now() < deadline, "alice is never let in");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let page = browser.page("/ui/tokens").await;
        assert!(page.contains("alice"), "{page}");
        // By a group of hers.
        browser.get("/ui/tags/team/app").await.ok(404);
        browser.get("/ui/tags/bobs/app").await.ok(403);
        if last {
            run(Command::new("ldapdelete")
                .args(["-x", "-H", &format!("ldap://127.0.0.1:{}", slapd.port)])
                .args(["-D", "cn=admin,dc=example,dc=com", "-w", "admin"])
                .arg("uid=alice,ou=people,dc=example,dc=com"));
            browser.get("/ui/tokens").await.ok(303);
        }
    }
}

/// The same, with nobody at work in its directory.
async fn closed(app: App) -> App {
    app.registry.close().await;
    app
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_not_talked_to() {
    let Some(slapd) = Slapd::start() else { return };
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls_port);
    let other = slapd.dir.path().join("other.pem");
    run(Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
        ])
        .args(["-keyout", "/dev/null", "-out", other.to_str().unwrap()]));
    let settings = slapd.settings(&tls, "", "");
    let settings = settings.replace("/cert.pem", "/other.pem");
    let app = App::configured(prepare, &settings).await;
    ask(&app, "GET", "/v2/", &basic("alice", "alice's password"))
        .await
        .is(503, "UNAVAILABLE");
}
