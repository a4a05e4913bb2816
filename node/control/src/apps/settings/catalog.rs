//! The settings that exist: names, defaults, valid values, and their effect on an app's virtual host.

use corundum_router::compress::Compression;
use corundum_router::virtual_host::{Availability, VirtualHost};
use corundum_store::SettingValues;
use http::HeaderValue;

/// Presence of an HTTPS listener, which some settings need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpsListener {
    Present,
    Absent,
}

/// A setting that an app may have.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    /// The effect, for listings.
    pub(crate) about: &'static str,
    /// Returns the value in the form that is stored, or an error that says what to write instead.
    pub(crate) validate: fn(&str, HttpsListener) -> Result<String, String>,
}

const HTTPS_REDIRECT: Setting = Setting {
    name: "https-redirect",
    default: "off",
    about: "redirect plain requests to https",
    validate: needs_https,
};

const HSTS: Setting = Setting {
    name: "hsts",
    default: "off",
    about: "tell browsers to use https only (Strict-Transport-Security)",
    validate: hsts,
};

/// Turns automatic certificates on; see [`acme`](crate::acme).
pub(crate) const CERTS_AUTO: Setting = Setting {
    name: "certs-auto",
    default: "off",
    about: "get certificates automatically (corundum certs:auto)",
    validate: needs_https,
};

const BODY_LIMIT: Setting = Setting {
    name: "body-limit",
    default: "1024",
    about: "limit of a request body in MB (413)",
    validate: megabytes,
};

pub(crate) const MAINTENANCE: Setting = Setting {
    name: "maintenance",
    default: "off",
    about: "answer every request with the maintenance page (H80)",
    validate: |value, _https| on_or_off(value),
};

const COMPRESSION: Setting = Setting {
    name: "compression",
    default: "on",
    about: "compress text responses of dynos for clients that accept it",
    validate: |value, _https| on_or_off(value),
};

/// The app's volume; see [`volumes`](crate::volumes).
pub(crate) const VOLUME: Setting = Setting {
    name: "volume",
    default: "off",
    about: "give all dynos a persistent directory of this size at /data",
    validate: |value, _https| volume_size(value),
};

/// All settings, in the order of listings.
pub(crate) const ALL: [Setting; 7] = [
    HTTPS_REDIRECT,
    HSTS,
    CERTS_AUTO,
    BODY_LIMIT,
    COMPRESSION,
    MAINTENANCE,
    VOLUME,
];

/// Returns whether an on-off setting is on.
pub(crate) fn is_on(values: &SettingValues, setting: &Setting) -> bool {
    value(values, setting) == "on"
}

fn value<'a>(values: &'a SettingValues, setting: &Setting) -> &'a str {
    values
        .get(setting.name)
        .map_or(setting.default, String::as_str)
}

/// Returns whether plain requests to an app with these settings are redirected to https.
pub(crate) fn redirects(values: &SettingValues) -> bool {
    is_on(values, &HTTPS_REDIRECT)
}

/// Applies an app's settings to its virtual host. `https` is the port of HTTPS, if the node serves it.
pub(crate) fn apply(values: &SettingValues, https: Option<u16>, host: &mut VirtualHost) {
    if redirects(values) {
        host.https.redirect = https;
    }
    let hsts = value(values, &HSTS);
    if hsts != "off" {
        host.https.hsts = HeaderValue::from_str(hsts).ok();
    }
    if let Ok(megabytes) = value(values, &BODY_LIMIT).parse::<u64>() {
        host.max_body = megabytes << 20;
    }
    if !is_on(values, &COMPRESSION) {
        host.compression = Compression::Off;
    }
    if is_on(values, &MAINTENANCE) {
        host.availability = Availability::Maintenance;
    }
}

/// Returns the bytes of an app's volume, if it has one.
pub(crate) fn volume_bytes(values: &SettingValues) -> Option<u64> {
    size_in_megabytes(value(values, &VOLUME)).map(|megabytes| megabytes << 20)
}

/// Reads a size such as 500MB or 10GB, up to 10 TB.
fn size_in_megabytes(value: &str) -> Option<u64> {
    let (number, unit) = match value.strip_suffix("GB") {
        Some(number) => (number, 1024),
        None => (value.strip_suffix("MB")?, 1),
    };
    let megabytes = number.parse::<u32>().ok().map(u64::from)? * unit;
    (1..=10 << 20).contains(&megabytes).then_some(megabytes)
}

fn volume_size(value: &str) -> Result<String, String> {
    let upper = value.to_ascii_uppercase();
    if value == "off" {
        return Ok(value.to_owned());
    }
    match size_in_megabytes(&upper) {
        Some(_) => Ok(upper),
        None => Err("write off, or a size, as in 500MB or 10GB".to_owned()),
    }
}

/// Accepts up to 100 GB, about what a dyno can read while a client waits.
fn megabytes(value: &str, _https: HttpsListener) -> Result<String, String> {
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

fn needs_https(value: &str, https: HttpsListener) -> Result<String, String> {
    if value == "on" && https == HttpsListener::Absent {
        return Err(
            "this node does not serve https; it does with corundum server --https ADDRESS"
                .to_owned(),
        );
    }
    on_or_off(value)
}

fn hsts(value: &str, _https: HttpsListener) -> Result<String, String> {
    hsts_header(value)
}

/// Returns the header's value (RFC 6797 section 6.1) for seconds alone or with directives.
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
    fn hsts_accepts_seconds_with_or_without_directives() {
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
