//! Group commit by the callers themselves: the queue, its lead, and who is answered when.
//!
//! An append joins the queue. Whoever finds nobody leading leads: it runs all that is queued as
//! one group, hands the lead on, and makes durable what the answers rest on. Only then is anybody
//! answered. How a group is run is the [`Work`]; nothing here knows of SQLite.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::durability::Durability;
use crate::call::Patience;
use crate::error::{Error, Result, Status};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::testing::{Flaw, has, reach};
use crate::watch::Watch;

/// Events after which a group takes no further request.
const GROUP_EVENTS: usize = 16_384;
/// Events in the queue that make it worth running them while the group before is made durable.
const OVERLAP_EVENTS: usize = 512;

/// What a leader does with its group.
pub trait Work {
    /// What an append asks for.
    type Request;

    /// Takes the locks that a group needs, as long as `patience` lasts; then the group, and runs
    /// it; gives an outcome for each request, in order, and lets go of the locks. An error before
    /// the group was taken is the leader's own; after that it is everybody's, and nothing of the
    /// group is stored.
    fn run(
        &self,
        patience: &Patience,
        take: impl FnOnce() -> Vec<Self::Request>,
    ) -> Result<Vec<Outcome>>;

    /// Up to where events are durable.
    fn durability(&self) -> &Durability;

    /// Who is told of events that are, and of the end of the store.
    fn watch(&self) -> &Watch;
}

/// What came of a request, and the position up to which events have to be durable before anybody
/// is told.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The position of its last event, or why it has none.
    pub answer: Result<i64>,
    /// What the answer tells of is at or below this position.
    pub rests_on: i64,
}

impl Outcome {
    /// An outcome that rests on the position that it names, if any.
    pub fn new(answer: Result<i64>) -> Self {
        let rests_on = match &answer {
            Ok(position) => *position,
            // The positions that a failed condition and a duplicate id name; else 0.
            Err(error) => error.position,
        };
        Outcome { answer, rests_on }
    }
}

#[derive(Debug)]
enum Turn {
    Queued,
    /// The lead was handed to this request's caller; the request is still queued, in front.
    Leads,
    /// It is in a group: nothing takes it out any more.
    Taken,
    Answered(Result<i64>),
}

/// A request in the queue.
#[derive(Debug)]
struct Slot<R> {
    /// How many events it would store.
    events: usize,
    /// Taken out by the leader; put back never.
    request: Mutex<Option<R>>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl<R> Slot<R> {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, turn: Turn) {
        if has(Flaw::TellTooEarly) {
            self.changed.notify_one();
            *self.turn() = turn;
            return;
        }
        *self.turn() = turn;
        self.changed.notify_one();
    }
}

#[derive(Debug)]
struct State<R> {
    waiting: VecDeque<Arc<Slot<R>>>,
    /// Those of all that wait.
    events: usize,
    led: bool,
}

impl<R> State<R> {
    /// Hands the lead to the first in the queue, or to nobody.
    fn hand_on(&mut self) {
        match self.waiting.front() {
            Some(next) => next.set(Turn::Leads),
            None => self.led = false,
        }
    }

    fn leave(&mut self, slot: &Arc<Slot<R>>) -> bool {
        let is_it = |own: &Arc<Slot<R>>| Arc::ptr_eq(own, slot) || has(Flaw::LeaveForAnother);
        let place = self.waiting.iter().position(is_it);
        let left = place.and_then(|place| self.waiting.remove(place));
        self.events -= left.as_ref().map_or(0, |slot| slot.events);
        left.is_some()
    }
}

/// The appends that wait, and whether one of them leads.
#[derive(Debug)]
pub struct Queue<R>(Mutex<State<R>>);

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Queue(Mutex::new(State { waiting: VecDeque::new(), events: 0, led: false }))
    }
}

