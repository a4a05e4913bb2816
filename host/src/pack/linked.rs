//! A pack whose modules are compiled, and its linking to an image.

use std::sync::Arc;

use corundum_abi::{exports, fibers};
use corundum_pack::archive::Archive;
use corundum_pack::{Manifest, PackDir, preemption};
use wasmtime::{Extern, Instance, Linker, Module, Store};

use crate::console::host_functions;
use crate::engine::Engine;
use crate::extensions::state::LinkTarget;
use crate::extensions::{self, ExtensionCache, ExtensionCodeError};
use crate::fibers::FiberShim;
use crate::guest_state::GuestState;
use crate::image::{BaseMemory, Image};
use crate::net;
use crate::os;
use crate::preemption::{SliceClock, define_host_functions};
use crate::tools;
use crate::wasi;

/// Import module of an image's memory and globals.
const IMAGE: &str = "image";

/// Import modules of the host's functions.
const HOST_MODULES: [&str; 6] = [
    wasi::MODULE,
    net::imports::MODULE,
    os::calls::MODULE,
    host_functions::MODULE,
    extensions::imports::MODULE,
    tools::imports::MODULE,
];

/// Failure to link a pack's modules.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A module imports something that dynos do not have.
    #[error("the pack's module {module} imports {import}, which dynos do not have")]
    Import {
        /// The importing module.
        module: String,
        /// The import as `module.name`.
        import: String,
    },
    /// The pack has no module.
    #[error("the pack has no module")]
    Empty,
    /// The host's own functions cannot be defined, which is a mistake of this crate.
    #[error("cannot define the host functions: {0}")]
    HostFunctions(String),
}

/// A pack that dynos can be created from.
pub struct Pack {
    manifest: Manifest,
    /// In linking order; the last one exports the dyno ABI.
    modules: Vec<LinkedModule>,
    linker: Linker<GuestState>,
    clock: SliceClock,
    root: Arc<Archive>,
    base: Image,
    base_memory: BaseMemory,
    /// The shim of fibers, if a module imports it.
    fiber_shim: Option<FiberShim>,
    extensions: Arc<ExtensionCache>,
    handles_signals: bool,
    exchanges_on_standard_streams: bool,
}

struct LinkedModule {
    module: Module,
    imports: Vec<ImportSource>,
}

impl LinkedModule {
    fn has_fibers(&self) -> bool {
        let mut imports = self.imports.iter();
        imports.any(|import| matches!(import, ImportSource::Fiber(_)))
    }
}

/// The provider of an import.
enum ImportSource {
    /// The image, by export name.
    Image(String),
    /// An earlier module of the pack, by index and export name.
    Module(usize, String),
    /// The shim of fibers, by export name.
    Fiber(String),
    /// The time slices, by import name.
    Preemption(String),
    /// The host, by import module and name.
    Host(Box<(String, String)>),
}

