//! Copies of a volume as of one moment, as a power cut would leave it.
//!
//! A first pass copies everything while dynos write. A second one holds their writes and copies what has changed since, which
//! is little. The kernel's time of a change tells, which a dyno cannot set; a file that changed within [`RECENT`] of its first copy
//! counts as changed, since the clock of such times has ticks. No link is followed, whatever a dyno does meanwhile.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};

use super::{Volume, stat_of};

/// Seconds before the copy of a file in which a change may not show in its time.
const RECENT: i64 = 2;

/// Most directories within each other. Each takes two descriptors while it is copied.
const DEPTH: usize = 100;

/// A file as the first pass has found it.
#[derive(PartialEq, Eq)]
struct SeenFile {
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

/// The files of the first pass by their paths; those that changed shortly before are left out.
type SeenFiles = HashMap<PathBuf, SeenFile>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Dynos write meanwhile.
    First,
    /// No dyno writes.
    Second,
}

impl Volume {
    /// Copies the volume to the empty directory `to` as of one moment, and waits until the disk has the copy. Writes of dynos wait
    /// while files that changed during the copy are copied again. Hard links become files of their own. Blocks.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written; directories are within each other too deeply. A part of the copy is left.
    pub fn snapshot(&self, to: &Path) -> io::Result<()> {
        let root = open_directory(rustix::fs::CWD, to)?;
        let mut seen = SeenFiles::new();
        self.copy(&root, &mut seen, Pass::First)?;
        {
            let _held = self.hold_changes();
            self.copy(&root, &mut seen, Pass::Second)?;
        }
        Ok(rustix::fs::syncfs(&root)?)
    }

    fn copy(&self, to: &OwnedFd, seen: &mut SeenFiles, pass: Pass) -> io::Result<()> {
        let mut copy = TreeCopy {
            device: self.stat.st_dev,
            seen,
            pass,
            path: PathBuf::new(),
        };
        copy.directory(&self.root, to, 0)
    }
}

/// Copies a directory that nothing writes to, as [`Volume::snapshot`] does.
///
/// # Errors
///
/// As [`Volume::snapshot`].
pub fn copy_unused(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (
        open_directory(rustix::fs::CWD, from)?,
        open_directory(rustix::fs::CWD, to)?,
    );
    let mut copy = TreeCopy {
        device: rustix::fs::fstat(&from)?.st_dev,
        seen: &mut SeenFiles::new(),
        pass: Pass::First,
        path: PathBuf::new(),
    };
    copy.directory(&from, &to, 0)?;
    Ok(rustix::fs::syncfs(&to)?)
}

struct TreeCopy<'a> {
    device: u64,
    seen: &'a mut SeenFiles,
    pass: Pass,
    /// The path of the directory in the volume.
    path: PathBuf,
}

impl TreeCopy<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
        if depth > DEPTH {
            return Err(io::Error::other(format!(
                "the volume has more than {DEPTH} directories within each other"
            )));
        }
        let mut names = HashSet::new();
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if [&b"."[..], b".."].contains(&name) {
                continue;
            }
            self.path.push(OsStr::from_bytes(name));
            let copied = self.node(from, to, name, depth);
            self.path.pop();
            match copied {
                // A dyno has removed or replaced it; the second pass has what is there then.
                Err(error) if self.pass == Pass::First && has_gone(&error) => {}
                copied => copied?,
            }
            names.insert(name.to_owned());
        }
        if self.pass == Pass::Second {
            remove_others(to, &names)?;
        }
        Ok(())
    }

    fn node(&mut self, from: &OwnedFd, to: &OwnedFd, name: &[u8], depth: usize) -> io::Result<()> {
        let stat = stat_of(from, name)?;
        if stat.st_dev != self.device {
            return Ok(());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                make_directory(to, name)?;
                let (from, to) = (open_directory(from, name)?, open_directory(to, name)?);
                self.directory(&from, &to, depth + 1)?;
                Ok(rustix::fs::fchmod(
                    &to,
                    Mode::from_raw_mode(stat.st_mode & 0o700),
                )?)
            }
            FileType::RegularFile => self.file(from, to, name, &stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                remove(to, name)?;
                Ok(rustix::fs::symlinkat(&*target, to, name)?)
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat) -> io::Result<()> {
        let found = SeenFile {
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        };
        if self.pass == Pass::Second && self.seen.get(&self.path) == Some(&found) {
            return Ok(());
        }
        remove(to, name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o700);
        let mut copy = File::from(rustix::fs::openat(to, name, flags, mode)?);
        // Filesystems that can share blocks copy nothing.
        if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
            io::copy(&mut source, &mut copy)?;
        }
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        rustix::fs::futimens(&copy, &times)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        if self.pass == Pass::First && found.changed.0 < now - RECENT {
            self.seen.insert(self.path.clone(), found);
        }
        Ok(())
    }
}

