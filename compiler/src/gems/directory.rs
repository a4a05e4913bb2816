//! Gem directories of the node, in the layout of RubyGems and of Debian's `ruby-*` packages.
//!
//! `specifications/NAME-VERSION.gemspec` announces a gem. Its files are in `gems/NAME-VERSION/`. Debian puts some
//! libraries into a directory that all of Ruby shares instead; dpkg then lists the files of the package.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corundum_pack::archive::FileMode;

use super::package::{GemFiles, UnpackedGem};
use super::specification::GemSpecification;

/// Directory with dpkg's lists of the files of each package.
const DPKG_LISTS: &str = "/var/lib/dpkg/info";
/// Directory that Debian's Ruby libraries share.
const SHARED_LIBRARIES: &str = "/usr/lib/ruby/vendor_ruby/";

/// Files of one gem. The limit keeps a wrong directory, such as `/`, from filling the memory.
const MAX_FILES: usize = 20_000;

/// Returns whether one of `directories` has the gem.
pub(super) fn has_gem(directories: &[PathBuf], name: &str, version: &str) -> bool {
    let spec = |directory: &PathBuf| gemspec(directory, name, version);
    directories
        .iter()
        .any(|directory| spec(directory).is_file())
}

/// Returns whether one of `directories` has the gem with the sources of its native extension. Binary packages of
/// distributions have none.
pub(super) fn has_extension(directories: &[PathBuf], name: &str, version: &str) -> bool {
    directories.iter().any(|directory| {
        let text = fs::read_to_string(gemspec(directory, name, version));
        let scripts = text.map(|text| extensions(&text)).unwrap_or_default();
        let folder = directory.join("gems").join(format!("{name}-{version}"));
        !scripts.is_empty() && scripts.iter().all(|script| folder.join(script).is_file())
    })
}

/// Returns the versions of a gem that `directories` have.
pub(super) fn versions(directories: &[PathBuf], name: &str) -> Vec<String> {
    let folders = directories
        .iter()
        .map(|directory| directory.join("specifications"));
    let entries = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    let version = |file: &str| {
        let full_name = file.strip_suffix(".gemspec")?;
        let (own, version) = full_name.rsplit_once('-')?;
        (own == name).then(|| version.to_owned())
    };
    names
        .filter_map(|file| version(&file.to_string_lossy()))
        .collect()
}

fn gemspec(directory: &Path, name: &str, version: &str) -> PathBuf {
    let file = format!("{name}-{version}.gemspec");
    directory.join("specifications").join(file)
}

/// Reads the gem from the first of `directories` that has it.
pub(super) fn find(
    directories: &[PathBuf],
    name: &str,
    version: &str,
) -> io::Result<Option<UnpackedGem>> {
    for directory in directories {
        let spec = gemspec(directory, name, version);
        let Ok(text) = fs::read_to_string(&spec) else {
            continue;
        };
        let folder = directory.join("gems").join(format!("{name}-{version}"));
        let files = if folder.is_dir() {
            let mut files = GemFiles::new();
            walk(&folder, "", &mut files)?;
            files
        } else {
            package_files(&spec)?
        };
        return Ok(Some(UnpackedGem {
            files,
            extensions: extensions(&text),
            ruby: Vec::new(),
            specification: GemSpecification::Ruby(text),
            source: directory.display().to_string(),
        }));
    }
    Ok(None)
}

/// Returns the scripts of native extensions in a specification, which RubyGems has written.
fn extensions(specification: &str) -> Vec<String> {
    let list = specification
        .split_once(".extensions = [")
        .map(|(_, rest)| rest);
    let list = list
        .and_then(|rest| rest.split_once(']'))
        .map(|(list, _)| list);
    let words = list.unwrap_or_default().split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn walk(folder: &Path, prefix: &str, files: &mut GemFiles) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        // This follows Debian's links into its other folders, except to packages that are not installed. The operator trusts
        // the directory.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if metadata.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else if metadata.is_file() {
            if files.len() >= MAX_FILES {
                let text = format!("{} has more than {MAX_FILES} files", folder.display());
                return Err(io::Error::other(text));
            }
            files.push((path, fs::read(entry.path())?, FileMode::Plain));
        }
    }
    Ok(())
}

/// Reads the shared files of the Debian package that `spec` belongs to, and places them under `lib/`.
fn package_files(spec: &Path) -> io::Result<GemFiles> {
    let spec = spec.to_string_lossy();
    for list in fs::read_dir(DPKG_LISTS).into_iter().flatten().flatten() {
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
            .filter_map(|line| Some((line, line.strip_prefix(SHARED_LIBRARIES)?)));
        let mut files = GemFiles::new();
        for (file, relative) in shared {
            if fs::metadata(file).is_ok_and(|metadata| metadata.is_file()) {
                files.push((format!("lib/{relative}"), fs::read(file)?, FileMode::Plain));
            }
        }
        return Ok(files);
    }
    Ok(GemFiles::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gem_is_found_by_name_and_version() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("specifications")).unwrap();
        fs::create_dir_all(root.join("gems/a-1.0/code/x")).unwrap();
        let spec = "Gem::Specification.new do |s|\n  s.require_paths = [\"code\".freeze]\nend\n";
        fs::write(root.join("specifications/a-1.0.gemspec"), spec).unwrap();
        fs::write(root.join("gems/a-1.0/code/x/y.rb"), "1").unwrap();
        let directories = [root.to_owned()];
        let found = find(&directories, "a", "1.0").unwrap().unwrap();
        assert!(
            matches!(&found.specification, GemSpecification::Ruby(text) if text.contains("code"))
        );
        assert_eq!(found.files[0].0, "code/x/y.rb");
        assert!(found.extensions.is_empty());
        assert!(find(&directories, "a", "1.1").unwrap().is_none());
    }

    #[test]
    fn gem_with_an_extension_has_the_script_that_builds_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("specifications")).unwrap();
        let spec = "  s.extensions = [\"ext/extconf.rb\".freeze]\n";
        fs::write(root.join("specifications/a-1.0.gemspec"), spec).unwrap();
        fs::write(root.join("specifications/b-1.0.gemspec"), "").unwrap();
        let directories = [root.to_owned()];
        assert!(!has_extension(&directories, "a", "1.0"));
        fs::create_dir_all(root.join("gems/a-1.0/ext")).unwrap();
        fs::write(root.join("gems/a-1.0/ext/extconf.rb"), "").unwrap();
        assert!(has_extension(&directories, "a", "1.0"));
        assert!(!has_extension(&directories, "b", "1.0"));
    }
}
