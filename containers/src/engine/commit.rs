//! An image of a container.

use std::io;

use oci::config::{Config as ImageSettings, History, RootFs};
use oci::layer::{diff, open_dir, unpack};
use oci::{Digest, ImageConfig, Platform, Reference};
use store::{NewImage, StagedSnapshot};

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::protocol::Request;
use crate::state;
use crate::status::Status;

/// An image to be made.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Its names.
    pub tags: Vec<Reference>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub message: String,
    /// Processes go on while their files are copied.
    pub without_pause: bool,
    /// What is run in containers of it; see [`Container::settings`].
    pub config: ImageSettings,
}

impl Container {
    /// What an image of it keeps of what it was made with.
    pub fn settings(&self) -> ImageSettings {
        let config = &self.record.config;
        ImageSettings {
            user: config.user.clone(),
            exposed_ports: config.exposed_ports.clone(),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            healthcheck: config.healthcheck.clone(),
            volumes: config.volumes.clone().unwrap_or_default(),
            working_dir: config.working_dir.clone(),
            labels: config.labels.clone(),
            stop_signal: config.stop_signal.clone(),
            shell: config.shell.clone(),
            ..ImageSettings::default()
        }
    }
}

impl Containers {
    /// Makes an image of a container: its image's layers and one of its own. Returns the image's
    /// ID.
    ///
    /// # Errors
    /// What could not be read or written; no image is made then.
    pub async fn commit(&self, container: &Container, commit: Commit) -> Result<Digest> {
        if matches!(container.state.status, Status::Removing | Status::Dead) {
            return Err(Error::Invalid(format!(
                "You cannot commit container {} which is being removed",
                container.id
            )));
        }
        let staged = self.store.begin_snapshot().await?;
        let pauses = container.state.status == Status::Running && !commit.without_pause;
        let (copied, staged) = {
            let container = container.clone();
            blocking(move || {
                if pauses {
                    container.tell(&Request::Pause)?;
                }
                let copied = copy(&container, &staged);
                if pauses {
                    container.tell(&Request::Unpause)?;
                }
                Ok((copied?, staged))
            })
            .await?
        };
        let parent = container.stored.chain_id.as_ref();
        let diff_id = copied.diff_id.clone();
        let sizes = (copied.size_tar, copied.size_files);
        staged
            .commit(parent, diff_id, sizes.0, sizes.1, None)
            .await?;
        let config = self.document(container, &commit, &copied).await?;
        let bytes = serde_json::to_vec(&config).map_err(|cause| Error::Record {
            id: container.id.clone(),
            cause,
        })?;
        let name = commit.tags.first().map(Reference::familiar);
        let labels = config
            .config
            .as_ref()
            .map(|config| config.labels.clone())
            .unwrap_or_default();
        let image = self.store.put_image(NewImage {
            config: bytes,
            tags: commit.tags,
            parent: Some(container.image.clone()),
            ..NewImage::default()
        });
        let id = image.await?.id;
        let told = id.to_string();
        for (by, action) in [(Some(&told), "create"), (name.as_ref(), "tag")] {
            if let Some(by) = by {
                let actor = Actor::image(&told, by).labeled(labels.clone());
                self.tell_of("image", actor, action);
            }
        }
        let more = [
            ("comment", commit.message),
            ("imageID", id.to_string()),
            ("imageRef", name.unwrap_or_default()),
        ];
        self.tell(container, "commit", &more);
        Ok(id)
    }

    /// The configuration of the image.
    async fn document(
        &self,
        container: &Container,
        commit: &Commit,
        copied: &diff::Measured,
    ) -> Result<ImageConfig> {
        let base: ImageConfig = match self.store.config(&container.image).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            // Of an image that was removed since the layers are known, and nothing else.
            Err(_) => self.remembered(container).await?,
        };
        let now = state::now();
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let mut history = base.history;
        history.push(History {
            created: Some(now.clone()),
            created_by: Some(
                container
                    .record
                    .config
                    .cmd
                    .clone()
                    .unwrap_or_default()
                    .join(" "),
            ),
            author: text(&commit.author),
            comment: text(&commit.message),
            empty_layer: false,
        });
        let mut diff_ids = base.rootfs.diff_ids;
        diff_ids.push(copied.diff_id.clone());
        let mut config = ImageConfig {
            config: Some(commit.config.clone()),
            created: Some(now),
            author: text(&commit.author),
            history,
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids,
            },
            ..base
        };
        if let Some(message) = text(&commit.message) {
            config.other.insert("comment".to_owned(), message.into());
        }
        Ok(config)
    }

    async fn remembered(&self, container: &Container) -> Result<ImageConfig> {
        let mut diff_ids = Vec::new();
        if let Some(chain_id) = &container.stored.chain_id {
            let layers = self.store.chain(chain_id).await?;
            diff_ids.extend(layers.into_iter().rev().map(|layer| layer.diff_id));
        }
        let platform = Platform::host();
        Ok(ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids,
            },
            ..ImageConfig::default()
        })
    }
}

/// Copies a container's layer, by way of its tar: whoever reads one is the other's check.
fn copy(container: &Container, staged: &StagedSnapshot) -> Result<diff::Measured> {
    let failed = |error: &dyn std::fmt::Display| Error::Invalid(format!("commit: {error}"));
    let upper = open_dir(&container.stored.upper()).map_err(|e| failed(&e))?;
    let target = open_dir(staged.upper()).map_err(|e| failed(&e))?;
    let (reader, mut writer) = io::pipe().map_err(|e| failed(&e))?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            // Dropped at its end, or the reader would wait for more.
            diff::write_tar(&upper, &Default::default(), &mut writer)
        });
        let options = unpack::UnpackOptions::default();
        let unpacked = unpack::layer(io::BufReader::new(reader), &target, &options);
        let written = written.join();
        match (written, unpacked) {
            (Ok(Err(error)), _) => Err(failed(&error)),
            (Err(_), _) => Err(failed(&"a thread ended early")),
            (_, Err(error)) => Err(failed(&error)),
            (Ok(Ok(_)), Ok(_)) => {
                // What was copied is measured, not what may have changed since.
                let measured = diff::measure(&target, &Default::default(), &|| Ok(()));
                measured.map_err(|error| failed(&error))
            }
        }
    })
}
