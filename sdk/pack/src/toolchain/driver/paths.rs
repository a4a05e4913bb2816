//! Paths of the guest as paths of the host, and back.

use std::path::PathBuf;

use super::DriverPaths;
use super::error::DriverError;

/// Directories of the guest that a build can write.
const WRITABLE: [&str; 2] = ["app", "tmp"];
/// Parts of the guest's `/usr` that come with Ruby; all others come with the sysroot.
const RUBY: [&str; 2] = ["include/ruby-", "lib/ruby/"];

/// A path of the guest, relative to `/`, without `.` and `..`.
struct GuestPath {
    path: String,
}

impl GuestPath {
    /// Returns the path without a directory at its start, if it is in or below that directory.
    fn below(&self, directory: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(directory)?;
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest),
            None => rest.is_empty().then_some(rest),
        }
    }

    fn is_writable(&self) -> bool {
        WRITABLE.iter().any(|root| self.below(root).is_some())
    }
}

/// Resolves a path of the guest without looking at files. Returns an error for a path that leads above `/`.
fn resolve(path: &str, paths: &DriverPaths<'_>) -> Result<GuestPath, DriverError> {
    let mut parts: Vec<&str> = Vec::new();
    let current = if path.starts_with('/') {
        ""
    } else {
        paths.current
    };
    for part in current.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                let inside = parts.pop();
                inside.ok_or_else(|| DriverError::Path(path.to_owned()))?;
            }
            part => parts.push(part),
        }
    }
    // The linker, for one, takes a path with a line break or a zero as another one.
    if path.contains(|symbol: char| symbol.is_control()) {
        return Err(DriverError::Path(path.escape_debug().to_string()));
    }
    Ok(GuestPath {
        path: parts.join("/"),
    })
}

/// Returns the host's paths of a directory in which the compiler searches. `/usr` is in two places.
pub(super) fn directories(
    path: &str,
    paths: &DriverPaths<'_>,
) -> Result<Vec<PathBuf>, DriverError> {
    let guest = resolve(path, paths)?;
    if let Some(rest) = guest.below("usr") {
        let ruby = paths.ruby.join(rest);
        let sysroot = paths.sysroot.map(|root| root.join("usr").join(rest));
        return Ok([Some(ruby), sysroot].into_iter().flatten().collect());
    }
    if guest.is_writable() {
        return Ok(vec![paths.work.join(&guest.path)]);
    }
    Err(DriverError::Path(path.to_owned()))
}

/// Returns the host's path of a file to read.
pub(super) fn input(path: &str, paths: &DriverPaths<'_>) -> Result<PathBuf, DriverError> {
    let guest = resolve(path, paths)?;
    if let Some(rest) = guest.below("usr") {
        let of_ruby = RUBY.iter().any(|start| rest.starts_with(start));
        return Ok(match paths.sysroot {
            Some(sysroot) if !of_ruby => sysroot.join("usr").join(rest),
            _ => paths.ruby.join(rest),
        });
    }
    if guest.is_writable() {
        return Ok(paths.work.join(&guest.path));
    }
    Err(DriverError::Path(path.to_owned()))
}

/// Returns the host's path of a file to write.
pub(super) fn output(path: &str, paths: &DriverPaths<'_>) -> Result<PathBuf, DriverError> {
    if path == "/dev/null" {
        return Ok(PathBuf::from(path));
    }
    let guest = resolve(path, paths)?;
    if guest.is_writable() && !path.ends_with('/') {
        return Ok(paths.work.join(&guest.path));
    }
    Err(DriverError::Output(path.to_owned()))
}

/// Returns pairs of a directory of the host and its name in messages and in `__FILE__`.
pub(super) fn prefixes(paths: &DriverPaths<'_>) -> Vec<(String, String)> {
    let pair = |host: PathBuf, guest: &str| (host.display().to_string(), guest.to_owned());
    let mut pairs = vec![
        pair(paths.toolchain.to_owned(), "/usr/lib/toolchain"),
        pair(paths.ruby.to_owned(), "/usr"),
        pair(paths.work.to_owned(), ""),
    ];
    pairs.extend(paths.sysroot.map(|root| pair(root.to_owned(), "")));
    // A directory may be below another one.
    pairs.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
    pairs
}

/// Returns a program's output with paths of the guest in place of paths of the host.
pub fn guest_text(text: &str, paths: &DriverPaths<'_>) -> String {
    let mut text = text.to_owned();
    for (host, guest) in prefixes(paths) {
        text = text.replace(&host, &guest);
    }
    text
}
