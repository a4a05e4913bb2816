//! `corundum server`: its options, from the command line, from `corundum.toml`, or their defaults, in this order.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use corundum_abi::ip_network::IpNetwork;
use corundum_abi::outbound::{OutboundDefault, OutboundPolicy, OutboundTarget};
use corundum_build::BuildLimits;
use corundum_compiler::gems::GemServerUrl;
use corundum_control::acme::{AcmeSettings, LETS_ENCRYPT};
use corundum_control::certs::default_cert::DefaultCertFiles;
use corundum_control::drains::PrivateTargets;
use corundum_control::git::http_backend::MAX_PUSH;
use corundum_control::lifecycle::listeners::ListenAddresses;
use corundum_control::packs::upgrade::SourceBuilds;
use corundum_control::services::settings::ServiceSettings;
use corundum_control::storage::retention::DEFAULT_KEEP;
use corundum_control::storage::trash::DEFAULT_GRACE;
use corundum_control::storage::usage::DEFAULT_QUOTA;
use corundum_host::image::cache::DEFAULT_IMAGE_CACHE;
use corundum_router::cache::DEFAULT_CACHE_BYTES;
use corundum_router::trusted_proxies::TrustedProxies;
use serde::Deserialize;

use super::logging::{self, LogFormat};
use crate::server::{self, NodeSettings, StartMode};

/// The file that is read unless --config names another.
const FILE: &str = "corundum.toml";

/// Web dynos that an `app.json` may ask for: four times those of an app that asks for none.
const FORMATION_LIMIT: u32 = 64;

/// The options of a node. The file has the same names.
#[derive(Args, Deserialize, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ServerArguments {
    /// Read options from this file [default: corundum.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Take the listeners over from the node that runs on the same data directory, and let that node end. No connection is
    /// refused meanwhile. The listeners keep the addresses that they have there
    #[arg(long)]
    #[serde(skip)]
    takeover: bool,
    /// Keep apps, releases and logs in this directory [default: corundum-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Serve apps on this address [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Serve apps over TLS on this address [default: disabled]
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Present this certificate (PEM) for all apps under the domain, as for *.DOMAIN. The node reloads it when it changes
    /// [default: none]
    #[arg(long, value_name = "FILE", requires = "https_key")]
    https_cert: Option<PathBuf>,
    /// Use this private key (PEM) for --https-cert [default: none]
    #[arg(long, value_name = "FILE", requires = "https_cert")]
    https_key: Option<PathBuf>,
    /// Request the certificates of certs:auto from this ACME server [default: Let's Encrypt]
    #[arg(long, value_name = "URL")]
    acme_directory: Option<String>,
    /// Give the ACME server this mail address to write to [default: none]
    #[arg(long, value_name = "MAIL")]
    acme_contact: Option<String>,
    /// Trust this certificate authority (PEM) for the ACME server itself [default: the public ones]
    #[arg(long, value_name = "FILE")]
    acme_root: Option<PathBuf>,
    /// Serve the API and git on this address [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Serve /metrics, /healthz and /readyz on this address, without authentication [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Serve apps at NAME.DOMAIN [default: localhost]
    #[arg(long)]
    domain: Option<String>,
    /// Let builds take gems from this directory, which has specifications/ and gems/ in it; repeatable [default: none]
    #[arg(long = "gems", value_name = "DIR")]
    #[serde(default)]
    gems: Vec<PathBuf>,
    /// Let builds fetch from this gem server or git host if a Gemfile.lock names it; repeatable [default: https://rubygems.org/,
    /// and git repositories of github.com, gitlab.com and bitbucket.org]
    #[arg(long, value_name = "URL")]
    #[serde(default)]
    gem_source: Vec<GemServerUrl>,
    /// Give a pushed app this many seconds to load [default: 60]
    #[arg(long, value_name = "SECONDS")]
    boot_timeout: Option<NonZeroU32>,
    /// Let a build take this many MB of memory. The node runs as many builds at once as fit into three eighths of its memory
    /// [default: 3072, or all of that if it is less]
    #[arg(long, value_name = "MB")]
    build_memory: Option<NonZeroU32>,
    /// Let the app.json of a first push ask for this many web dynos; ps:scale may set more [default: 64]
    #[arg(long, value_name = "NUMBER")]
    formation_limit: Option<NonZeroU32>,
    /// Limit slugs to this many MB [default: 500]
    #[arg(long, value_name = "MB")]
    slug_limit: Option<NonZeroU32>,
    /// Use this many MB of memory for the HTTP cache of all apps; 0 disables it [default: 64]
    #[arg(long, value_name = "MB")]
    cache_size: Option<u32>,
    /// Keep this many MB of images ready on disk; others are made at an app's first request [default: 4096]
    #[arg(long, value_name = "MB")]
    image_cache: Option<u32>,
    /// Limit pushes to this many MB [default: 1024]
    #[arg(long, value_name = "MB")]
    push_limit: Option<NonZeroU32>,
    /// Keep files that nothing names any more in the trash for this many hours [default: 24]
    #[arg(long, value_name = "HOURS")]
    trash_hours: Option<u32>,
    /// Keep this many releases of each app for rollbacks [default: 50]
    #[arg(long, value_name = "NUMBER")]
    keep_releases: Option<NonZeroU32>,
    /// Refuse pushes to an app whose repository, slugs and image take more than this many MB; 0 for no limit [default: 10240]
    #[arg(long, value_name = "MB")]
    app_quota: Option<u32>,
    /// Build Ruby from source in the background, unless `corundum pack build` has built it [default: true]
    #[arg(long, value_name = "BOOL")]
    build_ruby: Option<bool>,
    /// Let log drains connect to loopback and private addresses [default: false]
    #[arg(long, value_name = "BOOL")]
    drain_private: Option<bool>,
    /// Trust these certificate authorities (PEM) for log drains, beside the public ones [default: none]
    #[arg(long, value_name = "FILE")]
    drain_ca: Option<PathBuf>,
    /// Let apps connect to all public addresses (public), to those that their app.json lists (listed), or to granted targets
    /// only (granted). A list in app.json holds in the first case too [default: public]
    #[arg(long, value_name = "RULE", value_enum)]
    outbound: Option<OutboundRule>,
    /// Believe X-Forwarded-For, -Proto and -Port of the proxies in this network, as 10.0.0.0/8; repeatable [default: none]
    #[arg(long, value_name = "NETWORK")]
    #[serde(default)]
    trusted_proxy: Vec<IpNetwork>,
    /// Count this network as a private one: apps need a grant to connect to it; repeatable [default: none]
    #[arg(long, value_name = "NETWORK")]
    #[serde(default)]
    outbound_private: Vec<OutboundTarget>,
    /// Offer the services whose servers Debian's packages have installed on this machine: redis and memcached
    #[arg(long)]
    #[serde(default)]
    dev_services: bool,
    /// Create the add-ons that the gems of a first push use, if their services are offered [default: true]
    #[arg(long, value_name = "BOOL")]
    auto_addons: Option<bool>,
    /// Services that add-ons come from.
    #[arg(skip)]
    #[serde(default)]
    services: ServiceSettings,
    /// Write the node's own log, on standard error, in this format [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

