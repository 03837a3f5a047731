//! `certs.d/HOST/`: docker's certificates per registry. `*.crt` are authorities to trust,
//! `NAME.cert` with `NAME.key` is who we are.

use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// The certificate files for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HostCerts {
    /// PEM files of authorities trusted besides the system's.
    pub(crate) authorities: Vec<PathBuf>,
    /// Our certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl HostCerts {
    /// What the directories have for `host[:port]`, `ca` before them.
    pub(super) fn find(
        host: &str,
        ca: Option<PathBuf>,
        dirs: &[PathBuf],
    ) -> Result<Self, ConfigError> {
        let mut certs = Self::default();
        certs.authorities.extend(ca);
        for dir in dirs {
            add(&dir.join(host), &mut certs)?;
        }
        Ok(certs)
    }
}

fn add(dir: &Path, certs: &mut HostCerts) -> Result<(), ConfigError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(ConfigError::io("read", dir, e)),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|e| ConfigError::io("read", dir, e))?.path());
    }
    files.sort();
    for file in &files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => certs.authorities.push(file.clone()),
            Some("cert") => {
                let key = file.with_extension("key");
                if !files.contains(&key) {
                    let reason = format!("its key {} is missing", key.display());
                    return Err(ConfigError::invalid(file, reason));
                }
                certs.identity.get_or_insert((file.clone(), key));
            }
            Some("key") if !files.contains(&file.with_extension("cert")) => {
                let reason = "a key without its .cert; certificate authorities end in .crt";
                return Err(ConfigError::invalid(file, reason));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn finds_authorities_and_pairs() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("r.example.com:5000");
        std::fs::create_dir(&host).unwrap();
        for name in ["ca.crt", "client.cert", "client.key", "README"] {
            std::fs::write(host.join(name), "").unwrap();
        }
        let config = Config {
            certs_dirs: vec![dir.path().to_owned()],
            ..Config::default()
        };
        let certs = config.certs_for("r.example.com:5000").unwrap();
        assert_eq!(certs.authorities, [host.join("ca.crt")]);
        assert!(certs.identity.is_some());
        assert_eq!(config.certs_for("other").unwrap(), HostCerts::default());
        std::fs::remove_file(host.join("client.key")).unwrap();
        let error = config.certs_for("r.example.com:5000").unwrap_err();
        assert!(error.to_string().contains("is missing"));
    }
}
