//! A PostgreSQL of this process, for tests that are to run on one: all of them with
//! `RREGISTRY_TEST_DATABASE=postgres`. Each directory has a database of its own in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use oci::Digest;
use registry::meta::{Place, Server};
use sqlx::{Connection, PgConnection};

use crate::harness::skipped;

/// Who owns the databases, and is no superuser.
pub const USER: &str = "rregistry";
pub const PASSWORD: &str = "sec/ret@1";
/// The same in a URL.
const PASSWORD_IN_URL: &str = "sec%2Fret%401";

/// Ends the server and takes its folder away once nobody holds the other end of standard input:
/// also when this process is killed.
const KEEPER: &str = r#"
trap '' INT TERM HUP
exec 3<&0
"$@" >>"$FOLDER/log" 2>&1 </dev/null 3<&- &
server=$!
{ while read -r line; do :; done; kill -QUIT $server; } <&3 2>/dev/null &
watcher=$!
exec 3<&-
wait $server
kill $watcher 2>/dev/null
[ -e "$FOLDER/kept" ] || rm -rf "$FOLDER"
"#;

/// Whether all tests are to run on it.
pub fn is_asked() -> bool {
    std::env::var("RREGISTRY_TEST_DATABASE").is_ok_and(|asked| asked == "postgres")
}

/// Whether there is a PostgreSQL to be started; says so when there is none.
pub fn is_there() -> bool {
    let there = program("postgres").is_absolute();
    if !there {
        skipped("PostgreSQL is not installed");
    }
    there
}

