//! A network that fails: connections that are cut after every byte, delayed, or silent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use dcb::{CallOptions, Position, Status, Timeout};

use crate::cluster::Cluster;
use crate::proxy::{Proxy, Way};
use crate::times;
use crate::work::{check, claim, events, open, read};

/// The parameters of a connection whose bytes the proxy can count.
const PLAIN: &str = "sslmode=disable";

fn within(ms: u64) -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_millis(ms)), cancel: None }
}

/// Starts a server with a proxy before it.
fn cluster_and_proxy() -> Option<(Cluster, Proxy)> {
    let cluster = Cluster::start()?;
    let socket = cluster.folder().join(format!(".s.PGSQL.{}", cluster.port()));
    let proxy = Proxy::start(&socket);
    Some((cluster, proxy))
}

#[test]
pub fn an_append_whose_connection_is_cut_has_its_true_outcome() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    let store = open(&proxy.uri(PLAIN)).unwrap();
    // The bytes that an append takes each way, of which the first one also asks for more.
    claim(&*store, 0, "warm-up", &within(5_000)).answer.unwrap();
    let before = Way::BOTH.map(|way| proxy.passed(way));
    claim(&*store, 1, "measured", &within(5_000)).answer.unwrap();
    let bytes = Way::BOTH.map(|way| proxy.passed(way) - before[way as usize]);
    assert!(bytes.iter().all(|bytes| *bytes > 50), "{bytes:?}");

    let mut attempts = Vec::new();
    let (mut cuts, mut slot) = (0, 2);
    for way in Way::BOTH {
        // A few bytes more than it takes: nothing is cut.
        let last = bytes[way as usize] + 3;
        let step = (last / times(10, last)).max(1);
        for after in (0..last).step_by(step as usize) {
            proxy.cut_after(way, after);
            let attempt = claim(&*store, slot, &format!("{way:?} {after}"), &within(10_000));
            assert!(attempt.answer.is_ok(), "{way:?} {after}: {attempt:?}");
            attempts.push(attempt);
            // Another store takes the slot for taken, whatever happened.
            (cuts, slot) = (cuts + 1, slot + 1);
        }
        proxy.let_all_pass();
    }
    let direct = open(&cluster.uri()).unwrap();
    assert_eq!(check(&*direct, &attempts), attempts.len());
    assert_eq!(events(&*direct).len(), attempts.len() + 2);
    println!("{cuts} cuts");
}

#[test]
fn a_read_whose_connection_is_cut_returns_everything() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    let store = open(&proxy.uri(PLAIN)).unwrap();
    for slot in 0..20 {
        claim(&*store, slot, &format!("token {slot}"), &within(5_000)).answer.unwrap();
    }
    let whole = read(&*store, "{}", &within(5_000)).unwrap();
    let before = Way::BOTH.map(|way| proxy.passed(way));
    assert_eq!(read(&*store, "{}", &within(5_000)).unwrap(), whole);
    let bytes = Way::BOTH.map(|way| proxy.passed(way) - before[way as usize]);
    for way in Way::BOTH {
        let step = (bytes[way as usize] / times(10, bytes[way as usize])).max(1);
        for after in (0..bytes[way as usize]).step_by(step as usize) {
            proxy.cut_after(way, after);
            let again = read(&*store, "{}", &within(10_000));
            assert_eq!(again.as_ref(), Ok(&whole), "{way:?} {after}");
        }
        proxy.let_all_pass();
    }
    drop(cluster);
}

#[test]
fn opening_survives_a_cut_or_says_that_the_server_is_unavailable() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    open(&proxy.uri(PLAIN)).unwrap();
    let before = Way::BOTH.map(|way| proxy.passed(way));
    open(&proxy.uri(PLAIN)).unwrap();
    let bytes = Way::BOTH.map(|way| proxy.passed(way) - before[way as usize]);
    for way in Way::BOTH {
        let step = (bytes[way as usize] / times(6, bytes[way as usize])).max(1);
        for after in (0..bytes[way as usize]).step_by(step as usize) {
            proxy.cut_after(way, after);
            if let Err(error) = open(&proxy.uri(PLAIN)) {
                assert_eq!(error.status, Status::Unavailable, "{way:?} {after}: {error}");
                assert!(!error.message.contains("s3cret"), "{error}");
            }
        }
        proxy.let_all_pass();
    }
    drop(cluster);
}

