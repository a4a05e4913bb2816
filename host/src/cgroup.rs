//! The memory limit of the control groups that this process really runs in, version 1 or 2 (cgroups(7)).
//!
//! `/proc/self/cgroup` names the group in each hierarchy, and `/proc/self/mountinfo` tells where the hierarchies are
//! mounted and which part of them is visible. A limit of any group above counts too, so all of them are read.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most groups above a group that are read; the kernel's own default is lower than this.
const MAX_DEPTH: usize = 64;

/// Returns the lowest memory limit in bytes of the control groups of this process, if there is one. `root` is `/`.
pub(crate) fn memory_limit(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mounts = read("proc/self/mountinfo");
    let limits = Hierarchy::of_memory(&groups, &mounts)
        .into_iter()
        .flat_map(|hierarchy| hierarchy.limits(root));
    limits.min()
}

/// Files of a group that may hold a limit.
const V2_FILES: [&str; 2] = ["memory.max", "memory.high"];
const V1_FILES: [&str; 1] = ["memory.limit_in_bytes"];

/// A mounted hierarchy of groups, and the group of this process in it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Directory of the highest visible group.
    top: PathBuf,
    /// Path from there to the group of this process.
    group: PathBuf,
    files: &'static [&'static str],
}

impl Hierarchy {
    /// Returns the hierarchies that may limit memory: that of version 2, and the one of version 1 with the controller.
    fn of_memory(groups: &str, mounts: &str) -> Vec<Self> {
        let mut found = Vec::new();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let (kind, files): (_, &'static [_]) = match controllers {
                "" => ("cgroup2", &V2_FILES),
                _ if has_word(controllers, "memory") => ("cgroup", &V1_FILES),
                _ => continue,
            };
            for mount in mounts.lines().filter_map(Mount::parse) {
                if mount.kind != kind || (kind == "cgroup" && !has_word(mount.options, "memory")) {
                    continue;
                }
                // In a container without a namespace for groups, only the container's own group is mounted.
                let below = Path::new(path).strip_prefix(&mount.root);
                let group = below.map(Path::to_owned).unwrap_or_default();
                found.push(Self {
                    top: mount.point.clone(),
                    group: group
                        .components()
                        .filter(|part| matches!(part, Component::Normal(_)))
                        .collect(),
                    files,
                });
            }
        }
        found
    }

    /// Returns the limits of the group and of the visible groups above it.
    fn limits(self, root: &Path) -> Vec<u64> {
        let top = root.join(self.top.strip_prefix("/").unwrap_or(&self.top));
        let groups = self.group.ancestors().take(MAX_DEPTH);
        let files = groups.flat_map(|group| {
            let directory = top.join(group);
            self.files.iter().map(move |file| directory.join(file))
        });
        // A group without a limit has the word `max`, and the highest group of version 2 has no such files.
        files
            .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
            .collect()
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
struct Mount<'a> {
    /// Directory of the filesystem that is mounted.
    root: PathBuf,
    point: PathBuf,
    kind: &'a str,
    /// Options of the filesystem; for version 1, they name the controllers.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
        Some(Self {
            root: unescape(root).into(),
            point: unescape(point).into(),
            kind,
            options,
        })
    }
}

/// Replaces the octal escapes of mountinfo for spaces, tabs, line breaks and backslashes.
fn unescape(text: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |text: String, (escape, byte): (&str, &str)| text.replace(escape, byte);
    escapes.into_iter().fold(text.to_owned(), replace)
}

fn has_word(list: &str, word: &str) -> bool {
    list.split(',').any(|item| item == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;
    const V2_MOUNT: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// Writes files of a machine below a temporary root and returns the limit that this machine would have.
    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_limit(root.path())
    }

    #[test]
    fn lowest_limit_above_a_group_of_version_2_counts() {
        let group = "sys/fs/cgroup/system.slice/corundum.service";
        let found = limit(&[
            (
                "proc/self/cgroup",
                "0::/system.slice/corundum.service/node\n",
            ),
            ("proc/self/mountinfo", V2_MOUNT),
            (&format!("{group}/node/memory.max"), "max\n"),
            (&format!("{group}/memory.max"), "805306368\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ]);
        assert_eq!(found, Some(768 * MB));
    }

    #[test]
    fn throttling_of_version_2_is_a_limit() {
        let found = limit(&[
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/a/memory.high", "536870912\n"),
        ]);
        assert_eq!(found, Some(512 * MB));
    }

    #[test]
    fn container_with_a_namespace_sees_its_group_as_the_top() {
        let found = limit(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "268435456\n"),
        ]);
        assert_eq!(found, Some(256 * MB));
    }

    #[test]
    fn container_without_a_namespace_sees_its_group_where_it_is_mounted() {
        let mounts = "40 31 0:33 /docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      41 31 0:34 /docker/0123 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let found = limit(&[
            (
                "proc/self/cgroup",
                "5:memory:/docker/0123\n3:cpu:/docker/0123\n",
            ),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
            ("sys/fs/cgroup/cpu/memory.limit_in_bytes", "1\n"),
        ]);
        assert_eq!(found, Some(128 * MB));
    }

    #[test]
    fn memory_of_version_1_counts_beside_an_empty_version_2() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = limit(&[
            ("proc/self/cgroup", "4:memory:/jobs/one\n1:cpu:/\n0::/\n"),
            ("proc/self/mountinfo", mounts),
            (
                "sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            (
                "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes",
                "402653184\n",
            ),
        ]);
        assert_eq!(found, Some(384 * MB));
    }

    #[test]
    fn mount_points_with_spaces_are_found() {
        let mounts = "30 23 0:26 / /sys/my\\040groups rw - cgroup2 cgroup2 rw\n";
        let found = limit(&[
            ("proc/self/cgroup", "0::/../outside\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/my groups/memory.max", "4096\n"),
        ]);
        assert_eq!(found, Some(4096));
    }

    #[test]
    fn missing_or_malformed_files_mean_no_limit() {
        assert_eq!(limit(&[]), None);
        let found = limit(&[
            ("proc/self/cgroup", "0::\n:::\nx\n4:memory\n"),
            ("proc/self/mountinfo", "- - -\n1 2 3\n"),
            ("sys/fs/cgroup/memory.max", "many\n"),
        ]);
        assert_eq!(found, None);
        // This machine's own files are readable.
        assert!(memory_limit(Path::new("/")).is_none_or(|limit| limit > MB));
    }
}
