//! Files outside of Ruby's directories that libraries expect on any Linux: users, hosts, and time zones.

use std::fs;
use std::io;
use std::path::Path;

use super::library::LibraryFile;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../ruby/root/", $name)))),*]
    };
}

/// Paths below the root, and texts of the files.
pub(super) const FILES: &[(&str, &str)] = files!["etc/group", "etc/hosts", "etc/passwd"];

/// Directory of the time zones, in Debian and in a dyno.
pub(super) const ZONES: &str = "/usr/share/zoneinfo";

/// Bytes of the largest file of a time zone.
const MAX_ZONE: u64 = 1 << 20;

/// Reads the time zones of Debian's package tzdata, as this machine has them.
///
/// # Errors
///
/// Fails if the directory is missing or has no zone.
pub(super) fn zones() -> io::Result<Vec<LibraryFile>> {
    let mut found = Vec::new();
    collect(Path::new(ZONES), &mut found)?;
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<LibraryFile>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Links are followed: they lead to other names of the same zone.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        let name = path.file_name().and_then(|name| name.to_str());
        // Copies of all zones, one of them with leap seconds, which Linux does not count.
        if metadata.is_dir() && name != Some("posix") && name != Some("right") {
            collect(&path, found)?;
        }
        if !metadata.is_file() || metadata.len() > MAX_ZONE {
            continue;
        }
        let bytes = fs::read(&path)?;
        let is_table = name.is_some_and(|name| name.ends_with(".tab"));
        let inside = path.strip_prefix("/").ok().and_then(Path::to_str);
        if let (true, Some(inside)) = (is_table || bytes.starts_with(b"TZif"), inside) {
            found.push((inside.to_owned(), bytes));
        }
    }
    Ok(())
}
