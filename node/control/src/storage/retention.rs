//! Retention: an app keeps its newest releases, and the records, slugs and images of the others go.

use std::num::NonZeroU32;
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{Store, StoreError};

use super::live_files::LiveFiles;
use crate::data_dir::{DataDir, FileKind};

/// The default number of releases that an app keeps.
pub const DEFAULT_KEEP: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// Removes the releases that no rollback may name any more.
pub struct Retention {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    files: Arc<LiveFiles>,
    keep: NonZeroU32,
}

impl Retention {
    /// Creates the type. Apps keep their newest `keep` releases.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        files: Arc<LiveFiles>,
        keep: NonZeroU32,
    ) -> Self {
        Self {
            store,
            data,
            files,
            keep,
        }
    }

    /// Returns the apps that have more releases than they may keep.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub(crate) fn exceeding(&self) -> Result<Vec<AppName>, StoreError> {
        self.store.apps_with_more_releases(self.keep)
    }

    /// Removes an app's releases beyond the node's number, and moves their files to the trash. The caller has locked the app,
    /// so that no rollback to one of them is in progress.
    ///
    /// # Errors
    ///
    /// The store fails; nothing is removed then.
    pub(crate) fn apply(&self, app: &AppName) -> Result<u64, StoreError> {
        self.keep_newest(app, self.keep)
    }

    /// As [`apply`](Self::apply), with another number, which never exceeds the node's.
    ///
    /// # Errors
    ///
    /// The store fails; nothing is removed then.
    pub(crate) fn keep_newest(&self, app: &AppName, keep: NonZeroU32) -> Result<u64, StoreError> {
        // Held until the files are gone: no release may name one of the slugs meanwhile.
        let _naming = self.files.naming();
        let pruned = self.store.prune_releases(app, keep.min(self.keep))?;
        for image in &pruned.images {
            self.files.discard(FileKind::Image, &self.data.image(image));
        }
        for slug in &pruned.slugs {
            self.files.discard_slug(slug);
        }
        if pruned.releases > 0 {
            tracing::info!(%app, releases = pruned.releases, "removed old releases");
        }
        Ok(pruned.releases)
    }
}
