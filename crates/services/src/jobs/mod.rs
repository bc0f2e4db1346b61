//! The job queue: what is to be drawn, enlarged or trained, in which order, by whom, and what became of it.
//!
//! A job is a row. It is enqueued in the caller's transaction, claimed by a worker for as long as its lease is renewed, and
//! completed in the transaction that stores what it made. Every claim has a number, and only the newest claim of a job can change
//! it: a worker that was thought dead and comes back is refused, so that a job has one result or none, never two.
//!
//! Users are served in turn: of those who wait, the one goes first who has been given least, measured in the cost of the jobs
//! (start-time fair queueing, Goyal, Vin & Cheng 1996). Priority goes before fairness, and within one user's jobs the order is theirs.

mod claim;
mod queue;
mod schema;
mod worker;

use serde::{Deserialize, Serialize};

pub use claim::{Beat, ClaimWish, Claimed, Failure, Lease, Recovered};
pub use queue::{Enqueued, JobFilter, Jobs, QueueCounts};
pub use schema::MIGRATION;
pub use worker::{Stop, Task, Work, Worker, WorkerConfig};

use crate::storage::database::{DatabaseError, Row};

/// What can go wrong with a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No such job, or one that the caller may not see.
    #[error("there is no job {0}")]
    Unknown(String),
    /// A key that was used for another request.
    #[error("the idempotency key {0} was used for another request: send a new key with a new request")]
    Conflict(String),
    /// Not possible in the job's state.
    #[error("job {id} is {state}: {wanted} is possible only while it is {possible}")]
    State {
        /// The job.
        id: String,
        /// Its state.
        state: JobState,
        /// What was asked.
        wanted: &'static str,
        /// The states in which that is possible.
        possible: &'static str,
    },
    /// Something that only an administrator may do.
    #[error("only an administrator may {0}")]
    Forbidden(&'static str),
    /// A request that cannot be stored.
    #[error("{0}")]
    Request(String),
    /// The worker has lost the job to another one.
    #[error("job {0} was given to another worker")]
    Lost(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// Waits until its owner lets it go on.
    Held,
    /// A worker has it.
    Running,
    /// Has a result.
    Done,
    /// Cannot be done, and trying again would not help.
    Failed,
    /// Was tried as often as is allowed.
    Dead,
    /// Its owner does not want it any more.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Held, Self::Running, Self::Done, Self::Failed, Self::Dead, Self::Cancelled];

    /// Its name, as stored and as shown in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Dead | Self::Cancelled)
    }

    fn named(name: &str) -> Result<Self, JobError> {
        let known = Self::ALL.into_iter().find(|state| state.name() == name);
        known.ok_or_else(|| DatabaseError::Schema(format!("{name} is no state of a job")).into())
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be enqueued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What kind of work it is: `draw`, `enlarge` …; lower-case letters, digits and `-`.
    pub kind: String,
    /// The request, as JSON.
    pub request: serde_json::Value,
    /// Higher goes first; 0 is usual.
    pub priority: i64,
    /// What it is worth for fairness: pixels × steps, at least 1.
    pub cost: i64,
    /// Jobs of equal key can be done together.
    pub batch_key: Option<String>,
    /// A second request of the same owner with this key is the first one.
    pub idempotency_key: Option<String>,
    /// Tries, crashes of the worker included, after which it is given up.
    pub max_failures: i64,
}

impl NewJob {
    /// An ordinary job.
    pub fn new(kind: &str, request: serde_json::Value, cost: i64) -> Self {
        Self { kind: kind.into(), request, priority: 0, cost, batch_key: None, idempotency_key: None, max_failures: 3 }
    }
}

/// A job as it stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// Its number, a UUID of version 7: later jobs have greater ones.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What kind of work it is.
    pub kind: String,
    /// The request, as JSON.
    pub request: serde_json::Value,
    /// Where it stands.
    pub state: JobState,
    /// Higher goes first.
    pub priority: i64,
    /// Pixels × steps.
    pub cost: i64,
    /// Jobs of equal key can be done together.
    pub batch_key: Option<String>,
    /// How often it was claimed.
    pub attempt: i64,
    /// How often it failed or its worker vanished.
    pub failures: i64,
    /// Share that is done, 0 to 1.
    pub progress: f64,
    /// What is being done.
    pub stage: Option<String>,
    /// The blob of the state from which it can go on.
    pub saved: Option<String>,
    /// What it made, as JSON.
    pub result: Option<serde_json::Value>,
    /// Why it failed the last time.
    pub error: Option<String>,
    /// Whether it is asked to stop.
    pub cancel_requested: bool,
    /// When it was enqueued.
    pub created_at: i64,
    /// When it was first claimed.
    pub started_at: Option<i64>,
    /// When it was over.
    pub finished_at: Option<i64>,
}

impl Job {
    fn read(row: &Row) -> Result<Self, JobError> {
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("owner")?,
            kind: row.get("kind")?,
            request: json(&row.get::<String>("request")?)?,
            state: JobState::named(&row.get::<String>("state")?)?,
            priority: row.get("priority")?,
            cost: row.get("cost")?,
            batch_key: row.get("batch_key")?,
            attempt: row.get("attempt")?,
            failures: row.get("failures")?,
            progress: row.get("progress")?,
            stage: row.get("stage")?,
            saved: row.get("saved")?,
            result: row.get::<Option<String>>("result")?.as_deref().map(json).transpose()?,
            error: row.get("error")?,
            cancel_requested: row.flag("cancel_requested")?,
            created_at: row.get("created_at")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
        })
    }
}

fn json(text: &str) -> Result<serde_json::Value, JobError> {
    serde_json::from_str(text).map_err(|e| DatabaseError::Schema(format!("a job holds no JSON: {e}")).into())
}
