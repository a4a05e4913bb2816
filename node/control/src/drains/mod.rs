//! Log drains: an app's log, forwarded as it is written, in the formats of Heroku's logplex.
//!
//! Each drain is a task that follows the log as `corundum logs --tail` does. Lines that it has not sent yet are in the
//! log's own ring, so a slow or dead drain costs no memory and delays nothing: it misses the oldest lines and reports how
//! many (L10). [`target`] parses a drain's URL, [`connection`] connects to it, [`message`] formats lines, and [`delivery`]
//! sends them.

mod connection;
mod delivery;
mod message;
pub(crate) mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_store::{DrainRecord, Fault, HasFault, Store, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::AbortHandle;
use uuid::Uuid;

pub use self::connection::{DrainPolicy, DrainPolicyError, PrivateTargets};
use self::delivery::{Delivery, Undelivered};
use self::message::SyslogMessage;
use self::target::{DrainTarget, InvalidDrainUrl};
use crate::logs::{LogEntry, Logs};

/// The most drains of an app, as on Heroku.
const MAX_DRAINS: usize = 5;
/// The most lines in a batch.
const BATCH: usize = 100;
/// The time that the first line of a batch waits for others.
const LINGER: Duration = Duration::from_millis(250);
/// The first and the longest delay after a failure. Each further failure doubles the delay.
const DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A drain that cannot be added or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] InvalidDrainUrl),
    /// The app has too many drains.
    #[error("an app may have {MAX_DRAINS} drains")]
    Many,
    /// The app has the drain already.
    #[error("{0} is a drain of {1} already")]
    Exists(DrainTarget, AppName),
    /// The app does not have the drain.
    #[error("unknown drain: see corundum drains")]
    NotFound,
    /// Several drains look the same without their secrets.
    #[error("several drains have this URL: name one by its token")]
    Ambiguous,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for DrainError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::NotFound => Fault::NotFound,
            Self::Url(_) | Self::Many | Self::Exists(..) | Self::Ambiguous => Fault::Client,
        }
    }
}

/// Adds, runs and removes log drains.
pub struct LogDrains {
    store: Arc<dyn Store>,
    logs: Arc<Logs>,
    policy: DrainPolicy,
    /// The tasks, by the drains' keys.
    running: Mutex<HashMap<Uuid, AbortHandle>>,
}

impl LogDrains {
    /// Creates the type without running drains.
    pub fn new(store: Arc<dyn Store>, logs: Arc<Logs>, policy: DrainPolicy) -> Self {
        Self {
            store,
            logs,
            policy,
            running: Mutex::default(),
        }
    }

    /// Starts the drains of all apps, on the runtime of the caller.
    pub fn start_all(&self) {
        let apps = match self.store.apps_with_drains() {
            Ok(apps) => apps,
            Err(error) => return tracing::error!(%error, "could not start log drains"),
        };
        for app in apps {
            match self.store.drains(&app) {
                Ok(drains) => drains.iter().for_each(|drain| self.start(&app, drain)),
                Err(error) => {
                    tracing::error!(%app, %error, "could not start log drains");
                }
            }
        }
    }

    /// Adds a drain to an app and starts it, on the runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`DrainError`].
    pub(crate) fn add(&self, app: &AppName, url: &str) -> Result<DrainRecord, DrainError> {
        let target: DrainTarget = url.parse()?;
        let drains = self.store.drains(app)?;
        if drains.len() >= MAX_DRAINS {
            return Err(DrainError::Many);
        }
        if drains.iter().any(|drain| drain.url == url) {
            return Err(DrainError::Exists(target, app.clone()));
        }
        let record = self.store.add_drain(app, url)?;
        self.start(app, &record);
        self.logs
            .add(app, "corundum[api]", &format!("Add drain {target}"));
        Ok(record)
    }

    /// Returns a drain, given its URL (in full or as listings show it), its token or its key.
    ///
    /// # Errors
    ///
    /// [`DrainError`].
    pub(crate) fn find(&self, app: &AppName, which: &str) -> Result<DrainRecord, DrainError> {
        let is = |drain: &DrainRecord| {
            [&drain.url, &drain.token].iter().any(|name| *name == which)
                || drain.id.to_string() == which
                || redacted_url(drain) == which
        };
        let mut found = self
            .store
            .drains(app)?
            .into_iter()
            .filter(|drain| is(drain));
        let record = found.next().ok_or(DrainError::NotFound)?;
        if found.next().is_some() {
            return Err(DrainError::Ambiguous);
        }
        Ok(record)
    }

