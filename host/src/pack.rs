//! Packs made ready: their code compiled once per engine and kept, their memory booted once into a base image.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use corundum_pack::archive::Archive;
use corundum_pack::{Manifest, PackDir, preemption};
use wasmtime::{Extern, Instance, Linker, Module, Store};

use crate::compiled::{self, CompiledError};
use crate::dyno::{Dyno, Failure, StartError, State};
use crate::engine::Engine;
use crate::image::{Description, Image, ImageError};
use crate::log::LogSink;
use crate::native;
use crate::os::{Filesystem, Process, TmpLimits};
use crate::slices::{Clock, add_to_linker};
use crate::wasi;

/// The import module's name for an image's memory and globals.
const IMAGE: &str = "image";

/// A pack cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file of the pack is missing, damaged or of another form.
    #[error("the pack at {} is damaged: {reason}", path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It imports something that no dyno is given.
    #[error("the pack's module {module} imports {import}, which dynos do not have")]
    Import {
        /// Which module.
        module: String,
        /// What it imports.
        import: String,
    },
    /// Its code does not compile, or the result cannot be kept.
    #[error("the pack's code: {0}")]
    Compiled(#[from] CompiledError),
    /// Its start failed.
    #[error("the pack does not start: {0}")]
    Initialize(#[from] Failure),
    /// It could not be instantiated.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its base image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// A step of making a pack ready, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The named module is being compiled.
    Compile(&'a str),
    /// The runtime is being started.
    Start,
}

/// A pack whose dynos can be started.
pub struct Pack {
    manifest: Manifest,
    modules: Vec<LinkedModule>,
    linker: Linker<State>,
    clock: Clock,
    root: Arc<Archive>,
    base: Image,
}

struct LinkedModule {
    module: Module,
    imports: Vec<Source>,
}

/// Where an import of a module comes from.
enum Source {
    Image(String),
    Module(usize, String),
    /// What time slices need.
    Slices(String),
    Host(Box<(String, String)>),
}

impl Pack {
    /// Opens a prepared pack. What was compiled before is loaded in milliseconds; what was not, or is damaged or of
    /// another version, is compiled and kept in the pack's directory.
    ///
    /// # Errors
    ///
    /// [`PackError`].
    pub async fn open(
        engine: &Engine,
        directory: &PackDir,
        log: Arc<dyn LogSink>,
        mut progress: impl FnMut(Step<'_>),
    ) -> Result<Self, PackError> {
        let damaged = |reason: String| PackError::Damaged {
            path: directory.path().to_owned(),
            reason,
        };
        let manifest = directory.manifest().clone();
        let key = engine.compatibility_key();
        let mut modules = Vec::new();
        for member in &manifest.modules {
            let path = directory
                .path()
                .join(format!("{}-{key}.cwasm", member.name));
            let module = match compiled::load(engine, &path) {
                Ok(module) => module,
                Err(reason) => {
                    tracing::info!(module = member.name, %reason, "compiling");
                    progress(Step::Compile(&member.name));
                    let wasm = directory
                        .read(member)
                        .map_err(|error| damaged(error.to_string()))?;
                    let wasm = preemption::insert_polls(&wasm, &member.polling)
                        .map_err(|error| damaged(error.to_string()))?;
                    compiled::write(engine, &wasm, &path)?;
                    compiled::load(engine, &path)?
                }
            };
            modules.push((member.name.clone(), module));
        }
        let root = native::map(&directory.path().join(&manifest.root.file))
            .map_err(|error| damaged(error.to_string()))?;
        if compiled::digest_of(&root) != manifest.root.blake3 {
            return Err(damaged(format!("{} has changed", manifest.root.file)));
        }
        let root = Arc::new(Archive::new(root).map_err(|error| damaged(error.to_string()))?);
        let base = directory.path().join(format!("base-{key}"));
        match Image::load(engine, &base, &manifest.digest) {
            Ok(base) => Self::assemble(engine, manifest, modules, root, base),
            Err(reason) => {
                tracing::info!(%reason, "starting the pack's runtime");
                progress(Step::Start);
                let raw = directory.read(&manifest.image);
                let raw = raw.map_err(|error| damaged(error.to_string()))?;
                let raw = Image::from_wasm(engine, &raw, describe(engine, &manifest))
                    .map_err(|error| damaged(format!("{error:#}")))?;
                let mut pack = Self::assemble(engine, manifest, modules, root, raw)?;
                pack.start(engine, &base, log).await?;
                Ok(pack)
            }
        }
    }

    /// Puts a pack together from modules in linking order, the last of which exports the dyno ABI.
    pub(crate) fn assemble(
        engine: &Engine,
        manifest: Manifest,
        modules: Vec<(String, Module)>,
        root: Arc<Archive>,
        base: Image,
    ) -> Result<Self, PackError> {
        let mut linker = Linker::new(engine.wasmtime());
        wasi::add_to_linker(&mut linker)
            .and_then(|()| add_to_linker(&mut linker, engine.clock()))
            .map_err(|error| CompiledError::Compile(format!("{error:#}")))?;
        let mut linked: Vec<LinkedModule> = Vec::new();
        for (index, (name, module)) in modules.iter().enumerate() {
            let source = |import: wasmtime::ImportType<'_>| {
                let (from, what) = (import.module(), import.name());
                let earlier = modules[..index].iter().position(|(name, _)| name == from);
                match earlier {
                    _ if from == IMAGE => Ok(Source::Image(what.to_owned())),
                    Some(earlier) => Ok(Source::Module(earlier, what.to_owned())),
                    None if from == preemption::MODULE => Ok(Source::Slices(what.to_owned())),
                    None if from == wasi::MODULE => {
                        Ok(Source::Host(Box::new((from.to_owned(), what.to_owned()))))
                    }
                    None => Err(PackError::Import {
                        module: name.clone(),
                        import: format!("{from}.{what}"),
                    }),
                }
            };
            let imports = module.imports().map(source).collect::<Result<_, _>>()?;
            linked.push(LinkedModule {
                module: module.clone(),
                imports,
            });
        }
        Ok(Self {
            manifest,
            modules: linked,
            linker,
            clock: engine.clock().clone(),
            root,
            base,
        })
    }

    /// Runs the pack's start once and keeps the memory it leaves as the base of every release.
    async fn start(
        &mut self,
        engine: &Engine,
        path: &Path,
        log: Arc<dyn LogSink>,
    ) -> Result<(), PackError> {
        let process = Process::new(Arc::from([]), Arc::from([]), SystemTime::UNIX_EPOCH);
        let filesystem = Filesystem::new(self.root.clone(), None, process, TmpLimits::default());
        let mut dyno =
            Dyno::instantiate(engine, self, &self.base, Arc::new(filesystem), log).await?;
        dyno.initialize().await?;
        // A stale one may stand there, and two nodes of a machine may get here at once: either result will do.
        let _ = fs::remove_dir_all(path);
        let description = Description {
            interrupt: dyno.interrupt().await?,
            ..describe(engine, &self.manifest)
        };
        match Image::write(engine, &mut dyno, path, &description) {
            Ok(()) => {}
            Err(_) if path.exists() => {}
            Err(error) => return Err(error.into()),
        }
        self.base = Image::load(engine, path, &self.manifest.digest)?;
        Ok(())
    }

    /// What the pack says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its root filesystem.
    pub fn root(&self) -> &Arc<Archive> {
        &self.root
    }

    /// The image of its started runtime, without any app.
    pub fn base(&self) -> &Image {
        &self.base
    }

    /// Links the pack's modules to an image. The result exports the dyno ABI.
    pub(crate) async fn link(
        &self,
        store: &mut Store<State>,
        image: Instance,
    ) -> wasmtime::Result<Instance> {
        let mut instances: Vec<Instance> = Vec::with_capacity(self.modules.len());
        let mut imports: Vec<Extern> = Vec::new();
        let missing = |name: &str| wasmtime::Error::msg(format!("the pack has no {name}"));
        for LinkedModule {
            module,
            imports: sources,
        } in &self.modules
        {
            imports.clear();
            for source in sources {
                let import = match source {
                    Source::Image(name) => image
                        .get_export(&mut *store, name)
                        .ok_or_else(|| missing(name))?,
                    Source::Module(index, name) => instances[*index]
                        .get_export(&mut *store, name)
                        .ok_or_else(|| missing(name))?,
                    Source::Slices(name) => self
                        .clock
                        .import(name, &self.linker, store)
                        .ok_or_else(|| missing(name))?,
                    Source::Host(name) => self
                        .linker
                        .get(&mut *store, &name.0, &name.1)
                        .map_err(|_| missing(&name.1))?,
                };
                imports.push(import);
            }
            instances.push(Instance::new_async(&mut *store, module, &imports).await?);
        }
        instances.last().copied().ok_or_else(|| missing("modules"))
    }
}

fn describe(engine: &Engine, manifest: &Manifest) -> Description {
    Description {
        pack: manifest.digest.clone(),
        engine: engine.compatibility_key(),
        born: 0,
        hot_pages: Arc::default(),
        interrupt: 0,
    }
}
