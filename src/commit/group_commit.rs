//! Group commit by the callers themselves: the queue, its leader, and when each append returns.
//!
//! An append joins the last group of the queue. The first caller to find no leader becomes the
//! leader: it runs the first group, hands the lead on, and makes everything durable that the
//! group's answers depend on. Only then does any append of the group return. A [`Committer`] runs a
//! group; nothing here knows of SQLite.
//!
//! The queue's mutex may be held while a group's is acquired, never the other way round. Neither is
//! held while a group is run or made durable.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::commit::Appended;
use crate::commit::deadline::Deadline;
use crate::commit::head_watch::HeadWatch;
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, crash_point, has};
use crate::position::Position;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The number of events with which a group is full.
const GROUP_EVENTS: usize = 16_384;
/// The number of queued events from which it pays to run them during the sync of the group before.
const OVERLAP_EVENTS: usize = 512;

/// Returns the error of an append whose deadline passed while earlier appends ran.
pub fn late() -> Error {
    Error::new(Status::Busy, "timed out waiting for earlier appends")
}

/// Runs a group for its leader and makes it durable.
pub trait Committer {
    /// The request of an append.
    type Request;

    /// Acquires the locks that a group needs, within `deadline`. Then calls `take` for the group's
    /// requests, runs them, releases the locks, and returns an outcome for each request, in order.
    ///
    /// An error before `take` was called concerns the leader alone. An error after it concerns
    /// every request of the group, of which nothing is stored.
    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<Self::Request>,
    ) -> Result<Vec<Outcome>>;

    /// Returns once the events up to `position`, which are committed, are durable. If a commit
    /// itself makes its events durable, this returns at once.
    fn make_durable(&self, position: Position) -> Result<()>;

    /// Returns the position up to which events are known to be durable.
    fn durable(&self) -> Position;

    /// Returns the failure after which nothing more is appended, if there was one.
    fn failure(&self) -> Option<Error>;

    /// Returns the watch that publishes durable events and the closing of the store.
    fn watch(&self) -> &HeadWatch;
}

/// The outcome of a request, with the position that has to be durable before the append returns it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Where its events are, or why they are not stored.
    pub answer: Result<Appended>,
    /// What the answer tells of is at or below this position.
    pub rests_on: Position,
}

impl Outcome {
    /// An outcome that rests on the position that it names, if any.
    pub fn new(answer: Result<Appended>) -> Self {
        let rests_on = match &answer {
            Ok(appended) => appended.last,
            // The positions that a failed condition and a duplicate id name; else the start.
            Err(error) => error.position,
        };
        Outcome { answer, rests_on }
    }
}

/// The state of a group.
#[derive(Debug)]
enum GroupState {
    /// The requests wait. Either another group has the leader, or a caller of this one leads
    /// already.
    Queued,
    /// The first of the group's callers that sees this state becomes the leader.
    LeadIsFree,
    /// A leader has taken the group, so no request can leave it any more.
    Taken,
    /// What came of each request, by its place.
    Answered(Vec<Result<Appended>>),
}

/// The callers' side of a group of appends, which are run, made durable and answered together. The
/// callers sleep on one condition variable, so that one system call wakes them all.
#[derive(Debug)]
struct Group {
    state: Mutex<GroupState>,
    changed: Condvar,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets any one of the group's callers become the leader.
    fn offer_lead(&self) {
        self.set(GroupState::LeadIsFree, Condvar::notify_one);
    }

    fn answer(&self, answers: Vec<Result<Appended>>) {
        let notify: fn(&Condvar) = match answers.len() {
            // The leader's own. Waking costs a system call, even of nobody.
            0 | 1 => |_| {},
            _ if has(SeededBug::AnswerOneOfAll) => Condvar::notify_one,
            _ => Condvar::notify_all,
        };
        self.set(GroupState::Answered(answers), notify);
    }

    fn set(&self, state: GroupState, notify: fn(&Condvar)) {
        if has(SeededBug::TellTooEarly) {
            notify(&self.changed);
            *self.state() = state;
            return;
        }
        *self.state() = state;
        notify(&self.changed);
    }
}

/// The queue's side of a group that no leader has taken yet.
#[derive(Debug)]
struct Waiting<R> {
    group: Arc<Group>,
    /// The requests by their index. A request that has left the group is `None`.
    requests: Vec<Option<R>>,
    /// The number of requests that have not left.
    live: usize,
    /// The number of events that these requests would store.
    events: usize,
}

