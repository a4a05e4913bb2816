//! Host names that apps can have as domains.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest host name in bytes (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A text that is not a valid domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomainName {
    /// The text does not have the form of a host name.
    #[error(
        "\"{0}\" is not a domain: write a host name of letters, digits and dashes, such as www.example.com, or *.example.com for all names one label below; no scheme, port or path"
    )]
    Form(String),
    /// The text has letters beyond ASCII.
    #[error("\"{0}\" has letters beyond ASCII: write its punycode form, which begins with xn--")]
    Ascii(String),
}

/// A host name with at least two labels, in lower case and without a trailing dot. `*.` and a host name is a wildcard that
/// stands for every name with one label more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part after `*.` of a wildcard.
    pub fn wildcard(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Returns whether the name is `domain` or lies below it.
    pub fn is_below(&self, domain: &str) -> bool {
        let name = self.wildcard().unwrap_or(&self.0);
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for DomainName {
    type Err = InvalidDomainName;

    fn from_str(text: &str) -> Result<Self, InvalidDomainName> {
        let excerpt = || text.chars().take(80).collect();
        if !text.is_ascii() {
            return Err(InvalidDomainName::Ascii(excerpt()));
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
        // A host name whose last label is a number is read as an IP address.
        let named = labels.last().is_some_and(|last| !is_number(last));
        let fits = name.len() <= LONGEST && labels.len() >= 2;
        if !(named && fits && labels.iter().all(|label| is_label(label))) {
            return Err(InvalidDomainName::Form(excerpt()));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Returns whether a label is valid by RFC 1123 section 2.1.
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
    type Error = InvalidDomainName;

    fn try_from(text: String) -> Result<Self, InvalidDomainName> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_lowercased_and_loses_its_trailing_dot() {
        let name: DomainName = "WWW.Example.COM.".parse().unwrap();
        assert_eq!(name.as_str(), "www.example.com");
        assert_eq!(name.wildcard(), None);
        let wild: DomainName = "*.example.com".parse().unwrap();
        assert_eq!(wild.wildcard(), Some("example.com"));
    }

    #[test]
    fn invalid_host_names_are_rejected() {
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
                matches!(text.parse::<DomainName>(), Err(InvalidDomainName::Form(_))),
                "{text}"
            );
        }
        assert!(matches!(
            "bücher.example".parse::<DomainName>(),
            Err(InvalidDomainName::Ascii(_))
        ));
    }

    #[test]
    fn names_below_the_node_domain_are_recognised() {
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
