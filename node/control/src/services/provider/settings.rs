//! The operator's side of a provider: a table of `corundum.toml`, and the provider's manifest.
//!
//! The manifest is the file that partners write for Heroku (`addon-manifest.json`); this module reads the parts that a node needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use corundum_abi::outbound::{OutboundTarget, is_localhost};
use corundum_abi::public_address::is_public;
use serde::Deserialize;

use crate::services::Plans;
use crate::services::attachment_names;
use crate::services::settings::{
    PlanLimits, SecretText, ServiceSettingsError, check_private, invalid, plan_names, read_secret,
};

/// Bytes of a manifest.
const MAX_MANIFEST: u64 = 64 << 10;

/// Config vars that a manifest may declare.
const MAX_VARIABLES: usize = 32;

/// Characters of the description of a plan.
const MAX_DESCRIPTION: usize = 200;

/// A service that a provider outside of the node offers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProviderSettings {
    /// The URL of the provider's resources, instead of the manifest's `base_url`.
    provider_url: Option<String>,
    /// The manifest.
    manifest: PathBuf,
    /// A file with the password, if the manifest has none.
    password_file: Option<PathBuf>,
    /// A file with the salt of single sign-on, if the manifest has none.
    sso_salt_file: Option<PathBuf>,
    /// Certificate authorities in PEM that the node trusts for the provider, instead of the public ones.
    ca_file: Option<PathBuf>,
    /// The URL at which the provider reaches the node's API.
    callback_url: Option<String>,
    /// The region that the provider is told.
    region: Option<String>,
    /// Private addresses that config vars of the provider may grant.
    #[serde(default)]
    grants: Vec<OutboundTarget>,
    /// The plan of add-ons that name none.
    default_plan: Option<String>,
    /// The plans: names, each with a description.
    plans: BTreeMap<String, String>,
}

/// A manifest as its author writes it. Other keys are for Heroku alone.
#[derive(Deserialize)]
struct ManifestFile {
    id: String,
    name: Option<String>,
    api: ManifestApi,
}

#[derive(Deserialize)]
struct ManifestApi {
    config_vars: Vec<ManifestVariable>,
    config_vars_prefix: Option<String>,
    password: Option<SecretText>,
    sso_salt: Option<SecretText>,
    production: Option<ManifestUrls>,
}

/// A config var: its name, or an object with it in older manifests.
#[derive(Deserialize)]
#[serde(untagged)]
enum ManifestVariable {
    Name(String),
    Object { name: String },
}

/// URLs: one for all, or one for each kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum ManifestUrls {
    Base(String),
    Each {
        base_url: String,
        sso_url: Option<String>,
    },
}

/// A provider that the node can talk to.
pub(super) struct ProviderConfig {
    /// The manifest's `id`: the user name of both sides.
    pub(super) id: String,
    /// The name for people.
    pub(super) title: String,
    /// The password of both sides.
    pub(super) password: SecretText,
    /// The salt of single sign-on.
    pub(super) sso_salt: Option<SecretText>,
    /// The URL of the resources, without a slash at its end.
    pub(super) base_url: String,
    /// The page of single sign-on.
    pub(super) sso_url: Option<String>,
    /// The certificate authorities in PEM.
    pub(super) ca: Option<Vec<u8>>,
    /// The URL of the node's API for the provider, without a slash at its end.
    pub(super) callback_url: Option<String>,
    /// The region that the provider is told.
    pub(super) region: String,
    /// The beginning of the config vars' names.
    pub(super) prefix: String,
    /// The ends of the config vars' names.
    pub(super) ends: Vec<String>,
    /// Targets that config vars may grant.
    pub(super) grants: Vec<OutboundTarget>,
    /// The plans.
    pub(super) plans: Plans,
    /// The descriptions of the plans.
    pub(super) descriptions: BTreeMap<String, String>,
}

