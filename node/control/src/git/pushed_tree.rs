//! The tree of a pushed commit: listed within bounds before anything of it is read, then streamed to the build.
//!
//! A tree object may name one subtree many times, so that a pack of a kilobyte holds millions of paths. Git lists them one
//! by one, and the list ends at a bound. The result is what `git checkout` would write: no attribute of the tree changes or
//! leaves out a file, as `export-ignore` and `export-subst` do in `git archive`.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use corundum_build::TreeStream;
use corundum_compiler::tree::{
    MAX_ALL_PATHS_BYTES, MAX_ENTRIES, MAX_PATH_BYTES, MAX_TARGET_BYTES, MAX_TREE_BYTES,
    SUBMODULE_ENTRY, TreeError,
};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::process::Command;

use super::command::GitProcess;
use super::object_reader::ObjectReader;

/// The time to list a tree.
const LIST: Duration = Duration::from_secs(2 * 60);
/// The time to read all of a tree's files, longer than that of a build, which ends the reading by itself.
const READ: Duration = Duration::from_secs(20 * 60);
/// Bytes of one line of `git ls-tree` beside the path.
const MAX_FIELDS: u64 = 256;
/// Bytes between git and the build process.
const BUFFER: usize = 256 << 10;
/// Bytes of a tar block.
const BLOCK: usize = 512;

