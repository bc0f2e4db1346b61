//! What workers do with jobs: claim, renew, save, complete, fail, give back; and the recovery of those whose worker is gone.

use super::schema::columns;
use super::{Job, JobError, JobState, Jobs};
use crate::storage::database::{Dialect, Row, Transaction, Value};

/// What a worker can do.
#[derive(Debug, Clone)]
pub struct ClaimWish {
    /// The worker's name, for people who look.
    pub worker: String,
    /// Kinds of job that it can do.
    pub kinds: Vec<String>,
    /// Jobs of one batch that it can do together, at least 1.
    pub limit: u32,
}

/// The right to change a job: that of one claim, until another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub id: String,
    /// The number of the claim.
    pub attempt: i64,
}

/// A job and the right to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The job.
    pub job: Job,
    /// The right.
    pub lease: Lease,
}

/// What a worker learns when it renews a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The job is still its own.
    GoOn,
    /// Its owner does not want it any more: stop, then [`Jobs::stopped`].
    Cancel,
    /// It was given to another: stop, nothing that is made counts.
    Lost,
}

/// Why a job was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For its owner to read.
    pub message: String,
    /// Whether another try could go better.
    pub again: bool,
}

/// What became of jobs whose worker was gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// They wait again.
    pub queued: Vec<String>,
    /// They were given up.
    pub dead: Vec<String>,
    /// They were to be cancelled anyway.
    pub cancelled: Vec<String>,
}

/// Waiting jobs in the order in which they are given out.
macro_rules! waiting {
    ($columns:literal, $more:literal, $lock:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM jobs j JOIN job_owners o ON o.owner = j.owner \
              WHERE j.state = 'queued' AND j.available_at <= $1 AND $2 LIKE '%,' || j.kind || ',%' \
              AND NOT EXISTS (SELECT 1 FROM job_queue WHERE paused = 1)",
            $more,
            " ORDER BY j.priority DESC, o.virtual_time, j.position, j.id ",
            $lock
        )
    };
}

