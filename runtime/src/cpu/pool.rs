//! The worker pool: one parallel region at a time, joined by spinning, so that a launch costs well under a microsecond.
//!
//! A decode step launches hundreds of kernels of a few microseconds each; waking threads for each of them would cost more than
//! the kernels (a futex wake takes tens of microseconds). Workers therefore spin for a while after a region before they
//! park, and a region never waits for a worker that is still asleep: the caller works through the items itself and
//! whoever is awake takes a share.
//!
//! ```text
//! state: | epoch (47 bits) | open (1 bit) | workers inside (16 bits) |
//! caller:  publish job, epoch + 1, open     ... take items ...   close, wait until nobody is inside
//! worker:  sees a new open epoch -> enters by compare-and-swap -> takes items -> leaves
//! ```
//! Invariant: the job is only read between entering and leaving, and the caller returns only when nobody is inside.

#![allow(
    unsafe_code,
    reason = "the job borrows the caller's stack and is shared with workers for the length of `run`"
)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;
const EPOCH: u64 = 1 << 17;

/// Rounds of the spin loop before a worker parks: about 100 us.
const SPINS: u32 = 4_000;

/// A region in flight.
struct Job {
    /// Runs neighbouring items; the pointer is valid while the state is open or somebody is inside.
    body: *const (dyn Fn(Range<usize>) + Sync),
    /// Number of items.
    items: usize,
    /// What is left divided by this is taken at a time.
    shares: usize,
}

struct Shared {
    state: AtomicU64,
    job: UnsafeCell<Job>,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
}

// SAFETY: `job` is written only by the caller that holds the region lock while the state is closed with nobody inside, and
// read only by threads that are inside; the state's acquire/release pairs order the two.
unsafe impl Sync for Shared {}
// SAFETY: the raw pointer in `job` is only dereferenced under the protocol above.
unsafe impl Send for Shared {}

