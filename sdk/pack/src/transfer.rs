//! Export of a pack as a single file, and import of such a file on another machine.
//!
//! The file is an archive of the manifest and of the files that the manifest lists.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::archive::{Archive, ArchiveError, ArchiveWriter, FileMode, FinishedArchive};
use crate::manifest::{MANIFEST, PackDir, PackDirError};

/// Failure to export or import a pack.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The archive is invalid or cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The pack is invalid or damaged.
    #[error(transparent)]
    Dir(#[from] PackDirError),
    /// The disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a pack to `output` as a single file, after checking the digest of every part.
///
/// # Errors
///
/// Returns [`TransferError`] if a part is damaged, or if reading or writing fails.
pub fn export_pack<W: Write>(
    pack: &PackDir,
    output: W,
) -> Result<FinishedArchive<W>, TransferError> {
    let manifest = pack.manifest();
    let mut files = BTreeMap::from([(MANIFEST, fs::read(pack.path().join(MANIFEST))?)]);
    for member in manifest.members() {
        files.insert(&member.file, pack.read(member)?);
    }
    let mut writer = ArchiveWriter::new(output);
    for (name, bytes) in files {
        writer.add_file(name, bytes.as_slice(), bytes.len() as u64, FileMode::Plain)?;
    }
    Ok(writer.finish()?)
}

/// Unpacks an exported pack into an empty directory.
///
/// Only files that the manifest lists are unpacked, and the digest of each is checked.
///
/// # Errors
///
/// Returns [`TransferError`] if the file is invalid, if a part is missing or damaged, or if writing fails.
pub fn import_pack(bytes: Vec<u8>, directory: &Path) -> Result<PackDir, TransferError> {
    let archive = Archive::new(bytes)?;
    let content = |name: &str| {
        let missing = || ArchiveError::CutOff(name.to_owned());
        let node = archive.lookup(name).ok_or_else(missing)?;
        Ok::<_, ArchiveError>(archive.content(node))
    };
    fs::write(directory.join(MANIFEST), content(MANIFEST)?)?;
    let pack = PackDir::open(directory)?;
    for member in pack.manifest().members() {
        fs::write(directory.join(&member.file), content(&member.file)?)?;
        pack.read(member)?;
    }
    Ok(pack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, Member};

    fn pack(directory: &Path) -> PackDir {
        let write = |name: &str, bytes: &[u8]| {
            fs::write(directory.join(name), bytes).unwrap();
            Member::of(name, name, bytes)
        };
        let manifest = Manifest {
            abi: corundum_abi::VERSION,
            language: "x".to_owned(),
            version: "1".to_owned(),
            series: "1".to_owned(),
            origin: "source".to_owned(),
            digest: "d".to_owned(),
            modules: vec![write("code", b"wasm")],
            image: write("image", b"memory"),
            root: write("root", b"files"),
            gems: BTreeMap::new(),
            extensions: Vec::new(),
            symbols: None,
            profile: None,
            probe: None,
        };
        PackDir::write(directory, &manifest).unwrap();
        PackDir::open(directory).unwrap()
    }

    #[test]
    fn exported_pack_is_imported_unchanged_and_damage_is_detected() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sent = pack(from.path());
        fs::write(from.path().join("compiled-here.cwasm"), "native").unwrap();
        let mut bytes = export_pack(&sent, Vec::new()).unwrap().output;
        let arrived = import_pack(bytes.clone(), to.path()).unwrap();
        assert_eq!(arrived.manifest(), sent.manifest());
        assert!(!to.path().join("compiled-here.cwasm").exists());

        let at = bytes.windows(6).position(|part| part == b"memory").unwrap();
        bytes[at] = b'X';
        let to = tempfile::tempdir().unwrap();
        let damaged = import_pack(bytes.clone(), to.path());
        assert!(matches!(
            damaged,
            Err(TransferError::Dir(PackDirError::Damaged(_)))
        ));
        bytes.truncate(600);
        let to = tempfile::tempdir().unwrap();
        assert!(import_pack(bytes, to.path()).is_err());
    }
}
