//! What workers may rely on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use danqing_services::actor::Actor;
use danqing_services::jobs::{
    Beat, ClaimWish, Failure, Job, JobError, JobState, NewJob, Stop, Task, Work, Worker, WorkerConfig,
};
use danqing_services::storage::database::Transaction;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Bench;
use crate::bench::LEASE;

pub async fn every_job_is_given_to_one_worker(bench: Bench) {
    for owner in ["ann", "bob"] {
        for _ in 0..20 {
            bench.simple(owner).await;
        }
    }
    let workers = (0..8).map(|i| {
        let jobs = bench.jobs.clone();
        tokio::spawn(async move {
            let wish = ClaimWish { worker: format!("w{i}"), kinds: vec!["draw".into()], limit: 1 };
            let mut ids = Vec::new();
            // A claim that finds nothing may have looked past a job that another claim held for a moment.
            let mut empty = 0;
            while empty < 3 {
                match jobs.claim(&wish).await.unwrap().pop() {
                    Some(claimed) => ids.push(claimed.job.id),
                    None => empty += 1,
                }
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        ids.extend(worker.await.unwrap());
    }
    assert_eq!(ids.len(), 40);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 40);
}

pub async fn only_the_newest_claim_completes_a_job(bench: Bench) {
    let job = bench.simple("ann").await;
    let first = bench.claim().await;
    bench.pass(LEASE + 1);
    assert_eq!(bench.jobs.recover().await.unwrap().queued, [job.id.as_str()]);
    // While it waits the old claim is worth nothing either.
    assert!(matches!(bench.complete(&first, "first").await, Err(JobError::Lost(_))));
    let second = bench.claim().await;
    assert_eq!((second.job.id.as_str(), second.job.attempt), (job.id.as_str(), 2));
    assert!(matches!(bench.complete(&first, "first").await, Err(JobError::Lost(_))));
    assert_eq!(bench.jobs.beat(&first.lease, 0.5, None).await.unwrap(), Beat::Lost);
    assert!(matches!(bench.jobs.save(&first.lease, "blob").await, Err(JobError::Lost(_))));
    assert!(matches!(bench.jobs.release(&first.lease).await, Err(JobError::Lost(_))));
    let why = Failure { message: "?".into(), again: false };
    assert!(matches!(bench.jobs.fail(&first.lease, &why).await, Err(JobError::Lost(_))));

    let done = bench.complete(&second, "second").await.unwrap();
    assert_eq!((done.state, done.result, done.progress), (JobState::Done, Some(json!("second")), 1.0));
    assert!(matches!(bench.complete(&second, "twice").await, Err(JobError::Lost(_))));
    let seen = bench.jobs.job(&Actor::member("ann"), &job.id).await.unwrap();
    assert_eq!(seen.result, Some(json!("second")));
}

pub async fn a_completion_whose_transaction_is_dropped_did_not_happen(bench: Bench) {
    let job = bench.simple("ann").await;
    let claimed = bench.claim().await;
    let mut begun = bench.jobs.database().begin().await.unwrap();
    bench.jobs.complete(&mut begun, &claimed.lease, &json!(1)).await.unwrap();
    drop(begun);
    let seen = bench.jobs.job(&Actor::member("ann"), &job.id).await.unwrap();
    assert_eq!((seen.state, seen.result), (JobState::Running, None));
    assert_eq!(bench.complete(&claimed, "now").await.unwrap().state, JobState::Done);
}

pub async fn jobs_of_vanished_workers_wait_again_until_they_are_given_up(bench: Bench) {
    let ann = Actor::member("ann");
    let job = bench.enqueue("ann", &NewJob { max_failures: 2, ..NewJob::new("draw", json!({}), 1) }).await.unwrap();
    let claimed = bench.claim().await;
    bench.pass(LEASE);
    assert_eq!(bench.jobs.beat(&claimed.lease, 0.25, Some("step 5")).await.unwrap(), Beat::GoOn);
    let seen = bench.jobs.job(&ann, &job.id).await.unwrap();
    assert_eq!((seen.progress, seen.stage.as_deref()), (0.25, Some("step 5")));
    // The renewal counts.
    bench.pass(LEASE);
    assert_eq!(bench.jobs.recover().await.unwrap(), Default::default());
    bench.pass(1);
    assert_eq!(bench.jobs.recover().await.unwrap().queued, [job.id.as_str()]);
    bench.claim().await;
    bench.pass(LEASE + 1);
    assert_eq!(bench.jobs.recover().await.unwrap().dead, [job.id.as_str()]);
    let dead = bench.jobs.job(&ann, &job.id).await.unwrap();
    assert_eq!((dead.state, dead.failures), (JobState::Dead, 2));
    assert!(dead.error.is_some() && dead.finished_at.is_some());
    // Its owner may have it tried anew.
    let again = bench.jobs.resume(&ann, &job.id).await.unwrap();
    assert_eq!((again.state, again.failures, again.finished_at), (JobState::Queued, 0, None));
    bench.claim().await;
    bench.jobs.cancel(&ann, &job.id).await.unwrap();
    bench.pass(LEASE + 1);
    assert_eq!(bench.jobs.recover().await.unwrap().cancelled, [job.id]);
}

pub async fn owners_are_served_in_turn_by_cost(bench: Bench) {
    let cost = |cost| NewJob::new("draw", json!({}), cost);
    for _ in 0..6 {
        bench.enqueue("a", &cost(1)).await.unwrap();
    }
    for _ in 0..3 {
        bench.enqueue("b", &cost(2)).await.unwrap();
    }
    // From equal beginnings a job of 2 is worth two of 1, whoever enqueued more.
    let order = bench.order().await;
    assert_eq!(order.len(), 9);
    for n in 1..=9 {
        let given = |owner: char| order[..n].matches(owner).count() as i64;
        assert!((given('a') - 2 * given('b')).abs() <= 2, "{order}");
    }
}

pub async fn who_comes_back_has_saved_nothing_up(bench: Bench) {
    bench.simple("b").await;
    bench.claim().await;
    // While b is away a is given ten.
    for _ in 0..20 {
        bench.simple("a").await;
    }
    for _ in 0..10 {
        assert_eq!(bench.claim().await.job.owner, "a");
    }
    for _ in 0..10 {
        bench.simple("b").await;
    }
    let order = bench.order().await;
    for n in 1..=20 {
        let given = |owner: char| order[..n].matches(owner).count() as i64;
        assert!((given('a') - given('b')).abs() <= 1, "{order}");
    }
}

pub async fn priority_goes_before_fairness(bench: Bench) {
    for _ in 0..3 {
        bench.simple("a").await;
    }
    let urgent = NewJob { priority: 5, ..NewJob::new("draw", json!({}), 100) };
    for _ in 0..2 {
        bench.enqueue("b", &urgent).await.unwrap();
    }
    assert_eq!(bench.order().await, "bbaaa");
}

pub async fn failures_wait_longer_each_time(bench: Bench) {
    let ann = Actor::member("ann");
    let job = bench.simple("ann").await;
    let again = Failure { message: "the model is being loaded".into(), again: true };
    for wait in [1000, 4000] {
        let claimed = bench.claim().await;
        let failed = bench.jobs.fail(&claimed.lease, &again).await.unwrap();
        assert_eq!((failed.state, failed.error.as_deref()), (JobState::Queued, Some("the model is being loaded")));
        bench.pass(wait - 1);
        assert!(bench.claim_many(1).await.is_empty());
        bench.pass(1);
    }
    let claimed = bench.claim().await;
    assert_eq!(bench.jobs.fail(&claimed.lease, &again).await.unwrap().state, JobState::Dead);

    let other = bench.simple("ann").await;
    let claimed = bench.claim().await;
    let never = Failure { message: "the picture is broken".into(), again: false };
    assert_eq!(bench.jobs.fail(&claimed.lease, &never).await.unwrap().state, JobState::Failed);
    assert!(bench.claim_many(1).await.is_empty());
    for id in [&job.id, &other.id] {
        assert!(bench.jobs.job(&ann, id).await.unwrap().finished_at.is_some());
    }
}

pub async fn cancelling_reaches_a_running_job(bench: Bench) {
    let ann = Actor::member("ann");
    let job = bench.simple("ann").await;
    let claimed = bench.claim().await;
    let asked = bench.jobs.cancel(&ann, &job.id).await.unwrap();
    assert_eq!((asked.state, asked.cancel_requested), (JobState::Running, true));
    assert_eq!(bench.jobs.beat(&claimed.lease, 0.5, None).await.unwrap(), Beat::Cancel);
    assert_eq!(bench.jobs.stopped(&claimed.lease).await.unwrap().state, JobState::Cancelled);
    assert!(matches!(bench.complete(&claimed, "late").await, Err(JobError::Lost(_))));
}

pub async fn what_was_saved_is_there_for_the_next_worker(bench: Bench) {
    bench.simple("ann").await;
    let claimed = bench.claim().await;
    assert_eq!(bench.jobs.save(&claimed.lease, "blob 1").await.unwrap(), None);
    assert_eq!(bench.jobs.save(&claimed.lease, "blob 2").await.unwrap().as_deref(), Some("blob 1"));
    let released = bench.jobs.release(&claimed.lease).await.unwrap();
    assert_eq!((released.state, released.failures), (JobState::Queued, 0));
    let next = bench.claim().await;
    assert_eq!((next.job.saved.as_deref(), next.job.attempt), (Some("blob 2"), 2));
}

pub async fn jobs_of_a_batch_are_claimed_together(bench: Bench) {
    let batch = |key: &str| NewJob { batch_key: Some(key.into()), ..NewJob::new("draw", json!({}), 1) };
    for (owner, key) in [("a", "x"), ("b", "x"), ("a", "y"), ("b", "x"), ("a", "x")] {
        bench.enqueue(owner, &batch(key)).await.unwrap();
    }
    bench.simple("c").await;
    let keys = |claimed: &[danqing_services::jobs::Claimed]| {
        claimed.iter().map(|c| c.job.batch_key.clone().unwrap_or_default()).collect::<Vec<_>>().concat()
    };
    let mut seen = Vec::new();
    loop {
        let claimed = bench.claim_many(3).await;
        if claimed.is_empty() {
            break;
        }
        seen.push(keys(&claimed));
    }
    seen.sort();
    assert_eq!(seen, ["", "x", "xxx", "y"]);
}

/// Does what the request says.
struct Script;

#[async_trait]
impl Work for Script {
    type Made = i64;

    fn kinds(&self) -> Vec<String> {
        vec!["draw".into()]
    }

    async fn run(&self, tasks: &[Task]) -> Vec<Result<i64, Failure>> {
        let mut made = Vec::new();
        for task in tasks {
            let request = &task.job.request;
            made.push(match request["do"].as_str() {
                Some("panic") => panic!("as asked"),
                Some("wait") => {
                    task.progress(0.5, "waiting");
                    let stop = task.stopped().await;
                    if stop == Stop::Ending {
                        task.save("what there is").await.unwrap();
                    }
                    Err(Failure { message: format!("{stop:?}"), again: true })
                }
                _ => Ok(request["n"].as_i64().unwrap_or_default()),
            });
        }
        made
    }

    async fn store(&self, begun: &mut Transaction, _job: &Job, made: i64) -> Result<serde_json::Value, Failure> {
        let now = begun.now().await.map_err(|e| Failure { message: e.to_string(), again: true })?;
        Ok(json!({"made": made, "at": now}))
    }
}

/// Runs a worker until `done` says so.
async fn work_until(bench: &Bench, done: impl AsyncFn(&Bench) -> bool) {
    let worker = Worker::new(bench.jobs.clone(), Arc::new(Script), WorkerConfig::new("script"));
    let (end, ending) = watch::channel(false);
    let running = tokio::spawn(async move { worker.run(ending, |error| println!("{error}")).await });
    let waited = timeout(Duration::from_secs(60), async {
        while !done(bench).await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the worker comes to it");
    end.send(true).unwrap();
    running.await.unwrap();
}

async fn state(bench: &Bench, id: &str) -> Job {
    bench.jobs.job(&Actor::System, id).await.unwrap()
}

pub async fn a_worker_stores_reports_and_survives_panics(bench: Bench) {
    let panics = NewJob { max_failures: 1, ..NewJob::new("draw", json!({"do": "panic"}), 1) };
    let panics = bench.enqueue("ann", &panics).await.unwrap();
    let adds = bench.enqueue("ann", &NewJob::new("draw", json!({"n": 7}), 1)).await.unwrap();
    work_until(&bench, async |bench| state(bench, &adds.id).await.state.is_over()).await;
    let done = state(&bench, &adds.id).await;
    assert_eq!(done.result, Some(json!({"made": 7, "at": 1_700_000_000_000_i64})));
    let dead = state(&bench, &panics.id).await;
    assert_eq!(dead.state, JobState::Dead);
    assert!(dead.error.unwrap().contains("panicked"));
}

pub async fn a_worker_that_ends_gives_its_job_back(bench: Bench) {
    let job = bench.enqueue("ann", &NewJob::new("draw", json!({"do": "wait"}), 1)).await.unwrap();
    work_until(&bench, async |bench| state(bench, &job.id).await.state == JobState::Running).await;
    let back = state(&bench, &job.id).await;
    assert_eq!((back.state, back.failures, back.saved.as_deref()), (JobState::Queued, 0, Some("what there is")));
}

pub async fn a_cancelled_job_stops(bench: Bench) {
    let job = bench.enqueue("ann", &NewJob::new("draw", json!({"do": "wait"}), 1)).await.unwrap();
    work_until(&bench, async |bench| {
        let now = state(bench, &job.id).await;
        if now.state == JobState::Running && !now.cancel_requested {
            bench.jobs.cancel(&Actor::member("ann"), &job.id).await.unwrap();
        }
        now.state.is_over()
    })
    .await;
    let cancelled = state(&bench, &job.id).await;
    assert_eq!((cancelled.state, cancelled.progress), (JobState::Cancelled, 0.5));
}
