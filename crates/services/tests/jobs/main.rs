//! What the job queue promises, asked of both databases by the same questions.
//!
//! PostgreSQL is asked where `DANQING_TEST_POSTGRES` gives the address of a database in which tests may make schemas.

mod bench;
mod owners;
mod workers;

use bench::Bench;

/// Every question, once for each database.
macro_rules! contract {
    ($($room:ident :: $question:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                crate::$room::$question(crate::Bench::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                if let Some(bench) = crate::Bench::postgres().await {
                    crate::$room::$question(bench).await;
                }
            })*
        }
    };
}

contract! {
    owners::a_job_exists_when_its_transaction_is_committed,
    owners::an_idempotency_key_stands_for_one_request,
    owners::equal_keys_at_the_same_time_make_one_job,
    owners::strangers_do_not_see_a_job,
    owners::waiting_jobs_can_be_held_cancelled_and_tried_again,
    owners::jobs_are_moved_within_an_owners_order,
    owners::a_paused_queue_gives_nothing_out,
    owners::lists_are_pages_newest_first,
    owners::malformed_requests_are_refused,
    workers::every_job_is_given_to_one_worker,
    workers::only_the_newest_claim_completes_a_job,
    workers::a_completion_whose_transaction_is_dropped_did_not_happen,
    workers::jobs_of_vanished_workers_wait_again_until_they_are_given_up,
    workers::owners_are_served_in_turn_by_cost,
    workers::who_comes_back_has_saved_nothing_up,
    workers::priority_goes_before_fairness,
    workers::failures_wait_longer_each_time,
    workers::cancelling_reaches_a_running_job,
    workers::what_was_saved_is_there_for_the_next_worker,
    workers::jobs_of_a_batch_are_claimed_together,
    workers::a_worker_stores_reports_and_survives_panics,
    workers::a_worker_that_ends_gives_its_job_back,
    workers::a_cancelled_job_stops,
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    use danqing_services::jobs::MIGRATION;
    use danqing_services::storage::database::{Database, Migration};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("studio.db").display().to_string();
    let newer = Migration { name: "0002-newer", statements: &["CREATE TABLE newer (a INTEGER) STRICT"], ..MIGRATION };
    Database::open(&file, &[MIGRATION, newer]).await.unwrap().close().await;
    let refused = Database::open(&file, &[MIGRATION]).await.unwrap_err().to_string();
    assert!(refused.contains("newer danqing"), "{refused}");
    let changed = Migration { statements: &["CREATE TABLE other (a INTEGER) STRICT"], ..MIGRATION };
    let refused = Database::open(&file, &[changed, newer]).await.unwrap_err().to_string();
    assert!(refused.contains("unreleased"), "{refused}");
    // And the one that made it opens it again.
    Database::open(&file, &[MIGRATION, newer]).await.unwrap().close().await;
}
