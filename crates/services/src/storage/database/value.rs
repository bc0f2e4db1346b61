//! Values that go into a statement and rows that come out.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::DatabaseError;

/// A value of a statement. Nothing has a type too: PostgreSQL wants to know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(Option<i64>),
    /// A real number.
    Real(Option<f64>),
    /// Text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

macro_rules! from {
    ($($from:ty => $kind:ident, $convert:expr;)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(Some($convert(value)))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map($convert))
            }
        }
    )*};
}

from! {
    i64 => Integer, |v| v;
    u32 => Integer, i64::from;
    bool => Integer, i64::from;
    f64 => Real, |v| v;
    String => Text, |v| v;
    &str => Text, str::to_owned;
    &String => Text, String::clone;
    Vec<u8> => Bytes, |v| v;
    &[u8] => Bytes, <[u8]>::to_vec;
}

/// A row of a result.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The column `name`: `i64`, `f64`, `String`, `Vec<u8>` or an `Option` of one.
    ///
    /// # Errors
    /// When there is no such column or it holds another type.
    pub fn get<T>(&self, name: &str) -> Result<T, DatabaseError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(name)?,
            Self::Postgres(row) => row.try_get(name)?,
        })
    }

    /// The column `name`, which holds 0 or 1.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn flag(&self, name: &str) -> Result<bool, DatabaseError> {
        Ok(self.get::<i64>(name)? != 0)
    }
}

/// A statement with its values, for the driver `$driver`.
macro_rules! bound {
    ($driver:ty, $sql:expr, $values:expr) => {
        $values.iter().cloned().fold(sqlx::query::<$driver>($sql), |query, value| match value {
            Value::Integer(v) => query.bind(v),
            Value::Real(v) => query.bind(v),
            Value::Text(v) => query.bind(v),
            Value::Bytes(v) => query.bind(v),
        })
    };
}
pub(super) use bound;