impl<R> Queue<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Appends `events` events, alone or with others.
    pub fn append(
        &self,
        work: &impl Work<Request = R>,
        request: R,
        events: usize,
        patience: &Patience,
    ) -> Result<i64> {
        let slot = Arc::new(Slot {
            events,
            request: Mutex::new(Some(request)),
            turn: Mutex::new(Turn::Queued),
            changed: Condvar::new(),
        });
        {
            let mut state = self.state();
            state.waiting.push_back(Arc::clone(&slot));
            state.events += slot.events;
            if !state.led {
                state.led = true;
                // Nobody led, so nobody was queued: this one is in front.
                slot.set(Turn::Leads);
            }
        }
        let mut turn = slot.turn();
        loop {
            match &*turn {
                Turn::Answered(answer) => return answer.clone(),
                Turn::Leads => {
                    drop(turn);
                    self.lead(work, &slot, patience)?;
                    turn = slot.turn();
                }
                Turn::Taken => {
                    turn = slot.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
                }
                Turn::Queued => {
                    let over = patience.check_cancel().err().or_else(|| {
                        patience.is_over().then(|| {
                            Error::new(
                                Status::Busy,
                                "other appends were before this one for longer than the time given",
                            )
                        })
                    });
                    if let Some(error) = over {
                        drop(turn);
                        let mut state = self.state();
                        // The lead may have been handed over in between.
                        let leads = matches!(*slot.turn(), Turn::Leads);
                        if state.leave(&slot) {
                            if leads && !has(Flaw::ForgetLead) {
                                state.hand_on();
                            }
                            return Err(error);
                        }
                        drop(state);
                        turn = slot.turn();
                        continue;
                    }
                    turn = match patience.nap(None) {
                        None => slot.changed.wait(turn).unwrap_or_else(PoisonError::into_inner),
                        Some(nap) => {
                            let woken = slot.changed.wait_timeout(turn, nap);
                            woken.unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                }
            }
        }
    }

    /// Runs the queue, this caller's request in front, as one group. An error is this request's
    /// own: it has left the queue.
    fn lead(
        &self,
        work: &impl Work<Request = R>,
        slot: &Arc<Slot<R>>,
        patience: &Patience,
    ) -> Result<()> {
        let durability = work.durability();
        let mut group = Vec::new();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // A leader that failed badly has closed the store to those in the queue behind it.
            work.watch().check_open()?;
            durability.failure().map_or(Ok(()), Err)?;
            work.run(patience, || {
                group = self.take_group();
                let take = |slot: &Arc<Slot<R>>| {
                    slot.request.lock().unwrap_or_else(PoisonError::into_inner).take()
                };
                group.iter().filter_map(take).collect()
            })
        }));
        let ran = ran.unwrap_or_else(|_| {
            // What the panic left behind is not to be trusted with another append.
            work.watch().close();
            Err(Error::new(
                Status::Internal,
                "the library failed while it appended: close the store and open it again",
            ))
        });
        let outcomes = match ran {
            Ok(outcomes) => outcomes,
            Err(error) if group.is_empty() => {
                let mut state = self.state();
                state.leave(slot);
                if !has(Flaw::KeepLead) {
                    state.hand_on();
                }
                return Err(error);
            }
            Err(error) => vec![Outcome::new(Err(error)); group.len()],
        };
        // The next group may run while this one is made durable. It pays where it is long; a
        // short one had better wait, and grow by those who are answered after this sync.
        let handed_on = {
            let mut state = self.state();
            let is_long = state.events >= OVERLAP_EVENTS;
            if is_long {
                state.hand_on();
            }
            is_long
        };
        let rests_on = outcomes.iter().map(|outcome| outcome.rests_on).max().unwrap_or(0);
        if has(Flaw::PublishTooEarly) {
            work.watch().publish(rests_on);
        }
        let ensured = durability.ensure(rests_on);
        reach("after sync");
        work.watch().publish(durability.durable());
        for (slot, outcome) in group.iter().zip(outcomes) {
            let answer = match &ensured {
                Err(error) if outcome.rests_on > durability.durable() => Err(error.clone()),
                _ => outcome.answer,
            };
            slot.set(Turn::Answered(answer));
        }
        if !handed_on {
            self.state().hand_on();
        }
        Ok(())
    }

    /// Takes requests from the queue, in order; the first of them whatever its size.
    fn take_group(&self) -> Vec<Arc<Slot<R>>> {
        let mut state = self.state();
        let (mut group, mut events) = (Vec::new(), 0);
        while events < GROUP_EVENTS
            && let Some(slot) = state.waiting.pop_front()
        {
            events += slot.events;
            state.events -= slot.events;
            // Not `set`: its caller has nothing to do with this news.
            *slot.turn() = Turn::Taken;
            group.push(slot);
        }
        group
    }
}
