//! Values that go into a query.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Error};

/// A value of a kind that both databases have, or null of that kind: PostgreSQL has to know which.
#[derive(Clone, Debug)]
pub(in crate::meta) enum Value<'q> {
    Text(Option<Cow<'q, str>>),
    Integer(Option<i64>),
    Bytes(Option<Cow<'q, [u8]>>),
}

/// What can be bound.
pub(in crate::meta) trait Bind<'q> {
    /// The kind of it, without a value.
    const NULL: Value<'q>;

    fn value(self) -> Value<'q>;
}

impl<'q> Bind<'q> for &'q str {
    const NULL: Value<'q> = Value::Text(None);

    fn value(self) -> Value<'q> {
        Value::Text(Some(Cow::Borrowed(self)))
    }
}

impl<'q> Bind<'q> for String {
    const NULL: Value<'q> = Value::Text(None);

    fn value(self) -> Value<'q> {
        Value::Text(Some(Cow::Owned(self)))
    }
}

impl<'q> Bind<'q> for &'q String {
    const NULL: Value<'q> = Value::Text(None);

    fn value(self) -> Value<'q> {
        self.as_str().value()
    }
}

impl<'q> Bind<'q> for i64 {
    const NULL: Value<'q> = Value::Integer(None);

    fn value(self) -> Value<'q> {
        Value::Integer(Some(self))
    }
}

impl<'q> Bind<'q> for u32 {
    const NULL: Value<'q> = Value::Integer(None);

    fn value(self) -> Value<'q> {
        i64::from(self).value()
    }
}

/// Columns that say yes or no are numbers.
impl<'q> Bind<'q> for bool {
    const NULL: Value<'q> = Value::Integer(None);

    fn value(self) -> Value<'q> {
        i64::from(self).value()
    }
}

impl<'q> Bind<'q> for &'q [u8] {
    const NULL: Value<'q> = Value::Bytes(None);

    fn value(self) -> Value<'q> {
        Value::Bytes(Some(Cow::Borrowed(self)))
    }
}

impl<'q, T: Bind<'q>> Bind<'q> for Option<T> {
    const NULL: Value<'q> = T::NULL;

    fn value(self) -> Value<'q> {
        self.map_or(T::NULL, T::value)
    }
}

/// All values, for SQLite.
pub(super) fn for_sqlite(values: Vec<Value<'_>>) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.map(Cow::into_owned)),
            Value::Integer(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes.map(Cow::into_owned)),
        }
        .map_err(Error::Encode)?;
    }
    Ok(arguments)
}

/// The values that a statement of PostgreSQL's has, in its order. Where there are fewer, the rest
/// is null, as it is to SQLite.
pub(super) fn for_postgres(
    values: &[Value<'_>],
    parameters: &[usize],
) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for at in parameters {
        match values.get(*at) {
            Some(Value::Text(text)) => arguments.add(text.as_deref().map(without_nul)),
            Some(Value::Integer(number)) => arguments.add(*number),
            Some(Value::Bytes(bytes)) => arguments.add(bytes.as_deref()),
            None => arguments.add(None::<&str>),
        }
        .map_err(Error::Encode)?;
    }
    Ok(arguments)
}

/// PostgreSQL's text has no character 0. What is looked for with one is not there, and labels that
/// have one are shown with the mark for what is no character.
fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_postgresql_has_no_nul() {
        for (text, expected) in [("a", "a"), ("", ""), ("\0a\0", "\u{fffd}a\u{fffd}")] {
            assert_eq!(without_nul(text), expected);
        }
    }

    #[test]
    fn only_what_a_statement_uses_is_sent_with_it() {
        let values = [
            1_i64.value(),
            "a".value(),
            None::<i64>.value(),
            b"b"[..].value(),
        ];
        for (parameters, count) in [(&[][..], 0), (&[1], 1), (&[3, 2, 0], 3), (&[9], 1)] {
            let arguments = for_postgres(&values, parameters).map(|a| a.len());
            assert_eq!(arguments.ok(), Some(count), "{parameters:?}");
        }
        assert_eq!(for_sqlite(values.to_vec()).map(|a| a.len()).ok(), Some(4));
    }
}
