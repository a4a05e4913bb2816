//! Gems from the servers that the lockfile names, as far as the node's operator allows them.
//!
//! A gem is taken only if its SHA-256 is the one that the server's index and the lockfile's `CHECKSUMS` have. One that
//! is in the node's cache already is not fetched again, and with `CHECKSUMS` nothing is asked at all, so that such a
//! build needs no network.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::index::{self, Entry, IndexError};
use super::server::{GemServerError, Server};
use super::source::{GemServerUrl, GemServerUrlError};
use super::store::GemCache;
use crate::checksum::Checksum;
use crate::lockfile::{LockedGem, without_credentials};
use crate::report::human_size;

/// A gem that cannot be had from its server.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The operator does not allow the server. The lockfile's author chose it, who might have chosen any address.
    #[error(
        "The gem {name} comes from {remote}, which this node does not fetch from: put {name}-{version}.gem into vendor/cache (bundle cache does so), or have the node's operator allow it with --gem-source {remote}"
    )]
    NotAllowed {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// What the lockfile names, without credentials.
        remote: String,
    },
    /// The lockfile names no server that could be allowed.
    #[error(
        "Gemfile.lock names {remote} as the source of {name}, which cannot be used: {reason}. Change the source in the Gemfile, run bundle lock, and commit Gemfile.lock"
    )]
    Source {
        /// The gem.
        name: String,
        /// What the lockfile names, without credentials.
        remote: String,
        /// What is wrong with it.
        reason: GemServerUrlError,
    },
    /// The server has no gem of this name.
    #[error(
        "The gem {name} is not known at {server}: check its name in the Gemfile, or put {name}-{version}.gem into vendor/cache"
    )]
    UnknownGem {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// The server.
        server: String,
    },
    /// The server has other versions.
    #[error(
        "The gem {name} {version} is not to be had at {server}: it was yanked, or never published. Choose another version (bundle update {name}), and commit Gemfile.lock"
    )]
    UnknownVersion {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// The server.
        server: String,
    },
    /// The server has only builds for machines.
    #[error(
        "The gem {name} {version} is at {server} only as precompiled builds ({platforms}), which a dyno cannot load: use a gem written in Ruby alone"
    )]
    Precompiled {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// The server.
        server: String,
        /// What they are for.
        platforms: String,
    },
    /// The bytes, or the index, are not those that were locked.
    #[error(transparent)]
    Checksum(Box<ChecksumMismatch>),
    /// Two servers have different gems of one name and version.
    #[error(
        "The gem {name} {version} is at {first} and, with other content, at {second}: say in the Gemfile which is meant (source \"…\" do … end), run bundle lock, and commit Gemfile.lock"
    )]
    Ambiguous {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// One server.
        first: String,
        /// The other.
        second: String,
    },
    /// The server's index is none.
    #[error(
        "The index of {name} at {server} is not understood: {reason}. Ask whoever runs the gem server"
    )]
    Index {
        /// The gem.
        name: String,
        /// The server.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// All gems together are too much.
    #[error(
        "The gems of this app are larger than {0} together, more than a slug may hold: leave out what a running app does not need"
    )]
    TooMuch(String),
    /// All gems together take too long.
    #[error(
        "The gems of this app did not come within {0} seconds: push again, which goes on with the gem {1}"
    )]
    TooLong(u64, String),
    /// One request.
    #[error("{error}\n(needed for the gem {name} {version})")]
    Server {
        /// The gem.
        name: String,
        /// Its version.
        version: String,
        /// What happened.
        error: GemServerError,
    },
    /// The cache.
    #[error("{0}: the node's operator can mend that")]
    Store(#[from] std::io::Error),
}

/// A gem that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error(
    "The gem {name} {version} of {server} is not what {witness} says it is, and was not installed: SHA-256 {expected} was expected, {found} was found. {advice}"
)]
pub struct ChecksumMismatch {
    name: String,
    version: String,
    server: String,
    /// Who names the expected one.
    witness: &'static str,
    expected: Checksum,
    found: Checksum,
    /// What to do.
    advice: &'static str,
}

impl FetchError {
    /// Why the server could not be asked, if that is so: it says nothing about the gem.
    pub(super) fn not_asked(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed { .. } => Some("this node does not fetch from its server"),
            Self::Server {
                error: GemServerError::Unreachable { .. },
                ..
            } => Some("its server cannot be reached"),
            _ => None,
        }
    }
}

