//! TLS: certificates and keys from files, read again when told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;
use crate::sync;

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{path}: {cause}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::pki_types::pem::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Certificate and key do not go together, or cannot be used.
    #[error("{path}: {cause}")]
    Config {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// The signers of client certificates cannot be used.
    #[error("{path}: {cause}")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::server::VerifierBuilderError,
    },
}

/// The present certificates.
#[derive(Clone, Debug)]
pub struct Reloading {
    files: Arc<Tls>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Reloading {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(files: Tls) -> Result<Self, TlsError> {
        let config = read(&files)?;
        Ok(Self {
            files: Arc::new(files),
            current: Arc::new(RwLock::new(config)),
        })
    }

    /// Reads the files again; connections made from now on use them.
    ///
    /// # Errors
    /// [`TlsError`]; everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.files)?;
        *sync::write(&self.current) = fresh;
        Ok(())
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&sync::read(&self.current)))
    }
}

fn read(files: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |cause| TlsError::Config {
        path: files.cert.clone(),
        cause,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for cert in certificates(path)? {
                roots.add(cert).map_err(wrong)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                // Load balancers have none: what needs one says so itself, in readable words.
                .allow_unauthenticated()
                .build()
                .map_err(|cause| TlsError::ClientCa {
                    path: path.clone(),
                    cause,
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| TlsError::Pem {
        path: files.key.clone(),
        cause,
    })?;
    let mut config = builder
        .with_single_cert(certificates(&files.cert)?, key)
        .map_err(wrong)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |cause| TlsError::Pem {
        path: path.to_owned(),
        cause,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(certificates)
}
