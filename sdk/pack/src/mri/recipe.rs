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
    "gems",
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
    "patches/copies.patch",
    "patches/exceptions.patch",
    "patches/fibers.patch",
    "patches/freeze.patch",
    "patches/globs.patch",
    "patches/options.patch",
    "patches/poll.patch",
    "patches/process.patch",
    "patches/registers.patch",
    "patches/seeds.patch",
    "patches/signals.patch",
    "patches/stack.patch",
    "patches/sweep.patch",
    "patches/threads.patch",
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

/// Compressed text of the profile that guides the compilation.
pub(super) const PROFILE: &[u8] = include_bytes!("../../../ruby/mri/profile/3.3.proftext.zst");

/// Shell scripts of the steps, by name.
pub(super) const STEPS: &[(&str, &str)] = files![
    "steps/toolchain.sh",
    "steps/posix.sh",
    "steps/net.sh",
    "steps/certificates.sh",
    "steps/zlib.sh",
    "steps/yaml.sh",
    "steps/openssl.sh",
    "steps/sources.sh",
    "steps/configure.sh",
    "steps/compile.sh",
    "steps/install.sh",
];

/// A gem whose C extension is linked into MRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedGem {
    /// The gem's name.
    pub name: &'static str,
    /// The gem's version.
    pub version: &'static str,
}

/// Returns the gems in the recipe's list.
pub fn linked_gems() -> Vec<LinkedGem> {
    let list = FILES.iter().find(|(name, _)| *name == "gems");
    let lines = list.map_or("", |(_, text)| text).lines();
    let gem = |line: &'static str| {
        let mut words = line.split_ascii_whitespace();
        let (name, version) = (words.next()?, words.next()?);
        (!name.starts_with('#')).then_some(LinkedGem { name, version })
    };
    lines.filter_map(gem).collect()
}

/// Adds all files of the recipe to a digest.
pub(super) fn hash(hasher: &mut blake3::Hasher) {
    for (name, text) in FILES.iter().chain(STEPS).chain(&[("dyno.c", ENTRY)]) {
        hasher.update(name.as_bytes()).update(&[0]);
        hasher.update(text.as_bytes()).update(&[0]);
    }
}

/// Writes the recipe's files into a directory, where the steps use them.
pub(super) fn unpack(directory: &Path) -> io::Result<()> {
    for (name, text) in FILES.iter().chain(&[("dyno.c", ENTRY)]) {
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
    fn linked_gems_parses_every_line_of_the_list() {
        let gems = linked_gems();
        assert!(gems.contains(&LinkedGem {
            name: "bcrypt",
            version: "3.1.20"
        }));
        assert!(
            gems.iter()
                .all(|gem| gem.version.starts_with(char::is_numeric))
        );
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
