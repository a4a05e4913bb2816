//! Autoscaling: an app's web dynos follow how long its requests wait for one. Off unless its owner turns it on.
//!
//! [`Scaler::step`] decides, once every tick of the figures: up at once and by half as many again, since requests wait;
//! down by one a minute after some minutes of calm, since the next wave may follow the last. [`Autoscale`] keeps the rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_router::metrics::SummaryPeriod;
use serde::{Deserialize, Serialize};

use crate::platform::{MAX_FORMATION, Platform};
use corundum_store::StoreError;

/// The name under which the store keeps an app's rule, beside its settings.
const NAME: &str = "autoscale";
/// Ticks without waiting after which an app is scaled down: three minutes.
const CALM: u32 = 18;
/// Ticks between two steps down: a minute, within which dynos that nobody needs have ended.
const STEP: u32 = 6;

/// What an app's owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// Web dynos at least.
    pub(crate) min: u32,
    /// Web dynos at most.
    pub(crate) max: u32,
    /// Milliseconds that 95 of 100 requests may wait for a dyno.
    #[serde(default = "default_wait")]
    pub(crate) p95_queue_ms: u32,
}

fn default_wait() -> u32 {
    100
}

/// A rule that makes no sense. The user's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// None, or more than a node can have, or the wrong way round.
    #[error("--min and --max are from 1 to {MAX_FORMATION}, and --min is not above --max")]
    Bounds,
    /// No wait, or one that no request may have.
    #[error("--p95-queue is from 1 to 60000 milliseconds")]
    Wait,
}

impl Rule {
    pub(crate) fn check(self) -> Result<Self, RuleError> {
        if self.min < 1 || self.min > self.max || self.max > MAX_FORMATION {
            Err(RuleError::Bounds)
        } else if !(1..=60_000).contains(&self.p95_queue_ms) {
            Err(RuleError::Wait)
        } else {
            Ok(self)
        }
    }
}

/// What was seen of an app in the last tick.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Dynos that it may have.
    formation: u32,
    /// Dynos that it has: as many as it had use for in the last minute.
    live: u32,
    /// Requests that wait now.
    waiting: usize,
    /// How long 95 of 100 have waited at most.
    p95: Duration,
    /// Dynos that the node has room for.
    free: u32,
}

/// Decides for one app.
#[derive(Debug, Default)]
struct Scaler {
    /// Ticks in a row in which nobody waited.
    calm: u32,
}