#[test]
fn a_slow_network_only_takes_longer() {
    let Some((_cluster, proxy)) = cluster_and_proxy() else { return };
    proxy.delay(Duration::from_millis(20));
    let store = open(&proxy.uri(PLAIN)).unwrap();
    let attempts: Vec<_> =
        (0..5).map(|slot| claim(&*store, slot, &format!("{slot}"), &within(10_000))).collect();
    assert_eq!(check(&*store, &attempts), 5);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    let store = open(&proxy.uri(PLAIN)).unwrap();
    let mut attempts = vec![claim(&*store, 0, "before", &within(5_000))];

    proxy.be_silent(true);
    let start = Instant::now();
    let error = store.head(&within(300)).unwrap_err();
    assert!(matches!(error.status, Status::Timeout | Status::Unavailable), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    attempts.push(claim(&*store, 1, "silent", &within(300)));
    let error = attempts[1].answer.as_ref().unwrap_err();
    assert!(matches!(error.status, Status::Timeout | Status::Unavailable), "{error}");

    // What it had taken is lost, and new connections work.
    proxy.be_silent(false);
    attempts.push(claim(&*store, 1, "again", &within(10_000)));
    attempts.push(claim(&*store, 2, "after", &within(10_000)));
    assert!(attempts[2].answer.is_ok() && attempts[3].answer.is_ok(), "{attempts:?}");
    let direct = open(&cluster.uri()).unwrap();
    assert_eq!(check(&*direct, &attempts), 3);
}

#[test]
fn a_silent_server_does_not_keep_from_the_next_one() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    proxy.be_silent(true);
    let own = cluster.tcp_uri();
    let (others, port) = own.rsplit_once("/dcb").unwrap().0.rsplit_once(':').unwrap();
    let silent = proxy.uri("");
    let proxy_port = silent.rsplit_once("/dcb").unwrap().0.rsplit_once(':').unwrap().1;
    let uri = format!(
        "{others}:{proxy_port},127.0.0.1:{port}/dcb?{PLAIN}&target_session_attrs=read-write"
    );
    let store = open(&uri).unwrap();
    let attempts = [claim(&*store, 0, "x", &within(10_000))];
    // A read has a connection of its own.
    assert_eq!(store.head(&within(10_000)).unwrap().get(), 1);
    assert_eq!(check(&*store, &attempts), 1);
}

/// A host that takes no connection and refuses none either, as one behind a firewall.
#[test]
fn a_silent_host_is_not_tried_first_at_each_connection() {
    let Some(cluster) = Cluster::start() else { return };
    // What connects to it waits in its queue.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = cluster.tcp_uri();
    let (others, port) = own.rsplit_once("/dcb").unwrap().0.rsplit_once(':').unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let uri = format!("{others}:{silent_port},127.0.0.1:{port}/dcb?{PLAIN}&connect_timeout=1");
    let store = open(&uri).unwrap();
    for slot in 0..5 {
        cluster.query(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'dcb'",
        );
        assert!(claim(&*store, slot, "x", &within(10_000)).answer.is_ok());
        assert_eq!(store.head(&within(10_000)).unwrap().get(), slot as i64 + 1);
    }
    silent.set_nonblocking(true).unwrap();
    let tries = silent.incoming().take_while(|tried| tried.is_ok()).count();
    assert!((1..=2).contains(&tries), "it was tried {tries} times");
}

#[test]
fn nobody_waits_for_a_server_that_is_gone_longer_than_the_call_allows() {
    let Some((_cluster, proxy)) = cluster_and_proxy() else { return };
    let store = open(&proxy.uri(PLAIN)).unwrap();
    proxy.close();
    let start = Instant::now();
    let attempt = claim(&*store, 0, "x", &within(200));
    let error = attempt.answer.unwrap_err();
    assert_eq!(error.status, Status::Unavailable, "{error}");
    let error = store.head(&within(200)).unwrap_err();
    assert_eq!(error.status, Status::Unavailable, "{error}");
    // It may come back as long as somebody waits.
    let error = store.wait(Position::new(1).unwrap(), &within(200)).unwrap_err();
    assert_eq!(error.status, Status::Timeout, "{error}");
    store.close();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    proxy.open();
}

/// Longer than the store waits for one answer, which ends no wait: only the caller's time does.
#[test]
fn a_wait_outlives_a_server_that_falls_silent() {
    let Some((cluster, proxy)) = cluster_and_proxy() else { return };
    let [waiter, late] = [(), ()].map(|()| open(&proxy.uri(PLAIN)).unwrap());
    let direct = open(&cluster.uri()).unwrap();
    claim(&*direct, 0, "before", &within(5_000)).answer.unwrap();
    let head = Position::clamped(1);
    assert_eq!(waiter.wait(Position::START, &within(5_000)), Ok(head));
    std::thread::scope(|scope| {
        let mut waits = vec![scope.spawn(|| waiter.wait(head, &within(120_000)))];
        std::thread::sleep(Duration::from_millis(200));
        proxy.be_silent(true);
        // One begins to wait when the server is silent already.
        waits.push(scope.spawn(|| late.wait(head, &within(120_000))));
        std::thread::sleep(Duration::from_secs(12));
        assert!(waits.iter().all(|wait| !wait.is_finished()), "a wait has ended");
        proxy.be_silent(false);
        claim(&*direct, 1, "after", &within(5_000)).answer.unwrap();
        for wait in waits {
            assert_eq!(wait.join().unwrap(), Ok(head.next()));
        }
    });
}
