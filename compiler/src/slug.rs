//! Writer and description of slugs.
//!
//! A slug is one archive. Its bytes depend on the tree and the description alone, so that equal apps share a slug.

use std::io::{self, Write};

use corundum_abi::app_options::{Isolation, WarmUp};
use corundum_abi::names::ProcessType;
use corundum_abi::outbound::OutboundTarget;
use corundum_pack::archive::{Archive, ArchiveError, ArchiveWriter, FileMode, FinishedArchive};
use corundum_pack::language::LanguageSeries;
use corundum_pack::ruby;
use serde::{Deserialize, Serialize};

use crate::assets::StaticFileOptions;
use crate::cron::CronJob;
use crate::procfile::ProcessCommands;
use crate::report::human_size;
use crate::tree::Tree;

/// Path of the [`SlugDescription`] in a slug.
pub const DESCRIPTION_FILE: &str = ".corundum/slug.json";

/// Facts about a slug that the node needs to boot and serve it. The slug contains them as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugDescription {
    /// Version of the dyno ABI that the slug was compiled for.
    pub abi: u32,
    /// The language and its series.
    #[serde(flatten)]
    pub runtime: LanguageSeries,
    /// Digest of the pack that the slug was compiled with; none for Ruby, whose packs of a series share slugs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<String>,
    /// Commands by process type.
    pub processes: ProcessCommands,
    /// State that one request may leave behind for the next.
    #[serde(default)]
    pub isolation: Isolation,
    /// Sample requests before the app's memory is saved.
    #[serde(default)]
    pub warm_up: WarmUp,
    /// Options for the files in `public/`.
    #[serde(default, rename = "serving")]
    pub static_files: StaticFileOptions,
    /// Targets that the app may connect to, if `app.json` lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Vec<OutboundTarget>>,
    /// Scheduled commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<CronJob>,
}

impl SlugDescription {
    /// Reads the description that a slug contains.
    ///
    /// # Errors
    ///
    /// [`SlugDescriptionError`].
    pub fn read(slug: &Archive) -> Result<Self, SlugDescriptionError> {
        let file = slug.lookup(DESCRIPTION_FILE);
        let text = slug.content(file.ok_or(SlugDescriptionError::Missing)?);
        serde_json::from_slice(text).map_err(SlugDescriptionError::Invalid)
    }

    /// Returns the command of the web process. Builds declare one for every app.
    pub fn web_command(&self) -> &str {
        let declared = self.processes.get(&ProcessType::web());
        declared.map_or(&ruby::profile().run.command, |command| command)
    }
}

/// A slug that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SlugWriteError {
    /// A path or file of the tree does not fit the archive format.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The spooled tree cannot be read: the platform's fault.
    #[error("the app's tree could not be read: {0}")]
    Io(#[from] io::Error),
    /// The slug exceeds its limit: the app's author removes files. Size and limit are bytes.
    #[error("Compiled slug size: {} is too large (max is {}M).\nList what a running app does not need in .slugignore.", human_size(*.0), .1 >> 20)]
    Size(u64, u64),
}

/// A slug without a usable description: the platform's fault.
#[derive(Debug, thiserror::Error)]
pub enum SlugDescriptionError {
    /// The slug has no description.
    #[error("slug: missing description {DESCRIPTION_FILE}; push the app again")]
    Missing,
    /// The description is not the expected JSON.
    #[error("slug: invalid description {DESCRIPTION_FILE}: {0}; push the app again")]
    Invalid(serde_json::Error),
}

/// Writes the slug of `tree`.
///
/// # Errors
///
/// [`SlugWriteError`]; its variant `Size` if the slug is larger than `limit` bytes.
pub fn write<W: Write>(
    tree: &Tree,
    description: &SlugDescription,
    limit: u64,
    output: W,
) -> Result<FinishedArchive<W>, SlugWriteError> {
    let mut writer = ArchiveWriter::new(output);
    let text = serde_json::to_vec(description).map_err(io::Error::from)?;
    let (text, length) = (text.as_slice(), text.len() as u64);
    // The writer takes entries in the order of their paths, so the description goes between two of the tree.
    let mut described = false;
    for (path, entry) in tree.entries() {
        if !described && path > DESCRIPTION_FILE {
            writer.add_file(DESCRIPTION_FILE, text, length, FileMode::Plain)?;
            described = true;
        }
        tree.archive_entry::<_, SlugWriteError>(&mut writer, path, entry)?;
    }
    if !described {
        writer.add_file(DESCRIPTION_FILE, text, length, FileMode::Plain)?;
    }
    let finished = writer.finish()?;
    if finished.length > limit {
        return Err(SlugWriteError::Size(finished.length, limit));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use corundum_pack::ruby::Series;

    use super::*;

    fn tree(files: &[(&str, &str)], mtime: u64) -> Tree {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(if mtime > 0 { 0o600 } else { 0o644 });
            header.set_mtime(mtime);
            header.set_uid(mtime);
            builder
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        Tree::read(builder.into_inner().unwrap().as_slice(), 1 << 20).unwrap()
    }

    fn description() -> SlugDescription {
        SlugDescription {
            abi: 1,
            runtime: Series::DEFAULT.into(),
            pack: None,
            processes: ProcessCommands::new(),
            isolation: Isolation::App,
            warm_up: WarmUp::Requests,
            static_files: StaticFileOptions::default(),
            outbound: None,
            cron: Vec::new(),
        }
    }

    fn digest(tree: &Tree) -> String {
        write(tree, &description(), 1 << 20, Vec::new())
            .unwrap()
            .digest
            .to_string()
    }

    #[test]
    fn slug_over_the_limit_is_rejected_with_its_size() {
        let large = "x".repeat(1_200_000);
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(large.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "a", large.as_bytes())
            .unwrap();
        let tree = Tree::read(builder.into_inner().unwrap().as_slice(), 2 << 20).unwrap();
        let error = write(&tree, &description(), 1 << 20, Vec::new()).unwrap_err();
        let start = "Compiled slug size: 1.1M is too large (max is 1M).";
        assert!(error.to_string().starts_with(start), "{error}");
    }

    #[test]
    fn equal_trees_give_equal_slugs() {
        let one = tree(&[("a", "1"), (".b", "2")], 0);
        let same = tree(&[(".b", "2"), ("a", "1")], 99);
        let other = tree(&[("a", "1"), (".b", "3")], 0);
        assert_eq!(digest(&one), digest(&same));
        assert_ne!(digest(&one), digest(&other));
    }

    #[test]
    fn description_is_read_from_the_slug() {
        let written = write(&tree(&[("a", "1")], 0), &description(), 1 << 20, Vec::new()).unwrap();
        let slug = Archive::new(written.output).unwrap();
        assert_eq!(SlugDescription::read(&slug).unwrap(), description());
        let empty = ArchiveWriter::new(Vec::new()).finish().unwrap();
        let empty = Archive::new(empty.output).unwrap();
        let error = SlugDescription::read(&empty).unwrap_err();
        assert!(matches!(error, SlugDescriptionError::Missing), "{error}");
    }
}
