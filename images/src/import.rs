//! A root file system's tar as an image of one layer.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use oci::config::{Config, History, RootFs};
use oci::{DiffId, Digest, ImageConfig, Platform, Reference};
use store::NewImage;

use crate::document::ConfigDocument;
use crate::error::ImageError;
use crate::ingest::{IngestError, Promised, ingest};
use crate::service::Images;

/// What an imported image is to say about itself.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// How its containers are run.
    pub config: Config,
    /// The note in its history.
    pub message: String,
    /// What it is for.
    pub platform: Platform,
    /// Its time of creation, RFC 3339.
    pub created: String,
    /// Its names.
    pub tags: Vec<Reference>,
}

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive is no layer.
    #[error(transparent)]
    Layer(#[from] IngestError),
    /// The image cannot be stored.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// The image's configuration cannot be written.
    #[error(transparent)]
    Config(#[from] serde_json::Error),
}

impl From<store::Error> for ImportError {
    fn from(error: store::Error) -> Self {
        Self::Images(error.into())
    }
}

/// Makes an image of the tar that `source` gives, compressed or not, and names it. The tar is
/// read once: kept as it came, hashed, and unpacked all at the same time.
///
/// # Errors
/// [`ImportError`]; nothing is left of the image then.
pub async fn import(
    images: &Images,
    source: impl Read + Send + 'static,
    options: ImportOptions,
) -> Result<Digest, ImportError> {
    let staged = match rustix::process::geteuid().is_root() {
        true => Some(images.store.begin_snapshot().await?),
        false => None,
    };
    let upper = staged.as_ref().map(|staged| staged.upper().to_owned());
    let blobs = Arc::clone(images.store.blobs());
    let work = move || ingest(source, &blobs, upper.as_deref(), &Promised::default());
    let layer = tokio::task::spawn_blocking(work)
        .await
        .map_err(ImageError::from)??;
    let recorded = images
        .store
        .record_layer_blob(&layer.diff_id, layer.blob.clone());
    recorded.await?;
    if let Some(staged) = staged {
        let diff_id = layer.diff_id.clone();
        staged
            .commit(None, diff_id, layer.size_tar, layer.size_files, None)
            .await?;
    }
    let document = document(&layer.diff_id, &options)?;
    let image = NewImage {
        config: document.bytes,
        size: Some(layer.size_files),
        tags: options.tags,
        ..NewImage::default()
    };
    images.store.put_image(image).await?;
    Ok(document.id)
}

fn document(diff_id: &DiffId, options: &ImportOptions) -> Result<ConfigDocument, ImportError> {
    let mut config = ImageConfig {
        architecture: options.platform.architecture.clone(),
        os: options.platform.os.clone(),
        variant: options.platform.variant.clone(),
        created: Some(options.created.clone()),
        config: Some(options.config.clone()),
        history: vec![History {
            created: Some(options.created.clone()),
            comment: Some(options.message.clone()),
            ..History::default()
        }],
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![diff_id.clone()],
        },
        ..ImageConfig::default()
    };
    let comment = options.message.as_str().into();
    config.other.insert("comment".to_owned(), comment);
    Ok(ConfigDocument::new(&config)?)
}

/// Where the archive to import is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On standard input.
    Stdin,
    /// At an address.
    Url(String),
    /// In a file.
    File(PathBuf),
}

impl Source {
    /// As `docker import` understands it.
    pub fn new(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Self::Url(url.to_owned())
            }
            path => Self::File(path.into()),
        }
    }

    /// The note that `docker import` writes unless another is given.
    pub fn message(&self) -> String {
        match self {
            Self::Url(url) => format!("Imported from {url}"),
            Self::Stdin | Self::File(_) => "Imported from -".to_owned(),
        }
    }
}
