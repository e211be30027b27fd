//! Which process a handle belongs to: a fork leaves the child with copies of handles whose
//! locks, threads and files are its parent's.
//!
//! Every process of a line of forks has a generation of its own. A handle keeps the one that it
//! was made in, and is of no use in any other. Nothing here locks, so nothing here can be found
//! locked by a child.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::error::{Error, Result, Status};

/// The process that a handle was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Generation {
    /// That of this process.
    pub(super) fn current() -> Self {
        let mut page = PAGE.load(Ordering::Acquire);
        if page.is_null() {
            page = place_page();
        }
        if ptr::eq(page, &NO_PAGE) {
            return Generation(by_process_id());
        }
        // SAFETY: a page that stays mapped for the life of the process.
        let page = unsafe { &*page };
        match page.mark.load(Ordering::Acquire) {
            0 => Generation(begin(page, &NEWEST)),
            generation => Generation(generation),
        }
    }
}

/// A store that is open, or being opened, in this process; until it is dropped.
///
/// The copy of SQLite in the child of a fork cannot be trusted with locks if it was in use at the
/// fork. If no store was open then, it is as good as new.
#[derive(Debug)]
pub(super) struct OpenStore(Generation);

impl OpenStore {
    /// Counts one more.
    pub(super) fn count() -> Self {
        let own = Generation::current();
        change(own.0, |count| count + 1);
        OpenStore(own)
    }

    /// Counts one more, over SQLite; `closed` in the child of a process that had a store open at
    /// the fork.
    pub(super) fn count_sqlite() -> Result<Self> {
        let own = Self::count();
        if HAS_INHERITED.load(Ordering::Acquire) {
            return Err(Error::new(
                Status::Closed,
                "a store was open when this process was forked: open stores after the fork only, \
                 or call exec first",
            ));
        }
        Ok(own)
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        change(self.0.0, |count| count.saturating_sub(1));
    }
}

/// How many stores are open in which generation: that in the upper half, the count in the lower.
static OPEN: AtomicU64 = AtomicU64::new(0);
/// Whether a store was open at the fork that made this process, or one of its ancestors.
static HAS_INHERITED: AtomicBool = AtomicBool::new(false);

/// Changes how many stores are open in `generation`, which begins with none.
fn change(generation: u64, change: impl Fn(u64) -> u64) {
    let changed = |open: u64| {
        let count = if open >> 32 == generation { open & 0xffff_ffff } else { 0 };
        Some(generation << 32 | change(count))
    };
    let _ = OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed);
}

/// Notes whether the generation that begins has inherited open stores from the one before. To be
/// called before anybody can open one in it, by as many threads as like.
fn note_inherited(generation: u64) {
    let open = OPEN.load(Ordering::Acquire);
    if open >> 32 != generation && open & 0xffff_ffff != 0 {
        HAS_INHERITED.store(true, Ordering::Release);
    }
}

/// What is on a page that the kernel zeroes in a child.
#[derive(Debug)]
struct Page {
    /// The generation of this process; 0: it has not begun.
    mark: AtomicU64,
    /// What it will be, as the first thread that asked has settled it; 0: nobody has.
    claim: AtomicU64,
}

impl Page {
    const fn zeroed() -> Self {
        Page { mark: AtomicU64::new(0), claim: AtomicU64::new(0) }
    }
}

/// The page of this process; or [`NO_PAGE`] where there is none to be had; NULL before the first
/// use.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
/// Stands in for a page, and is never read.
static NO_PAGE: Page = Page::zeroed();
/// The newest generation that this process knows of. A child inherits it.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// Marks a process that has no mark yet: the first one, or the child of a fork.
fn begin(page: &Page, newest: &AtomicU64) -> u64 {
    let next = newest.load(Ordering::Acquire) + 1;
    // Claimed before the newest is raised: a thread that finds it raised by another one finds the
    // claim, and does not take this process for the next one's child.
    let claim = page.claim.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire);
    let own = claim.map_or_else(|other_thread_s| other_thread_s, |_| next);
    note_inherited(own);
    // Raised before the mark is set: a fork between the two must not give the child a
    // generation that handles of this process can have.
    newest.fetch_max(own, Ordering::AcqRel);
    page.mark.store(own, Ordering::Release);
    own
}

