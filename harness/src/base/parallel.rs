//! Work spread over the CPUs that this process may use.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Makes something of every item; the order stays. Where no more threads are to be had, those that are do all of it.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    on_threads(cpus.min(items.len()), items, make)
}

/// Items differ in what they take, so that every thread takes the next one as it is done with the last.
fn on_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    make: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if threads < 2 {
        return items.iter().map(make).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => made.push((at, make(item))),
                None => return made,
            }
        }
    };
    let mut made = thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let mut made = work();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, made)| made).collect()
}

/// Does both at once, or one after the other where no thread is to be had.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    // A thread that cannot be started would take what it was to do with it.
    let one = Mutex::new(Some(one));
    let work = || {
        let one = one.lock().ok().and_then(|mut one| one.take());
        one.map(|one| one())
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work);
        let other = other();
        let one = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => work(),
        };
        (one.expect("it is done once"), other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_made_once_and_in_order() {
        let items: Vec<usize> = (0..100).collect();
        let made = AtomicUsize::new(0);
        for threads in [1, 2, 7] {
            let squares = on_threads(threads, &items, |n| {
                made.fetch_add(1, Ordering::Relaxed);
                n * n
            });
            assert!(
                squares
                    .iter()
                    .enumerate()
                    .all(|(n, square)| *square == n * n)
            );
            assert_eq!(squares.len(), items.len());
        }
        assert_eq!(made.into_inner(), 3 * items.len());
        assert!(in_parallel(&[], |n: &usize| *n).is_empty());
        assert_eq!(both(|| 1, || "two"), (1, "two"));
    }

    #[test]
    #[should_panic(expected = "the fifth")]
    fn what_one_thread_meets_ends_all() {
        on_threads(2, &[0; 9], {
            let met = AtomicUsize::new(0);
            move |_| assert_ne!(met.fetch_add(1, Ordering::Relaxed), 4, "the fifth")
        });
    }
}
