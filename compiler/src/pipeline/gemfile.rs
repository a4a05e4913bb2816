//! Evaluates the Gemfile in the sandbox, because a Gemfile is code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corundum_pack::archive::{Archive, ArchiveError, ArchiveWriter, FileMode};
use corundum_pack::ruby;

use super::env::BuildEnv;
use crate::gems::{GemMetadataFiles, GemfileReport, SpecificationResult};
use crate::process;
use crate::sandbox::{Sandbox, SandboxApp, SandboxError, SandboxOutbound};
use crate::tree::{Tree, TreeEntry, TreeError};

/// Command of the pack that evaluates a Gemfile and prints a [`GemfileReport`] as JSON.
const COMMAND: &str = "corundum-gemfile";

/// Command of the pack that prints specifications of the gems whose metadata it finds, as JSON.
const SPECIFICATIONS_COMMAND: &str = "corundum-gemspecs";

/// Folder with the metadata of gems, in the sandbox.
const METADATA_FOLDER: &str = ".corundum/metadata";

/// Metadata of one run, whose specifications must not exceed the output of a run.
const MAX_METADATA_BYTES: usize = 2 << 20;

/// Bytes of a file that a Gemfile may read, and of all of them.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_ALL_BYTES: u64 = 64 << 20;

/// Folders whose files no Gemfile reads, and which are large.
const NOT_READ: [&str; 4] = [
    "public/",
    "vendor/cache/",
    "node_modules/",
    "vendor/bundle/",
];

/// A Gemfile without a usable result. The pusher corrects it, unless a variant names another fault.
#[derive(Debug, thiserror::Error)]
pub enum GemfileError {
    /// The evaluation exceeded its time.
    #[error("Gemfile: evaluation takes longer than {} s; make it do less", .0.as_secs())]
    Timeout(Duration),
    /// The evaluation ended in an error, which the platform may have caused too.
    #[error("Gemfile: evaluation failed: {0}")]
    Failed(SandboxError),
    /// The Gemfile ended the evaluation itself.
    #[error("Gemfile: evaluation failed: it called exit({0}); remove the call")]
    Exited(i32),
    /// The Gemfile printed text, which is mixed with the result.
    #[error("Gemfile: evaluation failed: it printed something itself; remove the output")]
    Printed,
    /// A file that the Gemfile may read is not UTF-8 or too long.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The files cannot be handed to the sandbox: the platform's fault.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Evaluates the Gemfile of `tree` and returns the gems that it names.
pub(super) fn evaluate<S: Sandbox>(
    env: &BuildEnv<'_, S>,
    tree: &Tree,
) -> Result<GemfileReport, GemfileError> {
    let app = SandboxApp {
        files: Arc::new(readable_files(tree)?),
        arguments: Arc::from([COMMAND.to_owned()]),
        environ: process::environ(ruby::profile(), env.config.iter().cloned()),
        outbound: SandboxOutbound::None,
    };
    let output = env.sandbox.run(&app).map_err(|error| match error {
        SandboxError::Timeout(_) => GemfileError::Timeout(env.gemfile_timeout),
        error => GemfileError::Failed(error),
    })?;
    if output.stdout.is_empty() {
        return Err(GemfileError::Exited(output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|_| GemfileError::Printed)
}

/// Makes specifications of gems of their metadata, as RubyGems does when it installs a gem.
pub(super) fn specifications<S: Sandbox>(
    env: &BuildEnv<'_, S>,
    metadata: &GemMetadataFiles,
) -> Result<BTreeMap<String, SpecificationResult>, GemfileError> {
    let mut made = BTreeMap::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (name, text) in metadata {
        if bytes + text.len() > MAX_METADATA_BYTES {
            made.append(&mut specify(env, &std::mem::take(&mut batch))?);
            bytes = 0;
        }
        bytes += text.len();
        batch.push((name, text));
    }
    made.append(&mut specify(env, &batch)?);
    Ok(made)
}

fn specify<S: Sandbox>(
    env: &BuildEnv<'_, S>,
    metadata: &[(&String, &String)],
) -> Result<BTreeMap<String, SpecificationResult>, GemfileError> {
    if metadata.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut writer = ArchiveWriter::new(Vec::new());
    for (name, text) in metadata {
        let path = format!("{METADATA_FOLDER}/{name}.yaml");
        writer.add_file(&path, text.as_bytes(), text.len() as u64, FileMode::Plain)?;
    }
    let app = SandboxApp {
        files: Arc::new(Archive::new(writer.finish()?.output)?),
        arguments: Arc::from([SPECIFICATIONS_COMMAND.to_owned()]),
        environ: process::environ(ruby::profile(), []),
        outbound: SandboxOutbound::None,
    };
    let output = env.sandbox.run(&app).map_err(GemfileError::Failed)?;
    serde_json::from_slice(&output.stdout).map_err(|_| GemfileError::Exited(output.status))
}

/// Returns the files of the app that a Gemfile or a gemspec may read.
fn readable_files(tree: &Tree) -> Result<Archive, GemfileError> {
    let mut writer = ArchiveWriter::new(Vec::new());
    let mut all = 0;
    for (path, entry) in tree.entries() {
        if NOT_READ.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        match entry {
            TreeEntry::Symlink(target) => writer.add_symlink(path, target)?,
            TreeEntry::File { length, mode, .. } => {
                if *length > MAX_FILE_BYTES || all + length > MAX_ALL_BYTES {
                    continue;
                }
                all += length;
                if let Some(reader) = tree.open(path).map_err(TreeError::from)? {
                    writer.add_file(path, reader, *length, *mode)?;
                }
            }
        }
    }
    Ok(Archive::new(writer.finish()?.output)?)
}