impl Jobs {
    /// The next job for a worker, and others of the same batch. Nothing if none waits.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn claim(&self, wish: &ClaimWish) -> Result<Vec<Claimed>, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let kinds: String = wish.kinds.iter().fold(",".into(), |all, kind| all + kind + ",");
        let first = match begun.dialect() {
            Dialect::Sqlite => waiting!("j.id, j.batch_key", "", "LIMIT 1"),
            Dialect::Postgres => waiting!("j.id, j.batch_key", "", "LIMIT 1 FOR UPDATE OF j SKIP LOCKED"),
        };
        let rows = begun.fetch(first, &[now.into(), kinds.as_str().into()]).await?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let mut ids: Vec<String> = vec![first.get("id")?];
        if let (Some(batch), true) = (first.get::<Option<String>>("batch_key")?, wish.limit > 1) {
            let more = match begun.dialect() {
                Dialect::Sqlite => waiting!("j.id", " AND j.batch_key = $3 AND j.id <> $4", "LIMIT $5"),
                Dialect::Postgres => {
                    waiting!("j.id", " AND j.batch_key = $3 AND j.id <> $4", "LIMIT $5 FOR UPDATE OF j SKIP LOCKED")
                }
            };
            let values =
                [now.into(), kinds.as_str().into(), batch.into(), ids[0].as_str().into(), (wish.limit - 1).into()];
            for row in begun.fetch(more, &values).await? {
                ids.push(row.get("id")?);
            }
        }
        let lease_until = now + self.lease.as_millis() as i64;
        let mut claimed = Vec::with_capacity(ids.len());
        for id in ids {
            let values: [Value; 4] = [id.into(), wish.worker.as_str().into(), lease_until.into(), now.into()];
            let rows = begun
                .fetch(
                    concat!(
                        "UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $2, lease_until = $3, \
                         started_at = COALESCE(started_at, $4) WHERE id = $1 RETURNING ",
                        columns!()
                    ),
                    &values,
                )
                .await?;
            for row in &rows {
                let job = Job::read(row)?;
                claimed.push(Claimed { lease: Lease { id: job.id.clone(), attempt: job.attempt }, job });
            }
        }
        // In one order, so that two workers cannot wait for each other.
        let mut owners: Vec<(&str, i64)> = claimed.iter().map(|c| (c.job.owner.as_str(), c.job.cost)).collect();
        owners.sort_unstable();
        for (owner, cost) in owners {
            let sql = "UPDATE job_owners SET virtual_time = virtual_time + $2 WHERE owner = $1";
            begun.execute(sql, &[owner.into(), cost.into()]).await?;
        }
        begun.commit().await?;
        Ok(claimed)
    }

    /// Renews a lease and notes how far the job is: a share of 0 to 1 and what is being done.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn beat(&self, lease: &Lease, progress: f64, stage: Option<&str>) -> Result<Beat, JobError> {
        let mut begun = self.database.begin().await?;
        let until = begun.now().await? + self.lease.as_millis() as i64;
        let rows = begun
            .fetch(
                "UPDATE jobs SET lease_until = $3, progress = $4, stage = $5 \
                 WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING cancel_requested",
                &[
                    lease.id.as_str().into(),
                    lease.attempt.into(),
                    until.into(),
                    (if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 }).into(),
                    stage.into(),
                ],
            )
            .await?;
        begun.commit().await?;
        Ok(match rows.first().map(|row| row.flag("cancel_requested")).transpose()? {
            None => Beat::Lost,
            Some(true) => Beat::Cancel,
            Some(false) => Beat::GoOn,
        })
    }

    /// Notes the blob from which the job can go on, and returns the one before.
    ///
    /// # Errors
    /// [`JobError::Lost`] where the job is another worker's.
    pub async fn save(&self, lease: &Lease, blob: &str) -> Result<Option<String>, JobError> {
        let mut begun = self.database.begin().await?;
        let before = match begun.dialect() {
            Dialect::Sqlite => "SELECT saved FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running'",
            Dialect::Postgres => {
                "SELECT saved FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running' FOR UPDATE"
            }
        };
        let rows = begun.fetch(before, &[lease.id.as_str().into(), lease.attempt.into()]).await?;
        let row = rows.first().ok_or_else(|| JobError::Lost(lease.id.clone()))?;
        begun.execute("UPDATE jobs SET saved = $2 WHERE id = $1", &[lease.id.as_str().into(), blob.into()]).await?;
        begun.commit().await?;
        Ok(row.get("saved")?)
    }

    /// Completes a job in the transaction that stores what it made. Its result is set once, by the newest claim.
    ///
    /// # Errors
    /// [`JobError::Lost`] where the job is another worker's or is over: the transaction must then be dropped.
    pub async fn complete(
        &self,
        begun: &mut Transaction,
        lease: &Lease,
        result: &serde_json::Value,
    ) -> Result<Job, JobError> {
        let now = begun.now().await?;
        let rows = begun
            .fetch(
                concat!(
                    "UPDATE jobs SET state = 'done', result = $3, progress = 1, stage = NULL, error = NULL, finished_at = $4, \
                     worker = NULL, lease_until = NULL WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING ",
                    columns!()
                ),
                &[lease.id.as_str().into(), lease.attempt.into(), result.to_string().into(), now.into()],
            )
            .await?;
        held(lease, &rows)
    }

    /// Notes that a job was not done. It waits again, longer after each failure (1 s, 4 s, 9 s …), or is over.
    ///
    /// # Errors
    /// [`JobError::Lost`] where the job is another worker's.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<Job, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let rows = begun
            .fetch(
                concat!(
                    "UPDATE jobs SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled' WHEN $3 = 0 THEN 'failed' \
                     WHEN failures + 1 >= max_failures THEN 'dead' ELSE 'queued' END, \
                     finished_at = CASE WHEN cancel_requested = 1 OR $3 = 0 OR failures + 1 >= max_failures THEN CAST($4 AS BIGINT) END, \
                     available_at = $4 + 1000 * (failures + 1) * (failures + 1), failures = failures + 1, error = $5, stage = NULL, \
                     worker = NULL, lease_until = NULL WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING ",
                    columns!()
                ),
                &[
                    lease.id.as_str().into(),
                    lease.attempt.into(),
                    failure.again.into(),
                    now.into(),
                    failure.message.as_str().into(),
                ],
            )
            .await?;
        let job = held(lease, &rows)?;
        begun.commit().await?;
        Ok(job)
    }

    /// Gives a job back that was begun and cannot be finished now, because the worker is asked to end. It counts as no failure.
    ///
    /// # Errors
    /// [`JobError::Lost`] where the job is another worker's.
    pub async fn release(&self, lease: &Lease) -> Result<Job, JobError> {
        self.end(
            lease,
            concat!(
                "UPDATE jobs SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'queued' END, \
                 finished_at = CASE WHEN cancel_requested = 1 THEN CAST($3 AS BIGINT) END, stage = NULL, worker = NULL, lease_until = NULL \
                 WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING ",
                columns!()
            ),
        )
        .await
    }

    /// Notes that a job was stopped as its owner wished.
    ///
    /// # Errors
    /// [`JobError::Lost`] where the job is another worker's.
    pub async fn stopped(&self, lease: &Lease) -> Result<Job, JobError> {
        self.end(
            lease,
            concat!(
                "UPDATE jobs SET state = 'cancelled', finished_at = $3, stage = NULL, worker = NULL, lease_until = NULL \
                 WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING ",
                columns!()
            ),
        )
        .await
    }

    async fn end(&self, lease: &Lease, sql: &'static str) -> Result<Job, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let rows = begun.fetch(sql, &[lease.id.as_str().into(), lease.attempt.into(), now.into()]).await?;
        let job = held(lease, &rows)?;
        begun.commit().await?;
        Ok(job)
    }

    /// Finds jobs whose lease has run out. They wait again, at once, unless they were tried too often.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn recover(&self) -> Result<Recovered, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let rows = begun
            .fetch(
                "UPDATE jobs SET state = CASE WHEN cancel_requested = 1 THEN 'cancelled' \
                 WHEN failures + 1 >= max_failures THEN 'dead' ELSE 'queued' END, \
                 finished_at = CASE WHEN cancel_requested = 1 OR failures + 1 >= max_failures THEN CAST($1 AS BIGINT) END, \
                 available_at = $1, failures = failures + 1, error = 'its worker was gone', stage = NULL, worker = NULL, \
                 lease_until = NULL WHERE state = 'running' AND lease_until < $1 RETURNING id, state",
                &[now.into()],
            )
            .await?;
        begun.commit().await?;
        let mut recovered = Recovered::default();
        for row in &rows {
            let to = match JobState::named(&row.get::<String>("state")?)? {
                JobState::Dead => &mut recovered.dead,
                JobState::Cancelled => &mut recovered.cancelled,
                _ => &mut recovered.queued,
            };
            to.push(row.get("id")?);
        }
        if !recovered.queued.is_empty() {
            self.wake();
        }
        Ok(recovered)
    }
}

/// The job that a statement has changed, if the lease still held.
fn held(lease: &Lease, rows: &[Row]) -> Result<Job, JobError> {
    rows.first().map(Job::read).transpose()?.ok_or_else(|| JobError::Lost(lease.id.clone()))
}
