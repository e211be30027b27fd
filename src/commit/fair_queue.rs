//! A first-in, first-out queue of threads for things that are taken and returned.
//!
//! Invariant: while a thread waits, there is nothing to take. Whoever returns something hands it to
//! the thread that has waited longest, and wakes no other. So neither a newcomer nor the thread
//! that has just returned it can be faster.
//!
//! The queue's mutex may be held while a waiter's is acquired, never the other way round.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Debug;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Result};
use crate::failpoints::{SeededBug, has};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A stock of things that threads take.
pub trait Stock {
    /// The thing that a thread takes.
    type Item: Debug;

    /// Takes an item, if there is one.
    fn take(&mut self) -> Option<Self::Item>;
}

/// A stock, and the threads that wait until there is something to take.
#[derive(Debug)]
pub struct FairQueue<S: Stock> {
    state: Mutex<State<S>>,
}

#[derive(Debug)]
struct State<S: Stock> {
    stock: S,
    /// The waiting threads, the one that came first in front.
    waiting: VecDeque<Arc<Waiter<S::Item>>>,
}

/// A thread that waits, alone on its condition variable.
#[derive(Debug)]
struct Waiter<I> {
    /// The item that the thread was handed.
    given: Mutex<Option<I>>,
    changed: Condvar,
}

impl<I> Waiter<I> {
    fn given(&self) -> MutexGuard<'_, Option<I>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Stock> FairQueue<S> {
    /// Returns a queue for `stock` in which nobody waits.
    pub fn new(stock: S) -> Self {
        FairQueue { state: Mutex::new(State { stock, waiting: VecDeque::new() }) }
    }

    /// Takes an item, however long that takes.
    pub fn take(&self) -> S::Item {
        let Ok(item) = self.enter(|changed, given| {
            Ok::<_, Infallible>(changed.wait(given).unwrap_or_else(PoisonError::into_inner))
        });
        item
    }

    /// Takes an item before the deadline. Otherwise returns `cancelled`, or the error of `late`
    /// when the deadline has passed.
    pub fn take_within(&self, deadline: &Deadline, late: impl Fn() -> Error) -> Result<S::Item> {
        self.enter(|changed, given| {
            deadline.check_cancel()?;
            if deadline.is_over() {
                Err(late())
            } else {
                Ok(deadline.sleep_on(changed, given, None))
            }
        })
    }

