//! A store that speaks S3, in this process (`s3s-fs`), for tests that are to run on one: all of
//! them with `RREGISTRY_TEST_STORAGE=s3`. With `garage` they run on that one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use oci::Digest;
use registry::storage::{Backend, ObjectSettings, Service};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

/// What all keys begin with: this store can keep no names that are much longer than a blob's.
pub const PREFIX: &str = "r/";
pub const KEY: &str = "test-key";
pub const SECRET: &str = "test-secret";

/// Whether all tests are to run on the store.
pub fn is_asked() -> bool {
    asked() == "s3"
}

fn asked() -> String {
    std::env::var("RREGISTRY_TEST_STORAGE").unwrap_or_default()
}

/// Where a registry in a directory has its blobs.
pub fn backend(dir: &Path) -> Backend {
    match &*asked() {
        "" => Backend::Disk,
        "s3" => on_store(dir, server().addr),
        "garage" => crate::garage::backend(dir),
        other => panic!("RREGISTRY_TEST_STORAGE is {other}: s3 or garage"),
    }
}

/// Where blobs and uploads are files: in the directory, or in the store's.
pub fn files(dir: &Path) -> PathBuf {
    match is_asked() {
        true => server().objects(dir),
        false => dir.to_owned(),
    }
}

/// The bucket that is for a directory, reached at `addr`.
pub fn on_store(dir: &Path, addr: SocketAddr) -> Backend {
    Backend::Objects(Box::new(settings(dir, addr)))
}

/// The bucket that is for a directory. One for each: this store's listings read a whole bucket.
pub fn bucket(dir: &Path) -> String {
    let digest = Digest::sha256(dir.as_os_str().as_encoded_bytes());
    let bucket = format!("b{}", digest.short());
    std::fs::create_dir_all(server().root.join(&bucket)).unwrap();
    bucket
}

pub fn settings(dir: &Path, addr: SocketAddr) -> ObjectSettings {
    ObjectSettings {
        service: Service::S3,
        bucket: bucket(dir),
        prefix: PREFIX.to_owned(),
        endpoint: Some(format!("http://{addr}")),
        region: None,
        path_style: true,
        allow_http: true,
        ca: None,
        access_key: Some(KEY.to_owned()),
        secret_key: Some(SECRET.to_owned()),
        redirect: false,
    }
}

/// The store.
pub struct Server {
    pub addr: SocketAddr,
    root: PathBuf,
}

impl Server {
    /// How many parts it has of an object that is not complete.
    pub fn parts(&self, upload: &str) -> usize {
        let entries = std::fs::read_dir(&self.root).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with(&format!(".upload_id-{upload}.part-")))
            .count()
    }

    /// Where it keeps the objects of a directory.
    pub fn objects(&self, dir: &Path) -> PathBuf {
        self.root.join(bucket(dir)).join(PREFIX)
    }
}

/// The one of this process, begun when it is first asked for.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let root = root();
        std::fs::create_dir_all(&root).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let files = root.clone();
        // A runtime of its own: those of tests end with them.
        std::thread::spawn(move || serve(listener, &files));
        Server { addr, root }
    })
}

/// A folder of this process; those of processes that ended go.
fn root() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(all).unwrap();
    for entry in std::fs::read_dir(all).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let of = name.strip_prefix("s3-");
        if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    all.join(format!("s3-{}", std::process::id()))
}

fn serve(listener: std::net::TcpListener, root: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let mut service = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                continue;
            };
            // Answers come in pieces, which would wait for each other.
            let _ = socket.set_nodelay(true);
            let service = service.clone();
            tokio::spawn(async move {
                let connection = Builder::new(TokioExecutor::new());
                let served = connection.serve_connection(TokioIo::new(socket), service);
                let _ = served.await;
            });
        }
    });
}
