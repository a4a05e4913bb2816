//! The functions by which a guest reaches the runner of its commands, in a module of our own.

use wasmtime::{Caller, Linker};

use crate::guest_state::GuestState;
use crate::wasi::{guest, store};

/// Import module of the functions.
pub(crate) const MODULE: &str = "tool";

/// Most bytes of a request or an answer: the files of a command with it.
const MAX_MESSAGE: usize = 128 << 20;

/// Defines the functions.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define_host_functions(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "call",
        |mut caller: Caller<'_, GuestState>, request: i32, size: i32| {
            let (memory, state) = guest(&mut caller)?;
            let Some(runner) = state.tools.runner.clone() else {
                return Ok(-1);
            };
            let (at, size) = (
                request.cast_unsigned() as usize,
                size.cast_unsigned() as usize,
            );
            let request = memory.get(at..).and_then(|rest| rest.get(..size));
            let Some(request) = request.filter(|request| request.len() <= MAX_MESSAGE) else {
                return Ok(-1);
            };
            let answer = runner.run(request);
            state.tools.answer = answer;
            let length = state.tools.answer.len();
            let is_bounded = length <= MAX_MESSAGE;
            Ok::<i64, wasmtime::Error>(if is_bounded { length as i64 } else { -1 })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "take",
        |mut caller: Caller<'_, GuestState>, buffer: i32, size: i32| {
            let (memory, state) = guest(&mut caller)?;
            let answer = std::mem::take(&mut state.tools.answer);
            let answer = &answer[..answer.len().min(size.cast_unsigned() as usize)];
            // The guest sees its own buffer unchanged if its address is wrong.
            let _ = store(memory, buffer, answer);
            Ok::<(), wasmtime::Error>(())
        },
    )?;
    Ok(())
}
