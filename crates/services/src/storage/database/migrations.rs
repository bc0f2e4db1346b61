//! Brings a database to the shape this program expects, forward only, each step in a transaction of its own under a lock.

use sha2::{Digest, Sha256};

use super::{Database, DatabaseError, Dialect, Transaction, Value};

/// One step. A step that has been released is never changed again.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its name, of the form `0001-jobs`. Steps run in the order in which they are listed.
    pub name: &'static str,
    /// Statements in SQLite's types (`INTEGER`, `REAL`, `TEXT`, `BLOB`, `STRICT`), which are translated for PostgreSQL.
    pub statements: &'static [&'static str],
    /// Statements for SQLite alone, after those.
    pub sqlite: &'static [&'static str],
    /// Statements for PostgreSQL alone.
    pub postgres: &'static [&'static str],
}

/// Any number that no other program uses as an advisory lock in the same database.
const LOCK: i64 = 0x0064_616e_7169_6e67;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";

pub(super) async fn run(database: &Database, migrations: &[Migration]) -> Result<(), DatabaseError> {
    let mut begun = locked(database).await?;
    define(&mut begun, TABLE).await?;
    begun.commit().await?;
    for (i, migration) in migrations.iter().enumerate() {
        let mut begun = locked(database).await?;
        let applied = begun.fetch("SELECT name, checksum FROM schema_migrations ORDER BY name", &[]).await?;
        if let Some(foreign) = applied
            .iter()
            .map(|row| row.get::<String>("name"))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .find(|name| migrations.iter().all(|m| m.name != name.as_str()))
        {
            return Err(DatabaseError::Schema(format!(
                "a newer danqing has used this database (step {foreign}): start that version, or restore a backup from before"
            )));
        }
        let checksum = checksum(migration);
        if let Some(row) = applied.get(i) {
            let (name, before): (String, String) = (row.get("name")?, row.get("checksum")?);
            if name != migration.name || before != checksum {
                return Err(DatabaseError::Schema(format!(
                    "step {name} of this database is not the one that this danqing knows: it was made by an unreleased version"
                )));
            }
            continue;
        }
        for statement in migration.statements {
            define(&mut begun, statement).await?;
        }
        let own = match begun.dialect() {
            Dialect::Sqlite => migration.sqlite,
            Dialect::Postgres => migration.postgres,
        };
        for statement in own {
            begun.execute(statement, &[]).await?;
        }
        let now = begun.now().await?;
        let row: [Value; 3] = [migration.name.into(), checksum.into(), now.into()];
        begun.execute("INSERT INTO schema_migrations (name, checksum, applied_at) VALUES ($1, $2, $3)", &row).await?;
        begun.commit().await?;
    }
    Ok(())
}

/// A transaction in which no other program migrates.
async fn locked(database: &Database) -> Result<Transaction, DatabaseError> {
    let mut begun = database.begin().await?;
    if begun.dialect() == Dialect::Postgres {
        begun.fetch("SELECT 1 AS locked FROM (SELECT pg_advisory_xact_lock($1)) AS waited", &[LOCK.into()]).await?;
    }
    Ok(begun)
}

/// Runs a statement of [`Migration::statements`].
async fn define(begun: &mut Transaction, statement: &'static str) -> Result<(), DatabaseError> {
    match begun.dialect() {
        Dialect::Sqlite => begun.execute(statement, &[]).await?,
        Dialect::Postgres => begun.define(translated(statement)).await?,
    };
    Ok(())
}

/// The same definition in PostgreSQL's types.
fn translated(statement: &str) -> String {
    statement
        .replace(" INTEGER", " BIGINT")
        .replace(" REAL", " DOUBLE PRECISION")
        .replace(" BLOB", " BYTEA")
        .replace(") STRICT", ")")
}

fn checksum(migration: &Migration) -> String {
    let mut digest = Sha256::new();
    for statement in [migration.statements, migration.sqlite, migration.postgres].into_iter().flatten() {
        digest.update(statement.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