/// A tree that cannot be listed or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushedTreeError {
    /// The tree exceeds a bound; the pusher makes it smaller.
    #[error("{0}\n\nPush rejected, failed to compile app.")]
    Tree(#[from] TreeError),
    /// Git cannot be run.
    #[error("git cannot be run: {0}")]
    Run(#[from] io::Error),
    /// Git ended early, or answered what it should not: an object is missing or too large for its limits.
    #[error("git could not list the pushed tree; push again")]
    Git,
}

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemKind {
    File,
    Executable,
    Link,
    Submodule,
}

/// An entry of the tree.
#[derive(Debug, PartialEq, Eq)]
struct TreeItem {
    path: Vec<u8>,
    kind: ItemKind,
    object: String,
    /// Bytes of its content; none for a submodule.
    size: u64,
}

/// The listed tree of a commit.
#[derive(Debug)]
pub(crate) struct PushedTree {
    items: Vec<TreeItem>,
}

impl PushedTree {
    /// Lists a commit's tree. `git` makes git commands in the repository of the push.
    ///
    /// # Errors
    ///
    /// [`PushedTreeError`].
    pub(crate) async fn list(
        git: impl Fn() -> Command,
        commit: &str,
    ) -> Result<Self, PushedTreeError> {
        let mut list = git();
        list.args(["ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = GitProcess::spawn(list)?;
        let output = BufReader::new(process.take_output()?);
        // The process is killed when this returns early.
        let items = tokio::time::timeout(LIST, read_list(output)).await;
        let items = items.map_err(|_| PushedTreeError::Git)??;
        if !process.wait().await?.success() {
            return Err(PushedTreeError::Git);
        }
        Ok(Self { items })
    }

    /// Returns whether the tree has a file at `path`.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        let is_file = |item: &TreeItem| {
            item.path == path.as_bytes()
                && matches!(item.kind, ItemKind::File | ItemKind::Executable)
        };
        self.items.iter().any(is_file)
    }

    /// Reads the text files at `paths` whose size is at most `limit`. Returns an error with the path of a larger one.
    ///
    /// # Errors
    ///
    /// [`TreeError::Long`] in [`PushedTreeError::Tree`].
    pub(crate) async fn texts<const N: usize>(
        &self,
        git: impl Fn() -> Command,
        paths: [&str; N],
        limit: u64,
    ) -> Result<[Option<Vec<u8>>; N], PushedTreeError> {
        let mut reader = None;
        let mut texts = [const { None }; N];
        for (text, path) in texts.iter_mut().zip(paths) {
            let is_file = |item: &&TreeItem| {
                item.path == path.as_bytes()
                    && matches!(item.kind, ItemKind::File | ItemKind::Executable)
            };
            let Some(item) = self.items.iter().find(is_file) else {
                continue;
            };
            if item.size > limit {
                return Err(TreeError::Long(path.to_owned()).into());
            }
            if reader.is_none() {
                reader = Some(ObjectReader::start(git())?);
            }
            if let Some(reader) = &mut reader {
                *text = Some(reader.small(&item.object, item.size).await?);
            }
        }
        Ok(texts)
    }

    /// Starts to read the tree's files; the result is a tar stream for the build process.
    ///
    /// # Errors
    ///
    /// Git cannot be started.
    pub(crate) fn stream(self, git: Command) -> io::Result<TreeStream> {
        let reader = ObjectReader::start(git)?;
        let (tar, output) = tokio::io::duplex(BUFFER);
        // When the build ends early, the write fails, and the task ends.
        let work = write_tar(self.items, reader, output);
        let task = tokio::spawn(async move {
            let done = tokio::time::timeout(READ, work).await;
            done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        Ok(TreeStream::new(tar, async move {
            match task.await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not read a pushed tree");
                    false
                }
                Err(_) => false,
            }
        }))
    }
}

/// Reads the output of `git ls-tree`.
async fn read_list(
    mut output: impl AsyncBufRead + Unpin,
) -> Result<Vec<TreeItem>, PushedTreeError> {
    let (mut items, mut directories, mut paths, mut bytes) = (Vec::new(), 0, 0, 0u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = MAX_FIELDS + MAX_PATH_BYTES as u64;
        (&mut output).take(most).read_until(0, &mut line).await?;
        if line.is_empty() {
            return Ok(items);
        }
        let ended = line.pop() == Some(0);
        let Some(parsed) = parse_line(&line) else {
            return Err(PushedTreeError::Git);
        };
        let (item, path) = parsed;
        if !ended || path.len() > MAX_PATH_BYTES {
            let path = String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
            return Err(TreeError::LongPath(path).into());
        }
        paths += path.len();
        if paths > MAX_ALL_PATHS_BYTES {
            return Err(TreeError::Paths.into());
        }
        let Some((kind, object, size)) = item else {
            directories += 1;
            if directories > MAX_ENTRIES {
                return Err(TreeError::Directories.into());
            }
            continue;
        };
        if kind == ItemKind::Link && size > MAX_TARGET_BYTES as u64 {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(TreeError::Target(path).into());
        }
        bytes = bytes.saturating_add(size);
        if bytes > MAX_TREE_BYTES {
            return Err(TreeError::tree_size(MAX_TREE_BYTES).into());
        }
        items.push(TreeItem {
            path: path.to_vec(),
            kind,
            object,
            size,
        });
        if items.len() > MAX_ENTRIES {
            return Err(TreeError::Entries.into());
        }
    }
}

/// Kind, object and size of an entry that is not a directory.
type ItemFields = (ItemKind, String, u64);

/// Parses `MODE TYPE OBJECT SIZE<tab>PATH`. The item is `None` for a directory.
fn parse_line(line: &[u8]) -> Option<(Option<ItemFields>, &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (fields, path) = (std::str::from_utf8(&line[..tab]).ok()?, &line[tab + 1..]);
    let mut fields = fields.split_ascii_whitespace();
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (kind, object, size) = (fields.next()?, fields.next()?, fields.next()?);
    let kind = match (kind, mode & 0o170_000) {
        ("tree", _) => return Some((None, path)),
        ("commit", _) => return Some((Some((ItemKind::Submodule, object.to_owned(), 0)), path)),
        ("blob", 0o120_000) => ItemKind::Link,
        ("blob", _) if mode & 0o100 != 0 => ItemKind::Executable,
        ("blob", _) => ItemKind::File,
        _ => return None,
    };
    Some((Some((kind, object.to_owned(), size.parse().ok()?)), path))
}

/// Writes a tar stream of the items to `output`.
async fn write_tar(
    items: Vec<TreeItem>,
    mut reader: ObjectReader,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let objects: Vec<String> = items
        .iter()
        .filter(|item| item.kind != ItemKind::Submodule)
        .map(|item| item.object.clone())
        .collect();
    let requests = reader.request_all(objects)?;
    let work = async {
        for item in items {
            write_item(&item, &mut reader, &mut output).await?;
        }
        output.write_all(&[0; 2 * BLOCK]).await?;
        output.shutdown().await
    };
    // The requests fail when git has ended, which the answers tell better.
    let (result, _) = tokio::join!(work, requests);
    result
}

async fn write_item(
    item: &TreeItem,
    reader: &mut ObjectReader,
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    match item.kind {
        ItemKind::Submodule => {
            let head = tar_head(
                &item.path,
                tar::EntryType::new(SUBMODULE_ENTRY),
                0o755,
                0,
                None,
            );
            output.write_all(&head).await
        }
        ItemKind::Link => {
            let target = reader.answer(item.size).await?;
            let kind = tar::EntryType::Symlink;
            let head = tar_head(&item.path, kind, 0o777, 0, Some(&target));
            output.write_all(&head).await
        }
        ItemKind::File | ItemKind::Executable => {
            let executable = item.kind == ItemKind::Executable;
            let mode = if executable { 0o755 } else { 0o644 };
            let kind = tar::EntryType::Regular;
            let head = tar_head(&item.path, kind, mode, item.size, None);
            output.write_all(&head).await?;
            reader.answer_into(item.size, output).await?;
            output.write_all(padding(item.size)).await
        }
    }
}

/// Returns the zeros that fill the last block of a content.
fn padding(size: u64) -> &'static [u8] {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    &[0; BLOCK][..(BLOCK - over) % BLOCK]
}

