//! Compiled modules on disk: sparse files, each with a second file that holds the digest of its bytes.
//!
//! The digest (BLAKE3, some gigabytes a second) detects a damaged or partly written file before any of its code runs.
//! It does not protect against an attacker who can write to the directory; only the node's user can.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use wasmtime::Module;

use crate::engine::Engine;
use crate::native;

/// Bytes of zeros, aligned to this size, that become a hole in the file.
const HOLE: usize = 64 << 10;

/// Failure to write or load a compiled module.
#[derive(Debug, thiserror::Error)]
pub enum CompiledError {
    /// The file or its digest does not exist.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The bytes differ from those that were written, or another engine wrote them.
    #[error("{} is damaged or belongs to another version", .0.display())]
    Damaged(PathBuf),
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The module is not valid WebAssembly, or uses what the engine does not support.
    #[error("the module does not compile: {0}")]
    Compile(String),
}

/// Compiles `wasm` and keeps the result at `path`. A crash at any moment leaves no file that [`load()`] would accept.
///
/// # Errors
///
/// Returns [`CompiledError::Compile`] or [`CompiledError::Io`].
pub(crate) fn write(engine: &Engine, wasm: &[u8], path: &Path) -> Result<(), CompiledError> {
    let compiled = engine.wasmtime().precompile_module(wasm);
    let compiled = compiled.map_err(|error| CompiledError::Compile(format!("{error:#}")))?;
    let io = |source| CompiledError::Io {
        path: path.to_owned(),
        source,
    };
    let digest = digest_of(&compiled);
    replace(&digest_path(path), |file| file.write_all(digest.as_bytes())).map_err(io)?;
    replace(path, |file| write_sparse(file, &compiled)).map_err(io)
}

/// Loads a module that [`write()`] has written.
///
/// # Errors
///
/// Returns [`CompiledError::Missing`] or [`CompiledError::Damaged`]; the caller then compiles the module again.
pub(crate) fn load(engine: &Engine, path: &Path) -> Result<Module, CompiledError> {
    let digest = match fs::read_to_string(digest_path(path)) {
        Ok(digest) => digest,
        Err(_) => return Err(CompiledError::Missing(path.to_owned())),
    };
    let bytes = match native::map(path) {
        Ok(bytes) => bytes,
        Err(_) => return Err(CompiledError::Missing(path.to_owned())),
    };
    if digest_of(&bytes) != digest {
        return Err(CompiledError::Damaged(path.to_owned()));
    }
    drop(bytes);
    native::load_module(engine.wasmtime(), path).map_err(|error| {
        tracing::debug!(path = %path.display(), error = format!("{error:#}"), "compiled module rejected");
        CompiledError::Damaged(path.to_owned())
    })
}

/// Returns the BLAKE3 digest of `bytes` in hexadecimal. All processors compute it, because a node's start waits for it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(bytes);
    hasher.finalize().to_hex().to_string()
}

fn digest_path(path: &Path) -> PathBuf {
    path.with_added_extension("b3")
}

/// Writes a file under a temporary name, syncs it to disk and renames it to `path`. Only its owner can read it, because
/// images contain config vars.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let file = written_beside(path, write)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file as [`replace`] does, but fails if `path` exists.
pub(crate) fn create(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let file = written_beside(path, write)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file under a temporary name in the folder of `path`, and syncs it to disk.
fn written_beside(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(directory)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn write_sparse(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    // On tmpfs, holes may end a process that reads them; see there.
    file.set_len(bytes.len() as u64)?;
    native::allocate_holes(file)?;
    for chunk in bytes.chunks(HOLE) {
        if chunk.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(chunk.len() as i64))?;
        } else {
            file.write_all(chunk)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;

    const WASM: &str = r#"(module (memory (export "memory") 100) (data (i32.const 3000000) "x"))"#;

    #[test]
    fn damaged_or_truncated_file_is_rejected() {
        let engine = Engine::new(EngineConfig::on_demand()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.cwasm");
        assert!(matches!(
            load(&engine, &path),
            Err(CompiledError::Missing(_))
        ));
        write(&engine, &wat::parse_str(WASM).unwrap(), &path).unwrap();
        load(&engine, &path).unwrap();

        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(
                matches!(load(&engine, &path), Err(CompiledError::Damaged(_))),
                "byte {at}"
            );
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(
            load(&engine, &path),
            Err(CompiledError::Damaged(_))
        ));
        fs::remove_file(digest_path(&path)).unwrap();
        assert!(matches!(
            load(&engine, &path),
            Err(CompiledError::Missing(_))
        ));
    }

    #[test]
    fn zeros_take_no_space_on_disk() {
        use std::os::unix::fs::MetadataExt;
        // The target directory is on a disk, unlike some directories for temporary files.
        let executable = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(executable.parent().unwrap()).unwrap();
        let path = directory.path().join("sparse");
        let mut bytes = vec![0; 8 << 20];
        bytes[5 << 20] = 1;
        replace(&path, |file| write_sparse(file, &bytes)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
    }
}