impl<R> Waiting<R> {
    fn new() -> Self {
        let group = Group { state: Mutex::new(GroupState::Queued), changed: Condvar::new() };
        Waiting { group: Arc::new(group), requests: Vec::new(), live: 0, events: 0 }
    }

    /// Returns whether the group takes no further request. The slots of requests that have left
    /// count too: otherwise a group whose leader waits for long would collect them without a bound.
    fn is_full(&self) -> bool {
        self.events.max(self.requests.len()) >= GROUP_EVENTS
    }
}

/// The slot that a request has in its group.
#[derive(Debug)]
struct Slot {
    group: Arc<Group>,
    index: usize,
    /// The number of events that the request would store.
    events: usize,
}

#[derive(Debug)]
struct State<R> {
    /// The groups in the order in which they are run. Only the last one takes requests.
    waiting: VecDeque<Waiting<R>>,
    /// Whether there is a leader, or a group that was offered the lead.
    led: bool,
}

impl<R> State<R> {
    /// Adds a request to the last group. Returns its slot, and whether its caller becomes the
    /// leader because there was none.
    fn join(&mut self, request: R, events: usize) -> (Slot, bool) {
        if self.waiting.back().is_none_or(Waiting::is_full) {
            self.waiting.push_back(Waiting::new());
        }
        let last = self.waiting.len() - 1;
        let last = &mut self.waiting[last];
        last.requests.push(Some(request));
        last.live += 1;
        last.events += events;
        let index = last.requests.len() - 1;
        let slot = Slot { group: Arc::clone(&last.group), index, events };
        (slot, !std::mem::replace(&mut self.led, true))
    }

    /// Hands the lead to the first group. If there is none, the queue has no leader any more.
    fn hand_on(&mut self) {
        match self.waiting.front() {
            Some(next) => next.group.offer_lead(),
            None => self.led = false,
        }
    }

    /// Removes a request from the queue. Returns whether that succeeded: it does not once a leader
    /// has taken the request.
    fn leave(&mut self, slot: &Slot) -> bool {
        let is_own = |waiting: &Waiting<R>| Arc::ptr_eq(&waiting.group, &slot.group);
        let Some(number) = self.waiting.iter().position(is_own) else { return false };
        let own = &mut self.waiting[number];
        let index = if has(SeededBug::LeaveForAnother) { 0 } else { slot.index };
        own.requests[index] = None;
        own.live -= 1;
        own.events -= slot.events;
        if own.live == 0 {
            self.waiting.remove(number);
            // A lead that was offered to this group would be lost. If callers remained, one of them
            // would take it: it has been woken, or checks the state before it sleeps.
            let leads = matches!(*slot.group.state(), GroupState::LeadIsFree);
            if leads && !has(SeededBug::ForgetLead) {
                self.hand_on();
            }
        }
        true
    }
}

/// The queue of waiting appends. `R` is the request of an append.
#[derive(Debug)]
pub struct GroupCommit<R>(Mutex<State<R>>);

impl<R> Default for GroupCommit<R> {
    fn default() -> Self {
        GroupCommit(Mutex::new(State { waiting: VecDeque::new(), led: false }))
    }
}