/// Makes the header of an entry, with headers before it for a long path or target (GNU tar's format).
///
/// Path and target are taken as they are; the tar crate's own setters change some.
fn tar_head(
    path: &[u8],
    kind: tar::EntryType,
    mode: u32,
    size: u64,
    target: Option<&[u8]>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    let target = target.unwrap_or_default();
    if let Some(header) = header.as_gnu_mut() {
        set_name(
            &mut bytes,
            &mut header.name,
            path,
            tar::EntryType::GNULongName,
        );
        let kind = tar::EntryType::GNULongLink;
        set_name(&mut bytes, &mut header.linkname, target, kind);
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// Sets a name field, and writes the header of a long name before it if the name does not fit.
fn set_name(bytes: &mut Vec<u8>, field: &mut [u8; 100], name: &[u8], kind: tar::EntryType) {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    if name.len() < field.len() {
        return;
    }
    let size = name.len() as u64 + 1;
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    if let Some(header) = header.as_gnu_mut() {
        header.name[..13].copy_from_slice(b"././@LongLink");
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(name);
    bytes.push(0);
    bytes.extend_from_slice(padding(size));
}

#[cfg(test)]
mod tests {
    use corundum_compiler::tree::Tree;

    use super::*;

    const OBJECT: &str = "0123456789012345678901234567890123456789";

    fn line(mode: &str, kind: &str, size: &str, path: &str) -> Vec<u8> {
        format!("{mode} {kind} {OBJECT} {size:>7}\t{path}\0").into_bytes()
    }

    async fn read(lines: &[Vec<u8>]) -> Result<Vec<TreeItem>, PushedTreeError> {
        read_list(lines.concat().as_slice()).await
    }

    #[tokio::test]
    async fn entries_are_parsed() {
        let items = read(&[
            line("100644", "blob", "12", "a\tb\n\\c"),
            line("040000", "tree", "-", "d"),
            line("100755", "blob", "0", "d/run"),
            line("120000", "blob", "3", "link"),
            line("160000", "commit", "-", "sub"),
        ])
        .await
        .unwrap();
        let kinds: Vec<_> = items
            .iter()
            .map(|item| (String::from_utf8_lossy(&item.path), item.kind, item.size))
            .collect();
        assert_eq!(
            kinds,
            [
                ("a\tb\n\\c".into(), ItemKind::File, 12),
                ("d/run".into(), ItemKind::Executable, 0),
                ("link".into(), ItemKind::Link, 3),
                ("sub".into(), ItemKind::Submodule, 0),
            ]
        );
    }

    #[tokio::test]
    async fn bounds_end_the_list() {
        async fn assert_bound(lines: &[Vec<u8>], words: &str) {
            let error = read(lines).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let file = line("100644", "blob", "1", "a");
        assert_bound(&vec![file; MAX_ENTRIES + 1], "more than 100000 files").await;
        let tree = line("040000", "tree", "-", "a");
        assert_bound(&vec![tree; MAX_ENTRIES + 1], "more than 100000 folders").await;
        let large = line("100644", "blob", &(1u64 << 29).to_string(), "a");
        assert_bound(&vec![large; 3], "larger than 1024.0M").await;
        let deep = line("040000", "tree", "-", &"a/".repeat(MAX_PATH_BYTES));
        assert_bound(&[deep], "longer than 1024 bytes").await;
        let target = line("120000", "blob", "5000", "a");
        assert_bound(&[target], "target").await;
        let long = line("100644", "blob", "1", &"p".repeat(1000));
        assert_bound(&vec![long; 70_000], "longer than 64.0M together").await;
    }

    #[tokio::test]
    async fn output_that_is_not_a_list_is_an_error() {
        for bad in [
            "",
            "x",
            "100644 blob",
            "100644 blob 0 BAD\ta",
            "9 blob 0 1\ta",
        ] {
            let bad = format!("{bad}\0").into_bytes();
            assert!(matches!(read(&[bad]).await, Err(PushedTreeError::Git)));
        }
    }

    #[test]
    fn heads_keep_names_to_the_byte() {
        for path in [
            "a",
            "a\\b\nc",
            &"p".repeat(99),
            &"p".repeat(100),
            &"p".repeat(1000),
        ] {
            for target in ["x/", "./x//y", &"t".repeat(100), &"t".repeat(4000)] {
                let kind = tar::EntryType::Symlink;
                let head = tar_head(path.as_bytes(), kind, 0o777, 0, Some(target.as_bytes()));
                let tar = [head, vec![0; 2 * BLOCK]].concat();
                let tree = Tree::read(tar.as_slice(), 1 << 20).unwrap();
                let entries: Vec<_> = tree.entries().collect();
                let link = corundum_compiler::tree::TreeEntry::Symlink(target.to_owned());
                assert_eq!(entries, [(path, &link)]);
            }
        }
        assert_eq!(padding(0).len() + padding(512).len(), 0);
        assert_eq!((padding(1).len(), padding(511).len()), (511, 1));
    }
}
