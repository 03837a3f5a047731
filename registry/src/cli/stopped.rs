//! A registry that does not run: a command does itself what the running one would, and what it
//! changes is told to the activity, the audit log and webhooks as if it ran.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, err};
use super::opened::{opened, require};
use super::serve::node;
use crate::audit::Audit;
use crate::config::Config;
use crate::events::{AUDIT, Noted, Subscribers};
use crate::service::Registry;

/// How long lines of the audit log may take to be written.
const WRITING: Duration = Duration::from_secs(10);

/// A registry in its directory.
pub(super) struct Stopped {
    pub(super) registry: Arc<Registry>,
    data_dir: PathBuf,
    audit: Option<PathBuf>,
}

impl Stopped {
    /// Opens the directory, which nobody may serve.
    pub(super) async fn open(config: &Config, data_dir: &Path) -> Result<Self, Failure> {
        let audited = config.audit.is_some();
        let told = Subscribers::with_activity(&config.webhooks, node(&config.addr), audited);
        Ok(Self {
            registry: Arc::new(opened(config, data_dir).await?.telling(told)),
            data_dir: data_dir.to_owned(),
            audit: config.audit.clone(),
        })
    }

    /// The same where a registry must be there already.
    pub(super) async fn existing(config: &Config, data_dir: &Path) -> Result<Self, Failure> {
        require(config, data_dir)?;
        Self::open(config, data_dir).await
    }

    /// Writes what waits for the audit log, and closes the directory.
    pub(super) async fn close(self) {
        if let Some(path) = &self.audit
            && self.waits().await
            && let Err(e) = self.write(path).await
        {
            err(&format!(
                "rregistry: audit.file: {}: {e}; what was done is noted there when the registry \
                 starts\n",
                path.display()
            ));
        }
        self.registry.close().await;
    }

    /// Notes what was done, if it was, and closes the directory.
    pub(super) async fn noting<T, E>(self, done: Result<T, E>, noted: Noted) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        if done.is_ok() {
            let by = crate::control::here();
            self.registry.note(&by, &[noted]).await;
        }
        self.close().await;
        Ok(done?)
    }

    /// Whether anything is to be written to the audit log.
    async fn waits(&self) -> bool {
        let first = self.registry.queued_events(AUDIT, 1).await;
        first.is_ok_and(|first| !first.is_empty())
    }

    async fn write(&self, path: &Path) -> std::io::Result<()> {
        self.make(path)?;
        let audit = Audit::start(&self.registry, path).await?;
        audit.stop(WRITING).await;
        Ok(())
    }

    /// Makes the file, where there is none, for whoever owns the directory: the registry itself
    /// may run as another user than the command.
    fn make(&self, path: &Path) -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        match options.append(true).create_new(true).mode(0o640).open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        };
        if rustix::process::geteuid().is_root() {
            let owner = std::fs::metadata(&self.data_dir)?;
            chown(path, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }
}