/// Worker threads that run the items of one region at a time together with the caller.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Thread>,
    handles: Vec<JoinHandle<()>>,
    region: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the caller counted as one of them.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let extra = threads.saturating_sub(1);
        let idle: &'static (dyn Fn(Range<usize>) + Sync) = &|_| {};
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(Job { body: std::ptr::from_ref(idle), items: 0, shares: 1 }),
            next: AtomicUsize::new(0),
            panic: Mutex::new(None),
            asleep: (0..extra).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
        });
        let mut handles: Vec<JoinHandle<()>> = Vec::new();
        for index in 0..extra {
            let shared = Arc::clone(&shared);
            // A machine that refuses another thread still computes, with fewer.
            let spawned = std::thread::Builder::new()
                .name(format!("tilewright-{index}"))
                .spawn(move || work(&shared, index));
            match spawned {
                Ok(handle) => handles.push(handle),
                Err(_) => break,
            }
        }
        let workers = handles.iter().map(|h| h.thread().clone()).collect();
        Self { shared, workers, handles, region: Mutex::new(()) }
    }

    /// Number of threads that run items, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(0)`, ..., `body(items - 1)`, each once, in any order and on any thread; returns when all are done.
    ///
    /// # Panics
    /// With the payload of the first item that panicked, after all threads have left the region.
    pub fn run(&self, items: usize, body: &(dyn Fn(usize) + Sync)) {
        self.run_shares(items, &|share| share.for_each(body));
    }

    /// As [`Pool::run`], for a body that takes the neighbouring items which one thread has claimed together, and so sets up and
    /// tidies away once for all of them.
    ///
    /// # Panics
    /// As [`Pool::run`].
    pub fn run_shares(&self, items: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
        if items <= 1 || self.workers.is_empty() {
            body(0..items);
            return;
        }
        let _region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; nobody dereferences the pointer after `run` returns.
        let body: *const (dyn Fn(Range<usize>) + Sync + 'static) =
            unsafe { std::mem::transmute(std::ptr::from_ref(body)) };
        // SAFETY: the region lock is held and the state is closed with nobody inside, so nobody reads the job.
        unsafe { *shared.job.get() = Job { body, items, shares: 2 * self.threads() } };
        shared.next.store(0, Ordering::Relaxed);
        let epoch = (shared.state.load(Ordering::Relaxed) & !(OPEN | INSIDE)).wrapping_add(EPOCH);
        shared.state.store(epoch | OPEN, Ordering::SeqCst);
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                worker.unpark();
            }
        }
        // SAFETY: the job was written above and stays until the region closes.
        unsafe { take_items(shared) };
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while shared.state.load(Ordering::Acquire) & INSIDE != 0 {
            relax(&mut spins);
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panic {
            drop(_region);
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &self.workers {
            worker.unpark();
        }
        for handle in self.handles.drain(..) {
            // A worker only ends by the stop flag; its items' panics were handed to their caller.
            let _ = handle.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// Waits a little; now and then lets another thread have the core, for machines with fewer cores than threads.
fn relax(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(256) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// Takes runs of neighbouring items until none are left: a share of what remains, so that memory is read in long streams at first
/// and the last items balance the threads. Half of a fair share also keeps the balance where the first items cost twice the
/// average, as in causal attention.
///
/// # Safety
/// The calling thread is inside the region, or is its caller before it closes.
unsafe fn take_items(shared: &Shared) {
    // SAFETY: the job is not written while anybody is inside.
    let (body, items, shares) = unsafe {
        let job = &*shared.job.get();
        (&*job.body, job.items, job.shares)
    };
    let share = |first: usize| (items.saturating_sub(first) / shares).max(1);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        loop {
            let take = |first: usize| (first < items).then(|| first + share(first));
            let Ok(first) = shared.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else {
                return;
            };
            body(first..first + share(first));
        }
    }));
    if let Err(payload) = outcome {
        shared.next.store(items, Ordering::Relaxed);
        shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
    }
}

/// A worker's life: wait for a new open epoch, enter, take items, leave.
fn work(shared: &Shared, index: usize) {
    let mut done_epoch = 0;
    let mut spins = 0u32;
    while !shared.stop.load(Ordering::Relaxed) {
        let state = shared.state.load(Ordering::Acquire);
        if state & OPEN != 0 && state & !(OPEN | INSIDE) != done_epoch {
            if shared.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // SAFETY: this thread has just entered.
                unsafe { take_items(shared) };
                shared.state.fetch_sub(1, Ordering::AcqRel);
                done_epoch = state & !(OPEN | INSIDE);
            }
            spins = 0;
            continue;
        }
        if spins < SPINS {
            relax(&mut spins);
            continue;
        }
        shared.asleep[index].store(true, Ordering::SeqCst);
        let state = shared.state.load(Ordering::SeqCst);
        if (state & OPEN == 0 || state & !(OPEN | INSIDE) == done_epoch)
            && !shared.stop.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        shared.asleep[index].store(false, Ordering::SeqCst);
        spins = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_and_regions_follow_each_other() {
        let pool = Pool::new(3);
        for round in 0..2_000usize {
            let items = round % 67;
            let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            pool.run(items, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "round {round}");
        }
    }

    #[test]
    fn workers_that_went_to_sleep_come_back() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let ids = Mutex::new(std::collections::BTreeSet::new());
            let total = AtomicUsize::new(0);
            pool.run(64, &|_| {
                std::thread::sleep(std::time::Duration::from_micros(200));
                ids.lock().unwrap().insert(format!("{:?}", std::thread::current().id()));
                total.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(total.load(Ordering::Relaxed), 64);
            assert_eq!(ids.lock().unwrap().len(), 2, "both threads should have taken items");
        }
    }

    #[test]
    fn a_panicking_item_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(100, &|i| assert!(i != 41, "item 41"));
        }));
        assert!(caught.is_err());
        let total = AtomicUsize::new(0);
        pool.run(10, &|_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(total.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn callers_on_many_threads_take_turns() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let total = AtomicUsize::new(0);
                        pool.run(17, &|i| {
                            total.fetch_add(i, Ordering::Relaxed);
                        });
                        assert_eq!(total.load(Ordering::Relaxed), 136);
                    }
                });
            }
        });
    }
}
