//! Programs with files of MRI's source, each in a dyno of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use corundum_compiler::process;
use corundum_host::boot::{self, AppProcess, BootError, BootLimits};
use corundum_host::engine::Engine;
use corundum_host::log::LogSink;
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_pack::archive::{Archive, ArchiveWriter, FileMode};
use corundum_pack::mri;
use corundum_pack::ruby::Series;

/// Contents of files by their paths.
pub(super) type ProgramFiles = BTreeMap<String, Vec<u8>>;

/// Status and output of a command.
pub(super) type CommandResult = Result<(i32, Vec<u8>), BootError>;

/// A pack, and an app whose commands run.
pub(super) struct DynoRunner {
    engine: Engine,
    pack: Pack,
    runtime: tokio::runtime::Runtime,
    slug: Arc<Archive>,
    names: Vec<String>,
}

impl DynoRunner {
    pub(super) fn new(engine: Engine, pack: Pack, files: ProgramFiles) -> anyhow::Result<Self> {
        let names = files.keys().cloned().collect();
        let mut writer = ArchiveWriter::new(Vec::new());
        for (name, bytes) in files {
            writer.add_file(&name, bytes.as_slice(), bytes.len() as u64, FileMode::Plain)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            engine,
            pack,
            runtime,
            slug: Arc::new(Archive::new(writer.finish()?.output)?),
            names,
        })
    }

    /// Returns the names of the Ruby files in a folder.
    pub(super) fn files(&self, folder: &str) -> Vec<String> {
        let names = self
            .names
            .iter()
            .filter_map(|name| name.strip_prefix(folder));
        names
            .filter(|name| !name.contains('/') && name.ends_with(".rb"))
            .map(str::to_owned)
            .collect()
    }

    /// Runs Ruby in a dyno. Returns its log, and its status and output.
    pub(super) fn ruby(
        &self,
        arguments: &[&str],
        limits: &BootLimits,
    ) -> (Vec<String>, CommandResult) {
        let log = Arc::new(Lines::default());
        let arguments = ["ruby"].iter().chain(arguments).map(ToString::to_string);
        let app = AppProcess {
            slug: Some(self.slug.clone()),
            arguments: arguments.collect(),
            environ: process::environ(self.pack.manifest().profile(), []),
            outbound: OutboundRules::closed(),
        };
        let run = boot::run_command(&self.engine, &self.pack, &app, None, limits, log.clone());
        let ended = self.runtime.block_on(run);
        let lines = std::mem::take(&mut *log.0.lock().unwrap_or_else(PoisonError::into_inner));
        (lines, ended)
    }
}

/// Returns the files in some folders of MRI's source, which is downloaded unless it is there.
pub(super) fn source_files(
    series: Series,
    cache: &Path,
    folders: &[&str],
) -> anyhow::Result<ProgramFiles> {
    let work = tempfile::tempdir()?;
    let release = mri::release(series.as_str()).context("no source of this series")?;
    let source = mri::fetch_source(cache, release)?;
    let unpacked = Command::new("tar")
        .arg("xf")
        .arg(&source)
        .arg("-C")
        .arg(work.path())
        .args(["--strip-components=1", "--wildcards"])
        .args(folders.iter().map(|folder| format!("*/{folder}")))
        .stderr(std::process::Stdio::null())
        .status()
        .context("tar")?;
    // Some versions of the source lack some of these folders, so the status is not checked. Without files, the run fails.
    tracing::debug!(%unpacked, "files of MRI's source");
    let mut files = ProgramFiles::new();
    collect(work.path(), "", &mut files)?;
    Ok(files)
}

fn collect(root: &Path, below: &str, files: &mut ProgramFiles) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file() {
            files.insert(path, std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The log of a dyno.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}
