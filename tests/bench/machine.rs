//! CPU cores, memory and CPU time of processes, and medians.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Runs `work` with this process, and the processes that it starts, on one core.
pub(crate) fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).ok();
    let mut one = CpuSet::new();
    one.set(core);
    let _ = sched_setaffinity(None, &one);
    let result = work();
    if let Some(before) = before {
        let _ = sched_setaffinity(None, &before);
    }
    result
}

/// Returns the private memory of a process in KiB, without its page tables.
pub(crate) fn private_kib(process: u32) -> u64 {
    let path = format!("/proc/{process}/smaps_rollup");
    field(&path, "Private_Dirty:") + field(&path, "Private_Clean:")
}

/// Returns the page tables of a process in KiB.
pub(crate) fn page_table_kib(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmPTE:")
}

/// Returns the resident memory of a process in KiB, shared memory included.
pub(crate) fn resident_kib(process: u32) -> u64 {
    field(&format!("/proc/{process}/status"), "VmRSS:")
}

/// Returns the CPU time of a process, with all its threads and descendants.
pub(crate) fn cpu_time(process: u32) -> Duration {
    let all: Vec<(u32, u32, u64)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let ticks = |process| of_tree(&all, process);
    Duration::from_secs_f64(ticks(process) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Returns a process with its parent and its CPU time in ticks.
fn stat(process: u32) -> Option<(u32, u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may contain spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((
        process,
        fields.get(1)?.parse().ok()?,
        ticks(11)? + ticks(12)?,
    ))
}

fn of_tree(all: &[(u32, u32, u64)], process: u32) -> u64 {
    let own = all.iter().find(|entry| entry.0 == process);
    let children = all.iter().filter(|entry| entry.1 == process);
    own.map_or(0, |entry| entry.2) + children.map(|child| of_tree(all, child.0)).sum::<u64>()
}

/// Counts the established connections to a port of loopback, at the side of the server.
pub(crate) fn connections(port: u16) -> usize {
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let established = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01")
    };
    table.lines().filter(established).count()
}

fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Returns the median.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the median in a unit of which a second has `per_second`.
pub(crate) fn median_time(times: &[Duration], per_second: f64) -> f64 {
    let times: Vec<f64> = times
        .iter()
        .map(|time| time.as_secs_f64() * per_second)
        .collect();
    median(&times)
}
