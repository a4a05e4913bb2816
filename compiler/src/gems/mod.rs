//! An app's gems: which it needs, where they are found, and how they lie in the slug.
//!
//! A gem is looked for in the app's `vendor/cache`, then in the node's gem directories, then at the server that the
//! lockfile names ([`remote`]) or in the node's cache of what came from there ([`store`]). Gems whose native part the
//! pack carries come from the pack, and servers are left out, since the dyno is one.

mod ahead;
mod directory;
mod gem_file;
mod gemfile;
mod index;
mod native;
mod path;
mod remote;
mod server;
mod source;
mod store;

use std::path::PathBuf;

use corundum_pack::Manifest;
use corundum_pack::archive::FileMode;
use serde::Serialize;

use self::ahead::Ahead;
pub use self::gemfile::{GemfileGem, GemfileReport};
pub use self::remote::{ChecksumMismatch, FetchError, FetchLimits, GemFetcher};
use self::remote::{Fetched, Wanted};
pub use self::server::GemServerError;
pub use self::source::{GemServerUrl, GemServerUrlError};
pub use self::store::GemCache;
use crate::lockfile::{LockedGem, Lockfile, LockfileError, Origin, without_credentials};
use crate::requirement::Requirement;
use crate::tree::{Tree, TreeError};

/// Where the slug lists its gems.
pub const BUNDLE: &str = ".corundum/bundle.json";

/// Gems that cannot be had. The pusher's to mend, or the operator's.
#[derive(Debug, thiserror::Error)]
pub enum GemError {
    /// The lockfile.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The Gemfile raised.
    #[error("The Gemfile cannot be evaluated:\n{0}")]
    Gemfile(String),
    /// There is a Gemfile with gems, and no lockfile.
    #[error("There is a Gemfile, but no Gemfile.lock: run bundle lock, and commit Gemfile.lock")]
    NoLockfile,
    /// The Gemfile names a gem that the lockfile does not know.
    #[error(
        "The Gemfile names {0}, and Gemfile.lock does not: run bundle lock, and commit Gemfile.lock"
    )]
    Disagree(String),
    /// The locked version is not one that the Gemfile asks for.
    #[error(
        "Gemfile.lock disagrees with the Gemfile: the Gemfile asks for {name} {asked}, and Gemfile.lock has {locked}. Run bundle lock, and commit Gemfile.lock"
    )]
    Versions {
        /// The gem.
        name: String,
        /// What the Gemfile asks for.
        asked: String,
        /// The locked version.
        locked: String,
    },
    /// A gem is needed, and has no version in the lockfile.
    #[error(
        "Gemfile.lock has no version of {0}, which the app needs: run bundle lock, and commit Gemfile.lock"
    )]
    Unresolved(String),
    /// The Gemfile's requirement, or the locked version, is none.
    #[error("The version of {name} in the Gemfile is not understood: {reason}")]
    Requirement {
        /// The gem.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A gem is nowhere to be found.
    #[error(
        "The gem {name} {version} was not found, and Gemfile.lock names no server that has it: put {name}-{version}.gem into vendor/cache (bundle cache does so), or have the node's operator add a gem directory that has it"
    )]
    Missing {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// The lockfile has a gem's precompiled builds alone.
    #[error(
        "Gemfile.lock has {name} {version} only as precompiled builds ({platforms}), which a dyno cannot load: run bundle lock --add-platform ruby, and commit Gemfile.lock"
    )]
    Precompiled {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What they are for.
        platforms: String,
    },
    /// A gem with a native part.
    #[error("The gem {name} has a native extension, which a dyno cannot load: {advice}")]
    Native {
        /// Its name.
        name: String,
        /// What to use instead.
        advice: String,
    },
    /// A gem for another Ruby.
    #[error(
        "The gem {name} {version} needs Ruby {asked}, and the app runs on {ruby}: choose another Ruby (ruby \"…\" in the Gemfile) or another version of the gem, run bundle lock, and commit the result"
    )]
    Ruby {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What it needs.
        asked: String,
        /// The pack's version.
        ruby: String,
    },
    /// A gem from a git repository.
    #[error(
        "The gem {name} comes from a git repository ({uri}), which a build does not fetch: put a copy into the app, and name it by path: in the Gemfile"
    )]
    Git {
        /// Its name.
        name: String,
        /// The repository.
        uri: String,
    },
    /// A gem from a source that only a plugin of Bundler's knows.
    #[error(
        "The gem {name} comes from a source of a Bundler plugin ({uri}), which a build does not run: put {name}'s .gem file into vendor/cache, and take it from a gem server in the Gemfile"
    )]
    Plugin {
        /// Its name.
        name: String,
        /// The source.
        uri: String,
    },
    /// A folder outside the app.
    #[error(
        "The gem {name} comes from {path:?}, which is not inside the app: put a copy into the app, and name it by path: in the Gemfile"
    )]
    Path {
        /// Its name.
        name: String,
        /// The folder.
        path: String,
    },
    /// A folder that was not pushed.
    #[error(
        "The gem {name} comes from the folder {path:?}, which is not in the repository: add it, and commit it"
    )]
    PathMissing {
        /// Its name.
        name: String,
        /// The folder.
        path: String,
    },
    /// A `.gem` that is damaged or not what the lockfile names.
    #[error(
        "The gem file {file} is damaged: {reason}. Run bundle cache again, and commit the result"
    )]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A `.gem` of a server that is as published, and no gem.
    #[error(
        "The gem {name} {version} from {server} cannot be used: {reason}. Choose another version, or ask its authors"
    )]
    Unusable {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Where it is from.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// A gem server.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The app's tree, with its gems.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The disk.
    #[error("the gems could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A gem's files and what is to be known of them.
pub(crate) struct Found {
    /// Paths within the gem.
    files: Vec<(String, Vec<u8>, FileMode)>,
    require_paths: Vec<String>,
    has_extensions: bool,
    /// What it requires of Ruby's version, as far as it is known.
    ruby: Vec<String>,
    /// Where it was found, for the pusher.
    source: String,
}

/// One gem as `bundle.json` has it.
#[derive(Debug, Serialize)]
struct Bundled {
    name: String,
    version: String,
    path: Option<String>,
    require_paths: Vec<String>,
    groups: Vec<String>,
    require: Option<Vec<String>>,
}

/// Where gems are looked for, after the app's `vendor/cache`.
pub struct GemSources<'a> {
    /// Gem directories of the node.
    pub directories: &'a [PathBuf],
    /// Gem servers.
    pub fetcher: &'a GemFetcher,
}

