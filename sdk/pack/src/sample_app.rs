//! The smallest app of a language, booted once for each pack: its memory is the base that the images of all apps differ
//! from.

use crate::archive::{Archive, ArchiveError, ArchiveWriter, FileMode};

/// A smallest app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleApp {
    /// Paths and contents of the files.
    files: &'static [(&'static str, &'static str)],
    /// Command of the web process.
    pub arguments: &'static [&'static str],
    /// Variables of the environment.
    pub environ: &'static [(&'static str, &'static str)],
}

/// Ruby's.
const RUBY: SampleApp = SampleApp {
    files: &[("config.ru", "run ->(env) { [200, {}, [\"\"]] }\n")],
    arguments: &["rackup"],
    environ: &[
        ("LANG", "en_US.UTF-8"),
        ("PORT", "5000"),
        ("RACK_ENV", "production"),
    ],
};

/// Returns the smallest app of a language.
pub fn sample_app(language: &str) -> Option<SampleApp> {
    (language == "ruby").then_some(RUBY)
}

impl SampleApp {
    /// Returns the app's files.
    ///
    /// # Errors
    ///
    /// The archive cannot be written.
    pub fn archive(&self) -> Result<Archive, ArchiveError> {
        let mut writer = ArchiveWriter::new(Vec::new());
        for (path, text) in self.files {
            writer.add_file(path, text.as_bytes(), text.len() as u64, FileMode::Plain)?;
        }
        Archive::new(writer.finish()?.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_app_of_ruby_has_its_files() {
        let app = sample_app("ruby").unwrap();
        assert!(app.archive().unwrap().lookup("config.ru").is_some());
        assert!(sample_app("cobol").is_none());
    }
}
