//! Compresses images once more when they have lain for a while.
//!
//! A push must not wait seconds for the last third of an image's bytes. Most apps of a node are idle, so the node
//! compresses their images well later, one at a time, on a thread that yields to all others.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corundum_host::image::{ImageError, compact, is_compact, patch_file};
use corundum_host::pack::Pack;
use corundum_pack::language::PackKey;
use corundum_store::{Store, StoreError};

use crate::data_dir::DataDir;
use crate::packs::cache::PackCache;
use crate::yielding_thread;

/// The age at which an image is compressed well. A later push replaces the image of an app under development.
const SETTLED: Duration = Duration::from_secs(600);

/// Compresses the images of releases.
pub struct ImageCompaction {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    packs: Arc<PackCache>,
}

impl ImageCompaction {
    /// Creates the type; [`run`](Self::run) does the work.
    pub fn new(store: Arc<dyn Store>, data: Arc<DataDir>, packs: Arc<PackCache>) -> Self {
        Self { store, data, packs }
    }

    /// Compresses the images that have settled. A failure leaves an image as it was.
    pub(crate) async fn run(&self) {
        let settled = match self.settled() {
            Ok(settled) => settled,
            Err(error) => return tracing::debug!(%error, "could not find images to compress"),
        };
        for (patch, key) in settled {
            let pack = match self.packs.get(&key).await {
                Ok(ready) => ready.pack.clone(),
                Err(error) => return tracing::debug!(%error, "could not open a pack"),
            };
            if self.data.is_handed_over() {
                return;
            }
            if let Err(error) = compact_in_background(patch, pack).await {
                tracing::warn!(%error, "could not compress an image");
            }
        }
    }

    /// Returns the images that have settled, each with its pack.
    fn settled(&self) -> Result<Vec<(PathBuf, PackKey)>, StoreError> {
        let by_file: HashMap<_, _> = self
            .packs
            .current()
            .into_iter()
            .map(|key| (patch_file(&key.digest()), key))
            .collect();
        let images = self.store.live_records()?.images;
        let candidates = images.keys().flat_map(|image| {
            let directory = self.data.image(image);
            by_file
                .iter()
                .map(move |(file, key)| (directory.join(file), key.clone()))
        });
        Ok(candidates.filter(|(path, _)| has_settled(path)).collect())
    }
}

/// Returns whether a patch exists, is old enough and is not compact.
fn has_settled(path: &Path) -> bool {
    let age = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map(|modified| modified.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age >= SETTLED) && is_compact(path).is_ok_and(|is_compact| !is_compact)
}

/// Compresses one image on a thread of its own.
async fn compact_in_background(patch: PathBuf, pack: Arc<Pack>) -> Result<(), ImageError> {
    match yielding_thread::start("compaction", move || compact(&patch, &pack)) {
        Some(finished) => finished.await.unwrap_or(Err(ImageError::Interrupted)),
        // Without a thread, the image is compressed another time.
        None => Ok(()),
    }
}
