//! The machine, in a line for those who read the figures.

use std::path::Path;
use std::time::Duration;

use crate::disk;
use crate::table::count;

/// Describes the processors, the memory, the load and the disk of this folder.
pub fn describe(folder: &Path) -> String {
    let field = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: f64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let sync = disk::sync(folder, Duration::from_millis(200));
    format!(
        "{processors} processors ({}), {:.1} GiB of memory, a load of {} at the end, a disk that syncs in {} µs",
        field("/proc/cpuinfo", "model name"),
        kib / f64::from(1 << 20),
        load.split(' ').next().unwrap_or_default(),
        count(sync.p50)
    )
}
