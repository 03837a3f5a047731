//! How commands of operators are done: by the running registry, or here.

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::failure::{Failure, out};
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::control::{here, request_operation};
use crate::operate::{Operation, operate};

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables and lines for people.
    Table,
    /// JSON, sizes in bytes and times as RFC 3339 has them.
    Json,
}

/// A way to a registry's directory.
pub(super) struct Operator {
    config: crate::config::Config,
    data_dir: std::path::PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Operator {
    pub(super) fn new(settings: Settings) -> Result<Self, Failure> {
        let config = settings.read()?.check()?;
        let data_dir = data_dir(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            config,
            data_dir,
            runtime,
        })
    }

    /// Has it done.
    pub(super) fn ask<T: DeserializeOwned>(&self, operation: &Operation) -> Result<T, Failure> {
        let answer = self.runtime.block_on(async {
            // The running registry has the directory, and what it keeps in memory.
            if let Some(answer) = request_operation(&self.data_dir, operation).await? {
                return Ok::<_, Failure>(answer);
            }
            let stopped = Stopped::existing(&self.config, &self.data_dir).await?;
            let answer = operate(&stopped.registry, operation, &here()).await;
            stopped.close().await;
            Ok(answer?)
        })?;
        Ok(serde_json::from_value(answer)?)
    }
}

/// Shows an answer as JSON.
pub(super) fn show_json(answer: &impl serde::Serialize) -> Result<(), Failure> {
    out(&format!("{}\n", serde_json::to_string_pretty(answer)?))
}