impl ServerArguments {
    /// Reads options from a file. Paths in it are relative to the file's directory.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut file: Self = toml::from_str(&text)
            .with_context(|| format!("{}: invalid options", path.display()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        file.data_dir = file.data_dir.map(|directory| base.join(directory));
        file.drain_ca = file.drain_ca.map(|path| base.join(path));
        file.https_cert = file.https_cert.map(|file| base.join(file));
        file.https_key = file.https_key.map(|file| base.join(file));
        file.acme_root = file.acme_root.map(|root| base.join(root));
        file.services.resolve(base);
        if file.services.hold_secrets() {
            let mode = std::fs::metadata(path)?.permissions().mode();
            anyhow::ensure!(
                mode & 0o077 == 0,
                "{}: [services] has a password and other users can read the file: chmod 600, or use url-file",
                path.display()
            );
        }
        for directory in &mut file.gems {
            *directory = base.join(&*directory);
        }
        Ok(file)
    }

    /// Returns these options, with those of `file` where these are absent.
    fn or(self, file: Self) -> Self {
        fn first<T>(own: Vec<T>, other: Vec<T>) -> Vec<T> {
            if own.is_empty() { other } else { own }
        }
        Self {
            config: None,
            takeover: self.takeover,
            data_dir: self.data_dir.or(file.data_dir),
            http: self.http.or(file.http),
            https: self.https.or(file.https),
            https_cert: self.https_cert.or(file.https_cert),
            https_key: self.https_key.or(file.https_key),
            acme_directory: self.acme_directory.or(file.acme_directory),
            acme_contact: self.acme_contact.or(file.acme_contact),
            acme_root: self.acme_root.or(file.acme_root),
            api: self.api.or(file.api),
            admin: self.admin.or(file.admin),
            domain: self.domain.or(file.domain),
            gems: first(self.gems, file.gems),
            gem_source: first(self.gem_source, file.gem_source),
            boot_timeout: self.boot_timeout.or(file.boot_timeout),
            build_memory: self.build_memory.or(file.build_memory),
            formation_limit: self.formation_limit.or(file.formation_limit),
            slug_limit: self.slug_limit.or(file.slug_limit),
            cache_size: self.cache_size.or(file.cache_size),
            image_cache: self.image_cache.or(file.image_cache),
            push_limit: self.push_limit.or(file.push_limit),
            trash_hours: self.trash_hours.or(file.trash_hours),
            keep_releases: self.keep_releases.or(file.keep_releases),
            app_quota: self.app_quota.or(file.app_quota),
            build_ruby: self.build_ruby.or(file.build_ruby),
            drain_private: self.drain_private.or(file.drain_private),
            drain_ca: self.drain_ca.or(file.drain_ca),
            outbound: self.outbound.or(file.outbound),
            trusted_proxy: first(self.trusted_proxy, file.trusted_proxy),
            outbound_private: first(self.outbound_private, file.outbound_private),
            dev_services: self.dev_services || file.dev_services,
            auto_addons: self.auto_addons.or(file.auto_addons),
            services: file.services,
            log_format: self.log_format.or(file.log_format),
        }
    }

    /// Adds the options of the file.
    fn with_file(self) -> anyhow::Result<Self> {
        let named = self.config.clone();
        let path = named.or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
        match path {
            Some(path) => Ok(self.or(Self::read(&path)?)),
            None => Ok(self),
        }
    }

    /// Checks the options and makes a node's settings of them.
    fn settings(mut self, packs: PathBuf) -> anyhow::Result<NodeSettings> {
        if self.dev_services {
            for missing in self.services.add_dev_services() {
                eprintln!("corundum: --dev-services: {missing}");
            }
        }
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let domain = self.domain.unwrap_or_else(|| "localhost".to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        anyhow::ensure!(
            domain.starts_with(|c: char| c.is_ascii_alphanumeric()) && domain.chars().all(plain),
            "--domain {domain}: not a domain; write a host name, as in --domain apps.example"
        );
        for gems in &self.gems {
            anyhow::ensure!(
                gems.join("specifications").is_dir(),
                "--gems {}: not a gem directory; it must contain specifications/",
                gems.display()
            );
        }
        let https_cert = match (self.https_cert, self.https_key) {
            (Some(certificate), Some(key)) => Some(DefaultCertFiles { certificate, key }),
            (None, None) => None,
            _ => anyhow::bail!("--https-cert and --https-key: one is missing; give both"),
        };
        anyhow::ensure!(
            https_cert.is_none() || self.https.is_some(),
            "--https-cert: the node has no https listener; give its address with --https"
        );
        let gem_servers = if self.gem_source.is_empty() {
            GemServerUrl::defaults()
        } else {
            self.gem_source
        };
        let data = self.data_dir.unwrap_or_else(|| "corundum-data".into());
        std::fs::create_dir_all(&data)
            .with_context(|| format!("data directory {}", data.display()))?;
        let megabytes = |set: NonZeroU32| u64::from(set.get()) << 20;
        let seconds = |set: NonZeroU32| Duration::from_secs(set.get().into());
        let limits = BuildLimits::default();
        Ok(NodeSettings {
            start: match self.takeover {
                true => StartMode::TakeOver,
                false => StartMode::Alone,
            },
            data: data.canonicalize()?,
            packs,
            listen: ListenAddresses {
                http: self.http.unwrap_or(loopback(8080)),
                https: self.https,
                api: self.api.unwrap_or(loopback(8081)),
                admin: self.admin.unwrap_or(loopback(8082)),
            },
            https_cert,
            acme: acme(self.acme_directory, self.acme_contact, self.acme_root)?,
            gem_directories: self.gems,
            gem_servers,
            domain: domain.to_ascii_lowercase(),
            cache_size: self
                .cache_size
                .map_or(DEFAULT_CACHE_BYTES, |set| u64::from(set) << 20),
            image_cache: self
                .image_cache
                .map_or(DEFAULT_IMAGE_CACHE, |set| u64::from(set) << 20),
            drain_private: match self.drain_private {
                Some(true) => PrivateTargets::Allowed,
                _ => PrivateTargets::Refused,
            },
            drain_ca: self.drain_ca,
            outbound: outbound(self.outbound, self.outbound_private)?,
            trusted_proxies: TrustedProxies::new(self.trusted_proxy),
            max_push: self.push_limit.map_or(MAX_PUSH, megabytes),
            keep_releases: self.keep_releases.unwrap_or(DEFAULT_KEEP),
            app_quota: self
                .app_quota
                .map_or(DEFAULT_QUOTA, |set| u64::from(set) << 20),
            trash_grace: self.trash_hours.map_or(DEFAULT_GRACE, |hours| {
                Duration::from_secs(u64::from(hours) * 60 * 60)
            }),
            build_limits: BuildLimits {
                boot: self.boot_timeout.map_or(limits.boot, seconds),
                slug: self.slug_limit.map_or(limits.slug, megabytes),
                memory: self
                    .build_memory
                    .map_or(limits.memory.min(server::build_memory()), megabytes),
            },
            formation_limit: self
                .formation_limit
                .map_or(FORMATION_LIMIT, NonZeroU32::get),
            build_arguments: self.log_format.unwrap_or_default().arguments(),
            auto_addons: self.auto_addons.unwrap_or(true),
            services: self.services,
            source_builds: match self.build_ruby {
                Some(false) => SourceBuilds::Disabled,
                _ => SourceBuilds::Enabled,
            },
        })
    }
}

/// The rule of `--outbound`.
#[derive(clap::ValueEnum, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum OutboundRule {
    Public,
    Listed,
    Granted,
}

/// Checks the options for connections of apps.
fn outbound(
    rule: Option<OutboundRule>,
    private: Vec<OutboundTarget>,
) -> anyhow::Result<OutboundPolicy> {
    for network in &private {
        anyhow::ensure!(
            network.is_network(),
            "--outbound-private {network}: not a network; write one, as in 203.0.113.0/24"
        );
    }
    Ok(OutboundPolicy {
        default: match rule {
            None | Some(OutboundRule::Public) => OutboundDefault::Public,
            Some(OutboundRule::Listed) => OutboundDefault::Listed,
            Some(OutboundRule::Granted) => OutboundDefault::Granted,
        },
        grants: Vec::new(),
        private,
    })
}

/// Checks the options of the ACME server.
fn acme(
    directory: Option<String>,
    contact: Option<String>,
    root: Option<PathBuf>,
) -> anyhow::Result<AcmeSettings> {
    let directory = directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned());
    anyhow::ensure!(
        directory.starts_with("https://"),
        "--acme-directory {directory}: not the URL of an ACME directory, which begins with https://"
    );
    if let Some(contact) = &contact {
        anyhow::ensure!(
            contact.contains('@') && !contact.contains(':'),
            "--acme-contact {contact}: not a mail address; write one, as in admin@example.com"
        );
    }
    if let Some(root) = &root {
        std::fs::metadata(root).with_context(|| format!("--acme-root {}", root.display()))?;
    }
    Ok(AcmeSettings {
        directory,
        contact,
        root,
    })
}

