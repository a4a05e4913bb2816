//! Reader of `.gem` files: a tar of `metadata.gz`, `data.tar.gz` and `checksums.yaml.gz`.

use std::io::{self, Read};

use corundum_pack::archive::{ArchiveError, FileMode, check_path};
use flate2::read::GzDecoder;

use super::error::GemError;
use super::metadata::{GemMetadata, WrongGem};
use super::specification::GemSpecification;
use crate::checksum::Checksum;
use crate::lockfile::LockedGem;
use crate::tree::Tree;

/// Bytes of a `.gem` file, and of its unpacked data.
pub(super) const MAX_GEM_BYTES: u64 = 100 << 20;
/// Bytes of unpacked metadata.
const MAX_METADATA_BYTES: u64 = 4 << 20;
/// Files of a gem.
const MAX_FILES: usize = 20_000;

/// Files of a gem: path within the gem, content and mode.
pub(super) type GemFiles = Vec<(String, Vec<u8>, FileMode)>;

/// An unpacked gem.
pub(super) struct UnpackedGem {
    pub(super) files: GemFiles,
    /// Scripts that build its native extensions.
    pub(super) extensions: Vec<String>,
    /// Requirement on the version of Ruby; empty if it is unknown.
    pub(super) ruby: Vec<String>,
    pub(super) specification: GemSpecification,
    /// Source of the gem, for the pusher.
    pub(super) source: String,
}

