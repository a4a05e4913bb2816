//! The code of an extension, and where a dyno gets it from.

use std::sync::Arc;

use corundum_pack::extension::ExtensionLayout;
use wasmtime::{Module, ModuleExport};

use crate::loaded_image::LoadedImage;

/// Provider of the code of modules that a guest loads.
pub(crate) trait CodeSource: Send + Sync {
    /// Returns the code of a module, or the reason why there is none.
    fn code_of(&self, wasm: &[u8]) -> Result<Arc<ExtensionCode>, String>;
}

/// The code of an extension, compiled for the engine.
pub(crate) struct ExtensionCode {
    pub(super) digest: String,
    pub(super) module: Module,
    pub(super) layout: ExtensionLayout,
    pub(super) imports: Vec<ExtensionImport>,
    #[expect(dead_code, reason = "it counts the code while the code is loaded")]
    pub(super) loaded: LoadedImage,
}

/// The provider of an import of an extension.
pub(super) enum ExtensionImport {
    /// The pack's last module.
    Pack(ModuleExport),
    Memory,
    StackPointer,
    MemoryBase,
    TableBase,
    /// A global of the extension's own, by its place among them.
    Own(usize),
    Clock,
    Tick,
}