/// Runs a node until it is stopped.
pub(super) fn run(arguments: ServerArguments) -> anyhow::Result<ExitCode> {
    let arguments = arguments.with_file()?;
    logging::start(arguments.log_format.unwrap_or_default())?;
    server::run(arguments.settings(super::cache()?)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_takes_precedence_over_file_and_file_over_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let text = "data-dir = \"data\"\nhttp = \"127.0.0.1:1\"\ndomain = \"Apps.Example\"\ngem-source = [\"https://gems.example\"]\nboot-timeout = 5\nslug-limit = 7\n";
        std::fs::write(&path, text).unwrap();
        let arguments = ServerArguments {
            config: Some(path),
            http: Some("127.0.0.1:2".parse().unwrap()),
            ..ServerArguments::default()
        };
        let settings = arguments
            .with_file()
            .unwrap()
            .settings("cache".into())
            .unwrap();
        assert!(settings.data.ends_with("data") && settings.data.is_absolute());
        assert_eq!(settings.listen.http.port(), 2);
        assert_eq!(settings.listen.api.port(), 8081);
        assert_eq!(settings.domain, "apps.example");
        assert_eq!(settings.build_limits.boot, Duration::from_secs(5));
        assert_eq!(
            (settings.build_limits.slug, settings.max_push),
            (7 << 20, 1 << 30)
        );
        assert_eq!(settings.gem_servers[0].as_str(), "https://gems.example/");
    }

    #[test]
    fn unknown_option_in_the_file_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.toml");
        std::fs::write(&path, "datadir = \"x\"\n").unwrap();
        let error = ServerArguments::read(&path).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("other.toml: invalid options") && text.contains("datadir"),
            "{text}"
        );
        assert!(ServerArguments::read(&directory.path().join("none.toml")).is_err());
    }
}
