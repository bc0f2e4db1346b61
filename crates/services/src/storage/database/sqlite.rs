//! The embedded database: one writing connection, several that only read, in write-ahead mode with every commit on disk.

use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use super::value::bound;
use super::{DatabaseError, Row, Value};

/// Connections that read beside the one that writes.
const READERS: u32 = 4;
/// How long a statement waits for another program that writes to the same file.
const BUSY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct SqliteBackend {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteBackend {
    pub(super) async fn open(file: &str) -> Result<Self, DatabaseError> {
        if file.is_empty() {
            return Err(DatabaseError::Address("an empty name".into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(Path::new(file))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may lose the last commits when the power goes.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer = PoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let readers =
            PoolOptions::new().max_connections(READERS).connect_with(options.pragma("query_only", "ON")).await?;
        Ok(Self { writer, readers })
    }

    /// A transaction that holds the right to write from its beginning: one that asks for it later can be refused.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, DatabaseError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    pub(super) async fn read(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        fetch(&mut *self.readers.acquire().await?, sql, values).await
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<u64, DatabaseError> {
    Ok(bound!(Sqlite, sql, values).execute(connection).await?.rows_affected())
}

pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<Row>, DatabaseError> {
    let rows = bound!(Sqlite, sql, values).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}
