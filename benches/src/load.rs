//! The events that every store is given: 256 bytes of data, one of 20 types, a tag of their
//! own, and one of 1,000 tags; those that reads look for also have the tag of an entity.

use std::sync::LazyLock;

/// How many events an entity has. They are spread evenly over the whole load.
pub const EVENTS_PER_ENTITY: u64 = 10;

const TYPES: [&str; 20] = [
    "CourseDefined",
    "CourseRenamed",
    "CourseMoved",
    "CourseOpened",
    "CourseClosed",
    "CourseCapacityChanged",
    "CourseArchived",
    "StudentRegistered",
    "StudentRenamed",
    "StudentEnrolled",
    "StudentWithdrawn",
    "StudentSuspended",
    "StudentReinstated",
    "StudentGraduated",
    "LecturerAssigned",
    "LecturerReplaced",
    "ExamScheduled",
    "ExamSat",
    "ExamGraded",
    "ExamAppealed",
];

/// JSON of 256 bytes.
static DATA: LazyLock<String> = LazyLock::new(|| format!("{{\"x\":\"{}\"}}", "y".repeat(248)));

/// An event as a program holds it before it hands it to a store.
pub struct Event {
    pub event_type: &'static str,
    pub tags: Vec<String>,
    pub data: &'static str,
}

/// The event with this number.
pub fn event(number: u64) -> Event {
    let group = (number.wrapping_mul(2_654_435_761) >> 7) % 1000;
    Event {
        event_type: TYPES[(number % 20) as usize],
        tags: vec![unique(number), format!("group:{group}")],
        data: &DATA,
    }
}

/// The tag that only this event has.
pub fn unique(number: u64) -> String {
    format!("unique:{number}")
}

/// An event of an entity.
pub fn event_of(number: u64, entity: &str) -> Event {
    let mut event = event(number);
    event.tags.push(entity.to_owned());
    event
}

/// The tag of an entity.
pub fn entity(number: u64) -> String {
    format!("entity:{number}")
}

/// How many entities a load of so many events has.
pub fn entities(events: u64) -> u64 {
    (events / EVENTS_PER_ENTITY).max(1)
}

/// A generator of numbers that are random enough to pick entities by.
pub struct Picks(u64);

impl Picks {
    pub fn new(seed: u64) -> Self {
        Picks(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}
