//! What owners of jobs do with them: enqueue, look, cancel, hold, reorder, try again.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use super::schema::columns;
use super::{Job, JobError, JobState, NewJob};
use crate::actor::Actor;
use crate::storage::database::{Database, Dialect, Row, Transaction, Value};

/// Longest request in bytes of JSON.
const MAX_REQUEST: usize = 1 << 20;
/// Between the positions of two jobs enqueued one after the other: how often can be moved in between before all are numbered anew.
const GAP: i64 = 1 << 20;

/// Notes an owner. One who had nothing waiting begins where those who wait stand: nobody saves up turns by staying away.
const OWNER: &str = "INSERT INTO job_owners (owner, virtual_time) VALUES ($1, COALESCE(\
     (SELECT MIN(o.virtual_time) FROM job_owners o WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.owner = o.owner AND j.state = 'queued')), \
     (SELECT MAX(virtual_time) FROM job_owners), 0)) \
     ON CONFLICT (owner) DO UPDATE SET virtual_time = CASE \
     WHEN job_owners.virtual_time < excluded.virtual_time \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.owner = excluded.owner AND j.state = 'queued') \
     THEN excluded.virtual_time ELSE job_owners.virtual_time END";

/// The job queue of a database. Clones share it.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub(super) database: Database,
    pub(super) lease: Duration,
    woken: Arc<Notify>,
}

/// What became of a request to enqueue.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It is a new job.
    New(Job),
    /// Its idempotency key is that of this job.
    Known(Job),
}

impl Enqueued {
    /// The job.
    pub fn job(self) -> Job {
        match self {
            Self::New(job) | Self::Known(job) => job,
        }
    }
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// In these states; in all if empty.
    pub states: Vec<JobState>,
    /// Older than this one.
    pub before: Option<String>,
    /// At most so many, newest first; at least 1, at most 1,000.
    pub limit: u32,
}

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueueCounts {
    /// Waiting.
    pub queued: i64,
    /// With a worker.
    pub running: i64,
    /// What the waiting ones cost together.
    pub queued_cost: i64,
    /// Whether no more are given out.
    pub paused: bool,
}

impl Jobs {
    /// The queue of `database`, to which [`super::MIGRATION`] has been applied. A worker that has not been heard of for `lease` has
    /// lost its job.
    pub fn new(database: Database, lease: Duration) -> Self {
        Self { database, lease, woken: Arc::default() }
    }

    /// The database in which the jobs are.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Tells the workers of this program that there may be something to do. To be called after a transaction with
    /// [`Jobs::enqueue`] was committed; without it they find the job a little later.
    pub fn wake(&self) {
        self.woken.notify_waiters();
    }

