//! Autoscaling: an app's formation follows the queue time of its requests. It is off until the app's owner turns it on.
//!
//! [`Scaler::step`] decides once every tick of the metrics. While the 95th percentile of the queue time exceeds the target,
//! the formation grows by half at every tick. After three minutes without waiting it shrinks by one dyno a minute, since the
//! next peak may follow soon. [`Autoscaler`] keeps the rules and applies the decisions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_api::autoscale::AutoscaleRule;
use corundum_host::grid::DynoGrid;
use corundum_router::metrics::{MetricsRegistry, SummaryPeriod};
use corundum_store::{Fault, HasFault, Store, StoreError};

use super::formation::{Formations, MAX_WEB};
use crate::logs::Logs;

/// The name under which the store keeps an app's rule, beside its settings.
const SETTING: &str = "autoscale";
/// Ticks without waiting before an app is scaled down: three minutes.
const CALM: u32 = 18;
/// Ticks between two steps down: a minute, in which unused dynos end.
const STEP: u32 = 6;

/// An invalid rule. The user is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAutoscaleRule {
    /// A bound is out of range, or the minimum exceeds the maximum.
    #[error("--min and --max are from 1 to {MAX_WEB}, and --min is not above --max")]
    Bounds,
    /// The target is out of range.
    #[error("--p95-queue is from 1 to 60000 milliseconds")]
    Wait,
}

impl HasFault for InvalidAutoscaleRule {
    fn fault(&self) -> Fault {
        Fault::Client
    }
}

/// Returns an app owner's rule if it is valid.
///
/// # Errors
///
/// [`InvalidAutoscaleRule`].
pub(crate) fn validate(rule: AutoscaleRule) -> Result<AutoscaleRule, InvalidAutoscaleRule> {
    if rule.min < 1 || rule.min > rule.max || rule.max > MAX_WEB {
        Err(InvalidAutoscaleRule::Bounds)
    } else if !(1..=60_000).contains(&rule.p95_queue_ms) {
        Err(InvalidAutoscaleRule::Wait)
    } else {
        Ok(rule)
    }
}

/// The state of an app in the last tick.
#[derive(Debug, Clone, Copy)]
struct ScalingSample {
    /// Dynos that the app may have.
    formation: u32,
    /// Dynos that the app has, about as many as it needed in the last minute.
    live: u32,
    /// Requests that wait for a dyno now.
    waiting: usize,
    /// The 95th percentile of the queue time.
    p95: Duration,
    /// Further dynos that the node has capacity for.
    free: u32,
}

/// Decides the formation of one app.
#[derive(Debug, Default)]
struct Scaler {
    /// Consecutive ticks without waiting requests.
    calm: u32,
}

impl Scaler {
    /// Returns the new formation of the app, if it should change.
    fn step(&mut self, rule: AutoscaleRule, seen: ScalingSample) -> Option<u32> {
        let allowed = seen.formation.clamp(rule.min, rule.max);
        let most = Duration::from_millis(rule.p95_queue_ms.into());
        let full = seen.live >= seen.formation;
        let wanted = if full && (seen.p95 > most || seen.waiting > 0) {
            self.calm = 0;
            let more = allowed + allowed / 2 + 1;
            // Dynos beyond the node's capacity would only wait for it.
            more.min(rule.max).min((seen.live + seen.free).max(allowed))
        } else {
            self.calm += 1;
            if self.calm >= CALM && seen.live < allowed {
                self.calm = CALM - STEP;
                (allowed - 1).max(rule.min)
            } else {
                allowed
            }
        };
        (wanted != seen.formation).then_some(wanted)
    }
}

/// Scales the apps that have a rule.
pub struct Autoscaler {
    store: Arc<dyn Store>,
    grid: DynoGrid,
    metrics: Arc<MetricsRegistry>,
    formations: Arc<Formations>,
    logs: Arc<Logs>,
    rules: Mutex<HashMap<AppName, (AutoscaleRule, Scaler)>>,
}

impl Autoscaler {
    /// Creates an autoscaler without rules.
    pub fn new(
        store: Arc<dyn Store>,
        grid: DynoGrid,
        metrics: Arc<MetricsRegistry>,
        formations: Arc<Formations>,
        logs: Arc<Logs>,
    ) -> Self {
        Self {
            store,
            grid,
            metrics,
            formations,
            logs,
            rules: Mutex::default(),
        }
    }

    /// Returns an app's rule, if it has one.
    pub(crate) fn rule(&self, app: &AppName) -> Option<AutoscaleRule> {
        self.rules().get(app).map(|(rule, _)| *rule)
    }

