//! Settings: what an app's owner says of how the router treats its requests.
//!
//! [`ALL`] says what there is and what may be set; [`apply`] is what it does to an app's [`VirtualHost`]. A setting takes effect at
//! once, without a release.

use std::collections::BTreeMap;

use corundum_abi::names::AppName;
use corundum_router::compress::Compression;
use corundum_router::virtual_host::{Availability, VirtualHost};
use http::HeaderValue;
use serde_json::{Value, json};

use crate::config::NodeConfig as Node;
use crate::platform::Platform;
use corundum_store::SettingValues;
use corundum_store::StoreError;

/// New values by name; none unsets a setting.
pub(crate) type Changes = BTreeMap<String, Option<String>>;

/// A setting that an app may have.
pub(crate) struct Setting {
    name: &'static str,
    default: &'static str,
    /// What it does, for listings.
    about: &'static str,
    /// The value as it is kept, or what may be written instead.
    check: fn(&str, &Node) -> Result<String, String>,
}

const HTTPS_REDIRECT: Setting = Setting {
    name: "https-redirect",
    default: "off",
    about: "whether plain requests are sent to https",
    check: needs_https,
};

const HSTS: Setting = Setting {
    name: "hsts",
    default: "off",
    about: "how long browsers stay with https (Strict-Transport-Security)",
    check: hsts,
};

/// Whether the node gets the app's certificates: see [`acme`](crate::acme).
pub(crate) const CERTS_AUTO: Setting = Setting {
    name: "certs-auto",
    default: "off",
    about: "whether the node gets certificates by itself (corundum certs:auto)",
    check: needs_https,
};

const BODY_LIMIT: Setting = Setting {
    name: "body-limit",
    default: "1024",
    about: "MB that the body of a request may have (413)",
    check: megabytes,
};

const MAINTENANCE: Setting = Setting {
    name: "maintenance",
    default: "off",
    about: "whether every request gets the page of maintenance (H80)",
    check: |value, _node| on_or_off(value),
};

const COMPRESSION: Setting = Setting {
    name: "compression",
    default: "on",
    about: "whether text that dynos answer is compressed for clients that ask for it",
    check: |value, _node| on_or_off(value),
};

const ALL: [Setting; 6] = [
    HTTPS_REDIRECT,
    HSTS,
    CERTS_AUTO,
    BODY_LIMIT,
    COMPRESSION,
    MAINTENANCE,
];

/// A setting that cannot be set. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    /// No such setting.
    #[error("There is no setting \"{0}\": see corundum settings")]
    Unknown(String),
    /// A value that it cannot have.
    #[error("{0} cannot be \"{1}\": {2}")]
    Value(&'static str, String, String),
    /// Nothing to do.
    #[error("no settings were given: write NAME=VALUE")]
    Nothing,
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes an app's settings, all of them or none.
///
/// # Errors
///
/// [`SettingError`].
pub(crate) fn change(
    platform: &Platform,
    app: &AppName,
    changes: Changes,
) -> Result<(), SettingError> {
    if changes.is_empty() {
        return Err(SettingError::Nothing);
    }
    let mut checked = Changes::new();
    for (name, value) in changes {
        let (setting, value) = checked_one(platform.settings(), name, value)?;
        checked.insert(setting.name.to_owned(), value);
    }
    platform.store().change_settings(app, &checked)?;
    platform.refresh(app);
    platform.acme().wake();
    let said = checked.iter().map(|(name, value)| match value {
        Some(value) => format!("Set {name} to {value}"),
        None => format!("Unset {name}"),
    });
    for line in said {
        platform.logs().add(app, "corundum[api]", &line);
    }
    Ok(())
}

fn checked_one(
    node: &Node,
    name: String,
    value: Option<String>,
) -> Result<(&'static Setting, Option<String>), SettingError> {
    let short = |text: &str| text.chars().take(80).collect::<String>();
    let setting = ALL.iter().find(|setting| setting.name == name);
    let setting = setting.ok_or_else(|| SettingError::Unknown(short(&name)))?;
    let value = value.map(|value| {
        (setting.check)(value.trim(), node)
            .map_err(|instead| SettingError::Value(setting.name, short(&value), instead))
    });
    Ok((setting, value.transpose()?))
}

/// All settings with their values, for listings.
pub(crate) fn list(values: &SettingValues) -> Value {
    let listed = ALL.iter().map(|setting| {
        let set = values.get(setting.name);
        json!({
            "name": setting.name,
            "value": set.map_or(setting.default, String::as_str),
            "set": set.is_some(),
            "about": setting.about,
        })
    });
    listed.collect()
}

/// Whether a setting that is on or off is on.
pub(crate) fn is_on(values: &SettingValues, setting: &Setting) -> bool {
    value(values, setting) == "on"
}

fn value<'a>(values: &'a SettingValues, setting: &Setting) -> &'a str {
    values
        .get(setting.name)
        .map_or(setting.default, String::as_str)
}

