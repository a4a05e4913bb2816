//! Installation of an app's gems: resolves which gems it needs, finds them and puts them into the tree.
//!
//! [`install`] decides for each gem of the lockfile where to take it from, in this order: the app's `vendor/cache`, the
//! node's gem directories, then the server that the lockfile names, or the node's cache of that server's gems. Gems
//! whose native part the pack carries come from the pack, unless another version is locked and can be compiled. Web servers such as puma, and other gems that make no sense in a
//! dyno, get a stand-in, because a dyno serves requests itself.
//!
//! The result is a gem home as `bundle install --deployment` makes one, which RubyGems and Bundler read in the dyno.
//!
//! A few threads fetch gems ahead of the installation, which adds them to the tree in the order of their dependencies.

mod build_only;
mod cache;
mod credentials;
mod directory;
mod error;
mod fetch_error;
mod fetcher;
mod gemfile;
mod guarded_resolver;
mod index;
mod install;
mod metadata;
mod native;
mod package;
mod path;
mod prefetch;
mod redirect;
mod repository;
mod resolve;
mod server_client;
mod server_url;
mod specification;
mod stand_ins;

pub use self::cache::GemCache;
pub use self::credentials::GemCredentials;
pub use self::error::{GemError, RefusedGem};
pub use self::fetch_error::{ChecksumMismatch, FetchError};
pub use self::fetcher::{FetchLimits, GemFetcher};
pub use self::gemfile::{GemfileGem, GemfileReport};
pub use self::install::{InstalledGems, install, use_pack_gem};
pub use self::metadata::GemDependency;
pub use self::repository::{RepositoryError, RepositoryFetcher};
pub use self::resolve::GemSources;
pub use self::server_client::GemServerError;
pub use self::server_url::{GemServerUrl, GemServerUrlError};
pub use self::specification::{GemMetadataFiles, SpecificationResult, add_specifications};
