//! Comparison of the file tree with Linux: the same random calls on both must have the same results.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use corundum_pack::archive::{Archive, ArchiveWriter, FileMode};
use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use wasi_common::file::{FdFlags, FileAccessMode, FileType};
use wasi_common::snapshots::preview_1::types::Errno;

use super::directory::{OpenDirectory, list};
use super::file::OpenFile;
use super::locks::LockKind;
use super::node::Vnode;
use super::operations::{OpenRequest, Opened};
use super::tree::{Filesystem, LastLink};
use super::{BootLayer, GuestProcess, TmpLimits};
use crate::account::Account;
use crate::reserve::{AppShare, NodeReserve};
use crate::volume::{Volume, VolumeQuota};

/// Number of open files that a sequence of calls uses.
const FILES: usize = 3;

#[derive(Debug, Clone)]
enum Call {
    Open {
        file: usize,
        path: String,
        access: u8,
        flags: [bool; 6],
    },
    Close(usize),
    Write(usize, u8),
    WriteAt(usize, u16),
    Read(usize),
    ReadAt(usize, u16),
    SeekEnd(usize),
    SeekStart(usize, u16),
    SetLength(usize, u16),
    Lock(usize, u8),
    FileStatus(usize),
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Symlink(String, String),
    Link(String, String),
    Rename(String, String),
    ReadLink(String),
    Status(String, bool),
    Chmod(String, u8),
    List(String),
}

/// The result of a call, in a form that both sides have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CallOutcome {
    Done,
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Number(u64),
    /// Type and permissions, links of a file, size of a file.
    Status(u32, u64, u64),
    Error(i32),
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "dir", "link"]).prop_map(str::to_owned),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("n".repeat(255)),
        1 => Just("n".repeat(256)),
    ];
    let slashes = prop::sample::select(vec!["", "", "", "/"]);
    (prop::collection::vec(part, 1..4), slashes).prop_map(|(parts, slash)| parts.join("/") + slash)
}

fn call() -> impl Strategy<Value = Call> {
    let file = 0..FILES;
    prop_oneof![
        8 => (file.clone(), path(), 0_u8..3, any::<[bool; 6]>()).prop_map(|(file, path, access, flags)| Call::Open { file, path, access, flags }),
        1 => file.clone().prop_map(Call::Close),
        3 => (file.clone(), any::<u8>()).prop_map(|(file, byte)| Call::Write(file, byte)),
        1 => (file.clone(), 0_u16..300).prop_map(|(file, at)| Call::WriteAt(file, at)),
        2 => file.clone().prop_map(Call::Read),
        1 => (file.clone(), 0_u16..300).prop_map(|(file, at)| Call::ReadAt(file, at)),
        1 => file.clone().prop_map(Call::SeekEnd),
        1 => (file.clone(), 0_u16..300).prop_map(|(file, at)| Call::SeekStart(file, at)),
        1 => (file.clone(), 0_u16..300).prop_map(|(file, at)| Call::SetLength(file, at)),
        2 => (file.clone(), 0_u8..3).prop_map(|(file, kind)| Call::Lock(file, kind)),
        2 => file.prop_map(Call::FileStatus),
        4 => path().prop_map(Call::Mkdir),
        2 => path().prop_map(Call::Rmdir),
        3 => path().prop_map(Call::Unlink),
        3 => (path(), path()).prop_map(|(target, path)| Call::Symlink(target, path)),
        3 => (path(), path()).prop_map(|(old, new)| Call::Link(old, new)),
        5 => (path(), path()).prop_map(|(old, new)| Call::Rename(old, new)),
        1 => path().prop_map(Call::ReadLink),
        4 => (path(), any::<bool>()).prop_map(|(path, follow)| Call::Status(path, follow)),
        2 => (path(), 0_u8..4).prop_map(|(path, mode)| Call::Chmod(path, mode)),
        3 => path().prop_map(Call::List),
    ]
}

/// Permissions that hinder nobody: tests may run as root, whom Linux does not hinder.
fn mode_of(number: u8) -> u16 {
    [0o700, 0o755, 0o777, 0o750][usize::from(number)]
}

