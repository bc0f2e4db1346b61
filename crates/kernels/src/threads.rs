//! One pool of threads for all kernels.
//!
//! [`parallel_for`] runs numbered tasks on the caller and on the pool's workers. Each begins with its own share of the numbers, the
//! same in every call, so that what it made in one call is still cached where it reads it in the next; then it helps the others.
//! Which thread runs a task is chance nevertheless, what a task computes must not depend on it: then results are bit-equal for
//! every thread count. Workers spin for some microseconds after a job (the next one usually follows at once), then sleep.

use crate::isa;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

const SPINS: usize = 2_000;
/// Shares of a job at most.
const SHARES: usize = 64;

/// How many threads work on a kernel: 0 = not set yet.
static WISHED: AtomicUsize = AtomicUsize::new(0);

/// Sets how many threads kernels use, the caller included (at least 1). Takes effect with the next kernel.
pub fn set_threads(count: usize) {
    WISHED.store(count.clamp(1, 1024), Ordering::Relaxed);
}

/// How many threads kernels use: what [`set_threads`] said, else `DANQING_THREADS`, else the machine's cores.
pub fn threads() -> usize {
    match WISHED.load(Ordering::Relaxed) {
        0 => {
            let wish = std::env::var("DANQING_THREADS").ok().and_then(|v| v.trim().parse::<usize>().ok());
            let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
            set_threads(wish.filter(|&n| n > 0).unwrap_or_else(cores));
            WISHED.load(Ordering::Relaxed)
        }
        count => count,
    }
}

/// One call of [`parallel_for`], on the caller's stack.
struct Job<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    shares: usize,
    /// The next task of each share.
    next: [AtomicUsize; SHARES],
    choice: Option<isa::Isa>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job<'_> {
    /// Where a share begins.
    fn start(&self, share: usize) -> usize {
        share * self.tasks / self.shares
    }

    /// Takes and runs tasks, those of the thread's own share first, until none is left. A panic ends the job early and is kept for
    /// the caller.
    fn work(&self, thread: usize) {
        let run = || {
            for share in (0..self.shares).map(|i| (thread + i) % self.shares) {
                let end = self.start(share + 1);
                loop {
                    let index = self.next[share].fetch_add(1, Ordering::Relaxed);
                    if index >= end {
                        break;
                    }
                    (self.task)(index);
                }
            }
        };
        let inside = INSIDE.replace(true);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| isa::with_choice(self.choice, run))) {
            self.next.iter().for_each(|next| next.store(self.tasks, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
        INSIDE.set(inside);
    }
}

/// What the workers see, under a lock.
struct Board {
    job: Option<&'static Job<'static>>,
    /// How many more workers may join the job.
    places: usize,
    spawned: usize,
}

struct Pool {
    board: Mutex<Board>,
    wake: Condvar,
    /// Counts jobs; spinning workers watch it.
    epoch: AtomicU64,
    /// Workers inside the current job.
    active: AtomicUsize,
    busy: AtomicBool,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool {
        board: Mutex::new(Board { job: None, places: 0, spawned: 0 }),
        wake: Condvar::new(),
        epoch: AtomicU64::new(0),
        active: AtomicUsize::new(0),
        busy: AtomicBool::new(false),
    })
}

