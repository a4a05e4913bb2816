//! Evaluates the Gemfile in the sandbox, because a Gemfile is code.

use std::sync::Arc;
use std::time::Duration;

use corundum_pack::archive::{Archive, ArchiveError, ArchiveWriter, FileMode};

use super::env::BuildEnv;
use crate::gems::GemfileReport;
use crate::process;
use crate::sandbox::{Sandbox, SandboxApp, SandboxError, SandboxOutbound};
use crate::tree::{Tree, TreeError};

/// Command of the pack that evaluates a Gemfile and prints a [`GemfileReport`] as JSON.
const COMMAND: &str = "corundum-gemfile";

/// Files besides gemspecs that a Gemfile may read.
const FILES: [&str; 3] = ["Gemfile", "Gemfile.lock", ".ruby-version"];

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
        environ: process::environ([]),
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

fn readable_files(tree: &Tree) -> Result<Archive, GemfileError> {
    let mut writer = ArchiveWriter::new(Vec::new());
    let is_readable = |path: &str| FILES.contains(&path) || path.ends_with(".gemspec");
    for (path, _) in tree.entries().filter(|(path, _)| is_readable(path)) {
        if let Some(text) = tree.text(path)? {
            writer.add_file(path, text.as_bytes(), text.len() as u64, FileMode::Plain)?;
        }
    }
    Ok(Archive::new(writer.finish()?.output)?)
}
