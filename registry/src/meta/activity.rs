//! What happened lately, for people.

use serde_json::{Map, Value};

use super::database::Meta;
use super::engine::{Connection, query, query_as};
use super::error::MetaError;
use crate::events::line;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Its number; later ones have larger ones.
    pub number: i64,
    /// The line of the audit log.
    pub line: Map<String, Value>,
}

/// Which of what happened is wanted; nothing said is anything.
#[derive(Clone, Debug, Default)]
pub struct ActivityQuery {
    /// Who did it.
    pub user: Option<String>,
    /// Where.
    pub repository: Option<String>,
    /// What it is.
    pub action: Option<String>,
    /// What came before this number.
    pub before: Option<i64>,
    /// How many at most, newest first.
    pub n: u32,
}

/// Notes what an event tells, in its transaction, and who moved or deleted a tag.
pub(super) async fn add(c: &mut Connection, event: &str) -> Result<(), MetaError> {
    let Some((_, mut line)) = line(event) else {
        return Ok(());
    };
    line.values_mut().for_each(without_nul);
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let (action, actor, repository) = (text("action"), text("user"), text("repository"));
    if let (false, false) = (text("tag").is_empty(), actor.is_empty()) {
        let whose = match action {
            "push" => {
                "UPDATE tags SET actor = ?1 WHERE name = ?2
                 AND repository_id = (SELECT id FROM repositories WHERE name = ?3)"
            }
            _ => {
                "UPDATE tag_past SET deleted_by = ?1 WHERE id = (
                     SELECT id FROM tag_past WHERE repository = ?3 AND tag = ?2
                     ORDER BY id DESC LIMIT 1)"
            }
        };
        if matches!(action, "push" | "delete") {
            query(whose)
                .bind(actor.to_owned())
                .bind(text("tag").to_owned())
                .bind(repository.to_owned())
                .execute(&mut *c)
                .await?;
        }
    }
    let (action, actor, repository) = (action.to_owned(), actor.to_owned(), repository.to_owned());
    query("INSERT INTO activity (action, actor, repository, line) VALUES (?, ?, ?, ?)")
        .bind(action)
        .bind(actor)
        .bind(repository)
        .bind(Value::Object(line).to_string())
        .execute(c)
        .await?;
    Ok(())
}

/// A name that somebody tried to log in with may have anything in it, and PostgreSQL reads no JSON
/// that has the character 0.
fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(list) => list.iter_mut().for_each(without_nul),
        Value::Object(object) => object.values_mut().for_each(without_nul),
        _ => {}
    }
}

impl Meta {
    /// What happened lately, newest first.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn activity(&self, query: &ActivityQuery) -> Result<Vec<Happening>, MetaError> {
        let rows: Vec<(i64, String)> = query_as(
            "SELECT id, line FROM activity
             WHERE id < coalesce(?1, 9223372036854775807) AND (?2 IS NULL OR actor = ?2)
               AND (?3 IS NULL OR repository = ?3) AND (?4 IS NULL OR action = ?4)
             ORDER BY id DESC LIMIT ?5",
        )
        .bind(query.before)
        .bind(query.user.clone())
        .bind(query.repository.clone())
        .bind(query.action.clone())
        .bind(query.n)
        .fetch_all(&self.readers)
        .await?;
        let happening = |(number, line): (i64, String)| {
            let line = serde_json::from_str(&line).ok()?;
            Some(Happening { number, line })
        };
        Ok(rows.into_iter().filter_map(happening).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_0_is_left_at_any_depth() {
        let mut value = serde_json::json!({ "a": ["b\0", { "c": "\0" }], "d": "\\u0000", "e": 0 });
        without_nul(&mut value);
        let expected = serde_json::json!({
            "a": ["b\u{fffd}", { "c": "\u{fffd}" }], "d": "\\u0000", "e": 0
        });
        assert_eq!(value, expected);
    }
}
