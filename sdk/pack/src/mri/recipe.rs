//! Files of the recipe in `sdk/ruby/mri/`, embedded in this program.

use std::fs;
use std::io;
use std::path::Path;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../ruby/mri/", $name)))),*]
    };
}

/// All files except the steps.
const FILES: &[(&str, &str)] = files![
    "console/termios.h",
    "coroutine/Context.c",
    "coroutine/Context.h",
    "extension/dlopen.c",
    "extension/exports",
    "gems",
    "memory/free_blocks.c",
    "net/include/arpa/inet.h",
    "net/include/ifaddrs.h",
    "net/include/net/if.h",
    "net/include/netdb.h",
    "net/include/netinet/in.h",
    "net/include/netinet/tcp.h",
    "net/include/sys/socket.h",
    "net/include/sys/un.h",
    "net/include/unistd.h",
    "net/interfaces.c",
    "net/names.c",
    "net/net.h",
    "net/socket.c",
    "patches/3.3/freeze.patch",
    "patches/3.3/options.patch",
    "patches/3.3/pages.patch",
    "patches/3.3/seeds.patch",
    "patches/3.3/sweep.patch",
    "patches/3.3/threads.patch",
    "patches/3.4/console.patch",
    "patches/3.4/freeze.patch",
    "patches/3.4/options.patch",
    "patches/3.4/pages.patch",
    "patches/3.4/seeds.patch",
    "patches/3.4/threads.patch",
    "patches/copies.patch",
    "patches/exceptions.patch",
    "patches/fibers.patch",
    "patches/globs.patch",
    "patches/options.patch",
    "patches/poll.patch",
    "patches/process.patch",
    "patches/registers.patch",
    "patches/seeds.patch",
    "patches/signals.patch",
    "patches/stack.patch",
    "patches/threads.patch",
    "patches/trees.patch",
    "posix/files.c",
    "posix/posix.h",
    "posix/users.c",
    "posix/zones.c",
    "profile/runtime.c",
    "profile/runtime.h",
    "wasm/fiber.c",
    "wasm/fiber.h",
    "wasm/machine.c",
    "wasm/runtime.c",
    "wasm/setjmp.c",
    "wasm/setjmp.h",
    "wasm/setjmp_core.S",
];

/// Source of the entry points, which replace MRI's main program.
const ENTRY: &str = include_str!("../../../ruby/ext/dyno.c");

/// Compressed texts of the profiles that guide the compilation, by series.
const PROFILES: [(&str, &[u8]); 1] = [(
    "3.3",
    include_bytes!("../../../ruby/mri/profile/3.3.proftext.zst"),
)];

/// Shell scripts of the steps that build the compiler's wrappers and the libraries, by name.
const LIBRARY_STEPS: &[(&str, &str)] = files![
    "steps/toolchain.sh",
    "steps/posix.sh",
    "steps/net.sh",
    "steps/certificates.sh",
    "steps/zlib.sh",
    "steps/yaml.sh",
    "steps/openssl.sh",
];

/// Shell scripts of the steps that build MRI, by name.
const MRI_STEPS: &[(&str, &str)] = files![
    "steps/sources.sh",
    "steps/configure.sh",
    "steps/compile.sh",
    "steps/install.sh",
];

/// Number of all steps.
pub(super) const STEPS: usize = LIBRARY_STEPS.len() + MRI_STEPS.len();

/// Folders of [`FILES`] that the steps of the libraries use.
const LIBRARY_FOLDERS: [&str; 3] = ["console", "net", "posix"];

/// Returns the compressed text of the profile that guides the compilation of a series.
pub(super) fn profile(series: &str) -> Option<&'static [u8]> {
    let found = PROFILES.iter().find(|(name, _)| *name == series);
    found.map(|(_, profile)| *profile)
}

/// Returns the script of a step.
pub(super) fn step(name: &str) -> Option<&'static str> {
    let file = format!("steps/{name}.sh");
    let mut steps = LIBRARY_STEPS.iter().chain(MRI_STEPS);
    steps.find(|(step, _)| *step == file).map(|(_, text)| *text)
}

/// A gem whose C extension is linked into MRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedGem {
    /// The gem's name.
    pub name: &'static str,
    /// The gem's version.
    pub version: &'static str,
}

