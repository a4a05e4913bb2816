//! Opening a prepared pack: compiling its modules and starting its runtime, or loading the results of last time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use corundum_pack::archive::Archive;
use corundum_pack::validate::validate_guest;
use corundum_pack::{Manifest, Member, PackDir, preemption, sample_app};
use wasmtime::Module;

use super::linked::{LinkError, Pack};
use crate::boot::{AppProcess, boot_sample};
use crate::compiled::{self, CompiledError};
use crate::dyno::{CallError, Dyno, StartError};
use crate::engine::Engine;
use crate::guest_state::InterruptFlag;
use crate::image::{BaseMemory, Image, ImageDescription, ImageError};
use crate::log::LogSink;
use crate::native;
use crate::os::{Filesystem, GuestProcess, TmpLimits};
use crate::outbound::OutboundRules;

/// The file of the memory that images differ from, in the directory of the pack.
const BASE_MEMORY: &str = "sample.pages";

/// Failure to open a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file of the pack is missing, damaged or in another format.
    #[error("the pack at {} is damaged: {reason}", path.display())]
    Damaged {
        /// The pack's directory.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The pack's modules do not fit together or need more than dynos have.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The pack's code does not compile, or the result cannot be kept.
    #[error("cannot compile the pack: {0}")]
    Compiled(#[from] CompiledError),
    /// The pack's runtime does not start.
    #[error("the pack does not start: {0}")]
    Initialize(#[from] CallError),
    /// The pack's runtime cannot be instantiated.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The image of the started runtime cannot be written or loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// A slow step of opening a pack, for a display of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenStep<'a> {
    /// Compiles the named module.
    Compile(&'a str),
    /// Starts the runtime.
    Start,
}

impl Pack {
    /// Opens a prepared pack.
    ///
    /// Results of earlier compilations are loaded in milliseconds. If one is missing, damaged or of another version,
    /// the module is compiled and the result kept in the pack's directory.
    ///
    /// # Errors
    ///
    /// Returns a [`PackError`] if the pack is damaged, does not compile or does not start.
    pub async fn open(
        engine: &Engine,
        directory: &PackDir,
        log: Arc<dyn LogSink>,
        mut progress: impl FnMut(OpenStep<'_>),
    ) -> Result<Self, PackError> {
        let damaged = |reason: String| PackError::Damaged {
            path: directory.path().to_owned(),
            reason,
        };
        let manifest = directory.manifest().clone();
        let mut modules = Vec::new();
        for member in &manifest.modules {
            let module = open_module(engine, directory, member, &mut progress)?;
            modules.push((member.name.clone(), module));
        }
        let root = native::map(&directory.path().join(&manifest.root.file))
            .map_err(|error| damaged(error.to_string()))?;
        if compiled::digest_of(&root) != manifest.root.blake3 {
            return Err(damaged(format!("{} has changed", manifest.root.file)));
        }
        let root = Arc::new(Archive::new(root).map_err(|error| damaged(error.to_string()))?);
        let base = directory
            .path()
            .join(format!("base-{}", engine.compatibility_key()));
        let mut pack = match Image::load_base(engine, &base, &manifest.digest) {
            Ok(base) => Self::link_modules(engine, directory, modules, root, base)?,
            Err(reason) => {
                tracing::info!(%reason, "starting the pack's runtime");
                progress(OpenStep::Start);
                let raw = directory.read(&manifest.image);
                let raw = raw.map_err(|error| damaged(error.to_string()))?;
                let raw = Image::from_wasm(engine, &raw, describe(&manifest))
                    .map_err(|error| damaged(format!("{error:#}")))?;
                let mut pack = Self::link_modules(engine, directory, modules, root, raw)?;
                pack.start(engine, &base, log.clone()).await?;
                pack
            }
        };
        let path = directory.path().join(BASE_MEMORY);
        let memory = match BaseMemory::open(&path) {
            Ok(memory) => memory,
            Err(reason) => {
                tracing::info!(%reason, "booting the pack's sample app");
                let _ = fs::remove_file(&path);
                pack.write_base_memory(engine, &path, log).await?;
                BaseMemory::open(&path)?
            }
        };
        pack.set_base_memory(memory);
        Ok(pack)
    }

    /// Boots the smallest app of the pack's language and keeps its memory as the one that images differ from. For a
    /// language without such an app, or if it does not boot, that is the memory of the started runtime.
    async fn write_base_memory(
        &self,
        engine: &Engine,
        path: &Path,
        log: Arc<dyn LogSink>,
    ) -> Result<(), PackError> {
        let sample = sample_app(self.manifest());
        let mut dyno = match sample.and_then(|app| AppProcess::of_sample(&app)) {
            Some(app) => match boot_sample(engine, self, &app, log.clone()).await {
                Ok(dyno) => dyno,
                Err(error) => {
                    tracing::warn!(%error, "could not boot the pack's sample app; images take more disk");
                    self.instantiate_base(engine, log).await?
                }
            },
            None => self.instantiate_base(engine, log).await?,
        };
        Ok(BaseMemory::write(path, &dyno.snapshot())?)
    }

    /// Starts the pack's runtime once and keeps its memory as the base image of every release.
    async fn start(
        &mut self,
        engine: &Engine,
        path: &Path,
        log: Arc<dyn LogSink>,
    ) -> Result<(), PackError> {
        let mut dyno = self.instantiate_base(engine, log).await?;
        dyno.initialize().await?;
        // A stale image may be in the way. Two nodes of a machine may also get here at once; then either result will
        // do.
        let _ = fs::remove_dir_all(path);
        let description = ImageDescription {
            interrupt: dyno.interrupt_flag().await?,
            ..describe(self.manifest())
        };
        let wasm = dyno.snapshot().to_wasm();
        let wasm = wasm.map_err(|reason| PackError::Damaged {
            path: path.to_owned(),
            reason,
        })?;
        self.set_base(write_base(engine, &wasm, path, &description)?);
        Ok(())
    }

    async fn instantiate_base(
        &self,
        engine: &Engine,
        log: Arc<dyn LogSink>,
    ) -> Result<Dyno, StartError> {
        let process = GuestProcess::new(Arc::from([]), Arc::from([]), SystemTime::UNIX_EPOCH);
        let root = self.root().clone();
        let account = engine.account(TmpLimits::default());
        let filesystem = Filesystem::new(root, None, None, process, account);
        let outbound = OutboundRules::closed();
        let filesystem = Arc::new(filesystem);
        Dyno::instantiate(engine, self, self.base(), filesystem, outbound, log).await
    }
}

/// Writes a base image, unless another process has done so meanwhile, and loads it.
fn write_base(
    engine: &Engine,
    wasm: &[u8],
    path: &Path,
    description: &ImageDescription,
) -> Result<Image, PackError> {
    match Image::write_base(engine, wasm, path, description) {
        Ok(()) => {}
        Err(_) if path.exists() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Image::load_base(engine, path, &description.pack)?)
}

/// Loads the compiled form of `member`, or compiles it and keeps the result.
fn open_module(
    engine: &Engine,
    directory: &PackDir,
    member: &Member,
    progress: &mut impl FnMut(OpenStep<'_>),
) -> Result<Module, PackError> {
    let damaged = |reason: String| PackError::Damaged {
        path: directory.path().to_owned(),
        reason,
    };
    let key = engine.compatibility_key();
    let path = directory
        .path()
        .join(format!("{}-{key}.cwasm", member.name));
    let reason = match compiled::load(engine, &path) {
        Ok(module) => return Ok(module),
        Err(reason) => reason,
    };
    tracing::info!(module = member.name, %reason, "compiling a module of the pack");
    progress(OpenStep::Compile(&member.name));
    let wasm = directory
        .read(member)
        .map_err(|error| damaged(error.to_string()))?;
    validate_guest(&wasm).map_err(|error| damaged(error.to_string()))?;
    let wasm = preemption::insert_polls(&wasm, &member.polling)
        .map_err(|error| damaged(error.to_string()))?;
    compiled::write(engine, &wasm, &path)?;
    Ok(compiled::load(engine, &path)?)
}

fn describe(manifest: &Manifest) -> ImageDescription {
    ImageDescription {
        pack: manifest.digest.clone(),
        born: 0,
        hot_pages: Arc::default(),
        interrupt: InterruptFlag::default(),
        extensions: Vec::new(),
    }
}
