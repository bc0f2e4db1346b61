//! One database, embedded (SQLite) or served (PostgreSQL), behind one small face.
//!
//! Statements are written once, in the SQL that both understand (`$1` for values, `RETURNING`, `ON CONFLICT`); where they differ,
//! [`Database::dialect`] says which it is. Every writing statement runs in a [`Transaction`], which callers can share: a job is
//! enqueued in the transaction that also stores what it is for.

mod migrations;
mod postgres;
mod sqlite;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use migrations::Migration;
pub use value::{Row, Value};

use postgres::PostgresBackend;
use sqlite::SqliteBackend;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// An address that names no database.
    #[error("{0} is no database: give a file, sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME")]
    Address(String),
    /// The database was written by another version of the program.
    #[error("{0}")]
    Schema(String),
    /// The database refused or could not be reached.
    #[error("the database: {0}")]
    Sql(#[from] sqlx::Error),
}

impl DatabaseError {
    /// Whether a uniqueness rule refused the statement.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(e)) if e.is_unique_violation())
    }

    /// Whether the disk of the database is full.
    pub fn is_full(&self) -> bool {
        // SQLITE_FULL; PostgreSQL's disk_full.
        matches!(self, Self::Sql(sqlx::Error::Database(e)) if matches!(e.code().as_deref(), Some("13" | "53100")))
    }
}

/// Which SQL a database speaks where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

#[derive(Debug, Clone)]
enum Backend {
    Sqlite(SqliteBackend),
    Postgres(PostgresBackend),
}

/// Milliseconds since 1970.
#[derive(Debug, Clone)]
enum Clock {
    /// The database server's, or this machine's where the database is embedded.
    Real,
    /// One that tests set.
    Fixed(Arc<AtomicI64>),
}

/// A database that is open. Clones share it.
#[derive(Debug, Clone)]
pub struct Database {
    backend: Backend,
    clock: Clock,
}

impl Database {
    /// Opens `address` (a file, `sqlite:FILE` or `postgres://…`), makes it where it is embedded and missing, and brings it to the
    /// newest of `migrations`.
    ///
    /// # Errors
    /// An address that cannot be opened, or a database that a newer program has changed.
    pub async fn open(address: &str, migrations: &[Migration]) -> Result<Self, DatabaseError> {
        let backend = match address.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Backend::Postgres(PostgresBackend::open(address).await?),
            Some(("sqlite", file)) => Backend::Sqlite(SqliteBackend::open(file.trim_start_matches("//")).await?),
            Some((scheme, rest)) if rest.starts_with("//") && scheme.len() > 1 => {
                return Err(DatabaseError::Address(format!("{scheme}://…")));
            }
            _ => Backend::Sqlite(SqliteBackend::open(address).await?),
        };
        let database = Self { backend, clock: Clock::Real };
        migrations::run(&database, migrations).await?;
        Ok(database)
    }

    /// The same database with a clock that stands still until it is set. For tests of leases and delays.
    pub fn with_clock(mut self, millis: Arc<AtomicI64>) -> Self {
        self.clock = Clock::Fixed(millis);
        self
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a transaction that may write. On SQLite there is one at a time, and the others wait.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        let open = match &self.backend {
            Backend::Sqlite(backend) => Open::Sqlite(backend.begin().await?),
            Backend::Postgres(backend) => Open::Postgres(backend.begin().await?),
        };
        Ok(Transaction { open, dialect: self.dialect(), clock: self.clock.clone() })
    }

    /// Rows of one reading statement, as of now.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn read(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        match &self.backend {
            Backend::Sqlite(backend) => backend.read(sql, values).await,
            Backend::Postgres(backend) => backend.read(sql, values).await,
        }
    }

    /// Waits for everything under way and closes all connections.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(backend) => backend.close().await,
            Backend::Postgres(backend) => backend.close().await,
        }
    }
}

enum Open {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Statements that all happen or none. Dropped without [`Transaction::commit`] they did not.
pub struct Transaction {
    open: Open,
    dialect: Dialect,
    clock: Clock,
}

impl Transaction {
    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Runs a statement and says how many rows it changed.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, DatabaseError> {
        match &mut self.open {
            Open::Sqlite(open) => sqlite::execute(open, sql, values).await,
            Open::Postgres(open) => postgres::execute(open, sql, values).await,
        }
    }

    /// Rows of a statement.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn fetch(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        match &mut self.open {
            Open::Sqlite(open) => sqlite::fetch(open, sql, values).await,
            Open::Postgres(open) => postgres::fetch(open, sql, values).await,
        }
    }

    /// Runs a definition that this program has put together of its own texts.
    async fn define(&mut self, sql: String) -> Result<u64, DatabaseError> {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        Ok(match &mut self.open {
            Open::Sqlite(open) => query.execute(&mut **open).await?.rows_affected(),
            Open::Postgres(open) => query.execute(&mut **open).await?.rows_affected(),
        })
    }

    /// The time in milliseconds since 1970. A server's own, so that machines whose clocks disagree agree on leases.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn now(&mut self) -> Result<i64, DatabaseError> {
        if let Clock::Fixed(millis) = &self.clock {
            return Ok(millis.load(Ordering::SeqCst));
        }
        if self.dialect == Dialect::Sqlite {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        }
        let rows = self.fetch("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now", &[]).await?;
        rows.first().map_or(Ok(0), |row| row.get("now"))
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the database cannot promise that it is; nothing has happened then, as far as it can tell.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        match self.open {
            Open::Sqlite(open) => open.commit().await?,
            Open::Postgres(open) => open.commit().await?,
        }
        Ok(())
    }
}
