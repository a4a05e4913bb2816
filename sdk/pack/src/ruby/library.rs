//! A pack's root filesystem: Ruby's standard library and our own Ruby.

use std::collections::BTreeMap;

use super::prelude;
use crate::archive::{ArchiveError, ArchiveWriter, FileMode};

/// A file by its path below the root, without a leading slash.
pub(super) type LibraryFile = (String, Vec<u8>);

/// Ruby's version, by its own record of itself.
pub(super) fn ruby_version(stdlib: &[LibraryFile]) -> Option<String> {
    let (_, bytes) = stdlib
        .iter()
        .find(|(path, _)| path.ends_with("/rbconfig.rb"))?;
    let text = String::from_utf8_lossy(bytes);
    let setting = |name: &str| {
        let value = text.split(&format!("CONFIG[\"{name}\"] = \"")).nth(1)?;
        value.split('"').next().map(str::to_owned)
    };
    Some([setting("MAJOR")?, setting("MINOR")?, setting("TEENY")?].join("."))
}

/// The libraries of the tree that have a gem's specification: the default and the bundled gems.
pub(super) fn default_gems(stdlib: &[LibraryFile]) -> BTreeMap<String, String> {
    let gem = |(path, _): &LibraryFile| {
        let (folder, file) = path.rsplit_once('/')?;
        let inside =
            folder.ends_with("/specifications") || folder.ends_with("/specifications/default");
        let (name, version) = file
            .strip_suffix(".gemspec")
            .filter(|_| inside)?
            .rsplit_once('-')?;
        Some((name.to_owned(), version.to_owned()))
    };
    stdlib.iter().filter_map(gem).collect()
}

/// The root filesystem: the standard library where it was, and the prelude.
pub(super) fn root(library: Vec<LibraryFile>) -> Result<Vec<u8>, ArchiveError> {
    let mut files: BTreeMap<String, Vec<u8>> = library.into_iter().collect();
    for (name, text) in prelude::FILES {
        files.insert(format!("{}/{name}", prelude::AT), text.as_bytes().to_vec());
    }
    let mut writer = ArchiveWriter::new(Vec::new());
    for (path, bytes) in files {
        writer.add_file(&path, bytes.as_slice(), bytes.len() as u64, FileMode::Plain)?;
    }
    Ok(writer.finish()?.output)
}
