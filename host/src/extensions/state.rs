//! The extensions of a dyno.

use std::sync::Arc;

use wasmtime::{Extern, Global, Instance, Memory, SharedMemory};

use super::ExtensionRecord;
use super::code::{CodeSource, ExtensionCode};
use crate::account::{Account, Charge, Holding, OutOfReserve};

/// Extensions that a dyno may load. A large app has some thirty.
pub(super) const MAX_EXTENSIONS: usize = 200;
/// Bytes that the engine holds for a function of an extension that is an entry of the table.
const ENTRY_BYTES: usize = 64;
/// Bytes that the engine holds for an instance.
const INSTANCE_BYTES: usize = 4096;

/// The instances of a dyno that extensions are linked to.
#[derive(Clone)]
pub(crate) struct LinkTarget {
    pub(crate) codes: Arc<dyn CodeSource>,
    pub(crate) image: Instance,
    /// The pack's last module.
    pub(crate) pack: Instance,
    pub(crate) memory: Memory,
    pub(crate) stack_pointer: Global,
    pub(crate) clock: SharedMemory,
    pub(crate) tick: Extern,
    /// The first entry of the table that the pack does not take.
    pub(crate) first_entry: u32,
}

/// The extensions of one dyno.
pub(crate) struct DynoExtensions {
    account: Arc<Account>,
    /// `None` until the pack is linked, and for packs that load no extensions.
    pub(crate) target: Option<LinkTarget>,
    /// Modules that the guest has opened; `None` for one that it has linked.
    pub(super) opened: Vec<OpenedExtension>,
    pub(super) linked: Vec<LinkedExtension>,
    pub(super) next_entry: u32,
    /// The reason why the last call failed.
    pub(super) message: String,
}

/// A module that the guest has opened.
pub(super) struct OpenedExtension {
    pub(super) code: Arc<ExtensionCode>,
    /// Initial data, until the module is linked.
    pub(super) data: Vec<(u32, Vec<u8>)>,
    /// First entry in the table, once the module is linked.
    pub(super) table_base: Option<u32>,
}

/// A linked extension.
pub(super) struct LinkedExtension {
    pub(super) record: ExtensionRecord,
    /// Globals that the image does not have.
    pub(super) globals: Vec<Global>,
    pub(super) _charge: Charge,
}

/// The place of an extension in a dyno.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExtensionPlace {
    pub(crate) memory_base: u32,
    pub(crate) table_base: u32,
}

impl DynoExtensions {
    /// Creates the extensions of a dyno that has none yet.
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        Self {
            account: account.clone(),
            target: None,
            opened: Vec::new(),
            linked: Vec::new(),
            next_entry: 0,
            message: String::new(),
        }
    }

    /// Charges what the host holds for one more linked extension.
    pub(super) fn charge(&self, code: &ExtensionCode) -> Result<Charge, OutOfReserve> {
        let mut charge = self.account.charge(Holding::Extensions);
        let tables = code.layout.table_size as usize + code.imports.len();
        charge.try_resize(INSTANCE_BYTES + tables * ENTRY_BYTES)?;
        Ok(charge)
    }

    /// Returns the records for an image, in the order of loading.
    pub(crate) fn records(&self) -> Vec<ExtensionRecord> {
        self.linked
            .iter()
            .map(|linked| linked.record.clone())
            .collect()
    }

    /// Returns the globals of extensions that the image does not have, with the names under which the next image
    /// exports them.
    pub(crate) fn globals(&self) -> Vec<(String, Global)> {
        let named = self.linked.iter().enumerate().flat_map(|(index, linked)| {
            let globals = linked.globals.iter().enumerate();
            globals.map(move |(place, global)| (global_name(index, place), *global))
        });
        named.collect()
    }

    /// Returns the entries of the table for one more extension.
    pub(super) fn free_entry(&self) -> u32 {
        let first = self.target.as_ref().map_or(0, |target| target.first_entry);
        self.next_entry.max(first)
    }

    pub(super) fn is_full(&self) -> bool {
        self.linked.len().max(self.opened.len()) >= MAX_EXTENSIONS
    }
}

/// Returns the name under which an image exports a global of an extension: by the extension's place in the order of
/// loading, and the global's among its own.
pub(super) fn global_name(extension: usize, global: usize) -> String {
    format!("extension{extension}.g{global}")
}
