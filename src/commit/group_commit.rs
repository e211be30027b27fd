//! Group commit by the callers themselves: the queue, its lead, and who is answered when.
//!
//! An append joins the group that gathers. Whoever finds nobody leading leads: it runs its group,
//! hands the lead on, and makes durable what the answers rest on. Only then is anybody answered.
//! How a group is run is the [`Committer`]; nothing here knows of SQLite.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::commit::Appended;
use crate::commit::deadline::Deadline;
use crate::commit::head_watch::HeadWatch;
use crate::error::{Error, Result, Status};
use crate::failpoints::{SeededBug, crash_point, has};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Events from which on a group takes no further request.
const GROUP_EVENTS: usize = 16_384;
/// Events in the queue that make it worth running them while the group before is made durable.
const OVERLAP_EVENTS: usize = 512;

/// An append was not had in time, for those before it.
pub fn late() -> Error {
    Error::new(Status::Busy, "other appends were before this one for longer than the time given")
}

/// What a leader does with its group.
pub trait Committer {
    /// What an append asks for.
    type Request;

    /// Takes the locks that a group needs, as long as `deadline` lasts; then the group, and runs
    /// it; gives an outcome for each request, in order, and lets go of the locks. An error before
    /// the group was taken is the leader's own; after that it is everybody's, and nothing of the
    /// group is stored.
    fn run(
        &self,
        deadline: &Deadline,
        take: impl FnOnce() -> Vec<Self::Request>,
    ) -> Result<Vec<Outcome>>;

    /// Returns when the events up to `position`, all of them committed, are durable. Where a commit
    /// makes them so, that is at once.
    fn make_durable(&self, position: i64) -> Result<()>;

    /// The position up to which events are known to be durable.
    fn durable(&self) -> i64;

    /// The failure after which nothing more is appended, if there was one.
    fn failure(&self) -> Option<Error>;

    /// Who is told of events that are, and of the end of the store.
    fn watch(&self) -> &HeadWatch;
}

/// What came of a request, and the position up to which events have to be durable before anybody
/// is told.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Where its events are, or why they are not stored.
    pub answer: Result<Appended>,
    /// What the answer tells of is at or below this position.
    pub rests_on: i64,
}

impl Outcome {
    /// An outcome that rests on the position that it names, if any.
    pub fn new(answer: Result<Appended>) -> Self {
        let rests_on = match &answer {
            Ok(appended) => appended.last,
            // The positions that a failed condition and a duplicate id name; else 0.
            Err(error) => error.position,
        };
        Outcome { answer, rests_on }
    }
}

/// Where a group stands.
#[derive(Debug)]
enum GroupState {
    /// Its requests wait; whoever leads is another, or is known.
    Queued,
    /// Whoever of its callers sees this leads.
    LeadIsFree,
    /// A leader has it: nothing takes a request out any more.
    Taken,
    /// What came of each request, by its place.
    Answered(Vec<Result<Appended>>),
}

/// Appends that are run, made durable and answered together. Their callers sleep on one thing, so
/// that one call of the system wakes them all.
#[derive(Debug)]
struct Group {
    turn: Mutex<GroupState>,
    changed: Condvar,
}

impl Group {
    fn turn(&self) -> MutexGuard<'_, GroupState> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Any one of its callers may lead.
    fn offer_lead(&self) {
        self.set(GroupState::LeadIsFree, Condvar::notify_one);
    }

    fn answer(&self, answers: Vec<Result<Appended>>) {
        let one_alone = has(SeededBug::AnswerOneOfAll);
        let notify = if one_alone { Condvar::notify_one } else { Condvar::notify_all };
        self.set(GroupState::Answered(answers), notify);
    }

    fn set(&self, turn: GroupState, notify: fn(&Condvar)) {
        if has(SeededBug::TellTooEarly) {
            notify(&self.changed);
            *self.turn() = turn;
            return;
        }
        *self.turn() = turn;
        notify(&self.changed);
    }
}

/// A group that no leader has taken yet.
#[derive(Debug)]
struct Waiting<R> {
    group: Arc<Group>,
    /// By their places; those that have left are gone.
    requests: Vec<Option<R>>,
    /// How many have not.
    live: usize,
    /// How many events they would store.
    events: usize,
}

impl<R> Waiting<R> {
    fn new() -> Self {
        let group = Group { turn: Mutex::new(GroupState::Queued), changed: Condvar::new() };
        Waiting { group: Arc::new(group), requests: Vec::new(), live: 0, events: 0 }
    }

    /// Whether it takes no further request. Places of those that have left count too: somebody who
    /// waits for long would keep all of them.
    fn is_full(&self) -> bool {
        self.events.max(self.requests.len()) >= GROUP_EVENTS
    }
}

/// A request's place in its group.
#[derive(Debug)]
struct Slot {
    group: Arc<Group>,
    index: usize,
    /// How many events it would store.
    events: usize,
}

#[derive(Debug)]
struct State<R> {
    /// The groups, in the order in which they are run; only the last one grows.
    waiting: VecDeque<Waiting<R>>,
    led: bool,
}

impl<R> State<R> {
    /// The place of a request that comes last; and whether its caller leads, since nobody did.
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
        let place = Slot { group: Arc::clone(&last.group), index, events };
        (place, !std::mem::replace(&mut self.led, true))
    }

    /// Hands the lead to the first group, or to nobody.
    fn hand_on(&mut self) {
        match self.waiting.front() {
            Some(next) => next.group.offer_lead(),
            None => self.led = false,
        }
    }

    /// Takes a request out, unless a leader has taken it.
    fn leave(&mut self, place: &Slot) -> bool {
        let is_it = |waiting: &Waiting<R>| Arc::ptr_eq(&waiting.group, &place.group);
        let Some(number) = self.waiting.iter().position(is_it) else { return false };
        let own = &mut self.waiting[number];
        let index = if has(SeededBug::LeaveForAnother) { 0 } else { place.index };
        own.requests[index] = None;
        own.live -= 1;
        own.events -= place.events;
        if own.live == 0 {
            self.waiting.remove(number);
            // Of several, one has been woken for it, or will look before it sleeps.
            let leads = matches!(*place.group.turn(), GroupState::LeadIsFree);
            if leads && !has(SeededBug::ForgetLead) {
                self.hand_on();
            }
        }
        true
    }
}

