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

/// Writes the root filesystem, with the standard library at its original paths, the prelude, and the files of a system
/// with these time zones.
pub(super) fn root(
    library: Vec<LibraryFile>,
    zones: Vec<LibraryFile>,
) -> Result<Vec<u8>, ArchiveError> {
    let mut files: BTreeMap<String, Vec<u8>> = library.into_iter().collect();
    files.extend(zones);
    for (name, text) in system::FILES {
        files.insert((*name).to_owned(), text.as_bytes().to_vec());
    }
    for (name, text) in prelude::FILES {
        files.insert(format!("{}/{name}", prelude::AT), text.as_bytes().to_vec());
    }
    let mut writer = ArchiveWriter::new(Vec::new());
    for (path, bytes) in files {
        writer.add_file(&path, bytes.as_slice(), bytes.len() as u64, FileMode::Plain)?;
    }
    Ok(writer.finish()?.output)
}
