//! Log drains: an app's log, sent on as it is written, in the forms of Heroku's logplex.
//!
//! Each drain is a task that follows the log as `corundum logs --tail` does. What it is behind lies in the log's own ring,
//! so a drain that is slow or dead costs no memory and holds nobody up: it misses the oldest lines, and is told how many
//! (L10). [`target`] says where a drain leads, [`connection`] goes there, [`message`] has the line's form, and [`delivery`]
//! the two ways in which lines travel.

mod connection;
mod delivery;
mod message;
pub(crate) mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::AbortHandle;
use uuid::Uuid;

pub(crate) use self::connection::Policy;
pub use self::connection::Private;
use self::delivery::{Delivery, Undelivered};
use self::message::Message;
use crate::logs::{Line, Logs};
use corundum_store::DrainRecord;

/// Drains of an app, as on Heroku.
pub(crate) const MAX_DRAINS: usize = 5;
/// Lines that are sent at once.
const BATCH: usize = 100;
/// How long the first line of a batch waits for others.
const LINGER: Duration = Duration::from_millis(250);
/// Pauses after failures begin with the first, and double up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The drains that run, by their identifiers.
pub(crate) struct Drains {
    policy: Policy,
    running: Mutex<HashMap<Uuid, AbortHandle>>,
}

impl Drains {
    /// No drains yet.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            running: Mutex::default(),
        }
    }

    /// Begins to send an app's log on, on the runtime that this is called on.
    pub(crate) fn start(&self, logs: &Logs, app: &AppName, record: &DrainRecord) {
        let Ok(target) = record.url.parse() else {
            return tracing::error!(%app, drain = %record.id, "the drain's URL is not understood");
        };
        let (_, lines) = logs.follow(app, 0);
        let delivery = Delivery::new(target, self.policy.clone(), record.token.clone());
        let handle = tokio::spawn(run(app.clone(), delivery, lines)).abort_handle();
        if let Some(old) = self.running().insert(record.id, handle) {
            old.abort();
        }
    }

    /// Ends a drain. What it has not sent yet is lost.
    pub(crate) fn stop(&self, id: Uuid) {
        if let Some(handle) = self.running().remove(&id) {
            handle.abort();
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends lines on for as long as there is a log.
async fn run(app: AppName, mut delivery: Delivery, mut lines: Receiver<Arc<Line>>) {
    let mut lost = Lost::default();
    while let Some(batch) = gather(&mut lines, &mut lost).await {
        let mut pause = PAUSES.0;
        loop {
            match delivery.send(&batch).await {
                Ok(()) => break,
                Err(Undelivered::Refused(status)) => {
                    // The same again would be refused again.
                    tracing::warn!(%app, drain = %delivery, %status, "a drain refuses lines");
                    lost.add(batch.len() as u64);
                    break;
                }
                Err(Undelivered::Failed(error)) => {
                    tracing::debug!(%app, drain = %delivery, error = format!("{error:#}"), "a drain");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }
}

/// Lines that a drain did not get.
#[derive(Default)]
struct Lost {
    count: u64,
    since: Option<jiff::Timestamp>,
}

impl Lost {
    fn add(&mut self, count: u64) {
        self.count += count;
        self.since.get_or_insert_with(jiff::Timestamp::now);
    }

    /// The line that tells of them, once.
    fn take(&mut self) -> Option<Message> {
        let lost = std::mem::take(self);
        lost.since.map(|since| Message::overflow(lost.count, since))
    }
}

/// The next lines, once there are any; none when the log has ended.
async fn gather(lines: &mut Receiver<Arc<Line>>, lost: &mut Lost) -> Option<Vec<Message>> {
    let mut batch = Vec::new();
    loop {
        match lines.recv().await {
            Ok(line) => {
                batch.push(Message::of_line(&line.text()));
                break;
            }
            Err(RecvError::Lagged(count)) => lost.add(count),
            Err(RecvError::Closed) => return None,
        }
    }
    tokio::time::sleep(LINGER).await;
    while batch.len() < BATCH {
        match lines.try_recv() {
            Ok(line) => batch.push(Message::of_line(&line.text())),
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
    async fn a_drain_that_is_behind_is_told_how_many_lines_it_missed() {
        let (sender, mut lines) = broadcast::channel(16);
        for index in 0..50 {
            let line = Line::said("app[web.1]".into(), &index.to_string());
            sender.send(Arc::new(line)).unwrap();
        }
        let batch = gather(&mut lines, &mut Lost::default()).await.unwrap();
        let texts: Vec<String> = batch.iter().map(|message| message.framed("d")).collect();
        assert_eq!(texts.len(), 17);
        let told =
            " corundum logplex - Error L10 (output buffer overflow): 34 messages dropped since ";
        assert!(texts[0].contains(told), "{}", texts[0]);
        assert!(texts[1].ends_with(" app web.1 - 34\n") && texts[16].ends_with(" - 49\n"));
        drop(sender);
        assert!(gather(&mut lines, &mut Lost::default()).await.is_none());
    }
}
