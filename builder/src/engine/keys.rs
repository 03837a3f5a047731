//! Keys that `--ssh` names by their files: an agent in this process signs with them, so that no
//! step sees more of a key than of one in an agent of the user's.
//!
//! The protocol is OpenSSH's (PROTOCOL.agent), with its two requests that use keys: all others,
//! which would change what an agent holds, fail.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs1v15::SigningKey;
use rsa::rand_core::OsRng;
use rsa::sha2::{Sha256, Sha512};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::{BigUint, RsaPrivateKey};
use ssh_agent_lib::agent::Session;
use ssh_agent_lib::error::AgentError;
use ssh_agent_lib::proto::{Identity, SignRequest, signature};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, PrivateKey, Signature};

/// A key is a page or two.
const MAX_KEY: u64 = 100 << 10;

/// Why a file is no key that can be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// Nobody is there to be asked for a passphrase.
    #[error(
        "{0}: the key has a passphrase, which a build cannot ask for: add it to an agent with \
         `ssh-add {0}`, and give --ssh the agent"
    )]
    Passphrase(String),
    /// It is no private key, or one in another form.
    #[error(
        "{path}: it is no private key that is known here ({cause}); `ssh-keygen -p -f {path}` \
         writes a key in OpenSSH's form"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// Private keys in memory.
#[derive(Clone)]
pub struct Keys(Arc<Vec<PrivateKey>>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = self.0.iter().map(|key| key.fingerprint(Default::default()));
        f.debug_list().entries(of.map(|f| f.to_string())).finish()
    }
}

impl Keys {
    /// Reads keys: in OpenSSH's form, or RSA keys in that of PKCS #1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn read(paths: &[PathBuf]) -> Result<Self, KeyError> {
        let keys = paths.iter().map(|path| read(path));
        Ok(Self(Arc::new(keys.collect::<Result<_, _>>()?)))
    }

    fn sign_with(&self, request: &SignRequest) -> Result<Signature, AgentError> {
        let wanted = request.credential.key_data();
        let mut keys = self.0.iter();
        let key = keys
            .find(|key| key.public_key().key_data() == wanted)
            .ok_or(AgentError::Failure)?;
        match key.key_data() {
            KeypairData::Rsa(pair) => sign_rsa(pair, request),
            data => data.try_sign(&request.data).map_err(AgentError::other),
        }
    }
}

fn read(path: &Path) -> Result<PrivateKey, KeyError> {
    let failed = |cause| KeyError::Read {
        path: path.to_owned(),
        cause,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_KEY).read_to_end(&mut text).map_err(failed)?;
    let shown = path.display().to_string();
    let malformed = |cause: String| KeyError::Malformed {
        path: shown.clone(),
        cause,
    };
    let text = String::from_utf8(text).map_err(|_| malformed("it is no text".to_owned()))?;
    if text.contains("ENCRYPTED") {
        return Err(KeyError::Passphrase(shown));
    }
    let key = match text.contains("BEGIN RSA PRIVATE KEY") {
        true => {
            let key = RsaPrivateKey::from_pkcs1_pem(&text);
            let key = key.map_err(|e| malformed(e.to_string()))?;
            let pair = RsaKeypair::try_from(&key);
            pair.and_then(|pair| PrivateKey::new(KeypairData::Rsa(pair), ""))
        }
        false => PrivateKey::from_openssh(&text),
    };
    let key = key.map_err(|e| malformed(e.to_string()))?;
    match key.is_encrypted() {
        true => Err(KeyError::Passphrase(shown)),
        false => Ok(key),
    }
}

/// By the hash that is asked for (RFC 8332); SHA-1, which is asked for by none, is refused.
fn sign_rsa(pair: &RsaKeypair, request: &SignRequest) -> Result<Signature, AgentError> {
    let number = |n: &ssh_key::Mpint| BigUint::try_from(n).map_err(AgentError::other);
    let primes = vec![number(&pair.private.p)?, number(&pair.private.q)?];
    let (n, e) = (number(&pair.public.n)?, number(&pair.public.e)?);
    let key = RsaPrivateKey::from_components(n, e, number(&pair.private.d)?, primes);
    let key = key.map_err(AgentError::other)?;
    let (name, signed) = if request.flags & signature::RSA_SHA2_512 != 0 {
        let key = SigningKey::<Sha512>::new(key);
        ("rsa-sha2-512", key.sign_with_rng(&mut OsRng, &request.data))
    } else if request.flags & signature::RSA_SHA2_256 != 0 {
        let key = SigningKey::<Sha256>::new(key);
        ("rsa-sha2-256", key.sign_with_rng(&mut OsRng, &request.data))
    } else {
        return Err(AgentError::Failure);
    };
    let algorithm = Algorithm::new(name).map_err(AgentError::other)?;
    Signature::new(algorithm, signed.to_vec()).map_err(AgentError::other)
}

#[ssh_agent_lib::async_trait]
impl Session for Keys {
    async fn request_identities(&mut self) -> Result<Vec<Identity>, AgentError> {
        let identity = |key: &PrivateKey| Identity {
            credential: key.public_key().key_data().clone().into(),
            comment: key.comment().to_owned(),
        };
        Ok(self.0.iter().map(identity).collect())
    }

    async fn sign(&mut self, request: SignRequest) -> Result<Signature, AgentError> {
        let keys = self.clone();
        let signed = tokio::task::spawn_blocking(move || keys.sign_with(&request));
        signed.await.map_err(AgentError::other)?
    }
}
