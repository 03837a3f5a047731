//! A store that speaks S3, in a folder, for unit tests.

use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

/// Serves the bucket `bucket` to whoever has `key` and `secret`, until the runtime ends.
pub(crate) async fn serve(dir: &Path) -> SocketAddr {
    std::fs::create_dir(dir.join("bucket")).unwrap();
    let mut service = S3ServiceBuilder::new(FileSystem::new(dir).unwrap());
    service.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let connection = Builder::new(TokioExecutor::new());
                drop(
                    connection
                        .serve_connection(TokioIo::new(socket), service)
                        .await,
                );
            });
        }
    });
    addr
}
