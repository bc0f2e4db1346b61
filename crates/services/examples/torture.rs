//! Kills programs that work on a job queue, a thousand times and more, and counts what was lost, doubled or spoilt. Run by
//! `cargo xtask torture`.
//!
//! Several workers and one that enqueues run as processes of their own and are ended by SIGKILL at random moments, the one that
//! enqueues too. It says which jobs were acknowledged, that is committed; each of them must end with one artifact whose blob holds
//! the bytes that follow from the job.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use danqing_services::actor::Actor;
use danqing_services::jobs::{Failure, Job, Jobs, MIGRATION, NewJob, Task, Work, Worker, WorkerConfig};
use danqing_services::storage::blobs::{BlobError, BlobId, BlobStore, FolderBlobs};
use danqing_services::storage::database::{Database, Dialect, Migration, Transaction};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Artifacts, with no rule that would hide a second one.
const ARTIFACTS: Migration = Migration {
    name: "torture",
    statements: &["CREATE TABLE artifacts (job TEXT NOT NULL, blob TEXT NOT NULL) STRICT"],
    sqlite: &[],
    postgres: &[],
};
/// Short, so that orphans are found often.
const LEASE: Duration = Duration::from_millis(1000);
const WORKERS: usize = 3;
/// Jobs that wait at a time.
const WAITING: i64 = 60;
/// The longest that the last jobs may take once nobody is killed any more.
const DRAIN: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["worker", address, blobs, name] => worker(address, blobs, name).await,
        ["enqueuer", address, first] => enqueuer(address, first).await,
        ["sqlite", kills] => sqlite(kills).await,
        ["postgres", kills, address] => postgres(kills, address).await,
        _ => Err("torture sqlite KILLS | postgres KILLS ADDRESS".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn jobs(address: &str) -> Outcome<Jobs> {
    Ok(Jobs::new(Database::open(address, &[MIGRATION, ARTIFACTS]).await?, LEASE))
}

/// The bytes that a job must make, from its number: some small, some large.
fn picture(n: i64) -> Vec<u8> {
    let mut dice = Dice(n as u64);
    let length = 1 << (4 + dice.below(14));
    (0..length).map(|_| dice.below(256) as u8).collect()
}

struct Dice(u64);

impl Dice {
    /// SplitMix64 (Steele, Lea & Flood 2014).
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

struct Draw {
    blobs: FolderBlobs,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure { message: error.to_string(), again: true }
}

#[async_trait]
impl Work for Draw {
    type Made = BlobId;

    fn kinds(&self) -> Vec<String> {
        vec!["draw".into()]
    }

    async fn run(&self, tasks: &[Task]) -> Vec<Result<BlobId, Failure>> {
        let mut made = Vec::new();
        for task in tasks {
            let n = task.job.request["n"].as_i64().unwrap_or_default();
            let drawn = async {
                sleep(Duration::from_millis(2 + n as u64 % 20)).await;
                // Every third job saves its state half-way.
                if n % 3 == 0 && task.job.saved.is_none() {
                    let half = self.blobs.put(format!("half of {n}").into_bytes()).await.map_err(failed)?;
                    task.save(&half.to_string()).await.map_err(failed)?;
                }
                self.blobs.put(picture(n)).await.map_err(failed)
            };
            made.push(drawn.await);
        }
        made
    }

    async fn store(&self, begun: &mut Transaction, job: &Job, made: BlobId) -> Result<serde_json::Value, Failure> {
        let row = [job.id.as_str().into(), made.to_string().into()];
        begun.execute("INSERT INTO artifacts (job, blob) VALUES ($1, $2)", &row).await.map_err(failed)?;
        Ok(json!(made.to_string()))
    }
}

async fn worker(address: &str, blobs: &str, name: &str) -> Outcome {
    let work = Arc::new(Draw { blobs: FolderBlobs::open(blobs)? });
    let config = WorkerConfig { poll: Duration::from_millis(50), ..WorkerConfig::new(name) };
    let (_never, ending) = watch::channel(false);
    Worker::new(jobs(address).await?, work, config).run(ending, |error| eprintln!("{name}: {error}")).await;
    Ok(())
}

/// Enqueues jobs `first`, … and prints the number of each that is committed.
async fn enqueuer(address: &str, first: &str) -> Outcome {
    let jobs = jobs(address).await?;
    let actors = ["ann", "bob", "eve"].map(Actor::member);
    for n in first.parse::<i64>()?.. {
        while jobs.counts(&Actor::System).await?.queued >= WAITING {
            sleep(Duration::from_millis(20)).await;
        }
        // Whoever was killed before it could say that the job is there asks again, with the same key.
        let new = NewJob {
            idempotency_key: Some(n.to_string()),
            // A job may be hit by many of the kills.
            max_failures: 1_000_000,
            ..NewJob::new("draw", json!({ "n": n }), 1 + n % 7)
        };
        let mut begun = jobs.database().begin().await?;
        jobs.enqueue(&mut begun, &actors[n as usize % actors.len()], &new).await?;
        begun.commit().await?;
        println!("{n}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A process that is killed and begun again.
struct Victim {
    arguments: Box<dyn Fn() -> Vec<String>>,
    acknowledged: Option<Arc<AtomicI64>>,
    child: Child,
}

impl Victim {
    fn new(arguments: impl Fn() -> Vec<String> + 'static, acknowledged: Option<Arc<AtomicI64>>) -> Outcome<Self> {
        let child = begin(&arguments(), acknowledged.as_ref())?;
        Ok(Self { arguments: Box::new(arguments), acknowledged, child })
    }

    fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn again(&mut self) -> Outcome {
        self.kill()?;
        self.child = begin(&(self.arguments)(), self.acknowledged.as_ref())?;
        Ok(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Nothing is left running, whatever has happened.
        let _ = self.kill();
    }
}

fn begin(arguments: &[String], acknowledged: Option<&Arc<AtomicI64>>) -> Outcome<Child> {
    let out = if acknowledged.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(std::env::current_exe()?).args(arguments).stdout(out).spawn()?;
    if let (Some(acknowledged), Some(out)) = (acknowledged.cloned(), child.stdout.take()) {
        std::thread::spawn(move || {
            // A line that the kill cut short is no number that follows on the last one.
            for n in BufReader::new(out).lines().map_while(Result::ok).filter_map(|line| line.parse().ok()) {
                let _ = acknowledged.compare_exchange(n - 1, n, Ordering::SeqCst, Ordering::SeqCst);
            }
        });
    }
    Ok(child)
}

async fn sqlite(kills: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let address = folder.path().join("studio.db").display().to_string();
    torture("SQLite", &address, folder.path(), kills.parse()?).await
}

async fn postgres(kills: &str, address: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let schema = format!("torture_{}", std::process::id());
    let database = Database::open(address, &[]).await?;
    let mut begun = database.begin().await?;
    begun.execute(Box::leak(format!("CREATE SCHEMA {schema}").into_boxed_str()), &[]).await?;
    begun.commit().await?;
    let sign = if address.contains('?') { '&' } else { '?' };
    torture("PostgreSQL", &format!("{address}{sign}options[search_path]={schema}"), folder.path(), kills.parse()?).await
}

async fn torture(name: &str, address: &str, folder: &Path, kills: u32) -> Outcome {
    let blobs = folder.join("blobs");
    let jobs = jobs(address).await?;
    let acknowledged = Arc::new(AtomicI64::new(-1));
    let mut victims = Vec::new();
    for i in 0..WORKERS {
        let (address, blobs) = (address.to_owned(), blobs.display().to_string());
        victims
            .push(Victim::new(move || vec!["worker".into(), address.clone(), blobs.clone(), format!("w{i}")], None)?);
    }
    let (own, seen) = (address.to_owned(), acknowledged.clone());
    let next = move || vec!["enqueuer".into(), own.clone(), (seen.load(Ordering::SeqCst) + 1).to_string()];
    victims.push(Victim::new(next, Some(acknowledged.clone()))?);

    let began = Instant::now();
    let mut dice = Dice(u64::from(kills));
    for n in 1..=kills {
        sleep(Duration::from_millis(20 + dice.below(160))).await;
        let victim = dice.below(victims.len() as u64) as usize;
        victims[victim].again()?;
        if n % 100 == 0 {
            let jobs = acknowledged.load(Ordering::SeqCst) + 1;
            eprintln!("{name}: {n} kills, {jobs} jobs, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    // No more jobs; the workers finish what is there.
    victims.pop();
    let drained = Instant::now();
    loop {
        let counts = jobs.counts(&Actor::System).await?;
        if counts.queued + counts.running == 0 {
            break;
        }
        if drained.elapsed() > DRAIN {
            return Err(format!("{} jobs wait and {} run after {DRAIN:?}", counts.queued, counts.running).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    let found = examine(&jobs, &FolderBlobs::open(&blobs)?, acknowledged.load(Ordering::SeqCst) + 1).await?;
    victims.clear();
    println!(
        "{name}: {kills} kills in {:.0} s, {} jobs acknowledged, {} in the table, {} claims; lost {}, doubled {}, corrupt {}; \
         {} unfinished files",
        began.elapsed().as_secs_f64(),
        found.acknowledged,
        found.jobs,
        found.claims,
        found.lost,
        found.doubled,
        found.corrupt,
        unfinished(&blobs),
    );
    if (found.lost, found.doubled, found.corrupt) != (0, 0, 0) {
        return Err("the promise does not hold".into());
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    acknowledged: i64,
    jobs: i64,
    claims: i64,
    lost: i64,
    doubled: i64,
    corrupt: i64,
}

async fn examine(jobs: &Jobs, blobs: &FolderBlobs, acknowledged: i64) -> Outcome<Found> {
    let mut found = Found { acknowledged, ..Default::default() };
    let database = jobs.database();
    if database.dialect() == Dialect::Sqlite {
        let rows = database.read("PRAGMA integrity_check", &[]).await?;
        let verdict: String = rows[0].get("integrity_check")?;
        if verdict != "ok" {
            return Err(format!("SQLite finds the file damaged: {verdict}").into());
        }
    }
    // One row for each artifact, and one for a job without any.
    let rows = database
        .read(
            "SELECT j.idempotency_key AS n, j.id, j.state, j.attempt, j.result, a.blob FROM jobs j LEFT JOIN artifacts a ON a.job = j.id \
             ORDER BY j.id",
            &[],
        )
        .await?;
    let mut before = String::new();
    let mut seen = vec![false; acknowledged as usize];
    for row in &rows {
        let (id, n): (String, String) = (row.get("id")?, row.get("n")?);
        let n: i64 = n.parse()?;
        if id == before {
            found.doubled += 1;
            continue;
        }
        found.jobs += 1;
        found.claims += row.get::<i64>("attempt")?;
        if let Some(seen) = seen.get_mut(n as usize) {
            // Two jobs of one key are one too many as well.
            found.doubled += i64::from(*seen);
            *seen = true;
        }
        let (state, blob): (String, Option<String>) = (row.get("state")?, row.get("blob")?);
        match (state.as_str(), blob) {
            ("done", Some(blob)) => {
                let id: BlobId = blob.parse()?;
                let whole = match blobs.get(id).await {
                    Ok(bytes) => bytes == picture(n),
                    Err(BlobError::Missing(_) | BlobError::Damaged(_)) => false,
                    Err(error) => return Err(error.into()),
                };
                let result: Option<String> = row.get("result")?;
                found.corrupt += i64::from(!whole || result != Some(json!(blob).to_string()));
            }
            _ => found.lost += 1,
        }
        before = id;
    }
    found.lost += seen.iter().filter(|seen| !**seen).count() as i64;
    Ok(found)
}

fn unfinished(blobs: &Path) -> usize {
    let folder: PathBuf = blobs.join("unfinished");
    std::fs::read_dir(folder).map(|entries| entries.count()).unwrap_or(0)
}