    /// Waits until [`Jobs::wake`] is called.
    pub fn woken(&self) -> Notified<'_> {
        self.woken.notified()
    }

    /// Enqueues a job, in the caller's transaction: it exists when that is committed.
    ///
    /// # Errors
    /// A request that is too long or malformed, or whose idempotency key stands for another one.
    pub async fn enqueue(&self, begun: &mut Transaction, actor: &Actor, new: &NewJob) -> Result<Enqueued, JobError> {
        let request = new.request.to_string();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if new.kind.is_empty() || new.kind.len() > 64 || !new.kind.chars().all(plain) {
            return Err(JobError::Request(format!("{:?} is no kind of job", new.kind)));
        }
        if request.len() > MAX_REQUEST {
            return Err(JobError::Request(format!(
                "a request may have {MAX_REQUEST} bytes, this one has {}",
                request.len()
            )));
        }
        if new.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 256) {
            return Err(JobError::Request("an idempotency key has 1 to 256 bytes".into()));
        }
        let now = begun.now().await?;
        begun.execute(OWNER, &[actor.id().into()]).await?;
        let rows = begun
            .fetch(
                concat!(
                    "INSERT INTO jobs (id, owner, kind, request, state, priority, position, cost, batch_key, idempotency_key, \
                     available_at, max_failures, created_at) VALUES ($1, $2, $3, $4, 'queued', $5, \
                     (SELECT COALESCE(MAX(position), 0) FROM jobs WHERE owner = $2 AND state = 'queued') + $6, \
                     $7, $8, $9, $10, $11, $10) ON CONFLICT (owner, idempotency_key) DO NOTHING RETURNING ",
                    columns!()
                ),
                &[
                    Uuid::now_v7().to_string().into(),
                    actor.id().into(),
                    new.kind.as_str().into(),
                    request.into(),
                    new.priority.into(),
                    GAP.into(),
                    new.cost.max(1).into(),
                    new.batch_key.as_deref().into(),
                    new.idempotency_key.as_deref().into(),
                    now.into(),
                    new.max_failures.max(1).into(),
                ],
            )
            .await?;
        if let Some(row) = rows.first() {
            return Ok(Enqueued::New(Job::read(row)?));
        }
        let key = new.idempotency_key.as_deref().unwrap_or_default();
        let known = begun
            .fetch(
                concat!("SELECT ", columns!(), " FROM jobs WHERE owner = $1 AND idempotency_key = $2"),
                &[actor.id().into(), key.into()],
            )
            .await?;
        let known = known.first().map(Job::read).transpose()?.ok_or_else(|| JobError::Unknown(key.into()))?;
        if known.kind != new.kind || known.request != new.request {
            return Err(JobError::Conflict(key.into()));
        }
        Ok(Enqueued::Known(known))
    }

    /// A job.
    ///
    /// # Errors
    /// [`JobError::Unknown`] also where the job is another's.
    pub async fn job(&self, actor: &Actor, id: &str) -> Result<Job, JobError> {
        let rows = self
            .database
            .read(
                concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1 AND (owner = $2 OR $3 = 1)"),
                &visible(actor, id),
            )
            .await?;
        one(id, &rows)
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, actor: &Actor, filter: &JobFilter) -> Result<Vec<Job>, JobError> {
        let states: String = filter.states.iter().map(|state| format!("{state},")).collect();
        let rows = self
            .database
            .read(
                concat!(
                    "SELECT ",
                    columns!(),
                    " FROM jobs WHERE (owner = $1 OR $2 = 1) AND ($3 = '' OR $3 LIKE '%' || state || ',%') AND ($4 = '' OR id < $4) \
                     ORDER BY id DESC LIMIT $5"
                ),
                &[
                    actor.id().into(),
                    actor.sees_all().into(),
                    states.into(),
                    filter.before.as_deref().unwrap_or_default().into(),
                    filter.limit.clamp(1, 1000).into(),
                ],
            )
            .await?;
        rows.iter().map(Job::read).collect()
    }

    /// How many jobs stand where; of `actor` alone, or of all whom it sees.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counts(&self, actor: &Actor) -> Result<QueueCounts, JobError> {
        let rows = self
            .database
            .read(
                "SELECT COALESCE(SUM(CASE WHEN state = 'queued' THEN 1 ELSE 0 END), 0) AS queued, \
                 COALESCE(SUM(CASE WHEN state = 'running' THEN 1 ELSE 0 END), 0) AS running, \
                 CAST(COALESCE(SUM(CASE WHEN state = 'queued' THEN cost ELSE 0 END), 0) AS BIGINT) AS cost, \
                 (SELECT paused FROM job_queue) AS paused \
                 FROM jobs WHERE state IN ('queued', 'running') AND (owner = $1 OR $2 = 1)",
                &[actor.id().into(), actor.sees_all().into()],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(QueueCounts::default()) };
        Ok(QueueCounts {
            queued: row.get("queued")?,
            running: row.get("running")?,
            queued_cost: row.get("cost")?,
            paused: row.flag("paused")?,
        })
    }

    /// Cancels a job: at once where it waits, else its worker is asked to stop.
    ///
    /// # Errors
    /// An unknown job, or one that is over.
    pub async fn cancel(&self, actor: &Actor, id: &str) -> Result<Job, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let rows = begun
            .fetch(
                concat!(
                    "UPDATE jobs SET cancel_requested = 1, \
                     finished_at = CASE WHEN state = 'running' THEN NULL ELSE CAST($4 AS BIGINT) END, \
                     state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END \
                     WHERE id = $1 AND (owner = $2 OR $3 = 1) AND state IN ('queued', 'held', 'running') RETURNING ",
                    columns!()
                ),
                &[id.into(), actor.id().into(), actor.sees_all().into(), now.into()],
            )
            .await?;
        self.changed(begun, actor, id, &rows, "cancelling", "queued, held or running").await
    }

    /// Keeps a waiting job from being given out.
    ///
    /// # Errors
    /// An unknown job, or one that does not wait.
    pub async fn hold(&self, actor: &Actor, id: &str) -> Result<Job, JobError> {
        let mut begun = self.database.begin().await?;
        let rows = begun
            .fetch(
                concat!(
                    "UPDATE jobs SET state = 'held' WHERE id = $1 AND (owner = $2 OR $3 = 1) AND state = 'queued' RETURNING ",
                    columns!()
                ),
                &visible(actor, id),
            )
            .await?;
        self.changed(begun, actor, id, &rows, "holding", "queued").await
    }

    /// Lets a held job wait again, or tries one again that failed or was given up; what it had saved is kept.
    ///
    /// # Errors
    /// An unknown job, or one in another state.
    pub async fn resume(&self, actor: &Actor, id: &str) -> Result<Job, JobError> {
        let mut begun = self.database.begin().await?;
        let now = begun.now().await?;
        let rows = begun
            .fetch(
                concat!(
                    "UPDATE jobs SET state = 'queued', failures = 0, error = NULL, finished_at = NULL, available_at = $4 \
                     WHERE id = $1 AND (owner = $2 OR $3 = 1) AND state IN ('held', 'failed', 'dead') RETURNING ",
                    columns!()
                ),
                &[id.into(), actor.id().into(), actor.sees_all().into(), now.into()],
            )
            .await?;
        let job = self.changed(begun, actor, id, &rows, "going on", "held, failed or dead").await?;
        self.wake();
        Ok(job)
    }

    /// Moves a waiting job before another one of the same owner, or behind all of them.
    ///
    /// # Errors
    /// Unknown jobs, jobs that do not wait, or of two owners.
    pub async fn move_before(&self, actor: &Actor, id: &str, before: Option<&str>) -> Result<(), JobError> {
        let mut begun = self.database.begin().await?;
        let (owner, _) = self.waiting(&mut begun, actor, id).await?;
        for renumbered in [false, true] {
            let (above, below) = match before {
                None => {
                    let last = edge(&mut begun, LAST, &[owner.as_str().into(), id.into()]).await?;
                    (last, last + 2 * GAP)
                }
                Some(other) => {
                    let (theirs, position) = self.waiting(&mut begun, actor, other).await?;
                    if theirs != owner {
                        return Err(JobError::Request("jobs of two users have no order among each other".into()));
                    }
                    let values = [owner.as_str().into(), id.into(), position.into()];
                    (edge(&mut begun, ABOVE, &values).await?, position)
                }
            };
            let between = above + (below - above) / 2;
            if between > above || renumbered {
                begun.execute("UPDATE jobs SET position = $2 WHERE id = $1", &[id.into(), between.into()]).await?;
                break;
            }
            renumber(&mut begun, &owner).await?;
        }
        Ok(begun.commit().await?)
    }

    /// Stops or starts giving jobs out. Those that run go on.
    ///
    /// # Errors
    /// Callers who are no administrators.
    pub async fn pause(&self, actor: &Actor, paused: bool) -> Result<(), JobError> {
        if !actor.sees_all() {
            return Err(JobError::Forbidden("pause the queue"));
        }
        let mut begun = self.database.begin().await?;
        begun.execute("UPDATE job_queue SET paused = $1", &[paused.into()]).await?;
        begun.commit().await?;
        self.wake();
        Ok(())
    }

    /// Commits a change of one job, or says why there was none.
    async fn changed(
        &self,
        begun: Transaction,
        actor: &Actor,
        id: &str,
        rows: &[Row],
        wanted: &'static str,
        possible: &'static str,
    ) -> Result<Job, JobError> {
        if !rows.is_empty() {
            begun.commit().await?;
            return one(id, rows);
        }
        drop(begun);
        let Job { state, .. } = self.job(actor, id).await?;
        Err(JobError::State { id: id.into(), state, wanted, possible })
    }

    /// Owner and position of a waiting job, which stays as it is until the transaction ends.
    async fn waiting(&self, begun: &mut Transaction, actor: &Actor, id: &str) -> Result<(String, i64), JobError> {
        const WAITING: &str = "SELECT owner, position, state FROM jobs WHERE id = $1 AND (owner = $2 OR $3 = 1)";
        let sql = match begun.dialect() {
            Dialect::Sqlite => WAITING,
            Dialect::Postgres => {
                "SELECT owner, position, state FROM jobs WHERE id = $1 AND (owner = $2 OR $3 = 1) FOR UPDATE"
            }
        };
        let rows = begun.fetch(sql, &visible(actor, id)).await?;
        let row = rows.first().ok_or_else(|| JobError::Unknown(id.into()))?;
        let state = JobState::named(&row.get::<String>("state")?)?;
        if !matches!(state, JobState::Queued | JobState::Held) {
            let (wanted, possible) = ("moving", "queued or held");
            return Err(JobError::State { id: id.into(), state, wanted, possible });
        }
        Ok((row.get("owner")?, row.get("position")?))
    }
}

