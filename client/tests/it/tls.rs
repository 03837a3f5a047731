use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use client::config::RegistrySettings;
use client::{Client, Error};
use oci::media_type::OCI_MANIFEST;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::auth::{ALICE, ask_for_token};
use crate::fake::*;

/// Connections whose handshake fails are dropped.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub async fn bind() -> Self {
        let cert = CertificateDer::from_pem_slice(include_bytes!("tls/leaf.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/leaf.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: Arc::new(config).into(),
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, addr) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn authority() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.crt"))
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_credentials_by_verified_https_only() {
    let registry = Fake::start().await;
    let tokens = Fake::start_tls().await;
    registry.add_image("app", "v1");
    ask_for_token(&registry, format!("https://{}/token", tokens.host));
    tokens.hook(|_| Some(answer(200, &[], r#"{"token":"good"}"#)));
    let dir = tempfile::tempdir().unwrap();
    let config = config_with(dir.path(), &[(&registry.host, "alice:secret")]);
    let reference = registry.reference("app:v1");

    // On this machine too: it is not the registry that the user named.
    let error = Client::new(config.clone())
        .manifest(&reference)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("certificate") && text.contains("/etc/docker/certs.d/"),
        "{text}"
    );
    assert!(tokens.seen().is_empty());

    let mut with_ca = config.clone();
    let settings = RegistrySettings {
        ca: Some(authority()),
        ..RegistrySettings::default()
    };
    with_ca.registries.set(&registry.host, settings);
    Client::new(with_ca).manifest(&reference).await.unwrap();
    assert_eq!(tokens.seen()[0].authorization(), Some(ALICE));

    let mut with_dir = config;
    let host_dir = dir.path().join("certs.d").join(&tokens.host);
    std::fs::create_dir_all(&host_dir).unwrap();
    std::fs::copy(authority(), host_dir.join("ca.crt")).unwrap();
    with_dir.certs_dirs = vec![dir.path().join("certs.d")];
    Client::new(with_dir).manifest(&reference).await.unwrap();
    assert_eq!(tokens.seen().len(), 2);
}

#[tokio::test]
async fn https_is_found_on_this_machine_and_not_left_again() {
    let registry = Fake::start_tls().await;
    let (_, bytes) = registry.add_image("app", "v1");
    registry.add_manifest("app", "moved", OCI_MANIFEST, &bytes);
    // A registry behind a proxy that ends TLS names itself by http.
    let location = registry.url("/v2/app/manifests/v1");
    registry.hook(move |seen| {
        let moved = seen.path.ends_with("/moved");
        moved.then(|| answer(307, &[("location", &location)], ""))
    });
    let client = Client::new(config());
    let reference = registry.reference("app:moved");
    assert_eq!(client.manifest(&reference).await.unwrap().bytes, bytes);

    // Elsewhere by plain http is not followed from there.
    let plain = Fake::start().await;
    plain.add_manifest("app", "v1", OCI_MANIFEST, &bytes);
    let location = plain.url("/v2/app/manifests/v1");
    registry.hook(move |_| Some(answer(307, &[("location", &location)], "")));
    let error = client
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("plain http"), "{error}");
    assert!(plain.seen().is_empty());
}

/// Authorities are read from the environment once a process, so that this test runs itself again
/// with its own.
#[tokio::test]
async fn the_system_s_authorities_are_trusted() {
    const INNER: &str = "CLIENT_TEST_WITH_AUTHORITY";
    if std::env::var_os(INNER).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["tls::the_system_s_authorities_are_trusted", "--exact"])
            .env(INNER, "1")
            .env("SSL_CERT_FILE", authority())
            .env_remove("SSL_CERT_DIR")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let registry = Fake::start().await;
    let tokens = Fake::start_tls().await;
    registry.add_image("app", "v1");
    ask_for_token(&registry, format!("https://{}/token", tokens.host));
    tokens.hook(|_| Some(answer(200, &[], r#"{"token":"good"}"#)));
    Client::new(config())
        .manifest(&registry.reference("app:v1"))
        .await
        .unwrap();
    assert_eq!(tokens.seen().len(), 1);
}