/// Descriptors of Linux.
struct Linux {
    base: OwnedFd,
    files: [Option<OwnedFd>; FILES],
}

impl Linux {
    fn new(base: &Path) -> Self {
        let base = rustix::fs::open(base, OFlags::DIRECTORY, Mode::empty()).unwrap();
        Self {
            base,
            files: [const { None }; FILES],
        }
    }

    fn call(&mut self, call: &Call) -> CallOutcome {
        self.try_call(call)
            .unwrap_or_else(|errno| CallOutcome::Error(errno.raw_os_error()))
    }

    fn try_call(&mut self, call: &Call) -> rustix::io::Result<CallOutcome> {
        use rustix::fs;
        let closed = rustix::io::Errno::BADF;
        let base = self.base.as_fd();
        let file = |number: usize| self.files[number].as_ref().ok_or(closed);
        let bytes = |buffer: &[u8], read: usize| CallOutcome::Bytes(buffer[..read].to_vec());
        let mut buffer = [0; 512];
        Ok(match call {
            Call::Open {
                file,
                path,
                access,
                flags,
            } => {
                let mut all = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR][usize::from(*access)];
                for (flag, set) in [
                    OFlags::CREATE,
                    OFlags::EXCL,
                    OFlags::TRUNC,
                    OFlags::APPEND,
                    OFlags::DIRECTORY,
                    OFlags::NOFOLLOW,
                ]
                .into_iter()
                .zip(flags)
                {
                    all.set(flag, *set);
                }
                let opened = fs::openat(base, path.as_str(), all, Mode::from_raw_mode(0o644))?;
                let is_directory = fs::FileType::from_raw_mode(fs::fstat(&opened)?.st_mode)
                    == fs::FileType::Directory;
                self.files[*file] = (!is_directory).then_some(opened);
                CallOutcome::Number(u64::from(is_directory))
            }
            Call::Close(number) => {
                self.files[*number] = None;
                CallOutcome::Done
            }
            Call::Write(number, byte) => {
                let written = rustix::io::write(file(*number)?, &vec![*byte; usize::from(*byte)])?;
                CallOutcome::Number(written as u64)
            }
            Call::WriteAt(number, at) => {
                rustix::io::pwrite(file(*number)?, b"at", u64::from(*at))?;
                CallOutcome::Done
            }
            Call::Read(number) => {
                let read = rustix::io::read(file(*number)?, &mut buffer[..])?;
                bytes(&buffer, read)
            }
            Call::ReadAt(number, at) => {
                let read = rustix::io::pread(file(*number)?, &mut buffer[..], u64::from(*at))?;
                bytes(&buffer, read)
            }
            Call::SeekEnd(number) => {
                CallOutcome::Number(fs::seek(file(*number)?, fs::SeekFrom::End(0))?)
            }
            Call::SeekStart(number, at) => {
                CallOutcome::Number(fs::seek(file(*number)?, fs::SeekFrom::Start((*at).into()))?)
            }
            Call::SetLength(number, length) => {
                fs::ftruncate(file(*number)?, u64::from(*length))?;
                CallOutcome::Done
            }
            Call::Lock(number, kind) => {
                let kind = [
                    fs::FlockOperation::Unlock,
                    fs::FlockOperation::NonBlockingLockShared,
                    fs::FlockOperation::NonBlockingLockExclusive,
                ][usize::from(*kind)];
                fs::flock(file(*number)?, kind)?;
                CallOutcome::Done
            }
            Call::FileStatus(number) => shown(&fs::fstat(file(*number)?)?),
            Call::Mkdir(path) => {
                fs::mkdirat(base, path.as_str(), Mode::from_raw_mode(0o755))?;
                CallOutcome::Done
            }
            Call::Rmdir(path) => {
                fs::unlinkat(base, path.as_str(), AtFlags::REMOVEDIR)?;
                CallOutcome::Done
            }
            Call::Unlink(path) => {
                fs::unlinkat(base, path.as_str(), AtFlags::empty())?;
                CallOutcome::Done
            }
            Call::Symlink(target, path) => {
                fs::symlinkat(target.as_str(), base, path.as_str())?;
                CallOutcome::Done
            }
            Call::Link(old, new) => {
                fs::linkat(base, old.as_str(), base, new.as_str(), AtFlags::empty())?;
                CallOutcome::Done
            }
            Call::Rename(old, new) => {
                fs::renameat(base, old.as_str(), base, new.as_str())?;
                CallOutcome::Done
            }
            Call::ReadLink(path) => {
                let target = fs::readlinkat(base, path.as_str(), Vec::new())?;
                CallOutcome::Bytes(target.into_bytes())
            }
            Call::Status(path, follow) => {
                let mut flags = AtFlags::empty();
                flags.set(AtFlags::SYMLINK_NOFOLLOW, !follow);
                shown(&fs::statat(base, path.as_str(), flags)?)
            }
            Call::Chmod(path, mode) => {
                let mode = Mode::from_raw_mode(u32::from(mode_of(*mode)));
                fs::chmodat(base, path.as_str(), mode, AtFlags::empty())?;
                CallOutcome::Done
            }
            Call::List(path) => {
                let flags = OFlags::DIRECTORY | OFlags::RDONLY;
                let directory = fs::openat(base, path.as_str(), flags, Mode::empty())?;
                let mut space = Vec::with_capacity(64 << 10);
                let mut entries = RawDir::new(&directory, space.spare_capacity_mut());
                let mut names = Vec::new();
                while let Some(entry) = entries.next() {
                    names.push(entry?.file_name().to_bytes().to_vec());
                }
                names.sort();
                CallOutcome::Names(names)
            }
        })
    }
}

