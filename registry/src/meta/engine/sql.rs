//! The text of a query.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// The text of a query, for each database.
#[derive(Debug)]
pub(in crate::meta) struct Sql(Texts);

#[derive(Debug)]
enum Texts {
    Both(SqlStr),
    Each { sqlite: SqlStr, postgres: SqlStr },
}

impl Sql {
    /// What has to be said to each in words of its own.
    pub(in crate::meta) fn each(sqlite: impl SqlSafeStr, postgres: impl SqlSafeStr) -> Self {
        Self(Texts::Each {
            sqlite: sqlite.into_sql_str(),
            postgres: postgres.into_sql_str(),
        })
    }

    pub(super) fn for_sqlite(self) -> SqlStr {
        match self.0 {
            Texts::Both(text) | Texts::Each { sqlite: text, .. } => text,
        }
    }

    pub(super) fn for_postgres(self) -> SqlStr {
        match self.0 {
            Texts::Both(text) | Texts::Each { postgres: text, .. } => text,
        }
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self(Texts::Both(text.into_sql_str()))
    }
}

impl From<AssertSqlSafe<String>> for Sql {
    fn from(text: AssertSqlSafe<String>) -> Self {
        Self(Texts::Both(text.into_sql_str()))
    }
}