/// Gives the router's view of an app what its settings say.
pub(crate) fn apply(values: &SettingValues, node: &Node, site: &mut VirtualHost) {
    if is_on(values, &HTTPS_REDIRECT) {
        site.https.redirect = node.https.map(|https| https.port());
    }
    let hsts = value(values, &HSTS);
    if hsts != "off" {
        site.https.hsts = HeaderValue::from_str(hsts).ok();
    }
    if let Ok(megabytes) = value(values, &BODY_LIMIT).parse::<u64>() {
        site.max_body = megabytes << 20;
    }
    if !is_on(values, &COMPRESSION) {
        site.compression = Compression::Off;
    }
    if is_on(values, &MAINTENANCE) {
        site.availability = Availability::Maintenance;
    }
}

/// Up to what a dyno could read in the time that clients wait.
fn megabytes(value: &str, _node: &Node) -> Result<String, String> {
    match value.parse::<u32>() {
        Ok(megabytes @ 1..=102_400) => Ok(megabytes.to_string()),
        _ => Err("write megabytes, from 1 to 102400".to_owned()),
    }
}

fn on_or_off(value: &str) -> Result<String, String> {
    match value {
        "on" | "off" => Ok(value.to_owned()),
        _ => Err("write on or off".to_owned()),
    }
}

fn needs_https(value: &str, node: &Node) -> Result<String, String> {
    if value == "on" && node.https.is_none() {
        return Err(
            "this node does not serve https; it does with corundum server --https ADDRESS"
                .to_owned(),
        );
    }
    on_or_off(value)
}

fn hsts(value: &str, _node: &Node) -> Result<String, String> {
    hsts_header(value)
}

/// A header's value as RFC 6797 section 6.1 has it, from the seconds alone or with directives.
fn hsts_header(value: &str) -> Result<String, String> {
    const INSTEAD: &str =
        "write off, or seconds, as in 31536000, or \"31536000; includeSubDomains; preload\"";
    if value == "off" {
        return Ok(value.to_owned());
    }
    let mut parts = value.split(';').map(str::trim);
    let seconds = parts.next().unwrap_or_default();
    let seconds = seconds.strip_prefix("max-age=").unwrap_or(seconds);
    let seconds: u32 = seconds.parse().map_err(|_| INSTEAD.to_owned())?;
    let mut header = format!("max-age={seconds}");
    for known in ["includeSubDomains", "preload"] {
        let mut rest = parts.clone();
        if rest.any(|part| part.eq_ignore_ascii_case(known)) {
            header.push_str("; ");
            header.push_str(known);
        }
    }
    let known =
        |part: &str| ["includesubdomains", "preload"].contains(&part.to_ascii_lowercase().as_str());
    if parts.all(known) {
        Ok(header)
    } else {
        Err(INSTEAD.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsts_is_seconds_or_the_headers_value() {
        let header = |value: &str| hsts_header(value);
        assert_eq!(header("off").unwrap(), "off");
        assert_eq!(header("31536000").unwrap(), "max-age=31536000");
        assert_eq!(
            header("max-age=60;preload; INCLUDESUBDOMAINS").unwrap(),
            "max-age=60; includeSubDomains; preload"
        );
        for wrong in [
            "",
            "on",
            "-1",
            "1.5",
            "60; secure",
            "99999999999",
            "60\r\nX: y",
            "60;;preload",
        ] {
            assert!(header(wrong).is_err(), "{wrong:?}");
        }
    }
}
