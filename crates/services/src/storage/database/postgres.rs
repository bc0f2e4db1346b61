//! The served database: a pool of connections to PostgreSQL.

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Postgres, Transaction};

use super::value::bound;
use super::{DatabaseError, Row, Value};

/// Connections of one program.
const CONNECTIONS: u32 = 8;

#[derive(Debug, Clone)]
pub(super) struct PostgresBackend(PgPool);

impl PostgresBackend {
    pub(super) async fn open(address: &str) -> Result<Self, DatabaseError> {
        Ok(Self(PoolOptions::new().max_connections(CONNECTIONS).connect(address).await?))
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        Ok(self.0.begin().await?)
    }

    pub(super) async fn read(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        fetch(&mut *self.0.acquire().await?, sql, values).await
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

pub(super) async fn execute(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<u64, DatabaseError> {
    Ok(bound!(Postgres, sql, values).execute(connection).await?.rows_affected())
}

pub(super) async fn fetch(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<Vec<Row>, DatabaseError> {
    let rows = bound!(Postgres, sql, values).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}
