//! Certificates that the node gets by itself, from an ACME server (RFC 8555), for the apps whose setting `certs-auto` is on.
//!
//! [`run`] looks after all of them in the background: [`plan`] says which host is due, [`order`] gets its certificate,
//! over the HTTP client in [`client`]. Each host has a certificate of its own, so that one whose DNS leads elsewhere holds
//! up no other.

mod client;
mod order;
mod schedule;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_router::acme_http01::Http01Challenges;
use corundum_router::tls::certificates::Certificates;
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::order::AcmeError;
use self::schedule::{Host, State};
use crate::certs::chain;
use crate::platform::Platform;
use corundum_store::AcmeAttempts;
use corundum_store::StoreError;
use corundum_store::{CertOrigin, PrivateKey};

/// Let's Encrypt, which anyone may ask.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Looked through at least so often: certificates come of age, and clocks are set.
const ROUND: Duration = Duration::from_secs(3600);
/// Nor sooner than so: a round reads the whole store.
const PAUSE: Duration = Duration::from_secs(1);
/// For one host, all of it. An ACME server may take a minute to look.
const ATTEMPT: Duration = Duration::from_secs(180);

/// Seconds until a host is tried again whose proof was not accepted. Public servers count these: 5 an hour for one host,
/// and each attempt tries two kinds of proof.
const REFUSED: i64 = 1800;
/// Seconds until it is tried again when the server could not be asked.
const UNREACHED: i64 = 60;
/// Seconds at most, after many failures.
const LONGEST: i64 = 86_400;

/// Characters of a message that is kept: an ACME server may say anything.
const LONGEST_MESSAGE: usize = 500;

/// Which ACME server the node asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its directory's URL.
    pub directory: String,
    /// Where it may write to, as mail addresses.
    pub contact: Option<String>,
    /// A certificate authority in PEM that is trusted for the server itself, beside the public ones.
    pub root: Option<PathBuf>,
}

/// Where proofs are shown. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proofs {
    /// HTTP-01, on every listener.
    pub(crate) http: Arc<Http01Challenges>,
    /// TLS-ALPN-01, on the TLS listener.
    pub(crate) tls: Arc<Certificates>,
}

/// Tells [`run`] that there may be something to do.
#[derive(Default)]
pub(crate) struct Wake(Notify);

impl Wake {
    /// Something has changed.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// Gets and renews certificates until the task is ended.
pub(crate) async fn run(platform: Arc<Platform>, proofs: Proofs) {
    loop {
        let next = match round(&platform, &proofs).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "certificates");
                ROUND
            }
        };
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            () = tokio::time::sleep(next.min(ROUND)) => {}
            () = platform.acme().0.notified() => {}
        }
    }
}

