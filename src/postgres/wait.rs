//! Waiting for events: one caller of a process listens and polls for all.
//!
//! A notification wakes it; what it believes is the head that it then asks for. Behind a pooler, or
//! on a standby, notifications may never come, so it polls often until one has come by itself.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use crate::commit::deadline::Deadline;
use crate::commit::head_watch::Pause;
use crate::error::Result;
use crate::position::Position;
use crate::postgres::connection::Connection;
use crate::postgres::failure::Failure;
use crate::postgres::target::Target;

/// How often the head is asked for while no notification has shown that they come.
const POLL: Duration = Duration::from_millis(25);
/// How often it is asked for otherwise, should one be lost.
const SAFETY_POLL: Duration = Duration::from_secs(1);
/// How long a caller that does not listen itself sleeps before it looks whether anybody does.
const HANDOVER: Duration = Duration::from_millis(10);
/// How long the server's answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before another try to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// The connection that waits for notifications.
#[derive(Debug, Default)]
pub struct Listener {
    state: Mutex<Option<Listening>>,
}

#[derive(Debug)]
struct Listening {
    connection: Connection,
    /// Whether a notification has come while nothing was asked for: notifications work.
    is_notified: bool,
    asked: Instant,
}

impl Listener {
    /// Waits until the head is above `after`, and returns it.
    pub fn wait(&self, target: &Target, after: Position, deadline: &Deadline) -> Result<Position> {
        loop {
            let Some(mut state) = self.try_listen() else {
                if let Some(head) =
                    target.watch.wait_above(after, deadline, pause(target, HANDOVER))?
                {
                    return Ok(head);
                }
                continue;
            };
            loop {
                if let Some(head) =
                    target.watch.wait_above(after, deadline, pause(target, Duration::ZERO))?
                {
                    return Ok(head);
                }
                if let Err(failure) = listen(target, &mut state, deadline) {
                    *state = None;
                    let is_late = matches!(failure, Failure::Late);
                    if !is_late && !failure.calls_for_another_connection() {
                        return Err(failure.into());
                    }
                    // The server may come back, or answer, as long as the caller waits.
                    if let Some(head) =
                        target.watch.wait_above(after, deadline, pause(target, RECONNECT_PAUSE))?
                    {
                        return Ok(head);
                    }
                }
            }
        }
    }

    /// Makes the caller the one that listens, unless another one is.
    fn try_listen(&self) -> Option<MutexGuard<'_, Option<Listening>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            // Another one panicked while it listened.
            Err(TryLockError::Poisoned(state)) => {
                let mut state = state.into_inner();
                *state = None;
                Some(state)
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Closes the connection.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *state = None;
    }
}

/// Returns a pause in waiting for events of this process.
fn pause(target: &Target, length: Duration) -> Option<Pause> {
    Some(Pause { length, alerts: target.watch.alerts() })
}

/// Waits a moment for a notification, or asks for the head, and publishes it.
fn listen(
    target: &Target,
    state: &mut Option<Listening>,
    deadline: &Deadline,
) -> std::result::Result<(), Failure> {
    // Whatever time the caller has: it asks at least once, and gives a session up that is silent.
    let answer = &deadline.at_most(Duration::ZERO).at_least(ANSWER_PATIENCE);
    if !state.as_mut().is_some_and(|listening| listening.connection.is_usable()) {
        *state = Some(begin(target, answer)?);
        return Ok(());
    }
    let Some(listening) = state else { return Ok(()) };
    // One that came with an answer says that there is something to ask for, and not that others come
    // by themselves: a pooler gives them to whoever has the session just then.
    let came_with_answer = listening.connection.take_notified();
    let came_by_itself = !came_with_answer && listening.connection.wait_for_notifications()?;
    listening.is_notified |= came_by_itself;
    let notified = came_with_answer || came_by_itself;
    let interval = if listening.is_notified { SAFETY_POLL } else { POLL };
    if notified || listening.asked.elapsed() >= interval {
        let before = target.watch.head();
        ask(target, listening, answer)?;
        if !notified && target.watch.head() > before {
            listening.is_notified = false;
        }
    }
    Ok(())
}

/// Connects, and asks for notifications. From here on, no event comes unnoticed: what was stored
/// before is seen now.
fn begin(target: &Target, deadline: &Deadline) -> std::result::Result<Listening, Failure> {
    let mut connection = target.connect_to_read(deadline)?;
    // Behind a pooler, another connection would get the session that listens.
    if connection.has_own_session() {
        match connection.execute(&format!("LISTEN \"{}\"", target.sql.schema), deadline) {
            // A standby has none.
            Err(failure) if failure.keeps_connection() => {}
            other => other?,
        }
    }
    let mut listening = Listening { connection, is_notified: false, asked: Instant::now() };
    ask(target, &mut listening, deadline)?;
    Ok(listening)
}

fn ask(
    target: &Target,
    listening: &mut Listening,
    deadline: &Deadline,
) -> std::result::Result<(), Failure> {
    target.ask_for_head(&mut listening.connection, deadline)?;
    listening.asked = Instant::now();
    Ok(())
}