    /// Reads the rules of all apps from the store.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn load_all(&self) -> Result<(), StoreError> {
        for (app, settings) in self.store.all_settings()? {
            let rule = || {
                let text = settings.get(SETTING)?;
                validate(serde_json::from_str(text).ok()?).ok()
            };
            if let Some(rule) = rule() {
                self.put(&app, Some(rule));
            }
        }
        Ok(())
    }

    /// Sets an app's rule, or turns autoscaling off.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) fn set(&self, app: &AppName, rule: Option<AutoscaleRule>) -> Result<(), StoreError> {
        let value = rule.map(|rule| serde_json::to_string(&rule)).transpose()?;
        let changes = [(SETTING.to_owned(), value)].into();
        self.store.change_settings(app, &changes)?;
        self.put(app, rule);
        Ok(())
    }

    /// Forgets an app.
    pub(crate) fn forget(&self, app: &AppName) {
        self.put(app, None);
    }

    /// Scales all apps that have a rule. Called after every tick of the metrics.
    pub(crate) fn step(&self) {
        let apps: Vec<AppName> = self.rules().keys().cloned().collect();
        for app in apps {
            let Some(status) = self.grid.app(&app) else {
                continue;
            };
            // An app that its owner has scaled to zero stays there.
            if status.formation == 0 {
                continue;
            }
            let tick = self.metrics.of(&app).over(SummaryPeriod::Tick);
            let sample = ScalingSample {
                formation: status.formation,
                live: status.busy + status.idle,
                waiting: status.waiting,
                p95: tick.queue.percentile(0.95).unwrap_or_default(),
                free: self.grid.capacity().saturating_sub(self.grid.live()),
            };
            let wanted = match self.rules().get_mut(&app) {
                Some((rule, scaler)) => scaler.step(*rule, sample),
                None => None,
            };
            if let Some(wanted) = wanted {
                self.scale(&app, sample, wanted);
            }
        }
    }

    fn scale(&self, app: &AppName, sample: ScalingSample, wanted: u32) {
        let line = match self.formations.scale(app, wanted) {
            Ok(()) => {
                tracing::info!(%app, from = sample.formation, to = wanted, "app scaled");
                format!(
                    "Scaled web from {} to {wanted}: {} requests wait, and 95 of 100 have waited {} ms at most",
                    sample.formation,
                    sample.waiting,
                    sample.p95.as_millis()
                )
            }
            Err(error) => format!("web stays at {}: {error}", sample.formation),
        };
        self.logs.add(app, "corundum[autoscale]", &line);
    }

    fn put(&self, app: &AppName, rule: Option<AutoscaleRule>) {
        match rule {
            Some(rule) => drop(self.rules().insert(app.clone(), (rule, Scaler::default()))),
            None => drop(self.rules().remove(app)),
        }
    }

    fn rules(&self) -> MutexGuard<'_, HashMap<AppName, (AutoscaleRule, Scaler)>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: AutoscaleRule = AutoscaleRule {
        min: 2,
        max: 20,
        p95_queue_ms: 100,
    };

    fn seen(formation: u32, live: u32, p95: u64) -> ScalingSample {
        ScalingSample {
            formation,
            live,
            waiting: 0,
            p95: Duration::from_millis(p95),
            free: 1000,
        }
    }

    #[test]
    fn formation_grows_by_half_to_the_maximum_while_requests_wait() {
        let (mut scaler, mut formation, mut steps) = (Scaler::default(), 2, Vec::new());
        while let Some(more) = scaler.step(RULE, seen(formation, formation, 250)) {
            steps.push(more);
            formation = more;
        }
        assert_eq!(steps, [4, 7, 11, 17, 20]);
    }

    #[test]
    fn formation_does_not_grow_beyond_the_capacity_of_the_node() {
        let tight = ScalingSample {
            free: 1,
            ..seen(4, 4, 250)
        };
        assert_eq!(Scaler::default().step(RULE, tight), Some(5));
        let full = ScalingSample { free: 0, ..tight };
        assert_eq!(Scaler::default().step(RULE, full), None);
    }

    #[test]
    fn formation_does_not_grow_while_fewer_dynos_are_live() {
        // Requests also wait for slow starts, which more dynos do not make faster.
        assert_eq!(Scaler::default().step(RULE, seen(10, 3, 250)), None);
        assert_eq!(Scaler::default().step(RULE, seen(10, 10, 99)), None);
    }

    #[test]
    fn formation_shrinks_by_one_a_minute_to_the_live_dynos() {
        let (mut scaler, mut formation, mut ticks) = (Scaler::default(), 10, 0);
        while formation > 6 {
            ticks += 1;
            formation = scaler
                .step(RULE, seen(formation, 6, 0))
                .unwrap_or(formation);
        }
        // Three minutes of calm, then one a minute.
        assert_eq!(ticks, CALM + 3 * STEP);
        for _ in 0..100 {
            assert_eq!(scaler.step(RULE, seen(6, 6, 0)), None);
        }
    }

    #[test]
    fn formation_outside_the_bounds_is_corrected_at_once() {
        assert_eq!(Scaler::default().step(RULE, seen(1, 1, 0)), Some(2));
        assert_eq!(Scaler::default().step(RULE, seen(50, 1, 0)), Some(20));
    }

    #[test]
    fn invalid_rules_are_rejected() {
        let rule = |min, max, p95_queue_ms| {
            validate(AutoscaleRule {
                min,
                max,
                p95_queue_ms,
            })
        };
        assert!(rule(1, 1, 1).is_ok());
        for (min, max) in [(0, 1), (3, 2), (1, MAX_WEB + 1)] {
            assert_eq!(rule(min, max, 100), Err(InvalidAutoscaleRule::Bounds));
        }
        assert_eq!(rule(1, 2, 0), Err(InvalidAutoscaleRule::Wait));
        assert_eq!(rule(1, 2, 60_001), Err(InvalidAutoscaleRule::Wait));
    }
}
