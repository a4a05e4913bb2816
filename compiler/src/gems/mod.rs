//! An app's gems: which it needs, where they are found, and how they lie in the slug.
//!
//! A gem is looked for in the app's `vendor/cache`, then in the node's gem directories; gems whose native part the pack
//! carries come from the pack, and servers are left out, since the dyno is one.

mod directory;
mod gem_file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use corundum_sdk::archive::Mode;
use corundum_sdk::pack::Manifest;
use serde::{Deserialize, Serialize};

use crate::lockfile::{LockedGem, Lockfile, LockfileError, Origin};
use crate::tree::Tree;

/// Where the slug lists its gems.
pub const BUNDLE: &str = ".corundum/bundle.json";

/// Groups that a running app does without, as Heroku has it.
const WITHOUT: [&str; 2] = ["development", "test"];

/// Servers and what only they need: a dyno is one.
const SERVERS: [&str; 9] = [
    "puma",
    "thin",
    "unicorn",
    "falcon",
    "webrick",
    "nio4r",
    "eventmachine",
    "daemons",
    "bootsnap",
];

/// Gems with a native part that no pack carries, and what to use instead.
const INSTEAD: [(&str, &str); 8] = [
    ("pg", "databases come with a later version"),
    ("mysql2", "databases come with a later version"),
    ("sqlite3", "a dyno has no disk to keep a database on"),
    ("nokogiri", "use rexml"),
    ("bcrypt", "use OpenSSL::KDF.scrypt, which Ruby carries"),
    ("ffi", "a dyno cannot load native libraries"),
    ("msgpack", "use json"),
    ("bigdecimal", "use Integer or Rational"),
];

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
    /// A gem is nowhere to be found.
    #[error(
        "The gem {name} {version} was not found: put {name}-{version}.gem into vendor/cache (bundle cache does so), or have the node's operator add a gem directory that has it"
    )]
    Missing {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// A gem with a native part.
    #[error("The gem {name} has a native extension, which a dyno cannot load: {advice}")]
    Native {
        /// Its name.
        name: String,
        /// What to use instead.
        advice: String,
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
    /// The disk, or the app's tree.
    #[error("the gems could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// What the Gemfile says, as the guest reports it.
#[derive(Debug, Default, Deserialize)]
pub struct GemfileReport {
    /// Its gems.
    pub gems: Vec<GemfileGem>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
}

/// A gem of the Gemfile.
#[derive(Debug, Deserialize)]
pub struct GemfileGem {
    /// Its name.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its platforms; none means all.
    pub platforms: Vec<String>,
    /// What `Bundler.require` requires; none means the gem's name.
    #[serde(rename = "require")]
    pub autorequire: Option<Vec<String>>,
}

impl GemfileGem {
    /// Whether a running app needs it.
    fn is_wanted(&self) -> bool {
        let group = self
            .groups
            .iter()
            .any(|group| !WITHOUT.contains(&group.as_str()));
        let platform =
            self.platforms.is_empty() || self.platforms.iter().any(|p| p == "ruby" || p == "mri");
        group && platform
    }
}

/// A gem's files and what is to be known of them.
pub(crate) struct Found {
    /// Paths within the gem.
    files: Vec<(String, Vec<u8>, Mode)>,
    require_paths: Vec<String>,
    has_extensions: bool,
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

/// Puts the gems of `tree` into it, and their list; `say` gets a line for each.
///
/// # Errors
///
/// [`GemError`].
pub fn install(
    tree: &mut Tree,
    gemfile: &GemfileReport,
    manifest: &Manifest,
    directories: &[PathBuf],
    mut say: impl FnMut(&str),
) -> Result<(), GemError> {
    if let Some(error) = &gemfile.error {
        return Err(GemError::Gemfile(error.clone()));
    }
    let wanted: Vec<&GemfileGem> = gemfile.gems.iter().filter(|gem| gem.is_wanted()).collect();
    let lockfile = match tree.text("Gemfile.lock")? {
        Some(text) => Lockfile::parse(&text)?,
        None if gemfile.gems.is_empty() => Lockfile::default(),
        None => return Err(GemError::NoLockfile),
    };
    if let Some(gem) = gemfile
        .gems
        .iter()
        .find(|gem| !lockfile.dependencies.contains(&gem.name))
    {
        return Err(GemError::Disagree(gem.name.clone()));
    }
    let by_name: BTreeMap<&str, &GemfileGem> =
        wanted.iter().map(|gem| (gem.name.as_str(), *gem)).collect();
    let roots = wanted
        .iter()
        .map(|gem| gem.name.clone())
        .filter(|name| !SERVERS.contains(&name.as_str()));
    let mut bundle = Vec::new();
    for name in lockfile.in_order(roots.collect::<Vec<_>>()) {
        if SERVERS.contains(&name.as_str()) {
            continue;
        }
        let Some(locked) = lockfile.gems.get(&name) else {
            continue;
        };
        let path = place(tree, manifest, directories, &name, locked, &mut say)?;
        let gem = by_name.get(name.as_str());
        let (path, require_paths) =
            path.map_or((None, Vec::new()), |(path, paths)| (Some(path), paths));
        bundle.push(Bundled {
            version: locked.version.clone(),
            path,
            require_paths,
            groups: gem.map(|gem| gem.groups.clone()).unwrap_or_default(),
            require: gem.and_then(|gem| gem.autorequire.clone()),
            name,
        });
    }
    if !bundle.is_empty() {
        let text = serde_json::to_vec(&serde_json::json!({ "gems": bundle }))
            .map_err(std::io::Error::from)?;
        tree.add(BUNDLE, &text, Mode::Plain)?;
    }
    tree.retain(|path| path.starts_with("vendor/cache/"));
    Ok(())
}

/// Finds one gem and puts its files into the tree. Returns its path in the guest and its load paths; none when the pack
/// carries it.
fn place(
    tree: &mut Tree,
    manifest: &Manifest,
    directories: &[PathBuf],
    name: &str,
    locked: &LockedGem,
    say: &mut impl FnMut(&str),
) -> Result<Option<(String, Vec<String>)>, GemError> {
    let version = &locked.version;
    match &locked.origin {
        Origin::Git(uri) => {
            return Err(GemError::Git {
                name: name.to_owned(),
                uri: uri.clone(),
            });
        }
        Origin::Path(path) => {
            say(&format!("Using {name} {version} from {path}"));
            return Ok(Some((format!("/app/{path}"), vec!["lib".to_owned()])));
        }
        Origin::Remote(_) => {}
    }
    if manifest.extensions.iter().any(|carried| carried == name) {
        say(&format!("Using {name} of the Ruby pack"));
        return Ok(None);
    }
    let found = match gem_file::find(tree, name, locked)? {
        Some(found) => Some(found),
        None => directory::find(directories, name, version)?,
    };
    let Some(found) = found else {
        if manifest.gems.contains_key(name) {
            say(&format!("Using {name} of the Ruby pack"));
            return Ok(None);
        }
        if let Some(error) = native(name) {
            return Err(error);
        }
        return Err(GemError::Missing {
            name: name.to_owned(),
            version: version.clone(),
        });
    };
    if found.has_extensions {
        return Err(native(name).unwrap_or_else(|| GemError::Native {
            name: name.to_owned(),
            advice: "use a gem written in Ruby alone".to_owned(),
        }));
    }
    say(&format!(
        "Installing {name} {version} from {}",
        found.source
    ));
    let series = &manifest.series;
    let root = format!("vendor/bundle/ruby/{series}.0/gems/{name}-{version}");
    for (path, bytes, mode) in &found.files {
        // What only the gem's own developers need.
        if !["test/", "spec/", "doc/"]
            .iter()
            .any(|folder| path.starts_with(folder))
        {
            tree.add(&format!("{root}/{path}"), bytes, *mode)?;
        }
    }
    Ok(Some((format!("/app/{root}"), found.require_paths)))
}

fn native(name: &str) -> Option<GemError> {
    let (_, advice) = INSTEAD.iter().find(|(native, _)| *native == name)?;
    Some(GemError::Native {
        name: name.to_owned(),
        advice: (*advice).to_owned(),
    })
}
