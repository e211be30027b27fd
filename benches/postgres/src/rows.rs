//! The workloads: what each driver is asked for.

use std::time::Duration;

use crate::bench::{Asked, Bench};
use crate::proxy::Proxy;

/// What the proxy adds to a round trip.
const DELAY: Duration = Duration::from_millis(1);
/// How long a scan may take.
const SCAN_PATIENCE: Duration = Duration::from_secs(900);

/// Runs the workloads that were asked for.
pub fn run(bench: &mut Bench) {
    let chosen = |bench: &Bench, word: &str| bench.options.workloads.iter().any(|own| own == word);
    let seconds = bench.options.time.as_secs_f64();
    if chosen(bench, "read") {
        for callers in [1, 4] {
            reads(
                bench,
                callers,
                &format!("read one entity, {}", plural(callers, "reader")),
                false,
            );
        }
    }
    if chosen(bench, "scan") {
        let asked = Asked { patience: SCAN_PATIENCE, ..Asked::new("scan everything", "events") };
        bench.compare(&asked, |size, _| format!("scan {size}"));
    }
    if chosen(bench, "decide") {
        for callers in [1, 16] {
            let title = format!("read, decide, append, {}", plural(callers, "caller"));
            bench.compare(&Asked::new(&title, "decisions"), |size, first| {
                format!("decide {callers} {seconds} {size} {first}")
            });
        }
    }
    if chosen(bench, "notify") {
        let asked = Asked::new("append to notification, one after the other", "events");
        bench.compare(&asked, |_, first| format!("notify {seconds} {first}"));
    }
    if chosen(bench, "append") {
        for events in [1, 64] {
            for callers in bench.options.callers.clone() {
                let title = title(callers, events);
                appends(bench, &Asked::new(&title, "events"), callers, events);
            }
        }
    }
    if chosen(bench, "processes") {
        let title = format!("two processes, each {}", title(64, 1));
        let asked = Asked { first_size: true, processes: 2, ..Asked::new(&title, "events") };
        appends(bench, &asked, 64, 1);
    }
    if chosen(bench, "delay") {
        let proxy = Proxy::start(&bench.server.socket());
        proxy.delay(DELAY / 2);
        bench.route(Some(proxy.port()));
        for callers in [1, 64] {
            let title = format!("1 ms away, {}", title(callers, 1));
            let asked = Asked { first_size: true, ..Asked::new(&title, "events") };
            appends(bench, &asked, callers, 1);
        }
        reads(bench, 1, "1 ms away, read one entity, 1 reader", true);
        bench.route(None);
    }
    if chosen(bench, "standby") {
        let standby = bench.server.standby();
        for callers in [1, 64] {
            let title = format!("synchronous standby, {}", title(callers, 1));
            let asked = Asked { first_size: true, ..Asked::new(&title, "events") };
            appends(bench, &asked, callers, 1);
        }
        drop(standby);
    }
}

fn reads(bench: &mut Bench, callers: u64, title: &str, first_size: bool) {
    let seconds = bench.options.time.as_secs_f64();
    let asked = Asked { is_query: true, first_size, ..Asked::new(title, "reads") };
    bench.compare(&asked, |size, _| format!("read {callers} {seconds} {size}"));
}

/// The title of the guarded appends that the goal is set for.
pub fn title(callers: u64, events: u64) -> String {
    format!("{} x {}", plural(callers, "caller"), plural(events, "event"))
}

fn appends(bench: &mut Bench, asked: &Asked<'_>, callers: u64, events: u64) {
    let seconds = bench.options.time.as_secs_f64();
    bench.compare(asked, |_, first| format!("append {callers} {events} {seconds} {first}"));
}

fn plural(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
