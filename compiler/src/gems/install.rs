//! Installer: puts an app's gems into its tree.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use corundum_pack::Manifest;

use super::build_only::{self, BuildOnlyGems};
use super::error::{GemError, RefusedGem};
use super::fetcher::{FetchedGem, GemFetcher, GemRequest};
use super::gemfile::GemfileReport;
use super::metadata::{GemDependency, GemMetadata};
use super::package::{self, GemFiles, UnpackedGem};
use super::prefetch::{self, Prefetch};
use super::repository::{self, RepositoryEntry, RepositoryFetcher, RepositoryFiles};
use super::resolve::{self, GemSources, NeededGem, ResolvedSource, Resolver};
use super::specification::{GemHome, GemMetadataFiles, GemSpecification, PackFiles};
use super::{directory, native, path};
use crate::checksum::Checksum;
use crate::extensions::{NativeGem, PackGem};
use crate::lockfile::{LockedGem, LockedRepository, Lockfile};
use crate::redact::without_credentials;
use crate::requirement::Requirement;
use crate::tree::Tree;

/// Folders of a gem that only its own developers need.
const UNNEEDED: [&str; 3] = ["test/", "spec/", "doc/"];

/// Puts the gems that the app needs into `tree`, as `bundle install --deployment` does. `report` gets a line for each gem.
///
/// Returns what is still to be made and added: specifications, and native extensions.
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
) -> Result<InstalledGems, GemError> {
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
    let mut refused = Refusals {
        gemfile,
        lockfile: &lockfile,
        gems: Vec::new(),
    };
    let mut resolved = Vec::new();
    for gem in gems {
        let source = resolver.resolve(tree, gem);
        if let Some(source) = refused.collect(gem.name, source)? {
            resolved.push((gem, source));
        }
    }
    let requests: Vec<GemRequest<'_>> = resolved
        .iter()
        .filter_map(|(_, source)| source.request())
        .collect();
    let installed = prefetch::run(sources.fetcher, &requests, |prefetch| {
        let mut installer = Installer {
            tree,
            manifest,
            lockfile: &lockfile,
            directories,
            fetcher: sources.fetcher,
            home: GemHome::of_series(&manifest.series),
            prefetch,
            fetched: 0,
            installed: InstalledGems::default(),
            repositories: sources.repositories,
            added: HashSet::new(),
            report: &mut report,
        };
        for (gem, source) in &resolved {
            let installed = installer.install(*gem, source);
            refused.collect(gem.name, installed)?;
        }
        Ok::<_, GemError>(installer.installed)
    })?;
    if !refused.gems.is_empty() {
        return Err(GemError::Refused(refused.gems));
    }
    tracing::debug!(gems = resolved.len(), "gems installed");
    // The app needs the installed gems, not their packages.
    tree.remove_if(|path| path.starts_with("vendor/cache/"));
    Ok(installed)
}

/// Gems that the app cannot have. The pusher gets all of them at once.
struct Refusals<'a> {
    gemfile: &'a GemfileReport,
    lockfile: &'a Lockfile,
    gems: Vec<RefusedGem>,
}

impl Refusals<'_> {
    /// Keeps an error that concerns one gem alone, and returns other errors.
    fn collect<T>(
        &mut self,
        name: &str,
        result: Result<T, GemError>,
    ) -> Result<Option<T>, GemError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.concerns_one_gem() => {
                let path = self.gemfile.dependency_path(self.lockfile, name);
                self.gems.push(RefusedGem { error, path });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Installer of one app's gems.
struct Installer<'a> {
    tree: &'a mut Tree,
    manifest: &'a Manifest,
    lockfile: &'a Lockfile,
    directories: &'a [PathBuf],
    fetcher: &'a GemFetcher,
    home: GemHome,
    prefetch: &'a mut Prefetch,
    /// Requests to servers whose result the installer has taken.
    fetched: usize,
    installed: InstalledGems,
    repositories: &'a RepositoryFetcher,
    /// Directories of repositories that the tree has.
    added: HashSet<String>,
    report: &'a mut dyn FnMut(&str),
}

