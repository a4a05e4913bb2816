//! The pushed tree of an app, read from a tar stream.
//!
//! The tree has every name that Linux and a dyno can hold, and links as they are: only the dyno's virtual file system
//! follows them. The reader rejects paths that could leave the app or be part of git's own directory.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use corundum_pack::archive::{ArchiveError, ArchiveWriter, FileMode, check_path};

use crate::report::human_size;
use crate::text;

/// Files and links of an app. Heroku's largest apps have some ten thousands. Each costs the node an index entry.
pub const MAX_ENTRIES: usize = 100_000;
/// Bytes of a pushed tree. `.slugignore` may leave out half of it, so it exceeds the limit of a slug.
pub const MAX_TREE_BYTES: u64 = 1 << 30;
/// Bytes of one path, below `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 1024;
/// Bytes of a symbolic link's target, below `PATH_MAX`.
pub const MAX_TARGET_BYTES: usize = 4095;
/// Type of a tar entry that stands for a submodule, whose files are in another repository.
pub const SUBMODULE_ENTRY: u8 = b'C';
/// Folder of a slug that is reserved for the platform.
const RESERVED: &str = ".corundum";
/// Bytes of a file that is read as text, for example a Procfile.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Bytes of the paths of all files and directories. Without a bound, a hundred thousand files below five hundred directories
/// each would take 50 GB.
pub const MAX_ALL_PATHS_BYTES: usize = 64 << 20;

/// A tree that cannot be built. The pusher corrects it, unless a variant names another fault.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A path leaves the tree or is invalid.
    #[error("{0:?} is not a path inside the app; remove it from the repository")]
    Path(String),
    /// A file would be part of git's own directory.
    #[error("{0:?} would be part of the directory .git; remove it from the repository")]
    Git(String),
    /// A path is too long.
    #[error(
        "{0:?}… is a path longer than {MAX_PATH_BYTES} bytes; shorten the names of its folders"
    )]
    LongPath(String),
    /// The target of a symbolic link is too long.
    #[error("{0:?} is a link with a target longer than {MAX_TARGET_BYTES} bytes; remove it")]
    Target(String),
    /// A folder is a submodule, whose files git does not push.
    #[error(
        "{0:?} is a git submodule, and git push does not send its files\nAdd them to this repository: git rm --cached {0}, then remove {0}/.git and the entry in .gitmodules, and git add {0}\nIf a running app does not need them, list {0} in .slugignore."
    )]
    Submodule(String),
    /// An entry is a device, a pipe or a hard link.
    #[error("{0:?} is neither a file, a directory nor a symbolic link")]
    Kind(String),
    /// A file is in the folder that is reserved for the platform.
    #[error("{0:?} is reserved for the platform; remove it from the repository")]
    Reserved(String),
    /// The app has too many files.
    #[error(
        "the app has more than {MAX_ENTRIES} files; list those that a running app does not need in .slugignore"
    )]
    Entries,
    /// The paths are too long.
    #[error(
        "the paths of the app's files and directories are longer than {} together; use shorter names and fewer directories",
        human_size(MAX_ALL_PATHS_BYTES as u64)
    )]
    Paths,
    /// The app has too many folders.
    #[error("the app has more than {MAX_ENTRIES} folders; remove those that it does not need")]
    Directories,
    /// The tree is too large.
    #[error(
        "the pushed tree is larger than {0}; keep large files elsewhere, because a slug may have 500M"
    )]
    Size(String),
    /// A file that is read as text is not UTF-8.
    #[error("{0}: not UTF-8 text")]
    Text(String),
    /// A file that is read as text is too long.
    #[error("{0}: larger than {max}", max = human_size(MAX_TEXT_BYTES))]
    Long(String),
    /// The stream is damaged or the disk is full: the platform's fault.
    #[error("the app's tree could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A file or symbolic link of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEntry {
    /// A file, whose bytes lie in the spool.
    File {
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Permissions.
        mode: FileMode,
    },
    /// A symbolic link, with its target as in the repository.
    Symlink(String),
}

