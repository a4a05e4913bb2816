//! Fetcher of gems from the servers that the lockfile names, as far as the node's operator allows them.
//!
//! A gem is used only if its SHA-256 equals the checksum in the server's index and the one under `CHECKSUMS` in the
//! lockfile. Gems in the node's cache are not fetched again. If the lockfile has a checksum for each gem and the cache
//! has them all, a build needs no network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cache::GemCache;
use super::credentials::GemCredentials;
use super::fetch_error::{ChecksumMismatch, FetchError};
use super::index::{self, IndexEntry, IndexError};
use super::package::MAX_GEM_BYTES;
use super::server_client::{GemHttp, GemServerClient, GemServerError};
use super::server_url::GemServerUrl;
use crate::checksum::Checksum;
use crate::lockfile::LockedGem;
use crate::redact::without_credentials;
use crate::report::human_size;
use crate::requirement::{GemVersion, Requirement};

/// Limits on the fetches of one build.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// Time for one request with all of its redirects and bytes.
    pub request: Duration,
    /// Time for all requests; a build has 15 minutes.
    pub total: Duration,
    /// Bytes of one gem's index: about ten times the longest of rubygems.org.
    pub index: u64,
    /// Bytes of one gem, the same as for one in `vendor/cache`.
    pub gem: u64,
    /// Bytes of all gems, the same as for a slug.
    pub all: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(60),
            total: Duration::from_secs(600),
            index: 8 << 20,
            gem: MAX_GEM_BYTES,
            all: 500 << 20,
        }
    }
}

/// Gem servers of a build, with the node's cache in front of them.
pub struct GemFetcher {
    servers: Vec<GemServerClient>,
    cache: GemCache,
    credentials: GemCredentials,
    limits: FetchLimits,
    started: Instant,
    fetched_bytes: AtomicU64,
}

/// A gem whose checksum has been verified.
#[derive(Debug)]
pub(super) struct FetchedGem {
    pub(super) bytes: Vec<u8>,
    /// Name of the server or the cache, for the pusher.
    pub(super) source: String,
}

/// A gem of the lockfile that a server has to deliver.
#[derive(Debug, Clone, Copy)]
pub(super) struct GemRequest<'a> {
    pub(super) name: &'a str,
    pub(super) locked: &'a LockedGem,
    /// Servers that the lockfile names for the gem.
    pub(super) remotes: &'a [String],
}

