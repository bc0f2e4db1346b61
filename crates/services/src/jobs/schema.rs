//! The tables of the job queue.

use crate::storage::database::Migration;

/// The columns from which a [`super::Job`] is read.
macro_rules! columns {
    () => {
        "id, owner, kind, request, state, priority, cost, batch_key, attempt, failures, progress, stage, saved, result, error, \
         cancel_requested, created_at, started_at, finished_at"
    };
}
pub(super) use columns;

/// Makes the tables of the job queue.
pub const MIGRATION: Migration = Migration {
    name: "0001-jobs",
    statements: &[
        "CREATE TABLE job_queue (id INTEGER PRIMARY KEY CHECK (id = 1), paused INTEGER NOT NULL) STRICT",
        "INSERT INTO job_queue (id, paused) VALUES (1, 0)",
        // What each owner has been given, in cost; see `queue::OWNER`.
        "CREATE TABLE job_owners (owner TEXT PRIMARY KEY, virtual_time INTEGER NOT NULL) STRICT",
        "CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL REFERENCES job_owners (owner),
            kind TEXT NOT NULL,
            request TEXT NOT NULL,
            state TEXT NOT NULL,
            priority INTEGER NOT NULL,
            position INTEGER NOT NULL,
            cost INTEGER NOT NULL CHECK (cost > 0),
            batch_key TEXT,
            idempotency_key TEXT,
            available_at INTEGER NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            failures INTEGER NOT NULL DEFAULT 0,
            max_failures INTEGER NOT NULL,
            worker TEXT,
            lease_until INTEGER,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            progress REAL NOT NULL DEFAULT 0,
            stage TEXT,
            saved TEXT,
            result TEXT,
            error TEXT,
            created_at INTEGER NOT NULL,
            started_at INTEGER,
            finished_at INTEGER,
            UNIQUE (owner, idempotency_key)
        ) STRICT",
        "CREATE INDEX jobs_queued ON jobs (owner, position) WHERE state = 'queued'",
        "CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running'",
        "CREATE INDEX jobs_of_owner ON jobs (owner, id)",
    ],
    sqlite: &[],
    postgres: &[],
};
