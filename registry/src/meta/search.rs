//! Repositories by words in their names, labels and annotations.

use sqlx::AssertSqlSafe;

use super::database::{Home, Meta};
use super::described::{RepositoryEntry, known};
use super::engine::{Question, query_as};
use super::error::MetaError;
use super::sql::from_sql;

/// The shortest piece of text that the index knows.
const SHORTEST: usize = 3;

/// Where all words of a search have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
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
    pub place: Within,
    /// The last row of the page before; 0 for the first.
    pub after: i64,
    /// Entries wanted.
    pub n: u32,
}

impl SearchQuery<'_> {
    /// What the index is asked, and what it is too coarse for: short words, in names alone. Without
    /// any of the first, all names have to be looked at.
    fn split(&self) -> (Vec<String>, Vec<String>) {
        let all = self.words.iter().map(|word| match self.place {
            Within::Part => format!("/{word}/"),
            Within::Beginning => format!("/{word}"),
            Within::Name | Within::Anywhere => word.clone(),
        });
        all.partition(|text| text.chars().count() >= SHORTEST)
    }

    /// The question to SQLite's index: quotes are all that means something within quotes.
    fn matched(&self, indexed: &[String]) -> Option<String> {
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let all: Vec<String> = indexed.iter().map(quoted).collect();
        let all = all.join(" AND ");
        (!indexed.is_empty()).then_some(match self.place {
            Within::Anywhere => all,
            _ => format!("name : ({all})"),
        })
    }

    /// SQLite's question: ?1 to the index, ?2 the row to begin after, ?3 how many; short words.
    fn for_sqlite(&self) -> Question<'static, Row> {
        let (indexed, short) = self.split();
        let matched = self.matched(&indexed);
        let (from, order) = match matched {
            // The index leads, and its rows come in order.
            Some(_) => (
                "repository_search s CROSS JOIN repository_list l ON l.repository_id = s.rowid
                 WHERE s.repository_search MATCH ?1 AND s.rowid > ?2",
                "s.rowid",
            ),
            None => (
                "repository_list l WHERE ?1 IS NULL AND l.repository_id > ?2",
                "l.repository_id",
            ),
        };
        let mut text = format!("SELECT {ENTRY} FROM {from}");
        for at in 4..short.len() + 4 {
            text.push_str(&format!(" AND instr('/' || l.name || '/', ?{at}) > 0"));
        }
        text.push_str(&format!(" ORDER BY {order} LIMIT ?3"));
        let asked = query_as(AssertSqlSafe(text))
            .bind(matched)
            .bind(self.after)
            .bind(self.n);
        short.into_iter().fold(asked, Question::bind)
    }

    /// PostgreSQL's question: ?1 the row to begin after, ?2 how many; short words; patterns.
    fn for_postgres(&self) -> Question<'static, Row> {
        let (indexed, short) = self.split();
        let mut text = format!(
            "SELECT {ENTRY} FROM repository_list l
             JOIN repository_search s ON s.rowid = l.repository_id WHERE l.repository_id > ?1"
        );
        let patterns = short.len() + 3;
        for at in 3..patterns {
            text.push_str(&format!(" AND instr('/' || l.name || '/', ?{at}) > 0"));
        }
        for at in patterns..patterns + indexed.len() {
            text.push_str(&match self.place {
                Within::Anywhere => format!(" AND (s.name LIKE ?{at} OR s.words LIKE ?{at})"),
                _ => format!(" AND s.name LIKE ?{at}"),
            });
        }
        text.push_str(" ORDER BY l.repository_id LIMIT ?2");
        let asked = query_as(AssertSqlSafe(text)).bind(self.after).bind(self.n);
        let patterns = indexed.iter().map(|text| pattern(text));
        short
            .into_iter()
            .chain(patterns)
            .fold(asked, Question::bind)
    }
}

/// A pattern for what has a text in it.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// What is shown of a repository `l`.
const ENTRY: &str =
    "l.repository_id, l.name, l.description, l.tags, l.bytes, l.pushed_at, l.pulled_at";

type Row = (i64, String, String, i64, i64, i64, i64);

impl Meta {
    /// The repositories that a search finds, with their rows, in the order of these.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn search(
        &self,
        query: &SearchQuery<'_>,
    ) -> Result<Vec<(i64, RepositoryEntry)>, MetaError> {
        let asked = match &self.home {
            Home::File(_) => query.for_sqlite(),
            Home::Server(_) => query.for_postgres(),
        };
        let rows = asked.fetch_all(&self.readers).await?;
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
    fn what_is_looked_for_means_nothing_in_a_pattern() {
        for (text, expected) in [("app", "%app%"), ("a_b%c", "%a\\_b\\%c%"), ("\\", "%\\\\%")] {
            assert_eq!(pattern(text), expected);
        }
    }

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
            let (indexed, short) = query.split();
            let matched = query.matched(&indexed);
            (matched.unwrap_or_default(), short.join(","))
        };
        for (words, place, matched, short) in [
            (&["app"][..], Within::Anywhere, "\"app\"", ""),
            (&["app", "db"], Within::Name, "name : (\"app\")", "db"),
            (&["a"], Within::Part, "name : (\"/a/\")", ""),
            (&["ab"], Within::Beginning, "name : (\"/ab\")", ""),
            (&["a"], Within::Beginning, "", "/a"),
            (&["a\" OR *"], Within::Anywhere, "\"a\"\" OR *\"", ""),
            (&["one", "two"], Within::Anywhere, "\"one\" AND \"two\"", ""),
        ] {
            let expected = (matched.to_owned(), short.to_owned());
            assert_eq!(split(words, place), expected, "{words:?} {place:?}");
        }
    }
}
