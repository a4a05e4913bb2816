//! Certificates that the node gets by itself from an ACME server (RFC 8555), for the apps whose setting `certs-auto` is on.
//!
//! [`AcmeManager::run`] does this in the background: [`schedule`] says which host is due, and [`order`] gets its
//! certificate with the HTTP client in [`client`]. Each host has a certificate of its own, so that a host whose DNS points
//! elsewhere does not delay others.

mod client;
mod order;
mod schedule;
pub mod wake;

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_api::acm::{AcmHost, AcmResource};
use corundum_store::{AcmeAttempts, CertOrigin, PrivateKey, Store, StoreError};

use self::order::AcmeError;
use self::schedule::{AcmeHost, HostState, Schedule};
use self::wake::AcmeWake;
use crate::app_urls::AppUrls;
use crate::certs::chain;
use crate::certs::resolver::CertResolver;
use crate::logs::Logs;
use crate::routing::view::RouterView;

pub use self::order::{AcmeSettings, ChallengeResponders};

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The longest time between two rounds. Certificates become due, and clocks are set.
const ROUND: Duration = Duration::from_secs(3600);
/// The shortest time between two rounds. A round reads the whole store.
const PAUSE: Duration = Duration::from_secs(1);
/// The time for all of one host's order. An ACME server may take a minute to validate.
const ATTEMPT: Duration = Duration::from_secs(180);

/// Seconds until the next attempt after a refused challenge. Public servers allow 5 failures an hour for one host, and each
/// attempt tries two challenges.
const RETRY_REFUSED: i64 = 1800;
/// Seconds until the next attempt after the server could not be reached.
const RETRY_UNREACHED: i64 = 60;
/// The longest time until the next attempt, in seconds.
const RETRY_MAX: i64 = 86_400;

/// Characters of a message that the node keeps. An ACME server can send any text.
const MAX_MESSAGE: usize = 500;

/// Gets and renews certificates.
pub struct AcmeManager {
    settings: AcmeSettings,
    store: Arc<dyn Store>,
    view: Arc<RouterView>,
    logs: Arc<Logs>,
    schedule: Schedule,
    wake: Arc<AcmeWake>,
}

impl AcmeManager {
    /// Creates the manager; [`run`](Self::run) does the work.
    pub fn new(
        settings: AcmeSettings,
        store: Arc<dyn Store>,
        urls: AppUrls,
        certs: Arc<CertResolver>,
        view: Arc<RouterView>,
        logs: Arc<Logs>,
        wake: Arc<AcmeWake>,
    ) -> Self {
        Self {
            settings,
            schedule: Schedule::new(store.clone(), urls, certs),
            store,
            view,
            logs,
            wake,
        }
    }

