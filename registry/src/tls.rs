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
    /// There is no key that can be used.
    #[error("{path} holds no private key in PEM{}", encrypted(.path))]
    NoKey {
        /// The key's file.
        path: PathBuf,
    },
    /// Certificate and key are not of one pair.
    #[error(
        "{key} is not the key of the certificate in {cert}: tls.cert begins with the server's own \
         certificate, and tls.key is the key that it was made for"
    )]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// A certificate is of a version that TLS has no use for.
    #[error("{path}: {V1}")]
    Version {
        /// The certificate's file.
        path: PathBuf,
    },
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

/// What is wrong with a certificate of version 1, and how to have a better one.
const V1: &str = "the certificate is X.509 version 1, as `openssl x509 -req` makes it when it is \
                  given no extensions; make one of version 3, with -extfile or -copy_extensions \
                  copy, or with `openssl req -x509 -CA`";

/// Whether this is what a certificate of version 1 is refused with.
fn is_v1(e: &rustls::Error) -> bool {
    // The verifier's own error is within, and named as nothing else is.
    matches!(e, rustls::Error::InvalidCertificate(_))
        && format!("{e:?}").contains("UnsupportedCertVersion")
}

/// Why a client's certificate was refused, in words; `None` when a handshake failed for another
/// reason.
pub(crate) fn about_client(e: &std::io::Error) -> Option<String> {
    let e = e.get_ref()?.downcast_ref::<rustls::Error>()?;
    match e {
        e if is_v1(e) => Some(V1.to_owned()),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            Some("it is signed by nobody in tls.client_ca".to_owned())
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature) => {
            Some("the client does not have the certificate's key".to_owned())
        }
        rustls::Error::InvalidCertificate(why) => Some(why.to_string()),
        _ => None,
    }
}

/// Whether a file of a key holds none that can be read without a passphrase.
fn is_unreadable(cause: &rustls::pki_types::pem::Error, path: &Path) -> bool {
    matches!(cause, rustls::pki_types::pem::Error::NoItemsFound) || is_encrypted(path)
}

fn is_encrypted(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("ENCRYPTED"))
}

/// What to do about a key that a passphrase protects.
fn encrypted(path: &Path) -> &'static str {
    match is_encrypted(path) {
        true => ": it is encrypted; `openssl pkey -in IN -out OUT` writes it without passphrase",
        false => "",
    }
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

    /// The files that it is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let Tls {
            cert,
            key,
            client_ca,
        } = &*self.files;
        [cert, key].into_iter().chain(client_ca).cloned().collect()
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
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| match cause {
        cause if is_unreadable(&cause, &files.key) => TlsError::NoKey {
            path: files.key.clone(),
        },
        cause => TlsError::Pem {
            path: files.key.clone(),
            cause,
        },
    })?;
    let certified = builder.with_single_cert(certificates(&files.cert)?, key);
    let mut config = certified.map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => TlsError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
        },
        e if is_v1(&e) => TlsError::Version {
            path: files.cert.clone(),
        },
        e => wrong(e),
    })?;
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
