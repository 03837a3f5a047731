//! What is known of the images that a Dockerfile is based on.

use std::collections::BTreeMap;

use dockerfile::lint::BaseImage;
use oci::config::Config;
use oci::{ImageConfig, Reference};

use crate::app::App;
use crate::frontend::contexts::{ContextPlace, Places};
use builder::plan::graph::GraphOptions;
use builder::plan::named::NamedContext;
use builder::plan::{ImageName, ImageRequest};
use images::{Images, layout};

/// Configurations of images.
#[derive(Debug)]
pub struct Bases<'a> {
    known: BTreeMap<ImageRequest, ImageConfig>,
    options: GraphOptions<'a>,
}

impl<'a> Bases<'a> {
    /// What the store has, if there is one, and layouts. Nothing is fetched to answer a question.
    pub async fn find(
        app: &App,
        wanted: Vec<ImageRequest>,
        options: &GraphOptions<'a>,
        places: &Places,
    ) -> Self {
        // No store is made for this, and one that cannot be used only means to know less.
        let store = app.existing_store().await;
        let images = store.map(|store| Images::new(store, client::Config::from_env));
        let mut known = BTreeMap::new();
        for image in wanted {
            if let Some(config) = look_up(images.as_ref(), &image, places).await {
                known.insert(image, config);
            }
        }
        let options = options.clone();
        Self { known, options }
    }

    /// What a build has found.
    pub fn of<'i>(
        images: impl Iterator<Item = (&'i ImageRequest, &'i ImageConfig)>,
        options: &GraphOptions<'a>,
    ) -> Self {
        Self {
            known: images.map(|(n, c)| (n.clone(), c.clone())).collect(),
            options: options.clone(),
        }
    }

    /// The configuration of an image.
    pub fn config(&self, image: &ImageRequest) -> Option<Config> {
        let document = self.known.get(image)?;
        Some(document.config.clone().unwrap_or_default())
    }

    /// What the build checks ask of an image, by the name in a FROM and its `--platform`.
    pub fn image(&self, name: &str, platform: Option<&str>) -> Option<BaseImage> {
        let name = match self.options.named.get(name) {
            // A folder sets no variable.
            Some((_, NamedContext::Tree | NamedContext::Scratch)) => {
                return Some(BaseImage::default());
            }
            Some((name, context)) => context.image(name)?,
            None => ImageName::Reference(name.parse::<Reference>().ok()?.or_latest()),
        };
        let platform = match platform {
            Some(platform) => platform.parse().ok()?,
            None => self.options.target_platform.clone(),
        };
        let document = self.known.get(&ImageRequest { name, platform })?;
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
    image: &ImageRequest,
    places: &Places,
) -> Option<ImageConfig> {
    match &image.name {
        ImageName::Reference(reference) => {
            let name = reference.to_string();
            let found = images?.find_for(&name, &image.platform).await;
            Some(found.ok()?.config)
        }
        ImageName::Stored(id) => {
            let found = images?.find_for(&id.to_string(), &image.platform).await;
            Some(found.ok()?.config)
        }
        ImageName::Layout(name) => match places.get(name)? {
            ContextPlace::Layout(place) => {
                let image = layout::open(place, &image.platform).await;
                Some(image.ok()?.image_config)
            }
            _ => None,
        },
    }
}
