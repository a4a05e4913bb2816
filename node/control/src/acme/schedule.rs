//! Which hosts get a certificate, and which of them now.

use corundum_abi::names::AppName;
use jiff::Timestamp;

use crate::apps::settings;
use crate::certs::chain::{self, Checked};
use crate::certs::resolver;
use crate::platform::Platform;
use corundum_store::StoreError;
use corundum_store::{CertOrigin, CertRecord};

/// Certificates of the node's own making have names that no owner can give.
const PREFIX: &str = "auto:";

/// A host of an app whose certificates the node gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) state: State,
    /// When the certificate that is there ends.
    pub(crate) expires: Option<Timestamp>,
    /// Attempts that failed since the last one that did not.
    pub(crate) failures: u32,
    pub(crate) message: Option<String>,
}

/// What is to be done about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// A certificate is to be got now.
    Due,
    /// Nothing before this second.
    Waits(i64),
    /// Its owner has added one for it, of this name, with more than a third of its life left.
    Covered(String),
    /// No proof that the node can give is accepted for a wildcard (RFC 8555 section 8).
    Wildcard,
}

impl Host {
    /// The name that its certificate is kept under.
    pub(crate) fn cert_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// The time in seconds.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// When a certificate is renewed: with a third of its life left.
pub(crate) fn renewal(starts: i64, ends: i64) -> i64 {
    ends - (ends - starts) / 3
}

/// Whether the node gets certificates for an app.
pub(crate) fn is_enabled(platform: &Platform, app: &AppName) -> Result<bool, StoreError> {
    let values = platform.store().settings(app)?;
    Ok(settings::is_on(&values, &settings::CERTS_AUTO) && platform.settings().https.is_some())
}

/// The hosts of an app that are looked after; none if it has not asked for that.
pub(crate) fn of_app(platform: &Platform, app: &AppName) -> Result<Vec<Host>, StoreError> {
    if !is_enabled(platform, app)? {
        return Ok(Vec::new());
    }
    let domain = &platform.settings().domain;
    let own = platform.own_host(app);
    let hosts = resolver::patterns(platform, app)?.into_iter();
    // Nobody gives certificates for names that are those of each machine.
    let public = domain.contains('.') && !domain.ends_with(".localhost");
    let hosts = hosts.filter(|host| *host != own || public);
    let certs = certs(platform, app)?;
    hosts.map(|name| of_host(platform, &certs, name)).collect()
}

/// A certificate that an app has. Each is read once, for all hosts.
struct Known {
    record: CertRecord,
    checked: Checked,
}

fn certs(platform: &Platform, app: &AppName) -> Result<Vec<Known>, StoreError> {
    let records = platform.store().certs(app)?.into_iter();
    let known = records.filter_map(|record| {
        let checked = chain::read(&record.chain, &record.key).ok()?;
        Some(Known { record, checked })
    });
    Ok(known.collect())
}

fn of_host(platform: &Platform, certs: &[Known], name: String) -> Result<Host, StoreError> {
    let mut host = Host {
        name,
        state: State::Due,
        expires: None,
        failures: 0,
        message: None,
    };
    let mut renewed_at = None;
    for Known { record, checked } in certs {
        let for_it = resolver::hosts(&checked.names, std::slice::from_ref(&host.name));
        let facts = &checked.facts;
        let renewal = renewal(facts.starts.as_second(), facts.ends.as_second());
        // One that its owner lets grow old is not waited for: the node's own is there before it ends.
        if record.origin == CertOrigin::Added && !for_it.is_empty() && renewal > now() {
            host.state = State::Covered(record.name.clone());
            return Ok(host);
        }
        if record.name == host.cert_name() {
            host.expires = Some(facts.ends);
            renewed_at = Some(renewal);
        }
    }
    if platform.shown().is_of_node(&host.name) {
        host.state = State::Covered("the node's certificate".to_owned());
        return Ok(host);
    }
    if host.name.starts_with("*.") {
        host.state = State::Wildcard;
        return Ok(host);
    }
    let attempts = platform.store().attempts(&host.name)?;
    let due = match &attempts {
        Some(attempts) => attempts.next,
        None => renewed_at.unwrap_or(0),
    };
    if due > now() {
        host.state = State::Waits(due);
    }
    if let Some(attempts) = attempts {
        host.failures = attempts.failures;
        host.message = Some(attempts.message);
    }
    Ok(host)
}

/// Removes the certificates that the node got for hosts that are not the app's, or not looked after, any longer.
pub(crate) fn forget_others(
    platform: &Platform,
    app: &AppName,
    hosts: &[Host],
) -> Result<(), StoreError> {
    let mut removed = false;
    for record in platform.store().certs(app)? {
        let kept = hosts.iter().any(|host| host.cert_name() == record.name);
        if record.origin == CertOrigin::Auto && !kept {
            platform.store().remove_cert(app, &record.name)?;
            removed = true;
        }
    }
    if removed {
        platform.refresh(app);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_with_a_third_of_its_life_left() {
        assert_eq!(renewal(0, 90), 60);
        assert_eq!(renewal(100, 103), 102);
    }
}
