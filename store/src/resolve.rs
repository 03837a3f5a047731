//! Finding the image that the user means.

use oci::{Digest, Reference};

use crate::db::images as table;
use crate::db::sqlite::Connection;
use crate::error::{Error, Result};
use crate::image::Image;
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

/// The image that a text means.
pub(crate) async fn look_up(db: &mut Connection, text: &str) -> Result<table::StoredImage> {
    let meaning = meaning(text)?;
    let found = match (&meaning.id, &meaning.reference) {
        (Some(id), _) => table::by_digest(db, id).await?,
        (None, Some(reference)) => {
            let repository = reference.repository().to_string();
            match (reference.digest(), reference.tag()) {
                (Some(digest), _) => table::by_repo_digest(db, &repository, digest).await?,
                (None, Some(tag)) => table::by_tag(db, &repository, tag).await?,
                (None, None) => None,
            }
        }
        (None, None) => None,
    };
    match (found, &meaning.prefix) {
        (Some(found), _) => Ok(found),
        (None, Some(prefix)) => match &table::by_prefix(db, prefix).await?[..] {
            [] => Err(meaning.not_found(text)),
            [id] => table::by_digest(db, id)
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
    /// The image that a text means, by Docker's rules: a full ID; else a reference, with `latest`
    /// where it has no tag, or `repository@digest`; else the beginning of an ID. While a lease is
    /// held, its content then stays.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`], [`Error::InvalidReference`].
    pub async fn resolve(&self, text: &str) -> Result<Image> {
        let _gate = self.looking().await?;
        let mut db = self.0.db.lock().await;
        let found = look_up(&mut db, text).await?;
        self.announce([&found.image.id])?;
        self.note_use(&mut db, &found).await?;
        Ok(found.image)
    }

    /// The image that a reference points to, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Image>> {
        match self
            .resolve(&reference.clone().or_latest().to_string())
            .await
        {
            Ok(image) => Ok(Some(image)),
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