fn shown(stat: &rustix::fs::Stat) -> CallOutcome {
    let is_file = stat.st_mode & 0o170_000 != 0o040_000;
    let of_file = |value: u64| if is_file { value } else { 0 };
    CallOutcome::Status(
        stat.st_mode,
        of_file(stat.st_nlink),
        of_file(stat.st_size.cast_unsigned()),
    )
}

/// Descriptors of a dyno.
struct DynoSide {
    filesystem: Arc<Filesystem>,
    base: Arc<OpenDirectory>,
    files: [Option<Arc<OpenFile>>; FILES],
}

impl DynoSide {
    fn new(filesystem: Arc<Filesystem>, base: &str) -> Self {
        let resolved = filesystem.resolve(&[Vnode::Root], base.as_bytes(), LastLink::Follow);
        let base = OpenDirectory::new(filesystem.clone(), resolved.unwrap().into_trail());
        Self {
            base: Arc::new(base.unwrap()),
            filesystem,
            files: [const { None }; FILES],
        }
    }

    fn call(&mut self, call: &Call) -> CallOutcome {
        self.try_call(call)
            .unwrap_or_else(|errno| CallOutcome::Error(number_of(errno)))
    }

    fn try_call(&mut self, call: &Call) -> Result<CallOutcome, Errno> {
        let (filesystem, base) = (self.filesystem.clone(), self.base.trail().to_vec());
        filesystem.begin_call();
        let file = |number: usize| self.files[number].as_ref().ok_or(Errno::Badf);
        let bytes = |buffer: &[u8], read: usize| CallOutcome::Bytes(buffer[..read].to_vec());
        let mut buffer = [0; 512];
        Ok(match call {
            Call::Open {
                file,
                path,
                access,
                flags,
            } => {
                let [create, exclusive, truncate, append, directory, nofollow] = *flags;
                let mut kept = FdFlags::empty();
                kept.set(FdFlags::APPEND, append);
                let request = OpenRequest {
                    access: [
                        FileAccessMode::READ,
                        FileAccessMode::WRITE,
                        FileAccessMode::READ | FileAccessMode::WRITE,
                    ][usize::from(*access)],
                    create,
                    exclusive,
                    truncate,
                    directory,
                    follow: !nofollow,
                    flags: kept,
                    mode: 0o644,
                };
                let opened = filesystem.open(&base, path.as_bytes(), request)?;
                let (opened, is_directory) = match opened {
                    Opened::File(file) => (Some(file), 0),
                    Opened::Directory(_) | Opened::StandardStream(_) => (None, 1),
                };
                self.files[*file] = opened;
                CallOutcome::Number(is_directory)
            }
            Call::Close(number) => {
                self.files[*number] = None;
                CallOutcome::Done
            }
            Call::Write(number, byte) => {
                let written = file(*number)?.write(&vec![*byte; usize::from(*byte)])?;
                CallOutcome::Number(written as u64)
            }
            Call::WriteAt(number, at) => {
                file(*number)?.write_at(u64::from(*at), b"at")?;
                CallOutcome::Done
            }
            Call::Read(number) => {
                let read = file(*number)?.read(&mut buffer)?;
                bytes(&buffer, read)
            }
            Call::ReadAt(number, at) => {
                let file = file(*number)?;
                if !file.access().contains(FileAccessMode::READ) {
                    return Err(Errno::Badf);
                }
                let read = file.read_at(u64::from(*at), &mut buffer)?;
                bytes(&buffer, read)
            }
            Call::SeekEnd(number) => {
                CallOutcome::Number(file(*number)?.seek_to(std::io::SeekFrom::End(0))?)
            }
            Call::SeekStart(number, at) => {
                let to = std::io::SeekFrom::Start((*at).into());
                CallOutcome::Number(file(*number)?.seek_to(to)?)
            }
            Call::SetLength(number, length) => {
                file(*number)?.set_length(u64::from(*length))?;
                CallOutcome::Done
            }
            Call::Lock(number, kind) => {
                let file = file(*number)?;
                file.lock(match kind {
                    0 => None,
                    1 => Some(LockKind::Shared),
                    _ => Some(LockKind::Exclusive),
                })?;
                CallOutcome::Done
            }
            Call::FileStatus(number) => self.shown(file(*number)?.status()?),
            Call::Mkdir(path) => {
                filesystem.make_directory(&base, path.as_bytes(), 0o755)?;
                CallOutcome::Done
            }
            Call::Rmdir(path) => {
                filesystem.remove_directory(&base, path.as_bytes())?;
                CallOutcome::Done
            }
            Call::Unlink(path) => {
                filesystem.unlink(&base, path.as_bytes())?;
                CallOutcome::Done
            }
            Call::Symlink(target, path) => {
                filesystem.symlink(target.as_bytes(), &base, path.as_bytes())?;
                CallOutcome::Done
            }
            Call::Link(old, new) => {
                let (old, new) = ((&*base, old.as_bytes()), (&*base, new.as_bytes()));
                filesystem.link(old, LastLink::Keep, new)?;
                CallOutcome::Done
            }
            Call::Rename(old, new) => {
                filesystem.rename((&base, old.as_bytes()), (&base, new.as_bytes()))?;
                CallOutcome::Done
            }
            Call::ReadLink(path) => {
                CallOutcome::Bytes(filesystem.read_link(&base, path.as_bytes())?)
            }
            Call::Status(path, follow) => {
                let last = if *follow {
                    LastLink::Follow
                } else {
                    LastLink::Keep
                };
                self.shown(filesystem.status_of(&base, path.as_bytes(), last)?)
            }
            Call::Chmod(path, mode) => {
                let mode = mode_of(*mode);
                filesystem.set_mode(&base, path.as_bytes(), LastLink::Follow, mode)?;
                CallOutcome::Done
            }
            Call::List(path) => {
                let resolved = filesystem.resolve(&base, path.as_bytes(), LastLink::Follow)?;
                let node = resolved.node()?;
                if filesystem.kind(node) != Some(FileType::Directory) {
                    return Err(Errno::Notdir);
                }
                let mut charge = filesystem.charge_handles(0)?;
                let listed = list(&filesystem, &resolved.into_trail(), &mut charge)?;
                let mut names: Vec<_> = listed.into_iter().map(|entry| entry.name).collect();
                names.sort();
                CallOutcome::Names(names)
            }
        })
    }

