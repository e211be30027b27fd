//! Appends that reach the server after their caller has found out that they had not.

use std::time::Duration;

use dcb::json::parse_append;

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::work::{open, patient};

/// Appends once, through a proxy that keeps the append, and sends it when a second attempt has
/// succeeded. `changes` are made to the function that finds out about such appends. Returns how many
/// events there are in the end.
fn append_late(cluster: &Cluster, changes: &[(&str, &str)]) -> String {
    let proxy = Proxy::start(&cluster.folder().join(format!(".s.PGSQL.{}", cluster.port())));
    let store = open(&proxy.uri("sslmode=disable")).unwrap();
    cluster.change("resolve", changes);
    let request = parse_append(br#"{"events": [{"type": "A", "data": 1}]}"#).unwrap();
    proxy.keep_next();
    let last = store.append(request, &patient()).map(|appended| appended.last.get());
    assert_eq!(last, Ok(1));
    let sessions = || cluster.query("select count(*) from pg_stat_activity where usename = 'dcb'");
    assert_eq!(sessions(), "2", "the session of the append that is kept, and that of the other");
    proxy.send_kept();
    while sessions() != "1" {
        std::thread::sleep(Duration::from_millis(5));
    }
    cluster.query("select count(*) from dcb.events")
}

#[test]
fn an_append_that_was_given_up_is_refused_when_it_arrives() {
    let Some(cluster) = Cluster::start() else { return };
    assert_eq!(append_late(&cluster, &[]), "1");
}

#[test]
fn without_the_fence_it_would_be_stored_twice() {
    let Some(cluster) = Cluster::start() else { return };
    const FENCE: &str = "INSERT INTO \"dcb\".fences (append_id) VALUES (p_append_ids[1])";
    let another = FENCE.replace("p_append_ids[1]", "gen_random_uuid()");
    assert_eq!(append_late(&cluster, &[(FENCE, &another)]), "2");
}
