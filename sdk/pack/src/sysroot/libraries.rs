//! The libraries: sources, licences, and the recipes in `sdk/sysroot/`.

use crate::download::SourceArchive;

/// A library of the sysroot.
pub struct SysrootLibrary {
    /// Name by which [`prepare`](super::prepare) knows the library.
    pub name: &'static str,
    /// Version of the source, without Debian's revision.
    pub version: &'static str,
    /// SPDX expression of the licence.
    pub licence: &'static str,
    /// Names for `pkg-config`.
    pub packages: &'static [&'static str],
    /// Names of the archives, as after `-l`.
    pub archives: &'static [&'static str],
    /// Names of the libraries that this one needs.
    pub needs: &'static [&'static str],
    pub(super) sources: Sources,
    /// Programs that the recipe needs beside those of all recipes, with their Debian packages.
    pub(super) tools: &'static [(&'static str, &'static str)],
    /// Shell script that builds the library.
    pub(super) recipe: &'static str,
}

/// Origin of a library's source.
pub(super) enum Sources {
    /// The toolchain contains it.
    Toolchain,
    /// An archive of the authors, which Debian has not changed.
    Original(SourceArchive),
    /// An archive of the authors, and Debian's patches.
    Patched(SourceArchive, SourceArchive),
}

macro_rules! recipe {
    ($name:literal) => {
        include_str!(concat!("../../../sysroot/", $name, ".sh"))
    };
}

/// All libraries. One that needs another comes after it.
pub static LIBRARIES: &[SysrootLibrary] = &[
    SysrootLibrary {
        name: "zlib",
        version: "1.3.1",
        licence: "Zlib",
        packages: &["zlib"],
        archives: &["z"],
        needs: &[],
        sources: Sources::Original(SourceArchive {
            path: "z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
            sha256: "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
        }),
        tools: &[],
        recipe: recipe!("zlib"),
    },
    SysrootLibrary {
        name: "libxml2",
        version: "2.9.14",
        licence: "MIT",
        packages: &["libxml-2.0"],
        archives: &["xml2"],
        needs: &["zlib"],
        sources: Sources::Patched(
            SourceArchive {
                path: "libx/libxml2/libxml2_2.12.7+dfsg+really2.9.14.orig.tar.xz",
                sha256: "4fe913dec8b1ab89d13b489b419a8203176ea39e931eaa0d25b17eafb9c279e9",
            },
            SourceArchive {
                path: "libx/libxml2/libxml2_2.12.7+dfsg+really2.9.14-2.1+deb13u3.debian.tar.xz",
                sha256: "3b6d265f482d6a8fbe3c056d2006fb3b563b4a838f7258b388ac5f0b29206921",
            },
        ),
        tools: &[],
        recipe: recipe!("libxml2"),
    },
    SysrootLibrary {
        name: "libxslt",
        version: "1.1.35",
        licence: "MIT",
        packages: &["libxslt", "libexslt"],
        archives: &["xslt", "exslt"],
        needs: &["libxml2"],
        sources: Sources::Patched(
            SourceArchive {
                path: "libx/libxslt/libxslt_1.1.35.orig.tar.xz",
                sha256: "8247f33e9a872c6ac859aa45018bc4c4d00b97e2feac9eebc10c93ce1f34dd79",
            },
            SourceArchive {
                path: "libx/libxslt/libxslt_1.1.35-1.2+deb13u3.debian.tar.xz",
                sha256: "6a51679fd4ccf179d5018cea8c50681248b595c2e3911d9b2f38b07ac79e7deb",
            },
        ),
        tools: &[],
        recipe: recipe!("libxslt"),
    },
    SysrootLibrary {
        name: "sqlite3",
        version: "3.46.1",
        licence: "blessing",
        packages: &["sqlite3"],
        archives: &["sqlite3"],
        needs: &[],
        sources: Sources::Patched(
            SourceArchive {
                path: "s/sqlite3/sqlite3_3.46.1.orig.tar.xz",
                sha256: "d0cdd2ece271b29e7ce18095745d892517ee26d0f270065b3a25c2e9eb11639c",
            },
            SourceArchive {
                path: "s/sqlite3/sqlite3_3.46.1-7+deb13u2.debian.tar.xz",
                sha256: "59d33bc436258603702bb051d645743ab03612b82f79e7c7d638c65127c21261",
            },
        ),
        tools: &[("tclsh", "tcl")],
        recipe: recipe!("sqlite3"),
    },
    SysrootLibrary {
        name: "yaml",
        version: "0.2.5",
        licence: "MIT",
        packages: &["yaml-0.1"],
        archives: &["yaml"],
        needs: &[],
        sources: Sources::Original(SourceArchive {
            path: "liby/libyaml/libyaml_0.2.5.orig.tar.gz",
            sha256: "fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e",
        }),
        tools: &[],
        recipe: recipe!("yaml"),
    },
    SysrootLibrary {
        name: "pcre2",
        version: "10.46",
        licence: "BSD-3-Clause WITH PCRE2-exception",
        packages: &["libpcre2-8", "libpcre2-posix"],
        archives: &["pcre2-8", "pcre2-posix"],
        needs: &[],
        sources: Sources::Original(SourceArchive {
            path: "p/pcre2/pcre2_10.46.orig.tar.gz",
            sha256: "8d28d7f2c3b970c3a4bf3776bcbb5adfc923183ce74bc8df1ebaad8c1985bd07",
        }),
        tools: &[],
        recipe: recipe!("pcre2"),
    },
    SysrootLibrary {
        name: "openssl",
        version: "3.5.5",
        licence: "Apache-2.0",
        packages: &["openssl", "libssl", "libcrypto"],
        archives: &["ssl", "crypto"],
        needs: &[],
        sources: Sources::Original(SourceArchive {
            path: "o/openssl/openssl_3.5.5.orig.tar.gz",
            sha256: "b28c91532a8b65a1f983b4c28b7488174e4a01008e29ce8e69bd789f28bc2a89",
        }),
        tools: &[],
        recipe: recipe!("openssl"),
    },
    SysrootLibrary {
        name: "libpq",
        version: "18.6",
        licence: "PostgreSQL",
        packages: &["libpq"],
        archives: &["pq", "pgcommon", "pgport"],
        needs: &["openssl"],
        sources: Sources::Original(SourceArchive {
            path: "p/postgresql-18/postgresql-18_18.6.orig.tar.bz2",
            sha256: "555610c24d53e4316da5b7d3fc25c279d96856d5e0e23ee308c328c5fa881d9f",
        }),
        tools: &[("bzip2", "bzip2")],
        recipe: recipe!("libpq"),
    },
    SysrootLibrary {
        name: "libmariadb",
        version: "3.3.19",
        licence: "LGPL-2.1-or-later",
        packages: &["libmariadb", "mariadb", "mysqlclient"],
        archives: &["mariadb", "mysqlclient"],
        needs: &["zlib", "openssl"],
        sources: Sources::Original(SourceArchive {
            path: "m/mariadb/mariadb_10.11.18.orig.tar.gz",
            sha256: "a46852c68075be7c31c7b33fee233c5b5a00c8c28117f5204d124e4f2fd56fa8",
        }),
        tools: &[("gzip", "gzip")],
        recipe: recipe!("libmariadb"),
    },
    SysrootLibrary {
        name: "cxx",
        version: "22.1.8",
        licence: "Apache-2.0 WITH LLVM-exception",
        packages: &[],
        archives: &["c++", "c++abi", "unwind"],
        needs: &[],
        sources: Sources::Toolchain,
        tools: &[],
        recipe: recipe!("cxx"),
    },
];