fn nanoseconds(value: u64) -> i64 {
    value.cast_signed()
}

fn time(seconds: i64, nanos: u64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds(nanos),
    }
}

fn open_directory(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// Makes a directory of a copy, in the place of what the first pass has put there.
fn make_directory(to: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match stat_of(to, name) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Ok(()),
        Ok(_) => remove(to, name)?,
        Err(_) => {}
    }
    Ok(rustix::fs::mkdirat(to, name, Mode::RWXU)?)
}

/// Removes a node of a copy with all below it, if it exists.
fn remove(to: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(to, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => {
            remove_others(&open_directory(to, name)?, &HashSet::new())?;
            Ok(rustix::fs::unlinkat(to, name, AtFlags::REMOVEDIR)?)
        }
        removed => Ok(removed?),
    }
}

/// Removes the nodes of a directory of a copy that are not among `names`.
fn remove_others(to: &OwnedFd, names: &HashSet<Vec<u8>>) -> io::Result<()> {
    for entry in Dir::read_from(to)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if ![&b"."[..], b".."].contains(&name) && !names.contains(name) {
            remove(to, name)?;
        }
    }
    Ok(())
}

/// Tells whether an error says that a node was removed or replaced since it was found.
fn has_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::NXIO,
        Errno::INVAL,
    ];
    let number = error.raw_os_error();
    gone.iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::volume::VolumeQuota;

    fn volume(directory: &Path) -> std::sync::Arc<Volume> {
        let quota = VolumeQuota {
            bytes: 1 << 30,
            nodes: 10_000,
        };
        Volume::open(directory, quota).unwrap()
    }

    #[test]
    fn copy_has_files_directories_links_times_and_modes_and_no_target_of_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("a/b/file"), "content").unwrap();
        std::fs::set_permissions(
            from.join("a/b/file"),
            std::fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        symlink("/etc", from.join("link")).unwrap();
        volume(&from).snapshot(&to).unwrap();
        assert_eq!(std::fs::read(to.join("a/b/file")).unwrap(), b"content");
        let [one, other] =
            [&from, &to].map(|root| std::fs::metadata(root.join("a/b/file")).unwrap());
        assert_eq!((one.mode(), one.mtime()), (other.mode(), other.mtime()));
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc")
        );
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 2);
    }

    #[test]
    fn second_pass_replaces_removes_and_adds() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        for folder in [&from, &to] {
            std::fs::create_dir(folder).unwrap();
        }
        let volume = volume(&from);
        let root = open_directory(rustix::fs::CWD, &to).unwrap();
        let mut seen = SeenFiles::new();
        std::fs::write(from.join("kept"), "kept").unwrap();
        std::fs::write(from.join("removed"), "x").unwrap();
        std::fs::create_dir(from.join("node")).unwrap();
        std::fs::write(from.join("node/below"), "x").unwrap();
        volume.copy(&root, &mut seen, Pass::First).unwrap();
        std::fs::write(from.join("kept"), "new!").unwrap();
        std::fs::remove_file(from.join("removed")).unwrap();
        std::fs::remove_dir_all(from.join("node")).unwrap();
        std::fs::write(from.join("node"), "a file").unwrap();
        volume.copy(&root, &mut seen, Pass::Second).unwrap();
        assert_eq!(std::fs::read(to.join("kept")).unwrap(), b"new!");
        assert_eq!(std::fs::read(to.join("node")).unwrap(), b"a file");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 2);
    }

    #[test]
    fn two_files_that_are_written_in_turn_are_copied_as_of_one_moment() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        for folder in [&from, &to] {
            std::fs::create_dir(folder).unwrap();
        }
        for name in ["one", "two"] {
            std::fs::write(from.join(name), "0").unwrap();
        }
        let volume = volume(&from);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    for name in ["one", "two"] {
                        let _change = volume.change();
                        std::fs::write(from.join(name), number.to_string()).unwrap();
                    }
                }
            });
            for _ in 0..20 {
                volume.snapshot(&to).unwrap();
                let read = |name: &str| -> u64 {
                    let text = std::fs::read_to_string(to.join(name)).unwrap();
                    text.parse().unwrap()
                };
                // The second file follows the first, and is one behind at most.
                let (one, two) = (read("one"), read("two"));
                assert!(two == one || two + 1 == one, "{one} {two}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn deep_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        let deep: PathBuf = std::iter::repeat_n("d", DEPTH + 2).collect();
        std::fs::create_dir_all(from.join(deep)).unwrap();
        std::fs::create_dir(&to).unwrap();
        let error = volume(&from).snapshot(&to).unwrap_err();
        assert!(error.to_string().contains("within each other"), "{error}");
    }
}
