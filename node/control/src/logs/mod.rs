//! Logs: a bounded ring in memory for each app, and its followers.
//!
//! [`sessions`] gives out secrets that permit reading a log, of which [`filter`] selects lines.

pub(crate) mod filter;
mod line;
pub mod sessions;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use corundum_abi::names::{AppName, DynoName};
use corundum_host::grid::GridLog;
use corundum_router::log_line;
use tokio::sync::broadcast;

pub(crate) use line::LogEntry;

/// Lines kept of an app, as on Heroku.
const MAX_LINES: usize = 1500;
/// Bytes kept of an app. 1,500 long lines would be 15 MB.
const MAX_BYTES: usize = 2 << 20;
/// Lines that a follower may lag behind before it misses some.
const MAX_LAG: usize = 1024;

/// The logs of all apps. Each has a lock of its own, so that an app that floods its log does not delay others.
#[derive(Default)]
pub struct Logs {
    apps: RwLock<HashMap<AppName, Arc<Mutex<AppLog>>>>,
}

#[derive(Default)]
struct AppLog {
    lines: VecDeque<Arc<LogEntry>>,
    bytes: usize,
    /// The ring of followers, 40 kB, which the first one creates.
    followers: Option<broadcast::Sender<Arc<LogEntry>>>,
}

impl Logs {
    /// Creates the logs of many apps.
    pub(crate) fn open_all<'a>(&self, names: impl Iterator<Item = &'a AppName>) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        for app in names {
            apps.entry(app.clone()).or_default();
        }
    }

    /// Creates the log of an app.
    pub(crate) fn open(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.entry(app.clone()).or_default();
    }

    fn of(&self, app: &AppName) -> Option<Arc<Mutex<AppLog>>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(app).cloned()
    }

    /// Adds a line of `source`, such as `app[web.1]` or `corundum[api]`.
    pub(crate) fn add(&self, app: &AppName, source: impl Into<Cow<'static, str>>, text: &str) {
        self.keep(app, LogEntry::new(source.into(), text));
    }

    /// Adds a line of the router's access log.
    pub(crate) fn add_routed(&self, app: &AppName, line: log_line::RouterLogLine) {
        self.keep(app, LogEntry::of_access(line));
    }

    /// Keeps a line. Lines of an app without a log are dropped: a dyno may outlive its app.
    fn keep(&self, app: &AppName, line: LogEntry) {
        let Some(log) = self.of(app) else { return };
        let line = Arc::new(line);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        match &log.followers {
            Some(followers) if followers.receiver_count() > 0 => {
                let _ = followers.send(line.clone());
            }
            Some(_) => log.followers = None,
            None => {}
        }
        log.bytes += line.weight();
        log.lines.push_back(line);
        while log.lines.len() > MAX_LINES || log.bytes > MAX_BYTES {
            let Some(line) = log.lines.pop_front() else {
                break;
            };
            log.bytes -= line.weight();
        }
    }

    /// Returns the last `count` lines and a receiver of later ones.
    pub(crate) fn follow(
        &self,
        app: &AppName,
        count: usize,
    ) -> (Vec<Arc<LogEntry>>, broadcast::Receiver<Arc<LogEntry>>) {
        let log = self.of(app).unwrap_or_default();
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = log.lines.len().saturating_sub(count);
        let followers = log
            .followers
            .get_or_insert_with(|| broadcast::channel(MAX_LAG).0);
        let receiver = followers.subscribe();
        (log.lines.iter().skip(skip).cloned().collect(), receiver)
    }

    /// Removes an app's log.
    pub(crate) fn remove(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(app);
    }
}

impl GridLog for Logs {
    fn dyno_line(&self, app: &AppName, dyno: &DynoName, line: &[u8]) {
        self.add(app, format!("app[{dyno}]"), &String::from_utf8_lossy(line));
    }

    fn platform_line(&self, app: &AppName, dyno: &DynoName, line: &str) {
        self.add(app, format!("corundum[{dyno}]"), line);
    }
}

#[cfg(test)]
mod tests {
    use super::line::MAX_LENGTH;
    use super::*;

    #[test]
    fn log_is_bounded_in_lines_and_bytes() {
        let logs = Logs::default();
        let app: AppName = "one-app".parse().unwrap();
        logs.open(&app);
        for index in 0..3000 {
            logs.add(&app, "app[web.1]", &index.to_string());
        }
        let (lines, _) = logs.follow(&app, 10_000);
        assert_eq!(lines.len(), MAX_LINES);
        assert!(
            lines[MAX_LINES - 1].text().ends_with(" app[web.1]: 2999"),
            "{}",
            lines[MAX_LINES - 1].text()
        );
        for _ in 0..1000 {
            logs.add(&app, "app[web.1]", &"x".repeat(10_000));
        }
        let (lines, _) = logs.follow(&app, 10_000);
        assert!(lines.iter().map(|line| line.weight()).sum::<usize>() <= MAX_BYTES);
        logs.add(&app, "corundum[router]", &"ä".repeat(100_000));
        let (lines, _) = logs.follow(&app, 1);
        assert!((MAX_LENGTH - 1..=MAX_LENGTH).contains(&lines[0].text().len()));
    }

    #[test]
    fn long_access_line_is_cut_before_followers_keep_it() {
        let logs = Logs::default();
        let app: AppName = "one-app".parse().unwrap();
        logs.open(&app);
        let (_, mut follower) = logs.follow(&app, 0);
        for length in [100, 100_000] {
            let entry = log_line::RequestRecord {
                path: "/".repeat(length).into(),
                ..Default::default()
            };
            let whole = log_line::RouterLogLine::new(entry, None);
            let begins = format!(" corundum[router]: {whole}")[..90].to_owned();
            logs.add_routed(&app, whole);
            let line = follower.try_recv().unwrap();
            assert!(line.weight() <= MAX_LENGTH + 200, "{}", line.weight());
            assert!(line.text().contains(&begins), "{}", line.text());
        }
    }

    #[test]
    fn late_line_of_a_removed_app_creates_no_log() {
        let logs = Logs::default();
        let app: AppName = "one-app".parse().unwrap();
        logs.open(&app);
        logs.remove(&app);
        logs.add(&app, "app[web.1]", "late");
        logs.open(&app);
        assert!(logs.follow(&app, 10).0.is_empty());
    }
}
