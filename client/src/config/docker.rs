//! Docker's `config.json`: stored credentials, and who keeps them.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::credentials::Credentials;
use super::error::ConfigError;
use super::helper::{self, Helper};
use super::registries::{canonical, read_capped};

/// The key of Docker Hub in `auths`.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const MAX_FILE: u64 = 8 << 20;

/// A handle on docker's config.json; the file is read when asked, so that it is never stale.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: Option<PathBuf>,
    helpers: Option<PathBuf>,
}

impl DockerConfig {
    /// No file: no credentials.
    pub fn none() -> Self {
        Self {
            path: None,
            helpers: None,
        }
    }

    /// The file of this user: in `DOCKER_CONFIG`, else in `~/.docker`.
    pub fn from_env() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let named = set("DOCKER_CONFIG").map(PathBuf::from);
        match named.or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker"))) {
            Some(dir) => Self::at(dir.join("config.json")),
            None => Self::none(),
        }
    }

    /// The file at `path`, which need not exist.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path: Some(path),
            helpers: None,
        }
    }

    /// The same, with credential helpers looked for in `dir` and not on PATH.
    pub fn with_helpers_in(mut self, dir: PathBuf) -> Self {
        self.helpers = Some(dir);
        self
    }

    /// Where the file is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The credentials stored for `host[:port]`, from a credential helper where one is named for
    /// it, else from the file.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, or the helper fails.
    pub async fn credentials(&self, host: &str) -> Result<Option<Credentials>, ConfigError> {
        let Some(path) = self.path.clone() else {
            return Ok(None);
        };
        let file = blocking(move || read(&path)).await?;
        if let Some(helper) = self.helper_for(&file, host) {
            return helper::get(&helper, &server_key(host)).await;
        }
        let entry = file
            .get("auths")
            .and_then(Value::as_object)
            .and_then(|auths| find(auths, host).map(|key| &auths[&key]));
        match (entry, &self.path) {
            (Some(entry), Some(path)) => decode(entry, host, path),
            _ => Ok(None),
        }
    }

    /// The proxies that containers are to use, as build arguments, where the daemon is at `host`:
    /// those of `proxies` for that host, else its `default`.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read.
    pub fn proxies(&self, host: &str) -> Result<Vec<(&'static str, String)>, ConfigError> {
        const NAMES: [(&str, &str); 5] = [
            ("HTTP_PROXY", "httpProxy"),
            ("HTTPS_PROXY", "httpsProxy"),
            ("FTP_PROXY", "ftpProxy"),
            ("NO_PROXY", "noProxy"),
            ("ALL_PROXY", "allProxy"),
        ];
        let Some(path) = &self.path else {
            return Ok(Vec::new());
        };
        let file = read(path)?;
        let all = file.get("proxies");
        let of = |name: &str| all.and_then(|all| all.get(name));
        let Some(proxies) = of(host).or_else(|| of("default")) else {
            return Ok(Vec::new());
        };
        let value = |key| proxies.get(key).and_then(Value::as_str).unwrap_or_default();
        let given = NAMES.map(|(name, key)| (name, value(key).to_owned()));
        Ok(given
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect())
    }

    /// Stores credentials, in the helper where one is named, else in the file: atomically,
    /// readable by its owner only, and with all else in it kept. Returns where they went: the
    /// helper's name, or `None` for the file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn store(
        &self,
        host: &str,
        username: &str,
        credentials: &Credentials,
    ) -> Result<Option<String>, ConfigError> {
        let path = self.required()?;
        let file = blocking({
            let path = path.clone();
            move || read(&path)
        })
        .await?;
        let key = server_key(host);
        if let Some(helper) = self.helper_for(&file, host) {
            helper::store(&helper, &key, username, credentials).await?;
            // As docker does, the server is listed with an empty entry.
            let host = host.to_owned();
            blocking(move || update(&path, |auths| replace(auths, &host, Map::new()))).await?;
            return Ok(Some(helper.name));
        }
        let mut entry = Map::new();
        let (password, token) = match credentials {
            Credentials::Basic { password, .. } => (password.as_str(), None),
            Credentials::IdentityToken(token) => ("", Some(token.clone())),
            Credentials::RegistryToken(_) => ("", None),
        };
        let auth = STANDARD.encode(format!("{username}:{password}"));
        entry.insert("auth".into(), Value::String(auth));
        if let Some(token) = token {
            entry.insert("identitytoken".into(), Value::String(token));
        }
        if let Credentials::RegistryToken(token) = credentials {
            entry.insert("registrytoken".into(), Value::String(token.clone()));
        }
        let host = host.to_owned();
        blocking(move || update(&path, |auths| replace(auths, &host, entry))).await?;
        Ok(None)
    }

    /// Forgets the credentials for a registry; `false` when there were none.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn erase(&self, host: &str) -> Result<bool, ConfigError> {
        let path = self.required()?;
        let file = blocking({
            let path = path.clone();
            move || read(&path)
        })
        .await?;
        let in_helper = match self.helper_for(&file, host) {
            Some(helper) => helper::erase(&helper, &server_key(host)).await?,
            None => false,
        };
        let listed = file
            .get("auths")
            .and_then(Value::as_object)
            .is_some_and(|auths| find(auths, host).is_some());
        if listed {
            let host = host.to_owned();
            blocking(move || update(&path, |auths| remove(auths, &host))).await?;
        }
        Ok(listed || in_helper)
    }

    fn helper_for(&self, file: &Map<String, Value>, host: &str) -> Option<Helper> {
        let host = canonical(host);
        let own = file
            .get("credHelpers")
            .and_then(Value::as_object)
            .and_then(|helpers| helpers.iter().find(|(key, _)| key_host(key) == host))
            .and_then(|(_, name)| name.as_str());
        let name = own.or_else(|| file.get("credsStore").and_then(Value::as_str));
        name.filter(|name| !name.is_empty()).map(|name| Helper {
            name: name.to_owned(),
            dir: self.helpers.clone(),
        })
    }

    fn required(&self) -> Result<PathBuf, ConfigError> {
        self.path.clone().ok_or_else(|| {
            ConfigError::invalid(
                Path::new("~/.docker/config.json"),
                "no home directory: set HOME or DOCKER_CONFIG",
            )
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConfigError> + Send + 'static,
) -> Result<T, ConfigError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(ConfigError::invalid(
            Path::new("config.json"),
            e.to_string(),
        )),
    }
}