impl From<ArchiveError> for TreeError {
    /// An archive of the tree is written for the build alone, so that its failure is that of the disk.
    fn from(error: ArchiveError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

impl TreeError {
    /// Creates the error of a tree larger than `limit` bytes.
    pub fn tree_size(limit: u64) -> Self {
        Self::Size(human_size(limit))
    }
}

/// The tree of an app.
///
/// The content of its files lies in an unnamed temporary file, the spool, so that memory holds only the paths.
#[derive(Debug)]
pub struct Tree {
    spool: std::fs::File,
    entries: BTreeMap<String, TreeEntry>,
    submodules: Vec<String>,
    /// Names, for a message, of what a dyno's file system cannot hold.
    left_out: Vec<String>,
    /// Bytes in the spool.
    length: u64,
    /// Limit of bytes in the spool.
    limit: u64,
}

impl Tree {
    /// Reads a tree of at most `limit` bytes from a tar stream.
    ///
    /// # Errors
    ///
    /// [`TreeError`].
    pub fn read(tar: impl Read, limit: u64) -> Result<Self, TreeError> {
        let mut spool = tempfile::tempfile()?;
        let mut entries = BTreeMap::new();
        let mut paths = PathBudget::default();
        let (mut submodules, mut left_out) = (Vec::new(), Vec::new());
        let mut length = 0u64;
        let mut seen = 0;
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(TreeError::Entries);
            }
            let kind = entry.header().entry_type();
            if matches!(
                kind,
                tar::EntryType::XGlobalHeader | tar::EntryType::XHeader
            ) {
                continue;
            }
            let bytes = entry.path_bytes().into_owned();
            let bytes = bytes.strip_suffix(b"/").unwrap_or(&bytes);
            let Ok(path) = std::str::from_utf8(bytes) else {
                left_out.push(bytes.escape_ascii().to_string());
                continue;
            };
            check(path)?;
            if path == RESERVED || path.starts_with(".corundum/") {
                return Err(TreeError::Reserved(path.to_owned()));
            }
            paths.add(path)?;
            let new = match kind {
                tar::EntryType::Directory => continue,
                tar::EntryType::Regular => {
                    let size = entry.size();
                    length = grown(length, size, limit)?;
                    let offset = spool.stream_position()?;
                    std::io::copy(&mut entry, &mut spool)?;
                    let executable = entry.header().mode()? & 0o100 != 0;
                    let mode = if executable {
                        FileMode::Executable
                    } else {
                        FileMode::Plain
                    };
                    TreeEntry::File {
                        offset,
                        length: size,
                        mode,
                    }
                }
                tar::EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    if target.len() > MAX_TARGET_BYTES {
                        return Err(TreeError::Target(path.to_owned()));
                    }
                    match std::str::from_utf8(&target) {
                        Ok(target) if !target.is_empty() => TreeEntry::Symlink(target.to_owned()),
                        _ => {
                            left_out.push(path.to_owned());
                            continue;
                        }
                    }
                }
                kind if kind.as_byte() == SUBMODULE_ENTRY => {
                    submodules.push(path.to_owned());
                    continue;
                }
                _ => return Err(TreeError::Kind(path.to_owned())),
            };
            entries.insert(path.to_owned(), new);
        }
        spool.flush()?;
        Ok(Self {
            spool,
            entries,
            submodules,
            left_out,
            length,
            limit,
        })
    }

    /// Returns the paths of submodules.
    pub fn submodules(&self) -> &[String] {
        &self.submodules
    }

    /// Returns the names, made printable, of files and links that a dyno cannot hold, because a name or a target is not
    /// UTF-8.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Returns the paths and targets of links that lead out of the app. In a dyno they lead to the dyno's own files.
    pub fn links_out(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries().filter_map(|(path, entry)| match entry {
            TreeEntry::Symlink(target) if !stays_inside(path, target) => {
                Some((path, target.as_str()))
            }
            _ => None,
        })
    }

    /// Returns files and links in the order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &TreeEntry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// Returns whether there is a file at `path`.
    pub fn has_file(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(TreeEntry::File { .. }))
    }

    /// Opens the file at `path`. Returns none if there is no file.
    ///
    /// # Errors
    ///
    /// The spool cannot be read.
    pub fn open(&self, path: &str) -> std::io::Result<Option<impl Read + '_>> {
        let Some(TreeEntry::File { offset, length, .. }) = self.entries.get(path) else {
            return Ok(None);
        };
        let mut file = &self.spool;
        file.seek(SeekFrom::Start(*offset))?;
        Ok(Some(file.take(*length)))
    }

    /// Reads the text of a small file. Returns none if there is no file.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`], [`TreeError::Text`], [`TreeError::Long`].
    pub fn text(&self, path: &str) -> Result<Option<String>, TreeError> {
        let Some(reader) = self.open(path)? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        reader.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(TreeError::Long(path.to_owned()));
        }
        let text = text::decode(text);
        Ok(Some(text.ok_or_else(|| TreeError::Text(path.to_owned()))?))
    }

    /// Returns whether `path` or a directory above it is a symbolic link.
    pub(crate) fn has_link(&self, path: &str) -> bool {
        let is_link = |part: &str| matches!(self.entries.get(part), Some(TreeEntry::Symlink(_)));
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        is_link(path) || above.any(is_link)
    }

    /// Adds an entry of the tree to an archive.
    ///
    /// # Errors
    ///
    /// The error of the archive, or that of reading the spooled tree.
    pub(crate) fn archive_entry<W: Write, E: From<ArchiveError> + From<io::Error>>(
        &self,
        writer: &mut ArchiveWriter<W>,
        path: &str,
        entry: &TreeEntry,
    ) -> Result<(), E> {
        match entry {
            TreeEntry::File { length, mode, .. } => {
                if let Some(content) = self.open(path)? {
                    writer.add_file(path, content, *length, *mode)?;
                }
            }
            TreeEntry::Symlink(target) => writer.add_symlink(path, target)?,
        }
        Ok(())
    }

    /// Adds a file that the build has made, or replaces one.
    ///
    /// # Errors
    ///
    /// [`TreeError::Path`], [`TreeError::Size`], [`TreeError::Io`].
    pub fn add(&mut self, path: &str, bytes: &[u8], mode: FileMode) -> Result<(), TreeError> {
        check_path(path).map_err(|_| TreeError::Path(path.to_owned()))?;
        let length = bytes.len() as u64;
        self.length = grown(self.length, length, self.limit)?;
        let offset = self.spool.seek(SeekFrom::End(0))?;
        self.spool.write_all(bytes)?;
        self.entries.insert(
            path.to_owned(),
            TreeEntry::File {
                offset,
                length,
                mode,
            },
        );
        Ok(())
    }

    /// Adds a symbolic link that the build has made, or replaces one.
    ///
    /// # Errors
    ///
    /// [`TreeError::Path`].
    pub fn add_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        check_path(path).map_err(|_| TreeError::Path(path.to_owned()))?;
        let link = TreeEntry::Symlink(target.to_owned());
        self.entries.insert(path.to_owned(), link);
        Ok(())
    }

    /// Removes all files, links and submodules whose path satisfies `condition`.
    pub fn remove_if(&mut self, condition: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| !condition(path));
        self.submodules.retain(|path| !condition(path));
    }
}

