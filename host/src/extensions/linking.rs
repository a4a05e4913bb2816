//! Linking of extensions to a dyno that runs or starts.

use std::sync::Arc;

use corundum_pack::extension::InitialGlobal;
use wasmtime::{
    AsContextMut, Extern, Global, GlobalType, Instance, Memory, Mutability, SharedMemory, Val,
    ValType,
};

use super::ExtensionRecord;
use super::cache::{ExtensionCache, ExtensionCode, ImportSource};
use crate::account::{Account, Charge, Holding, OutOfReserve};
use crate::guest_state::GuestState;

/// Extensions that a dyno may load. A large app has some thirty.
pub(super) const MAX_EXTENSIONS: usize = 200;
/// Bytes that the engine holds for a function of an extension that is an entry of the table.
const ENTRY_BYTES: usize = 64;
/// Bytes that the engine holds for an instance.
const INSTANCE_BYTES: usize = 4096;

/// What extensions are linked to: the instances of a dyno.
#[derive(Clone)]
pub(crate) struct LinkTarget {
    pub(crate) cache: Arc<ExtensionCache>,
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
    pub(super) opened: Vec<Opened>,
    linked: Vec<Linked>,
    next_entry: u32,
    /// The reason why the last call failed.
    pub(super) message: String,
}

/// A module that the guest has opened.
pub(super) struct Opened {
    pub(super) code: Arc<ExtensionCode>,
    /// Initial data, until the module is linked.
    pub(super) data: Vec<(u32, Vec<u8>)>,
    /// First entry in the table, once the module is linked.
    pub(super) table_base: Option<u32>,
}

struct Linked {
    record: ExtensionRecord,
    /// Globals that the image does not have.
    globals: Vec<Global>,
    _charge: Charge,
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
    fn charge(&self, code: &ExtensionCode) -> Result<Charge, OutOfReserve> {
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

/// Links an extension whose data is in the guest's memory, or will be there.
///
/// `in_image` tells whether the dyno's image has the extension's own globals.
///
/// # Errors
///
/// Fails if the dyno cannot have another instance, or if the place is not free.
pub(crate) async fn link(
    store: &mut impl AsContextMut<Data = GuestState>,
    code: &ExtensionCode,
    place: ExtensionPlace,
    in_image: bool,
) -> wasmtime::Result<()> {
    let missing =
        |what: &str| wasmtime::Error::msg(format!("the dyno has no {what} for an extension"));
    let extensions = &store.as_context().data().extensions;
    let target = extensions.target.clone().ok_or_else(|| missing("table"))?;
    let index = extensions.linked.len();
    let charge = extensions.charge(code)?;
    let base = |store: &mut dyn FnMut(Val) -> wasmtime::Result<Global>, value: u32| {
        store(Val::I32(value.cast_signed()))
    };
    let mut constant = |value: Val| {
        Global::new(
            store.as_context_mut(),
            GlobalType::new(ValType::I32, Mutability::Const),
            value,
        )
    };
    let memory_base = base(&mut constant, place.memory_base)?;
    let table_base = base(&mut constant, place.table_base)?;
    let mut own = Vec::new();
    let mut created = Vec::new();
    for (number, initial) in code.layout.globals.iter().enumerate() {
        if in_image {
            let found = target
                .image
                .get_global(store.as_context_mut(), &global_name(index, number));
            own.push(found.ok_or_else(|| missing("global"))?);
            continue;
        }
        let value = initial_value(*initial, place);
        let kind = GlobalType::new(value.ty(store.as_context())?, Mutability::Var);
        let global = Global::new(store.as_context_mut(), kind, value)?;
        own.push(global);
        created.push(global);
    }
    let mut imports: Vec<Extern> = Vec::with_capacity(code.imports.len());
    for source in &code.imports {
        imports.push(match source {
            ImportSource::Pack(export) => {
                let found = target
                    .pack
                    .get_module_export(store.as_context_mut(), export);
                found.ok_or_else(|| missing("function"))?
            }
            ImportSource::Memory => target.memory.into(),
            ImportSource::StackPointer => target.stack_pointer.into(),
            ImportSource::MemoryBase => memory_base.into(),
            ImportSource::TableBase => table_base.into(),
            ImportSource::Own(place) => {
                let global = own.get(*place).copied();
                global.ok_or_else(|| missing("global"))?.into()
            }
            ImportSource::Clock => target.clock.clone().into(),
            ImportSource::Tick => target.tick.clone(),
        });
    }
    Instance::new_async(store.as_context_mut(), &code.module, &imports).await?;
    let mut context = store.as_context_mut();
    let extensions = &mut context.data_mut().extensions;
    extensions.next_entry = extensions
        .free_entry()
        .max(place.table_base + code.layout.table_size);
    extensions.linked.push(Linked {
        record: ExtensionRecord {
            digest: code.digest.clone(),
            memory_base: place.memory_base,
            table_base: place.table_base,
        },
        globals: created,
        _charge: charge,
    });
    Ok(())
}

/// Returns the name under which an image exports a global of an extension: by the extension's place in the order of
/// loading, and the global's among its own.
fn global_name(extension: usize, global: usize) -> String {
    format!("extension{extension}.g{global}")
}

fn initial_value(initial: InitialGlobal, place: ExtensionPlace) -> Val {
    let from = |base: u32, offset: i32| Val::I32(base.cast_signed().wrapping_add(offset));
    match initial {
        InitialGlobal::I32(value) => Val::I32(value),
        InitialGlobal::I64(value) => Val::I64(value),
        InitialGlobal::F32(bits) => Val::F32(bits),
        InitialGlobal::F64(bits) => Val::F64(bits),
        InitialGlobal::Memory(offset) => from(place.memory_base, offset),
        InitialGlobal::Table(offset) => from(place.table_base, offset),
    }
}