/// Bounds on what one build fetches.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// For one request, all of its redirects and bytes.
    pub request: Duration,
    /// For all requests; a build has 15 minutes.
    pub total: Duration,
    /// Bytes of one gem's index: about ten times the longest of rubygems.org.
    pub index: u64,
    /// Bytes of one gem, as one in `vendor/cache` may have.
    pub gem: u64,
    /// Bytes of all gems: as many as a slug.
    pub all: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(60),
            total: Duration::from_secs(600),
            index: 8 << 20,
            gem: super::gem_file::MAX_GEM,
            all: 500 << 20,
        }
    }
}

/// The gem servers of a build, and the cache before them.
pub struct GemFetcher {
    servers: Vec<Server>,
    store: GemCache,
    limits: FetchLimits,
    started: Instant,
    fetched: AtomicU64,
}

/// A verified gem.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// Where it comes from, for the pusher.
    pub(super) source: String,
}

/// A gem as the lockfile names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) locked: &'a LockedGem,
    /// The servers that the lockfile names for it.
    pub(super) remotes: &'a [String],
}

impl GemFetcher {
    /// The servers that the operator allows, with the node's cache.
    pub fn new(sources: impl IntoIterator<Item = GemServerUrl>, store: GemCache) -> Self {
        Self {
            servers: sources.into_iter().map(Server::new).collect(),
            store,
            limits: FetchLimits::default(),
            started: Instant::now(),
            fetched: AtomicU64::new(0),
        }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_limits(self, limits: FetchLimits) -> Self {
        Self { limits, ..self }
    }

    /// The gem, from the cache or from its server.
    pub(super) fn get(&self, wanted: Wanted<'_>) -> Result<Fetched, FetchError> {
        // Before the cache, so that what a push is told does not depend on other apps' pushes.
        let servers = self.allowed(wanted)?;
        if let Some(checksum) = &wanted.locked.checksum
            && let Some(cached) = self.cached(checksum)?
        {
            return Ok(cached);
        }
        let (server, checksum) = self.look_up(wanted, &servers)?;
        if let Some(cached) = self.cached(&checksum)? {
            return Ok(cached);
        }
        let bytes = self.download(wanted, server, &checksum)?;
        self.store.put(&checksum, &bytes)?;
        Ok(Fetched {
            bytes,
            source: server.source().to_string(),
        })
    }

    fn cached(&self, checksum: &Checksum) -> Result<Option<Fetched>, FetchError> {
        let found = self.store.get(checksum)?.map(|bytes| Fetched {
            bytes,
            source: "the gem cache".to_owned(),
        });
        Ok(found)
    }

    /// The servers that the lockfile names, if the operator allows each of them.
    fn allowed(&self, wanted: Wanted<'_>) -> Result<Vec<&Server>, FetchError> {
        let Wanted { name, locked, .. } = wanted;
        let server = |remote: &String| {
            let shown = without_credentials(remote);
            let source: GemServerUrl = match remote.parse() {
                Ok(source) => source,
                Err(reason) => {
                    return Err(FetchError::Source {
                        name: name.to_owned(),
                        remote: shown,
                        reason,
                    });
                }
            };
            let known = self.servers.iter().find(|known| *known.source() == source);
            known.ok_or_else(|| FetchError::NotAllowed {
                name: name.to_owned(),
                version: locked.version.clone(),
                remote: source.to_string(),
            })
        };
        wanted.remotes.iter().map(server).collect()
    }

    /// The server that has the gem, and its checksum, on which the lockfile and all servers agree.
    fn look_up<'a>(
        &self,
        wanted: Wanted<'_>,
        servers: &[&'a Server],
    ) -> Result<(&'a Server, Checksum), FetchError> {
        let mut found: Option<(&Server, Checksum)> = None;
        let mut failure = None;
        for server in servers {
            match (self.published(wanted, server), found) {
                (Ok(checksum), None) => found = Some((server, checksum)),
                (Ok(checksum), Some((first, other))) if checksum != other => {
                    return Err(FetchError::Ambiguous {
                        name: wanted.name.to_owned(),
                        version: wanted.locked.version.clone(),
                        first: first.source().to_string(),
                        second: server.source().to_string(),
                    });
                }
                (Ok(_), Some(_)) => {}
                (Err(error), _) if !error.is_absence() => return Err(error),
                // Of several servers one need not have it; what the last says of it is told.
                (Err(error), _) => failure = Some(error),
            }
        }
        match (found, failure) {
            (Some(found), _) => Ok(found),
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.unknown(wanted, "any server")),
        }
    }

