//! The query that reads an entity from the tables of libdcb, as `psql` sends it: as text, in one
//! message, with text as the answer. The lower bound of a read.

use std::sync::Mutex;

use postgres::{Client, NoTls, SimpleQueryMessage};

use super::{Condition, Subject};
use crate::load::Event;

pub struct Bare {
    uri: String,
    idle: Mutex<Vec<Client>>,
}

impl Bare {
    pub fn open(uri: &str) -> Self {
        Bare { uri: uri.to_owned(), idle: Mutex::default() }
    }
}

impl Subject for Bare {
    fn append(&self, _events: &[Event], _condition: Condition<'_>) -> bool {
        unreachable!("a query appends nothing")
    }

    fn read(&self, tag: Option<&str>, after: u64) -> (u64, u64) {
        let tag = tag.expect("the tag of an entity");
        let idle = self.idle.lock().expect("the connections").pop();
        let mut client =
            idle.unwrap_or_else(|| Client::connect(&self.uri, NoTls).expect("a connection"));
        let sql = format!(
            "SELECT e.position, e.type, e.tags, e.data FROM dcb.event_tags t \
             JOIN dcb.events e ON e.position = t.position \
             WHERE t.tag = '{tag}' AND t.position > {after} ORDER BY t.position"
        );
        let messages = client.simple_query(&sql).expect("a read");
        self.idle.lock().expect("the connections").push(client);
        let rows = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
        (rows.count() as u64, after)
    }

    fn wait(&self, _after: u64) {
        unreachable!("a query does not wait")
    }
}
