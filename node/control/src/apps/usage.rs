//! The times of the last requests to apps, to the minute: images that are used are prepared first and kept longest.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_store::{AppOutline, Store};

/// Ticks between two writes of the store.
const TICKS_PER_SAVE: u32 = 6;

/// Time since its last request within which an app is busy.
const BUSY: u64 = 60 * 60;
/// Most apps that count as busy.
const MAX_BUSY: usize = 1000;

/// Returns the busy apps of `apps`, which are sorted by the time of their last request. On a node that has not noted any
/// request yet, all apps are.
pub(crate) fn busy(apps: &[AppOutline], now: u64) -> Vec<AppName> {
    let since = match apps.first() {
        Some(latest) if latest.last_used > 0 => now.saturating_sub(BUSY),
        _ => 0,
    };
    apps.iter()
        .filter(|app| app.has_release && app.last_used >= since)
        .map(|app| app.name.clone())
        .take(MAX_BUSY)
        .collect()
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Keeps the times of the last requests that reached an app's dynos. A request only sets a flag.
pub struct AppUsage {
    store: Arc<dyn Store>,
    grid: DynoGrid,
    times: Mutex<UsageTimes>,
}

#[derive(Default)]
struct UsageTimes {
    /// Seconds since 1970.
    last: HashMap<AppName, u64>,
    /// Apps whose time the store does not have yet.
    unsaved: HashSet<AppName>,
    ticks: u32,
}

impl AppUsage {
    /// Creates the type without times.
    pub fn new(store: Arc<dyn Store>, grid: DynoGrid) -> Self {
        Self {
            store,
            grid,
            times: Mutex::default(),
        }
    }

    /// Takes the times that the store has.
    pub(crate) fn load(&self, apps: &[AppOutline]) {
        let used = apps.iter().filter(|app| app.last_used > 0);
        let used = used.map(|app| (app.name.clone(), app.last_used));
        self.times().last.extend(used);
    }

    /// Notes the apps that got requests since the last tick. Every minute, the store gets the times.
    pub(crate) fn tick(&self) {
        let now = now();
        let used = self.grid.take_used();
        let is_due = {
            let mut times = self.times();
            for app in used {
                times.last.insert(app.clone(), now);
                times.unsaved.insert(app);
            }
            times.ticks += 1;
            times.ticks.is_multiple_of(TICKS_PER_SAVE)
        };
        if is_due {
            self.save(now);
        }
    }

    fn save(&self, now: u64) {
        let unsaved: Vec<AppName> = self.times().unsaved.drain().collect();
        if !unsaved.is_empty()
            && let Err(error) = self.store.set_last_used(&unsaved, now)
        {
            tracing::warn!(%error, "could not save the times of the last requests");
            self.times().unsaved.extend(unsaved);
        }
    }

    /// Forgets an app.
    pub(crate) fn forget(&self, app: &AppName) {
        let mut times = self.times();
        times.last.remove(app);
        times.unsaved.remove(app);
    }

    /// Sorts apps by the time of their last request, the one used longest ago first.
    pub(crate) fn sort_by_last_use(&self, apps: &mut [AppName]) {
        let times = self.times();
        apps.sort_by_key(|app| times.last.get(app).copied().unwrap_or(0));
    }

    fn times(&self) -> MutexGuard<'_, UsageTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(name: &str, last_used: u64) -> AppOutline {
        AppOutline {
            name: name.parse().unwrap(),
            formation: 1,
            has_release: name != "blank",
            last_used,
        }
    }

    #[test]
    fn apps_with_a_request_in_the_last_hour_are_busy_the_latest_first() {
        let apps = [
            outline("latest", 9_000),
            outline("blank", 8_900),
            outline("hour-ago", 5_400),
            outline("older", 5_399),
            outline("never", 0),
        ];
        let names = |apps: &[AppOutline]| -> Vec<String> {
            busy(apps, 9_000).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&apps), ["latest", "hour-ago"]);
        assert_eq!(names(&apps[1..]), ["hour-ago"]);
        assert_eq!(names(&apps[4..]), ["never"], "no request was noted");
        assert!(names(&[]).is_empty());
    }
}
