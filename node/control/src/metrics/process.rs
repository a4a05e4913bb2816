//! Metrics of this process from proc(5), under the names that Prometheus's own libraries use.

use super::exposition::{MetricKind, MetricsPage};

/// Clock ticks per second, which Linux reports to all programs as 100.
const TICKS: f64 = 100.0;
/// Bytes of a page on x86-64.
const PAGE: f64 = 4096.0;

/// Adds the metrics of this process to a page.
pub(super) fn write(page: &mut MetricsPage) {
    let stat = read("/proc/self/stat");
    // The name in parentheses may contain anything; the third field follows it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
    let field = |number: usize| {
        let text = fields.get(number - 2);
        text.and_then(|text| text.parse::<f64>().ok())
    };
    let mut one = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, kind, help).value(&[], value);
        }
    };
    let cpu = field(14)
        .zip(field(15))
        .map(|(user, system)| (user + system) / TICKS);
    one(
        "process_cpu_seconds_total",
        MetricKind::Counter,
        "Processor time of the node.",
        cpu,
    );
    let resident = field(24).map(|pages| pages * PAGE);
    one(
        "process_resident_memory_bytes",
        MetricKind::Gauge,
        "Resident memory of the node.",
        resident,
    );
    let virtual_memory = field(23);
    one(
        "process_virtual_memory_bytes",
        MetricKind::Gauge,
        "Virtual memory of the node.",
        virtual_memory,
    );
    one(
        "process_threads",
        MetricKind::Gauge,
        "Threads of the node.",
        field(20),
    );
    let open = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|files| files.count() as f64);
    one(
        "process_open_fds",
        MetricKind::Gauge,
        "Open file descriptors.",
        open,
    );
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    one(
        "process_max_fds",
        MetricKind::Gauge,
        "Most open file descriptors.",
        limit.map(|limit| limit as f64),
    );
    let boot = read("/proc/stat")
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    let started = boot
        .zip(field(22))
        .map(|(boot, ticks)| boot + ticks / TICKS);
    one(
        "process_start_time_seconds",
        MetricKind::Gauge,
        "Start time in seconds of Unix time.",
        started,
    );
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_read() {
        let mut page = MetricsPage::default();
        write(&mut page);
        let text = page.finish();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0 && value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1.5e9, "{text}");
    }
}
