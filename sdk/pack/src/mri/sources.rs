//! Sources of MRI, of the libraries that are linked into it, and of its gems.

use std::path::{Path, PathBuf};

use super::error::MriError;
use crate::download::{self, SourceArchive, ZIG};

/// A series of MRI that this program can build.
pub struct MriRelease {
    /// The series, e.g. `3.4`.
    pub series: &'static str,
    /// The source, including MRI's tests.
    archive: SourceArchive,
}

/// All series that this program can build.
pub(super) const RELEASES: [MriRelease; 2] = [
    MriRelease {
        series: "3.3",
        archive: SourceArchive {
            path: "r/ruby3.3/ruby3.3_3.3.8.orig.tar.xz",
            sha256: "e2e1233ad275b7623a05edf23a01192626d1da454bdfe353a28a87acd8ef015c",
        },
    },
    MriRelease {
        series: "3.4",
        archive: SourceArchive {
            path: "r/ruby3.4/ruby3.4_3.4.5.orig.tar.xz",
            sha256: "141fb3b0192b8196361b3b4d6c29fc9b10c0798dbe54ada1539d9f1c311bfcbf",
        },
    },
];

/// Returns the release of a series, if this program can build it.
pub fn release(series: &str) -> Option<&'static MriRelease> {
    RELEASES.iter().find(|release| release.series == series)
}

impl MriRelease {
    /// Returns the file name of the source.
    pub(super) fn file_name(&self) -> &'static str {
        self.archive.name()
    }
}

/// Sources of the libraries, which all series share.
const LIBRARIES: [SourceArchive; 4] = [
    SourceArchive {
        path: "c/ca-certificates/ca-certificates_20250419_all.deb",
        sha256: "ef590f89563aa4b46c8260d49d1cea0fc1b181d19e8df3782694706adf05c184",
    },
    SourceArchive {
        path: "o/openssl/openssl_3.5.5.orig.tar.gz",
        sha256: "b28c91532a8b65a1f983b4c28b7488174e4a01008e29ce8e69bd789f28bc2a89",
    },
    SourceArchive {
        path: "z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
        sha256: "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    },
    SourceArchive {
        path: "liby/libyaml/libyaml_0.2.5.orig.tar.gz",
        sha256: "fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e",
    },
];

/// The C library that has the allocator. The compiler's own one rounds every block up to a power of two.
const ALLOCATOR: SourceArchive = SourceArchive {
    path: "w/wasi-libc/wasi-libc_0.0~git20241209.574b88d-2_all.deb",
    sha256: "b7716260051d289248b7667f81fa2792c125d888ff51da3fa09c6272cc0bd11d",
};

/// Sources of the gems that are linked into MRI and that MRI's source lacks.
const GEMS: [SourceArchive; 2] = [
    SourceArchive {
        path: "r/ruby-bcrypt/ruby-bcrypt_3.1.20.orig.tar.gz",
        sha256: "e843496c838ea186f3b1568e67d65e1aa6848f42fcb2d21571f9969ed521755e",
    },
    SourceArchive {
        path: "r/ruby-commonmarker/ruby-commonmarker_0.23.10.orig.tar.gz",
        sha256: "3c3d6cfcf2b323467d747d2e383e6155a99f0d520a51aab4e92dc9076ac3190d",
    },
];

/// Adds the compiler and the sources of the libraries to a digest.
pub(super) fn hash_libraries(hasher: &mut blake3::Hasher) {
    hasher.update(ZIG.as_bytes());
    LIBRARIES.iter().for_each(|source| source.hash(hasher));
}

/// Adds the sources of MRI and its gems to a digest.
pub(super) fn hash_release(release: &MriRelease, hasher: &mut blake3::Hasher) {
    release.archive.hash(hasher);
    ALLOCATOR.hash(hasher);
    GEMS.iter().for_each(|source| source.hash(hasher));
}

/// Returns MRI's source and the compiler, on which the counts of a profile depend.
pub(super) fn profile_origin(release: &MriRelease) -> String {
    format!("{} with {ZIG}", release.file_name())
}

/// Number of files to download.
pub(super) const COUNT: usize = 1 + LIBRARIES.len() + 1 + GEMS.len() + 1;

/// Downloads the sources that are missing in `directory`, and returns the file name of the compiler's package.
///
/// Calls `progress` with each file's name before its download.
pub(super) fn fetch(
    directory: &Path,
    release: &MriRelease,
    mut progress: impl FnMut(&str),
) -> Result<String, MriError> {
    let mut mirror = None;
    for source in [&release.archive]
        .into_iter()
        .chain(&LIBRARIES)
        .chain([&ALLOCATOR])
        .chain(&GEMS)
    {
        progress(source.name());
        download::archive(directory, source, &mut mirror)?;
    }
    progress(ZIG);
    Ok(download::compiler(directory)?)
}

/// Downloads MRI's source alone, and returns its path.
pub(super) fn fetch_mri(directory: &Path, release: &MriRelease) -> Result<PathBuf, MriError> {
    download::archive(directory, &release.archive, &mut None)?;
    Ok(directory.join(release.file_name()))
}
