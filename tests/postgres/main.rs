//! Tests on PostgreSQL servers, each of which is made for its test (`cluster.sh`).
#![cfg(feature = "postgres")]

#[cfg(feature = "testing")]
mod bugs;
mod cluster;
mod cuts;
#[path = "../ends/mod.rs"]
mod ends;
mod failover;
mod full_disk;
mod kills;
mod late;
mod notifications;
mod proxy;
mod refusals;
mod replica;
mod rewound;
mod roles;
mod upgrades;
mod work;

use cluster::Cluster;

/// Returns how often to do something: `short` in `make test`, `long` with DCB_TEST_LONG.
fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("DCB_TEST_LONG").is_some() { long } else { short }
}

#[test]
fn a_cluster_survives_a_kill_and_leaves_nothing() {
    let Some(mut cluster) = Cluster::with(&["work_mem=5MB"]) else { return };
    assert_eq!(cluster.query("show work_mem"), "5MB");
    assert_eq!(cluster.query("show fsync"), "on");
    cluster.sql("create table kept (a int)");
    for stop in [Cluster::kill, Cluster::stop] {
        stop(&mut cluster);
        assert!(!cluster.folder().join("data/postmaster.pid").exists());
        cluster.start_again();
        assert_eq!(cluster.query("select count(*) from kept"), "0");
    }
    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert!(!folder.exists());
}
