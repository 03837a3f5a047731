//! What comes out of a query.

use sqlx::postgres::{PgRow, PgTypeInfo, Postgres};
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row, Type, TypeInfo, ValueRef};

/// A row of either.
#[derive(Clone, Copy)]
pub(in crate::meta) enum RowRef<'r> {
    Sqlite(&'r SqliteRow),
    Postgres(&'r PgRow),
}

/// A value of one column.
pub(in crate::meta) trait Column: Sized {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error>;
}

/// The values of a row, or of a part of it.
pub(in crate::meta) trait Columns: Sized {
    /// How many there are.
    const COUNT: usize;

    /// Reads them from the column `at` on.
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error>;
}

/// The values of a row that has two parts.
#[derive(Debug)]
pub(in crate::meta) struct Parts<A, B>(pub(in crate::meta) A, pub(in crate::meta) B);

impl<A: Columns, B: Columns> Columns for Parts<A, B> {
    const COUNT: usize = A::COUNT + B::COUNT;

    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        Ok(Self(A::read(row, at)?, B::read(row, at + A::COUNT)?))
    }
}

impl RowRef<'_> {
    fn is_null(self, at: usize) -> Result<bool, Error> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get_raw(at)?.is_null(),
            Self::Postgres(row) => row.try_get_raw(at)?.is_null(),
        })
    }
}

impl Column for String {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        match row {
            RowRef::Sqlite(row) => row.try_get(at),
            RowRef::Postgres(row) => row.try_get(at),
        }
    }
}

impl Column for Vec<u8> {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        match row {
            RowRef::Sqlite(row) => row.try_get(at),
            RowRef::Postgres(row) => row.try_get(at),
        }
    }
}

impl Column for i64 {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        match row {
            RowRef::Sqlite(row) => row.try_get(at),
            RowRef::Postgres(row) => number(row, at),
        }
    }
}

impl Column for u32 {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        let number = i64::read(row, at)?;
        Self::try_from(number).map_err(|e| Error::ColumnDecode {
            index: at.to_string(),
            source: e.into(),
        })
    }
}

impl Column for bool {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        Ok(i64::read(row, at)? != 0)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
        match row.is_null(at)? {
            true => Ok(None),
            false => T::read(row, at).map(Some),
        }
    }
}

/// SQLite has one kind of number; what PostgreSQL calculates has one of these.
fn number(row: &PgRow, at: usize) -> Result<i64, Error> {
    let value = row.try_get_raw(at)?;
    let kind = value.type_info();
    let is = |of: PgTypeInfo| *kind == of;
    if is(<i64 as Type<Postgres>>::type_info()) || value.is_null() {
        row.try_get(at)
    } else if is(<i32 as Type<Postgres>>::type_info()) {
        row.try_get::<i32, _>(at).map(i64::from)
    } else if is(<bool as Type<Postgres>>::type_info()) {
        row.try_get::<bool, _>(at).map(i64::from)
    } else {
        Err(Error::ColumnDecode {
            index: at.to_string(),
            source: format!("{} is no number here", kind.name()).into(),
        })
    }
}

macro_rules! columns {
    ($count:literal: $($name:ident $at:tt),+) => {
        impl<$($name: Column),+> Columns for ($($name,)+) {
            const COUNT: usize = $count;

            fn read(row: RowRef<'_>, at: usize) -> Result<Self, Error> {
                Ok(($($name::read(row, at + $at)?,)+))
            }
        }
    };
}

columns!(2: A 0, B 1);
columns!(3: A 0, B 1, C 2);
columns!(4: A 0, B 1, C 2, D 3);
columns!(5: A 0, B 1, C 2, D 3, E 4);
columns!(6: A 0, B 1, C 2, D 3, E 4, F 5);
columns!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
columns!(9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