thread_local! {
    /// Set while this thread runs a task: a nested call then runs inline.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Worker `number`; the caller is number 0.
    fn worker(&'static self, number: usize) {
        let mut seen = 0;
        loop {
            for _ in 0..SPINS {
                if self.epoch.load(Ordering::Relaxed) != seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let mut board = self.board();
            while self.epoch.load(Ordering::Relaxed) == seen {
                board = self.wake.wait(board).unwrap_or_else(PoisonError::into_inner);
            }
            seen = self.epoch.load(Ordering::Relaxed);
            let Some(job) = board.job.filter(|_| board.places > 0) else { continue };
            board.places -= 1;
            self.active.fetch_add(1, Ordering::Relaxed);
            drop(board);
            job.work(number);
            self.active.fetch_sub(1, Ordering::Release);
        }
    }

    fn run(&'static self, job: &Job<'_>, helpers: usize) {
        // SAFETY: only the lifetime changes. Workers reach the job through the board alone and count themselves in
        // `active` under its lock; below the job is taken off the board and `active` awaited before `job` can end.
        let shared = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        {
            let mut board = self.board();
            while board.spawned < helpers {
                let number = board.spawned + 1;
                let name = format!("kernels-{number}");
                // Without a thread the work is done by those that there are.
                if std::thread::Builder::new().name(name).spawn(move || pool().worker(number)).is_err() {
                    break;
                }
                board.spawned += 1;
            }
            board.job = Some(shared);
            board.places = helpers;
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        if helpers == 1 && self.board().spawned == 1 {
            self.wake.notify_one();
        } else {
            self.wake.notify_all();
        }
        job.work(0);
        self.board().job = None;
        let mut spins = 0;
        while self.active.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Runs `task(0)`, …, `task(tasks - 1)`, each once, on several threads; returns when all are done.
///
/// Inside a task, and while another thread's call has the pool, it runs all tasks on the calling thread.
///
/// # Panics
/// If a task panics, with that panic, after the other threads have stopped.
pub fn parallel_for(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    let helpers = threads().min(tasks).saturating_sub(1);
    if helpers == 0 || INSIDE.get() {
        return (0..tasks).for_each(task);
    }
    let pool = pool();
    if pool.busy.swap(true, Ordering::Acquire) {
        return (0..tasks).for_each(task);
    }
    let shares = (helpers + 1).min(SHARES);
    let next = std::array::from_fn(|share| AtomicUsize::new(share * tasks / shares));
    let job = Job { task, tasks, shares, next, choice: isa::choice(), panic: Mutex::new(None) };
    pool.run(&job, helpers);
    pool.busy.store(false, Ordering::Release);
    if let Some(payload) = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

/// Runs `task(index, chunk)` on each run of `size` elements of `values` (the last may be shorter), in parallel.
///
/// # Panics
/// If `size` is 0 while there are elements, or a task panics.
pub fn parallel_for_chunks<T: Send>(values: &mut [T], size: usize, task: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let len = values.len();
    let values = Shared::new(values);
    parallel_for(len.div_ceil(size.max(1)), &|index| {
        let start = index * size;
        // SAFETY: each task has its own run.
        task(index, unsafe { values.range(start, size.min(len - start)) });
    });
}

/// A mutable slice whose disjoint parts are written by different tasks.
pub struct Shared<'a, T> {
    pointer: *mut T,
    len: usize,
    of: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access is only through the unsafe `range`, whose caller promises disjointness.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Takes the slice for the time of a parallel loop.
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { pointer: slice.as_mut_ptr(), len: slice.len(), of: std::marker::PhantomData }
    }

    /// Elements in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first element's address.
    pub fn as_ptr(&self) -> *mut T {
        self.pointer
    }

    /// Elements `start..start + len`.
    ///
    /// # Safety
    /// No other reference to any of these elements may live at the same time.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    #[allow(clippy::mut_from_ref)] // that is its purpose
    pub unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "range {start}+{len} outside {}", self.len);
        // SAFETY: inside the slice; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_nests() {
        set_threads(4);
        for tasks in [0, 1, 2, 3, 100] {
            let hits: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            parallel_for(tasks, &|i| {
                parallel_for(3, &|_| {
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 3));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        set_threads(4);
        for _ in 0..20 {
            let result = catch_unwind(|| parallel_for(50, &|i| assert!(i != 31, "task 31")));
            assert!(result.is_err());
            let sum = AtomicUsize::new(0);
            parallel_for(50, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 49 * 50 / 2);
        }
    }

    #[test]
    fn parts_are_written_by_tasks() {
        let mut values = vec![0usize; 1000];
        let parts = Shared::new(&mut values);
        parallel_for(10, &|t| {
            // SAFETY: each task has its own hundred.
            unsafe { parts.range(t * 100, 100) }.fill(t);
        });
        assert!(values.iter().enumerate().all(|(i, &v)| v == i / 100));
    }
}