/// The last position of an owner's jobs but one.
const LAST: &str = "SELECT COALESCE(MAX(position), 0) AS position FROM jobs WHERE owner = $1 AND id <> $2 AND state IN ('queued', 'held')";
/// The last position before a given one.
const ABOVE: &str = "SELECT COALESCE(MAX(position), 0) AS position FROM jobs WHERE owner = $1 AND id <> $2 AND state IN ('queued', 'held') \
     AND position < $3";

async fn edge(begun: &mut Transaction, sql: &'static str, values: &[Value]) -> Result<i64, JobError> {
    Ok(begun.fetch(sql, values).await?.first().map_or(Ok(0), |row| row.get("position"))?)
}

/// Gives an owner's waiting jobs positions with room between them.
async fn renumber(begun: &mut Transaction, owner: &str) -> Result<(), JobError> {
    const ALL: &str = "SELECT id FROM jobs WHERE owner = $1 AND state IN ('queued', 'held') ORDER BY position, id";
    for (i, row) in begun.fetch(ALL, &[owner.into()]).await?.iter().enumerate() {
        let values = [row.get::<String>("id")?.into(), (GAP * (i as i64 + 1)).into()];
        begun.execute("UPDATE jobs SET position = $2 WHERE id = $1", &values).await?;
    }
    Ok(())
}

/// The first values of a statement on one job, by which the caller sees it: `id = $1 AND (owner = $2 OR $3 = 1)`.
fn visible(actor: &Actor, id: &str) -> [Value; 3] {
    [id.into(), actor.id().into(), actor.sees_all().into()]
}

fn one(id: &str, rows: &[Row]) -> Result<Job, JobError> {
    rows.first().map(Job::read).transpose()?.ok_or_else(|| JobError::Unknown(id.into()))
}
