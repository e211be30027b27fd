//! The roles of processes that use the library itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcb::domain::{EventView, ReadState};
use dcb::json::{parse_append, parse_read};
use dcb::store::BatchLimits;
use dcb::store::options::Options;
use dcb::{CallOptions, Status, Store, Timeout};

use crate::host::{self, Sqlite};
use crate::roles::{Rows, Scene, die, start};

/// Opens the store in the file of a scene.
pub fn open(file: &Path) -> dcb::Result<Arc<dyn Store>> {
    dcb::open(&format!("sqlite:{}", file.display()), &Options::default())
}

/// Reads every event, and returns how many there are, and the position that the read returned.
pub fn read_all(store: &dyn Store) -> dcb::Result<(i64, i64)> {
    let mut reading = ReadState::new(parse_read(b"")?);
    let mut events = 0;
    loop {
        let before = events;
        let mut sink = |_: &EventView<'_>| {
            events += 1;
            Ok(())
        };
        store.read(
            &mut reading,
            BatchLimits { max_events: 1_000, max_bytes: 1 << 20 },
            &ten_seconds(),
            &mut sink,
        )?;
        if events == before {
            return Ok((events, reading.position().get()));
        }
    }
}

fn ten_seconds() -> CallOptions {
    CallOptions { timeout: Timeout::After(Duration::from_secs(10)), cancel: None }
}

impl Scene {
    fn store(&self) -> Arc<dyn Store> {
        loop {
            match open(&self.file()) {
                Ok(store) => return store,
                Err(error) if error.status == Status::Busy => {}
                Err(error) => self.broken("opening", &error),
            }
        }
    }

    fn store_append(&self, store: &dyn Store, rows: &mut Rows) {
        rows.next += 1;
        let filler = "x".repeat(200);
        let request = format!(
            r#"{{"events": [{{"type": "T", "tags": ["row:{0}"], "data": "{filler}", "id": "{0}"}}],
                 "condition": {{"failIfEventsMatch": {{"items": [{{"tags": ["row:{0}"]}}]}}}}}}"#,
            rows.next
        );
        match store.append(parse_append(request.as_bytes()).unwrap(), &ten_seconds()) {
            Ok(_) => rows.acknowledge(),
            Err(error) if error.status == Status::Busy => {}
            Err(error) => self.broken("store", &error),
        }
    }

    /// Checks that the store's diagnosis reports another SQLite that has its file open.
    pub fn store_diagnose(&self) {
        let store = self.store();
        let other = || store.diagnose(&ten_seconds()).unwrap().sqlite.unwrap().other_sqlite;
        assert_eq!(other(), Some(false));
        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("SELECT * FROM dcb_events").unwrap();
        assert_eq!(other(), Some(true));
        drop(host);
        assert_eq!(other(), Some(false));
    }

    pub fn store_goes_on(&self) {
        let (store, mut rows) = (self.store(), self.rows("library"));
        for _ in 0..10 {
            self.store_append(&*store, &mut rows);
        }
        let host = Sqlite::load().open(&self.file(), 10_000);
        assert_eq!(host.run("SELECT id FROM dcb_events LIMIT 1").unwrap().len(), 1);
        drop(host);
        for _ in 0..100 {
            self.store_append(&*store, &mut rows);
        }
        die();
    }

    pub fn store_load(&self) {
        let sqlite = Sqlite::load();
        let store = self.store();
        std::thread::scope(|scope| {
            for writer in ["library one", "library two"] {
                let store = &*store;
                scope.spawn(move || {
                    let mut rows = self.rows(writer);
                    loop {
                        self.store_append(store, &mut rows);
                    }
                });
            }
            scope.spawn(|| {
                let mut rows = self.rows("library opening and closing");
                loop {
                    let store = self.store();
                    self.store_append(&*store, &mut rows);
                    store.close();
                }
            });
            loop {
                // The host writes a table of its own beside the store's, so that both use the WAL.
                let host = sqlite.open(&self.file(), 10_000);
                for statement in [
                    "CREATE TABLE IF NOT EXISTS host_rows (filler)",
                    "SELECT max(position) FROM dcb_events",
                    "INSERT INTO host_rows VALUES (hex(randomblob(100)))",
                ] {
                    match host.run(statement) {
                        Ok(_) | Err(host::BUSY) => {}
                        Err(code) => self.broken("host", &code),
                    }
                }
            }
        });
    }

    pub fn store_other_process(&self) {
        let mut rows = self.rows("other");
        loop {
            let store = self.store();
            for _ in 0..20 {
                self.store_append(&*store, &mut rows);
            }
            store.close();
        }
    }

    pub fn store_closes(&self) {
        let mut rows = self.rows("library");
        let store = self.store();
        self.store_append(&*store, &mut rows);
        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("CREATE TABLE host_rows (id)").unwrap();
        store.close();
        drop(store);
        start("store_visitor", &self.directory, self.hooks).wait().unwrap();
        for row in 0..100 {
            host.run(&format!("INSERT INTO host_rows VALUES ({row})")).unwrap();
        }
        die();
    }

    pub fn store_visitor(&self) {
        let store = self.store();
        self.store_append(&*store, &mut self.rows("visitor"));
        store.close();
    }
}
