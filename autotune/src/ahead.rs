//! Compiling candidates ahead of the thread that measures them.
//!
//! What takes a second of a core per candidate, the compiler, needs no GPU; what needs the GPU alone takes milliseconds. So all
//! other cores compile what the search will try next, in the order in which it will, and the measuring thread waits only for a
//! candidate that is not ready. A job leaves its result in the disk cache, where the launch finds it; its failure shows again there.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Work for another thread.
type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<(String, Job)>,
    /// Names of jobs that wait or run.
    open: BTreeSet<String>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads that work jobs off, first come, first served; what has not begun when this is dropped never will.
pub struct Ahead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Ahead {
    /// As many threads as the machine has, but for the one that measures.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_threads(cores.saturating_sub(1).max(1))
    }

    /// That many threads.
    #[must_use]
    pub fn with_threads(n_threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let work = || {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || worker(&shared))
        };
        Self { threads: (0..n_threads).map(|_| work()).collect(), shared }
    }

    /// Adds a job, unless one of this name is open.
    pub fn push(&self, name: String, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        if state.open.insert(name.clone()) {
            state.waiting.push_back((name, Box::new(job)));
            self.shared.changed.notify_all();
        }
    }

    /// Waits until no job of this name is open.
    pub fn wait(&self, name: &str) {
        let mut state = self.shared.lock();
        while state.open.contains(name) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self::new()
    }
}

fn worker(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if state.is_closed {
            return;
        }
        let Some((name, job)) = state.waiting.pop_front() else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        // A candidate that panics does so again where it is tried, and is reported there.
        let _ = catch_unwind(AssertUnwindSafe(job));
        state = shared.lock();
        state.open.remove(&name);
        shared.changed.notify_all();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ahead({} threads, {} jobs open)", self.threads.len(), self.shared.lock().open.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_job_is_done_once_and_can_be_waited_for() {
        let ahead = Ahead::with_threads(3);
        let done = Arc::new(AtomicUsize::new(0));
        for name in ["a", "b", "a", "c"] {
            let done = Arc::clone(&done);
            ahead.push(name.to_owned(), move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        ["a", "b", "c", "never pushed"].iter().for_each(|name| ahead.wait(name));
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_panic_is_the_jobs_own() {
        let ahead = Ahead::with_threads(1);
        ahead.push("bad".to_owned(), || panic!("a broken candidate"));
        ahead.wait("bad");
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        ahead.push("good".to_owned(), move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        ahead.wait("good");
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn dropping_does_not_wait_for_what_has_not_begun() {
        let ahead = Ahead::with_threads(1);
        let done = Arc::new(AtomicUsize::new(0));
        for i in 0..1000 {
            let done = Arc::clone(&done);
            ahead.push(i.to_string(), move || {
                std::thread::sleep(std::time::Duration::from_millis(5));
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        drop(ahead);
        assert!(done.load(Ordering::SeqCst) < 1000);
    }
}
