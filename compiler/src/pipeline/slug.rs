//! Third stage: discovers process types, compresses static files and writes the slug.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use corundum_abi::app_options::{SamplePath, WarmUp};
use corundum_abi::names::{ProcessType, SlugDigest};
use corundum_pack::archive::{self, Archive};
use corundum_pack::language::LanguageSeries;

use super::bundle::BundledApp;
use super::env::BuildEnv;
use super::error::BuildError;
use super::not_run;
use crate::assets::{self, StaticFileMode};
use crate::detect;
use crate::procfile::{self, ProcessCommands};
use crate::report::{BuildReport, human_size};
use crate::sandbox::Sandbox;
use crate::slug::{self, SlugDescription};
use crate::tree::{Tree, TreeError};

/// Paths of the sample requests of Rails apps.
const RAILS_SAMPLES: [&str; 2] = ["/", "/up"];

/// Name of the slug in the build's output directory.
pub const SLUG_FILE: &str = "slug.tar";

/// A slug on disk, open for the boot.
pub(super) struct CompiledSlug {
    pub(super) archive: Arc<Archive>,
    /// Digest of a slug that this build wrote.
    pub(super) digest: Option<SlugDigest>,
    pub(super) description: SlugDescription,
}

impl CompiledSlug {
    /// Opens an existing slug.
    pub(super) fn open<S: Sandbox>(path: &Path, env: &BuildEnv<'_, S>) -> Result<Self, BuildError> {
        let archive = env.sandbox.open_slug(path).map_err(BuildError::OpenSlug)?;
        Ok(Self {
            description: SlugDescription::read(&archive)?,
            archive,
            digest: None,
        })
    }
}

impl BundledApp {
    /// Writes the slug into the output directory.
    pub(super) fn write_slug<S: Sandbox>(
        self,
        env: &BuildEnv<'_, S>,
        report: &mut BuildReport<impl Write>,
    ) -> Result<CompiledSlug, BuildError> {
        let processes = discover_processes(&self.tree, env, report)?;
        not_run::check_release_phase(&processes)?;
        for note in not_run::notes(&processes) {
            report.detail(&note);
        }
        let Self { mut tree, app_json } = self;
        let manifest = env.sandbox.manifest();
        let runtime = LanguageSeries::new(&manifest.language, &manifest.series)?;
        let pack = runtime.ruby().is_none().then(|| manifest.digest.clone());
        let description = SlugDescription {
            abi: manifest.abi,
            runtime,
            pack,
            processes,
            isolation: app_json.isolation,
            warm_up: warm_up(app_json.warm_up, &tree)?,
            static_files: app_json.static_files,
            outbound: app_json.outbound,
            cron: app_json.cron,
        };
        if app_json.static_files.serve != StaticFileMode::None {
            compress_static_files(&mut tree, report)?;
        }
        let path = env.output.join(SLUG_FILE);
        let file = BufWriter::new(File::create(&path)?);
        let finished = slug::write(&tree, &description, env.slug_limit, file)?;
        let file = finished.output.into_inner().map_err(io::Error::from)?;
        file.sync_all()?;
        // The boot reads the archive in place; the node keeps it compressed.
        let archive = env.sandbox.open_slug(&path).map_err(BuildError::OpenSlug)?;
        let size = compress_slug(&path, finished.length)?;
        report.topic(&format!("Compressing... done, {}", human_size(size)));
        tracing::debug!(bytes = finished.length, at_rest = size, "slug written");
        Ok(CompiledSlug {
            archive,
            digest: Some(finished.digest),
            description,
        })
    }
}

/// Replaces the slug at `path`, of `length` bytes, by its compressed form if that is smaller. Returns its size in bytes.
fn compress_slug(path: &Path, length: u64) -> io::Result<u64> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut compressed = tempfile::NamedTempFile::new_in(directory)?;
    if archive::compress(&mut File::open(path)?, length, compressed.as_file_mut())? {
        compressed.as_file().sync_all()?;
        compressed.persist(path).map_err(|error| error.error)?;
    }
    Ok(path.metadata()?.len())
}

/// Returns the sample requests of an app. Those of Rails also ask for the path of its health check, which works even if
/// the app's first page needs a database that has no tables yet.
fn warm_up(asked: WarmUp, tree: &Tree) -> Result<WarmUp, TreeError> {
    let lockfile = tree.text("Gemfile.lock")?.unwrap_or_default();
    if asked != WarmUp::Requests || !detect::is_rails(&lockfile) {
        return Ok(asked);
    }
    let paths = RAILS_SAMPLES.map(|path| SamplePath::try_from(path.to_owned()));
    Ok(WarmUp::Paths(paths.into_iter().flatten().collect()))
}

/// Reads the Procfile, and adds the default web process if it declares none.
fn discover_processes<S: Sandbox>(
    tree: &Tree,
    env: &BuildEnv<'_, S>,
    report: &mut BuildReport<impl Write>,
) -> Result<ProcessCommands, BuildError> {
    report.topic("Discovering process types");
    let mut processes = match tree.text("Procfile")? {
        Some(text) => procfile::parse(&text)?,
        None => ProcessCommands::new(),
    };
    if processes.is_empty() {
        report.detail(&format!(
            "No Procfile, using the default: web: {}",
            env.sandbox.manifest().profile().run.command
        ));
    } else {
        let types: Vec<String> = processes.keys().map(ToString::to_string).collect();
        let types = types.join(", ");
        report.detail(&format!("Procfile declares types -> {types}"));
    }
    processes
        .entry(ProcessType::web())
        .or_insert_with(|| env.sandbox.manifest().profile().run.command.clone());
    Ok(processes)
}

fn compress_static_files(
    tree: &mut Tree,
    report: &mut BuildReport<impl Write>,
) -> Result<(), BuildError> {
    let summary = assets::compress(tree)?;
    if summary.files > 0 {
        report.topic(&format!(
            "Compressing static files... done, {} of {}: {} -> {}",
            summary.files,
            summary.total,
            human_size(summary.before),
            human_size(summary.after)
        ));
    }
    Ok(())
}