/// Without a page: the generation in the upper half, its process id in the lower.
fn by_process_id() -> u64 {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let process = u64::from(std::process::id());
    let mut known = KNOWN.load(Ordering::Acquire);
    while known & 0xffff_ffff != process {
        let next = ((known >> 32) + 1) << 32 | process;
        note_inherited(next >> 32);
        match KNOWN.compare_exchange(known, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => known = next,
            Err(other_thread_s) => known = other_thread_s,
        }
    }
    known >> 32
}

/// Maps the page, once; two threads that come here together agree without a lock.
fn place_page() -> *mut Page {
    let ours = map_page().unwrap_or((&raw const NO_PAGE).cast_mut());
    match PAGE.compare_exchange(ptr::null_mut(), ours, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => ours,
        // The page that lost stays mapped: four kilobytes, at most once a thread.
        Err(theirs) => theirs,
    }
}

#[cfg(target_os = "linux")]
fn map_page() -> Option<*mut Page> {
    // SAFETY: a new mapping of one page, which nobody else knows of.
    unsafe {
        let length = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).ok()?;
        let page = libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return None;
        }
        // An emulator that accepts advice that does not exist does not follow any.
        let believable = libc::madvise(page, length, -1) != 0;
        if !believable || libc::madvise(page, length, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, length);
            return None;
        }
        Some(page.cast())
    }
}

#[cfg(not(target_os = "linux"))]
fn map_page() -> Option<*mut Page> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `check` in a forked child; returns its result.
    fn holds_in_child(check: impl Fn() -> bool) -> bool {
        // SAFETY: the child only calls `check`, which takes no lock, and leaves.
        unsafe {
            match libc::fork() {
                0 => libc::_exit(if check() { 0 } else { 1 }),
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &mut status, 0), child);
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
                }
            }
        }
    }

    #[test]
    fn every_forked_process_has_its_own_generation() {
        let parent = Generation::current();
        assert_eq!(parent, Generation::current());
        assert!(holds_in_child(|| {
            let child = Generation::current();
            child != parent
                && child == Generation::current()
                && holds_in_child(|| {
                    let grandchild = Generation::current();
                    grandchild != child && grandchild != parent
                })
        }));
        assert_eq!(parent, Generation::current());
    }

    #[test]
    fn a_store_open_at_a_fork_prevents_opening_in_the_child() {
        let may_open = || OpenStore::count_sqlite().is_ok();
        // In a child that forgets the stores that other tests have open.
        assert!(holds_in_child(|| {
            Generation::current();
            HAS_INHERITED.store(false, Ordering::Release);
            OPEN.store(0, Ordering::Release);
            let while_none_is_open = holds_in_child(may_open);
            let first = OpenStore::count();
            let second = OpenStore::count();
            drop(first);
            let while_one_is_open =
                holds_in_child(|| !may_open() && holds_in_child(|| !may_open()));
            drop(second);
            let once_it_is_closed = holds_in_child(|| {
                let own = OpenStore::count_sqlite();
                own.is_ok() && may_open() && holds_in_child(|| !may_open()) && {
                    drop(own);
                    holds_in_child(may_open)
                }
            });
            while_none_is_open && while_one_is_open && once_it_is_closed
        }));
    }

    /// A thread that got another generation than the first one would take itself for a child.
    #[test]
    fn concurrent_first_threads_get_one_generation() {
        for _ in 0..3_000 {
            let (page, newest) = (Page::zeroed(), AtomicU64::new(6));
            let start = std::sync::Barrier::new(3);
            let ask = || {
                start.wait();
                begin(&page, &newest)
            };
            let generations = std::thread::scope(|scope| {
                let threads = [(); 3].map(|()| scope.spawn(ask));
                threads.map(|thread| thread.join().unwrap())
            });
            assert_eq!(generations, [7; 3]);
            assert_eq!((newest.into_inner(), page.mark.into_inner()), (7, 7));
        }
    }

    #[test]
    fn process_ids_distinguish_generations_too() {
        let parent = by_process_id();
        assert_eq!(parent, by_process_id());
        assert!(holds_in_child(|| {
            let child = by_process_id();
            child != parent
                && child == by_process_id()
                && holds_in_child(|| by_process_id() > child)
        }));
    }
}
