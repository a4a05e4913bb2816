//! Installer: puts an app's gems into its tree.

use std::io;
use std::path::PathBuf;

use corundum_pack::Manifest;

use super::bundle::{self, BundleEntry, InstalledGem};
use super::error::GemError;
use super::fetcher::{FetchedGem, GemRequest};
use super::gemfile::GemfileReport;
use super::package::{self, UnpackedGem};
use super::prefetch::{self, Prefetch};
use super::resolve::{self, GemSources, ResolvedSource, Resolver};
use super::{directory, native, path};
use crate::lockfile::{LockedGem, Lockfile};
use crate::requirement::Requirement;
use crate::tree::Tree;

/// Folders of a gem that only its own developers need.
const UNNEEDED: [&str; 3] = ["test/", "spec/", "doc/"];

/// Puts the gems that the app needs into `tree`, with their list. `report` gets a line for each gem.
///
/// # Errors
///
/// [`GemError`].
pub fn install(
    tree: &mut Tree,
    gemfile: &GemfileReport,
    manifest: &Manifest,
    sources: &GemSources<'_>,
    mut report: impl FnMut(&str),
) -> Result<(), GemError> {
    if let Some(error) = &gemfile.error {
        return Err(GemError::Gemfile(error.clone()));
    }
    let lockfile = match tree.text("Gemfile.lock")? {
        Some(text) => Lockfile::parse(&text)?,
        None if gemfile.gems.is_empty() => Lockfile::default(),
        None => return Err(GemError::NoLockfile),
    };
    gemfile.check(&lockfile)?;
    let gems = resolve::needed_gems(gemfile, &lockfile)?;
    let directories = sources.directories;
    let resolver = Resolver {
        manifest,
        directories,
    };
    let resolved = resolver.resolve(tree, &gems)?;
    let requests: Vec<GemRequest<'_>> = resolved
        .iter()
        .filter_map(ResolvedSource::request)
        .collect();
    let entries = prefetch::run(sources.fetcher, &requests, |prefetch| {
        let mut installer = Installer {
            tree,
            manifest,
            directories,
            prefetch,
            fetched: 0,
            report: &mut report,
        };
        gems.iter()
            .zip(resolved)
            .map(|((name, locked), source)| {
                let installed = installer.install(name, locked, source)?;
                Ok(BundleEntry::new(gemfile, name, locked, installed))
            })
            .collect::<Result<Vec<_>, GemError>>()
    })?;
    bundle::write(tree, &entries)?;
    tracing::debug!(gems = entries.len(), "gems installed");
    // The app needs the installed gems, not their packages.
    tree.remove_if(|path| path.starts_with("vendor/cache/"));
    Ok(())
}

/// Installer of one app's gems.
struct Installer<'a> {
    tree: &'a mut Tree,
    manifest: &'a Manifest,
    directories: &'a [PathBuf],
    prefetch: &'a mut Prefetch,
    /// Requests to servers whose result the installer has taken.
    fetched: usize,
    report: &'a mut dyn FnMut(&str),
}