/// The appends that wait, and whether one of them leads.
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

    /// How many requests wait.
    #[cfg(test)]
    pub fn queued(&self) -> usize {
        self.state().waiting.iter().flat_map(|waiting| &waiting.requests).flatten().count()
    }

    /// Appends `events` events, alone or with others.
    pub fn append(
        &self,
        work: &impl Committer<Request = R>,
        request: R,
        events: usize,
        deadline: &Deadline,
    ) -> Result<Appended> {
        let (place, leads) = self.state().join(request, events);
        if leads {
            return self.lead(work, &place, deadline);
        }
        let group = &*place.group;
        let mut turn = group.turn();
        loop {
            match &*turn {
                GroupState::Answered(answers) => return answers[place.index].clone(),
                GroupState::LeadIsFree => {
                    *turn = GroupState::Queued;
                    drop(turn);
                    return self.lead(work, &place, deadline);
                }
                GroupState::Taken => {
                    turn = group.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
                }
                GroupState::Queued => {
                    let over =
                        deadline.check_cancel().err().or_else(|| deadline.is_over().then(late));
                    if let Some(error) = over {
                        drop(turn);
                        if self.state().leave(&place) {
                            return Err(error);
                        }
                        turn = group.turn();
                        continue;
                    }
                    turn = deadline.sleep_on(&group.changed, turn, None);
                }
            }
        }
    }

    /// Runs the first group, which is this caller's, and gives what came of its own request.
    fn lead(
        &self,
        work: &impl Committer<Request = R>,
        place: &Slot,
        deadline: &Deadline,
    ) -> Result<Appended> {
        // Of each of the group whether it is still there; none before it was taken.
        let mut there = Vec::new();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // A leader that failed badly has closed the store to those in the queue behind it.
            work.watch().check_open()?;
            work.failure().map_or(Ok(()), Err)?;
            work.run(deadline, || {
                let requests = self.take_group();
                there = requests.iter().map(Option::is_some).collect();
                requests.into_iter().flatten().collect()
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
            Err(error) if there.is_empty() => {
                let mut state = self.state();
                state.leave(place);
                if !has(SeededBug::KeepLead) {
                    state.hand_on();
                }
                return Err(error);
            }
            Err(error) => vec![Outcome::new(Err(error)); there.len()],
        };
        // The next group may run while this one is made durable. It pays where it is long; a
        // short one had better wait, and grow by those who are answered after this sync.
        let handed_on = {
            let mut state = self.state();
            let is_long =
                state.waiting.iter().map(|waiting| waiting.events).sum::<usize>() >= OVERLAP_EVENTS;
            if is_long {
                state.hand_on();
            }
            is_long
        };
        let rests_on = outcomes.iter().map(|outcome| outcome.rests_on).max().unwrap_or(0);
        if has(SeededBug::PublishTooEarly) {
            work.watch().publish(rests_on);
        }
        let ensured = work.make_durable(rests_on);
        crash_point("after sync");
        work.watch().publish(work.durable());
        let mut outcomes = outcomes.into_iter().map(|outcome| match &ensured {
            Err(error) if outcome.rests_on > work.durable() => Err(error.clone()),
            _ => outcome.answer,
        });
        let nobody = || Err(Error::new(Status::Internal, "nobody asks for this answer"));
        let answers: Vec<_> = there
            .into_iter()
            .map(|is_there| is_there.then(|| outcomes.next()).flatten().unwrap_or_else(nobody))
            .collect();
        let own = answers[place.index].clone();
        place.group.answer(answers);
        if !handed_on {
            self.state().hand_on();
        }
        own
    }

    /// Takes the first group, which is the leader's own.
    fn take_group(&self) -> Vec<Option<R>> {
        let mut state = self.state();
        let Some(first) = state.waiting.pop_front() else { return Vec::new() };
        // Before the queue is let go of, or who finds its request gone would not know why. Not
        // `set`: nobody has anything to do with this news.
        *first.group.turn() = GroupState::Taken;
        first.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(state: &State<u32>) -> Vec<usize> {
        state.waiting.iter().map(|waiting| waiting.requests.len()).collect()
    }

    #[test]
    fn those_that_leave_keep_no_place_for_ever() {
        let mut state = State { waiting: VecDeque::new(), led: false };
        let (leader, leads) = state.join(0, 1);
        assert!(leads);
        for request in 0..3 * GROUP_EVENTS as u32 {
            let (place, leads) = state.join(request, 1);
            assert!(!leads && state.leave(&place));
        }
        // The leader's group, which is full, and none behind it.
        assert_eq!(places(&state), [GROUP_EVENTS]);
        assert!(state.leave(&leader) && state.waiting.is_empty());
    }

    #[test]
    fn a_group_is_full_of_events() {
        let mut state = State { waiting: VecDeque::new(), led: false };
        for (events, groups) in
            [(GROUP_EVENTS - 1, vec![1]), (GROUP_EVENTS, vec![2]), (1, vec![2, 1]), (1, vec![2, 2])]
        {
            state.join(0, events);
            assert_eq!(places(&state), groups);
        }
    }
}
