//! A queue in a fresh database, with a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use danqing_services::actor::Actor;
use danqing_services::jobs::{ClaimWish, Claimed, Job, JobError, Jobs, MIGRATION, NewJob};
use danqing_services::storage::database::Database;
use serde_json::json;
use tempfile::TempDir;

/// How long a lease is, in milliseconds.
pub const LEASE: i64 = 10_000;

/// A queue to ask.
pub struct Bench {
    pub jobs: Jobs,
    clock: Arc<AtomicI64>,
    /// Holds an embedded database.
    _folder: Option<TempDir>,
}

impl Bench {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("studio.db").display().to_string();
        Self::at(&file, Some(folder)).await
    }

    /// Nothing where no database is given for tests.
    pub async fn postgres() -> Option<Self> {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let Ok(address) = std::env::var("DANQING_TEST_POSTGRES") else {
            println!("skipped: DANQING_TEST_POSTGRES names no PostgreSQL database in which schemas may be made");
            return None;
        };
        let schema = format!("jobs_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::SeqCst));
        let database = Database::open(&address, &[]).await.unwrap();
        let mut begun = database.begin().await.unwrap();
        begun.execute(Box::leak(format!("CREATE SCHEMA {schema}").into_boxed_str()), &[]).await.unwrap();
        begun.commit().await.unwrap();
        database.close().await;
        let sign = if address.contains('?') { '&' } else { '?' };
        Some(Self::at(&format!("{address}{sign}options[search_path]={schema}"), None).await)
    }

    async fn at(address: &str, folder: Option<TempDir>) -> Self {
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let database = Database::open(address, &[MIGRATION]).await.unwrap().with_clock(clock.clone());
        Self { jobs: Jobs::new(database, Duration::from_millis(LEASE as u64)), clock, _folder: folder }
    }

    /// Lets time pass.
    pub fn pass(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    pub async fn enqueue(&self, owner: &str, job: &NewJob) -> Result<Job, JobError> {
        let mut begun = self.jobs.database().begin().await?;
        let enqueued = self.jobs.enqueue(&mut begun, &Actor::member(owner), job).await?;
        begun.commit().await?;
        Ok(enqueued.job())
    }

    /// A job of cost 1.
    pub async fn simple(&self, owner: &str) -> Job {
        self.enqueue(owner, &NewJob::new("draw", json!({}), 1)).await.unwrap()
    }

    pub async fn claim_many(&self, limit: u32) -> Vec<Claimed> {
        let wish = ClaimWish { worker: "test".into(), kinds: vec!["draw".into()], limit };
        self.jobs.claim(&wish).await.unwrap()
    }

    /// The next job, which is there.
    pub async fn claim(&self) -> Claimed {
        self.claim_many(1).await.pop().expect("a job waits")
    }

    pub async fn complete(&self, claimed: &Claimed, result: &str) -> Result<Job, JobError> {
        let mut begun = self.jobs.database().begin().await?;
        let job = self.jobs.complete(&mut begun, &claimed.lease, &json!(result)).await?;
        begun.commit().await?;
        Ok(job)
    }

    /// Owners in the order in which their jobs are given out.
    pub async fn order(&self) -> String {
        let mut owners = String::new();
        while let Some(claimed) = self.claim_many(1).await.pop() {
            owners += &claimed.job.owner;
        }
        owners
    }
}
