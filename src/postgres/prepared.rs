//! The statements that a session has prepared, each of which it plans once.
//!
//! Their names have a random part, so no name ever stands for another text: should a pooler change
//! the session after all, the other session does not know the name, and says so.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of statements that a session keeps.
const MAX_STATEMENTS: usize = 64;

/// How a statement is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// Once for all values, if the connection has a session of its own. Its plan has to be right for
    /// every value, and while the tables are empty, too.
    Kept,
    /// Each time, for its values.
    ForValues,
}

/// The statements that a session has prepared.
#[derive(Debug)]
pub struct PreparedStatements {
    prefix: String,
    /// How many names were given.
    named: u64,
    /// How often a statement was used.
    uses: u64,
    /// By their texts.
    statements: HashMap<String, Prepared>,
    /// The names of those that are to be closed.
    unwanted: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Prepared {
    name: Arc<str>,
    last_use: u64,
}

impl PreparedStatements {
    /// Returns those of a session that has prepared none.
    pub fn new() -> Self {
        let mut random = [0; 8];
        // Without random numbers there is no telling names apart.
        getrandom::fill(&mut random).expect("the system has random numbers");
        PreparedStatements {
            prefix: format!("dcb_{:016x}", u64::from_ne_bytes(random)),
            named: 0,
            uses: 0,
            statements: HashMap::new(),
            unwanted: Vec::new(),
        }
    }

    /// Returns the name of the prepared statement with this text.
    pub fn name_of(&mut self, sql: &str) -> Option<Arc<str>> {
        self.uses += 1;
        let prepared = self.statements.get_mut(sql)?;
        prepared.last_use = self.uses;
        Some(prepared.name.clone())
    }

    /// Returns a name that no statement has had.
    pub fn new_name(&mut self) -> Arc<str> {
        self.named += 1;
        format!("{}_{}", self.prefix, self.named).into()
    }

    /// Notes that the session has prepared a statement. The one that was not used for the longest
    /// time makes room for it.
    pub fn add(&mut self, sql: &str, name: Arc<str>) {
        if self.statements.len() >= MAX_STATEMENTS
            && let Some(oldest) = self.oldest()
        {
            self.forget(&oldest);
        }
        self.statements.insert(sql.to_owned(), Prepared { name, last_use: self.uses });
    }

    fn oldest(&self) -> Option<String> {
        let (sql, _) = self.statements.iter().min_by_key(|(_, own)| own.last_use)?;
        Some(sql.clone())
    }

    /// Forgets a statement. Returns whether there was such a one.
    pub fn forget(&mut self, sql: &str) -> bool {
        let Some(prepared) = self.statements.remove(sql) else { return false };
        self.unwanted.push(prepared.name);
        true
    }

    /// Notes that a name is to be closed, whether or not the session has prepared it.
    pub fn close(&mut self, name: Arc<str>) {
        self.unwanted.push(name);
    }

    /// Returns the names of the statements that are to be closed now.
    pub fn take_unwanted(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.unwanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_that_was_not_used_for_the_longest_time_makes_room() {
        let mut prepared = PreparedStatements::new();
        let text = |number: usize| format!("SELECT {number}");
        let mut names = Vec::new();
        for number in 0..MAX_STATEMENTS {
            names.push(prepared.new_name());
            prepared.add(&text(number), names[number].clone());
            assert_eq!(prepared.name_of(&text(0)), Some(names[0].clone()));
        }
        assert!(prepared.take_unwanted().is_empty());
        let name = prepared.new_name();
        prepared.add("SELECT", name.clone());
        assert_eq!(prepared.name_of(&text(1)), None);
        assert_eq!(prepared.name_of(&text(0)), Some(names[0].clone()));
        assert_eq!(prepared.name_of("SELECT"), Some(name));
        assert_eq!(prepared.take_unwanted(), [names[1].clone()]);
        assert!(prepared.forget(&text(2)) && !prepared.forget(&text(2)));
        assert_eq!(prepared.take_unwanted(), [names[2].clone()]);
    }

    #[test]
    fn no_two_sessions_give_the_same_name() {
        let [first, second] = [(), ()].map(|()| PreparedStatements::new().new_name());
        assert_ne!(first, second);
    }
}
