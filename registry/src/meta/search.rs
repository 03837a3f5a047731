//! Repositories by words in their names, labels and annotations.

use sqlx::AssertSqlSafe;

use super::database::Meta;
use super::described::{RepositoryEntry, known};
use super::engine::query_as;
use super::error::MetaError;
use super::sql::from_sql;

/// The shortest piece of text that the index knows.
const SHORTEST: usize = 3;

/// Where all words of a search have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A whole part of the name, between slashes or at an end.
    Part,
    /// The beginning of a part of the name.
    Beginning,
    /// Anywhere in the name.
    Name,
    /// Anywhere in name, labels or annotations.
    Anywhere,
}

/// A question to the index: of repositories after the row `after`, the first `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery<'q> {
    /// What is looked for, in small letters; all of them have to be there.
    pub words: &'q [String],
    /// Where.
    pub place: Place,
    /// The last row of the page before; 0 for the first.
    pub after: i64,
    /// Entries wanted.
    pub n: u32,
}

impl SearchQuery<'_> {
    /// What the index is asked, and what it is too coarse for: short words, in names alone. Without
    /// the first, all names have to be looked at.
    fn split(&self) -> (Option<String>, Vec<String>) {
        let (mut indexed, mut short) = (Vec::new(), Vec::new());
        for word in self.words {
            let text = match self.place {
                Place::Part => format!("/{word}/"),
                Place::Beginning => format!("/{word}"),
                Place::Name | Place::Anywhere => word.clone(),
            };
            if text.chars().count() < SHORTEST {
                short.push(text);
            } else {
                // Quotes are all that means something within quotes.
                indexed.push(format!("\"{}\"", text.replace('"', "\"\"")));
            }
        }
        if indexed.is_empty() {
            return (None, short);
        }
        let all = indexed.join(" AND ");
        let matched = match self.place {
            Place::Anywhere => all,
            _ => format!("name : ({all})"),
        };
        (Some(matched), short)
    }
}

impl Meta {
    /// The repositories that a search finds, with their rows, in the order of these.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn search(
        &self,
        query: &SearchQuery<'_>,
    ) -> Result<Vec<(i64, RepositoryEntry)>, MetaError> {
        type Row = (i64, String, String, i64, i64, i64, i64);
        let (matched, short) = query.split();
        let from = match matched {
            // The index leads, and its rows come in order.
            Some(_) => {
                "repository_search s CROSS JOIN repository_list l ON l.repository_id = s.rowid
                 WHERE s.repository_search MATCH ?1 AND s.rowid > ?2"
            }
            None => "repository_list l WHERE ?1 IS NULL AND l.repository_id > ?2",
        };
        let order = match matched {
            Some(_) => "s.rowid",
            None => "l.repository_id",
        };
        let mut also = String::new();
        for at in 0..short.len() {
            also.push_str(&format!(
                " AND instr('/' || l.name || '/', ?{}) > 0",
                at + 4
            ));
        }
        let mut asked = query_as(AssertSqlSafe(format!(
            "SELECT l.repository_id, l.name, l.description, l.tags, l.bytes, l.pushed_at,
                    l.pulled_at
             FROM {from}{also} ORDER BY {order} LIMIT ?3"
        )))
        .bind(matched)
        .bind(query.after)
        .bind(query.n);
        for word in short {
            asked = asked.bind(word);
        }
        let rows: Vec<Row> = asked.fetch_all(&self.readers).await?;
        let entry = |(id, name, description, tags, bytes, pushed, pulled): Row| {
            let entry = RepositoryEntry {
                name,
                description,
                tags: from_sql(tags),
                bytes: from_sql(bytes),
                pushed: known(pushed),
                pulled: known(pulled),
            };
            (id, entry)
        };
        Ok(rows.into_iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_index_is_asked_is_quoted() {
        let split = |words: &[&str], place| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let query = SearchQuery {
                words: &words,
                place,
                after: 0,
                n: 1,
            };
            let (matched, short) = query.split();
            (matched.unwrap_or_default(), short.join(","))
        };
        for (words, place, matched, short) in [
            (&["app"][..], Place::Anywhere, "\"app\"", ""),
            (&["app", "db"], Place::Name, "name : (\"app\")", "db"),
            (&["a"], Place::Part, "name : (\"/a/\")", ""),
            (&["ab"], Place::Beginning, "name : (\"/ab\")", ""),
            (&["a"], Place::Beginning, "", "/a"),
            (&["a\" OR *"], Place::Anywhere, "\"a\"\" OR *\"", ""),
            (&["one", "two"], Place::Anywhere, "\"one\" AND \"two\"", ""),
        ] {
            let expected = (matched.to_owned(), short.to_owned());
            assert_eq!(split(words, place), expected, "{words:?} {place:?}");
        }
    }
}