    fn unknown(&self, wanted: Wanted<'_>, server: &str) -> FetchError {
        FetchError::UnknownGem {
            name: wanted.name.to_owned(),
            version: wanted.locked.version.clone(),
            server: server.to_owned(),
        }
    }

    /// The checksum that the server publishes, if it is the lockfile's.
    fn published(&self, wanted: Wanted<'_>, server: &Server) -> Result<Checksum, FetchError> {
        let Wanted { name, locked, .. } = wanted;
        let (version, source) = (locked.version.clone(), server.source().to_string());
        let path = format!("info/{name}");
        let bytes = match self.request(wanted, server, &path, self.limits.index) {
            Err(FetchError::Server {
                error: GemServerError::NotFound(_),
                ..
            }) => return Err(self.unknown(wanted, &source)),
            answer => answer?,
        };
        let name = name.to_owned();
        let text = String::from_utf8_lossy(&bytes);
        let found = match index::find(&text, &version) {
            Ok(Entry::Plain(checksum)) => checksum,
            Ok(Entry::Precompiled(platforms)) => {
                return Err(FetchError::Precompiled {
                    name,
                    version,
                    server: source,
                    platforms: platforms.join(", "),
                });
            }
            Ok(Entry::Absent) => {
                return Err(FetchError::UnknownVersion {
                    name,
                    version,
                    server: source,
                });
            }
            Err(reason) => return Err(bad_index(name, source, &reason)),
        };
        match locked.checksum {
            Some(expected) if expected != found => Err(mismatch(ChecksumMismatch {
                name,
                version,
                server: source,
                witness: "Gemfile.lock",
                expected,
                found,
                advice: "If you know why it has changed, run bundle lock --add-checksums and commit Gemfile.lock; else do not use it",
            })),
            _ => Ok(found),
        }
    }

    fn download(
        &self,
        wanted: Wanted<'_>,
        server: &Server,
        expected: &Checksum,
    ) -> Result<Vec<u8>, FetchError> {
        let Wanted { name, locked, .. } = wanted;
        let path = format!("gems/{name}-{}.gem", locked.version);
        let bytes = self.request(wanted, server, &path, self.limits.gem)?;
        let length = bytes.len() as u64;
        if self.fetched.fetch_add(length, Ordering::Relaxed) + length > self.limits.all {
            return Err(FetchError::TooMuch(human_size(self.limits.all)));
        }
        let found = Checksum::of(&bytes);
        if found == *expected {
            return Ok(bytes);
        }
        Err(mismatch(ChecksumMismatch {
            name: name.to_owned(),
            version: locked.version.clone(),
            server: server.source().to_string(),
            witness: "the server's own index",
            expected: *expected,
            found,
            advice: "Push again; if it stays so, ask whoever runs the gem server",
        }))
    }

    fn request(
        &self,
        wanted: Wanted<'_>,
        server: &Server,
        path: &str,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let FetchLimits { request, total, .. } = self.limits;
        let left = total.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            let name = wanted.name.to_owned();
            return Err(FetchError::TooLong(total.as_secs(), name));
        }
        let answer = server.get(path, limit, request.min(left));
        answer.map_err(|error| FetchError::Server {
            name: wanted.name.to_owned(),
            version: wanted.locked.version.clone(),
            error,
        })
    }
}

impl FetchError {
    /// Whether a server has said that it does not have the gem.
    fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::UnknownGem { .. } | Self::UnknownVersion { .. } | Self::Precompiled { .. }
        )
    }
}

fn mismatch(mismatch: ChecksumMismatch) -> FetchError {
    FetchError::Checksum(Box::new(mismatch))
}

fn bad_index(name: String, server: String, reason: &IndexError) -> FetchError {
    FetchError::Index {
        name,
        server,
        reason: reason.to_string(),
    }
}
