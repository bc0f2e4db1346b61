//! What owners may ask.

use danqing_services::actor::Actor;
use danqing_services::jobs::{Enqueued, JobError, JobFilter, JobState, NewJob};
use serde_json::json;

use crate::Bench;

pub async fn a_job_exists_when_its_transaction_is_committed(bench: Bench) {
    let (jobs, ann) = (&bench.jobs, Actor::member("ann"));
    let new = NewJob::new("draw", json!({"prompt": "两只红色的猫"}), 7);
    let mut begun = jobs.database().begin().await.unwrap();
    let lost = jobs.enqueue(&mut begun, &ann, &new).await.unwrap().job();
    drop(begun);
    assert!(matches!(jobs.job(&ann, &lost.id).await, Err(JobError::Unknown(_))));

    let kept = bench.enqueue("ann", &new).await.unwrap();
    let seen = jobs.job(&ann, &kept.id).await.unwrap();
    assert_eq!(seen, kept);
    assert_eq!((seen.state, seen.cost, seen.attempt), (JobState::Queued, 7, 0));
    assert_eq!(seen.request, json!({"prompt": "两只红色的猫"}));
    assert_eq!(seen.created_at, 1_700_000_000_000);
}

pub async fn an_idempotency_key_stands_for_one_request(bench: Bench) {
    let keyed = |n: i64| NewJob { idempotency_key: Some("k".into()), ..NewJob::new("draw", json!({"n": n}), 1) };
    let first = bench.enqueue("ann", &keyed(1)).await.unwrap();
    let mut begun = bench.jobs.database().begin().await.unwrap();
    let again = bench.jobs.enqueue(&mut begun, &Actor::member("ann"), &keyed(1)).await.unwrap();
    assert_eq!(again, Enqueued::Known(first.clone()));
    // The transaction is of use after a conflict.
    let conflict = bench.jobs.enqueue(&mut begun, &Actor::member("ann"), &keyed(2)).await;
    assert!(matches!(conflict, Err(JobError::Conflict(_))), "{conflict:?}");
    begun.commit().await.unwrap();
    // Another's key is another key.
    let other = bench.enqueue("bob", &keyed(2)).await.unwrap();
    assert_ne!(other.id, first.id);
}

pub async fn equal_keys_at_the_same_time_make_one_job(bench: Bench) {
    let new = NewJob { idempotency_key: Some("k".into()), ..NewJob::new("draw", json!({}), 1) };
    let all = (0..8).map(|_| {
        let (jobs, new) = (bench.jobs.clone(), new.clone());
        tokio::spawn(async move {
            let mut begun = jobs.database().begin().await.unwrap();
            let enqueued = jobs.enqueue(&mut begun, &Actor::member("ann"), &new).await.unwrap();
            begun.commit().await.unwrap();
            enqueued
        })
    });
    let mut made = Vec::new();
    for task in all.collect::<Vec<_>>() {
        made.push(task.await.unwrap());
    }
    assert_eq!(made.iter().filter(|enqueued| matches!(enqueued, Enqueued::New(_))).count(), 1);
    let mut ids: Vec<String> = made.into_iter().map(|enqueued| enqueued.job().id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

pub async fn strangers_do_not_see_a_job(bench: Bench) {
    let (jobs, bob) = (&bench.jobs, Actor::member("bob"));
    let job = bench.simple("ann").await;
    let own = bench.simple("bob").await;
    let unknown = |result: Result<(), JobError>| assert!(matches!(result, Err(JobError::Unknown(_))), "{result:?}");
    unknown(jobs.job(&bob, &job.id).await.map(drop));
    unknown(jobs.cancel(&bob, &job.id).await.map(drop));
    unknown(jobs.hold(&bob, &job.id).await.map(drop));
    unknown(jobs.resume(&bob, &job.id).await.map(drop));
    unknown(jobs.move_before(&bob, &job.id, None).await);
    unknown(jobs.move_before(&bob, &own.id, Some(&job.id)).await);
    let all = JobFilter { limit: 100, ..Default::default() };
    assert_eq!(jobs.list(&bob, &all).await.unwrap(), vec![own]);
    assert_eq!(jobs.counts(&bob).await.unwrap().queued, 1);
    // Those who may see everything do.
    let admin = Actor::User { id: "root".into(), admin: true };
    assert_eq!(jobs.list(&admin, &all).await.unwrap().len(), 2);
    assert_eq!(jobs.counts(&Actor::System).await.unwrap().queued, 2);
    assert_eq!(jobs.cancel(&admin, &job.id).await.unwrap().state, JobState::Cancelled);
}

pub async fn waiting_jobs_can_be_held_cancelled_and_tried_again(bench: Bench) {
    let (jobs, ann) = (&bench.jobs, Actor::member("ann"));
    let job = bench.simple("ann").await;
    assert_eq!(jobs.hold(&ann, &job.id).await.unwrap().state, JobState::Held);
    assert!(bench.claim_many(1).await.is_empty());
    assert!(matches!(jobs.hold(&ann, &job.id).await, Err(JobError::State { state: JobState::Held, .. })));
    assert_eq!(jobs.resume(&ann, &job.id).await.unwrap().state, JobState::Queued);
    let cancelled = jobs.cancel(&ann, &job.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(1_700_000_000_000)));
    assert!(bench.claim_many(1).await.is_empty());
    assert!(matches!(jobs.cancel(&ann, &job.id).await, Err(JobError::State { .. })));
    assert!(matches!(jobs.resume(&ann, &job.id).await, Err(JobError::State { .. })));
}

pub async fn jobs_are_moved_within_an_owners_order(bench: Bench) {
    let (jobs, ann) = (&bench.jobs, Actor::member("ann"));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(bench.simple("ann").await.id);
    }
    // The last two change places until there is no room between numbers any more.
    for _ in 0..60 {
        jobs.move_before(&ann, &ids[3], Some(&ids[2])).await.unwrap();
        jobs.move_before(&ann, &ids[2], Some(&ids[3])).await.unwrap();
    }
    jobs.move_before(&ann, &ids[3], Some(&ids[0])).await.unwrap();
    jobs.move_before(&ann, &ids[1], None).await.unwrap();
    let mut order = Vec::new();
    while let Some(claimed) = bench.claim_many(1).await.pop() {
        order.push(claimed.job.id);
    }
    assert_eq!(order, [&ids[3], &ids[0], &ids[2], &ids[1]].map(String::clone));
    let running = jobs.move_before(&ann, &ids[0], None).await;
    assert!(matches!(running, Err(JobError::State { state: JobState::Running, .. })), "{running:?}");

    let (a, b) = (bench.simple("ann").await, bench.simple("bob").await);
    let between = jobs.move_before(&Actor::System, &a.id, Some(&b.id)).await;
    assert!(matches!(between, Err(JobError::Request(_))), "{between:?}");
}

