//! Lists of names in pages, each of which says where the next one is.

use std::collections::HashSet;

use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::next_link;
use crate::origin::Origin;
use crate::text::shown;

/// Names in one listing; more would be a registry that pages for ever.
const MAX_NAMES: usize = 1_000_000;

/// A page of tags (distribution-spec, "Listing Tags").
#[derive(Deserialize)]
pub(crate) struct TagPage {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// A page of repositories (Docker Registry HTTP API V2, "Catalog").
#[derive(Deserialize)]
pub(crate) struct CatalogPage {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

/// What a page holds.
pub(crate) trait Names: DeserializeOwned {
    fn names(self) -> Vec<String>;
}

impl Names for TagPage {
    fn names(self) -> Vec<String> {
        self.tags.unwrap_or_default()
    }
}

impl Names for CatalogPage {
    fn names(self) -> Vec<String> {
        self.repositories.unwrap_or_default()
    }
}

/// The pages of one list, as they come.
pub(crate) struct Pages<'e> {
    endpoint: &'e Endpoint,
    seen: HashSet<Url>,
    next: Option<Url>,
    names: Vec<String>,
}

impl<'e> Pages<'e> {
    /// A list that begins at a URL.
    pub(crate) fn new(endpoint: &'e Endpoint, first: Url) -> Self {
        Self {
            endpoint,
            seen: HashSet::new(),
            next: Some(first),
            names: Vec::new(),
        }
    }

    /// The page to be asked for; `None` when the list is whole.
    ///
    /// # Errors
    /// [`Error::Protocol`] for pages without end, or on another server.
    pub(crate) fn next(&mut self) -> Result<Option<Url>, Error> {
        let Some(url) = self.next.take() else {
            return Ok(None);
        };
        let why = if Origin::of(&url).as_ref() != Some(&self.endpoint.home) {
            "the next page is on another server"
        } else if !self.seen.insert(url.clone()) || self.names.len() > MAX_NAMES {
            "the registry's pages have no end"
        } else {
            return Ok(Some(url));
        };
        Err(protocol(&url, why))
    }

    /// Finds the next page in the answer to this one.
    pub(crate) fn follow(&mut self, url: &Url, headers: &HeaderMap) {
        self.next =
            next_link(headers, url).and_then(|link| self.endpoint.location(url, link.as_str()));
    }

    /// Takes the names of a page.
    ///
    /// # Errors
    /// [`Error::Protocol`] for what is no such page.
    pub(crate) fn add<P: Names>(&mut self, url: &Url, body: &[u8]) -> Result<(), Error> {
        let page: P = serde_json::from_slice(body)
            .map_err(|e| protocol(url, &format!("the answer is not the JSON expected: {e}")))?;
        self.names.extend(page.names());
        Ok(())
    }

    /// All names, in the registry's order.
    pub(crate) fn whole(self) -> Vec<String> {
        self.names
    }
}

fn protocol(url: &Url, reason: &str) -> Error {
    Error::Protocol {
        what: format!("GET {}", shown(url)),
        reason: reason.to_owned(),
    }
}
