//! One execution of the fair queue: threads take two items in turn, and some give up.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst as Now;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::commit::deadline::{CallOptions, CancelToken, Timeout};
use crate::commit::fair_queue::{FairQueue, Stock};
use crate::error::{Error, Status};
use crate::sync::{Arc, one_in, restart_clock, step};

/// The items that nobody holds, until the stock is closed.
#[derive(Debug)]
struct Items {
    left: Vec<usize>,
    is_closed: bool,
}

impl Stock for Items {
    type Item = Option<usize>;

    fn take(&mut self) -> Option<Option<usize>> {
        if self.is_closed { Some(None) } else { self.left.pop().map(Some) }
    }
}

fn late() -> Error {
    Error::new(Status::Busy, "late")
}

struct Turns {
    queue: FairQueue<Items>,
    is_held: [AtomicBool; 2],
}

impl Turns {
    /// Takes an item, holds it for some steps, and returns it.
    fn take(&self) {
        let cancel = CancelToken::new();
        let call = match thread_rng().gen_range(0..3) {
            0 => CallOptions { timeout: Timeout::After(Duration::from_micros(900)), cancel: None },
            1 => {
                if one_in(2) {
                    cancel.trigger();
                }
                CallOptions { timeout: Timeout::Never, cancel: Some(cancel) }
            }
            _ => CallOptions { timeout: Timeout::Never, cancel: None },
        };
        match self.queue.take_within(&call.start(None), late) {
            Ok(Some(item)) => {
                assert!(!self.is_held[item].swap(true, Now), "two threads hold item {item}");
                step();
                self.is_held[item].store(false, Now);
                self.queue.change(|items| items.left.push(item));
            }
            Ok(None) => {}
            Err(error) => {
                assert!(matches!(error.status, Status::Busy | Status::Cancelled), "{error}");
            }
        }
    }
}

pub fn play() {
    restart_clock();
    let queue = FairQueue::new(Items { left: vec![0, 1], is_closed: false });
    let turns = Arc::new(Turns { queue, is_held: Default::default() });
    let mut threads: Vec<_> = (0..5)
        .map(|_| {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                turns.take();
                turns.take();
            })
        })
        .collect();
    let closes = one_in(4);
    if closes {
        let turns = Arc::clone(&turns);
        threads.push(thread::spawn(move || turns.queue.change(|items| items.is_closed = true)));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let mut left = turns.queue.change(|items| std::mem::take(&mut items.left));
    left.sort_unstable();
    assert_eq!(left, [0, 1], "the items that came back");
}