impl Installer<'_> {
    /// Installs one gem. Returns none if the pack carries it.
    fn install(
        &mut self,
        name: &str,
        locked: &LockedGem,
        source: ResolvedSource<'_>,
    ) -> Result<Option<InstalledGem>, GemError> {
        let unpacked = match source {
            ResolvedSource::Pack => {
                self.use_pack(name, locked, "");
                return Ok(None);
            }
            ResolvedSource::Folder(path) => return self.use_folder(name, locked, path).map(Some),
            ResolvedSource::VendorCache => package::from_vendor_cache(self.tree, name, locked)?,
            ResolvedSource::Directory => directory::find(self.directories, name, &locked.version)?,
            ResolvedSource::Server(_) => match self.take_fetched(name, locked)? {
                Some(gem) => Some(unpack_fetched(name, locked, gem)?),
                None => return Ok(None),
            },
        };
        let Some(unpacked) = unpacked else {
            let (name, version) = (name.to_owned(), locked.version.clone());
            return Err(GemError::Missing { name, version });
        };
        self.add(name, locked, &unpacked).map(Some)
    }

    /// Takes the next gem of a server. Returns none if the server could not be asked and the pack carries another
    /// version.
    fn take_fetched(
        &mut self,
        name: &str,
        locked: &LockedGem,
    ) -> Result<Option<FetchedGem>, GemError> {
        let result = self.prefetch.take(self.fetched);
        self.fetched += 1;
        let error = match result {
            Some(Ok(gem)) => return Ok(Some(gem)),
            Some(Err(error)) => error,
            None => return Err(io::Error::other("the threads that fetch them ended").into()),
        };
        match error.not_asked() {
            Some(reason) if self.manifest.gems.contains_key(name) => {
                self.use_pack(name, locked, &format!("{reason}, and "));
                Ok(None)
            }
            _ => Err(error.into()),
        }
    }

    fn use_pack(&mut self, name: &str, locked: &LockedGem, reason: &str) {
        let carried = self.manifest.gems.get(name);
        let line = match carried.filter(|version| **version != locked.version) {
            Some(version) => format!(
                "Using {name} {version} of the Ruby pack ({reason}Gemfile.lock has {})",
                locked.version
            ),
            None => format!("Using {name} of the Ruby pack"),
        };
        (self.report)(&line);
    }

    fn use_folder(
        &mut self,
        name: &str,
        locked: &LockedGem,
        path: &str,
    ) -> Result<InstalledGem, GemError> {
        let folder = path::find(self.tree, name, path)?;
        (self.report)(&format!("Using {name} {} from {path}", locked.version));
        let slash = if folder.is_empty() { "" } else { "/" };
        Ok(InstalledGem {
            path: format!("/app{slash}{folder}"),
            require_paths: vec!["lib".to_owned()],
        })
    }

    fn add(
        &mut self,
        name: &str,
        locked: &LockedGem,
        gem: &UnpackedGem,
    ) -> Result<InstalledGem, GemError> {
        if gem.has_extensions {
            return Err(native::rejection(name));
        }
        self.check_ruby(name, locked, gem)?;
        let (version, source) = (&locked.version, &gem.source);
        (self.report)(&format!("Installing {name} {version} from {source}"));
        let series = &self.manifest.series;
        let root = format!("vendor/bundle/ruby/{series}.0/gems/{name}-{version}");
        let needed = |path: &str| !UNNEEDED.iter().any(|folder| path.starts_with(folder));
        for (path, bytes, mode) in gem.files.iter().filter(|(path, ..)| needed(path)) {
            self.tree.add(&format!("{root}/{path}"), bytes, *mode)?;
        }
        Ok(InstalledGem {
            path: format!("/app/{root}"),
            require_paths: gem.require_paths.clone(),
        })
    }

    fn check_ruby(
        &self,
        name: &str,
        locked: &LockedGem,
        gem: &UnpackedGem,
    ) -> Result<(), GemError> {
        let ruby = &self.manifest.version;
        // RubyGems would not have published a gem whose requirement it cannot parse, so such a requirement is ignored.
        let (Ok(asked), Ok(version)) = (Requirement::parse(&gem.ruby), ruby.parse()) else {
            return Ok(());
        };
        if asked.is_satisfied_by(&version) {
            return Ok(());
        }
        Err(GemError::Ruby {
            name: name.to_owned(),
            version: locked.version.clone(),
            asked: asked.to_string(),
            ruby: ruby.clone(),
        })
    }
}

fn unpack_fetched(
    name: &str,
    locked: &LockedGem,
    gem: FetchedGem,
) -> Result<UnpackedGem, GemError> {
    let unpacked = package::unpack(&gem.bytes, name, locked, &gem.source);
    unpacked.map_err(|error| GemError::Unusable {
        name: name.to_owned(),
        version: locked.version.clone(),
        server: gem.source,
        reason: error.to_string(),
    })
}
