//! What the kernel says of this process, by the names that Prometheus's own libraries use.

use super::exposition::{Kind, Page};

/// Ticks of the kernel's clock to a second, which are 100 for programs on every Linux.
const TICKS: f64 = 100.0;
/// Bytes of a page on x86-64.
const PAGE: f64 = 4096.0;

pub(crate) fn write(page: &mut Page) {
    let stat = read("/proc/self/stat");
    // The name in brackets may hold anything; the third field comes after it.
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
        Kind::Counter,
        "Time the node's process computed.",
        cpu,
    );
    let resident = field(24).map(|pages| pages * PAGE);
    one(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory the node's process has.",
        resident,
    );
    let virtual_memory = field(23);
    one(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Address space it has reserved.",
        virtual_memory,
    );
    one("process_threads", Kind::Gauge, "Its threads.", field(20));
    let open = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|files| files.count() as f64);
    one(
        "process_open_fds",
        Kind::Gauge,
        "Its open files and connections.",
        open,
    );
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    one(
        "process_max_fds",
        Kind::Gauge,
        "How many it may have open.",
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
        Kind::Gauge,
        "When it was started, since 1970.",
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
    fn the_kernel_is_understood() {
        let mut page = Page::default();
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