/// Adds to the length of a spool, within its limit.
fn grown(length: u64, by: u64, limit: u64) -> Result<u64, TreeError> {
    let grown = length.checked_add(by).filter(|length| *length <= limit);
    grown.ok_or_else(|| TreeError::tree_size(limit))
}

/// Rejects paths that leave the app or could overwrite the directory `.git`.
fn check(path: &str) -> Result<(), TreeError> {
    if path.len() > MAX_PATH_BYTES || check_path(path).is_err() {
        return Err(TreeError::Path(path.to_owned()));
    }
    // Some file systems take these names for `.git` too: they ignore case, trailing dots and spaces, and NTFS has a
    // short name for it.
    let is_git = |part: &str| {
        let plain = part.trim_end_matches(['.', ' ']).to_ascii_lowercase();
        plain == ".git" || plain == "git~1"
    };
    if path.split('/').any(is_git) {
        return Err(TreeError::Git(path.to_owned()));
    }
    Ok(())
}

/// Paths of files and directories so far.
#[derive(Default)]
struct PathBudget {
    known: HashSet<String>,
    /// Bytes of the paths.
    length: usize,
}

impl PathBudget {
    /// Counts a path and the directories above it that are new.
    fn add(&mut self, path: &str) -> Result<(), TreeError> {
        let mut part = path;
        while self.known.insert(part.to_owned()) {
            self.length += part.len();
            if self.length > MAX_ALL_PATHS_BYTES {
                return Err(TreeError::Paths);
            }
            let Some((above, _)) = part.rsplit_once('/') else {
                break;
            };
            part = above;
        }
        Ok(())
    }
}

