//! Who gets in, by which way, and what a role may do.

use crate::domain::AppendRequest;
use crate::error::Status;
use crate::position::at;
use crate::postgres::PostgresStore;
#[cfg(feature = "postgres-tls")]
use crate::postgres::tests::cluster::Cluster;
#[cfg(feature = "postgres-tls")]
use crate::postgres::tests::own_schema;
use crate::postgres::tests::{built, call, server};
use crate::store::Store;
use crate::store::options::Options;

/// The statements of the first block of SQL after a line in a page.
fn statements_after(line: &str) -> Vec<String> {
    let page = include_str!("../../../docs/internals/postgres.md");
    let (_, after) = page.split_once(line).unwrap();
    let (_, block) = after.split_once("```sql\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block
        .split(';')
        .map(|own| own.trim().replace('\n', " "))
        .filter(|own| !own.is_empty())
        .collect()
}

#[test]
fn the_rights_of_the_page_are_enough_and_no_more() {
    let Some(mut server) = server() else { return };
    // The role dcb owns the database, and so the store.
    PostgresStore::open(&server.uri(), &Options::default()).unwrap().close();
    for statement in statements_after("## Roles") {
        server.sql(&statement);
    }
    let uri_of = |role: &str| server.uri().replace("user=dcb", &format!("user={role}"));
    let existing = Options { create: false, ..Options::default() };
    let request = || AppendRequest::new(vec![built(&(0, vec![0], 0), None)], Vec::new()).unwrap();

    let application = PostgresStore::open(&uri_of("application"), &existing).unwrap();
    assert_eq!(application.append(request(), &call()).map(|appended| appended.last), Ok(at(1)));
    assert_eq!(application.wait(at(0), &call()), Ok(at(1)));
    let deadline = call().start(None);
    let mut connection = application.target.connect_to_write(&deadline).unwrap();
    for statement in [
        "INSERT INTO dcb.event_tags VALUES ('x', 1, 'x')",
        "UPDATE dcb.meta SET format = 2",
        "DELETE FROM dcb.fences",
        "ALTER TABLE dcb.events DISABLE TRIGGER ALL",
        "CREATE TABLE dcb.mine (a int)",
    ] {
        let failure = connection.execute(statement, &deadline).unwrap_err();
        assert_eq!(failure.code(), Some("42501"), "{statement}");
    }

    let reader = Options { read_only: true, ..existing.clone() };
    let reader = PostgresStore::open(&uri_of("reader"), &reader).unwrap();
    assert_eq!(reader.head(&call()), Ok(at(1)));
    let reader = PostgresStore::open(&uri_of("reader"), &existing).unwrap();
    let refused = reader.append(request(), &call()).unwrap_err();
    assert_eq!(refused.status, Status::ReadOnly, "{refused}");
    assert_eq!(reader.head(&call()), Ok(at(1)));
}

#[cfg(feature = "postgres-tls")]
#[test]
fn tls_protects_what_sslmode_says() {
    let Some(server) = server().filter(Cluster::has_tls) else { return };
    let folder = server.folder().display().to_string();
    let (address, name) = ("127.0.0.1", "localhost");
    let open = |host: &str, parameters: &str| {
        let parameters = parameters.replace('~', &folder);
        let uri = format!("{}?{parameters}", server.tcp_uri().replace(address, host));
        let store = PostgresStore::open(&uri, &own_schema())?;
        let head = store.head(&call());
        let counted = server.query(
            "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) \
             where s.ssl and a.application_name = 'libdcb'",
        );
        store.close();
        head.map(|_| counted != "0")
    };
    let of_authority = "sslrootcert=~/authority.crt";
    for (host, parameters, is_within_tls) in [
        (name, "", true),
        (name, "sslmode=disable", false),
        (name, "sslmode=allow", false),
        (name, "sslmode=prefer", true),
        (name, "sslmode=require", true),
        (address, &*format!("sslmode=require&{of_authority}"), true),
        (name, &format!("sslmode=verify-ca&{of_authority}"), true),
        (name, &format!("sslmode=verify-full&{of_authority}"), true),
        (address, &format!("sslmode=verify-full&{of_authority}"), true),
        // The server's own certificate, which is not an authority's.
        (name, "sslmode=verify-full&sslrootcert=~/server.crt", true),
        (name, "sslmode=require&channel_binding=require", true),
        (name, "sslmode=require&channel_binding=disable", true),
        ("by.example", &format!("hostaddr={address}&sslmode=verify-ca&{of_authority}"), true),
    ] {
        assert_eq!(open(host, parameters), Ok(is_within_tls), "{host} {parameters}");
    }
    for (host, parameters, expected) in [
        (name, "sslmode=verify-ca&sslrootcert=~/other.crt", "certificate"),
        (name, "sslmode=require&sslrootcert=~/other.crt", "certificate"),
        (name, "sslmode=verify-full", "certificate"),
        ("by.example", &*format!("hostaddr={address}&sslmode=verify-full&{of_authority}"), "name"),
        ("by.example", &format!("hostaddr={address}&{of_authority}"), "name"),
        (name, "sslmode=verify-ca&sslrootcert=~/missing.crt", "sslrootcert"),
        (name, "sslmode=disable&channel_binding=require", "channel_binding"),
    ] {
        let error = open(host, parameters).unwrap_err();
        assert!(error.message.contains(expected), "{host} {parameters}: {error}");
        assert!(!error.message.contains("s3cret"), "{error}");
    }
    // The server asks this role for a certificate, and for no password.
    let by_certificate = |certificate: &str| {
        let uri = format!(
            "postgres://by_certificate@{name}:{}/dcb?sslmode=verify-full&{}{certificate}",
            server.port(),
            of_authority.replace('~', &folder)
        );
        PostgresStore::open(&uri, &Options { read_only: true, ..own_schema() }).unwrap_err()
    };
    let files = format!("&sslcert={folder}/client.crt&sslkey={folder}/client.key");
    let error = by_certificate(&files);
    assert!(error.message.contains("holds no store"), "{error}");
    assert!(by_certificate("").message.contains("certificate"));
}
