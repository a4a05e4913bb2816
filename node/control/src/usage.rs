//! Counts what apps use, by day: requests, bytes sent, processor time and memory.
//!
//! The counters of the router and the grid begin with the process. Each tick adds their growth to figures in memory, and each
//! minute the store gets those: a kill loses a minute at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_router::metrics::{AppMetrics, MetricsRegistry};
use corundum_store::{Store, StoreError, UsageFigures};

use crate::apps::usage::now;

/// Ticks between two writes of the store.
const TICKS_PER_SAVE: u32 = 6;
/// Longest time between two ticks that counts: the machine slept through longer ones.
const LONGEST_TICK: Duration = Duration::from_secs(60);
/// Days that the store keeps.
const KEPT_DAYS: i64 = 400;
/// Bytes times milliseconds in a megabyte times a second.
const MEGABYTE_SECOND: u64 = 1_000_000_000;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Returns today in UTC, as days since 1970-01-01.
pub(crate) fn today() -> i64 {
    i64::try_from(now() / DAY).unwrap_or(i64::MAX)
}

/// Counts what apps use.
pub struct UsageMeter {
    store: Arc<dyn Store>,
    grid: DynoGrid,
    metrics: Arc<MetricsRegistry>,
    state: Mutex<MeterState>,
}

struct MeterState {
    apps: HashMap<AppName, AppMeter>,
    last_tick: Instant,
    ticks: u32,
    /// The day of the last write.
    day: i64,
    /// True while another process counts.
    is_finished: bool,
}

impl UsageMeter {
    /// Creates the type. The counters of `grid` and `metrics` must be at their beginning.
    pub fn new(store: Arc<dyn Store>, grid: DynoGrid, metrics: Arc<MetricsRegistry>) -> Self {
        let state = MeterState {
            apps: HashMap::new(),
            last_tick: Instant::now(),
            ticks: 0,
            day: 0,
            is_finished: false,
        };
        Self {
            store,
            grid,
            metrics,
            state: Mutex::new(state),
        }
    }

    /// Starts to count. The growth of the counters while another process owned the store counts too.
    pub(crate) fn start(&self) {
        let mut state = self.state();
        state.last_tick = Instant::now();
        state.is_finished = false;
    }

    /// Adds the growth of the counters since the last tick. Every minute, the store gets the figures.
    pub(crate) fn tick(&self) {
        let mut state = self.state();
        if state.is_finished {
            return;
        }
        self.read(&mut state);
        state.ticks += 1;
        if state.ticks.is_multiple_of(TICKS_PER_SAVE) {
            self.save(&mut state);
        }
    }

    /// Writes the figures that the store does not have yet, and counts no more: another process may own the store from now on.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        if !state.is_finished {
            self.read(&mut state);
            self.save(&mut state);
            state.is_finished = true;
        }
    }

    fn read(&self, state: &mut MeterState) {
        let elapsed = state.last_tick.elapsed().min(LONGEST_TICK);
        state.last_tick = Instant::now();
        let mut counters: HashMap<AppName, UsageCounters> = HashMap::new();
        for (app, metrics) in self.metrics.all() {
            counters.insert(app, UsageCounters::of(&metrics));
        }
        for status in self.grid.apps() {
            let cpu = self.grid.command_time(&status.name);
            let memory = status.memory.saturating_add(status.command_memory);
            let meter = state.apps.entry(status.name.clone()).or_default();
            meter.add_memory(memory, elapsed);
            counters.entry(status.name).or_default().cpu_micros += micros(cpu);
        }
        // An app that is gone has no figures to save.
        state.apps.retain(|app, _| counters.contains_key(app));
        for (app, counters) in counters {
            state.apps.entry(app).or_default().advance(counters);
        }
    }

    fn save(&self, state: &mut MeterState) {
        let day = today();
        let used: Vec<(AppName, UsageFigures)> = state
            .apps
            .iter()
            .filter(|(_, meter)| !meter.unsaved.is_empty())
            .map(|(app, meter)| (app.clone(), meter.unsaved))
            .collect();
        if let Err(error) = self.write(day, &used, state.day != day) {
            tracing::warn!(%error, "could not save what apps have used");
            return;
        }
        state.day = day;
        for (app, _) in used {
            if let Some(meter) = state.apps.get_mut(&app) {
                meter.unsaved = UsageFigures::default();
            }
        }
    }

    fn write(
        &self,
        day: i64,
        used: &[(AppName, UsageFigures)],
        is_new_day: bool,
    ) -> Result<(), StoreError> {
        if !used.is_empty() {
            self.store.add_usage(day, used)?;
        }
        if is_new_day && let Err(error) = self.store.forget_usage_before(day - KEPT_DAYS) {
            tracing::warn!(%error, "could not forget what apps used long ago");
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, MeterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters that only grow while an app exists.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct UsageCounters {
    requests: u64,
    response_bytes: u64,
    cpu_micros: u64,
}

impl UsageCounters {
    fn of(metrics: &AppMetrics) -> Self {
        Self {
            requests: metrics.statuses().map(|(_, count)| count).sum(),
            response_bytes: metrics.bytes(),
            cpu_micros: micros(metrics.cpu()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The figures of one app.
#[derive(Default)]
struct AppMeter {
    /// The counters at the last tick.
    last: UsageCounters,
    /// Figures that the store does not have yet.
    unsaved: UsageFigures,
    /// Bytes times milliseconds that are not a megabyte times a second yet.
    memory: u64,
}

impl AppMeter {
    fn advance(&mut self, counters: UsageCounters) {
        // Smaller counters are those of a new app of the same name.
        let growth = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let UsageCounters {
            requests,
            response_bytes,
            cpu_micros,
        } = self.last;
        self.unsaved.add(&UsageFigures {
            requests: growth(counters.requests, requests),
            response_bytes: growth(counters.response_bytes, response_bytes),
            cpu_micros: growth(counters.cpu_micros, cpu_micros),
            megabyte_seconds: 0,
        });
        self.last = counters;
    }

    fn add_memory(&mut self, bytes: usize, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let sum = (bytes as u64).saturating_mul(milliseconds);
        let sum = sum.saturating_add(self.memory);
        self.memory = sum % MEGABYTE_SECOND;
        self.unsaved.add(&UsageFigures {
            megabyte_seconds: sum / MEGABYTE_SECOND,
            ..UsageFigures::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_adds_growth_and_begins_again_with_a_new_app_of_the_name() {
        let counters = |requests, cpu_micros| UsageCounters {
            requests,
            response_bytes: 0,
            cpu_micros,
        };
        let mut meter = AppMeter::default();
        meter.advance(counters(5, 100));
        meter.advance(counters(7, 100));
        assert_eq!((meter.unsaved.requests, meter.unsaved.cpu_micros), (7, 100));
        meter.advance(counters(2, 10));
        assert_eq!((meter.unsaved.requests, meter.unsaved.cpu_micros), (9, 110));
    }

    #[test]
    fn memory_of_small_dynos_adds_up_over_ticks() {
        let mut meter = AppMeter::default();
        for _ in 0..10 {
            meter.add_memory(50_000, Duration::from_secs(10));
        }
        assert_eq!(meter.unsaved.megabyte_seconds, 5);
    }
}
