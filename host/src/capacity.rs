//! The number of dynos that this machine can hold.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::fibers;
use crate::slots::SLOT_MAPPINGS;

/// Bytes that each live dyno takes from the node's reserve: the private pages of a small app, page tables, and what the
/// host keeps for any dyno. The rest is drawn when the dyno takes it ([`crate::account`]).
pub(crate) const DYNO_BYTES: usize = 1 << 20;
/// Kernel mappings that a dyno takes: those of its memory, and two of its stack, which the engine makes before the dyno
/// exists.
const DYNO_MAPPINGS: usize = SLOT_MAPPINGS + STACK_MAPPINGS;
const STACK_MAPPINGS: usize = 2;
/// Kernel mappings that the rest of the process takes: libraries, threads, heaps, packs, and the slots that the engine
/// uses beyond those of live dynos.
const OTHER_MAPPINGS: usize = 5_000;
/// The kernel's default of `vm.max_map_count`.
const DEFAULT_MAPPINGS: usize = 65_530;
/// Maximum number of dynos: 80 TiB of address space, of 128; the rest is for stacks and tables.
const MAX_DYNOS: usize = 10_000;

/// Returns the number of dynos that this machine can hold at once.
///
/// It depends on the reserve of memory and on the mappings that the kernel allows a process (`vm.max_map_count`; the
/// default of 65,530 allows 7,500 dynos). Loaded apps take mappings too, so that fewer dynos may start at a time; see
/// [`mappings`].
pub fn dynos() -> u32 {
    within(allowed_mappings(), reserve_bytes())
}

/// Returns the kernel mappings that images and the memories of `dynos` dynos may take.
pub(crate) fn mappings(dynos: u32) -> usize {
    let stacks = STACK_MAPPINGS * dynos as usize;
    allowed_mappings().saturating_sub(OTHER_MAPPINGS + stacks)
}

/// Returns the number of native stacks that fibers of all dynos may have at once. Their mappings are drawn from the same
/// budget as those of images and memories, of which they may use up a quarter.
pub(crate) fn fiber_stacks() -> usize {
    allowed_mappings() / 4 / fibers::STACK_MAPPINGS
}

fn allowed_mappings() -> usize {
    let allowed = number(&read("/proc/sys/vm/max_map_count"));
    allowed.map_or(DEFAULT_MAPPINGS, |allowed| {
        usize::try_from(allowed).unwrap_or(usize::MAX)
    })
}

/// Returns the memory in bytes that this process may use: the machine's, or the lowest limit of its control groups.
pub fn memory_bytes() -> u64 {
    let machine = total_bytes(&read("/proc/meminfo"));
    let group = cgroup::memory_limit(Path::new("/"));
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

/// Returns the bytes that all dynos together may take: half of the memory. The other half is for images, which dynos
/// share, for builds, and for the node itself.
pub(crate) fn reserve_bytes() -> usize {
    usize::try_from(memory_bytes() / 2).unwrap_or(usize::MAX)
}

fn within(mappings: usize, reserve: usize) -> u32 {
    let by_mappings = mappings.saturating_sub(OTHER_MAPPINGS) / DYNO_MAPPINGS;
    let dynos = by_mappings.min(reserve / DYNO_BYTES).clamp(16, MAX_DYNOS);
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
        assert_eq!(within(65_530, 12 << 30), 7_566);
        assert_eq!(within(1 << 20, 6 << 30), 6_144);
        assert_eq!(within(65_530, 512 << 20), 512);
        assert_eq!(within(0, 0), 16);
        assert_eq!(within(usize::MAX, usize::MAX), 10_000);
    }

    #[test]
    fn meminfo_is_parsed() {
        assert_eq!(
            total_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_bytes("nothing"), None);
        assert!(dynos() >= 16 && reserve_bytes() > 100 << 20);
    }
}
