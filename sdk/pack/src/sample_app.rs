//! The smallest app of a language, booted once for each pack: its memory is the base that the images of all apps differ
//! from.

use std::collections::BTreeMap;

use crate::archive::{Archive, ArchiveError, ArchiveWriter, FileMode};
use crate::manifest::Manifest;

/// A smallest app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleApp {
    /// Paths and contents of the files.
    files: BTreeMap<String, String>,
    /// Command of the web process.
    pub arguments: Vec<String>,
    /// Variables of the environment.
    pub environ: Vec<(String, String)>,
}

/// Returns the smallest app of a pack's language, if its profile has one.
pub fn sample_app(manifest: &Manifest) -> Option<SampleApp> {
    let profile = manifest.profile();
    if profile.sample.is_empty() {
        return None;
    }
    let command = profile.run.command.split_ascii_whitespace();
    Some(SampleApp {
        files: profile.sample.clone(),
        arguments: command.map(str::to_owned).collect(),
        environ: profile.environ([]),
    })
}

impl SampleApp {
    /// Returns the app's files.
    ///
    /// # Errors
    ///
    /// The archive cannot be written.
    pub fn archive(&self) -> Result<Archive, ArchiveError> {
        let mut writer = ArchiveWriter::new(Vec::new());
        for (path, text) in &self.files {
            writer.add_file(path, text.as_bytes(), text.len() as u64, FileMode::Plain)?;
        }
        Archive::new(writer.finish()?.output)
    }
}