/// Puts the gems of `tree` into it, and their list; `say` gets a line for each.
///
/// # Errors
///
/// [`GemError`].
pub fn install(
    tree: &mut Tree,
    gemfile: &GemfileReport,
    manifest: &Manifest,
    sources: &GemSources<'_>,
    mut say: impl FnMut(&str),
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
    let gems = needed(gemfile, &lockfile)?;
    let finder = Finder {
        manifest,
        directories: sources.directories,
    };
    let steps = finder.steps(tree, &gems)?;
    let fetched: Vec<Wanted<'_>> = steps.iter().filter_map(Step::wanted).collect();
    let bundle = ahead::fetch(sources.fetcher, &fetched, |ahead| {
        let mut installer = Installer {
            tree,
            manifest,
            directories: sources.directories,
            ahead,
            taken: 0,
            say: &mut say,
        };
        let bundle = gems.iter().zip(steps);
        bundle
            .map(|((name, locked), step)| {
                let placed = installer.place(name, locked, step)?;
                Ok(bundled(gemfile, name, locked, placed))
            })
            .collect::<Result<Vec<_>, GemError>>()
    })?;
    if !bundle.is_empty() {
        let text = serde_json::to_vec(&serde_json::json!({ "gems": bundle }))
            .map_err(std::io::Error::from)?;
        tree.add(BUNDLE, &text, FileMode::Plain)?;
    }
    tree.remove_if(|path| path.starts_with("vendor/cache/"));
    Ok(())
}

