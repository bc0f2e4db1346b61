//! A worker: claims jobs, renews its leases while they run, stores what they make, and ends cleanly when it is asked to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Beat, ClaimWish, Claimed, Failure, Job, JobError, Jobs, Lease};
use crate::storage::database::Transaction;

/// What a worker does with the jobs it is given.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// What a job makes before it is stored.
    type Made: Send + 'static;

    /// Kinds of job that it can do.
    fn kinds(&self) -> Vec<String>;

    /// Jobs of one batch that it can do together.
    fn batch(&self) -> u32 {
        1
    }

    /// Does the jobs of one batch and returns one result for each, in their order. It asks [`Task::stop`] at least every second and
    /// ends early when told to, with any result; blocking work goes to a thread of its own. What it makes as blobs must be durable
    /// when it returns.
    async fn run(&self, tasks: &[Task]) -> Vec<Result<Self::Made, Failure>>;

    /// Stores what a job has made, in the transaction that completes it, and returns the job's result.
    async fn store(&self, begun: &mut Transaction, job: &Job, made: Self::Made) -> Result<serde_json::Value, Failure>;
}

/// Why a job that runs must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its owner does not want it any more.
    Cancelled,
    /// It was given to another worker.
    Lost,
    /// The program ends: save what is there, another worker goes on from it.
    Ending,
}

/// A job that runs.
#[derive(Debug, Clone)]
pub struct Task {
    /// The job as it was claimed.
    pub job: Job,
    lease: Lease,
    jobs: Jobs,
    progress: Arc<Mutex<(f64, Option<String>)>>,
    stop: Arc<watch::Sender<Option<Stop>>>,
}

impl Task {
    fn new(jobs: &Jobs, Claimed { job, lease }: Claimed) -> Self {
        let progress = Arc::new(Mutex::new((job.progress, None)));
        Self { job, lease, jobs: jobs.clone(), progress, stop: Arc::new(watch::channel(None).0) }
    }

    /// Notes how far it is: a share of 0 to 1 and what is being done. Cheap; the database hears of it with the next renewal.
    pub fn progress(&self, share: f64, stage: &str) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = (share, Some(stage.to_owned()));
    }

    /// Whether it must stop, and why.
    pub fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// Waits until it must stop.
    pub async fn stopped(&self) -> Stop {
        let mut seen = self.stop.subscribe();
        let stop = seen.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        stop.unwrap_or(Stop::Lost)
    }

    /// Notes the durable blob from which the job can go on, and returns the one before, which is not needed any more.
    ///
    /// # Errors
    /// When the job was given to another worker or the database cannot be reached.
    pub async fn save(&self, blob: &str) -> Result<Option<String>, JobError> {
        self.jobs.save(&self.lease, blob).await
    }

    /// The first reason stays, but for a job that was lost.
    fn halt(&self, stop: Stop) {
        self.stop.send_if_modified(|now| {
            let first = now.is_none() || (stop == Stop::Lost && *now != Some(Stop::Lost));
            if first {
                *now = Some(stop);
            }
            first
        });
    }
}

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name, for people who look.
    pub name: String,
    /// How often it looks for jobs when nobody wakes it.
    pub poll: Duration,
    /// How long a job may go on once the program is asked to end.
    pub grace: Duration,
}

impl WorkerConfig {
    /// A worker of this name with the usual times.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), poll: Duration::from_millis(500), grace: Duration::from_secs(8) }
    }
}

/// A worker of one program.
pub struct Worker<W> {
    jobs: Jobs,
    work: Arc<W>,
    config: WorkerConfig,
}

impl<W: Work> Worker<W> {
    /// A worker on `jobs`.
    pub fn new(jobs: Jobs, work: Arc<W>, config: WorkerConfig) -> Self {
        Self { jobs, work, config }
    }

