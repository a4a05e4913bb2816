//! Root filesystem of a pack: Ruby's standard library, and the Ruby code of Corundum.

use std::collections::BTreeMap;

use super::{prelude, system};
use crate::archive::{ArchiveError, ArchiveWriter, FileMode};

/// A file: its path below the root without a leading slash, and its bytes.
pub(super) type LibraryFile = (String, Vec<u8>);

/// Returns Ruby's version, as `rbconfig.rb` records it.
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

/// Returns names and versions of the default and bundled gems, which are the ones with a specification.
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

/// Returns the directories of bundled gems, by the names of the gems.
fn bundled_gems(library: &[LibraryFile]) -> BTreeMap<String, String> {
    let gem = |(path, _): &LibraryFile| {
        let (before, after) = path.split_once("/gems/")?;
        let (scope, inside) = after.split_once("/gems/")?;
        let (folder, _) = inside.split_once('/')?;
        let (name, _) = folder.rsplit_once('-')?;
        Some((
            name.to_owned(),
            format!("/{before}/gems/{scope}/gems/{folder}"),
        ))
    };
    library.iter().filter_map(gem).collect()
}

/// Writes the root filesystem, with the standard library at its original paths, the prelude, and the files of a system
/// with these time zones.
///
/// `gems` are the names of all libraries that count as gems. Slugs link to their directories below the prelude, since
/// editions of a series have different paths and versions.
pub(super) fn root<'a>(
    library: Vec<LibraryFile>,
    zones: Vec<LibraryFile>,
    gems: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<u8>, ArchiveError> {
    let bundled = bundled_gems(&library);
    let mut entries: BTreeMap<String, RootEntry> = BTreeMap::new();
    for (path, mut bytes) in library {
        prelude::adapt(&path, &mut bytes);
        entries.insert(path, RootEntry::File(bytes));
    }
    for (path, bytes) in zones {
        entries.insert(path, RootEntry::File(bytes));
    }
    for (path, text) in system::FILES {
        entries.insert(
            (*path).to_owned(),
            RootEntry::File(text.as_bytes().to_vec()),
        );
    }
    for (name, text) in prelude::FILES {
        let path = format!("{}/{name}", prelude::AT);
        entries.insert(path, RootEntry::File(text.as_bytes().to_vec()));
    }
    for name in gems {
        let path = format!("{}/gems/{name}", prelude::AT);
        let target = bundled.get(name).map_or(NO_FILES, String::as_str);
        entries.insert(path, RootEntry::Symlink(target.to_owned()));
    }
    let mut writer = ArchiveWriter::new(Vec::new());
    for (path, entry) in entries {
        match entry {
            RootEntry::File(bytes) => {
                let length = bytes.len() as u64;
                writer.add_file(&path, bytes.as_slice(), length, FileMode::Plain)?;
            }
            RootEntry::Symlink(target) => writer.add_symlink(&path, &target)?,
        }
    }
    Ok(writer.finish()?.output)
}

/// Target of the link of a library without a directory of its own, from the links' directory.
const NO_FILES: &str = "../stand_ins/unused";

/// A file of the root filesystem, or the target of a link.
enum RootEntry {
    File(Vec<u8>),
    Symlink(String),
}