    fn shown(&self, status: super::tree::FileStatus) -> CallOutcome {
        let kind = match status.kind {
            FileType::Directory => 0o040_000,
            FileType::SymbolicLink => 0o120_000,
            _ => 0o100_000,
        };
        let of_file = |value: u64| if kind == 0o040_000 { 0 } else { value };
        CallOutcome::Status(
            kind | u32::from(status.mode),
            of_file(u64::from(status.links)),
            of_file(status.size),
        )
    }
}

/// Returns Linux's number of an error.
fn number_of(errno: Errno) -> i32 {
    use rustix::io::Errno as Linux;
    let linux = match errno {
        Errno::Acces => Linux::ACCESS,
        Errno::Again => Linux::AGAIN,
        Errno::Badf => Linux::BADF,
        Errno::Busy => Linux::BUSY,
        Errno::Exist => Linux::EXIST,
        Errno::Inval => Linux::INVAL,
        Errno::Isdir => Linux::ISDIR,
        Errno::Loop => Linux::LOOP,
        Errno::Nametoolong => Linux::NAMETOOLONG,
        Errno::Noent => Linux::NOENT,
        Errno::Notdir => Linux::NOTDIR,
        Errno::Notempty => Linux::NOTEMPTY,
        Errno::Perm => Linux::PERM,
        Errno::Rofs => Linux::ROFS,
        Errno::Xdev => Linux::XDEV,
        other => panic!("no call of Linux fails with {other:?} here"),
    };
    linux.raw_os_error()
}

