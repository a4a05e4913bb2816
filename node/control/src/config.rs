//! The settings of a node.

use std::net::SocketAddr;
use std::path::PathBuf;

use corundum_build::BuildLimits;
use corundum_compiler::gems::GemServerUrl;

use crate::acme::Acme;
use crate::certs::default_cert::Files as CertFiles;
use crate::drains;

/// How a node gets its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It opens them.
    Alone,
    /// It gets those of the node that runs on the same data directory, if one does.
    TakeOver,
}

/// A node's settings.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// How it gets its listeners.
    pub start: Start,
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Where prepared packs are, shared by all nodes of the machine.
    pub cache: PathBuf,
    /// The apps' listener.
    pub http: SocketAddr,
    /// The apps' listener for TLS.
    pub https: Option<SocketAddr>,
    /// A certificate for all apps under the domain.
    pub https_cert: Option<CertFiles>,
    /// Where certificates are got from.
    pub acme: Acme,
    /// The listener of the API and git.
    pub api: SocketAddr,
    /// The listener of metrics and health checks.
    pub admin: SocketAddr,
    /// Directories that builds take gems from.
    pub gems: Vec<PathBuf>,
    /// Gem servers that builds may fetch from.
    pub gem_sources: Vec<GemServerUrl>,
    /// Apps are served at `NAME.domain`.
    pub domain: String,
    /// Bytes of the HTTP cache.
    pub cache_size: u64,
    /// Whether log drains may lead to private addresses.
    pub drain_private: drains::Private,
    /// Further certificate authorities that log drains believe, in PEM.
    pub drain_ca: Option<PathBuf>,
    /// Bytes of one push.
    pub push: u64,
    /// Limits of builds.
    pub build: BuildLimits,
    /// Whether Ruby is built from source beside serving, where it has not been yet.
    pub build_ruby: bool,
}
