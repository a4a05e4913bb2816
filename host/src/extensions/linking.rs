//! Linking of extensions to a dyno that runs or starts.

use corundum_pack::extension::InitialGlobal;
use wasmtime::{AsContextMut, Extern, Global, GlobalType, Instance, Mutability, Val, ValType};

use super::ExtensionRecord;
use super::code::{ExtensionCode, ExtensionImport};
use super::state::{ExtensionPlace, LinkedExtension, global_name};
use crate::guest_state::GuestState;

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
            ExtensionImport::Pack(export) => {
                let found = target
                    .pack
                    .get_module_export(store.as_context_mut(), export);
                found.ok_or_else(|| missing("function"))?
            }
            ExtensionImport::Memory => target.memory.into(),
            ExtensionImport::StackPointer => target.stack_pointer.into(),
            ExtensionImport::MemoryBase => memory_base.into(),
            ExtensionImport::TableBase => table_base.into(),
            ExtensionImport::Own(place) => {
                let global = own.get(*place).copied();
                global.ok_or_else(|| missing("global"))?.into()
            }
            ExtensionImport::Clock => target.clock.clone().into(),
            ExtensionImport::Tick => target.tick.clone(),
        });
    }
    Instance::new_async(store.as_context_mut(), &code.module, &imports).await?;
    let mut context = store.as_context_mut();
    let extensions = &mut context.data_mut().extensions;
    extensions.next_entry = extensions
        .free_entry()
        .max(place.table_base + code.layout.table_size);
    extensions.linked.push(LinkedExtension {
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
