//! A pack in one file: an archive of its manifest and the files that it names, for another machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::archive::{Archive, ArchiveError, ArchiveWriter, FileMode, FinishedArchive};
use crate::manifest::{MANIFEST, PackDir, PackDirError};

/// A pack's file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The pack.
    #[error(transparent)]
    Dir(#[from] PackDirError),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a pack as one file; every part is checked by its digest before.
///
/// # Errors
///
/// [`TransferError`].
pub fn write<W: Write>(pack: &PackDir, output: W) -> Result<FinishedArchive<W>, TransferError> {
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

/// Unpacks such a file into an empty directory. Only what the manifest names is taken, and every part is checked.
///
/// # Errors
///
/// [`TransferError`].
pub fn read(bytes: Vec<u8>, directory: &Path) -> Result<PackDir, TransferError> {
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
        };
        PackDir::write(directory, &manifest).unwrap();
        PackDir::open(directory).unwrap()
    }

    #[test]
    fn a_pack_arrives_as_it_was_sent_and_damage_is_seen() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sent = pack(from.path());
        fs::write(from.path().join("compiled-here.cwasm"), "native").unwrap();
        let mut bytes = write(&sent, Vec::new()).unwrap().output;
        let arrived = read(bytes.clone(), to.path()).unwrap();
        assert_eq!(arrived.manifest(), sent.manifest());
        assert!(!to.path().join("compiled-here.cwasm").exists());

        let at = bytes.windows(6).position(|part| part == b"memory").unwrap();
        bytes[at] = b'X';
        let to = tempfile::tempdir().unwrap();
        let damaged = read(bytes.clone(), to.path());
        assert!(matches!(
            damaged,
            Err(TransferError::Dir(PackDirError::Damaged(_)))
        ));
        bytes.truncate(600);
        let to = tempfile::tempdir().unwrap();
        assert!(read(bytes, to.path()).is_err());
    }
}