/// The gems that a running app needs, what they depend on before them.
fn needed<'a>(
    gemfile: &GemfileReport,
    lockfile: &'a Lockfile,
) -> Result<Vec<(&'a str, &'a LockedGem)>, GemError> {
    let roots: Vec<String> = gemfile.wanted().map(|gem| gem.name.clone()).collect();
    let mut gems = Vec::new();
    for name in lockfile.in_order(roots) {
        let Some((name, locked)) = lockfile.gems.get_key_value(&name) else {
            continue;
        };
        if native::is_server(name) {
            continue;
        }
        // Bundler is no gem of the bundle, and what only servers need is not asked for.
        let known = |name: &String| {
            lockfile.gems.contains_key(name) || name == "bundler" || native::is_server(name)
        };
        if let Some(lost) = locked.dependencies.iter().find(|name| !known(name)) {
            return Err(GemError::Unresolved(lost.clone()));
        }
        gems.push((name.as_str(), locked));
    }
    Ok(gems)
}

fn bundled(
    gemfile: &GemfileReport,
    name: &str,
    locked: &LockedGem,
    placed: Option<Placed>,
) -> Bundled {
    let gem = gemfile.wanted().find(|gem| gem.name == name);
    let placed = placed.map(|placed| (placed.path, placed.require_paths));
    let (path, require_paths) = placed.unzip();
    Bundled {
        name: name.to_owned(),
        version: locked.version.clone(),
        path,
        require_paths: require_paths.unwrap_or_default(),
        groups: gem.map(|gem| gem.groups.clone()).unwrap_or_default(),
        require: gem.and_then(|gem| gem.autorequire.clone()),
    }
}

/// Where one gem is taken from.
enum Step<'a> {
    /// The pack carries it.
    Pack,
    /// A folder of the app.
    Path(&'a str),
    /// `vendor/cache` has its file.
    Cached,
    /// A gem directory has it.
    Directory,
    /// A gem server.
    Remote(Wanted<'a>),
}

impl<'a> Step<'a> {
    fn wanted(&self) -> Option<Wanted<'a>> {
        match self {
            Step::Remote(wanted) => Some(*wanted),
            _ => None,
        }
    }
}

/// Decides where gems are taken from, before any of them is.
struct Finder<'a> {
    manifest: &'a Manifest,
    directories: &'a [PathBuf],
}

impl Finder<'_> {
    fn steps<'a>(
        &self,
        tree: &Tree,
        gems: &[(&'a str, &'a LockedGem)],
    ) -> Result<Vec<Step<'a>>, GemError> {
        gems.iter()
            .map(|(name, locked)| self.step(tree, name, locked))
            .collect()
    }

    fn step<'a>(
        &self,
        tree: &Tree,
        name: &'a str,
        locked: &'a LockedGem,
    ) -> Result<Step<'a>, GemError> {
        let remotes = match &locked.origin {
            Origin::Path(path) => return Ok(Step::Path(path)),
            Origin::Git(uri) => {
                let (name, uri) = (name.to_owned(), without_credentials(uri));
                return Err(GemError::Git { name, uri });
            }
            Origin::Plugin(uri) => {
                let (name, uri) = (name.to_owned(), without_credentials(uri));
                return Err(GemError::Plugin { name, uri });
            }
            Origin::Remotes(remotes) => remotes,
        };
        let carried = self.manifest.gems.get(name);
        if self.manifest.extensions.iter().any(|known| known == name) {
            return Ok(Step::Pack);
        }
        if tree.has_file(&gem_file::in_vendor_cache(name, locked)) {
            return Ok(Step::Cached);
        }
        if directory::has(self.directories, name, &locked.version) {
            return Ok(Step::Directory);
        }
        if carried == Some(&locked.version) {
            return Ok(Step::Pack);
        }
        let remote = Self::remote(name, locked, remotes);
        // What no server can give, the pack may have in another version.
        if remote.is_err() && carried.is_some() {
            return Ok(Step::Pack);
        }
        remote
    }

    fn remote<'a>(
        name: &'a str,
        locked: &'a LockedGem,
        remotes: &'a [String],
    ) -> Result<Step<'a>, GemError> {
        native::refuse_known(name)?;
        let (owned, version) = (name.to_owned(), locked.version.clone());
        if !locked.platforms.is_empty() {
            return Err(GemError::Precompiled {
                name: owned,
                version,
                platforms: locked.platforms.join(", "),
            });
        }
        if remotes.is_empty() {
            let name = owned;
            return Err(GemError::Missing { name, version });
        }
        Ok(Step::Remote(Wanted {
            name,
            locked,
            remotes,
        }))
    }
}

/// A gem's path in the guest, and its load paths.
struct Placed {
    path: String,
    require_paths: Vec<String>,
}

