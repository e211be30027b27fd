//! A diagnosis as a JSON object, for a person to read.

use crate::store::diagnosis::{Diagnosis, PostgresDiagnosis, SqliteDiagnosis};

/// Returns the document, with the keys in the order of the documentation.
pub fn diagnosis(diagnosis: &Diagnosis) -> Vec<u8> {
    let mut text = format!(
        "{{\"version\":{},\"store\":\"{}\",\"head\":{}",
        quoted(env!("CARGO_PKG_VERSION")),
        match (&diagnosis.sqlite, &diagnosis.postgres) {
            (Some(_), _) => "sqlite",
            (None, Some(_)) => "postgres",
            (None, None) => "memory",
        },
        diagnosis.head
    );
    if let Some(sqlite) = &diagnosis.sqlite {
        add(&mut text, sqlite);
    }
    if let Some(postgres) = &diagnosis.postgres {
        add_postgres(&mut text, postgres);
    }
    text.push('}');
    text.into_bytes()
}

fn add(text: &mut String, sqlite: &SqliteDiagnosis) {
    let path = sqlite.path.as_ref().map(|path| quoted(&path.to_string_lossy()));
    for (key, value) in [
        ("path", path),
        ("read_only", Some(sqlite.read_only.to_string())),
        ("format", Some(sqlite.format.to_string())),
        ("sqlite", Some(quoted(&sqlite.sqlite))),
        ("bundled_sqlite", Some(sqlite.bundled_sqlite.to_string())),
        ("locks", sqlite.locks.map(quoted)),
        ("other_sqlite", sqlite.other_sqlite.map(|other| other.to_string())),
        ("durable", sqlite.durable.map(|durable| durable.to_string())),
        ("indexed", Some(sqlite.indexed.to_string())),
        ("segments", Some(sqlite.segments.to_string())),
        ("log_bytes", sqlite.log_bytes.map(|bytes| bytes.to_string())),
        ("log_held", Some(sqlite.log_held.to_string())),
        ("failure", sqlite.failure.as_deref().map(quoted)),
    ] {
        text.push_str(&format!(",\"{key}\":{}", value.as_deref().unwrap_or("null")));
    }
}

fn add_postgres(text: &mut String, postgres: &PostgresDiagnosis) {
    let PostgresDiagnosis { schema, read_only, format, revision, server, fsync, standby, .. } =
        postgres;
    text.push_str(&format!(
        ",\"schema\":{},\"read_only\":{read_only},\"format\":{format},\"revision\":{revision},\
         \"server\":{},\"fsync\":{fsync},\"standby\":{standby},\"lag_ms\":{}",
        quoted(schema),
        quoted(server),
        postgres.lag_ms.map_or("null".to_owned(), |lag| lag.to_string()),
    ));
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::at;

    fn text_of(of: &Diagnosis) -> String {
        String::from_utf8(diagnosis(of)).unwrap()
    }

    #[test]
    fn a_diagnosis_has_every_key_in_order() {
        let version = env!("CARGO_PKG_VERSION");
        let memory = Diagnosis { head: at(3), sqlite: None, postgres: None };
        let of_memory = format!("{{\"version\":\"{version}\",\"store\":\"memory\",\"head\":3}}");
        assert_eq!(text_of(&memory), of_memory);
        let sqlite = SqliteDiagnosis {
            path: Some("/x/a \"quoted\"\n.db".into()),
            read_only: true,
            format: 1,
            sqlite: "3.0.0".into(),
            bundled_sqlite: false,
            locks: Some("process"),
            other_sqlite: None,
            durable: Some(at(2)),
            indexed: at(1),
            segments: 1,
            log_bytes: None,
            log_held: false,
            failure: Some("é".into()),
        };
        assert_eq!(
            text_of(&Diagnosis { head: at(3), sqlite: Some(sqlite), postgres: None }),
            format!(
                "{{\"version\":\"{version}\",\"store\":\"sqlite\",\"head\":3,\
                 \"path\":\"/x/a \\\"quoted\\\"\\n.db\",\"read_only\":true,\"format\":1,\
                 \"sqlite\":\"3.0.0\",\"bundled_sqlite\":false,\"locks\":\"process\",\
                 \"other_sqlite\":null,\"durable\":2,\"indexed\":1,\"segments\":1,\
                 \"log_bytes\":null,\"log_held\":false,\"failure\":\"é\"}}"
            )
        );
        let postgres = PostgresDiagnosis {
            schema: "dcb".into(),
            read_only: false,
            format: 1,
            revision: 2,
            server: "15.1 (\"x\")".into(),
            fsync: true,
            standby: false,
            lag_ms: None,
            tables: Vec::new(),
        };
        assert_eq!(
            text_of(&Diagnosis { head: at(3), sqlite: None, postgres: Some(postgres) }),
            format!(
                "{{\"version\":\"{version}\",\"store\":\"postgres\",\"head\":3,\
                 \"schema\":\"dcb\",\"read_only\":false,\"format\":1,\"revision\":2,\
                 \"server\":\"15.1 (\\\"x\\\")\",\"fsync\":true,\"standby\":false,\
                 \"lag_ms\":null}}"
            )
        );
    }
}
