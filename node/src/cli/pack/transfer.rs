//! `pack export` and `pack import`: a pack in one file.
//!
//! The file is an archive of the pack's manifest and the files that it names. Compiled code is not part of it, since the
//! other machine may have another processor.

use std::fs;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use corundum_compiler::checksum::Checksum;
use corundum_pack::ruby::{self, Edition, Series};
use corundum_pack::transfer;

/// Most bytes of a pack file, several times the size of the largest pack.
const MAX_FILE: u64 = 1 << 30;

/// Writes a built pack into one file.
pub(super) fn export(edition: Edition, path: &Path) -> anyhow::Result<ExitCode> {
    let pack = ruby::prepared(edition, &crate::cli::cache()?)
        .with_context(|| format!("Ruby {edition}: not built yet; run {}", edition.command()))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let part = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| path.display().to_string())?;
    let digest = {
        let written = transfer::export_pack(&pack, BufWriter::new(part.as_file()))?;
        let file = written.output.into_inner();
        file.map_err(std::io::IntoInnerError::into_error)?
            .sync_all()?;
        written.digest
    };
    part.persist(path)
        .with_context(|| path.display().to_string())?;
    println!("{digest}  {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Imports a pack from a file.
pub(super) fn import(path: &Path, expected: Option<&str>) -> anyhow::Result<ExitCode> {
    let length = fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    anyhow::ensure!(
        length <= MAX_FILE,
        "{}: too large for a pack",
        path.display()
    );
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    if let Some(expected) = expected {
        let found = Checksum::of(&bytes).to_string();
        if !found.eq_ignore_ascii_case(expected.trim()) {
            bail!(
                "{}: the SHA-256 is {found}, not the expected one; the file was not imported",
                path.display()
            );
        }
    }
    let cache = crate::cli::cache()?;
    let packs = cache.join("packs");
    fs::create_dir_all(&packs).with_context(|| packs.display().to_string())?;
    let work = tempfile::Builder::new()
        .prefix(".importing-")
        .tempdir_in(&packs)?;
    let pack = transfer::import_pack(bytes, work.path())
        .with_context(|| format!("{}: not a pack, or damaged", path.display()))?;
    let manifest = pack.manifest();
    let series: Option<Series> = manifest.series.parse().ok();
    let edition = series.map(Series::best);
    let Some(edition) = edition.filter(|edition| manifest.digest == ruby::digest(*edition)) else {
        bail!(
            "{}: Ruby {} of another version of Corundum, which this one cannot use; export it with this version",
            path.display(),
            manifest.version
        );
    };
    let place = ruby::pack_path(edition, &cache);
    if ruby::prepared(edition, &cache).is_some() {
        println!("Ruby {edition} is already imported: {}", place.display());
        return Ok(ExitCode::SUCCESS);
    }
    let _ = fs::remove_dir_all(&place);
    fs::rename(work.keep(), &place).with_context(|| place.display().to_string())?;
    println!("Ruby {edition} is imported: a node compiles it when it starts");
    Ok(ExitCode::SUCCESS)
}