/// Returns the library of this name.
pub(super) fn find(name: &str) -> Option<&'static SysrootLibrary> {
    LIBRARIES.iter().find(|library| library.name == name)
}

/// Returns the library that provides a package of `pkg-config`, or an archive as named after `-l`.
///
/// `library_of("libxml-2.0")` and `library_of("xml2")` both return libxml2, and `library_of("stdc++")` returns the library of C++.
pub fn library_of(name: &str) -> Option<&'static SysrootLibrary> {
    // GCC's name, which extensions use.
    let name = if name == "stdc++" { "c++" } else { name };
    let has = |names: &[&str]| names.contains(&name);
    LIBRARIES
        .iter()
        .find(|library| has(library.packages) || has(library.archives))
}

/// Returns libraries with all that they need, each after those.
pub(super) fn closure(wanted: &[&'static SysrootLibrary]) -> Vec<&'static SysrootLibrary> {
    let mut names: Vec<&str> = wanted.iter().map(|library| library.name).collect();
    // A library comes after those that it needs, so that one pass from the end finds all.
    for library in LIBRARIES.iter().rev() {
        if names.contains(&library.name) {
            names.extend(library.needs);
        }
    }
    let needed = |library: &&SysrootLibrary| names.contains(&library.name);
    LIBRARIES.iter().filter(needed).collect()
}

/// Returns the archives, as named after `-l`, that the sysroot's archives with these names need.
pub(crate) fn needed_archives(names: &[&str]) -> Vec<&'static str> {
    let used: Vec<_> = names
        .iter()
        .filter_map(|name| {
            LIBRARIES
                .iter()
                .find(|library| library.archives.contains(name))
        })
        .collect();
    // The linker takes archives in any order.
    let archives = closure(&used)
        .into_iter()
        .flat_map(|library| library.archives);
    archives
        .copied()
        .filter(|name| !names.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(libraries: &[&SysrootLibrary]) -> Vec<&'static str> {
        libraries.iter().map(|library| library.name).collect()
    }

    #[test]
    fn libraries_come_after_those_that_they_need() {
        for (index, library) in LIBRARIES.iter().enumerate() {
            for need in library.needs {
                let found = LIBRARIES[..index].iter().any(|other| other.name == *need);
                assert!(found, "{} needs {need}", library.name);
            }
        }
    }

    #[test]
    fn closure_contains_what_a_library_needs() {
        let xslt = find("libxslt").unwrap();
        assert_eq!(names(&closure(&[xslt])), ["zlib", "libxml2", "libxslt"]);
        assert!(closure(&[]).is_empty());
    }

    #[test]
    fn libraries_are_found_by_package_and_archive() {
        assert_eq!(library_of("libxml-2.0").unwrap().name, "libxml2");
        assert_eq!(library_of("exslt").unwrap().name, "libxslt");
        assert_eq!(library_of("stdc++").unwrap().name, "cxx");
        assert!(library_of("gtk+-3.0").is_none());
    }

    #[test]
    fn names_of_packages_and_archives_are_unique() {
        for of in [
            |library: &SysrootLibrary| library.packages,
            |library: &SysrootLibrary| library.archives,
        ] {
            let mut names: Vec<&str> = LIBRARIES.iter().flat_map(of).copied().collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