/// A `.gem` file that cannot be unpacked. Whoever made the file is at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackageError {
    /// The file is not a tar archive, or it is truncated.
    #[error("it is not a valid tar archive ({0})")]
    Tar(#[source] io::Error),
    /// A file in it is not valid gzip, tar or UTF-8.
    #[error("{0}: {1}")]
    Content(&'static str, #[source] io::Error),
    /// A required file is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A path leads out of the gem.
    #[error("data.tar.gz: {0}")]
    Path(#[from] ArchiveError),
    /// It has more than [`MAX_FILES`] files.
    #[error("data.tar.gz: more than {MAX_FILES} files")]
    TooManyFiles,
    /// It holds another gem than its name says.
    #[error(transparent)]
    WrongGem(#[from] WrongGem),
}

/// Returns the path at which the app's tree may hold the gem's file.
pub(super) fn vendor_cache_path(name: &str, locked: &LockedGem) -> String {
    format!("vendor/cache/{name}-{}.gem", locked.version)
}

/// Unpacks the gem's file in the tree's `vendor/cache`, if there is one.
pub(super) fn from_vendor_cache(
    tree: &Tree,
    name: &str,
    locked: &LockedGem,
) -> Result<Option<UnpackedGem>, GemError> {
    let file = vendor_cache_path(name, locked);
    let Some(reader) = tree.open(&file)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    reader.take(MAX_GEM_BYTES).read_to_end(&mut bytes)?;
    let damaged = |reason: String| GemError::Damaged {
        file: file.clone(),
        reason,
    };
    let found = Checksum::of(&bytes);
    if let Some(expected) = locked.checksum
        && expected != found
    {
        return Err(damaged(format!(
            "its SHA-256 is {found}, and Gemfile.lock has {expected}"
        )));
    }
    let unpacked = unpack(&bytes, name, locked, "vendor/cache");
    unpacked
        .map(Some)
        .map_err(|error| damaged(error.to_string()))
}

/// Unpacks a `.gem` file and checks that it holds the locked gem.
pub(super) fn unpack(
    bytes: &[u8],
    name: &str,
    locked: &LockedGem,
    source: &str,
) -> Result<UnpackedGem, PackageError> {
    let mut metadata = None;
    let mut files = None;
    let mut outer = tar::Archive::new(bytes);
    for entry in outer.entries().map_err(PackageError::Tar)? {
        let entry = entry.map_err(PackageError::Tar)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match path.as_str() {
            "metadata.gz" => {
                let mut text = String::new();
                let mut reader = GzDecoder::new(entry).take(MAX_METADATA_BYTES);
                reader
                    .read_to_string(&mut text)
                    .map_err(|error| PackageError::Content("metadata.gz", error))?;
                metadata = Some(text);
            }
            "data.tar.gz" => files = Some(unpack_data(GzDecoder::new(entry).take(MAX_GEM_BYTES))?),
            _ => {}
        }
    }
    let text = metadata.ok_or(PackageError::Missing("metadata.gz"))?;
    let metadata = GemMetadata::new(&text);
    metadata.check(name, &locked.version)?;
    Ok(UnpackedGem {
        files: files.ok_or(PackageError::Missing("data.tar.gz"))?,
        extensions: metadata.list("extensions").unwrap_or_default(),
        ruby: metadata.requirement("required_ruby_version"),
        specification: GemSpecification::Metadata(text.clone()),
        source: source.to_owned(),
    })
}

fn unpack_data(reader: impl Read) -> Result<GemFiles, PackageError> {
    let content = |error| PackageError::Content("data.tar.gz", error);
    let mut files = GemFiles::new();
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(content)? {
        let mut entry = entry.map_err(content)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        check_path(&path)?;
        if files.len() >= MAX_FILES {
            return Err(PackageError::TooManyFiles);
        }
        let executable = entry.header().mode().map_err(content)? & 0o100 != 0;
        let mode = match executable {
            true => FileMode::Executable,
            false => FileMode::Plain,
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(content)?;
        files.push((path, bytes, mode));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use corundum_test_support::gem_package::gem_with_specification;

    use super::*;

    fn gem(specification: &str) -> Vec<u8> {
        gem_with_specification(specification, &[("lib/a.rb", "A = 1")])
    }

    fn locked() -> LockedGem {
        LockedGem {
            version: "1.0".to_owned(),
            platforms: Vec::new(),
            dependencies: Vec::new(),
            origin: crate::lockfile::GemOrigin::Servers(std::sync::Arc::default()),
            checksum: None,
        }
    }

    fn read(bytes: &[u8]) -> Result<UnpackedGem, PackageError> {
        unpack(bytes, "a", &locked(), "here")
    }

    const HEAD: &str = "--- !ruby/object:Gem::Specification
name: a
version: !ruby/object:Gem::Version
  version: '1.0'
platform: ruby
dependencies:
- !ruby/object:Gem::Dependency
  name: other
  requirement: !ruby/object:Gem::Requirement
    requirements:
    - - \"~>\"
      - !ruby/object:Gem::Version
        version: '9'
";

    #[test]
    fn gem_is_unpacked() {
        let rest = "extensions: []
require_paths:
- lib
- more
required_ruby_version: !ruby/object:Gem::Requirement
  requirements:
  - - \">=\"
    - !ruby/object:Gem::Version
      version: 2.4.0
  - - \"<\"
    - !ruby/object:Gem::Version
      version: '4'
rubygems_version: 3.5.9
";
        let found = read(&gem(&format!("{HEAD}{rest}"))).unwrap();
        assert!(
            matches!(&found.specification, GemSpecification::Metadata(text) if text.ends_with(rest))
        );
        assert!(found.extensions.is_empty());
        assert_eq!(found.ruby, [">= 2.4.0", "< 4"]);
        assert_eq!(
            found.files,
            [("lib/a.rb".to_owned(), b"A = 1".to_vec(), FileMode::Plain)]
        );
    }

    #[test]
    fn native_extension_is_detected() {
        let metadata = format!("{HEAD}extensions:\n- ext/extconf.rb\n");
        assert_eq!(
            read(&gem(&metadata)).unwrap().extensions,
            ["ext/extconf.rb"]
        );
    }

    #[test]
    fn damaged_gem_is_rejected() {
        let whole = gem(HEAD);
        assert!(read(b"nothing").is_err());
        assert!(read(&whole[..1200]).is_err());
    }

    #[test]
    fn gem_of_another_name_or_version_is_rejected() {
        for (from, to) in [
            ("name: a", "name: b"),
            ("'1.0'", "'1.1'"),
            ("version:", "v:"),
        ] {
            let error = read(&gem(&HEAD.replace(from, to))).err().unwrap();
            let error = error.to_string();
            assert!(error.starts_with("it holds "), "{error}");
        }
    }
}
