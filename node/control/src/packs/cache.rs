//! The packs that this process has opened.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_host::engine::Engine;
use corundum_host::pack::Pack;
use corundum_pack::PackDir;
use corundum_pack::language::installed::{self, PackRecord, PackStage};
use corundum_pack::language::{self, KnownLanguage, LanguageSeries, PackKey};
use corundum_pack::ruby::Series;
use tokio::sync::{Notify, OnceCell};

use super::open::{PackOpenError, open};

/// A pack that is ready: its directory for compile processes, and its code for the grid.
pub(crate) struct ReadyPack {
    pub(crate) directory: PackDir,
    pub(crate) pack: Arc<Pack>,
}

/// Opens each pack once. Opening one does not wait for another.
pub struct PackCache {
    engine: Engine,
    /// The folder of prepared packs, which all nodes of a machine share.
    directory: PathBuf,
    packs: Mutex<HashMap<PackKey, Arc<OnceCell<Arc<ReadyPack>>>>>,
    /// Series of which a pack was opened that is not the best one, until [`next_missing`](PackCache::next_missing) takes them.
    missing: Mutex<BTreeSet<Series>>,
    missing_added: Notify,
}

impl PackCache {
    /// Creates a cache of the packs below `directory`.
    pub fn new(engine: Engine, directory: PathBuf) -> Self {
        Self {
            engine,
            directory,
            packs: Mutex::default(),
            missing: Mutex::default(),
            missing_added: Notify::new(),
        }
    }

    /// Returns the engine that runs the packs.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the folder of prepared packs.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the pack with which new images of a series are made.
    ///
    /// # Errors
    ///
    /// [`PackOpenError::NotInstalled`], or the pack's record cannot be read.
    pub(crate) fn key(&self, series: &LanguageSeries) -> Result<PackKey, PackOpenError> {
        let current = language::current(series, &self.directory)?;
        current.ok_or_else(|| PackOpenError::NotInstalled(series.clone()))
    }

    /// Returns the packs that images of a series may have been made with, the one of new images first.
    pub(crate) fn candidates(&self, series: &LanguageSeries) -> Vec<PackKey> {
        language::candidates(series, &self.directory)
    }

    /// Returns the packs beside those of Ruby that are installed.
    pub(crate) fn installed(&self) -> Vec<PackKey> {
        let records = installed::records(&self.directory, PackStage::Installed);
        let records = records.unwrap_or_default().into_iter();
        let key = |(series, record): (LanguageSeries, PackRecord)| PackKey::Installed {
            series,
            digest: record.digest,
        };
        records.map(key).collect()
    }

    /// Returns the packs with which new images of all series are made.
    pub(crate) fn current(&self) -> Vec<PackKey> {
        let languages = self.languages().unwrap_or_default();
        let series = languages.iter().flat_map(|known| {
            let of = |series: &String| LanguageSeries::new(&known.language, series).ok();
            known.series.iter().filter_map(of)
        });
        series.filter_map(|series| self.key(&series).ok()).collect()
    }

    /// Returns the languages that the machine has packs for.
    ///
    /// # Errors
    ///
    /// The record of a pack cannot be read.
    pub(crate) fn languages(&self) -> Result<Vec<KnownLanguage>, PackOpenError> {
        Ok(language::known(&self.directory)?)
    }

    /// Returns a pack, after preparing it if it is one of Ruby and this machine has not done so yet.
    ///
    /// # Errors
    ///
    /// The pack cannot be prepared or opened; the next call tries again.
    pub(crate) async fn get(&self, key: &PackKey) -> Result<Arc<ReadyPack>, PackOpenError> {
        let cell = {
            let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
            packs.entry(key.clone()).or_default().clone()
        };
        let ready = cell.get_or_try_init(|| self.open(key)).await?;
        Ok(ready.clone())
    }

    /// Waits until apps use a series whose best pack is missing, and returns the series.
    pub(crate) async fn next_missing(&self) -> Series {
        loop {
            let added = self.missing_added.notified();
            if let Some(series) = self.missing().pop_first() {
                return series;
            }
            added.await;
        }
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<Series>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, key: &PackKey) -> Result<Arc<ReadyPack>, PackOpenError> {
        if let PackKey::Ruby(edition) = key
            && *edition != edition.series.best()
        {
            self.missing().insert(edition.series);
            self.missing_added.notify_one();
        }
        let (engine, directory) = (self.engine.clone(), self.directory.clone());
        let key = key.clone();
        // Compiling a pack keeps a processor busy for a while, so it runs on a thread that does not serve.
        let opened = tokio::task::spawn_blocking(move || open(&engine, &key, &directory, |_| {}));
        let (directory, pack) = opened.await.map_err(|_| PackOpenError::Interrupted)??;
        Ok(Arc::new(ReadyPack {
            directory,
            pack: Arc::new(pack),
        }))
    }
}
