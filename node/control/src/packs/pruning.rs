//! Removal of what nothing uses any more from the cache that the nodes of a machine share.
//!
//! A node knows its own apps alone. It marks what their images use, and then removes what no node has marked for a month.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corundum_host::image::{ImageError, loaded_extensions, patch_file};
use corundum_pack::cache_usage;
use corundum_pack::language::{self, LanguageSeries, PackKey};
use corundum_pack::pruning::{self, PrunedEntry};
use corundum_pack::ruby::{self, Edition};
use corundum_store::{Store, StoreError};

use super::cache::PackCache;
use crate::data_dir::DataDir;
use crate::yielding_thread;

/// The time between two removals.
const INTERVAL: Duration = Duration::from_secs(86_400);

/// Removal of unused entries of the cache.
pub struct CachePruning {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    packs: Arc<PackCache>,
}

/// A use of the cache that is not known completely, so that nothing may be removed.
#[derive(Debug, thiserror::Error)]
enum CachePruningError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CachePruning {
    /// Creates the type; [`run`](Self::run) does the work.
    pub fn new(store: Arc<dyn Store>, data: Arc<DataDir>, packs: Arc<PackCache>) -> Self {
        Self { store, data, packs }
    }

    /// Removes what has been unused for a month, unless that was done within a day. Returns when it was done.
    pub(crate) async fn run(&self, last: Option<Instant>) -> Option<Instant> {
        if last.is_some_and(|last| last.elapsed() < INTERVAL) || self.data.is_handed_over() {
            return last;
        }
        let (store, data) = (self.store.clone(), self.data.clone());
        let cache = self.packs.directory().to_owned();
        let work = move || prune(store.as_ref(), &data, &cache);
        if let Some(finished) = yielding_thread::start("pruning", work) {
            match finished.await {
                Ok(Ok(pruned)) if !pruned.is_empty() => {
                    let bytes: u64 = pruned.iter().map(|entry| entry.bytes).sum();
                    tracing::info!(
                        entries = pruned.len(),
                        bytes,
                        "removed unused parts of the cache"
                    );
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not remove unused parts of the cache")
                }
                _ => {}
            }
        }
        Some(Instant::now())
    }
}

fn prune(
    store: &dyn Store,
    data: &DataDir,
    cache: &Path,
) -> Result<Vec<PrunedEntry>, CachePruningError> {
    let mut used: HashMap<Edition, HashSet<String>> = HashMap::new();
    let live = store.live_records()?.images;
    for image in live.keys() {
        let directory = data.image(image);
        for edition in Edition::ALL {
            let patch = directory.join(patch_file(&ruby::digest(edition)));
            if patch.exists() {
                let digests = loaded_extensions(&patch)?;
                used.entry(edition).or_default().extend(digests);
            }
        }
    }
    mark_installed(store, data, cache)?;
    for (edition, digests) in used {
        pruning::mark_extensions(&ruby::pack_path(edition, cache), &digests);
    }
    Ok(pruning::prune(cache, pruning::UNUSED, false)?)
}

/// Marks the installed packs with which images of current releases were made. The current pack of a series needs no mark.
fn mark_installed(
    store: &dyn Store,
    data: &DataDir,
    cache: &Path,
) -> Result<(), CachePruningError> {
    let mut keys: HashMap<LanguageSeries, Vec<PackKey>> = HashMap::new();
    for release in store.current_releases()?.releases.into_values() {
        let series = release.about.runtime;
        if series.ruby().is_some() {
            continue;
        }
        let of_series = keys.entry(series.clone());
        let of_series = of_series.or_insert_with(|| language::candidates(&series, cache));
        let image = data.image(&release.image);
        for key in of_series {
            if image.join(patch_file(&key.digest())).exists() {
                cache_usage::mark_used(&key.path(cache));
            }
        }
    }
    Ok(())
}