impl ProviderSettings {
    /// Resolves the paths, which are relative to `base`.
    pub(crate) fn resolve(&mut self, base: &Path) {
        self.manifest = base.join(&self.manifest);
        for path in [
            &mut self.password_file,
            &mut self.sso_salt_file,
            &mut self.ca_file,
        ] {
            *path = path.take().map(|path| base.join(path));
        }
    }

    /// Reads the files and checks everything.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn config(
        &self,
        service: &'static str,
    ) -> Result<ProviderConfig, ServiceSettingsError> {
        let wrong = |key: &'static str, problem: String| invalid(service, key, problem);
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !service.starts_with(|c: char| c.is_ascii_lowercase())
            || !service.chars().all(name)
            || service.len() > 40
        {
            let problem = "the service's name is not valid: use a-z, 0-9 and -, 40 at most";
            return Err(wrong("provider", problem.to_owned()));
        }
        let manifest = self.manifest(service)?;
        let secret = |key, file: Option<&PathBuf>, own: Option<SecretText>| match file {
            Some(file) => read_secret(service, key, file).map(Some),
            None => Ok(own),
        };
        let password = secret(
            "password-file",
            self.password_file.as_ref(),
            manifest.api.password,
        )?;
        let password = password.filter(|password| !password.0.is_empty());
        let missing = || "the manifest has no api.password: give password-file".to_owned();
        let password = password.ok_or_else(|| wrong("password-file", missing()))?;
        let sso_salt = secret(
            "sso-salt-file",
            self.sso_salt_file.as_ref(),
            manifest.api.sso_salt,
        )?;
        let (base, sso_url) = match manifest.api.production {
            Some(ManifestUrls::Base(url)) => (Some(format!("{url}/heroku/resources")), None),
            Some(ManifestUrls::Each { base_url, sso_url }) => (Some(base_url), sso_url),
            None => (None, None),
        };
        let missing = || "the manifest has no api.production.base_url: give one".to_owned();
        let base = self.provider_url.clone().or(base);
        let base = base.ok_or_else(|| wrong("provider-url", missing()))?;
        let base_url = checked_url(&base).map_err(|problem| wrong("provider-url", problem))?;
        if let Some(url) = &sso_url {
            checked_url(url).map_err(|problem| wrong("manifest", format!("sso_url: {problem}")))?;
        }
        let callback_url = self.callback_url.as_deref().map(checked_url).transpose();
        let ca = self.ca_file.as_ref().map(|path| {
            let read = std::fs::read(path);
            read.map_err(|error| wrong("ca-file", format!("{}: {error}", path.display())))
        });
        let id = manifest.id;
        if id.is_empty() || id.len() > 100 || !id.chars().all(|c| c.is_ascii_graphic() && c != ':')
        {
            let problem = "the manifest's id is not valid: it is a user name without colons";
            return Err(wrong("manifest", problem.to_owned()));
        }
        let prefix = manifest.api.config_vars_prefix;
        let prefix = prefix.unwrap_or_else(|| id.to_ascii_uppercase().replace('-', "_"));
        let names = manifest.api.config_vars.into_iter().map(|one| match one {
            ManifestVariable::Name(name) | ManifestVariable::Object { name } => name,
        });
        let ends = ends(&prefix, names).map_err(|problem| wrong("manifest", problem))?;
        if self
            .plans
            .values()
            .any(|text| text.chars().count() > MAX_DESCRIPTION || text.contains(char::is_control))
        {
            let problem = "a description is longer than 200 characters, or is no single line";
            return Err(wrong("plans", problem.to_owned()));
        }
        let limits = |name: &String| (name.clone(), PlanLimits::default());
        let by_name: BTreeMap<String, PlanLimits> = self.plans.keys().map(limits).collect();
        if by_name.is_empty() {
            let problem = "name at least one, as in mini = \"1,000 keys\"".to_owned();
            return Err(wrong("plans", problem));
        }
        Ok(ProviderConfig {
            title: manifest.name.unwrap_or_else(|| id.clone()),
            id,
            password,
            sso_salt,
            base_url,
            sso_url,
            ca: ca.transpose()?,
            callback_url: callback_url.map_err(|problem| wrong("callback-url", problem))?,
            region: self.region.clone().unwrap_or_else(|| "local".to_owned()),
            prefix,
            ends,
            grants: self.grants.clone(),
            plans: plan_names(service, by_name, self.default_plan.as_ref())?,
            descriptions: self.plans.clone(),
        })
    }

    fn manifest(&self, service: &'static str) -> Result<ManifestFile, ServiceSettingsError> {
        let path = &self.manifest;
        let fail = |problem: String| {
            invalid(
                service,
                "manifest",
                format!("{}: {problem}", path.display()),
            )
        };
        let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
        if length.len() > MAX_MANIFEST {
            return Err(fail("it is too large for a manifest".to_owned()));
        }
        let text = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let manifest: ManifestFile =
            serde_json::from_slice(&text).map_err(|error| fail(error.to_string()))?;
        if manifest.api.password.is_some() || manifest.api.sso_salt.is_some() {
            check_private(service, "manifest", path)?;
        }
        Ok(manifest)
    }
}