impl Installer<'_> {
    /// Installs one gem.
    fn install(&mut self, gem: NeededGem<'_>, source: &ResolvedSource<'_>) -> Result<(), GemError> {
        let NeededGem { name, locked, .. } = gem;
        let unpacked = match source {
            ResolvedSource::Pack => {
                let reason = native::kept(name).unwrap_or_default();
                return self.use_pack(name, locked, reason);
            }
            ResolvedSource::StandIn => {
                let version = &locked.version;
                (self.report)(&format!(
                    "Using a stand-in for {name} {version}: a dyno does not need it"
                ));
                return self.add_pack_gem(name, locked, PackFiles::StandIn);
            }
            ResolvedSource::Unused => return self.add_pack_gem(name, locked, PackFiles::None),
            ResolvedSource::Repository(repository) => {
                return self.add_repository(name, locked, repository);
            }
            ResolvedSource::Folder(path) => {
                path::find(self.tree, name, path)?;
                (self.report)(&format!("Using {name} {} from {path}", locked.version));
                return Ok(());
            }
            ResolvedSource::VendorCache => package::from_vendor_cache(self.tree, name, locked)?,
            ResolvedSource::Directory => directory::find(self.directories, name, &locked.version)?,
            ResolvedSource::Server(_) => match self.take_fetched(name, locked)? {
                Some(gem) => Some(unpack_fetched(name, locked, gem)?),
                None => return Ok(()),
            },
        };
        let Some(unpacked) = unpacked else {
            let (name, version) = (name.to_owned(), locked.version.clone());
            let how = locked.fetch_command();
            return Err(GemError::Missing { name, version, how });
        };
        self.add(name, locked, unpacked)
    }

    /// Adds the repository of a gem at the place where Bundler looks for it, unless another of its gems has done so.
    fn add_repository(
        &mut self,
        name: &str,
        locked: &LockedGem,
        repository: &LockedRepository,
    ) -> Result<(), GemError> {
        let files = self.repositories.fetch(repository);
        let files = files.map_err(|error| GemError::Repository {
            name: name.to_owned(),
            error,
        })?;
        let uri = without_credentials(&repository.remote);
        let gemspec = format!("{name}.gemspec");
        let is_gemspec = |path: &str| {
            let folder = path.strip_suffix(&gemspec);
            folder.is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
        };
        let found = files.iter().find(|(path, _)| is_gemspec(path));
        let native = match found {
            Some((path, RepositoryEntry::File(bytes, _))) => {
                let text = String::from_utf8_lossy(bytes);
                let folder = path.strip_suffix(&gemspec).unwrap_or_default();
                let builds = names_extensions(&text) && !native::is_optional(name);
                builds.then_some(folder)
            }
            _ => {
                return Err(GemError::RepositoryGem {
                    name: name.to_owned(),
                    uri,
                    revision: repository.revision.clone(),
                });
            }
        };
        let (version, revision) = (&locked.version, &repository.revision);
        let short = &revision[..revision.len().min(7)];
        (self.report)(&format!(
            "Installing {name} {version} from {uri} (at {short})"
        ));
        let root = self
            .home
            .repository(&repository::directory_name(repository));
        if let Some(folder) = native {
            self.add_native_of_repository(name, &root, folder, &files)?;
        }
        if !self.added.insert(root.clone()) {
            return Ok(());
        }
        for (path, entry) in files.iter() {
            let path = format!("{root}/{path}");
            match entry {
                RepositoryEntry::File(bytes, mode) => self.tree.add(&path, bytes, *mode)?,
                RepositoryEntry::Symlink(target) => self.tree.add_symlink(&path, target)?,
            }
        }
        Ok(())
    }

    /// Adds the native extension of a gem in the folder of a repository. Its specification is code, so that the scripts are those at the
    /// usual place.
    fn add_native_of_repository(
        &mut self,
        name: &str,
        root: &str,
        folder: &str,
        files: &RepositoryFiles,
    ) -> Result<(), GemError> {
        native::reject_impossible(name)?;
        let own = files.iter().filter_map(|(path, entry)| match entry {
            RepositoryEntry::File(bytes, _) => Some((path.strip_prefix(folder)?, bytes.as_slice())),
            RepositoryEntry::Symlink(_) => None,
        });
        let own: Vec<(&str, &[u8])> = own.collect();
        let is_script = |path: &str| path.starts_with("ext/") && path.ends_with("/extconf.rb");
        let scripts = own.iter().map(|(path, _)| *path);
        let scripts: Vec<String> = scripts
            .filter(|path| is_script(path))
            .map(str::to_owned)
            .collect();
        if self.manifest.symbols.is_none() || scripts.is_empty() {
            return Err(native::rejection_of_repository(
                name,
                self.manifest.symbols.is_some(),
            ));
        }
        let parts = own
            .iter()
            .flat_map(|(path, bytes)| [path.as_bytes(), *bytes]);
        self.installed.extensions.push(NativeGem {
            full_name: name.to_owned(),
            directory: format!("{root}/{folder}").trim_end_matches('/').to_owned(),
            scripts,
            options: native::options(name),
            digest: Checksum::of_parts(parts).to_string(),
            lacks: Vec::new(),
            replacement: None,
        });
        Ok(())
    }

    /// Takes the next gem of a server. Returns none if the server could not be asked and the pack's version is used.
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
        let absent = error.is_absence() && self.manifest.links(name);
        let reason = error.not_asked();
        match reason.or_else(|| absent.then_some("its server has no source of the locked version"))
        {
            Some(reason) if self.manifest.gems.contains_key(name) => {
                self.use_pack(name, locked, reason)?;
                Ok(None)
            }
            _ => Err(error.into()),
        }
    }

    fn use_pack(&mut self, name: &str, locked: &LockedGem, reason: &str) -> Result<(), GemError> {
        let carried = self.manifest.gems.get(name);
        let line = match carried.filter(|version| **version != locked.version) {
            Some(version) => using_pack(name, version, &locked.version, reason),
            None => format!("Using {name} of the Ruby pack"),
        };
        (self.report)(&line);
        self.add_pack_gem(name, locked, PackFiles::Gem)
    }

    fn add_pack_gem(
        &mut self,
        name: &str,
        locked: &LockedGem,
        files: PackFiles,
    ) -> Result<(), GemError> {
        self.home.add_pack_gem(self.tree, name, locked, files)
    }

    fn add(&mut self, name: &str, locked: &LockedGem, gem: UnpackedGem) -> Result<(), GemError> {
        let has_extensions = !gem.extensions.is_empty();
        let builds = has_extensions && self.builds_extension(name, &gem.extensions)?;
        let without_extension = has_extensions && !builds;
        let linked = self.manifest.links(name);
        match self.check_ruby(name, locked, &gem) {
            Err(GemError::Ruby { asked, .. }) if linked => {
                let reason = format!("the locked version needs Ruby {asked}");
                return self.use_pack(name, locked, &reason);
            }
            checked => checked?,
        }
        let (version, source) = (&locked.version, &gem.source);
        let note = match without_extension {
            true => " (without its native extension, for which it has Ruby code)",
            false => "",
        };
        (self.report)(&format!("Installing {name} {version} from {source}{note}"));
        let full_name = format!("{name}-{version}");
        let root = self.home.gem(&full_name);
        let (specification, unlocked) = self.fit(gem.specification, locked);
        if builds {
            let mut lacks = Vec::new();
            for dependency in unlocked {
                if !self.add_for_builds(&dependency, locked)? {
                    lacks.push(dependency);
                }
            }
            let carried = self.manifest.gems.get(name).filter(|_| linked);
            let replacement = carried.map(|version| PackGem {
                name: name.to_owned(),
                version: version.clone(),
                locked: locked.version.clone(),
            });
            self.installed.extensions.push(NativeGem {
                full_name: full_name.clone(),
                directory: root.clone(),
                scripts: gem.extensions.clone(),
                options: native::options(name),
                digest: digest_of(&gem.files),
                lacks,
                replacement,
            });
        }
        let needed = |path: &str| !UNNEEDED.iter().any(|folder| path.starts_with(folder));
        for (path, bytes, mode) in gem.files.iter().filter(|(path, ..)| needed(path)) {
            self.tree.add(&format!("{root}/{path}"), bytes, *mode)?;
        }
        self.add_specification(full_name, specification)
    }

    /// Adds the specification of an installed gem, or keeps what it is still to be made from.
    fn add_specification(
        &mut self,
        full_name: String,
        specification: GemSpecification,
    ) -> Result<(), GemError> {
        match specification {
            GemSpecification::Metadata(text) => {
                self.installed.metadata.insert(full_name, text);
                Ok(())
            }
            GemSpecification::Ruby(text) => {
                self.home.add_specification(self.tree, &full_name, &text)
            }
        }
    }

    /// Adds a gem that the extension of a locked gem needs to be built, and that the lockfile lacks, in the newest version that
    /// fits. Returns whether there is one.
    fn add_for_builds(
        &mut self,
        dependency: &GemDependency,
        of: &LockedGem,
    ) -> Result<bool, GemError> {
        let home = self.home.clone();
        if self.installed.build_only.has(&home, &dependency.name) {
            return Ok(true);
        }
        let found = build_only::find(dependency, of, self.tree, self.directories, self.fetcher)?;
        let Some((version, gem)) = found else {
            return Ok(false);
        };
        let (name, source) = (&dependency.name, &gem.source);
        let line = format!("Using {name} {version} from {source} to compile extensions");
        (self.report)(&line);
        let full_name = format!("{name}-{version}");
        let root = home.gem(&full_name);
        for (path, bytes, mode) in &gem.files {
            self.tree.add(&format!("{root}/{path}"), bytes, *mode)?;
        }
        self.add_specification(full_name.clone(), gem.specification)?;
        self.installed.build_only.add(&home, full_name);
        Ok(true)
    }

    /// Fits the specification of a gem to a lockfile that has only precompiled builds of it: such a lockfile lacks the gems that
    /// the plain form needs to be built. Returns these too.
    fn fit(
        &self,
        specification: GemSpecification,
        locked: &LockedGem,
    ) -> (GemSpecification, Vec<GemDependency>) {
        match specification {
            GemSpecification::Metadata(text) if !locked.platforms.is_empty() => {
                let is_unlocked = |name: &str| !self.lockfile.gems.contains_key(name);
                let (text, unlocked) = GemMetadata::new(&text).without_dependencies(is_unlocked);
                (GemSpecification::Metadata(text), unlocked)
            }
            other => (other, Vec::new()),
        }
    }

    /// Returns whether the native extension of a gem is built. Some gems work without it.
    fn builds_extension(&self, name: &str, scripts: &[String]) -> Result<bool, GemError> {
        native::reject_impossible(name)?;
        let optional = native::is_optional(name);
        let builds = self.manifest.symbols.is_some();
        match (builds, optional) {
            (true, true) => Ok(scripts.iter().all(|script| script.ends_with("extconf.rb"))),
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(native::rejection(name)),
        }
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

/// Results of an installation that Ruby itself must complete.
#[derive(Debug, Default)]
pub struct InstalledGems {
    /// Metadata of gems whose specifications are still to be made.
    pub metadata: GemMetadataFiles,
    /// Gems whose native extensions are still to be built.
    pub extensions: Vec<NativeGem>,
    /// Gems that only these builds need.
    pub build_only: BuildOnlyGems,
}

/// Puts the pack's version of a gem in the place of one that has been installed, and returns the line for the pusher.
///
/// # Errors
///
/// [`GemError::Tree`].
pub fn use_pack_gem(
    tree: &mut Tree,
    series: &str,
    gem: &PackGem,
    reason: &str,
) -> Result<String, GemError> {
    let PackGem {
        name,
        version,
        locked,
    } = gem;
    let home = GemHome::of_series(series);
    let files = format!("{}/", home.gem(&format!("{name}-{locked}")));
    tree.remove_if(|path| path.starts_with(&files));
    home.link_pack_gem(tree, name, locked)?;
    Ok(using_pack(name, version, locked, reason))
}

fn using_pack(name: &str, version: &str, locked: &str, reason: &str) -> String {
    let reason = match reason {
        "" => String::new(),
        reason => format!("{reason}, and "),
    };
    format!("Using {name} {version} of the Ruby pack ({reason}Gemfile.lock has {locked})")
}

/// Returns a digest of a gem's files.
fn digest_of(files: &GemFiles) -> String {
    let parts = files.iter();
    let parts = parts.flat_map(|(path, bytes, _)| [path.as_bytes(), bytes.as_slice()]);
    Checksum::of_parts(parts).to_string()
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

/// Returns whether a gemspec, which is code, names native extensions.
fn names_extensions(gemspec: &str) -> bool {
    gemspec.lines().any(|line| {
        let code = line.trim_start();
        let after = code
            .split_once(".extensions")
            .map(|(_, after)| after.trim_start());
        let sets =
            after.is_some_and(|after| ["=", "<<", "+="].iter().any(|sign| after.starts_with(sign)));
        !code.starts_with('#') && sets && !code.ends_with("= []")
    })
}
