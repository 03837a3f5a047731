//! What the store knows of the images that a Dockerfile is based on.

use std::collections::BTreeMap;

use dockerfile::lint::BaseImage;
use oci::config::Config;
use oci::{ImageConfig, Reference};

use super::app::App;
use crate::local::Local;
use crate::plan::ImageName;

/// Configurations by name. Nothing is fetched to answer a question.
#[derive(Debug, Default)]
pub struct Bases(BTreeMap<Reference, ImageConfig>);

impl Bases {
    /// Looks the images up, if there is a store.
    pub async fn find(app: &App, names: &[ImageName]) -> Self {
        // No store is made for this, and one that cannot be used only means to know less.
        match app.existing_store().await {
            Some(store) => Self::of(&Local::new(store, client::Config::from_env), names).await,
            None => Self::default(),
        }
    }

    /// Looks the images up in a store.
    pub async fn of(local: &Local, names: &[ImageName]) -> Self {
        let mut known = BTreeMap::new();
        for name in names {
            if let ImageName::Reference(reference) = name
                && let Ok(image) = local.find(&reference.to_string()).await
            {
                known.insert(reference.clone(), image.config);
            }
        }
        Self(known)
    }

    /// The configuration of an image.
    pub fn config(&self, name: &ImageName) -> Option<Config> {
        let ImageName::Reference(reference) = name else {
            return None;
        };
        let document = self.0.get(reference)?;
        Some(document.config.clone().unwrap_or_default())
    }

    /// What the build checks ask of an image, by the name in a FROM.
    pub fn image(&self, name: &str) -> Option<BaseImage> {
        let reference = name.parse::<Reference>().ok()?.or_latest();
        let document = self.0.get(&reference)?;
        let config = document.config.clone().unwrap_or_default();
        let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
        Some(BaseImage {
            env: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            has_shell: config.shell.is_some(),
            onbuild: config.on_build,
            platform: Some(document.platform().to_string()),
        })
    }
}