/// Directories above the one in which the calls work, so that `..` stays inside.
const ABOVE: &str = "x/y/z/w";

fn slug() -> Archive {
    let mut writer = ArchiveWriter::new(Vec::new());
    let file = |writer: &mut ArchiveWriter<Vec<u8>>, name: &str, text: &str| {
        let length = text.len() as u64;
        let name = format!("{ABOVE}/{name}");
        writer
            .add_file(&name, text.as_bytes(), length, FileMode::Plain)
            .unwrap();
    };
    file(&mut writer, "a", "text of a");
    file(&mut writer, "dir/b", "text of b");
    file(&mut writer, "dir/dir/c", "text of c");
    writer
        .add_symlink(&format!("{ABOVE}/link"), "dir/b")
        .unwrap();
    Archive::new(writer.finish().unwrap().output).unwrap()
}

fn filesystem(layer: Option<Arc<BootLayer>>) -> Arc<Filesystem> {
    Arc::new(unmounted_filesystem(layer))
}

fn unmounted_filesystem(layer: Option<Arc<BootLayer>>) -> Filesystem {
    let reserve = NodeReserve::with_sockets(usize::MAX, 1024);
    let account = Account::new(AppShare::new(reserve), TmpLimits::default());
    let process = GuestProcess::new(Arc::from([]), Arc::from([]), SystemTime::now());
    let root = Archive::new(Vec::new()).unwrap();
    let slug = Some(Arc::new(slug()));
    Filesystem::new(Arc::new(root), slug, layer, process, account)
}

