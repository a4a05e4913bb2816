//! Results of builds, by a digest of all that they depend on.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use corundum_pack::cache_usage::mark_used;
use sha2::{Digest, Sha256};

use crate::checksum::Checksum;
use crate::made_files::{self, MadeFile};

/// Folder of the results in the cache.
const FOLDER: &str = "extensions";
/// Revision of builds; increment it when the same inputs yield another result.
const REVISION: u32 = 3;

/// All that a result depends on.
pub(super) struct ExtensionKey<'a> {
    pub(super) gem: &'a str,
    pub(super) options: &'a [String],
    pub(super) pack: &'a str,
    pub(super) toolchain: &'a str,
    pub(super) sysroot: &'a str,
}

impl ExtensionKey<'_> {
    fn digest(&self) -> String {
        let revision = REVISION.to_le_bytes();
        let texts = [self.gem, self.pack, self.toolchain, self.sysroot];
        let options = self.options.iter().map(String::as_str);
        let texts = texts.into_iter().chain(options).map(str::as_bytes);
        Checksum::of_parts([&revision[..]].into_iter().chain(texts)).to_string()
    }
}

/// The results of all builds.
pub struct ExtensionResults {
    folder: PathBuf,
}

impl ExtensionResults {
    /// Opens the results below `cache`.
    pub fn new(cache: &Path) -> Self {
        Self {
            folder: cache.join(FOLDER),
        }
    }

    /// Returns a result, unless there is none or it is damaged.
    pub(super) fn find(&self, key: &ExtensionKey<'_>) -> Option<Vec<MadeFile>> {
        let path = self.folder.join(key.digest());
        let bytes = fs::read(&path).ok()?;
        mark_used(&path);
        let (digest, content) = bytes.split_at_checked(32)?;
        (Sha256::digest(content).as_slice() == digest).then(|| made_files::parse(content))?
    }

    /// Keeps a result. A crash leaves nothing that looks like one.
    pub(super) fn keep(&self, key: &ExtensionKey<'_>, files: &[MadeFile]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let names: Vec<(&str, usize)> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.len()))
            .collect();
        let mut content = serde_json::to_vec(&names)?;
        content.push(b'\n');
        files
            .iter()
            .for_each(|(_, bytes)| content.extend_from_slice(bytes));
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
            .tempfile_in(&self.folder)?;
        file.write_all(Sha256::digest(&content).as_slice())?;
        file.write_all(&content)?;
        file.as_file().sync_all()?;
        file.persist(self.folder.join(key.digest()))
            .map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_found_by_its_inputs_alone_and_damage_is_noticed() {
        let cache = tempfile::tempdir().unwrap();
        let results = ExtensionResults::new(cache.path());
        let options = ["--with-x".to_owned()];
        let key = |pack| ExtensionKey {
            gem: "g",
            options: &options,
            pack,
            toolchain: "t",
            sysroot: "s",
        };
        let files = vec![("a.so".to_owned(), vec![1, 2]), ("b.rb".to_owned(), vec![])];
        assert_eq!(results.find(&key("p")), None);
        results.keep(&key("p"), &files).unwrap();
        assert_eq!(results.find(&key("p")).unwrap(), files);
        assert_eq!(results.find(&key("q")), None);
        let path = cache.path().join(FOLDER).join(key("p").digest());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(results.find(&key("p")), None);
    }
}