/// Returns the ends of the names of config vars.
fn ends(prefix: &str, names: impl Iterator<Item = String>) -> Result<Vec<String>, String> {
    if !attachment_names::is_valid(prefix) {
        return Err("config_vars_prefix is not valid: use A-Z, 0-9 and _".to_owned());
    }
    let mut ends = BTreeSet::new();
    for name in names {
        let end = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('_'));
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match end.filter(|end| !end.is_empty() && end.len() <= 64 && end.chars().all(plain)) {
            Some(end) => ends.insert(end.to_owned()),
            None => {
                let shown: String = name.chars().take(80).collect();
                return Err(format!(
                    "config var {shown:?}: its name must begin with {prefix}_ and have A-Z, 0-9 and _ only"
                ));
            }
        };
    }
    match ends.len() {
        0 => Err("config_vars is empty: an app finds its add-on by them".to_owned()),
        count if count > MAX_VARIABLES => Err(format!("more than {MAX_VARIABLES} config vars")),
        _ => Ok(ends.into_iter().collect()),
    }
}

/// Returns a URL without a slash at its end. The password travels over TLS, or stays in a private network.
fn checked_url(text: &str) -> Result<String, String> {
    let invalid = || "not a URL: write one, as in https://provider.example/heroku/resources";
    let uri: http::Uri = text.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err("it has a user, a password or a query: leave them out".to_owned());
    }
    let host = authority.host();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_private = address.is_some_and(|address| !is_public(address))
        || is_localhost(&host.to_ascii_lowercase());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_private => {}
        Some("http") => {
            return Err("http is for private addresses and localhost: write https".to_owned());
        }
        _ => return Err(invalid().to_owned()),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_travels_in_clear_in_private_networks_only() {
        for url in [
            "https://provider.example/heroku/resources",
            "http://127.0.0.1:8080/x",
            "http://10.0.0.5/x",
            "http://keyvalue.localhost:8080",
            "http://[::1]:80/x/",
        ] {
            assert_eq!(checked_url(url).as_deref(), Ok(url.trim_end_matches('/')));
        }
        for url in [
            "http://provider.example",
            "http://8.8.8.8",
            "ftp://127.0.0.1",
            "https://id:password@provider.example",
            "https://provider.example/?a",
            "provider.example",
            "",
        ] {
            assert!(checked_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn config_vars_begin_with_the_prefix() {
        let ends =
            |prefix: &str, names: &[&str]| ends(prefix, names.iter().map(|name| name.to_string()));
        assert_eq!(ends("KV", &["KV_URL", "KV_KEY"]).unwrap(), ["KEY", "URL"]);
        for (prefix, names) in [
            ("KV", &["PATH"][..]),
            ("KV", &["KV_"]),
            ("KV", &["KV_a"]),
            ("KV", &["KVURL"]),
            ("kv", &["kv_URL"]),
            ("", &["_URL"]),
            ("KV", &[]),
        ] {
            assert!(ends(prefix, names).is_err(), "{prefix} {names:?}");
        }
    }
}
