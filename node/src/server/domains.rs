//! Domains: host names of an app beside `NAME.DOMAIN` of the node.

use std::fmt;
use std::str::FromStr;

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};

use super::platform::Platform;
use super::store::StoreError;
use super::store::domains::DomainRecord;

/// Domains of one app, as Heroku has it.
const MOST: usize = 1000;

/// Bytes of a host name (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A host name that is none, or that an app cannot have. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DomainError {
    /// Not a host name's form.
    #[error(
        "\"{0}\" is not a domain: write a host name of letters, digits and dashes, as www.example.com, or *.example.com for all names one label below; no scheme, port or path"
    )]
    Form(String),
    /// Letters beyond ASCII.
    #[error("\"{0}\" has letters beyond ASCII: write its punycode form, which begins with xn--")]
    Ascii(String),
    /// A name that the node gives out itself.
    #[error("{0} lies under the node's own domain, whose names are those of its apps")]
    OfNode(DomainName),
    /// Too many.
    #[error("an app has at most {MOST} domains: remove one, or add a wildcard, as *.example.com")]
    Many,
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A host name with at least two labels, in lower case and without a dot at its end; or `*.` and one, which stands for
/// every name that has one label more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct DomainName(String);

impl DomainName {
    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands below `*.`, in a wildcard.
    pub(crate) fn wildcard(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    fn is_below(&self, domain: &str) -> bool {
        let name = self.wildcard().unwrap_or(&self.0);
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for DomainName {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let shown = || text.chars().take(80).collect();
        if !text.is_ascii() {
            return Err(DomainError::Ascii(shown()));
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
        // A last label of digits makes an address of it.
        let named = labels.last().is_some_and(|last| !is_number(last));
        let fits = name.len() <= LONGEST && labels.len() >= 2;
        if !(named && fits && labels.iter().all(|label| is_label(label))) {
            return Err(DomainError::Form(shown()));
        }
        Ok(Self(name.to_owned()))
    }
}

/// A label as RFC 1123 section 2.1 has it.
fn is_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}

impl TryFrom<String> for DomainName {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> String {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives an app a domain; it is served there from then on.
///
/// # Errors
///
/// [`DomainError`].
pub(crate) fn add(
    platform: &Platform,
    app: &AppName,
    host: &str,
) -> Result<DomainRecord, DomainError> {
    let host: DomainName = host.parse()?;
    if host.is_below(&platform.settings().domain) {
        return Err(DomainError::OfNode(host));
    }
    if platform.store().domains(app)?.len() >= MOST {
        return Err(DomainError::Many);
    }
    let added = platform.store().add_domain(app, &host)?;
    platform.refresh(app);
    platform.acme().wake();
    platform
        .logs()
        .add(app, "corundum[api]", &format!("Add {host} domain"));
    Ok(added)
}

/// Takes a domain from an app.
///
/// # Errors
///
/// [`DomainError`].
pub(crate) fn remove(platform: &Platform, app: &AppName, host: &str) -> Result<(), DomainError> {
    let host: DomainName = host.parse()?;
    platform.store().remove_domain(app, &host)?;
    platform.refresh(app);
    platform.acme().wake();
    platform
        .logs()
        .add(app, "corundum[api]", &format!("Remove {host} domain"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_kept_in_lower_case_without_its_last_dot() {
        let name: DomainName = "WWW.Example.COM.".parse().unwrap();
        assert_eq!(name.as_str(), "www.example.com");
        assert_eq!(name.wildcard(), None);
        let wild: DomainName = "*.example.com".parse().unwrap();
        assert_eq!(wild.wildcard(), Some("example.com"));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = format!("{}example", "a.".repeat(130));
        for text in [
            "",
            ".",
            "*",
            "*.com",
            "com",
            "a..b",
            "-a.example",
            "a-.example",
            "a b.example",
            "http://a.example",
            "a.example:80",
            "a.example/",
            "10.0.0.1",
            "a.*.example",
            "*a.example",
            "a_b.example",
            "[::1]",
            "..",
            &long,
            &longer,
        ] {
            assert!(
                matches!(text.parse::<DomainName>(), Err(DomainError::Form(_))),
                "{text}"
            );
        }
        assert!(matches!(
            "bücher.example".parse::<DomainName>(),
            Err(DomainError::Ascii(_))
        ));
    }

    #[test]
    fn names_below_the_nodes_own_domain_are_its_apps() {
        let below = |name: &str| name.parse::<DomainName>().unwrap().is_below("apps.example");
        for name in [
            "apps.example",
            "a.apps.example",
            "a.b.apps.example",
            "*.apps.example",
        ] {
            assert!(below(name), "{name}");
        }
        for name in [
            "myapps.example",
            "example.com",
            "*.example.com",
            "apps.example.com",
        ] {
            assert!(!below(name), "{name}");
        }
    }
}