/// Returns the gems in the recipe's list that `series` links.
pub fn linked_gems(series: &str) -> Vec<LinkedGem> {
    let list = FILES.iter().find(|(name, _)| *name == "gems");
    let lines = list.map_or("", |(_, text)| text).lines();
    let gem = |line: &'static str| {
        let mut words = line.split_ascii_whitespace();
        let (name, version) = (words.next()?, words.next()?);
        let only = words.nth(3);
        let is_linked = !name.starts_with('#') && only.is_none_or(|only| only == series);
        is_linked.then_some(LinkedGem { name, version })
    };
    lines.filter_map(gem).collect()
}

/// Returns whether `series` uses a file. `patches/3.4/` has patches of one series.
fn is_of(series: &str, name: &str) -> bool {
    let patch = name.strip_prefix("patches/");
    let only = patch.and_then(|patch| patch.split_once('/'));
    only.is_none_or(|(only, _)| only == series)
}

fn is_of_libraries(name: &str) -> bool {
    let folder = name.split('/').next().unwrap_or_default();
    LIBRARY_FOLDERS.contains(&folder)
}

fn hash<'a>(hasher: &mut blake3::Hasher, files: impl Iterator<Item = &'a (&'a str, &'a str)>) {
    for (name, text) in files {
        hasher.update(name.as_bytes()).update(&[0]);
        hasher.update(text.as_bytes()).update(&[0]);
    }
}

/// Adds the files of the libraries to a digest.
pub(super) fn hash_libraries(hasher: &mut blake3::Hasher) {
    let files = FILES.iter().filter(|(name, _)| is_of_libraries(name));
    hash(hasher, files.chain(LIBRARY_STEPS));
}

/// Adds the files of MRI's build to a digest, without those of the libraries.
pub(super) fn hash_release(series: &str, hasher: &mut blake3::Hasher) {
    let files = FILES.iter();
    let files = files.filter(|(name, _)| !is_of_libraries(name) && is_of(series, name));
    hash(hasher, files.chain(MRI_STEPS).chain(&[("dyno.c", ENTRY)]));
}

/// Writes the recipe's files into a directory, where the steps use them.
pub(super) fn unpack(directory: &Path) -> io::Result<()> {
    write_all(directory, FILES.iter().chain(&[("dyno.c", ENTRY)]))
}

/// Files that declare the dyno's functions of POSIX and sockets.
fn headers() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    FILES
        .iter()
        .filter(|(name, _)| is_of_libraries(name) && name.ends_with(".h"))
}

/// Adds the headers of the dyno's own functions to a digest.
pub(crate) fn hash_headers(hasher: &mut blake3::Hasher) {
    hash(hasher, headers());
}

/// Writes the headers of the dyno's own functions into a directory: `net/include/`, `console/`, `posix/posix.h`.
pub(crate) fn unpack_headers(directory: &Path) -> io::Result<()> {
    write_all(directory, headers())
}

fn write_all<'a>(
    directory: &Path,
    files: impl Iterator<Item = &'a (&'a str, &'a str)>,
) -> io::Result<()> {
    for (name, text) in files {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linked_gems_are_those_of_the_series() {
        let names = |series| {
            let gems = linked_gems(series);
            assert!(
                gems.iter()
                    .all(|gem| gem.version.starts_with(char::is_numeric))
            );
            gems.into_iter().map(|gem| gem.name).collect::<Vec<_>>()
        };
        assert_eq!(names("3.3"), ["racc", "bcrypt", "commonmarker"]);
        let newer = ["racc", "bigdecimal", "nkf", "bcrypt", "commonmarker"];
        assert_eq!(names("3.4"), newer);
    }

    #[test]
    fn digest_covers_shared_files_and_those_of_the_series() {
        assert!(is_of("3.3", "patches/poll.patch") && is_of("3.4", "wasm/fiber.c"));
        assert!(is_of("3.4", "patches/3.4/seeds.patch"));
        assert!(!is_of("3.3", "patches/3.4/seeds.patch"));
        assert!(is_of_libraries("net/socket.c") && !is_of_libraries("wasm/fiber.c"));
        for folder in LIBRARY_FOLDERS {
            let found = FILES.iter().any(|(name, _)| name.starts_with(folder));
            assert!(found, "{folder}");
        }
    }

    #[test]
    fn every_patch_starts_with_an_explanation() {
        for (name, text) in FILES
            .iter()
            .filter(|(name, _)| name.starts_with("patches/"))
        {
            let why = text.split("--- a/").next().unwrap();
            assert!(why.trim().ends_with('.'), "{name}");
        }
    }
}
