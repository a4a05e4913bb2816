//! `corundum server`: its settings, from the command line, from `corundum.toml`, or their defaults, in this order.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use corundum_build::BuildLimits;
use corundum_compiler::gems::GemServerUrl;
use corundum_router::cache::DEFAULT_CACHE_BYTES;
use serde::Deserialize;

use corundum_control::acme::{AcmeSettings, LETS_ENCRYPT};
use corundum_control::certs::default_cert::DefaultCertFiles;
use corundum_control::drains::PrivateTargets;
use corundum_control::git::http_backend::MAX_PUSH;
use corundum_control::lifecycle::listeners::ListenAddresses;
use corundum_control::packs::upgrade::SourceBuilds;

use crate::server::{self, NodeSettings, StartMode};

/// The file that is read if no other is named.
const FILE: &str = "corundum.toml";

/// The settings of a node. The file has the same names.
#[derive(Args, Deserialize, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Read settings from this file [default: corundum.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Take the listeners over from the node that runs on the same data directory, if one does, and let it end: no
    /// connection is refused meanwhile. The listeners' own options are then those of that node
    #[arg(long)]
    #[serde(skip)]
    takeover: bool,
    /// Where the node keeps apps, releases and logs [default: corundum-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where apps are served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where apps are served over TLS; nowhere if it is not given
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// A certificate in PEM for all apps under the domain, as for *.DOMAIN; read again when it changes
    #[arg(long, value_name = "FILE", requires = "https_key")]
    https_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "https_cert")]
    https_key: Option<PathBuf>,
    /// The ACME server that gives certificates for certs:auto [default: Let's Encrypt]
    #[arg(long, value_name = "URL")]
    acme_directory: Option<String>,
    /// A mail address that the ACME server may write to
    #[arg(long, value_name = "MAIL")]
    acme_contact: Option<String>,
    /// A file with the certificate authority of the ACME server itself, in the place of the public ones
    #[arg(long, value_name = "FILE")]
    acme_root: Option<PathBuf>,
    /// Where the API and git are served [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Where /metrics, /healthz and /readyz are served, without a token [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Apps are served at NAME.DOMAIN [default: localhost]
    #[arg(long)]
    domain: Option<String>,
    /// A directory that builds take gems from (with specifications/ and gems/ in it); may be given again
    #[arg(long = "gems", value_name = "DIR")]
    #[serde(default)]
    gems: Vec<PathBuf>,
    /// A gem server that builds may fetch from, if a Gemfile.lock names it; may be given again
    /// [default: https://rubygems.org/]
    #[arg(long, value_name = "URL")]
    #[serde(default)]
    gem_source: Vec<GemServerUrl>,
    /// Seconds that an app may take to load when it is pushed [default: 60]
    #[arg(long, value_name = "SECONDS")]
    boot_timeout: Option<NonZeroU32>,
    /// Megabytes of a slug [default: 500]
    #[arg(long, value_name = "MB")]
    slug_limit: Option<NonZeroU32>,
    /// Megabytes of memory for the HTTP cache of all apps; 0 turns it off [default: 64]
    #[arg(long, value_name = "MB")]
    cache_size: Option<u32>,
    /// Megabytes that one push may send [default: 1024]
    #[arg(long, value_name = "MB")]
    push_limit: Option<NonZeroU32>,
    /// Whether the node builds its Ruby from source in the background, where `corundum pack build ruby` has not done so
    /// yet [default: true]
    #[arg(long, value_name = "BOOL")]
    build_ruby: Option<bool>,
    /// Whether log drains may lead to loopback and private addresses [default: false]
    #[arg(long, value_name = "BOOL")]
    drain_private: Option<bool>,
    /// Certificate authorities that log drains believe beside the public ones, in PEM
    #[arg(long, value_name = "FILE")]
    drain_ca: Option<PathBuf>,
}

