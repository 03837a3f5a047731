//! Credential helpers: `docker-credential-NAME get|store|erase`, docker's protocol for keeping
//! credentials in a keychain. The server's name goes in on stdin, JSON comes out on stdout.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::credentials::Credentials;
use super::error::ConfigError;
use crate::text::printable;

const MAX_OUTPUT: u64 = 1 << 20;
/// A helper may have to ask for a passphrase.
const PATIENCE: Duration = Duration::from_secs(120);
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// One helper.
pub(super) struct Helper {
    /// What follows `docker-credential-`.
    pub(super) name: String,
    /// Where to look for it instead of on PATH.
    pub(super) dir: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// Asks the helper for a server's credentials.
///
/// # Errors
/// [`ConfigError::Helper`].
pub(super) async fn get(helper: &Helper, server: &str) -> Result<Option<Credentials>, ConfigError> {
    let name = helper.name.as_str();
    let (ok, output) = run(helper, "get", server.as_bytes()).await?;
    if !ok {
        return if is_not_found(&output) {
            Ok(None)
        } else {
            Err(failed(name, &output))
        };
    }
    let entry: Entry = serde_json::from_slice(&output)
        .map_err(|e| error(name, format!("its answer is not the JSON expected: {e}")))?;
    if entry.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if entry.username == TOKEN_USER {
        Credentials::IdentityToken(entry.secret)
    } else {
        Credentials::Basic {
            username: entry.username,
            password: entry.secret,
        }
    }))
}

/// Gives the helper credentials to keep.
///
/// # Errors
/// [`ConfigError::Helper`].
pub(super) async fn store(
    helper: &Helper,
    server: &str,
    username: &str,
    credentials: &Credentials,
) -> Result<(), ConfigError> {
    let (username, secret) = match credentials {
        Credentials::Basic { password, .. } => (username, password),
        Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => {
            (TOKEN_USER, token)
        }
    };
    let entry = Entry {
        server_url: server.to_owned(),
        username: username.to_owned(),
        secret: secret.clone(),
    };
    let input = serde_json::to_vec(&entry).map_err(|e| error(&helper.name, e.to_string()))?;
    match run(helper, "store", &input).await? {
        (true, _) => Ok(()),
        (false, output) => Err(failed(&helper.name, &output)),
    }
}

/// Has the helper forget a server; `false` when it knew none.
///
/// # Errors
/// [`ConfigError::Helper`].
pub(super) async fn erase(helper: &Helper, server: &str) -> Result<bool, ConfigError> {
    match run(helper, "erase", server.as_bytes()).await? {
        (true, _) => Ok(true),
        (false, output) if is_not_found(&output) => Ok(false),
        (false, output) => Err(failed(&helper.name, &output)),
    }
}

fn is_not_found(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).contains("credentials not found")
}

fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

fn error(name: &str, reason: String) -> ConfigError {
    ConfigError::Helper {
        program: program(name),
        reason,
    }
}

fn failed(name: &str, output: &[u8]) -> ConfigError {
    let said = printable(String::from_utf8_lossy(output).trim());
    error(name, format!("failed: {said}"))
}

async fn run(helper: &Helper, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), ConfigError> {
    let name = helper.name.as_str();
    // The name becomes part of a program's name, which is looked up on PATH and only there.
    if name.contains('/') {
        return Err(error(name, "a helper's name has no slash".to_owned()));
    }
    let program = match &helper.dir {
        Some(dir) => dir.join(program(name)),
        None => program(name).into(),
    };
    let work = async {
        let mut child = tokio::process::Command::new(program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input).await {
                // One that does not care for its input may be gone already.
                Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(e),
                _ => {}
            }
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        }
        let status = child.wait().await?;
        Ok((status.success(), output))
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(error(name, "not found on PATH".to_owned()))
        }
        Ok(Err(e)) => Err(error(name, e.to_string())),
        Err(_) => Err(error(
            name,
            format!("no answer in {} s", PATIENCE.as_secs()),
        )),
    }
}
