//! Certificates: what an app's owner adds, and which hosts each is shown for.
//!
//! [`check`] reads a chain and its key and says what is wrong with them; [`shown`] decides what handshakes choose from, of
//! them and of the node's own, which is in [`of_node`]. How
//! the node gets certificates by itself is in [`acme`](crate::acme).

pub(crate) mod chain;
pub mod default_cert;
pub(crate) mod resolver;

use corundum_abi::names::AppName;
use serde_json::{Value, json};

use self::chain::{CertError, Checked};
use crate::apps::names;
use crate::platform::Platform;
use corundum_store::StoreError;
use corundum_store::{CertOrigin, CertRecord, PrivateKey};

/// Certificates of one app that its owner added. Each takes some kilobytes of memory.
const MOST: usize = 100;

/// Adds a certificate to an app, or puts it in the place of the one that has this name.
///
/// # Errors
///
/// [`CertError`].
pub(crate) fn put(
    platform: &Platform,
    app: &AppName,
    name: Option<String>,
    chain: &str,
    key: String,
) -> Result<Value, CertError> {
    let key = PrivateKey::new(key);
    let checked = chain::check(chain, &key)?;
    let patterns = resolver::patterns(platform, app)?;
    if resolver::hosts(&checked.names, &patterns).is_empty() {
        return Err(CertError::Domains(checked.names.join(", "), app.clone()));
    }
    let name = match name {
        Some(name) => checked_name(name)?,
        None => names::random().to_string(),
    };
    let had = platform.store().certs(app)?;
    let others = |cert: &&CertRecord| cert.origin == CertOrigin::Added && cert.name != name;
    if had.iter().filter(others).count() >= MOST {
        return Err(CertError::Many(MOST));
    }
    platform
        .store()
        .put_cert(app, &name, CertOrigin::Added, chain, &key)?;
    platform.refresh(app);
    let line = format!("Set certificate {name} for {}", checked.names.join(", "));
    platform.logs().add(app, "corundum[api]", &line);
    find(platform, app, Some(&name))
}

/// A name that can stand in a URL.
fn checked_name(name: String) -> Result<String, CertError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    // A name with a dot in front would be a step in a path; those of domains are for the node's own.
    if (1..=100).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') {
        Ok(name)
    } else {
        Err(CertError::Name(name.chars().take(80).collect()))
    }
}

/// Removes a certificate of an app.
///
/// # Errors
///
/// [`CertError`].
pub(crate) fn remove(platform: &Platform, app: &AppName, name: &str) -> Result<(), CertError> {
    platform.store().remove_cert(app, name)?;
    platform.refresh(app);
    let line = format!("Remove certificate {name}");
    platform.logs().add(app, "corundum[api]", &line);
    Ok(())
}

/// An app's certificates, for listings: all but the keys.
///
/// # Errors
///
/// The store's own.
pub(crate) fn list(platform: &Platform, app: &AppName) -> Result<Value, CertError> {
    let patterns = resolver::patterns(platform, app)?;
    let records = platform.store().certs(app)?;
    let listed = records.iter().map(|record| json_of(record, &patterns));
    Ok(listed.collect())
}

/// One of them; without a name, the only one.
///
/// # Errors
///
/// [`StoreError::NoCert`]; [`CertError::Which`].
pub(crate) fn find(
    platform: &Platform,
    app: &AppName,
    name: Option<&str>,
) -> Result<Value, CertError> {
    let patterns = resolver::patterns(platform, app)?;
    let records = platform.store().certs(app)?;
    let record = match name {
        None if records.len() > 1 => return Err(CertError::Which),
        None => records.first(),
        Some(name) => records.iter().find(|record| record.name == name),
    };
    let none = || StoreError::NoCert(name.unwrap_or("this app has none").to_owned());
    Ok(json_of(record.ok_or_else(none)?, &patterns))
}

fn json_of(record: &CertRecord, patterns: &[String]) -> Value {
    let mut shown = json!({
        "name": record.name,
        "origin": record.origin.as_str(),
        "updated_at": record.updated_at,
    });
    if let Ok(Checked { names, facts, .. }) = chain::read(&record.chain, &record.key) {
        shown["common_names"] = json!(names);
        shown["shown_for"] = json!(resolver::hosts(&names, patterns));
        shown["issuer"] = json!(facts.issuer);
        shown["subject"] = json!(facts.subject);
        shown["self_signed"] = json!(facts.self_signed);
        shown["serial"] = json!(facts.serial);
        shown["fingerprint"] = json!(facts.fingerprint);
        shown["starts_at"] = json!(facts.starts.to_string());
        shown["expires_at"] = json!(facts.ends.to_string());
        shown["expired"] = json!(facts.ends < jiff::Timestamp::now());
    }
    shown
}