impl<R> GroupCommit<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of waiting requests.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.state().waiting.iter().flat_map(|waiting| &waiting.requests).flatten().count()
    }

    /// Appends `events` events, alone or in a group. Returns once they are durable, or with an
    /// error if the deadline passes before a leader has taken the request.
    pub fn append(
        &self,
        committer: &impl Committer<Request = R>,
        request: R,
        events: usize,
        deadline: &Deadline,
    ) -> Result<Appended> {
        let (slot, leads) = self.state().join(request, events);
        if leads {
            return self.lead(committer, &slot, deadline);
        }
        let group = &*slot.group;
        let mut state = group.state();
        loop {
            match &*state {
                GroupState::Answered(answers) => return answers[slot.index].clone(),
                GroupState::LeadIsFree => {
                    *state = GroupState::Queued;
                    drop(state);
                    return self.lead(committer, &slot, deadline);
                }
                GroupState::Taken => {
                    state = group.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                GroupState::Queued => {
                    let over =
                        deadline.check_cancel().err().or_else(|| deadline.is_over().then(late));
                    if let Some(error) = over {
                        drop(state);
                        if self.state().leave(&slot) {
                            return Err(error);
                        }
                        state = group.state();
                        continue;
                    }
                    state = deadline.sleep_on(&group.changed, state, None);
                }
            }
        }
    }

    /// Runs the first group, which is the caller's own, and returns the answer to its own request.
    fn lead(
        &self,
        committer: &impl Committer<Request = R>,
        slot: &Slot,
        deadline: &Deadline,
    ) -> Result<Appended> {
        // Of each of the group whether it is still there; none before it was taken.
        let mut present = Vec::new();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // A leader that panicked has closed the store to the groups behind it.
            committer.watch().check_open()?;
            committer.failure().map_or(Ok(()), Err)?;
            committer.run(deadline, || {
                let requests = self.take_group();
                present = requests.iter().map(Option::is_some).collect();
                requests.into_iter().flatten().collect()
            })
        }));
        let ran = ran.unwrap_or_else(|_| {
            // The panic may have left the store's state half changed, so no further append may use
            // it.
            committer.watch().close();
            Err(Error::new(
                Status::Internal,
                "internal error during an append: close the store and open it again",
            ))
        });
        let outcomes = match ran {
            Ok(outcomes) => outcomes,
            Err(error) if present.is_empty() => {
                let mut state = self.state();
                state.leave(slot);
                if !has(SeededBug::KeepLead) {
                    state.hand_on();
                }
                return Err(error);
            }
            Err(error) => vec![Outcome::new(Err(error)); present.len()],
        };
        // The next group may run while this one is made durable. That pays if it is large. A small
        // one does better to wait, and grow by the callers that return after this sync.
        let handed_on = {
            let mut state = self.state();
            let is_long =
                state.waiting.iter().map(|waiting| waiting.events).sum::<usize>() >= OVERLAP_EVENTS;
            if is_long {
                state.hand_on();
            }
            is_long
        };
        let rests_on = outcomes.iter().map(|outcome| outcome.rests_on).max().unwrap_or_default();
        if has(SeededBug::PublishTooEarly) {
            committer.watch().publish(rests_on);
        }
        let ensured = committer.make_durable(rests_on);
        crash_point("after sync");
        committer.watch().publish(committer.durable());
        let mut outcomes = outcomes.into_iter().map(|outcome| match &ensured {
            Err(error) if outcome.rests_on > committer.durable() => Err(error.clone()),
            _ => outcome.answer,
        });
        // The slot of a request that has left gets an answer that no caller reads.
        let none = || Err(Error::new(Status::Internal, "internal error: an append has no outcome"));
        let answers: Vec<_> = present
            .into_iter()
            .map(|is_present| is_present.then(|| outcomes.next()).flatten().unwrap_or_else(none))
            .collect();
        let own = answers[slot.index].clone();
        slot.group.answer(answers);
        if !handed_on {
            self.state().hand_on();
        }
        own
    }

    /// Takes the first group, which is the leader's own.
    fn take_group(&self) -> Vec<Option<R>> {
        let mut state = self.state();
        let Some(first) = state.waiting.pop_front() else { return Vec::new() };
        // While the queue is locked: a caller that finds its request gone has to see why. Without
        // `set`, since no caller has to act on this state.
        *first.group.state() = GroupState::Taken;
        first.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(state: &State<u32>) -> Vec<usize> {
        state.waiting.iter().map(|waiting| waiting.requests.len()).collect()
    }

    #[test]
    fn a_group_is_full_by_the_requests_that_left_too() {
        let mut state = State { waiting: VecDeque::new(), led: false };
        let (leader, leads) = state.join(0, 1);
        assert!(leads);
        for request in 0..3 * GROUP_EVENTS as u32 {
            let (slot, leads) = state.join(request, 1);
            assert!(!leads && state.leave(&slot));
        }
        // Only the leader's group is left, and it is full.
        assert_eq!(slots(&state), [GROUP_EVENTS]);
        assert!(state.leave(&leader) && state.waiting.is_empty());
    }

    #[test]
    fn a_group_is_full_by_its_events() {
        let mut state = State { waiting: VecDeque::new(), led: false };
        for (events, groups) in
            [(GROUP_EVENTS - 1, vec![1]), (GROUP_EVENTS, vec![2]), (1, vec![2, 1]), (1, vec![2, 2])]
        {
            state.join(0, events);
            assert_eq!(slots(&state), groups);
        }
    }
}
