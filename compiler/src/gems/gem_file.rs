//! `.gem` files, of the app's `vendor/cache` or of a server: a tar of `metadata.gz`, `data.tar.gz` and
//! `checksums.yaml.gz`.

use std::io::Read;

use corundum_pack::archive::{FileMode, check_path};
use flate2::read::GzDecoder;

use super::remote::Fetched;
use super::{Found, GemError};
use crate::checksum::Checksum;
use crate::lockfile::LockedGem;
use crate::tree::Tree;

/// Bytes of a `.gem` and of what it unpacks to.
pub(super) const MAX_GEM: u64 = 100 << 20;
/// Files of a gem.
const MAX_FILES: usize = 20_000;

/// Where the app would have the gem's file.
pub(super) fn in_vendor_cache(name: &str, locked: &LockedGem) -> String {
    format!("vendor/cache/{name}-{}.gem", locked.version)
}

/// The gem's file in `vendor/cache`, unpacked.
pub(super) fn in_tree(
    tree: &Tree,
    name: &str,
    locked: &LockedGem,
) -> Result<Option<Found>, GemError> {
    let file = in_vendor_cache(name, locked);
    let Some(reader) = tree.open(&file)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    reader.take(MAX_GEM).read_to_end(&mut bytes)?;
    let damaged = |reason: String| GemError::Damaged {
        file: file.clone(),
        reason,
    };
    let found = Checksum::of(&bytes);
    match locked.checksum {
        Some(expected) if expected != found => Err(damaged(format!(
            "Gemfile.lock says that its SHA-256 is {expected}, and it is {found}"
        ))),
        _ => {
            let unpacked = unpack(&bytes, name, locked, "vendor/cache");
            unpacked.map(Some).map_err(damaged)
        }
    }
}

/// A gem that a server gave, unpacked.
pub(super) fn fetched(name: &str, locked: &LockedGem, gem: Fetched) -> Result<Found, GemError> {
    let unpacked = unpack(&gem.bytes, name, locked, &gem.source);
    unpacked.map_err(|reason| GemError::Unusable {
        name: name.to_owned(),
        version: locked.version.clone(),
        server: gem.source,
        reason,
    })
}

fn unpack(bytes: &[u8], name: &str, locked: &LockedGem, source: &str) -> Result<Found, String> {
    let mut metadata = None;
    let mut files = None;
    let mut outer = tar::Archive::new(bytes);
    for entry in outer.entries().map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match name.as_str() {
            "metadata.gz" => {
                let mut text = String::new();
                let mut reader = GzDecoder::new(entry).take(4 << 20);
                reader
                    .read_to_string(&mut text)
                    .map_err(|error| format!("metadata.gz: {error}"))?;
                metadata = Some(text);
            }
            "data.tar.gz" => {
                let reader = GzDecoder::new(entry).take(MAX_GEM);
                files = Some(data(reader).map_err(|error| format!("data.tar.gz: {error}"))?);
            }
            _ => {}
        }
    }
    let metadata = Metadata(&metadata.ok_or("it has no metadata.gz")?);
    metadata.check(name, &locked.version)?;
    let require_paths = metadata.list("require_paths");
    Ok(Found {
        files: files.ok_or("it has no data.tar.gz")?,
        require_paths: require_paths.unwrap_or_else(|| vec!["lib".to_owned()]),
        has_extensions: metadata
            .list("extensions")
            .is_some_and(|list| !list.is_empty()),
        ruby: metadata.requirement("required_ruby_version"),
        source: source.to_owned(),
    })
}

fn data(reader: impl Read) -> Result<Vec<(String, Vec<u8>, FileMode)>, String> {
    let mut files = Vec::new();
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        check_path(&path).map_err(|error| error.to_string())?;
        if files.len() >= MAX_FILES {
            return Err("too many files".to_owned());
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        files.push((path, bytes, FileMode::Plain));
    }
    Ok(files)
}

