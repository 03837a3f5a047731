//! Finding the image that the user means.

use oci::{Digest, Platform, Reference};

use crate::db::sqlite::Connection;
use crate::db::{images, indexes};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::index::Content;
use crate::store::Store;

/// What a text can mean, in the order in which Docker tries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    /// Only this image, by its full ID.
    id: Option<Digest>,
    /// A tag, or a digest in a repository.
    reference: Option<Reference>,
    /// The beginning of an ID, with its algorithm.
    prefix: Option<String>,
}

fn meaning(text: &str) -> Result<Meaning> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = !hex.is_empty()
        && hex.len() <= 64
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let prefix = is_hex.then(|| format!("sha256:{hex}"));
    if let Some(id) = prefix.as_deref().and_then(|full| full.parse().ok()) {
        return Ok(Meaning {
            id: Some(id),
            reference: None,
            prefix: None,
        });
    }
    match text.parse::<Reference>() {
        Ok(reference) => Ok(Meaning {
            id: None,
            reference: Some(reference.or_latest()),
            prefix,
        }),
        Err(cause) => Err(Error::InvalidReference {
            text: text.to_owned(),
            cause,
        }),
    }
}

impl Meaning {
    fn not_found(&self, text: &str) -> Error {
        let familiar = match (&self.id, &self.reference) {
            (Some(id), _) => id.to_string(),
            (None, Some(reference)) => reference.familiar(),
            (None, None) => text.to_owned(),
        };
        Error::NoSuchImage {
            given: text.to_owned(),
            familiar,
        }
    }
}

/// What was found, with what the user is not shown.
#[expect(
    clippy::large_enum_variant,
    reason = "one exists at a time, and is matched by value"
)]
#[derive(Debug)]
pub(crate) enum Found {
    Image(images::StoredImage),
    Index(indexes::IndexRow),
}

impl Found {
    fn content(self) -> Content {
        match self {
            Self::Image(stored) => Content::Image(stored.image),
            Self::Index(stored) => Content::Index(stored.index),
        }
    }
}

/// An image or index by ID.
async fn by_digest(db: &mut Connection, id: &Digest) -> Result<Option<Found>> {
    Ok(match images::by_digest(db, id).await? {
        Some(image) => Some(Found::Image(image)),
        None => indexes::by_digest(db, id).await?.map(Found::Index),
    })
}

/// An image or index by name.
async fn by_reference(db: &mut Connection, reference: &Reference) -> Result<Option<Found>> {
    let repository = reference.repository().to_string();
    let (image, index) = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => (
            images::by_repo_digest(db, &repository, digest).await?,
            indexes::by_repo_digest(db, &repository, digest).await?,
        ),
        (None, Some(tag)) => (
            images::by_tag(db, &repository, tag).await?,
            indexes::by_tag(db, &repository, tag).await?,
        ),
        (None, None) => (None, None),
    };
    Ok(image.map(Found::Image).or(index.map(Found::Index)))
}

/// The image or index that a text means.
pub(crate) async fn look_up(db: &mut Connection, text: &str) -> Result<Found> {
    let meaning = meaning(text)?;
    let found = match (&meaning.id, &meaning.reference) {
        (Some(id), _) => by_digest(db, id).await?,
        (None, Some(reference)) => by_reference(db, reference).await?,
        (None, None) => None,
    };
    match (found, &meaning.prefix) {
        (Some(found), _) => Ok(found),
        (None, Some(prefix)) => match &images::by_prefix(db, prefix).await?[..] {
            [] => Err(meaning.not_found(text)),
            [id] => by_digest(db, id)
                .await?
                .ok_or_else(|| meaning.not_found(text)),
            _ => Err(Error::AmbiguousId {
                prefix: text.to_owned(),
            }),
        },
        (None, None) => Err(meaning.not_found(text)),
    }
}

impl Store {
    /// The image or index that a text means, by Docker's rules: a full ID; else a reference, with
    /// `latest` where it has no tag, or `repository@digest`; else the beginning of an ID. While a
    /// lease is held, its content then stays.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`], [`Error::InvalidReference`].
    pub async fn content(&self, text: &str) -> Result<Content> {
        let _gate = self.looking().await?;
        let mut db = self.0.db.lock().await;
        let found = look_up(&mut db, text).await?;
        match &found {
            Found::Image(stored) => {
                self.announce([&stored.image.id])?;
                self.note_use(&mut db, stored).await?;
            }
            Found::Index(stored) => {
                let index = &stored.index;
                self.announce(std::iter::once(&index.id).chain(index.images()))?;
                self.note_index_use(&mut db, stored).await?;
            }
        }
        Ok(found.content())
    }

    /// The image that a text means (see [`content`](Self::content)); of an index this machine's,
    /// else the first that is here.
    ///
    /// # Errors
    /// As [`content`](Self::content).
    pub async fn resolve(&self, text: &str) -> Result<Image> {
        self.resolve_for(text, None).await
    }

    /// The image that a text means, for a platform; [`resolve`](Self::resolve) when none is asked
    /// for.
    ///
    /// # Errors
    /// [`Error::NoPlatform`]; as [`content`](Self::content).
    pub async fn resolve_for(&self, text: &str, platform: Option<&Platform>) -> Result<Image> {
        let content = self.content(text).await?;
        self.image_of(text, content, platform).await
    }

    /// The image that something comes to for a platform.
    ///
    /// # Errors
    /// [`Error::NoPlatform`]; those of the database.
    pub async fn image_of(
        &self,
        text: &str,
        content: Content,
        platform: Option<&Platform>,
    ) -> Result<Image> {
        let lacks = |wanted: Platform, available: Vec<Platform>| Error::NoPlatform {
            name: text.to_owned(),
            wanted: Box::new(wanted),
            available: available.iter().map(ToString::to_string).collect(),
        };
        let index = match content {
            Content::Image(image) => {
                return match platform {
                    Some(wanted) if !wanted.runs(&image.platform) => {
                        Err(lacks(wanted.clone(), vec![image.platform]))
                    }
                    _ => Ok(image),
                };
            }
            Content::Index(index) => index,
        };
        let image = match index.select(platform) {
            Some(id) => self.image(id).await?,
            None => None,
        };
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        image.ok_or_else(|| lacks(wanted, index.platforms()))
    }

    /// The image or index that a reference points to, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Content>> {
        match self
            .content(&reference.clone().or_latest().to_string())
            .await
        {
            Ok(content) => Ok(Some(content)),
            Err(Error::NoSuchImage { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_an_id_a_reference_or_both() {
        let full = "a".repeat(64);
        for (text, id, reference, prefix) in [
            (full.as_str(), true, None, None),
            (&format!("sha256:{full}"), true, None, None),
            ("abc", false, Some("abc:latest"), Some("sha256:abc")),
            ("sha256:abc", false, Some("sha256:abc"), Some("sha256:abc")),
            ("app:v1", false, Some("app:v1"), None),
            (
                "localhost:5000/app",
                false,
                Some("localhost:5000/app:latest"),
                None,
            ),
        ] {
            let found = meaning(text).unwrap();
            assert_eq!(found.id.is_some(), id, "{text}");
            assert_eq!(
                found.reference.map(|r| r.familiar()).as_deref(),
                reference,
                "{text}"
            );
            assert_eq!(found.prefix.as_deref(), prefix, "{text}");
        }
        for text in ["", "App", "a b", "app:"] {
            assert!(
                matches!(meaning(text), Err(Error::InvalidReference { .. })),
                "{text:?}"
            );
        }
    }
}
