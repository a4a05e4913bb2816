//! Credentials of private gem servers and git hosts, from config vars that are named as Bundler's settings are.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Start of the names of Bundler's settings.
const PREFIX: &str = "BUNDLE_";

/// Credentials by the name of their config var, for example `BUNDLE_GEMS__EXAMPLE__COM`. The type prints no value.
#[derive(Clone, Default)]
pub struct GemCredentials(HashMap<String, String>);

impl GemCredentials {
    /// Takes the settings of Bundler from an app's config vars.
    pub fn from_config(config: &[(String, String)]) -> Self {
        let settings = config.iter().filter(|(name, _)| name.starts_with(PREFIX));
        Self(settings.cloned().collect())
    }

    /// Returns `user:password` for a host.
    pub(super) fn of_host(&self, host: &str) -> Option<&str> {
        let value = self.0.get(&variable(host))?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Returns the value of the header `Authorization` for a host.
    pub(super) fn authorization(&self, host: &str) -> Option<String> {
        let value = self.of_host(host)?;
        // A key alone is a user without a password.
        let colon = if value.contains(':') { "" } else { ":" };
        Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{value}{colon}"))
        ))
    }
}

impl fmt::Debug for GemCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GemCredentials").finish_non_exhaustive()
    }
}

/// Returns the name of the config var with a host's credentials.
pub(super) fn variable(host: &str) -> String {
    let host = host.to_ascii_uppercase();
    format!("{PREFIX}{}", host.replace('-', "___").replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_is_named_as_in_bundler() {
        assert_eq!(variable("gems.my-shop.com"), "BUNDLE_GEMS__MY___SHOP__COM");
    }

    #[test]
    fn credentials_become_basic_authentication_and_are_not_printed() {
        let config = [
            ("BUNDLE_GEMS__EXAMPLE__COM", "me:secret"),
            ("BUNDLE_KEYS__EXAMPLE__COM", "key"),
            ("BUNDLE_EMPTY__EXAMPLE__COM", ""),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let credentials = GemCredentials::from_config(&config);
        let header = |host| credentials.authorization(host);
        assert_eq!(header("gems.example.com").unwrap(), "Basic bWU6c2VjcmV0");
        assert_eq!(header("keys.example.com").unwrap(), "Basic a2V5Og==");
        assert_eq!(header("empty.example.com"), None);
        assert_eq!(header("example.com"), None);
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