/// Returns whether a link at `path` to `target` stays inside the tree.
///
/// The check counts `..` in the text and follows no other link. Only the dyno's virtual file system follows links, so
/// none of them reaches files of the host.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            "." | "" => {}
            _ => depth += 1,
        }
    }
    !target.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 10 << 20;

    fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let mut name = [0; 100];
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_gnu_mut().unwrap().name = name;
            let is_file = *kind == tar::EntryType::Regular;
            if !is_file {
                header.as_gnu_mut().unwrap().linkname[..content.len()]
                    .copy_from_slice(content.as_bytes());
            }
            header.set_size(if is_file { content.len() as u64 } else { 0 });
            header.set_cksum();
            builder
                .append(&header, if is_file { content.as_bytes() } else { b"" })
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn file(path: &str) -> Result<Tree, TreeError> {
        Tree::read(
            tar(&[(path, tar::EntryType::Regular, "x")]).as_slice(),
            LIMIT,
        )
    }

    fn link(path: &str, target: &str) -> Result<Tree, TreeError> {
        Tree::read(
            tar(&[(path, tar::EntryType::Symlink, target)]).as_slice(),
            LIMIT,
        )
    }

    #[test]
    fn tree_is_read_with_its_content() {
        let bytes = tar(&[
            ("b/c.txt", tar::EntryType::Regular, "hello"),
            ("a", tar::EntryType::Symlink, "b/c.txt"),
        ]);
        let tree = Tree::read(bytes.as_slice(), LIMIT).unwrap();
        assert_eq!(tree.text("b/c.txt").unwrap().as_deref(), Some("hello"));
        assert_eq!(
            tree.entries().map(|(path, _)| path).collect::<Vec<_>>(),
            ["a", "b/c.txt"]
        );
        assert_eq!(tree.text("a").unwrap(), None);
    }

    #[test]
    fn paths_out_of_the_tree_are_rejected() {
        for bad in ["../x", "/etc/passwd", "a/../../b", "a//b", "./a"] {
            assert!(matches!(file(bad), Err(TreeError::Path(_))), "{bad}");
        }
    }

    #[test]
    fn every_name_of_linux_in_utf8_is_kept() {
        let names = [
            "a\\b", "a\nb", "\u{1}", " ", "CON", "a:b", "Lib/a", "lib/a", "LIB/a", "*?\"<>|",
        ];
        let kind = tar::EntryType::Regular;
        let entries: Vec<_> = names.iter().map(|name| (*name, kind, *name)).collect();
        let tree = Tree::read(tar(&entries).as_slice(), LIMIT).unwrap();
        for name in names {
            assert_eq!(tree.text(name).unwrap().as_deref(), Some(name));
        }
    }

    #[test]
    fn names_and_targets_that_are_not_utf8_are_left_out() {
        let mut bytes = tar(&[
            ("cafe", tar::EntryType::Regular, "x"),
            ("link", tar::EntryType::Symlink, "to"),
            ("kept", tar::EntryType::Regular, "y"),
        ]);
        for (start, at, linked) in [(0, 3, false), (1024, 157, true)] {
            let header = &mut bytes[start..start + 512];
            header[at] = 0xe9;
            let mut header = tar::Header::from_byte_slice(header).clone();
            assert_eq!(header.entry_type().is_symlink(), linked);
            header.set_cksum();
            bytes[start..start + 512].copy_from_slice(header.as_bytes());
        }
        let tree = Tree::read(bytes.as_slice(), LIMIT).unwrap();
        let kept: Vec<_> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(
            (kept, tree.left_out()),
            (
                vec!["kept"],
                &["caf\\xe9".to_owned(), "link".to_owned()][..]
            )
        );
    }

    #[test]
    fn git_directory_is_rejected_in_every_spelling() {
        for bad in [".git/config", "a/.GIT/hooks/x", ".git. /x", "GIT~1/x"] {
            assert!(matches!(file(bad), Err(TreeError::Git(_))), "{bad}");
        }
        assert!(file(".github/x").is_ok());
    }

    #[test]
    fn links_keep_their_targets_and_those_that_leave_are_known() {
        for (path, target, leaves) in [
            ("a", "/etc", true),
            ("a", "../x", true),
            ("a/b", "../../x", true),
            ("a", "b/../../c", true),
            ("a/b", "../c", false),
            ("a", "b/", false),
            ("a", ".//b", false),
        ] {
            let tree = link(path, target).unwrap();
            let kept = TreeEntry::Symlink(target.to_owned());
            assert_eq!(tree.entries().collect::<Vec<_>>(), [(path, &kept)]);
            assert_eq!(tree.links_out().count(), usize::from(leaves), "{target}");
        }
    }

    #[test]
    fn submodules_are_listed_until_they_are_removed() {
        let kind = tar::EntryType::new(SUBMODULE_ENTRY);
        let bytes = tar(&[("lib/sub", kind, ""), ("other", kind, "")]);
        let mut tree = Tree::read(bytes.as_slice(), LIMIT).unwrap();
        assert_eq!(tree.submodules(), ["lib/sub", "other"]);
        tree.remove_if(|path| path.starts_with("lib/"));
        assert_eq!(tree.submodules(), ["other"]);
    }

    #[test]
    fn paths_are_limited_together() {
        let mut paths = PathBudget::default();
        let deep = |index: usize| format!("{index}{}", "/a".repeat(500));
        let refused = (0..1000).find_map(|index| paths.add(&deep(index)).err());
        assert!(matches!(refused, Some(TreeError::Paths)));
        let mut paths = PathBudget::default();
        for index in 0..MAX_ENTRIES {
            paths
                .add(&format!(
                    "node_modules/package-{}/lib/{index}.js",
                    index / 10
                ))
                .unwrap();
        }
    }

    #[test]
    fn devices_and_hard_links_are_rejected() {
        for kind in [
            tar::EntryType::Char,
            tar::EntryType::Fifo,
            tar::EntryType::Link,
        ] {
            let bytes = tar(&[("a", kind, "b")]);
            assert!(matches!(
                Tree::read(bytes.as_slice(), LIMIT),
                Err(TreeError::Kind(_))
            ));
        }
    }

    #[test]
    fn reserved_files_are_rejected() {
        assert!(matches!(
            file(".corundum/app.json"),
            Err(TreeError::Reserved(_))
        ));
    }

    #[test]
    fn size_and_number_of_files_are_limited() {
        let bytes = tar(&[("a", tar::EntryType::Regular, "four")]);
        assert!(matches!(
            Tree::read(bytes.as_slice(), 3),
            Err(TreeError::Size(_))
        ));
        let names: Vec<String> = (0..=MAX_ENTRIES).map(|index| index.to_string()).collect();
        let entries: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), tar::EntryType::Regular, ""))
            .collect();
        assert!(matches!(
            Tree::read(tar(&entries).as_slice(), LIMIT),
            Err(TreeError::Entries)
        ));
    }
}