    /// Works until `ending` becomes true; then jobs that run are given back unless they end in time. Errors of the database are
    /// told to `report` and tried again.
    pub async fn run(&self, mut ending: watch::Receiver<bool>, report: impl Fn(&JobError) + Send + Sync) {
        let wish = ClaimWish { worker: self.config.name.clone(), kinds: self.work.kinds(), limit: self.work.batch() };
        let mut swept = None;
        while !*ending.borrow() {
            if swept.is_none_or(|at: tokio::time::Instant| at.elapsed() >= self.jobs.lease / 4) {
                swept = Some(tokio::time::Instant::now());
                if let Err(error) = self.jobs.recover().await {
                    report(&error);
                }
            }
            // Asked for before the look, so that a job enqueued between the two wakes it.
            let woken = self.jobs.woken();
            tokio::pin!(woken);
            woken.as_mut().enable();
            match self.jobs.claim(&wish).await {
                Ok(claimed) if !claimed.is_empty() => self.run_batch(claimed, &ending, &report).await,
                Ok(_) => {
                    tokio::select! {
                        () = woken => {}
                        () = sleep(self.config.poll) => {}
                        _ = ending.changed() => {}
                    }
                }
                Err(error) => {
                    report(&error);
                    tokio::select! {
                        () = sleep(self.config.poll) => {}
                        _ = ending.changed() => {}
                    }
                }
            }
        }
    }

    async fn run_batch(
        &self,
        claimed: Vec<Claimed>,
        ending: &watch::Receiver<bool>,
        report: &(impl Fn(&JobError) + Send + Sync),
    ) {
        let tasks: Arc<[Task]> = claimed.into_iter().map(|claimed| Task::new(&self.jobs, claimed)).collect();
        let beating = self.beat(tasks.clone());
        let (work, all) = (self.work.clone(), tasks.clone());
        // A task of its own, so that a panic is a failure of the job and not the worker's end.
        let mut running = tokio::spawn(async move { work.run(&all).await });
        let mut ending = ending.clone();
        let made = tokio::select! {
            made = &mut running => Some(made),
            () = async { drop(ending.wait_for(|ending| *ending).await) } => {
                tasks.iter().for_each(|task| task.halt(Stop::Ending));
                timeout(self.config.grace, &mut running).await.ok()
            }
        };
        let made = match made {
            Some(Ok(made)) => made,
            Some(Err(_)) => tasks
                .iter()
                .map(|_| Err(Failure { message: "a bug of this program: it panicked".into(), again: true }))
                .collect(),
            None => {
                running.abort();
                Vec::new()
            }
        };
        let mut made = made.into_iter();
        for task in tasks.iter() {
            let made =
                made.next().unwrap_or_else(|| Err(Failure { message: "it was not done in time".into(), again: true }));
            if let Err(error) = self.finish(task, made).await {
                report(&error);
            }
        }
        beating.abort();
    }

    /// Renews the leases of tasks until it is aborted.
    fn beat(&self, tasks: Arc<[Task]>) -> JoinHandle<()> {
        let every = self.jobs.lease / 4;
        tokio::spawn(async move {
            loop {
                sleep(every).await;
                for task in tasks.iter() {
                    let (share, stage) = task.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    match task.jobs.beat(&task.lease, share, stage.as_deref()).await {
                        Ok(Beat::GoOn) => {}
                        Ok(Beat::Cancel) => task.halt(Stop::Cancelled),
                        Ok(Beat::Lost) => task.halt(Stop::Lost),
                        // The lease outlives a few failures; after that the job is another's and its end here is refused.
                        Err(_) => {}
                    }
                }
            }
        })
    }

    /// Tells the database what became of a task.
    async fn finish(&self, task: &Task, made: Result<W::Made, Failure>) -> Result<(), JobError> {
        let made = match (made, task.stop()) {
            (_, Some(Stop::Lost)) => return Ok(()),
            (Ok(made), _) => made,
            (Err(_), Some(Stop::Cancelled)) => return self.jobs.stopped(&task.lease).await.map(drop),
            (Err(_), Some(Stop::Ending)) => return self.jobs.release(&task.lease).await.map(drop),
            (Err(failure), None) => return self.jobs.fail(&task.lease, &failure).await.map(drop),
        };
        let mut begun = self.jobs.database.begin().await?;
        match self.work.store(&mut begun, &task.job, made).await {
            Ok(result) => {
                self.jobs.complete(&mut begun, &task.lease, &result).await?;
                Ok(begun.commit().await?)
            }
            Err(failure) => {
                drop(begun);
                self.jobs.fail(&task.lease, &failure).await.map(drop)
            }
        }
    }
}
