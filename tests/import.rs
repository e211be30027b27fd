//! Appends with given timestamps, which only a store opened with the option `import` accepts.

use dcb::{
    AppendRequest, CallOptions, Event, EventBuilder, EventId, EventType, Options, Position,
    ReadRequest, Status, Store,
};

fn event(id: &str, time: Option<i64>) -> Event {
    let mut builder = EventBuilder::new(EventType::new("A").unwrap());
    builder.id(EventId::new(id).unwrap());
    if let Some(time) = time {
        builder.timestamp_us(time).unwrap();
    }
    builder.build()
}

fn append(store: &dyn Store, events: Vec<Event>) -> dcb::Result<i64> {
    let request = AppendRequest::new(events, Vec::new())?;
    store.append(request, &CallOptions::default()).map(|appended| appended.last.get())
}

fn times(store: &dyn Store) -> Vec<i64> {
    let (events, _) = store.read_all(ReadRequest::default(), &CallOptions::default()).unwrap();
    events.iter().map(|event| event.timestamp_us).collect()
}

/// Runs a test on each kind of store.
fn on_each_store(options: &Options, test: impl Fn(&str, &Options)) {
    let folder = tempfile::TempDir::new().unwrap();
    for uri in ["memory:", "sqlite::memory:", &format!("sqlite:{}/a.db", folder.path().display())] {
        test(uri, options);
    }
}

#[test]
fn a_store_for_imports_keeps_timestamps() {
    let options = Options { import: true, ..Options::default() };
    on_each_store(&options, |uri, options| {
        let store = dcb::open(uri, options).unwrap();
        let before = [Some(-5), None, Some(7)];
        let events = ["a", "b", "c"].iter().zip(before);
        let events: Vec<Event> = events.map(|(id, time)| event(id, time)).collect();
        assert_eq!(append(&*store, events.clone()), Ok(3), "{uri}");
        // Timestamps order nothing.
        assert_eq!(append(&*store, vec![event("d", Some(-6))]), Ok(4), "{uri}");
        let stored = times(&*store);
        assert_eq!((stored[0], stored[2], stored[3]), (-5, 7, -6), "{uri}");
        assert!(
            stored[1] > 1_600_000_000_000_000,
            "{uri}: the store sets a time that is not given"
        );
        // They are no part of what makes an append a repetition.
        let again = ["a", "b", "c"].map(|id| event(id, Some(1))).to_vec();
        assert_eq!(append(&*store, again), Ok(3), "{uri}");
        assert_eq!(append(&*store, events), Ok(3), "{uri}");
        assert_eq!(times(&*store), stored, "{uri}");
        store.close();
        if uri.ends_with(".db") {
            let store = dcb::open(uri, &Options::default()).unwrap();
            assert_eq!(times(&*store), stored, "after opening it again");
            store.close();
        }
    });
}

#[test]
fn any_other_store_refuses_timestamps() {
    on_each_store(&Options::default(), |uri, options| {
        let store = dcb::open(uri, options).unwrap();
        let error = append(&*store, vec![event("a", None), event("b", Some(1))]).unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument, "{uri}");
        assert!(error.message.starts_with("events[1].timestamp: the store sets"), "{error}");
        assert_eq!(store.head(&CallOptions::default()), Ok(Position::START), "{uri}");
        store.close();
    });
}

#[test]
fn an_event_that_was_read_is_imported_with_its_time() {
    let options = Options { import: true, ..Options::default() };
    let source = dcb::open("memory:", &Options::default()).unwrap();
    append(&*source, vec![event("a", None), event("b", None)]).unwrap();
    let copy = dcb::open("memory:", &options).unwrap();
    let (events, _) = source.read_all(ReadRequest::default(), &CallOptions::default()).unwrap();
    append(&*copy, events.into_iter().map(|event| event.into_import()).collect()).unwrap();
    assert_eq!(times(&*copy), times(&*source));
}

#[test]
fn a_timestamp_is_in_the_years_that_documents_can_show() {
    let mut builder = EventBuilder::new(EventType::new("A").unwrap());
    for (time, is_good) in [
        (-62_135_596_800_000_000, true),
        (-62_135_596_800_000_001, false),
        (253_402_300_799_999_999, true),
        (253_402_300_800_000_000, false),
        (i64::MIN, false),
    ] {
        assert_eq!(builder.timestamp_us(time).is_ok(), is_good, "{time}");
    }
}
