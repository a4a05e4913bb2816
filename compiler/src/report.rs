//! Output of a build in Heroku's format: topics with an arrow, details indented.

use std::io::Write;

/// Bytes of a line. An error may quote a file that is one line of a megabyte.
const MAX_LINE_BYTES: usize = 8000;

/// Writer of build output. It ignores write errors: the owner of the process ends a build that has no reader.
pub struct BuildReport<W: Write> {
    out: W,
}

impl<W: Write> BuildReport<W> {
    /// Creates a report that writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes `-----> topic`.
    pub fn topic(&mut self, text: &str) {
        self.line(&format!("-----> {text}"));
    }

    /// Writes details of the topic above, each line indented.
    pub fn detail(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("       {line}"));
        }
    }

    /// Writes ` !     error`, for each line of the error.
    pub fn error(&mut self, text: &str) {
        self.line(" !");
        for line in text.lines() {
            self.line(&format!(" !     {line}"));
        }
        self.line(" !");
    }

    fn line(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(MAX_LINE_BYTES)];
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }
}

/// Formats a size as Heroku does, for example `1.4M`.
pub fn human_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.1}K", bytes as f64 / 1024.0),
        _ => format!("{:.1}M", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_has_heroku_format() {
        let mut bytes = Vec::new();
        let mut report = BuildReport::new(&mut bytes);
        report.topic("Ruby app detected");
        report.detail("one\ntwo");
        report.error("bad");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "-----> Ruby app detected\n       one\n       two\n !\n !     bad\n !\n"
        );
    }

    #[test]
    fn sizes_are_abbreviated() {
        assert_eq!(human_size(17), "17B");
        assert_eq!(human_size(1_468_006), "1.4M");
    }
}
