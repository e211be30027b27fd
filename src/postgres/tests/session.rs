//! Whose session a connection has, with a pooler in between and without.

use crate::postgres::PostgresStore;
use crate::postgres::tests::cluster::Cluster;
use crate::postgres::tests::{call, own_schema, server};

/// Returns whether the connections of a store have sessions of their own.
fn have_own_sessions(server: &Cluster) -> bool {
    let store = PostgresStore::open(&server.uri(), &own_schema()).unwrap();
    let deadline = call().start(None);
    let open = |_| store.target.connect_to_read(&deadline).unwrap();
    let connections: Vec<_> = (0..5).map(open).collect();
    let own = connections.iter().filter(|connection| connection.has_own_session()).count();
    assert!(own == 0 || own == connections.len(), "{own} of {}", connections.len());
    own > 0
}

#[test]
fn a_connection_has_a_session_of_its_own_unless_a_pooler_is_in_between() {
    let Some(server) = server() else { return };
    assert!(have_own_sessions(&server));
    let Some(server) = Cluster::behind_pooler() else { return };
    assert!(!have_own_sessions(&server));
}