pub async fn a_paused_queue_gives_nothing_out(bench: Bench) {
    bench.simple("ann").await;
    let refused = bench.jobs.pause(&Actor::member("ann"), true).await;
    assert!(matches!(refused, Err(JobError::Forbidden(_))), "{refused:?}");
    bench.jobs.pause(&Actor::System, true).await.unwrap();
    assert!(bench.claim_many(1).await.is_empty());
    assert!(bench.jobs.counts(&Actor::member("ann")).await.unwrap().paused);
    bench.jobs.pause(&Actor::System, false).await.unwrap();
    assert_eq!(bench.claim_many(1).await.len(), 1);
}

pub async fn lists_are_pages_newest_first(bench: Bench) {
    let ann = Actor::member("ann");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.simple("ann").await.id);
    }
    let claimed = bench.claim().await;
    assert_eq!(claimed.job.id, ids[0]);
    let page = |before: Option<&String>, states: &[JobState]| {
        let filter = JobFilter { states: states.to_vec(), before: before.cloned(), limit: 2 };
        let jobs = bench.jobs.clone();
        let ann = ann.clone();
        async move { jobs.list(&ann, &filter).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>() }
    };
    assert_eq!(page(None, &[]).await, [ids[4].clone(), ids[3].clone()]);
    assert_eq!(page(Some(&ids[3]), &[]).await, [ids[2].clone(), ids[1].clone()]);
    assert_eq!(page(Some(&ids[1]), &[]).await, [ids[0].clone()]);
    assert_eq!(page(None, &[JobState::Running, JobState::Done]).await, [ids[0].clone()]);
    let counts = bench.jobs.counts(&ann).await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.queued_cost), (4, 1, 4));
}

pub async fn malformed_requests_are_refused(bench: Bench) {
    let long = NewJob::new("draw", json!({"prompt": "x".repeat(2 << 20)}), 1);
    let odd = NewJob::new("draw, or 1=1", json!({}), 1);
    let key = NewJob { idempotency_key: Some("k".repeat(300)), ..NewJob::new("draw", json!({}), 1) };
    for new in [long, odd, key] {
        let refused = bench.enqueue("ann", &new).await;
        assert!(matches!(refused, Err(JobError::Request(_))), "{refused:?}");
    }
}