/// Puts gems into the tree, one after another.
struct Installer<'a> {
    tree: &'a mut Tree,
    manifest: &'a Manifest,
    directories: &'a [PathBuf],
    ahead: &'a mut Ahead,
    /// Gems taken from servers so far.
    taken: usize,
    say: &'a mut dyn FnMut(&str),
}

impl Installer<'_> {
    /// GemSources one gem; none when the pack carries it.
    fn place(
        &mut self,
        name: &str,
        locked: &LockedGem,
        step: Step<'_>,
    ) -> Result<Option<Placed>, GemError> {
        let found = match step {
            Step::Pack => {
                self.use_carried(name, locked, "");
                return Ok(None);
            }
            Step::Path(path) => return self.use_folder(name, locked, path).map(Some),
            Step::Cached => gem_file::in_tree(self.tree, name, locked)?,
            Step::Directory => directory::find(self.directories, name, &locked.version)?,
            Step::Remote(_) => match self.take(name, locked)? {
                Some(fetched) => Some(gem_file::fetched(name, locked, fetched)?),
                None => return Ok(None),
            },
        };
        let Some(found) = found else {
            let (name, version) = (name.to_owned(), locked.version.clone());
            return Err(GemError::Missing { name, version });
        };
        self.add(name, locked, &found).map(Some)
    }

    /// The next gem of a server; none if the server could not be asked and the pack carries another version.
    fn take(&mut self, name: &str, locked: &LockedGem) -> Result<Option<Fetched>, GemError> {
        let answer = self.ahead.take(self.taken);
        self.taken += 1;
        let error = match answer {
            Some(Ok(fetched)) => return Ok(Some(fetched)),
            Some(Err(error)) => error,
            None => {
                return Err(std::io::Error::other("no thread is left that fetches them").into());
            }
        };
        match error.not_asked() {
            Some(why) if self.manifest.gems.contains_key(name) => {
                self.use_carried(name, locked, &format!("{why}, and "));
                Ok(None)
            }
            _ => Err(error.into()),
        }
    }

    fn use_carried(&mut self, name: &str, locked: &LockedGem, why: &str) {
        let carried = self.manifest.gems.get(name);
        let line = match carried.filter(|version| **version != locked.version) {
            Some(version) => format!(
                "Using {name} {version} of the Ruby pack ({why}Gemfile.lock has {})",
                locked.version
            ),
            None => format!("Using {name} of the Ruby pack"),
        };
        (self.say)(&line);
    }

    fn use_folder(
        &mut self,
        name: &str,
        locked: &LockedGem,
        path: &str,
    ) -> Result<Placed, GemError> {
        let folder = path::find(self.tree, name, path)?;
        (self.say)(&format!("Using {name} {} from {path}", locked.version));
        let slash = if folder.is_empty() { "" } else { "/" };
        Ok(Placed {
            path: format!("/app{slash}{folder}"),
            require_paths: vec!["lib".to_owned()],
        })
    }

    fn add(&mut self, name: &str, locked: &LockedGem, found: &Found) -> Result<Placed, GemError> {
        if found.has_extensions {
            return Err(native::refuse(name));
        }
        self.check_ruby(name, locked, found)?;
        let version = &locked.version;
        let source = &found.source;
        (self.say)(&format!("Installing {name} {version} from {source}"));
        let series = &self.manifest.series;
        let root = format!("vendor/bundle/ruby/{series}.0/gems/{name}-{version}");
        // What only the gem's own developers need is left out.
        let unneeded = ["test/", "spec/", "doc/"];
        let files = found.files.iter();
        for (path, bytes, mode) in
            files.filter(|(path, ..)| !unneeded.iter().any(|folder| path.starts_with(folder)))
        {
            self.tree.add(&format!("{root}/{path}"), bytes, *mode)?;
        }
        Ok(Placed {
            path: format!("/app/{root}"),
            require_paths: found.require_paths.clone(),
        })
    }

    fn check_ruby(&self, name: &str, locked: &LockedGem, found: &Found) -> Result<(), GemError> {
        let ruby = &self.manifest.version;
        // Gems with a requirement that RubyGems itself could not read would never have been published.
        let (Ok(asked), Ok(version)) = (Requirement::parse(&found.ruby), ruby.parse()) else {
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