/// A server that ends with this value, or with the process at the latest.
pub struct Cluster {
    folder: PathBuf,
    pub port: u16,
    arguments: Vec<String>,
    running: Mutex<Option<(Child, ChildStdin)>>,
    /// The database of each directory.
    databases: Mutex<BTreeMap<PathBuf, String>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Cluster {
    /// A new one; `durable` when its data must be on disk once it says so.
    pub fn start(durable: bool) -> Self {
        static NUMBER: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut number = locked(&NUMBER);
            *number += 1;
            *number
        };
        // A user of its own has to get there, which is not so below /root.
        let folder = std::env::temp_dir().join(format!(
            "rregistry-postgres-{}-{number}",
            std::process::id()
        ));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        let data = folder.join("data");
        let made = as_postgres(&program("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .args(["--locale", "C.UTF-8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        // Who comes by TCP has to know the password.
        std::fs::write(
            data.join("pg_hba.conf"),
            "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
        )
        .unwrap();
        let port = free_port();
        let mut arguments: Vec<String> = vec!["-D".into(), data.display().to_string()];
        let mut set = |text: &str| arguments.extend(["-c".to_owned(), text.to_owned()]);
        set(&format!("unix_socket_directories={}", folder.display()));
        set("listen_addresses=127.0.0.1");
        set(&format!("port={port}"));
        set("max_connections=400");
        set("shared_buffers=48MB");
        if !durable {
            set("fsync=off");
            set("full_page_writes=off");
        }
        let cluster = Self {
            folder,
            port,
            arguments,
            running: Mutex::new(None),
            databases: Mutex::default(),
        };
        cluster.go();
        let role = format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'");
        for sql in [
            &role,
            "CREATE DATABASE template OWNER rregistry",
            "ALTER SYSTEM SET log_min_messages = 'fatal'",
            "SELECT pg_reload_conf()",
        ] {
            psql(&cluster, "postgres", sql);
        }
        cluster
    }

    /// Starts it again where it was.
    pub fn go(&self) {
        let program = program("postgres");
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args(prefix())
            .arg(program)
            .args(&self.arguments)
            .env("FOLDER", &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hold = child.stdin.take().unwrap();
        *locked(&self.running) = Some((child, hold));
        for _ in 0..600 {
            let asked = self.try_psql("postgres", "SELECT 1");
            if asked.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "{}",
            std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
        );
    }

    /// Stops it as a crash would, and leaves its data.
    pub fn stop(&self) {
        if let Some((mut child, mut hold)) = locked(&self.running).take() {
            let _ = std::fs::write(self.folder.join("kept"), "");
            let _ = hold.flush();
            drop(hold);
            let _ = child.wait();
            let _ = std::fs::remove_file(self.folder.join("kept"));
        }
    }

    /// What its superuser is told for `sql`, one row a line.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        psql(self, database, sql)
    }

    fn try_psql(&self, database: &str, sql: &str) -> Output {
        Command::new(program("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .unwrap()
    }

    /// The name of the database that is for a directory, made when it is first asked for. Those of
    /// directories that are gone go.
    pub fn database(&self, dir: &Path) -> String {
        let mut databases = locked(&self.databases);
        if let Some(name) = databases.get(dir) {
            return name.clone();
        }
        // A registry may still be about to make a folder within a test's.
        let temporary = std::env::temp_dir();
        let is_gone = |dir: &&PathBuf| {
            let mut above = dir.ancestors();
            let own = above.find(|above| above.parent() == Some(temporary.as_path()));
            !own.unwrap_or(dir.as_path()).exists()
        };
        let gone: Vec<PathBuf> = databases.keys().filter(is_gone).cloned().collect();
        for dir in gone {
            let name = databases.remove(&dir).unwrap();
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            self.psql("postgres", &drop);
        }
        let digest = Digest::sha256(dir.as_os_str().as_encoded_bytes());
        let name = format!("d{}", digest.short());
        let made = format!("CREATE DATABASE {name} TEMPLATE template OWNER {USER}");
        self.psql("postgres", &made);
        databases.insert(dir.to_owned(), name.clone());
        name
    }

    /// The URL of a database, with or without the password.
    pub fn url(&self, database: &str, with_password: bool) -> String {
        let password = match with_password {
            true => format!(":{PASSWORD_IN_URL}"),
            false => String::new(),
        };
        format!(
            "postgres://{USER}{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// A connection of the owner's.
    pub async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url(database, true))
            .await
            .unwrap()
    }
}

/// The one of this process, begun when it is first asked for, with a template that is migrated.
pub fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let cluster = Cluster::start(false);
        std::thread::scope(|scope| {
            let migrated = scope.spawn(|| migrate(&cluster, "template"));
            migrated.join().unwrap();
        });
        cluster
    })
}

/// Makes a database what a registry makes of an empty one.
fn migrate(cluster: &Cluster, database: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = cluster.connect(database).await;
        sqlx::migrate!("../migrations/registry-postgres")
            .run(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
}

/// Where a registry in a directory has its metadata.
pub fn place(dir: &Path) -> Place {
    match asked_url(dir) {
        Some(url) => Place::Server(Server::new(&url, None).unwrap()),
        None => Place::File(dir.join("registry.db")),
    }
}

/// The URL of the database that is for a directory, where all tests run on PostgreSQL.
pub fn asked_url(dir: &Path) -> Option<String> {
    is_asked().then(|| {
        let server = server();
        server.url(&server.database(dir), true)
    })
}

fn psql(cluster: &Cluster, database: &str, sql: &str) -> String {
    let output = cluster.try_psql(database, sql);
    assert!(output.status.success(), "{sql}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    found.sort();
    found.pop().map_or_else(|| name.into(), |(_, path)| path)
}

/// How a program is started that refuses to run as root, and that is not to outlive its parent.
fn prefix() -> Vec<String> {
    let mut words = vec!["setpriv", "--pdeathsig", "QUIT"];
    if rustix::process::getuid().is_root() {
        words.extend(["--reuid", "postgres", "--regid", "postgres"]);
        words.push("--clear-groups");
    }
    words.into_iter().map(str::to_owned).collect()
}

fn as_postgres(program: &Path) -> Command {
    let prefix = prefix();
    let mut command = Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg(program);
    command.current_dir("/");
    command
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A test that panicked does not take the server from others.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
