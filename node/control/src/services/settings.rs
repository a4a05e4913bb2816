//! The operator's settings of services: the table `services` of `corundum.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::Plans;
use super::provider::settings::ProviderSettings;
use super::server_process::debian_program;

/// Bytes of a file with a secret.
const MAX_SECRET: u64 = 4096;

/// Settings of services that cannot be used. Each text begins with the key.
#[derive(Debug, thiserror::Error)]
pub enum ServiceSettingsError {
    /// A key is missing or has an invalid value.
    #[error("[services.{service}] {key}: {problem}")]
    Invalid {
        /// The service.
        service: &'static str,
        /// The key.
        key: &'static str,
        /// The problem and its remedy.
        problem: String,
    },
}

/// Text that no message shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub(crate) String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// A number of bytes, as `1 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub(crate) u64);

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a size: write one, as in \"1 GB\" or \"25 MB\"");
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text[digits.len()..].trim() {
            "MB" => 20,
            "GB" => 30,
            "TB" => 40,
            _ => return Err(invalid()),
        };
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(invalid)
    }
}

/// The limits of a plan.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanLimits {
    /// Connections at once; 20 if it is absent.
    pub(crate) connections: Option<u16>,
    /// Bytes on disk of a database; 1 GB if it is absent.
    pub(crate) storage: Option<ByteSize>,
    /// Bytes of memory of a cache; 25 MB if it is absent.
    pub(crate) memory: Option<ByteSize>,
}

impl PlanLimits {
    pub(crate) fn connections(&self) -> u16 {
        self.connections.unwrap_or(20)
    }

    pub(crate) fn storage(&self) -> u64 {
        self.storage.map_or(1 << 30, |size| size.0)
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.map_or(25 << 20, |size| size.0)
    }

    /// Describes the plan of a database.
    pub(crate) fn describe_database(&self) -> String {
        let (connections, storage) = (self.connections(), self.storage() >> 20);
        format!("{connections} connections, {storage} MB of storage")
    }

    /// Describes the plan of a cache.
    pub(crate) fn describe_cache(&self) -> String {
        let (connections, memory) = (self.connections(), self.memory() >> 20);
        format!("{connections} connections, {memory} MB of memory")
    }

    /// Describes a database of so many bytes beside the plan's storage.
    pub(crate) fn describe_size(&self, size: u64) -> String {
        let (size, storage) = (size as f64 / 1_048_576.0, self.storage() >> 20);
        format!("{size:.1} MB of {storage} MB")
    }
}

/// A server that the operator runs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerSettings {
    /// The URL with the name of a role that may create databases and roles.
    url: Option<SecretText>,
    /// A file with the URL.
    url_file: Option<PathBuf>,
    /// A file with the password, if the URL has none.
    password_file: Option<PathBuf>,
    /// Certificate authorities in PEM that the node trusts for the server, instead of the public ones.
    ca_file: Option<PathBuf>,
    /// The plan of add-ons that name none.
    default_plan: Option<String>,
    /// The plans by name.
    #[serde(default)]
    plans: BTreeMap<String, PlanLimits>,
}

/// A service of which the node runs a process for each add-on.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessSettings {
    /// The server's program, instead of Debian's.
    pub(crate) program: Option<PathBuf>,
    /// The plan of add-ons that name none.
    default_plan: Option<String>,
    /// The plans by name.
    #[serde(default)]
    plans: BTreeMap<String, PlanLimits>,
}

/// Volumes as add-ons.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VolumeServiceSettings {
    /// The plan of add-ons that name none.
    default_plan: Option<String>,
    /// The plans by name.
    #[serde(default)]
    plans: BTreeMap<String, PlanLimits>,
}

impl VolumeServiceSettings {
    /// Returns the plans.
    pub(crate) fn plans(&self, service: &'static str) -> Result<Plans, ServiceSettingsError> {
        plan_names(service, self.plans.clone(), self.default_plan.as_ref())
    }
}

