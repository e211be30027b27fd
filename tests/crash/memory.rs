//! Failing SQLite's memory allocations: one after the other, once and permanently.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

use rusqlite::ffi;
use tempfile::TempDir;

use crate::faults::Run;
use crate::random::Random;
use crate::roles::Part;
use crate::{disk, times};

type Malloc = unsafe extern "C" fn(c_int) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void;

/// SQLite's own allocation functions.
static REAL: OnceLock<(Malloc, Realloc)> = OnceLock::new();
/// How many allocations remain until the one that fails; negative once it has failed. `i64::MAX`
/// fails none.
static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);
static FOR_GOOD: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Counts an allocation; returns whether it must fail.
fn fails_now() -> bool {
    let left = LEFT.fetch_sub(1, SeqCst);
    let fails = left == 0 || left < 0 && FOR_GOOD.load(SeqCst);
    FAILED.fetch_add(fails.into(), SeqCst);
    fails
}

fn real() -> (Malloc, Realloc) {
    *REAL.get().expect("`intercept` runs before SQLite")
}

unsafe extern "C" fn malloc(size: c_int) -> *mut c_void {
    if fails_now() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's argument, passed on.
    unsafe { real().0(size) }
}

unsafe extern "C" fn realloc(block: *mut c_void, size: c_int) -> *mut c_void {
    if fails_now() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's arguments, passed on.
    unsafe { real().1(block, size) }
}

/// Replaces SQLite's allocation functions. Must run before any other call of SQLite.
fn intercept() {
    // SAFETY: all fields are optional functions or a pointer, for which zeros are valid.
    let mut methods: ffi::sqlite3_mem_methods = unsafe { std::mem::zeroed() };
    // SAFETY: SQLite is not initialized yet. It fills the struct first, and later copies it.
    unsafe {
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods), 0);
        let _ = REAL.set((methods.xMalloc.expect("one"), methods.xRealloc.expect("one")));
        methods.xMalloc = Some(malloc);
        methods.xRealloc = Some(realloc);
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods), 0);
    }
}

/// Runs once with the `nth` allocation failing. Returns how many allocations there were.
fn run(nth: i64, for_good: bool, random: &mut Random) -> Result<i64, String> {
    let folder = TempDir::new().unwrap();
    disk::watch(folder.path());
    let path = folder.path().join("x.db");
    let mut run = Run::new(&path);
    FOR_GOOD.store(for_good, SeqCst);
    LEFT.store(nth, SeqCst);
    let store = run.use_store();
    let left = LEFT.swap(i64::MAX, SeqCst);
    run.recover(store, random)?;
    Ok(nth - left)
}

/// The role of a process that fails allocations.
pub fn play(part: &Part) {
    intercept();
    let mut random = Random::new(part.writer);
    let mut outcome = String::new();
    let all = run(1 << 40, false, &mut random).expect("no allocation fails");
    let runs = times(80, 8_000);
    for for_good in [false, true] {
        for number in 0..runs as i64 {
            // The first allocations open and create the store; the runs are spread over all of
            // them.
            let nth = number * all / runs as i64 + random.below(all as u64 / runs + 1) as i64;
            if let Err(wrong) = run(nth, for_good, &mut random) {
                outcome =
                    format!("wrong: allocation {nth} of {all}, for good: {for_good}: {wrong}");
                std::fs::write(&part.witness, outcome).unwrap();
                return;
            }
        }
    }
    outcome += &format!("{} allocations failed in all runs; a run has {all}", FAILED.load(SeqCst));
    std::fs::write(&part.witness, outcome).unwrap();
}

#[test]
fn no_failing_allocation_loses_an_event() {
    let folder = TempDir::new().unwrap();
    let part = Part {
        role: "memory".into(),
        witness: folder.path().join("outcome"),
        writer: Random::seed_of_this_run(),
        ..Part::default()
    };
    let status = part.start().wait().unwrap();
    let outcome = std::fs::read_to_string(&part.witness).unwrap_or_default();
    println!("{outcome}");
    assert!(
        status.success() && outcome.contains("allocations failed in all runs"),
        "{status}: {outcome}"
    );
}