impl GemFetcher {
    /// Creates a fetcher for the servers that the operator allows.
    pub fn new(servers: impl IntoIterator<Item = GemServerUrl>, cache: GemCache) -> Self {
        let allowed: Vec<GemServerUrl> = servers.into_iter().collect();
        let http = Arc::new(GemHttp::new(allowed.clone()));
        let client = |url| GemServerClient::new(url, http.clone());
        Self {
            servers: allowed.into_iter().map(client).collect(),
            cache,
            credentials: GemCredentials::default(),
            limits: FetchLimits::default(),
            started: Instant::now(),
            fetched_bytes: AtomicU64::new(0),
        }
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(self, limits: FetchLimits) -> Self {
        Self { limits, ..self }
    }

    /// Replaces the credentials.
    #[must_use]
    pub fn with_credentials(self, credentials: GemCredentials) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// Fetches a gem from the cache or from its server.
    pub(super) fn fetch(&self, request: GemRequest<'_>) -> Result<FetchedGem, FetchError> {
        // The check comes before the cache, so that the result of a push does not depend on the pushes of other apps.
        let servers = self.allowed_servers(request)?;
        if let Some(checksum) = &request.locked.checksum
            && let Some(cached) = self.cached(checksum)?
        {
            return Ok(cached);
        }
        let (server, checksum) = self.look_up(request, &servers)?;
        if let Some(cached) = self.cached(&checksum)? {
            return Ok(cached);
        }
        let bytes = self.download(request, server, &checksum)?;
        // All apps share the cache, and a private gem is for those that have its credentials.
        if self.authorization(server).is_none() {
            self.cache.put(&checksum, &bytes)?;
        }
        tracing::debug!(
            gem = request.name,
            version = request.locked.version,
            server = %server.url(),
            bytes = bytes.len(),
            "gem fetched"
        );
        Ok(FetchedGem {
            bytes,
            source: server.url().to_string(),
        })
    }

    /// Returns the credentials for a server. They are sent over TLS alone, or within this machine.
    fn authorization(&self, server: &GemServerClient) -> Option<String> {
        let url = server.url();
        let is_safe = url.is_https() || url.is_loopback();
        is_safe
            .then(|| self.credentials.authorization(url.host()))
            .flatten()
    }

    fn cached(&self, checksum: &Checksum) -> Result<Option<FetchedGem>, FetchError> {
        let cached = self.cache.get(checksum)?.map(|bytes| FetchedGem {
            bytes,
            source: "the gem cache".to_owned(),
        });
        Ok(cached)
    }

    /// Returns the servers that the lockfile names, if the operator allows each of them.
    fn allowed_servers(
        &self,
        request: GemRequest<'_>,
    ) -> Result<Vec<&GemServerClient>, FetchError> {
        let server = |remote: &String| {
            let url: GemServerUrl = remote.parse().map_err(|reason| FetchError::Source {
                name: request.name.to_owned(),
                remote: without_credentials(remote),
                reason,
            })?;
            let known = self.servers.iter().find(|known| *known.url() == url);
            known.ok_or_else(|| FetchError::NotAllowed {
                name: request.name.to_owned(),
                version: request.locked.version.clone(),
                remote: url.to_string(),
                how: request.locked.fetch_command(),
            })
        };
        request.remotes.iter().map(server).collect()
    }

    /// Asks all servers and returns one that has the gem. The checksums of the lockfile and all servers must agree.
    fn look_up<'a>(
        &self,
        request: GemRequest<'_>,
        servers: &[&'a GemServerClient],
    ) -> Result<(&'a GemServerClient, Checksum), FetchError> {
        let mut found: Option<(&GemServerClient, Checksum)> = None;
        let mut absence = None;
        for server in servers {
            match (self.published_checksum(request, server), found) {
                (Ok(checksum), None) => found = Some((server, checksum)),
                (Ok(checksum), Some((first, other))) if checksum != other => {
                    return Err(FetchError::Ambiguous {
                        name: request.name.to_owned(),
                        version: request.locked.version.clone(),
                        first: first.url().to_string(),
                        second: server.url().to_string(),
                    });
                }
                (Ok(_), Some(_)) => {}
                (Err(error), _) if !error.is_absence() => return Err(error),
                // One of several servers is enough; if none has the gem, the pusher gets the last one's answer.
                (Err(error), _) => absence = Some(error),
            }
        }
        match (found, absence) {
            (Some(found), _) => Ok(found),
            (None, Some(error)) => Err(error),
            (None, None) => Err(unknown_gem(request, "any server")),
        }
    }

    /// Returns the newest version of a gem that satisfies a requirement and is no prerelease. The lockfile has no version of it, so
    /// that the version of the request does not count.
    pub(super) fn newest(
        &self,
        request: GemRequest<'_>,
        requirement: &Requirement,
    ) -> Result<Option<String>, FetchError> {
        let mut newest: Option<(GemVersion, String)> = None;
        for server in self.allowed_servers(request)? {
            let text = match self.index(request, server) {
                Err(error) if error.is_absence() => continue,
                text => text?,
            };
            let versions = index::versions(&text);
            let bad = |error| bad_index(request.name.to_owned(), server.url().to_string(), &error);
            for text in versions.map_err(bad)? {
                let Ok(version) = text.parse::<GemVersion>() else {
                    continue;
                };
                let is_newer = newest.as_ref().is_none_or(|(best, _)| version > *best);
                if is_newer && !version.is_prerelease() && requirement.is_satisfied_by(&version) {
                    newest = Some((version, text.to_owned()));
                }
            }
        }
        Ok(newest.map(|(_, text)| text))
    }

    /// Returns the text of a gem's index.
    fn index(
        &self,
        request: GemRequest<'_>,
        server: &GemServerClient,
    ) -> Result<String, FetchError> {
        let path = format!("info/{}", request.name);
        let bytes = match self.get(request, server, &path, self.limits.index) {
            Err(FetchError::Server {
                error: GemServerError::NotFound(_),
                ..
            }) => return Err(unknown_gem(request, &server.url().to_string())),
            answer => answer?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the checksum that the server publishes, if the lockfile has the same or none.
    fn published_checksum(
        &self,
        request: GemRequest<'_>,
        server: &GemServerClient,
    ) -> Result<Checksum, FetchError> {
        let GemRequest { name, locked, .. } = request;
        let (version, url) = (locked.version.clone(), server.url().to_string());
        let text = self.index(request, server)?;
        let name = name.to_owned();
        let found = match index::find(&text, &version) {
            Ok(IndexEntry::Plain(checksum)) => checksum,
            Ok(IndexEntry::Precompiled(platforms)) => {
                return Err(FetchError::Precompiled {
                    name,
                    version,
                    server: url,
                    platforms: platforms.join(", "),
                });
            }
            Ok(IndexEntry::Absent) => {
                return Err(FetchError::UnknownVersion {
                    name,
                    version,
                    server: url,
                });
            }
            Err(reason) => return Err(bad_index(name, url, &reason)),
        };
        match locked.checksum {
            Some(expected) if expected != found => Err(mismatch(ChecksumMismatch {
                name,
                version,
                server: url,
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
        request: GemRequest<'_>,
        server: &GemServerClient,
        expected: &Checksum,
    ) -> Result<Vec<u8>, FetchError> {
        let GemRequest { name, locked, .. } = request;
        let path = format!("gems/{name}-{}.gem", locked.version);
        let bytes = self.get(request, server, &path, self.limits.gem)?;
        let length = bytes.len() as u64;
        if self.fetched_bytes.fetch_add(length, Ordering::Relaxed) + length > self.limits.all {
            return Err(FetchError::TooMuch(human_size(self.limits.all)));
        }
        let found = Checksum::of(&bytes);
        if found == *expected {
            return Ok(bytes);
        }
        Err(mismatch(ChecksumMismatch {
            name: name.to_owned(),
            version: locked.version.clone(),
            server: server.url().to_string(),
            witness: "the server's own index",
            expected: *expected,
            found,
            advice: "Push again; if the error remains, ask the operator of the gem server",
        }))
    }

    /// Gets a file of at most `limit` bytes within the time that is left.
    fn get(
        &self,
        request: GemRequest<'_>,
        server: &GemServerClient,
        path: &str,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let FetchLimits {
            request: per_request,
            total,
            ..
        } = self.limits;
        let left = total.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            let name = request.name.to_owned();
            return Err(FetchError::TooLong(total.as_secs(), name));
        }
        let authorization = self.authorization(server);
        let timeout = per_request.min(left);
        let answer = server.get(path, limit, timeout, authorization.as_deref());
        answer.map_err(|error| FetchError::Server {
            name: request.name.to_owned(),
            version: request.locked.version.clone(),
            error,
        })
    }
}

fn unknown_gem(request: GemRequest<'_>, server: &str) -> FetchError {
    FetchError::UnknownGem {
        name: request.name.to_owned(),
        version: request.locked.version.clone(),
        server: server.to_owned(),
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
