//! The files of an image, beside its memory.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use corundum_pack::archive::Archive;

use super::ImageError;
use crate::native;
use crate::os::BootLayer;

/// Bytes up to which files stay in the node's memory. Larger ones are mapped from an unlinked file, so that they occupy
/// the kernel's page cache.
const IN_MEMORY: usize = 64 << 10;

/// The files of an image do not belong to the slug that the dyno is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the files of the image are damaged or belong to another slug: push the app again")]
pub struct DamagedFiles;

/// The encoded files of an image, which are indexed when the first dyno is made.
pub(super) struct ImageFiles {
    data: FileBytes,
    index: OnceLock<Option<Arc<BootLayer>>>,
}

/// Bytes in memory or in a mapped file.
#[derive(Clone)]
struct FileBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl ImageFiles {
    /// Keeps encoded files; large ones in a file of `directory` that has no name any more.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the disk fails.
    pub(super) fn new(bytes: Vec<u8>, directory: &Path) -> Result<Self, ImageError> {
        let data: Arc<dyn AsRef<[u8]> + Send + Sync> = if bytes.len() <= IN_MEMORY {
            Arc::new(bytes)
        } else {
            let mapped = || {
                let mut file = tempfile::Builder::new()
                    .prefix(".making-")
                    .tempfile_in(directory)?;
                file.write_all(&bytes)?;
                native::map(file.path())
            };
            let mapped = mapped().map_err(|error| ImageError::Write {
                path: directory.to_owned(),
                reason: error.to_string(),
            })?;
            Arc::new(mapped)
        };
        Ok(Self {
            data: FileBytes(data),
            index: OnceLock::new(),
        })
    }

    pub(super) fn index(
        &self,
        slug: Option<&Archive>,
        root: &Archive,
    ) -> Result<Arc<BootLayer>, DamagedFiles> {
        let parse = || BootLayer::parse(self.data.clone(), slug, root).map(Arc::new);
        self.index.get_or_init(parse).clone().ok_or(DamagedFiles)
    }
}