/// Makes the directory of Linux that corresponds to the dyno's.
fn linux_tree(root: &Path) -> std::path::PathBuf {
    let base = root.join(ABOVE);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    std::fs::create_dir_all(base.join("dir/dir")).unwrap();
    for (name, text) in [
        ("a", "text of a"),
        ("dir/b", "text of b"),
        ("dir/dir/c", "text of c"),
    ] {
        std::fs::write(base.join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("dir/b", base.join("link")).unwrap();
    base
}

/// Makes the same calls on Linux and in a dyno; after `boot` of them, the dyno is one that an image was made of.
fn compare(calls: &[Call], boot: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut linux = Linux::new(&linux_tree(directory.path()));
    let base = format!("/app/{ABOVE}");
    let mut dyno = DynoSide::new(filesystem(None), &base);
    for (number, call) in calls.iter().enumerate() {
        if number == boot {
            let encoded = BootLayer::encode(&dyno.filesystem.writable(), &[]);
            linux.files = [const { None }; FILES];
            let root = Archive::new(Vec::new()).unwrap();
            let parse = |bytes| BootLayer::parse(bytes, Some(&slug()), &root).unwrap();
            dyno = DynoSide::new(filesystem(encoded.map(parse).map(Arc::new)), &base);
        }
        let (expected, found) = (linux.call(call), dyno.call(call));
        assert_eq!(found, expected, "call {number}: {call:?}");
    }
    compare_trees(&mut linux, &mut dyno);
}

/// Makes the same calls on Linux and on a volume, and counts what the volume has in use.
fn compare_on_volume(calls: &[Call]) {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut linux = Linux::new(&linux_tree(directories[0].path()));
    linux_tree(directories[1].path());
    let quota = VolumeQuota {
        bytes: u64::MAX,
        nodes: u64::MAX,
    };
    let volume = Volume::open(directories[1].path(), quota).unwrap();
    let filesystem = unmounted_filesystem(None).with_volume(Some(volume.clone()));
    let mut dyno = DynoSide::new(Arc::new(filesystem), &format!("/data/{ABOVE}"));
    for (number, call) in calls.iter().enumerate() {
        let (expected, found) = (linux.call(call), dyno.call(call));
        assert_eq!(found, expected, "call {number}: {call:?}");
    }
    compare_trees(&mut linux, &mut dyno);
    drop(dyno);
    let usage = volume.usage();
    volume.recount().unwrap();
    assert_eq!(usage, volume.usage());
}

fn compare_trees(linux: &mut Linux, dyno: &mut DynoSide) {
    // Everything that the calls have left is equal, too.
    let mut remaining = vec![".".to_owned()];
    while let Some(path) = remaining.pop() {
        for call in [Call::Status(path.clone(), false), Call::List(path.clone())] {
            let (expected, found) = (linux.call(&call), dyno.call(&call));
            assert_eq!(found, expected, "afterwards: {call:?}");
            if let (CallOutcome::Names(names), true) = (expected, path.len() < 1000) {
                let names = names
                    .into_iter()
                    .map(|name| String::from_utf8(name).unwrap());
                let names = names.filter(|name| name != "." && name != "..");
                remaining.extend(names.map(|name| format!("{path}/{name}")));
            }
        }
        let access = [false; 6];
        let open = Call::Open {
            file: 0,
            path,
            access: 0,
            flags: access,
        };
        for call in [open, Call::Read(0), Call::Close(0)] {
            assert_eq!(dyno.call(&call), linux.call(&call), "afterwards: {call:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn calls_have_the_results_of_linux(
        calls in prop::collection::vec(call(), 1..50),
        boot in 0_usize..80,
    ) {
        compare(&calls, boot);
    }

    #[test]
    fn calls_on_a_volume_have_the_results_of_linux(calls in prop::collection::vec(call(), 1..50)) {
        compare_on_volume(&calls);
    }
}

#[test]
fn every_combination_of_open_flags_does_what_linux_does() {
    for path in [
        "a",
        "dir",
        "link",
        "none",
        "dir/",
        "a/",
        "none/",
        "a/x",
        "none/x",
        "loop",
        "dangling",
        "dangling/",
        "dirlink",
        "dirlink/",
    ] {
        for combination in 0..3 << 6 {
            let access = (combination % 3) as u8;
            let flags = [0, 1, 2, 3, 4, 5].map(|bit| (combination / 3) & (1 << bit) != 0);
            let open = Call::Open {
                file: 0,
                path: path.to_owned(),
                access,
                flags,
            };
            let link = |target: &str, path: &str| Call::Symlink(target.into(), path.into());
            let calls = [
                link("loop", "loop"),
                link("new", "dangling"),
                link("dir", "dirlink"),
                open,
                Call::Write(0, 20),
                Call::SeekStart(0, 3),
                Call::Write(0, 5),
                Call::Read(0),
                Call::SetLength(0, 30),
                Call::FileStatus(0),
            ];
            compare(&calls, usize::MAX);
            compare_on_volume(&calls);
        }
    }
}
