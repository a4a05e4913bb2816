//! The number of dynos that this machine can hold.

use std::fs;

/// Bytes of memory that a live dyno takes: the private pages of an app of some size, page tables, and a reserve.
const DYNO_BYTES: u64 = 3 << 19;
/// Kernel mappings that a dyno takes, including those of its stack, which is reserved before the dyno exists.
const DYNO_MAPPINGS: u64 = 8;
/// Kernel mappings that the rest of the process takes.
const OTHER_MAPPINGS: u64 = 5_000;
/// Maximum number of dynos: 80 TiB of address space, of 128; the rest is for stacks and tables.
const MAX_DYNOS: u64 = 10_000;

/// Returns the number of dynos that this machine can hold at once.
///
/// It depends on the machine's memory and on the mappings that the kernel allows a process (`vm.max_map_count`; the
/// default of 65,530 allows 7,500 dynos).
pub fn dynos() -> u32 {
    let mappings = number(&read("/proc/sys/vm/max_map_count")).unwrap_or(65_530);
    within(mappings, memory_bytes())
}

/// Returns the machine's memory in bytes, or the limit of this process's control group if that is lower.
pub fn memory_bytes() -> u64 {
    let machine = total_bytes(&read("/proc/meminfo"));
    let group = number(&read("/sys/fs/cgroup/memory.max"));
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

fn within(mappings: u64, memory: u64) -> u32 {
    let by_mappings = mappings.saturating_sub(OTHER_MAPPINGS) / DYNO_MAPPINGS;
    let dynos = by_mappings.min(memory / DYNO_BYTES).clamp(16, MAX_DYNOS);
    u32::try_from(dynos).unwrap_or(16)
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(number(line.trim().strip_suffix(" kB")?)? << 10)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarcer_of_mappings_and_memory_limits_dynos() {
        assert_eq!(within(65_530, 24 << 30), 7_566);
        assert_eq!(within(1 << 20, 12 << 30), 8_192);
        assert_eq!(within(65_530, 1 << 30), 682);
        assert_eq!(within(0, 0), 16);
        assert_eq!(within(u64::MAX, u64::MAX), 10_000);
    }

    #[test]
    fn meminfo_is_parsed() {
        assert_eq!(
            total_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_bytes("nothing"), None);
        assert!(dynos() >= 16);
    }
}