    /// Changes the stock, and hands what it then gives to the threads that wait.
    pub fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        let mut served = Vec::new();
        let mut state = self.state();
        let changed = change(&mut state.stock);
        while !state.waiting.is_empty()
            && let Some(item) = state.stock.take()
            && let Some(first) = state.waiting.pop_front()
        {
            *first.given() = Some(item);
            served.push(first);
        }
        drop(state);
        // Without the lock: a thread that is woken must not run into it.
        for waiter in served {
            waiter.changed.notify_one();
        }
        changed
    }

    /// Takes an item now, or waits in the queue. `sleep` fails to give up, which it must not do
    /// with the guard in its hands.
    fn enter<E>(
        &self,
        mut sleep: impl for<'g> FnMut(
            &Condvar,
            MutexGuard<'g, Option<S::Item>>,
        )
            -> std::result::Result<MutexGuard<'g, Option<S::Item>>, E>,
    ) -> std::result::Result<S::Item, E> {
        let mut state = self.state();
        if state.waiting.is_empty()
            && let Some(item) = state.stock.take()
        {
            return Ok(item);
        }
        let waiter = Arc::new(Waiter { given: Mutex::new(None), changed: Condvar::new() });
        state.waiting.push_back(Arc::clone(&waiter));
        drop(state);
        let mut given = waiter.given();
        loop {
            if let Some(item) = given.take() {
                return Ok(item);
            }
            given = match sleep(&waiter.changed, given) {
                Ok(given) => given,
                Err(error) => {
                    self.state().waiting.retain(|own| !Arc::ptr_eq(own, &waiter));
                    // From here on nothing is handed to this thread. What came just before would be
                    // lost to all others if the thread did not take it.
                    let late = waiter.given().take();
                    return match late {
                        Some(item) if !has(SeededBug::DropTurn) => Ok(item),
                        _ => Err(error),
                    };
                }
            };
        }
    }

    /// Returns how many threads wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::{CallOptions, CancelToken, Status, Timeout};

    /// Numbers to take, until the stock is closed: then every thread takes `None`.
    #[derive(Default)]
    struct Numbers {
        left: Vec<u32>,
        is_closed: bool,
    }

    impl Stock for Numbers {
        type Item = Option<u32>;

        fn take(&mut self) -> Option<Option<u32>> {
            if self.is_closed { Some(None) } else { self.left.pop().map(Some) }
        }
    }

    fn late() -> Error {
        Error::new(Status::Busy, "late")
    }

    fn within(timeout: Timeout, cancel: Option<&CancelToken>) -> Deadline {
        CallOptions { timeout, cancel: cancel.cloned() }.start(None)
    }

    /// Returns what a thread takes that does not wait.
    fn now(queue: &FairQueue<Numbers>) -> std::result::Result<Option<u32>, Status> {
        let deadline = within(Timeout::After(Duration::ZERO), None);
        queue.take_within(&deadline, late).map_err(|error| error.status)
    }

    /// Starts a thread that waits, and returns once it does, or has given up.
    fn waiting<'s, T: Send + 's>(
        scope: &'s thread::Scope<'s, '_>,
        queue: &'s FairQueue<Numbers>,
        wait: impl FnOnce() -> T + Send + 's,
    ) -> thread::ScopedJoinHandle<'s, T> {
        let before = queue.waiting();
        let thread = scope.spawn(wait);
        while queue.waiting() == before && !thread.is_finished() {
            thread::yield_now();
        }
        thread
    }

    #[test]
    fn items_go_to_the_threads_in_the_order_in_which_they_came() {
        let queue = FairQueue::new(Numbers::default());
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| waiting(scope, &queue, || queue.take())).collect();
            for number in 0..4 {
                // Handed over at once: a newcomer does not get it even if it is faster.
                queue.change(|stock| stock.left.push(number));
                assert_eq!(queue.waiting(), 3 - number as usize);
                assert_eq!(now(&queue), Err(Status::Busy));
            }
            let taken: Vec<_> = threads.into_iter().map(|own| own.join().unwrap()).collect();
            assert_eq!(taken, [Some(0), Some(1), Some(2), Some(3)]);
        });
    }

    #[test]
    fn several_items_at_once_serve_several_threads_and_the_rest_stays() {
        let queue = FairQueue::new(Numbers::default());
        thread::scope(|scope| {
            let threads = [(); 2].map(|()| waiting(scope, &queue, || queue.take()));
            queue.change(|stock| stock.left.extend([7, 8, 9]));
            assert_eq!(threads.map(|own| own.join().unwrap()), [Some(9), Some(8)]);
        });
        assert_eq!((now(&queue), now(&queue)), (Ok(Some(7)), Err(Status::Busy)));
    }

    #[test]
    fn a_thread_that_gives_up_leaves_its_turn_to_the_next() {
        let queue = FairQueue::new(Numbers::default());
        let cancel = CancelToken::new();
        let soon = within(Timeout::After(Duration::from_millis(50)), None);
        thread::scope(|scope| {
            let hurried = waiting(scope, &queue, || queue.take_within(&soon, late));
            let cancelled = waiting(scope, &queue, || {
                queue.take_within(&within(Timeout::Never, Some(&cancel)), late)
            });
            let patient = waiting(scope, &queue, || queue.take());
            assert_eq!(hurried.join().unwrap().unwrap_err().status, Status::Busy);
            assert_eq!(queue.waiting(), 2);
            cancel.trigger();
            assert_eq!(cancelled.join().unwrap().unwrap_err().status, Status::Cancelled);
            assert_eq!(queue.waiting(), 1);
            queue.change(|stock| stock.left.push(5));
            assert_eq!(patient.join().unwrap(), Some(5));
        });
    }

    #[test]
    fn an_item_that_comes_while_a_thread_gives_up_is_not_lost() {
        let queue = FairQueue::new(Numbers::default());
        let taken = queue.enter(|_, given| {
            drop(given);
            queue.change(|stock| stock.left.push(3));
            Err(late())
        });
        assert_eq!(taken, Ok(Some(3)));
        assert_eq!((queue.waiting(), now(&queue)), (0, Err(Status::Busy)));
    }

    #[test]
    fn closing_the_stock_ends_the_wait_of_every_thread() {
        let queue = FairQueue::new(Numbers::default());
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| waiting(scope, &queue, || queue.take()));
            queue.change(|stock| stock.is_closed = true);
            assert_eq!(queue.waiting(), 0);
            assert_eq!(threads.map(|own| own.join().unwrap()), [None; 3]);
        });
        assert_eq!(now(&queue), Ok(None));
    }

    #[test]
    fn no_item_is_lost_or_taken_twice_among_threads_in_a_hurry() {
        let queue = FairQueue::new(Numbers { left: vec![0, 1], is_closed: false });
        let held = [const { std::sync::atomic::AtomicBool::new(false) }; 2];
        thread::scope(|scope| {
            for number in 0..8 {
                let (queue, held) = (&queue, &held);
                scope.spawn(move || {
                    for turn in 0..2_000_u64 {
                        let limit = Duration::from_micros((number * 7 + turn) % 40);
                        let limit = if number < 4 { Timeout::After(limit) } else { Timeout::Never };
                        let Ok(item) = queue.take_within(&within(limit, None), late) else {
                            continue;
                        };
                        let item = item.unwrap();
                        let own = &held[item as usize];
                        assert!(!own.swap(true, std::sync::atomic::Ordering::SeqCst));
                        own.store(false, std::sync::atomic::Ordering::SeqCst);
                        queue.change(|stock| stock.left.push(item));
                    }
                });
            }
        });
        assert_eq!(queue.waiting(), 0);
        let mut left = queue.change(|stock| std::mem::take(&mut stock.left));
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
    }
}
