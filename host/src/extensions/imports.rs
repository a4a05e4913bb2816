//! The functions by which a guest loads extensions, in a module of our own (`sdk/ruby/mri/extension/dlopen.c`).

use corundum_pack::extension::{MAX_MODULE, initial_data};
use wasmtime::{Caller, Linker};

use super::cache::ExtensionCodeError;
use super::linking;
use super::state::{ExtensionPlace, MAX_EXTENSIONS, OpenedExtension};
use crate::guest_state::GuestState;
use crate::wasi::store;

/// Import module of the functions.
pub(crate) const MODULE: &str = "extension";

/// Defines the functions.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define_host_functions(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "open",
        |mut caller: Caller<'_, GuestState>, bytes: i32, size: i32, needs: i32| -> i32 {
            match open(&mut caller, bytes, size, needs) {
                Ok(number) => number,
                Err(message) => fail(&mut caller, message, -1),
            }
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "link",
        |mut caller: Caller<'_, GuestState>, (number, memory): (i32, i32)| {
            Box::new(async move {
                match link_opened(&mut caller, number, memory).await {
                    Ok(entry) => entry,
                    Err(message) => fail(&mut caller, message, 0),
                }
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "find",
        |mut caller: Caller<'_, GuestState>, number: i32, name: i32, length: i32| -> i32 {
            match find(&caller, number, name, length) {
                Ok(entry) => entry,
                Err(message) => fail(&mut caller, message, 0),
            }
        },
    )?;
    linker.func_wrap(
        MODULE,
        "message",
        |mut caller: Caller<'_, GuestState>, buffer: i32, size: i32| -> i32 {
            let Some(memory) = caller.data().memory else {
                return 0;
            };
            let (memory, state) = memory.data_and_store_mut(&mut caller);
            let message = state.extensions.message.as_bytes();
            let message = &message[..message.len().min(size.cast_unsigned() as usize)];
            match store(memory, buffer, message) {
                Some(()) => message.len() as i32,
                None => 0,
            }
        },
    )?;
    Ok(())
}

fn fail(caller: &mut Caller<'_, GuestState>, message: String, result: i32) -> i32 {
    caller.data_mut().extensions.message = message;
    result
}

const FAULT: &str = "invalid address";

fn read(caller: &Caller<'_, GuestState>, at: i32, length: i32) -> Result<Vec<u8>, String> {
    let memory = caller.data().memory.ok_or(FAULT)?;
    let (at, length) = (at.cast_unsigned() as usize, length.cast_unsigned() as usize);
    let bytes = memory
        .data(caller)
        .get(at..)
        .and_then(|rest| rest.get(..length));
    Ok(bytes.ok_or(FAULT)?.to_vec())
}

/// Gets the code of a module, and writes to `needs` how much memory its data takes, and the alignment. Returns the number
/// of the opened module.
fn open(
    caller: &mut Caller<'_, GuestState>,
    bytes: i32,
    size: i32,
    needs: i32,
) -> Result<i32, String> {
    if size.cast_unsigned() as usize > MAX_MODULE {
        return Err(format!("it is larger than {} MB", MAX_MODULE >> 20));
    }
    let wasm = read(caller, bytes, size)?;
    let extensions = &caller.data().extensions;
    if extensions.is_full() {
        return Err(format!(
            "the dyno has loaded {MAX_EXTENSIONS} extensions, and may load no more"
        ));
    }
    let unsupported = || ExtensionCodeError::Unsupported.to_string();
    let codes = extensions
        .target
        .as_ref()
        .map(|target| target.codes.clone());
    let code = codes.ok_or_else(unsupported)?.code_of(&wasm)?;
    let data = initial_data(&wasm).map_err(|error| error.to_string())?;
    let asked = [code.layout.memory_size, code.layout.memory_alignment];
    let memory = caller.data().memory.ok_or(FAULT)?;
    let asked: Vec<u8> = asked
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    store(memory.data_mut(&mut *caller), needs, &asked).ok_or(FAULT)?;
    let opened = &mut caller.data_mut().extensions.opened;
    opened.push(OpenedExtension {
        code,
        data,
        table_base: None,
    });
    Ok(opened.len() as i32 - 1)
}

/// Links an opened module whose data is to be at `memory`. Returns the number of the function that initializes it.
async fn link_opened(
    caller: &mut Caller<'_, GuestState>,
    number: i32,
    memory: i32,
) -> Result<i32, String> {
    let number = number.cast_unsigned() as usize;
    let state = caller.data_mut();
    let table_base = state.extensions.free_entry();
    let opened = state.extensions.opened.get_mut(number);
    let opened = opened.filter(|opened| opened.table_base.is_none());
    let opened = opened.ok_or("no such extension is open")?;
    let (code, data) = (opened.code.clone(), std::mem::take(&mut opened.data));
    opened.table_base = Some(table_base);
    let guest = state.memory.ok_or(FAULT)?;
    for (offset, bytes) in data {
        let at = memory.wrapping_add(offset.cast_signed());
        store(guest.data_mut(&mut *caller), at, &bytes).ok_or(FAULT)?;
    }
    let place = ExtensionPlace {
        memory_base: memory.cast_unsigned(),
        table_base,
    };
    let linked = linking::link(caller, &code, place, false).await;
    linked.map_err(|error| format!("{:#}", error.root_cause()))?;
    Ok((table_base + code.layout.initialize).cast_signed())
}

/// Returns the number of a function in the table.
fn find(
    caller: &Caller<'_, GuestState>,
    number: i32,
    name: i32,
    length: i32,
) -> Result<i32, String> {
    let name = read(caller, name, length.min(1024))?;
    let name = String::from_utf8_lossy(&name);
    let opened = caller
        .data()
        .extensions
        .opened
        .get(number.cast_unsigned() as usize);
    let linked = opened.and_then(|opened| Some((opened, opened.table_base?)));
    let (opened, table_base) = linked.ok_or("no such extension is open")?;
    let entry = opened.code.layout.entry_points.get(&*name);
    let entry = entry.ok_or_else(|| format!("it has no function {name}"))?;
    Ok((table_base + entry).cast_signed())
}
