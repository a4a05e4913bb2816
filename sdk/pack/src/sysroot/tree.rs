//! Directories of hard links.

use std::fs;
use std::io;
use std::path::Path;

/// Adds the files below `from` to the directory `to`, as hard links, or as copies where the filesystem has no links.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link(&source, &target)?;
        } else {
            fs::hard_link(&source, &target).or_else(|_| fs::copy(&source, &target).map(drop))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_joined() {
        let root = tempfile::tempdir().unwrap();
        for (part, file) in [("a", "x.h"), ("b", "y.h")] {
            let directory = root.path().join(part).join("usr/include");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), part).unwrap();
            link(&root.path().join(part), &root.path().join("all")).unwrap();
        }
        let read = |file| fs::read(root.path().join("all/usr/include").join(file)).unwrap();
        assert_eq!((read("x.h"), read("y.h")), (b"a".to_vec(), b"b".to_vec()));
    }
}
