//! A dyno's log: descriptor 2, split into lines.

use std::sync::Arc;

/// Maximum bytes of a line (Heroku's limit). A longer line is passed on in pieces, so that a guest that never ends a
/// line occupies no memory.
const MAX_LINE: usize = 10_000;

/// Receives log lines.
///
/// It is called on the thread that runs the dyno, so it must not block. An implementation that cannot keep up drops
/// lines and counts them.
pub trait LogSink: Send + Sync {
    /// Takes one line without its line break.
    fn line(&self, line: &[u8]);

    /// Takes a line of the platform about the dyno.
    fn platform_line(&self, line: &str) {
        self.line(line.as_bytes());
    }
}

/// A sink that drops all lines.
pub struct DiscardLog;

impl LogSink for DiscardLog {
    fn line(&self, _line: &[u8]) {}
}

/// Splits the bytes that a guest writes to descriptor 2 into lines.
pub(crate) struct LineSplitter {
    sink: Arc<dyn LogSink>,
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Creates a splitter that passes lines to `sink`.
    pub(crate) fn new(sink: Arc<dyn LogSink>) -> Self {
        Self {
            sink,
            partial: Vec::new(),
        }
    }

    /// Takes bytes and passes on the lines that they complete.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            if self.partial.is_empty() && line.len() <= MAX_LINE {
                self.sink.line(line);
            } else {
                self.extend(line);
                self.end_line();
            }
            bytes = &rest[1..];
        }
        self.extend(bytes);
    }

    /// Passes on a line that has no line break yet.
    pub(crate) fn end_line(&mut self) {
        if !self.partial.is_empty() {
            self.sink.line(&self.partial);
            self.partial.clear();
        }
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > MAX_LINE {
            let (now, later) = bytes.split_at(MAX_LINE - self.partial.len());
            self.partial.extend_from_slice(now);
            self.end_line();
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }
}

impl Drop for LineSplitter {
    fn drop(&mut self) {
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct CollectedLines(Mutex<Vec<String>>);

    impl LogSink for CollectedLines {
        fn line(&self, line: &[u8]) {
            self.0
                .lock()
                .unwrap()
                .push(String::from_utf8_lossy(line).into_owned());
        }
    }

    fn split(parts: &[&str]) -> Vec<String> {
        let lines = Arc::new(CollectedLines::default());
        let mut splitter = LineSplitter::new(lines.clone());
        parts
            .iter()
            .for_each(|part| splitter.write(part.as_bytes()));
        drop(splitter);
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn lines_are_complete_however_they_were_written() {
        assert_eq!(split(&["a\nb", "c\n", "\n", "d"]), ["a", "bc", "", "d"]);
        assert_eq!(split(&["one\ntwo\n"]), ["one", "two"]);
    }

    #[test]
    fn overlong_line_is_split() {
        let lines = split(&["x".repeat(25_000).as_str()]);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [10_000, 10_000, 5_000]
        );
    }
}
