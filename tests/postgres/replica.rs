//! A standby that serves reads, and that may be behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dcb::json::parse_read;
use dcb::{
    BatchLimits, CallOptions, EventView, Options, PostgresDiagnosis, ReadState, Status, Store,
    Timeout,
};

use crate::cluster::Cluster;
use crate::ends::Ends;
use crate::times;
use crate::work::{claim, events, open, patient, read};

/// Starts a server with a standby. Returns them with a store that reads the standby, and one of
/// somebody else, who does not.
fn with_standby() -> Option<(Cluster, [Arc<dyn Store>; 2])> {
    let mut cluster = Cluster::start()?;
    let other = open(&cluster.uri()).unwrap();
    claim(&*other, 0, "first", &patient()).answer.unwrap();
    cluster.standby("start");
    let store = open(&cluster.uri_of_both()).unwrap();
    Some((cluster, [store, other]))
}

/// Waits until the standby has an event at this position.
fn catch_up(store: &dyn Store, position: u64) {
    while (events(store).len() as u64) < position {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_standby_that_is_behind_shows_a_prefix() {
    let Some((mut cluster, [store, other])) = with_standby() else { return };
    claim(&*other, 1, "second", &patient()).answer.unwrap();
    catch_up(&*store, 2);
    cluster.standby("pause");
    claim(&*other, 2, "third", &patient()).answer.unwrap();
    claim(&*other, 3, "fourth", &patient()).answer.unwrap();
    assert_eq!(events(&*store).len(), 2);
    assert_eq!(store.head(&patient()).unwrap().get(), 2);

    // A condition is checked on the primary, and the next read sees what it was refused for.
    let error = claim(&*store, 3, "refused", &patient()).answer.unwrap_err();
    assert_eq!((error.status, error.position.get()), (Status::ConditionFailed, 4), "{error}");
    assert_eq!(events(&*store).len(), 4);

    // And so does a read after an append of its own, also one that does not wait.
    assert_eq!(claim(&*store, 4, "fifth", &patient()).answer, Ok(5));
    assert_eq!(store.head(&patient()).unwrap().get(), 5);
    let now = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None };
    assert_eq!(read(&*store, r#"{"after": 4}"#, &now).unwrap()["position"], 5);
    assert_eq!(events(&*other).len(), 5);
    cluster.standby("resume");
}

#[test]
fn a_diagnosis_says_how_far_a_standby_is_behind() {
    let Some((mut cluster, [store, other])) = with_standby() else { return };
    let of = |store: &dyn Store| store.diagnose(&patient()).unwrap().postgres.unwrap();
    let until = |is_behind: bool| {
        let start = Instant::now();
        let is_so = |known: PostgresDiagnosis| match is_behind {
            true => known.standby && known.lag_ms > Some(0),
            false => known.standby && known.lag_ms == Some(0),
        };
        while !is_so(of(&*store)) {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", of(&*store));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(false);
    assert!(!of(&*other).standby);
    cluster.standby("pause");
    claim(&*other, 1, "second", &patient()).answer.unwrap();
    until(true);
    cluster.standby("resume");
    until(false);
    // What the primary knows of its standbys is for roles that may see it.
    assert_eq!(of(&*other).lag_ms, None);
    cluster.sql("grant pg_monitor to dcb");
    cluster.standby("pause");
    claim(&*other, 2, "third", &patient()).answer.unwrap();
    let start = Instant::now();
    while of(&*other).lag_ms.is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", of(&*other));
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.standby("resume");
}

#[test]
fn a_read_that_goes_on_at_another_server_has_no_hole() {
    let Some((mut cluster, [store, _])) = with_standby() else { return };
    cluster.standby("pause");
    for slot in 1..5 {
        claim(&*store, slot, &format!("{slot}"), &patient()).answer.unwrap();
    }
    // The first batch has to come from the primary, since the store has seen that the standby is
    // behind. The other batches are asked for by a store that knows no more than the standby does.
    let mut reading = ReadState::new(parse_read(b"{}").unwrap());
    let reader = Options { read_only: true, ..Options::default() };
    let fresh = dcb::open(&cluster.uri_of_both(), &reader).unwrap();
    let mut seen = Vec::new();
    for from in [&store, &fresh, &fresh, &fresh, &fresh, &fresh] {
        let batch = BatchLimits { max_events: 1, max_bytes: usize::MAX };
        from.read(&mut reading, batch, &patient(), &mut |event: &EventView<'_>| {
            seen.push(event.position.get());
            Ok(())
        })
        .unwrap();
    }
    assert_eq!((seen, reading.position().get()), (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(events(&*fresh).len(), 1, "the standby has caught up");
    cluster.standby("resume");
}

#[test]
fn without_a_standby_the_primary_is_read() {
    let Some((mut cluster, [store, other])) = with_standby() else { return };
    cluster.standby("stop");
    claim(&*other, 1, "second", &patient()).answer.unwrap();
    assert_eq!(events(&*store).len(), 2);
    cluster.standby("start");
    assert_eq!(events(&*open(&cluster.uri_of_both()).unwrap()).len(), 2);
}

#[test]
fn a_subscriber_of_a_standby_that_lags_misses_nothing() {
    let Some((mut cluster, [store, other])) = with_standby() else { return };
    let is_over = AtomicBool::new(false);
    let (appended, seen) = std::thread::scope(|scope| {
        let (store, is_over) = (&*store, &is_over);
        let third = open(&cluster.uri_of_both()).unwrap();
        let writers = [&other, &third].map(|own| {
            let own = Arc::clone(own);
            scope.spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let token = format!("{:p} {count}", Arc::as_ptr(&own));
                    count += u64::from(claim(&*own, count + 1, &token, &patient()).answer.is_ok());
                }
                count
            })
        });
        let following = scope.spawn(move || crate::failover::subscribe(store, is_over));
        let ends = Ends(is_over);
        for _ in 0..times(5, 200) {
            std::thread::sleep(Duration::from_millis(100));
            cluster.standby("pause");
            std::thread::sleep(Duration::from_millis(100));
            cluster.standby("resume");
        }
        drop(ends);
        let appended: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        (appended, following.join().unwrap())
    });
    catch_up(&*store, appended + 1);
    let (seen, error) = seen;
    assert_eq!(error, None);
    assert!(!seen.is_empty() && seen.len() as u64 <= appended + 1, "{} of {appended}", seen.len());
    assert_eq!(seen, (1..=seen.len() as i64).collect::<Vec<_>>());
}

/// Who has seen a position elsewhere is told what the primary says, and never that the history was
/// rewound because a standby is behind.
#[test]
fn a_position_that_a_standby_does_not_have_is_asked_of_the_primary() {
    let Some((mut cluster, [_, other])) = with_standby() else { return };
    cluster.standby("pause");
    for slot in 1..4 {
        claim(&*other, slot, &format!("{slot}"), &patient()).answer.unwrap();
    }
    let reader = Options { read_only: true, ..Options::default() };
    let position = |store: &dyn Store, request: &str, call: &CallOptions| {
        let page = read(store, request, call)?;
        let positions: Vec<_> = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["position"].clone())
            .collect();
        Ok::<_, dcb::Error>((positions, page["position"].clone()))
    };
    let fresh = dcb::open(&cluster.uri_of_both(), &reader).unwrap();
    assert_eq!(fresh.head(&patient()).unwrap().get(), 1, "the standby has caught up");
    let found = position(&*fresh, r#"{"after": 2, "limit": 1}"#, &patient());
    assert_eq!(found, Ok((vec![3.into()], 3.into())));
    assert_eq!(fresh.head(&patient()).unwrap().get(), 2, "what the caller had seen is known now");

    // The primary has no such event, and says so.
    let found = position(&*fresh, r#"{"after": 9}"#, &patient());
    assert_eq!(found, Ok((vec![], 9.into())));

    // Without the primary there is no telling.
    let alone = dcb::open(&cluster.uri_of_standby(), &reader).unwrap();
    let brief = CallOptions { timeout: Timeout::After(Duration::from_millis(200)), cancel: None };
    let error = position(&*alone, r#"{"after": 2}"#, &brief).unwrap_err();
    assert_eq!(error.status, Status::Busy, "{error}");
    assert_eq!(position(&*alone, r#"{"after": 1}"#, &brief), Ok((vec![], 1.into())));
    cluster.standby("resume");
    assert_eq!(
        position(&*alone, r#"{"after": 2}"#, &patient()),
        Ok((vec![3.into(), 4.into()], 4.into()))
    );
}
