//! Repositories by words, the best first.

use std::collections::HashSet;

use crate::meta::{RepositoryEntry, SearchQuery, Within};
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// Words that are looked for; more say nothing more.
const WORDS: usize = 8;
/// Repositories that are looked at for each one that is wanted: the best of them are shown.
const CANDIDATES: usize = 4;
/// The first page that the index is asked for.
const FIRST: u32 = 200;
/// The largest.
const LARGEST: u32 = 10_000;

impl Registry {
    /// Up to `n` of those repositories for which `visible` is true and that have all words of
    /// `text` in their names, labels or annotations. First those that have them as a whole part of
    /// the name, then as the beginning of one, then anywhere in it; among equals those with the
    /// newest push.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn search(
        &self,
        text: &str,
        n: usize,
        visible: impl Fn(&str) -> bool,
    ) -> Result<Vec<RepositoryEntry>, ServiceError> {
        let text = text.to_lowercase();
        // SQLite takes text with a null to end there.
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        let words: Vec<String> = words.filter(|w| !w.is_empty()).map(str::to_owned).collect();
        let words = &words[..words.len().min(WORDS)];
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for place in [
            Within::Part,
            Within::Beginning,
            Within::Name,
            Within::Anywhere,
        ] {
            if found.len() >= n {
                break;
            }
            let mut these = self
                .candidates(
                    words,
                    place,
                    n.saturating_mul(CANDIDATES),
                    &visible,
                    &mut seen,
                )
                .await?;
            these.sort_by(|a, b| {
                let exact = |entry: &RepositoryEntry| entry.name != text;
                let key = |entry: &RepositoryEntry| (exact(entry), -entry.pushed.unwrap_or(0));
                key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
            });
            found.append(&mut these);
        }
        found.truncate(n);
        Ok(found)
    }

    /// Some repositories that have the words in this place and were not seen before.
    async fn candidates(
        &self,
        words: &[String],
        place: Within,
        wanted: usize,
        visible: impl Fn(&str) -> bool,
        seen: &mut HashSet<i64>,
    ) -> Result<Vec<RepositoryEntry>, ServiceError> {
        let mut found = Vec::new();
        let (mut after, mut step) = (0, FIRST);
        while found.len() < wanted {
            let query = SearchQuery {
                words,
                place,
                after,
                n: step,
            };
            let page = self.meta.search(&query).await?;
            let full = page.len() == step as usize;
            for (row, entry) in page {
                after = row;
                if visible(&entry.name) && found.len() < wanted && seen.insert(row) {
                    found.push(entry);
                }
            }
            if !full {
                break;
            }
            step = step.saturating_mul(2).min(LARGEST);
        }
        Ok(found)
    }
}
