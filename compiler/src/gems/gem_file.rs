//! `.gem` files of the app's `vendor/cache`: a tar of `metadata.gz`, `data.tar.gz` and `checksums.yaml.gz`.

use std::io::Read;

use corundum_sdk::archive::{Mode, check_path};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{Found, GemError};
use crate::lockfile::LockedGem;
use crate::tree::Tree;

/// Bytes of a `.gem` and of what it unpacks to.
const MAX_GEM: u64 = 100 << 20;
/// Files of a gem.
const MAX_FILES: usize = 20_000;

/// The gem's file in `vendor/cache`, unpacked.
pub(super) fn find(tree: &Tree, name: &str, locked: &LockedGem) -> Result<Option<Found>, GemError> {
    let file = format!("vendor/cache/{name}-{}.gem", locked.version);
    let Some(reader) = tree.open(&file)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    reader.take(MAX_GEM).read_to_end(&mut bytes)?;
    let damaged = |reason: String| GemError::Damaged {
        file: file.clone(),
        reason,
    };
    if let Some(expected) = &locked.sha256 {
        let digest = format!("{:x}", Sha256::digest(&bytes));
        if digest != *expected {
            return Err(damaged(
                "its checksum is not the one in Gemfile.lock".to_owned(),
            ));
        }
    }
    unpack(&bytes).map(Some).map_err(damaged)
}

fn unpack(bytes: &[u8]) -> Result<Found, String> {
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
    let metadata = metadata.ok_or("it has no metadata.gz")?;
    Ok(Found {
        files: files.ok_or("it has no data.tar.gz")?,
        require_paths: list(&metadata, "require_paths").unwrap_or_else(|| vec!["lib".to_owned()]),
        has_extensions: list(&metadata, "extensions").is_some_and(|list| !list.is_empty()),
        source: "vendor/cache".to_owned(),
    })
}

fn data(reader: impl Read) -> Result<Vec<(String, Vec<u8>, Mode)>, String> {
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
        files.push((path, bytes, Mode::Plain));
    }
    Ok(files)
}

/// A list of plain strings at the top level of the metadata, which RubyGems writes as YAML in one form:
/// `key:` and `- value` lines below it, or `key: []`.
fn list(metadata: &str, key: &str) -> Option<Vec<String>> {
    let head = format!("{key}:");
    let mut lines = metadata.lines().skip_while(|line| !line.starts_with(&head));
    let first = lines.next()?;
    if first.trim() != head {
        return Some(Vec::new());
    }
    let values = lines.map_while(|line| line.strip_prefix("- "));
    Some(
        values
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
            .collect(),
    )
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

    #[test]
    fn a_gem_is_unpacked() {
        let metadata =
            "--- !ruby/object:Gem::Specification\nextensions: []\nrequire_paths:\n- lib\n- more\n";
        let found = unpack(&gem(metadata)).unwrap();
        assert_eq!(found.require_paths, ["lib", "more"]);
        assert!(!found.has_extensions);
        assert_eq!(
            found.files,
            [("lib/a.rb".to_owned(), b"A = 1".to_vec(), Mode::Plain)]
        );
    }

    #[test]
    fn a_native_extension_is_noticed() {
        assert!(
            unpack(&gem("extensions:\n- ext/extconf.rb\n"))
                .unwrap()
                .has_extensions
        );
    }

    #[test]
    fn a_damaged_gem_is_an_error() {
        let whole = gem("extensions: []\n");
        assert!(unpack(b"nothing").is_err());
        assert!(unpack(&whole[..1200]).is_err());
    }
}
