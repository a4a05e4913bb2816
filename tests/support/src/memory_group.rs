//! A control group with a limit of memory, for a node that has to live in little.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A control group of version 1 or 2. It is removed when the value is dropped, after its processes have ended.
#[derive(Debug)]
pub struct MemoryGroup {
    directory: PathBuf,
}

impl MemoryGroup {
    /// Creates a group with at most `bytes` of memory, if this process may.
    pub fn create(bytes: u64) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("corundum-test-{}-{number}", std::process::id());
        let hierarchies = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        hierarchies.into_iter().find_map(|(hierarchy, limit)| {
            let group = Self {
                directory: PathBuf::from(hierarchy).join(&name),
            };
            fs::create_dir(&group.directory).ok()?;
            let limit = group.directory.join(limit);
            // Without mounted groups, this is a directory like any other.
            fs::metadata(&limit).ok()?;
            fs::write(limit, bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Returns the file that a process writes its number to in order to join the group.
    pub fn join_file(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The kernel removes a group when its last process is gone, which takes a moment after the process was waited for.
        for _ in 0..50 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
