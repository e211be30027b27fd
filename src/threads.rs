//! The threads of the library.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The stack of a thread, in bytes. Without a size, Rust takes it from the environment.
const STACK: usize = 2 * 1024 * 1024;

/// Starts a thread that blocks every signal but those that report a fault of the thread itself.
///
/// A program may block signals in all of its threads, to take them with `sigwait`: a thread of the
/// library that does not block them would get them instead, and the program would die of them.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let _blocked = BlockedSignals::new()?;
    // The thread inherits the mask, so there is no moment in which a signal could reach it.
    Builder::new().name(name.into()).stack_size(STACK).spawn(run)
}

/// Signals that this thread blocks until this is dropped.
struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    fn new() -> io::Result<Self> {
        // Blocked, such a signal would end the process without its handler.
        const OF_THE_THREAD: [libc::c_int; 6] =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
        // SAFETY: structs of integers, which may be zero; they are valid for writes.
        let (before, code) = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before = set;
            libc::sigfillset(&raw mut set);
            for signal in OF_THE_THREAD {
                libc::sigdelset(&raw mut set, signal);
            }
            let code = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, &raw mut before);
            (before, code)
        };
        if code == 0 {
            Ok(BlockedSignals { before })
        } else {
            Err(io::Error::from_raw_os_error(code))
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: a mask that this thread had; nothing is written.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blocked(signal: libc::c_int) -> bool {
        // SAFETY: the mask is a struct of integers, for which zeros are valid, and a local variable.
        unsafe {
            let mut mask = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
            libc::sigismember(&raw const mask, signal) == 1
        }
    }

    #[test]
    fn a_spawned_thread_blocks_signals_and_its_parent_does_not() {
        let (send, receive) = std::sync::mpsc::channel();
        let all = [libc::SIGTERM, libc::SIGUSR1, libc::SIGPROF, libc::SIGSEGV, libc::SIGBUS];
        let thread = spawn("dcb-test", move || send.send(all.map(is_blocked)).unwrap()).unwrap();
        assert_eq!(all.map(is_blocked), [false; 5]);
        thread.join().unwrap();
        assert_eq!(receive.recv().unwrap(), [true, true, true, false, false]);
    }
}