/// Does what is due, one host after another; then says when something will be.
async fn round(platform: &Platform, proofs: &Proofs) -> Result<Duration, StoreError> {
    let mut next = i64::MAX;
    for app in platform.store().apps()? {
        let hosts = schedule::of_app(platform, &app.name)?;
        if !hosts.is_empty() {
            // Which of two certificates is shown depends on the time.
            platform.refresh(&app.name);
        }
        schedule::forget_others(platform, &app.name, &hosts)?;
        for host in hosts {
            let due = match host.state {
                State::Due => attempt(platform, proofs, &app.name, &host).await?,
                State::Waits(at) => at,
                State::Covered(_) | State::Wildcard => continue,
            };
            next = next.min(due);
        }
    }
    let seconds = next.saturating_sub(schedule::now());
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Tries to get a host's certificate; when the host is due again.
async fn attempt(
    platform: &Platform,
    proofs: &Proofs,
    app: &AppName,
    host: &Host,
) -> Result<i64, StoreError> {
    let got = tokio::time::timeout(ATTEMPT, order::obtain(platform, proofs, &host.name)).await;
    let result = got.unwrap_or(Err(AcmeError::Timeout)).and_then(|issued| {
        let key = PrivateKey::new(issued.key);
        let checked = chain::check(&issued.chain, &key)?;
        Ok((issued.chain, key, checked.facts))
    });
    // It may have been taken from the app, or the app from the node, while the server took its time.
    let wanted = schedule::of_app(platform, app)?;
    if !wanted.iter().any(|wanted| wanted.name == host.name) {
        return Ok(i64::MAX);
    }
    let store = platform.store();
    let (due, line) = match result {
        Ok((chain, key, facts)) => {
            store.put_cert(app, &host.cert_name(), CertOrigin::Auto, &chain, &key)?;
            store.set_attempts(app, &host.name, None)?;
            platform.refresh(app);
            let (starts, ends) = (facts.starts.as_second(), facts.ends.as_second());
            let line = format!(
                "Certificate for {} issued, valid until {}",
                host.name, facts.ends
            );
            (schedule::renewal(starts, ends), line)
        }
        Err(error) => {
            let failures = host.failures + 1;
            let wait = back_off(&error, failures);
            let attempts = AcmeAttempts {
                failures,
                next: schedule::now() + wait,
                message: one_line(&error.to_string()),
            };
            store.set_attempts(app, &host.name, Some(&attempts))?;
            let line = format!(
                "Certificate for {} not issued (attempt {failures}, next in {} min): {}",
                host.name,
                wait / 60,
                attempts.message
            );
            (attempts.next, line)
        }
    };
    platform.logs().add(app, "corundum[acme]", &line);
    Ok(due)
}

/// What a server says, as a line of a log may have it.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST_MESSAGE).collect()
}

fn back_off(error: &AcmeError, failures: u32) -> i64 {
    let first = if error.is_refusal() {
        REFUSED
    } else {
        UNREACHED
    };
    let doubled = first << failures.saturating_sub(1).min(16);
    doubled.min(LONGEST)
}

/// How far the node is with each of an app's hosts, for listings.
///
/// # Errors
///
/// The store's own.
pub(crate) fn list(platform: &Platform, app: &AppName) -> Result<Value, StoreError> {
    let enabled = schedule::is_enabled(platform, app)?;
    let hosts = schedule::of_app(platform, app)?.into_iter().map(|host| {
        let status = match &host.state {
            State::Covered(by) => format!("Covered by {by}"),
            State::Wildcard => "A wildcard: add a certificate with certs:add".to_owned(),
            _ if host.failures > 0 => "Failing".to_owned(),
            _ if host.expires.is_some() => "Cert issued".to_owned(),
            _ => "In progress".to_owned(),
        };
        json!({
            "hostname": host.name,
            "status": status,
            "expires_at": host.expires.map(|at| at.to_string()),
            "failures": host.failures,
            "next_attempt_at": match host.state {
                State::Waits(at) => jiff::Timestamp::from_second(at).ok().map(|at| at.to_string()),
                _ => None,
            },
            "message": host.message,
        })
    });
    Ok(json!({
        "enabled": enabled,
        "directory": platform.settings().acme.directory,
        "hosts": hosts.collect::<Value>(),
    }))
}

/// Has failed hosts of an app tried again now.
///
/// # Errors
///
/// The store's own.
pub(crate) fn try_again(platform: &Platform, app: &AppName) -> Result<(), StoreError> {
    for host in schedule::of_app(platform, app)? {
        platform.store().set_attempts(app, &host.name, None)?;
    }
    platform.acme().wake();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_repeated_ever_less_often_and_once_a_day_at_least() {
        let unreached = |failures| back_off(&AcmeError::Timeout, failures);
        assert_eq!([1, 2, 3].map(unreached), [60, 120, 240]);
        let refused = |failures| back_off(&AcmeError::Refused("no".to_owned()), failures);
        assert_eq!([1, 2].map(refused), [1800, 3600]);
        assert_eq!(refused(40), LONGEST);
        assert_eq!(unreached(u32::MAX), LONGEST);
    }

    #[test]
    fn what_a_server_says_cannot_begin_a_line_of_the_log() {
        assert_eq!(
            one_line("no\r\n2026 app[web.1]: x"),
            "no  2026 app[web.1]: x"
        );
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), LONGEST_MESSAGE);
    }
}