    /// Gets and renews certificates until the task is aborted.
    pub(crate) async fn run(self: Arc<Self>, responders: ChallengeResponders) {
        loop {
            let next = match self.round(&responders).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "could not look for due certificates");
                    ROUND
                }
            };
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(next.min(ROUND)) => {}
                () = self.wake.woken() => {}
            }
        }
    }

    /// Returns the state of an app's hosts.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn status(&self, app: &AppName) -> Result<AcmResource, StoreError> {
        let hosts = self.schedule.hosts(app)?.into_iter().map(status_of);
        Ok(AcmResource {
            enabled: self.schedule.is_enabled(app)?,
            directory: self.settings.directory.clone(),
            hosts: hosts.collect(),
        })
    }

    /// Makes an app's failed hosts due now.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub(crate) fn retry(&self, app: &AppName) -> Result<(), StoreError> {
        for host in self.schedule.hosts(app)? {
            self.store.set_attempts(app, &host.name, None)?;
        }
        self.wake.wake();
        Ok(())
    }

    /// Handles all due hosts, one after another, and returns the time until the next one is due.
    async fn round(&self, responders: &ChallengeResponders) -> Result<Duration, StoreError> {
        let mut next = i64::MAX;
        for app in self.store.apps().apps {
            let hosts = self.schedule.hosts(&app.name)?;
            if !hosts.is_empty() {
                // The preferred one of two certificates changes with time.
                self.view.refresh(&app.name);
            }
            if self.schedule.forget_others(&app.name, &hosts)? {
                self.view.refresh(&app.name);
            }
            for host in hosts {
                let due = match host.state {
                    HostState::Due => self.attempt(responders, &app.name, &host).await?,
                    HostState::Waits(at) => at,
                    HostState::Covered(_) | HostState::Wildcard => continue,
                };
                next = next.min(due);
            }
        }
        let seconds = next.saturating_sub(schedule::now());
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Tries to get a host's certificate and returns when the host is due again.
    async fn attempt(
        &self,
        responders: &ChallengeResponders,
        app: &AppName,
        host: &AcmeHost,
    ) -> Result<i64, StoreError> {
        let order = order::obtain(&*self.store, &self.settings, responders, &host.name);
        let got = tokio::time::timeout(ATTEMPT, order).await;
        let result = got.unwrap_or(Err(AcmeError::Timeout)).and_then(|issued| {
            let key = PrivateKey::new(issued.key);
            let chain = chain::validate(&issued.chain, &key)?;
            Ok((issued.chain, key, chain.facts))
        });
        // The app may have lost the host, or been destroyed, during the attempt.
        let wanted = self.schedule.hosts(app)?;
        if !wanted.iter().any(|wanted| wanted.name == host.name) {
            return Ok(i64::MAX);
        }
        let (due, line) = match result {
            Ok((pem, key, facts)) => {
                self.store
                    .put_cert(app, &host.cert_name(), CertOrigin::Auto, &pem, &key)?;
                self.store.set_attempts(app, &host.name, None)?;
                self.view.refresh(app);
                tracing::info!(%app, host = host.name, valid_until = %facts.ends, "certificate issued");
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
                self.store.set_attempts(app, &host.name, Some(&attempts))?;
                tracing::warn!(%app, host = host.name, failures, %error, "could not get a certificate");
                let line = format!(
                    "Certificate for {} not issued (attempt {failures}, next in {} min): {}",
                    host.name,
                    wait / 60,
                    attempts.message
                );
                (attempts.next, line)
            }
        };
        self.logs.add(app, "corundum[acme]", &line);
        Ok(due)
    }
}

fn status_of(host: AcmeHost) -> AcmHost {
    let status = match &host.state {
        HostState::Covered(by) => format!("Covered by {by}"),
        HostState::Wildcard => "A wildcard: add a certificate with certs:add".to_owned(),
        _ if host.failures > 0 => "Failing".to_owned(),
        _ if host.expires.is_some() => "Cert issued".to_owned(),
        _ => "In progress".to_owned(),
    };
    let next_attempt_at = match host.state {
        HostState::Waits(at) => jiff::Timestamp::from_second(at).ok(),
        _ => None,
    };
    AcmHost {
        hostname: host.name,
        status,
        expires_at: host.expires,
        failures: host.failures,
        next_attempt_at,
        message: host.message,
    }
}

/// Returns a server's message as it can stand in one line of a log.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_MESSAGE).collect()
}

fn back_off(error: &AcmeError, failures: u32) -> i64 {
    let first = if error.is_refusal() {
        RETRY_REFUSED
    } else {
        RETRY_UNREACHED
    };
    let doubled = first << failures.saturating_sub(1).min(16);
    doubled.min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_interval_doubles_up_to_a_day() {
        let unreached = |failures| back_off(&AcmeError::Timeout, failures);
        assert_eq!([1, 2, 3].map(unreached), [60, 120, 240]);
        let refused = |failures| back_off(&AcmeError::Refused("no".to_owned()), failures);
        assert_eq!([1, 2].map(refused), [1800, 3600]);
        assert_eq!(refused(40), RETRY_MAX);
        assert_eq!(unreached(u32::MAX), RETRY_MAX);
    }

    #[test]
    fn message_of_a_server_cannot_start_a_log_line() {
        assert_eq!(
            one_line("no\r\n2026 app[web.1]: x"),
            "no  2026 app[web.1]: x"
        );
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), MAX_MESSAGE);
    }
}
