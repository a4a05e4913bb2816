//! Bounded log of a booting app.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use corundum_host::log::LogSink;

/// Lines kept from the beginning, and as many from the end, where a backtrace stands.
const MAX_LINES: usize = 200;
/// Bytes kept of a line. All lines together stay far below the output that the node relays to the pusher.
const MAX_LINE_BYTES: usize = 4000;

/// First and last lines that an app logs while it boots. The log omits the middle of a flood.
#[derive(Default)]
pub(super) struct BootLog(Mutex<BootLogLines>);

#[derive(Default)]
struct BootLogLines {
    first: Vec<String>,
    last: VecDeque<String>,
    omitted: usize,
}

impl BootLog {
    /// Returns the log as text, with a line in place of the omitted ones.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = lines.first.clone();
        if lines.omitted > 0 {
            text.push(format!("... ({} lines left out)", lines.omitted));
        }
        text.extend(lines.last.iter().cloned());
        text.join("\n")
    }
}

impl LogSink for BootLog {
    fn line(&self, line: &[u8]) {
        let line = &line[..line.len().min(MAX_LINE_BYTES)];
        let line = String::from_utf8_lossy(line).into_owned();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.first.len() < MAX_LINES {
            lines.first.push(line);
            return;
        }
        if lines.last.len() == MAX_LINES {
            lines.last.pop_front();
            lines.omitted += 1;
        }
        lines.last.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_keeps_the_beginning_and_the_end_of_a_flood() {
        let log = BootLog::default();
        for index in 0..100_000 {
            log.line(format!("{index} {}", "x".repeat(9000)).as_bytes());
        }
        let text = log.text();
        assert!(text.len() < 2 << 20, "{}", text.len());
        assert!(text.starts_with("0 x") && text.contains("\n99999 x"));
        assert!(text.contains("\n... (99600 lines left out)\n"));
    }
}
