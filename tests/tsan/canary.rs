//! Two threads write to one place without an order between them. Thread sanitizer has to say so,
//! or it would not say it of the library either.

static mut COUNT: u64 = 0;

fn add() {
    for _ in 0..1000 {
        // SAFETY: none; this is the race.
        unsafe { COUNT += 1 };
    }
}

fn main() {
    let other = std::thread::spawn(add);
    add();
    other.join().unwrap();
}