/// The services that the operator offers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceSettings {
    /// PostgreSQL.
    pub(crate) postgres: Option<ServerSettings>,
    /// MariaDB.
    pub(crate) mariadb: Option<ServerSettings>,
    /// Redis.
    pub(crate) redis: Option<ProcessSettings>,
    /// memcached.
    pub(crate) memcached: Option<ProcessSettings>,
    /// Volumes.
    pub(crate) volume: Option<VolumeServiceSettings>,
    /// Services of providers, by name.
    #[serde(flatten)]
    pub(crate) providers: BTreeMap<String, ProviderSettings>,
}

impl ServiceSettings {
    /// Returns whether the settings themselves hold a password.
    pub fn hold_secrets(&self) -> bool {
        let servers = [&self.postgres, &self.mariadb].into_iter().flatten();
        servers.filter_map(|server| server.url.as_ref()).any(|url| {
            url.0
                .split_once('@')
                .is_some_and(|(user, _)| user.matches(':').count() > 1)
        })
    }

    /// Resolves the paths, which are relative to `base`.
    pub fn resolve(&mut self, base: &Path) {
        for server in [&mut self.postgres, &mut self.mariadb]
            .into_iter()
            .flatten()
        {
            for path in [
                &mut server.url_file,
                &mut server.password_file,
                &mut server.ca_file,
            ] {
                *path = path.take().map(|path| base.join(path));
            }
        }
        for provider in self.providers.values_mut() {
            provider.resolve(base);
        }
    }

    /// Adds the services that need no server of the operator and whose programs Debian's packages have installed. Returns a
    /// line for each that is missing.
    pub fn add_dev_services(&mut self) -> Vec<String> {
        let mut missing = Vec::new();
        self.volume.get_or_insert_default();
        for (service, package, settings) in [
            ("redis", "redis-server", &mut self.redis),
            ("memcached", "memcached", &mut self.memcached),
        ] {
            if settings.is_some() {
                continue;
            }
            match debian_program(package) {
                Some(_) => *settings = Some(ProcessSettings::default()),
                None => missing.push(format!(
                    "{service} is not installed: apt-get install {package}"
                )),
            }
        }
        missing
    }
}

impl ServerSettings {
    /// Returns the settings of a server at `url`, for the node's own one.
    #[cfg(test)]
    pub(crate) fn of_url(url: &str, plans: &[(&str, PlanLimits)]) -> Self {
        Self {
            url: Some(SecretText(url.to_owned())),
            plans: plans
                .iter()
                .map(|(name, limits)| ((*name).to_owned(), *limits))
                .collect(),
            ..Self::default()
        }
    }

    /// Returns the file of the certificate authorities.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Reads the URL, and the password if it is in a file of its own.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(crate) fn url_and_password(
        &self,
        service: &'static str,
    ) -> Result<(SecretText, Option<SecretText>), ServiceSettingsError> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(file)) => read_secret(service, "url-file", file)?,
            _ => {
                return Err(invalid(
                    service,
                    "url",
                    "give either url or url-file".to_owned(),
                ));
            }
        };
        let password = self.password_file.as_ref();
        let password = password.map(|file| read_secret(service, "password-file", file));
        Ok((url, password.transpose()?))
    }

    /// Returns the plans.
    pub(crate) fn plans(&self, service: &'static str) -> Result<Plans, ServiceSettingsError> {
        plan_names(service, self.plans.clone(), self.default_plan.as_ref())
    }
}

impl ProcessSettings {
    /// Returns the program of a service, which has the name of its package: the operator's, or Debian's.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`] if it is not installed.
    pub(super) fn program(
        &self,
        service: &'static str,
        name: &str,
    ) -> Result<PathBuf, ServiceSettingsError> {
        let program = self.program.clone().or_else(|| debian_program(name));
        let missing = || format!("not installed: apt-get install {name}");
        program.ok_or_else(|| invalid(service, "program", missing()))
    }

