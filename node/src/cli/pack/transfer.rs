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
use corundum_pack::PackDir;
use corundum_pack::language::installed;
use corundum_pack::ruby::{self, Series};
use corundum_pack::transfer;

use super::install::{self, Conformance};
use super::name::PackName;

/// Most bytes of a pack file, several times the size of the largest pack.
const MAX_FILE: u64 = 1 << 30;

/// Writes a built pack into one file.
pub(super) fn export(name: &str, path: &Path) -> anyhow::Result<ExitCode> {
    let cache = crate::cli::cache()?;
    let (_, pack) = PackName::find(name, &cache)?.open(&cache)?;
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

/// Imports a pack from a file or a URL.
pub(super) fn import(
    source: &str,
    expected: Option<&str>,
    conformance: Conformance,
) -> anyhow::Result<ExitCode> {
    let is_url = source.starts_with("https://") || source.starts_with("http://");
    let bytes = match is_url {
        true if expected.is_none() => {
            bail!("{source}: a URL needs the digest of the file: give --sha256")
        }
        true => download(source)?,
        false => read(Path::new(source))?,
    };
    if let Some(expected) = expected {
        let found = Checksum::of(&bytes).to_string();
        if !found.eq_ignore_ascii_case(expected.trim()) {
            bail!(
                "{source}: the SHA-256 is {found}, not the expected one; the file was not imported"
            );
        }
    }
    let cache = crate::cli::cache()?;
    let packs = cache.join("packs");
    fs::create_dir_all(&packs).with_context(|| packs.display().to_string())?;
    let work = tempfile::Builder::new()
        .prefix(".preparing-")
        .tempdir_in(&packs)?;
    let directory = work.path().join("pack");
    fs::create_dir(&directory)?;
    let pack = transfer::import_pack(bytes, &directory)
        .with_context(|| format!("{source}: not a pack, or damaged"))?;
    let manifest = pack.manifest();
    if manifest.language == ruby::LANGUAGE {
        return import_ruby(source, &pack, &cache);
    }
    let series = installed::series_of(manifest)
        .map_err(|reason| anyhow::anyhow!("{source}: not a valid pack: {reason}"))?;
    drop(pack);
    let pack = installed::keep(&cache, &directory)?;
    install::finish(&cache, &series, &pack, conformance)
}

/// Keeps a pack of Ruby that was unpacked into a folder of packs.
fn import_ruby(source: &str, pack: &PackDir, cache: &Path) -> anyhow::Result<ExitCode> {
    let manifest = pack.manifest();
    let series: Option<Series> = manifest.series.parse().ok();
    let edition = series.map(Series::best);
    let Some(edition) = edition.filter(|edition| manifest.digest == ruby::digest(*edition)) else {
        bail!(
            "{source}: Ruby {} of another version of Corundum, which this one cannot use; export it with this version",
            manifest.version
        );
    };
    let place = ruby::pack_path(edition, cache);
    if ruby::prepared(edition, cache).is_some() {
        println!("Ruby {edition} is already imported: {}", place.display());
        return Ok(ExitCode::SUCCESS);
    }
    let _ = fs::remove_dir_all(&place);
    fs::rename(pack.path(), &place).with_context(|| place.display().to_string())?;
    println!("Ruby {edition} is imported: a node compiles it when it starts");
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || path.display().to_string();
    let length = fs::metadata(path).with_context(name)?.len();
    anyhow::ensure!(length <= MAX_FILE, "{}: too large for a pack", name());
    fs::read(path).with_context(name)
}

/// Downloads a file.
fn download(url: &str) -> anyhow::Result<Vec<u8>> {
    let response = ureq::get(url).call();
    let mut response = response.with_context(|| format!("{url}: cannot be downloaded"))?;
    let body = response.body_mut().with_config().limit(MAX_FILE);
    body.read_to_vec()
        .with_context(|| format!("{url}: cannot be downloaded"))
}
