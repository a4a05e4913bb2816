//! The user's terminal while a command in a dyno has it.

use std::io::{self, IsTerminal, Stdin};
use std::sync::{Arc, Mutex, PoisonError};

use corundum_abi::run_stream::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of a window that no terminal tells: the smallest that programs expect.
const DEFAULT_SIZE: WindowSize = WindowSize {
    rows: 24,
    columns: 80,
};

/// Returns whether both standard input and standard output are a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Returns the size of the window.
pub(super) fn window_size() -> WindowSize {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
    match size {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        _ => DEFAULT_SIZE,
    }
}

/// Raw mode of the terminal at standard input: every key goes to the dyno, whose terminal gives it its meaning.
///
/// The earlier settings return when this is dropped, and when the process panics.
pub(super) struct RawMode {
    settings: Arc<Mutex<Option<Termios>>>,
}

impl RawMode {
    /// Sets raw mode, unless standard input is no terminal.
    pub(super) fn set() -> io::Result<Self> {
        let stdin = io::stdin();
        let settings = Arc::new(Mutex::new(None));
        if stdin.is_terminal() {
            let earlier = tcgetattr(&stdin)?;
            *settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(earlier.clone());
            restore_on_panic(settings.clone());
            let mut raw = earlier;
            raw.make_raw();
            tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        }
        Ok(Self { settings })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore(&self.settings, &io::stdin());
    }
}

fn restore(settings: &Mutex<Option<Termios>>, stdin: &Stdin) {
    let settings = settings
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(settings) = settings {
        // The terminal may have gone, and with it the reason to restore it.
        let _ = tcsetattr(stdin, OptionalActions::Flush, &settings);
    }
}

/// Restores the settings before the message of a panic is printed.
fn restore_on_panic(settings: Arc<Mutex<Option<Termios>>>) {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        restore(&settings, &io::stdin());
        earlier(information);
    }));
}