/// A gem's metadata. RubyGems writes it as YAML in one form, so that no more of YAML need be understood: keys at the
/// start of a line, and what belongs to them in lines that begin with a blank or a dash.
struct Metadata<'a>(&'a str);

impl<'a> Metadata<'a> {
    /// What stands behind `key:`, and the lines that belong to it.
    fn find(&self, key: &str) -> Option<(&'a str, impl Iterator<Item = &'a str> + use<'a>)> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some((
            value.trim(),
            lines.take_while(|line| line.starts_with([' ', '-'])),
        ))
    }

    /// A list of plain strings: `- value` lines, or `[]` behind the key.
    fn list(&self, key: &str) -> Option<Vec<String>> {
        let (value, lines) = self.find(key)?;
        if !value.is_empty() {
            return Some(Vec::new());
        }
        let values = lines.map_while(|line| line.strip_prefix("- "));
        Some(values.map(|value| unquoted(value).to_owned()).collect())
    }

    /// A requirement: pairs of `- - "OPERATOR"` and `version: VERSION` lines.
    fn requirement(&self, key: &str) -> Vec<String> {
        let mut clauses = Vec::new();
        let mut operator = "";
        for line in self.find(key).into_iter().flat_map(|(_, lines)| lines) {
            let line = line.trim();
            if let Some(sign) = line.strip_prefix("- - ") {
                operator = unquoted(sign);
            } else if let Some(version) = line.strip_prefix("version:") {
                clauses.push(format!("{operator} {}", unquoted(version.trim())));
            }
        }
        clauses
    }

    /// Refuses a gem that is another than its file's name says.
    fn check(&self, name: &str, version: &str) -> Result<(), String> {
        let own_name = self.find("name").map(|(value, _)| unquoted(value));
        let own_version = self
            .find("version")
            .and_then(|(_, mut lines)| lines.find_map(|line| line.trim().strip_prefix("version:")));
        let own_version = own_version.map(|version| unquoted(version.trim()));
        if own_name == Some(name) && own_version == Some(version) {
            return Ok(());
        }
        let shown = |text: Option<&str>| text.unwrap_or("?").chars().take(40).collect::<String>();
        let (own_name, own_version) = (shown(own_name), shown(own_version));
        Err(format!("it holds {own_name} {own_version}"))
    }
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gem(metadata: &str) -> Vec<u8> {
        let data = gzip(&tar(&[("lib/a.rb", b"A = 1")]));
        tar(&[
            ("metadata.gz", &gzip(metadata.as_bytes())),
            ("data.tar.gz", &data),
        ])
    }

    fn locked() -> LockedGem {
        LockedGem {
            version: "1.0".to_owned(),
            platforms: Vec::new(),
            dependencies: Vec::new(),
            origin: crate::lockfile::Origin::Remotes(Vec::new()),
            checksum: None,
        }
    }

    fn read(bytes: &[u8]) -> Result<Found, String> {
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
    fn a_gem_is_unpacked() {
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
        assert_eq!(found.require_paths, ["lib", "more"]);
        assert!(!found.has_extensions);
        assert_eq!(found.ruby, [">= 2.4.0", "< 4"]);
        assert_eq!(
            found.files,
            [("lib/a.rb".to_owned(), b"A = 1".to_vec(), FileMode::Plain)]
        );
    }

    #[test]
    fn a_native_extension_is_noticed() {
        let metadata = format!("{HEAD}extensions:\n- ext/extconf.rb\n");
        assert!(read(&gem(&metadata)).unwrap().has_extensions);
    }

    #[test]
    fn a_damaged_gem_is_an_error() {
        let whole = gem(HEAD);
        assert!(read(b"nothing").is_err());
        assert!(read(&whole[..1200]).is_err());
    }

    #[test]
    fn a_gem_that_is_another_is_an_error() {
        for (from, to) in [
            ("name: a", "name: b"),
            ("'1.0'", "'1.1'"),
            ("version:", "v:"),
        ] {
            let error = read(&gem(&HEAD.replace(from, to))).err().unwrap();
            assert!(error.starts_with("it holds "), "{error}");
        }
    }
}