/// What docker calls the server in `auths` and to helpers.
pub(crate) fn server_key(host: &str) -> String {
    match canonical(host).as_str() {
        oci::reference::DEFAULT_DOMAIN => HUB_KEY.to_owned(),
        other => other.to_owned(),
    }
}

/// The host of a key, which may be a URL of old.
fn key_host(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    canonical(rest.split('/').next().unwrap_or(rest))
}

/// The key under which a host is listed: exactly, else by the host of a URL.
fn find(auths: &Map<String, Value>, host: &str) -> Option<String> {
    let exact = server_key(host);
    if auths.contains_key(&exact) {
        return Some(exact);
    }
    let host = canonical(host);
    auths.keys().find(|key| key_host(key) == host).cloned()
}

fn remove(auths: &mut Map<String, Value>, host: &str) {
    let host = canonical(host);
    auths.retain(|key, _| key_host(key) != host);
}

fn replace(auths: &mut Map<String, Value>, host: &str, entry: Map<String, Value>) {
    remove(auths, host);
    auths.insert(server_key(host), Value::Object(entry));
}

fn decode(entry: &Value, host: &str, path: &Path) -> Result<Option<Credentials>, ConfigError> {
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .filter(|s| !s.is_empty())
    };
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.to_owned())));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::RegistryToken(token.to_owned())));
    }
    let (username, password) = if let Some(auth) = text("auth") {
        let invalid = || {
            ConfigError::invalid(
                path,
                format!("auths[{host:?}].auth is not base64 of user:password; log in again"),
            )
        };
        let plain = STANDARD.decode(auth).map_err(|_| invalid())?;
        let plain = String::from_utf8(plain).map_err(|_| invalid())?;
        let (user, password) = plain.split_once(':').ok_or_else(invalid)?;
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    } else if let (Some(user), Some(password)) = (text("username"), text("password")) {
        (user.to_owned(), password.to_owned())
    } else {
        return Ok(None);
    };
    Ok(Some(Credentials::Basic { username, password }))
}

fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let Some(text) = read_capped(path, MAX_FILE)? else {
        return Ok(Map::new());
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ConfigError::invalid(path, "expected a JSON object")),
        Err(e) => Err(ConfigError::invalid(path, format!("not JSON: {e}"))),
    }
}

/// Changes `auths` under a lock on the directory, so that two logins at once both count.
fn update(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), ConfigError> {
    // Docker users keep config.json as a link into their dotfiles; the link must stay.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = real.parent().unwrap_or(Path::new("/"));
    let io = |what| move |e| ConfigError::io(what, path, e);
    std::fs::create_dir_all(dir).map_err(io("create the directory of"))?;
    let dir_handle = std::fs::File::open(dir).map_err(io("open the directory of"))?;
    dir_handle.lock().map_err(io("lock the directory of"))?;

    let mut file = read(&real)?;
    let auths = file
        .entry("auths")
        .or_insert_with(|| Value::Object(Map::new()));
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    match auths {
        Value::Object(auths) => change(auths),
        _ => return Err(ConfigError::invalid(path, "`auths` is not a JSON object")),
    }

    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
    serde::Serialize::serialize(&file, &mut serializer)
        .map_err(|e| ConfigError::invalid(path, e.to_string()))?;
    let tmp = dir.join(format!(".config.json.{}", std::process::id()));
    let written = write_private(&tmp, &text).and_then(|()| std::fs::rename(&tmp, &real));
    if let Err(e) = written {
        let _ = std::fs::remove_file(&tmp);
        return Err(ConfigError::io("write", path, e));
    }
    dir_handle.sync_all().map_err(io("write"))
}

fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, text: &str) -> DockerConfig {
        let path = dir.join("config.json");
        std::fs::write(&path, text).unwrap();
        DockerConfig::at(path)
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.into(),
            password: password.into(),
        }
    }

    #[tokio::test]
    async fn reads_every_spelling_of_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(
            dir.path(),
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "YTpi"},
                "https://old.example.com/v1/": {"auth": "YTpiOmM="},
                "r:5000": {"identitytoken": "tok", "auth": "YTo="},
                "bad.example.com": {"auth": "!!"},
                "empty.example.com": {}
            }}"#,
        );
        assert_eq!(
            config.credentials("docker.io").await.unwrap(),
            Some(basic("a", "b"))
        );
        let old = config.credentials("old.example.com").await.unwrap();
        assert_eq!(old, Some(basic("a", "b:c")));
        let token = config.credentials("r:5000").await.unwrap();
        assert_eq!(token, Some(Credentials::IdentityToken("tok".into())));
        assert!(config.credentials("bad.example.com").await.is_err());
        assert_eq!(config.credentials("empty.example.com").await.unwrap(), None);
        assert_eq!(config.credentials("r").await.unwrap(), None);
    }

    #[tokio::test]
    async fn storing_keeps_the_rest_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(
            dir.path(),
            r#"{"psFormat": "x", "auths": {"https://r.example.com": {"auth": "YTpi"}}, "z": 1}"#,
        );
        let path = config.path().unwrap().to_owned();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        config
            .store("r.example.com", "u", &basic("u", "p"))
            .await
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["psFormat"], "x");
        assert_eq!(value["z"], 1);
        assert_eq!(value["auths"].as_object().unwrap().len(), 1);
        assert_eq!(value["auths"]["r.example.com"]["auth"], "dTpw");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        assert!(config.erase("r.example.com").await.unwrap());
        assert!(!config.erase("r.example.com").await.unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_broken_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "{not json");
        assert!(
            config
                .store("r.example.com", "u", &basic("u", "p"))
                .await
                .is_err()
        );
        let text = std::fs::read_to_string(config.path().unwrap()).unwrap();
        assert_eq!(text, "{not json");
    }

    #[tokio::test]
    async fn a_linked_file_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("dotfiles.json");
        std::fs::write(&real, "{}").unwrap();
        let link = dir.path().join("config.json");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let config = DockerConfig::at(link.clone());
        config
            .store("r.example.com", "u", &basic("u", "p"))
            .await
            .unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(
            std::fs::read_to_string(&real)
                .unwrap()
                .contains("r.example.com")
        );
    }
}