impl Pack {
    /// Links compiled `modules`, which are in linking order; the last one must export the dyno ABI.
    pub(super) fn link_modules(
        engine: &Engine,
        directory: &PackDir,
        modules: Vec<(String, Module)>,
        root: Arc<Archive>,
        base: Image,
    ) -> Result<Self, LinkError> {
        let mut linker = Linker::new(engine.wasmtime());
        wasi::define_host_functions(&mut linker)
            .and_then(|()| os::calls::define(&mut linker))
            .and_then(|()| net::imports::define_host_functions(&mut linker))
            .and_then(|()| define_host_functions(&mut linker, engine.clock()))
            .and_then(|()| host_functions::define_host_functions(&mut linker))
            .and_then(|()| tools::imports::define_host_functions(&mut linker))
            .and_then(|()| extensions::imports::define_host_functions(&mut linker))
            .map_err(|error| LinkError::HostFunctions(format!("{error:#}")))?;
        let mut linked: Vec<LinkedModule> = Vec::new();
        for (index, (name, module)) in modules.iter().enumerate() {
            let source = |import: wasmtime::ImportType<'_>| {
                let (from, item) = (import.module(), import.name().to_owned());
                let earlier = modules[..index].iter().position(|(name, _)| name == from);
                match earlier {
                    _ if from == IMAGE => Ok(ImportSource::Image(item)),
                    Some(earlier) => Ok(ImportSource::Module(earlier, item)),
                    None if from == fibers::MODULE => Ok(ImportSource::Fiber(item)),
                    None if from == preemption::MODULE => Ok(ImportSource::Preemption(item)),
                    None if HOST_MODULES.contains(&from) => {
                        Ok(ImportSource::Host(Box::new((from.to_owned(), item))))
                    }
                    None => Err(LinkError::Import {
                        module: name.clone(),
                        import: format!("{from}.{item}"),
                    }),
                }
            };
            let imports = module.imports().map(source).collect::<Result<_, _>>()?;
            linked.push(LinkedModule {
                module: module.clone(),
                imports,
            });
        }
        let has_fibers = linked.iter().any(LinkedModule::has_fibers);
        let fiber_shim = has_fibers.then(|| FiberShim::new(engine, &mut linker));
        let fiber_shim = fiber_shim
            .transpose()
            .map_err(|error| LinkError::HostFunctions(format!("{error:#}")))?;
        let handles_signals = linked.iter().flat_map(|module| &module.imports);
        let handles_signals = handles_signals.into_iter().any(|import| match import {
            ImportSource::Host(name) => {
                (name.0.as_str(), name.1.as_str())
                    == (host_functions::MODULE, host_functions::SIGNALS)
            }
            _ => false,
        });
        let last = modules.last();
        let exchanges_on_standard_streams = last.is_some_and(|(_, module)| {
            let mut exports = module.exports();
            exports.any(|export| export.name() == exports::STANDARD_STREAMS)
        });
        let provider = modules.last().map(|(_, module)| module.clone());
        let provider = provider.ok_or(LinkError::Empty)?;
        Ok(Self {
            exchanges_on_standard_streams,
            fiber_shim,
            extensions: ExtensionCache::new(engine.clone(), directory.clone(), provider),
            manifest: directory.manifest().clone(),
            modules: linked,
            linker,
            clock: engine.clock().clone(),
            root,
            base,
            base_memory: BaseMemory::empty(),
            handles_signals,
        })
    }

    /// Returns the pack's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns whether guests receive signals. A signal ends the others.
    pub(crate) fn handles_signals(&self) -> bool {
        self.handles_signals
    }

    /// Returns whether requests and responses are on the descriptors 0 and 1.
    pub(crate) fn exchanges_on_standard_streams(&self) -> bool {
        self.exchanges_on_standard_streams
    }

    /// Compiles a native extension, so that dynos of the pack can load it.
    ///
    /// # Errors
    ///
    /// Returns [`ExtensionCodeError`] if the module cannot be an extension of the pack, or if the disk fails.
    pub fn compile_extension(&self, wasm: &[u8]) -> Result<(), ExtensionCodeError> {
        self.extensions.compile(wasm).map(drop)
    }

    /// Returns the native extensions of the pack.
    pub(crate) fn extensions(&self) -> &Arc<ExtensionCache> {
        &self.extensions
    }

    /// Returns the pack's root filesystem.
    pub fn root(&self) -> &Arc<Archive> {
        &self.root
    }

    /// Returns the image of the started runtime, without an app.
    pub fn base(&self) -> &Image {
        &self.base
    }

    /// Returns the memory of the pack's sample app, on which the patches of images are based.
    pub(crate) fn base_memory(&self) -> &BaseMemory {
        &self.base_memory
    }

    pub(super) fn set_base(&mut self, base: Image) {
        self.base = base;
    }

    pub(super) fn set_base_memory(&mut self, memory: BaseMemory) {
        self.base_memory = memory;
    }

    /// Returns what extensions are linked to in a dyno, if the pack loads some.
    fn link_target(
        &self,
        store: &mut Store<GuestState>,
        image: Instance,
        pack: Instance,
        tick: Option<Extern>,
    ) -> Option<LinkTarget> {
        let symbols = self.extensions.symbols()?;
        Some(LinkTarget {
            codes: self.extensions.clone(),
            image,
            pack,
            memory: store.data().memory?,
            stack_pointer: image.get_global(&mut *store, &symbols.stack_pointer)?,
            clock: self.clock.memory(),
            tick: tick?,
            first_entry: symbols.table_used,
        })
    }

    /// Links the pack's modules to an instance of an image. The returned instance exports the dyno ABI.
    pub(crate) async fn link(
        &self,
        store: &mut Store<GuestState>,
        image: Instance,
    ) -> wasmtime::Result<Instance> {
        let mut instances: Vec<Instance> = Vec::with_capacity(self.modules.len());
        let mut imports: Vec<Extern> = Vec::new();
        let mut tick = None;
        let missing = |name: &str| wasmtime::Error::msg(format!("the pack has no {name}"));
        let shim = match &self.fiber_shim {
            Some(shim) => Some(shim.instantiate(&self.linker, store).await?),
            None => None,
        };
        for LinkedModule {
            module,
            imports: sources,
        } in &self.modules
        {
            imports.clear();
            for source in sources {
                let import = match source {
                    ImportSource::Image(name) => image
                        .get_export(&mut *store, name)
                        .ok_or_else(|| missing(name))?,
                    ImportSource::Module(index, name) => instances[*index]
                        .get_export(&mut *store, name)
                        .ok_or_else(|| missing(name))?,
                    ImportSource::Fiber(name) => shim
                        .and_then(|shim| shim.export(store, name))
                        .ok_or_else(|| missing(name))?,
                    ImportSource::Preemption(name) => self
                        .clock
                        .resolve_import(name, &self.linker, store)
                        .ok_or_else(|| missing(name))?,
                    ImportSource::Host(name) => self
                        .linker
                        .get(&mut *store, &name.0, &name.1)
                        .map_err(|_| missing(&name.1))?,
                };
                if matches!(source, ImportSource::Preemption(name) if name == preemption::TICK) {
                    tick = Some(import.clone());
                }
                imports.push(import);
            }
            instances.push(Instance::new_async(&mut *store, module, &imports).await?);
        }
        let exports = instances.last().copied();
        let exports = exports.ok_or_else(|| missing("modules"))?;
        if let Some(shim) = shim {
            shim.set_entry(exports, store)?;
        }
        let target = self.link_target(store, image, exports, tick);
        store.data_mut().extensions.target = target;
        Ok(exports)
    }
}
