//! Gem directories of the node, as RubyGems has them and as Debian's `ruby-*` packages fill them.
//!
//! `specifications/NAME-VERSION.gemspec` says that a gem is there. Its files are in `gems/NAME-VERSION/`, or, where
//! Debian has put its library into the directory that all of Ruby shares, those that dpkg lists for the same package.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corundum_pack::archive::FileMode;

use super::{Found, GemError};

/// Where dpkg lists the files of packages.
const DPKG: &str = "/var/lib/dpkg/info";
/// The directory that Debian's Ruby libraries share.
const SHARED: &str = "/usr/lib/ruby/vendor_ruby/";

/// Files of one gem; a folder with more is no gem.
const MAX_FILES: usize = 20_000;

/// Whether one of `directories` has the gem.
pub(super) fn has(directories: &[PathBuf], name: &str, version: &str) -> bool {
    let spec = |directory: &PathBuf| gemspec(directory, name, version);
    directories
        .iter()
        .any(|directory| spec(directory).is_file())
}

fn gemspec(directory: &Path, name: &str, version: &str) -> PathBuf {
    let file = format!("{name}-{version}.gemspec");
    directory.join("specifications").join(file)
}

/// The gem from the first of `directories` that has it.
pub(super) fn find(
    directories: &[PathBuf],
    name: &str,
    version: &str,
) -> Result<Option<Found>, GemError> {
    for directory in directories {
        let spec = gemspec(directory, name, version);
        let Ok(text) = fs::read_to_string(&spec) else {
            continue;
        };
        let source = directory.display().to_string();
        let has_extensions = text.contains(".extensions = [");
        let folder = directory.join("gems").join(format!("{name}-{version}"));
        if folder.is_dir() {
            let mut files = Vec::new();
            walk(&folder, "", &mut files)?;
            return Ok(Some(Found {
                files,
                require_paths: require_paths(&text),
                has_extensions,
                ruby: Vec::new(),
                source,
            }));
        }
        let files = of_package(&spec)?;
        let require_paths = vec!["lib".to_owned()];
        return Ok(Some(Found {
            files,
            require_paths,
            has_extensions,
            ruby: Vec::new(),
            source,
        }));
    }
    Ok(None)
}

/// `s.require_paths = ["lib".freeze]`
fn require_paths(spec: &str) -> Vec<String> {
    let line = spec.lines().find(|line| line.contains(".require_paths = "));
    let quoted = line
        .into_iter()
        .flat_map(|line| line.split('"').skip(1).step_by(2));
    let paths: Vec<String> = quoted
        .map(str::to_owned)
        .filter(|path| !path.contains(".."))
        .collect();
    if paths.is_empty() {
        vec!["lib".to_owned()]
    } else {
        paths
    }
}

type Files = Vec<(String, Vec<u8>, FileMode)>;

fn walk(folder: &Path, prefix: &str, files: &mut Files) -> Result<(), GemError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        // Follows Debian's links into its other folders; the operator has named this directory.
        let about = fs::metadata(entry.path())?;
        if about.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else if about.is_file() {
            if files.len() >= MAX_FILES {
                return Err(
                    io::Error::other(format!("{} has too many files", folder.display())).into(),
                );
            }
            files.push((path, fs::read(entry.path())?, FileMode::Plain));
        }
    }
    Ok(())
}

/// The shared files of the Debian package that `spec` belongs to, under `lib/`.
fn of_package(spec: &Path) -> Result<Files, GemError> {
    let spec = spec.to_string_lossy();
    for list in fs::read_dir(DPKG).into_iter().flatten().flatten() {
        let path = list.path();
        let is_ruby = list.file_name().to_string_lossy().starts_with("ruby-");
        if !is_ruby || path.extension().is_none_or(|extension| extension != "list") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if !text.lines().any(|line| line == spec) {
            continue;
        }
        let shared = text
            .lines()
            .filter_map(|line| Some((line, line.strip_prefix(SHARED)?)));
        let mut files = Files::new();
        for (file, relative) in shared {
            if fs::metadata(file).is_ok_and(|about| about.is_file()) {
                files.push((format!("lib/{relative}"), fs::read(file)?, FileMode::Plain));
            }
        }
        return Ok(files);
    }
    Ok(Files::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gem_is_found_by_name_and_version() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("specifications")).unwrap();
        fs::create_dir_all(root.join("gems/a-1.0/code/x")).unwrap();
        let spec = "Gem::Specification.new do |s|\n  s.require_paths = [\"code\".freeze]\nend\n";
        fs::write(root.join("specifications/a-1.0.gemspec"), spec).unwrap();
        fs::write(root.join("gems/a-1.0/code/x/y.rb"), "1").unwrap();
        let directories = [root.to_owned()];
        let found = find(&directories, "a", "1.0").unwrap().unwrap();
        assert_eq!(found.require_paths, ["code"]);
        assert_eq!(found.files[0].0, "code/x/y.rb");
        assert!(!found.has_extensions);
        assert!(find(&directories, "a", "1.1").unwrap().is_none());
    }
}