impl Scaler {
    /// How many dynos the app should have from now on, if that is another number.
    fn step(&mut self, rule: Rule, seen: Seen) -> Option<u32> {
        let allowed = seen.formation.clamp(rule.min, rule.max);
        let most = Duration::from_millis(rule.p95_queue_ms.into());
        let full = seen.live >= seen.formation;
        let wanted = if full && (seen.p95 > most || seen.waiting > 0) {
            self.calm = 0;
            let more = allowed + allowed / 2 + 1;
            // What the node has no room for would only wait there.
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

/// The rules of all apps that have one.
#[derive(Default)]
pub(crate) struct Autoscale {
    rules: Mutex<HashMap<AppName, (Rule, Scaler)>>,
}

impl Autoscale {
    /// An app's rule, if it has one.
    pub(crate) fn rule(&self, app: &AppName) -> Option<Rule> {
        self.rules().get(app).map(|(rule, _)| *rule)
    }

    fn rules(&self) -> MutexGuard<'_, HashMap<AppName, (Rule, Scaler)>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, app: &AppName, rule: Option<Rule>) {
        match rule {
            Some(rule) => drop(self.rules().insert(app.clone(), (rule, Scaler::default()))),
            None => drop(self.rules().remove(app)),
        }
    }
}

/// Takes an app's rule from the store.
pub(crate) fn load(platform: &Platform, app: &AppName) {
    let rule = platform.store().settings(app).map(|settings| {
        let text = settings.get(NAME)?;
        serde_json::from_str::<Rule>(text).ok()?.check().ok()
    });
    match rule {
        Ok(rule) => platform.autoscale().put(app, rule),
        Err(error) => tracing::error!(%app, %error, "the app's autoscaling"),
    }
}

/// Sets an app's rule, or turns autoscaling off.
pub(crate) fn set(
    platform: &Platform,
    app: &AppName,
    rule: Option<Rule>,
) -> Result<(), StoreError> {
    let value = rule.map(|rule| serde_json::to_string(&rule)).transpose()?;
    let changes = [(NAME.to_owned(), value)].into();
    platform.store().change_settings(app, &changes)?;
    platform.autoscale().put(app, rule);
    Ok(())
}

/// Forgets an app.
pub(crate) fn forget(platform: &Platform, app: &AppName) {
    platform.autoscale().put(app, None);
}

/// Looks at all apps that have a rule. To be called when the figures have ticked.
pub(crate) fn step(platform: &Arc<Platform>) {
    let apps: Vec<AppName> = platform.autoscale().rules().keys().cloned().collect();
    for app in apps {
        let Some(status) = platform.grid().app(&app) else {
            continue;
        };
        // One that is out of service stays so.
        if status.formation == 0 {
            continue;
        }
        let lately = platform.metrics().of(&app).over(SummaryPeriod::Tick);
        let grid = platform.grid();
        let seen = Seen {
            formation: status.formation,
            live: status.busy + status.idle,
            waiting: status.waiting,
            p95: lately.queue.percentile(0.95).unwrap_or_default(),
            free: grid.capacity().saturating_sub(grid.live()),
        };
        let wanted = match platform.autoscale().rules().get_mut(&app) {
            Some((rule, scaler)) => scaler.step(*rule, seen),
            None => None,
        };
        if let Some(wanted) = wanted {
            scale(platform, &app, seen, wanted);
        }
    }
}

fn scale(platform: &Platform, app: &AppName, seen: Seen, wanted: u32) {
    let line = match platform.scale(app, wanted) {
        Ok(()) => format!(
            "Scaled web from {} to {wanted}: {} requests wait, and 95 of 100 have waited {} ms at most",
            seen.formation,
            seen.waiting,
            seen.p95.as_millis()
        ),
        Err(error) => format!("web stays at {}: {error:#}", seen.formation),
    };
    platform.logs().add(app, "corundum[autoscale]", &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        min: 2,
        max: 20,
        p95_queue_ms: 100,
    };

    fn seen(formation: u32, live: u32, p95: u64) -> Seen {
        Seen {
            formation,
            live,
            waiting: 0,
            p95: Duration::from_millis(p95),
            free: 1000,
        }
    }

    #[test]
    fn it_grows_fast_to_its_limit_while_requests_wait() {
        let (mut scaler, mut formation, mut steps) = (Scaler::default(), 2, Vec::new());
        while let Some(more) = scaler.step(RULE, seen(formation, formation, 250)) {
            steps.push(more);
            formation = more;
        }
        assert_eq!(steps, [4, 7, 11, 17, 20]);
    }

    #[test]
    fn it_grows_no_further_than_the_node_has_room() {
        let tight = Seen {
            free: 1,
            ..seen(4, 4, 250)
        };
        assert_eq!(Scaler::default().step(RULE, tight), Some(5));
        let full = Seen { free: 0, ..tight };
        assert_eq!(Scaler::default().step(RULE, full), None);
    }

    #[test]
    fn it_does_not_grow_while_it_has_dynos_to_start() {
        // A slow start is waited for as well, and no number of dynos makes it quicker.
        assert_eq!(Scaler::default().step(RULE, seen(10, 3, 250)), None);
        assert_eq!(Scaler::default().step(RULE, seen(10, 10, 99)), None);
    }

    #[test]
    fn it_shrinks_slowly_to_what_is_used() {
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
    fn it_keeps_to_its_bounds_at_once() {
        assert_eq!(Scaler::default().step(RULE, seen(1, 1, 0)), Some(2));
        assert_eq!(Scaler::default().step(RULE, seen(50, 1, 0)), Some(20));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let rule = |min, max, p95_queue_ms| {
            Rule {
                min,
                max,
                p95_queue_ms,
            }
            .check()
        };
        assert!(rule(1, 1, 1).is_ok());
        for (min, max) in [(0, 1), (3, 2), (1, MAX_FORMATION + 1)] {
            assert_eq!(rule(min, max, 100), Err(RuleError::Bounds));
        }
        assert_eq!(rule(1, 2, 0), Err(RuleError::Wait));
        assert_eq!(rule(1, 2, 60_001), Err(RuleError::Wait));
    }
}
