//! Files of the working tree.

use std::path::{Path, PathBuf};

/// A file of the working tree.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// Directories with files that are built, downloaded or private to a tool.
const EXCLUDED: [&str; 3] = ["target", "node_modules", ".git"];

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().unwrap().to_owned()
}

/// Returns all text files whose names end with one of `endings`, sorted by path.
pub(crate) fn files(endings: &[&str]) -> Vec<TreeFile> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &root, endings, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "no {endings:?} in {}", root.display());
    files
}

fn collect(root: &Path, directory: &Path, endings: &[&str], files: &mut Vec<TreeFile>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !EXCLUDED.contains(&name.as_str()) {
                collect(root, &path, endings, files);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            // Files that are not UTF-8 are data.
            if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap();
                files.push(TreeFile {
                    path: path.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
}
