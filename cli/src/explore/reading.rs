//! Reads that end: each is bounded in events, in bytes and in time, and says where it stopped.

use std::cell::Cell;

use dcb::{BatchLimits, CallOptions, Direction, EventView, Query, ReadRequest, ReadState, Result};
use dcb::{Position, Status, Store};

/// The highest number of bytes of events that one read takes from the store.
const MAX_BYTES: usize = 16 << 20;

/// Which events a read wants, and how many at most.
pub struct Wanted {
    pub query: Query,
    /// The exclusive lower bound of the positions.
    pub after: i64,
    /// The exclusive upper bound of the positions, if there is one.
    pub before: Option<i64>,
    pub limit: usize,
    pub direction: Direction,
}

/// Why a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing more matches.
    Complete,
    /// It has as many events as were wanted, or as many bytes as are allowed.
    Full,
    /// Its time was over.
    Time,
}

/// Where a read stopped.
pub struct Stopped {
    pub end: End,
    /// The position after which a forward read goes on, and before which a backward read does.
    pub next: Option<i64>,
}

/// Returns the position that a parameter of the page names.
pub fn position(parameter: &str, number: i64) -> Result<Position> {
    Position::new(number).map_err(|error| dcb::Error::from(error).at(parameter))
}

/// Reads a store for one request of the page. The time of all its reads together is limited by the
/// token of its call.
pub struct Reader<'a> {
    store: &'a dyn Store,
    call: CallOptions,
    bytes: Cell<usize>,
}

impl<'a> Reader<'a> {
    /// Returns a reader whose reads end when the token of `call` is triggered.
    pub fn new(store: &'a dyn Store, call: CallOptions) -> Self {
        Reader { store, call, bytes: Cell::new(0) }
    }

    /// Returns the store.
    pub fn store(&self) -> &dyn Store {
        self.store
    }

    /// Returns whether the time for this request is over.
    pub fn is_over(&self) -> bool {
        self.call.cancel.as_ref().is_some_and(dcb::CancelToken::is_triggered)
    }

    /// Returns how many bytes the texts of all events had that were read.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Returns the position of the newest event. Unlike a read it is never cut short.
    pub fn head(&self) -> Result<i64> {
        Ok(self.store.head(&CallOptions::default())?.get())
    }

    /// Passes the wanted events to `sink`.
    pub fn read(&self, wanted: Wanted, sink: &mut dyn FnMut(&EventView<'_>)) -> Result<Stopped> {
        let Wanted { query, after, before, limit, direction } = wanted;
        let lower = position("after", after)?;
        let upper = before.map(|before| position("before", before)).transpose()?;
        let mut state = ReadState::new(ReadRequest::new(query, lower, upper, None, direction));
        let (mut events, mut bytes) = (0, 0);
        let mut end = End::Complete;
        while !state.has_begun() || state.span().is_some() {
            if events >= limit || bytes >= MAX_BYTES {
                end = End::Full;
                break;
            }
            let batch = BatchLimits { max_events: limit - events, max_bytes: MAX_BYTES - bytes };
            let read =
                self.store.read(&mut state, batch, &self.call, &mut |view: &EventView<'_>| {
                    events += 1;
                    bytes += view.text_len();
                    sink(view);
                    Ok(())
                });
            match read {
                Err(error) if error.status == Status::Cancelled => {
                    end = End::Time;
                    break;
                }
                read => read?,
            }
        }
        self.bytes.set(self.bytes.get() + bytes);
        let next = match end {
            End::Complete => None,
            _ => Some(state.span().map_or(after, |span| match direction {
                Direction::Forward => span.after.get(),
                Direction::Backward => span.through.next().get(),
            })),
        };
        Ok(Stopped { end, next })
    }

    /// Passes the event at `position` to `sink`. Returns whether there is one.
    pub fn read_at(&self, position: i64, sink: &mut dyn FnMut(&EventView<'_>)) -> Result<bool> {
        let mut found = false;
        let wanted = Wanted {
            query: Query::all(),
            after: position.max(1) - 1,
            before: Some(position.saturating_add(1)),
            limit: 1,
            direction: Direction::Forward,
        };
        self.read(wanted, &mut |view| {
            found = true;
            sink(view);
        })?;
        Ok(found)
    }
}