    /// Returns the plans.
    pub(crate) fn plans(&self, service: &'static str) -> Result<Plans, ServiceSettingsError> {
        plan_names(service, self.plans.clone(), self.default_plan.as_ref())
    }
}

/// Makes the error of a key.
pub(crate) fn invalid(
    service: &'static str,
    key: &'static str,
    problem: String,
) -> ServiceSettingsError {
    ServiceSettingsError::Invalid {
        service,
        key,
        problem,
    }
}

/// Returns the plans that the operator names, or one named `mini`.
pub(super) fn plan_names(
    service: &'static str,
    mut by_name: BTreeMap<String, PlanLimits>,
    default: Option<&String>,
) -> Result<Plans, ServiceSettingsError> {
    if by_name.is_empty() {
        by_name.insert("mini".to_owned(), PlanLimits::default());
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(name) = by_name
        .keys()
        .find(|name| name.is_empty() || !name.chars().all(plain))
    {
        let problem = format!("{name:?} is not a plan's name: use a-z, 0-9 and -");
        return Err(invalid(service, "plans", problem));
    }
    let default = match default {
        Some(name) => name.clone(),
        None if by_name.contains_key("mini") => "mini".to_owned(),
        None => by_name.keys().next().cloned().unwrap_or_default(),
    };
    if !by_name.contains_key(&default) {
        let problem =
            format!("there is no plan {default:?}: add [services.{service}.plans.{default}]");
        return Err(invalid(service, "default-plan", problem));
    }
    Ok(Plans { by_name, default })
}

/// Checks that only the node's user may read a file, and returns its size in bytes.
///
/// # Errors
///
/// [`ServiceSettingsError`].
pub(super) fn check_private(
    service: &'static str,
    key: &'static str,
    path: &Path,
) -> Result<u64, ServiceSettingsError> {
    let fail = |problem: String| invalid(service, key, format!("{}: {problem}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(metadata.len()),
        _ => Err(fail("other users can read it: chmod 600".to_owned())),
    }
}

/// Reads a file that only the node's user may read.
///
/// # Errors
///
/// [`ServiceSettingsError`].
pub(super) fn read_secret(
    service: &'static str,
    key: &'static str,
    path: &Path,
) -> Result<SecretText, ServiceSettingsError> {
    let fail = |problem: String| invalid(service, key, format!("{}: {problem}", path.display()));
    let size = check_private(service, key, path)?;
    if size > MAX_SECRET {
        return Err(fail("it is too large for a secret".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Ok(SecretText(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!("1 GB".parse(), Ok(ByteSize(1 << 30)));
        assert_eq!("25MB".parse(), Ok(ByteSize(25 << 20)));
        for text in ["", "1", "GB", "0 GB", "1 KB", "-1 GB", "99999999999 TB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn secret_file_that_others_can_read_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        std::fs::write(&path, "postgres://admin:secret@127.0.0.1/postgres\n").unwrap();
        let settings = ServerSettings {
            url_file: Some(path.clone()),
            ..ServerSettings::default()
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = settings
            .url_and_password("postgres")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("[services.postgres] url-file: ") && error.ends_with("chmod 600"),
            "{error}"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (url, _) = settings.url_and_password("postgres").unwrap();
        assert!(url.0.ends_with("/postgres") && !format!("{url:?}").contains("secret"));
    }

    #[test]
    fn default_plan_must_exist() {
        let settings = ProcessSettings {
            default_plan: Some("large".to_owned()),
            ..ProcessSettings::default()
        };
        let error = settings.plans("redis").unwrap_err().to_string();
        assert!(error.contains("[services.redis] default-plan"), "{error}");
        assert_eq!(
            ProcessSettings::default().plans("redis").unwrap().default,
            "mini"
        );
    }
}