impl Arguments {
    /// The settings of a file. Paths in it are relative to where it is.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut file: Self = toml::from_str(&text)
            .with_context(|| format!("{} is not understood", path.display()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        file.data_dir = file.data_dir.map(|directory| base.join(directory));
        file.drain_ca = file.drain_ca.map(|path| base.join(path));
        file.https_cert = file.https_cert.map(|file| base.join(file));
        file.https_key = file.https_key.map(|file| base.join(file));
        file.acme_root = file.acme_root.map(|root| base.join(root));
        for directory in &mut file.gems {
            *directory = base.join(&*directory);
        }
        Ok(file)
    }

    /// These settings, and those of `file` where they say nothing.
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
            slug_limit: self.slug_limit.or(file.slug_limit),
            cache_size: self.cache_size.or(file.cache_size),
            push_limit: self.push_limit.or(file.push_limit),
            build_ruby: self.build_ruby.or(file.build_ruby),
            drain_private: self.drain_private.or(file.drain_private),
            drain_ca: self.drain_ca.or(file.drain_ca),
        }
    }

    fn with_file(self) -> anyhow::Result<Self> {
        let named = self.config.clone();
        let path = named.or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
        match path {
            Some(path) => Ok(self.or(Self::read(&path)?)),
            None => Ok(self),
        }
    }

    fn settings(self, cache: PathBuf) -> anyhow::Result<NodeSettings> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let domain = self.domain.unwrap_or_else(|| "localhost".to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        anyhow::ensure!(
            domain.starts_with(|c: char| c.is_ascii_alphanumeric()) && domain.chars().all(plain),
            "\"{domain}\" is not a domain: write a host name, as in --domain apps.example"
        );
        for gems in &self.gems {
            anyhow::ensure!(
                gems.join("specifications").is_dir(),
                "{} is no gem directory: it has no specifications/ in it",
                gems.display()
            );
        }
        let https_cert = match (self.https_cert, self.https_key) {
            (Some(certificate), Some(key)) => Some(DefaultCertFiles { certificate, key }),
            (None, None) => None,
            _ => anyhow::bail!("--https-cert and --https-key belong together: give both"),
        };
        anyhow::ensure!(
            https_cert.is_none() || self.https.is_some(),
            "--https-cert is shown at an https listener: give its address with --https"
        );
        let acme = AcmeSettings {
            directory: self
                .acme_directory
                .unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
            contact: self.acme_contact,
            root: self.acme_root,
        };
        anyhow::ensure!(
            acme.directory.starts_with("https://"),
            "--acme-directory {}: write the URL of an ACME directory, which begins with https://",
            acme.directory
        );
        if let Some(contact) = &acme.contact {
            anyhow::ensure!(
                contact.contains('@') && !contact.contains(':'),
                "--acme-contact {contact}: write a mail address, as in admin@example.com"
            );
        }
        if let Some(root) = &acme.root {
            std::fs::metadata(root).with_context(|| format!("--acme-root {}", root.display()))?;
        }
        let gem_sources = if self.gem_source.is_empty() {
            vec![GemServerUrl::rubygems()]
        } else {
            self.gem_source
        };
        let data = self.data_dir.unwrap_or_else(|| "corundum-data".into());
        std::fs::create_dir_all(&data)
            .with_context(|| format!("the data directory {}", data.display()))?;
        let megabytes = |set: NonZeroU32| u64::from(set.get()) << 20;
        let seconds = |set: NonZeroU32| Duration::from_secs(set.get().into());
        let build = BuildLimits::default();
        Ok(NodeSettings {
            cache_size: self
                .cache_size
                .map_or(DEFAULT_CACHE_BYTES, |set| u64::from(set) << 20),
            max_push: self.push_limit.map_or(MAX_PUSH, megabytes),
            build_limits: BuildLimits {
                boot: self.boot_timeout.map_or(build.boot, seconds),
                slug: self.slug_limit.map_or(build.slug, megabytes),
            },
            source_builds: match self.build_ruby {
                Some(false) => SourceBuilds::Disabled,
                _ => SourceBuilds::Enabled,
            },
            drain_private: match self.drain_private {
                Some(true) => PrivateTargets::Allowed,
                _ => PrivateTargets::Refused,
            },
            drain_ca: self.drain_ca,
            start: match self.takeover {
                true => StartMode::TakeOver,
                false => StartMode::Alone,
            },
            data: data.canonicalize()?,
            packs: cache,
            listen: ListenAddresses {
                http: self.http.unwrap_or(loopback(8080)),
                https: self.https,
                api: self.api.unwrap_or(loopback(8081)),
                admin: self.admin.unwrap_or(loopback(8082)),
            },
            https_cert,
            acme,
            gem_directories: self.gems,
            gem_servers: gem_sources,
            domain: domain.to_ascii_lowercase(),
        })
    }
}

/// Runs a node until it is told to stop.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CORUNDUM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    server::run(arguments.with_file()?.settings(super::cache()?)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_prevails_over_the_file_and_the_file_over_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let text = "data-dir = \"data\"\nhttp = \"127.0.0.1:1\"\ndomain = \"Apps.Example\"\ngem-source = [\"https://gems.example\"]\nboot-timeout = 5\nslug-limit = 7\n";
        std::fs::write(&path, text).unwrap();
        let arguments = Arguments {
            config: Some(path),
            http: Some("127.0.0.1:2".parse().unwrap()),
            ..Arguments::default()
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
    fn a_setting_that_does_not_exist_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.toml");
        std::fs::write(&path, "datadir = \"x\"\n").unwrap();
        let error = Arguments::read(&path).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("other.toml is not understood") && text.contains("datadir"),
            "{text}"
        );
        assert!(Arguments::read(&directory.path().join("none.toml")).is_err());
    }
}
