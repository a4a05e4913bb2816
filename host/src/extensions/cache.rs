//! The compiled code of extensions, kept in the directory of their pack.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use corundum_pack::cache_usage::mark_used;
use corundum_pack::extension::{
    self, ExtensionError, ExtensionLayout, MEMORY_BASE, PACK, PackSymbols, STACK_POINTER,
    TABLE_BASE,
};
use corundum_pack::{PackDir, image, preemption, split};
use wasmtime::Module;

use super::code::{CodeSource, ExtensionCode, ExtensionImport};

use crate::compiled::{self, CompiledError, digest_of};
use crate::engine::Engine;

/// The directory of compiled extensions in the directory of their pack.
const DIRECTORY: &str = "extensions";

/// Failure to get the code of an extension.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionCodeError {
    /// The pack loads no extensions.
    #[error(
        "this build of the runtime cannot load native extensions: build it from source (corundum pack build)"
    )]
    Unsupported,
    /// The module cannot be an extension of the pack.
    #[error(transparent)]
    Module(#[from] ExtensionError),
    /// The code is not there, and dynos that run do not compile.
    #[error("it was not compiled when the app was pushed: push the app again")]
    Unknown,
    /// The code does not compile, or the result cannot be kept.
    #[error("{0}")]
    Compiled(#[from] CompiledError),
    /// The node has no room for it.
    #[error("the node has no room for it: {0}")]
    Full(String),
}

/// The extensions of a pack.
pub(crate) struct ExtensionCache {
    engine: Engine,
    directory: PackDir,
    /// The module that provides what extensions import.
    provider: Module,
    symbols: OnceLock<Option<PackSymbols>>,
    loaded: Mutex<HashMap<String, Weak<ExtensionCode>>>,
}

impl ExtensionCache {
    pub(crate) fn new(engine: Engine, directory: PackDir, provider: Module) -> Arc<Self> {
        Arc::new(Self {
            engine,
            directory,
            provider,
            symbols: OnceLock::new(),
            loaded: Mutex::default(),
        })
    }

    /// Returns what extensions may use of the pack.
    pub(crate) fn symbols(&self) -> Option<&PackSymbols> {
        let read = || {
            let member = self.directory.manifest().symbols.as_ref()?;
            let text = self.directory.read(member).ok()?;
            serde_json::from_slice(&text).ok()
        };
        self.symbols.get_or_init(read).as_ref()
    }

    /// Returns the code of the module with a digest.
    ///
    /// # Errors
    ///
    /// Returns [`ExtensionCodeError::Unknown`] if it has not been compiled, and other errors if it is damaged.
    pub(crate) fn load(&self, digest: &str) -> Result<Arc<ExtensionCode>, ExtensionCodeError> {
        let known = self.loaded().get(digest).and_then(Weak::upgrade);
        if let Some(code) = known {
            return Ok(code);
        }
        let path = self.path(digest);
        let layout = fs::read(layout_path(&path)).map_err(|_| ExtensionCodeError::Unknown)?;
        let layout: ExtensionLayout =
            serde_json::from_slice(&layout).map_err(|_| ExtensionCodeError::Unknown)?;
        mark_used(&path);
        let module = match compiled::load(&self.engine, &path) {
            Err(CompiledError::Missing(_)) => return Err(ExtensionCodeError::Unknown),
            module => module?,
        };
        let loaded = self.engine.reserve_image();
        let loaded = loaded.map_err(|limit| ExtensionCodeError::Full(limit.to_string()))?;
        let imports = module.imports().map(|import| self.source(&import));
        let code = Arc::new(ExtensionCode {
            digest: digest.to_owned(),
            imports: imports.collect::<Result<_, _>>()?,
            module,
            layout,
            loaded,
        });
        let mut known = self.loaded();
        known.retain(|_, code| code.strong_count() > 0);
        known.insert(digest.to_owned(), Arc::downgrade(&code));
        Ok(code)
    }

    /// Prepares and compiles a module unless that has been done, and returns its code.
    ///
    /// # Errors
    ///
    /// Returns [`ExtensionCodeError`] if the module cannot be an extension of the pack, or if the disk fails.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Arc<ExtensionCode>, ExtensionCodeError> {
        let digest = digest_of(wasm);
        match self.load(&digest) {
            Err(ExtensionCodeError::Unknown | ExtensionCodeError::Compiled(_)) => {}
            found => return found,
        }
        let symbols = self.symbols().ok_or(ExtensionCodeError::Unsupported)?;
        let prepared = extension::prepare(wasm, symbols)?;
        let path = self.path(&digest);
        let io = |source| CompiledError::Io {
            path: path.clone(),
            source,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(io)?;
        }
        let layout = serde_json::to_vec(&prepared.layout).map_err(|error| io(error.into()))?;
        compiled::replace(&layout_path(&path), |file| file.write_all(&layout)).map_err(io)?;
        compiled::write(&self.engine, &prepared.code, &path)?;
        self.load(&digest)
    }

    fn source(&self, import: &wasmtime::ImportType<'_>) -> Result<ExtensionImport, CompiledError> {
        let own = |name: &str| {
            let index = name.strip_prefix(extension::GLOBALS)?.strip_prefix(".g")?;
            index.parse::<u32>().ok()
        };
        let found = match (import.module(), import.name()) {
            (PACK, name) => self
                .provider
                .get_export_index(name)
                .map(ExtensionImport::Pack),
            (split::IMAGE, image::MEMORY) => Some(ExtensionImport::Memory),
            (split::IMAGE, name) => own(name).map(|index| match index {
                STACK_POINTER => ExtensionImport::StackPointer,
                MEMORY_BASE => ExtensionImport::MemoryBase,
                TABLE_BASE => ExtensionImport::TableBase,
                own => ExtensionImport::Own((own - TABLE_BASE - 1) as usize),
            }),
            (preemption::MODULE, preemption::CLOCK) => Some(ExtensionImport::Clock),
            (preemption::MODULE, preemption::TICK) => Some(ExtensionImport::Tick),
            _ => None,
        };
        let missing = || format!("the pack has no {}.{}", import.module(), import.name());
        found.ok_or_else(|| CompiledError::Compile(missing()))
    }

    /// Returns the path of the compiled form of the module with a digest.
    fn path(&self, digest: &str) -> PathBuf {
        let key = self.engine.compatibility_key();
        let name = format!("{digest}-{key}-{}.cwasm", extension::REVISION);
        self.directory.path().join(DIRECTORY).join(name)
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<String, Weak<ExtensionCode>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CodeSource for ExtensionCache {
    fn code_of(&self, wasm: &[u8]) -> Result<Arc<ExtensionCode>, String> {
        // Compiling takes up to a minute and much memory, so that only builds do it.
        let code = match self.engine.config().compiles_extensions {
            true => self.compile(wasm),
            false => self.load(&digest_of(wasm)),
        };
        code.map_err(|error| error.to_string())
    }
}

fn layout_path(compiled: &Path) -> PathBuf {
    compiled.with_extension("json")
}
