//! How many dynos this machine has room for.

use std::fs;

/// Bytes of memory that a live dyno takes: what an app of some size makes private, page tables, and some to spare.
const DYNO_BYTES: u64 = 3 << 19;
/// Kernel mappings that a dyno takes, with those of its stack, which is reserved before it lives.
const DYNO_MAPPINGS: u64 = 8;
/// Mappings that everything else takes.
const OTHER_MAPPINGS: u64 = 5_000;
/// 80 TiB of address space, of 128; the rest is for stacks and tables.
const MOST: u64 = 10_000;

/// Dynos that may live on this machine at once, by its memory and by how many mappings its kernel allows a process
/// (`vm.max_map_count`; where it is 65,530, that allows 7,500 dynos).
pub fn dynos() -> u32 {
    let mappings = number(&read("/proc/sys/vm/max_map_count")).unwrap_or(65_530);
    within(mappings, memory_bytes())
}

/// Bytes of memory that the machine has, or that this process's control group may have of it.
pub(crate) fn memory_bytes() -> u64 {
    let machine = total_bytes(&read("/proc/meminfo"));
    let group = number(&read("/sys/fs/cgroup/memory.max"));
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

fn within(mappings: u64, memory: u64) -> u32 {
    let by_mappings = mappings.saturating_sub(OTHER_MAPPINGS) / DYNO_MAPPINGS;
    let dynos = by_mappings.min(memory / DYNO_BYTES).clamp(16, MOST);
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
    fn the_scarcer_of_mappings_and_memory_decides() {
        assert_eq!(within(65_530, 24 << 30), 7_566);
        assert_eq!(within(1 << 20, 12 << 30), 8_192);
        assert_eq!(within(65_530, 1 << 30), 682);
        assert_eq!(within(0, 0), 16);
        assert_eq!(within(u64::MAX, u64::MAX), 10_000);
    }

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(
            total_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_bytes("nothing"), None);
        assert!(dynos() >= 16);
    }
}