    /// Removes a drain, named as for [`find`](Self::find).
    ///
    /// # Errors
    ///
    /// [`DrainError`].
    pub(crate) fn remove(&self, app: &AppName, which: &str) -> Result<DrainRecord, DrainError> {
        let record = self.find(app, which)?;
        self.store.remove_drain(app, record.id)?;
        self.stop(record.id);
        let line = format!("Remove drain {}", redacted_url(&record));
        self.logs.add(app, "corundum[api]", &line);
        Ok(record)
    }

    /// Returns an app's drains, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(&self, app: &AppName) -> Result<Vec<DrainRecord>, DrainError> {
        Ok(self.store.drains(app)?)
    }

    /// Ends a drain. Lines that it has not sent yet are lost.
    pub(crate) fn stop(&self, id: Uuid) {
        if let Some(handle) = self.running().remove(&id) {
            handle.abort();
        }
    }

    fn start(&self, app: &AppName, record: &DrainRecord) {
        let Ok(target) = record.url.parse() else {
            return tracing::error!(%app, drain = %record.id, "could not parse a drain's URL");
        };
        let (_, lines) = self.logs.follow(app, 0);
        let delivery = Delivery::new(target, self.policy.clone(), record.token.clone());
        let handle = tokio::spawn(run(app.clone(), delivery, lines)).abort_handle();
        if let Some(old) = self.running().insert(record.id, handle) {
            old.abort();
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a drain's URL without its secrets, for listings.
pub(crate) fn redacted_url(record: &DrainRecord) -> String {
    let target = record.url.parse::<DrainTarget>();
    target.map_or_else(|_| "-".to_owned(), |target| target.to_string())
}

/// Forwards lines until the log ends.
async fn run(app: AppName, mut delivery: Delivery, mut lines: Receiver<Arc<LogEntry>>) {
    let mut lost = LostLines::default();
    while let Some(batch) = gather(&mut lines, &mut lost).await {
        let mut delay = DELAYS.0;
        loop {
            match delivery.send(&batch).await {
                Ok(()) => break,
                Err(Undelivered::Refused(status)) => {
                    // The receiver would refuse the same batch again.
                    tracing::warn!(%app, drain = %delivery, %status, "drain refused a batch");
                    lost.add(batch.len() as u64);
                    break;
                }
                Err(Undelivered::Failed(error)) => {
                    tracing::debug!(%app, drain = %delivery, error = format!("{error:#}"), "could not deliver a batch");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(DELAYS.1);
                }
            }
        }
    }
}

/// The lines that a drain has missed since its last report.
#[derive(Default)]
struct LostLines {
    count: u64,
    since: Option<jiff::Timestamp>,
}

impl LostLines {
    fn add(&mut self, count: u64) {
        self.count += count;
        self.since.get_or_insert_with(jiff::Timestamp::now);
    }

    /// Takes the message that reports them, if there are any.
    fn take(&mut self) -> Option<SyslogMessage> {
        let lost = std::mem::take(self);
        lost.since
            .map(|since| SyslogMessage::overflow(lost.count, since))
    }
}

/// Waits for lines and returns the next batch, or `None` when the log has ended.
async fn gather(
    lines: &mut Receiver<Arc<LogEntry>>,
    lost: &mut LostLines,
) -> Option<Vec<SyslogMessage>> {
    let mut batch = Vec::new();
    loop {
        match lines.recv().await {
            Ok(line) => {
                batch.push(SyslogMessage::of_line(&line.text()));
                break;
            }
            Err(RecvError::Lagged(count)) => lost.add(count),
            Err(RecvError::Closed) => return None,
        }
    }
    tokio::time::sleep(LINGER).await;
    while batch.len() < BATCH {
        match lines.try_recv() {
            Ok(line) => batch.push(SyslogMessage::of_line(&line.text())),
            Err(TryRecvError::Lagged(count)) => lost.add(count),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    if let Some(overflow) = lost.take() {
        batch.insert(0, overflow);
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn slow_drain_reports_missed_lines() {
        let (sender, mut lines) = broadcast::channel(16);
        for index in 0..50 {
            let line = LogEntry::new("app[web.1]".into(), &index.to_string());
            sender.send(Arc::new(line)).unwrap();
        }
        let batch = gather(&mut lines, &mut LostLines::default()).await.unwrap();
        let texts: Vec<String> = batch.iter().map(|message| message.framed("d")).collect();
        assert_eq!(texts.len(), 17);
        let report =
            " corundum logplex - Error L10 (output buffer overflow): 34 messages dropped since ";
        assert!(texts[0].contains(report), "{}", texts[0]);
        assert!(texts[1].ends_with(" app web.1 - 34\n") && texts[16].ends_with(" - 49\n"));
        drop(sender);
        assert!(
            gather(&mut lines, &mut LostLines::default())
                .await
                .is_none()
        );
    }
}
