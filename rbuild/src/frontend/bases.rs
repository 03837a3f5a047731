//! What is known of the images that a Dockerfile is based on.

use std::collections::BTreeMap;

use dockerfile::lint::BaseImage;
use oci::config::Config;
use oci::{ImageConfig, Platform, Reference};

use crate::app::App;
use crate::frontend::contexts::{ContextPlace, Places};
use builder::plan::graph::GraphOptions;
use builder::plan::named::NamedContext;
use builder::plan::{ImageName, NamedContexts};
use images::{Images, layout};

/// Configurations by name.
#[derive(Debug, Default)]
pub struct Bases {
    known: BTreeMap<ImageName, ImageConfig>,
    named: NamedContexts,
}

impl Bases {
    /// What the store has, if there is one, and layouts. Nothing is fetched to answer a question.
    pub async fn find(
        app: &App,
        names: &[ImageName],
        options: &GraphOptions<'_>,
        places: &Places,
    ) -> Self {
        // No store is made for this, and one that cannot be used only means to know less.
        let store = app.existing_store().await;
        let images = store.map(|store| Images::new(store, client::Config::from_env));
        let mut known = BTreeMap::new();
        for name in names {
            let found = look_up(images.as_ref(), name, options.target_platform, places).await;
            if let Some(config) = found {
                known.insert(name.clone(), config);
            }
        }
        let named = options.named.clone();
        Self { known, named }
    }

    /// What a build has found.
    pub fn of<'i>(
        images: impl Iterator<Item = (&'i ImageName, &'i ImageConfig)>,
        named: &NamedContexts,
    ) -> Self {
        Self {
            known: images.map(|(n, c)| (n.clone(), c.clone())).collect(),
            named: named.clone(),
        }
    }

    /// The configuration of an image.
    pub fn config(&self, name: &ImageName) -> Option<Config> {
        let document = self.known.get(name)?;
        Some(document.config.clone().unwrap_or_default())
    }

    /// What the build checks ask of an image, by the name in a FROM.
    pub fn image(&self, name: &str) -> Option<BaseImage> {
        let image = match self.named.get(name) {
            // A folder sets no variable.
            Some((_, NamedContext::Tree)) => return Some(BaseImage::default()),
            Some((name, context)) => context.image(name)?,
            None => ImageName::Reference(name.parse::<Reference>().ok()?.or_latest()),
        };
        let document = self.known.get(&image)?;
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

async fn look_up(
    images: Option<&Images>,
    name: &ImageName,
    platform: &Platform,
    places: &Places,
) -> Option<ImageConfig> {
    match name {
        ImageName::Reference(reference) => {
            let found = images?.find(&reference.to_string()).await;
            Some(found.ok()?.config)
        }
        ImageName::Layout(name) => match places.get(name)? {
            ContextPlace::Layout(place) => {
                let image = layout::open(place, platform).await;
                Some(image.ok()?.image_config)
            }
            _ => None,
        },
    }
}
