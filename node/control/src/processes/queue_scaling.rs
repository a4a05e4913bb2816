//! Scaling of workers by the depth of their queue, which a command of the app prints.
//!
//! Every half minute the command runs in a dyno of its own. [`QueueScaler::step`] turns the number into a number of dynos: more at
//! once, fewer when three numbers in a row ask for fewer, since the next jobs may follow soon.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, DynoName, ProcessType};
use corundum_api::autoscale::QueueRule;
use corundum_compiler::command_line::{CommandLineError, ProcessCommandLine};
use corundum_host::log::LogSink;
use corundum_host::memory::MemoryLimits;
use corundum_store::{Fault, HasFault, ProcessScale, ProcessScales, StoreError};
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use super::command::LoggedCommand;
use super::{MAX_QUANTITY, ProcessParts, Processes, is_long_running};

/// Begin of the names under which the store keeps rules, beside an app's settings. The process type follows.
const SETTING: &str = "autoscale.";
/// Time between two runs of a command.
const PERIOD: Duration = Duration::from_secs(30);
/// Time for a run.
const TIMEOUT: Duration = Duration::from_secs(25);
/// Commands that run at once.
const MAX_RUNNING: usize = 4;
/// Consecutive numbers that must ask for fewer dynos.
const CALM: u32 = 3;
/// Most characters of a line of output in a message.
const LONGEST_LINE: usize = 200;

/// An invalid rule. The user is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidQueueRule {
    /// Web dynos are scaled by the time that requests wait.
    #[error("{0} cannot be scaled by a queue: it is not a process type that runs all the time")]
    Process(ProcessType),
    /// A bound is out of range, or the minimum exceeds the maximum.
    #[error("--min and --max are from 0 to {MAX_QUANTITY}, and --min is not above --max")]
    Bounds,
    /// A dyno has to have jobs.
    #[error("--jobs-per-dyno is from 1 to 1000000")]
    Jobs,
    /// The command cannot be run.
    #[error("--command: {0}")]
    Command(#[from] CommandLineError),
}

impl HasFault for InvalidQueueRule {
    fn fault(&self) -> Fault {
        Fault::Client
    }
}

/// Checks a rule.
///
/// # Errors
///
/// [`InvalidQueueRule`].
pub(crate) fn validate(process: &ProcessType, rule: &QueueRule) -> Result<(), InvalidQueueRule> {
    if !is_long_running(process) {
        return Err(InvalidQueueRule::Process(process.clone()));
    }
    if rule.min > rule.max || rule.max > MAX_QUANTITY {
        return Err(InvalidQueueRule::Bounds);
    }
    if !(1..=1_000_000).contains(&rule.jobs_per_dyno) {
        return Err(InvalidQueueRule::Jobs);
    }
    ProcessCommandLine::parse(&rule.command)?;
    Ok(())
}

/// Decides the number of dynos of one process type.
#[derive(Debug, Default, Clone)]
struct QueueScaler {
    /// The largest of the consecutive numbers below the current one, and how many those are.
    lower: Option<(u32, u32)>,
}

impl QueueScaler {
    /// Returns the new number of dynos, if it should change.
    fn step(&mut self, rule: &QueueRule, depth: u64, current: u32) -> Option<u32> {
        let dynos = depth.div_ceil(rule.jobs_per_dyno.max(1).into());
        let wanted = u32::try_from(dynos).unwrap_or(u32::MAX);
        let wanted = wanted.clamp(rule.min, rule.max);
        if wanted >= current || current > rule.max {
            self.lower = None;
            return (wanted != current).then_some(wanted);
        }
        let (largest, count) = self.lower.unwrap_or_default();
        let (largest, count) = (largest.max(wanted), count + 1);
        self.lower = (count < CALM).then_some((largest, count));
        (count == CALM).then_some(largest)
    }
}

type RuleKey = (AppName, ProcessType);

/// Scales the workers of apps that have a rule.
pub(crate) struct QueueScaling {
    parts: ProcessParts,
    rules: Mutex<HashMap<RuleKey, ScaledQueue>>,
    /// Notified when a rule is set.
    changed: Notify,
    /// Number of the last dyno.
    last: AtomicU32,
}

#[derive(Clone)]
struct ScaledQueue {
    rule: QueueRule,
    scaler: QueueScaler,
    /// The failure of the last run, which the log has.
    failure: Option<String>,
}

impl QueueScaling {
    /// Creates the type without rules.
    pub(super) fn new(parts: ProcessParts) -> Self {
        Self {
            parts,
            rules: Mutex::default(),
            changed: Notify::new(),
            last: AtomicU32::new(0),
        }
    }

    /// Returns the rule of a process type, if it has one.
    pub(crate) fn rule(&self, app: &AppName, process: &ProcessType) -> Option<QueueRule> {
        let rules = self.rules();
        let queue = rules.get(&(app.clone(), process.clone()))?;
        Some(queue.rule.clone())
    }

    /// Sets the rule of a process type, or turns its scaling off; the number of dynos stays then.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) fn set(
        &self,
        app: &AppName,
        process: &ProcessType,
        rule: Option<QueueRule>,
    ) -> Result<(), StoreError> {
        let value = rule.as_ref().map(serde_json::to_string).transpose()?;
        let changes = [(format!("{SETTING}{process}"), value)].into();
        self.parts.store.change_settings(app, &changes)?;
        let key = (app.clone(), process.clone());
        match rule {
            Some(rule) => {
                self.rules().insert(key, ScaledQueue::new(rule));
                self.changed.notify_one();
            }
            None => drop(self.rules().remove(&key)),
        }
        Ok(())
    }

    /// Forgets an app.
    pub(super) fn forget(&self, app: &AppName) {
        self.rules().retain(|(name, _), _| name != app);
    }

    /// Scales by the rules of the store and by those that are set later, until the task is aborted.
    pub(crate) async fn run(self: Arc<Self>, processes: Arc<Processes>) {
        if let Err(error) = self.load_all() {
            tracing::error!(%error, "could not read the rules for queues: workers are not scaled");
        }
        let mut interval = tokio::time::interval(PERIOD);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = self.changed.notified() => {}
            }
            let keys: Vec<RuleKey> = self.rules().keys().cloned().collect();
            stream::iter(keys)
                .for_each_concurrent(MAX_RUNNING, |key| self.scale(&processes, key))
                .await;
        }
    }

    fn load_all(&self) -> Result<(), StoreError> {
        let mut rules = HashMap::new();
        for (app, settings) in self.parts.store.all_settings()? {
            for (name, text) in settings {
                let rule = || {
                    let process: ProcessType = name.strip_prefix(SETTING)?.parse().ok()?;
                    let rule: QueueRule = serde_json::from_str(&text).ok()?;
                    validate(&process, &rule).ok()?;
                    Some((process, rule))
                };
                if let Some((process, rule)) = rule() {
                    rules.insert((app.clone(), process), ScaledQueue::new(rule));
                }
            }
        }
        *self.rules() = rules;
        Ok(())
    }

    async fn scale(&self, processes: &Arc<Processes>, key: RuleKey) {
        let Some(ScaledQueue { rule, failure, .. }) = self.rules().get(&key).cloned() else {
            return;
        };
        let (app, process) = &key;
        let result = match self.depth(app, &rule).await {
            Ok(depth) => self.apply(processes, &key, depth),
            Err(reason) => Err(reason),
        };
        // A command that fails again and again has one line.
        if let Err(reason) = &result
            && failure.as_ref() != Some(reason)
        {
            let line = format!("{process} stays as it is: {reason}");
            self.parts.logs.add(app, "corundum[autoscale]", &line);
        }
        if let Some(queue) = self.rules().get_mut(&key) {
            queue.failure = result.err();
        }
    }

    /// Runs the command and returns the number that it prints.
    async fn depth(&self, app: &AppName, rule: &QueueRule) -> Result<u64, String> {
        let release = self.parts.grid.loaded_release(app).await;
        let release = release.ok_or("the app has no release")?;
        let line = ProcessCommandLine::parse(&rule.command).map_err(|error| error.to_string())?;
        let process = "autoscale".parse().unwrap_or_else(|_| ProcessType::web());
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let output = Arc::new(LastLine::default());
        let command = LoggedCommand {
            line,
            release,
            dyno: DynoName { process, number },
            environ: Vec::new(),
            memory: MemoryLimits::of_process(DynoSize::default().memory()),
            log: output.clone(),
        };
        let is_stopped = AtomicBool::new(false);
        let run = command.run(&self.parts.grid, &is_stopped);
        let status = match tokio::time::timeout(TIMEOUT, run).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(format!("{}: {error}", rule.command)),
            Err(_) => {
                let seconds = TIMEOUT.as_secs();
                return Err(format!("{} did not end within {seconds} s", rule.command));
            }
        };
        let last = output.take();
        match last.trim().parse() {
            Ok(depth) if status == 0 => Ok(depth),
            _ => Err(format!(
                "{} has to print the number of waiting jobs as its last line; it ended with status {status} after: {last}",
                rule.command
            )),
        }
    }

    fn apply(&self, processes: &Arc<Processes>, key: &RuleKey, depth: u64) -> Result<(), String> {
        let (app, process) = key;
        let scales = self.parts.store.process_scales(app);
        let scales = scales.map_err(|error| error.to_string())?;
        let scale = scales.get(process).copied().unwrap_or_default();
        let wanted = match self.rules().get_mut(key) {
            Some(queue) => queue.scaler.step(&queue.rule, depth, scale.quantity),
            None => None,
        };
        let Some(quantity) = wanted else {
            return Ok(());
        };
        let change = ProcessScale { quantity, ..scale };
        let changes = ProcessScales::from([(process.clone(), change)]);
        let scaled = processes.scale(app, &changes);
        scaled.map_err(|error| error.to_string())?;
        let before = scale.quantity;
        let line = format!("Scaled {process} from {before} to {quantity}: {depth} jobs wait");
        self.parts.logs.add(app, "corundum[autoscale]", &line);
        Ok(())
    }

    fn rules(&self) -> MutexGuard<'_, HashMap<RuleKey, ScaledQueue>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScaledQueue {
    fn new(rule: QueueRule) -> Self {
        Self {
            rule,
            scaler: QueueScaler::default(),
            failure: None,
        }
    }
}

/// Keeps the last line of a command's output that is not empty.
#[derive(Default)]
struct LastLine(Mutex<String>);

impl LastLine {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for LastLine {
    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if !line.trim().is_empty() {
            let line: String = line.chars().take(LONGEST_LINE).collect();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> QueueRule {
        QueueRule {
            min: 0,
            max: 5,
            command: "rake depth".to_owned(),
            jobs_per_dyno: 100,
        }
    }

    #[test]
    fn dynos_follow_a_growing_queue_at_once() {
        let mut scaler = QueueScaler::default();
        assert_eq!(scaler.step(&rule(), 1, 0), Some(1));
        assert_eq!(scaler.step(&rule(), 100, 1), None);
        assert_eq!(scaler.step(&rule(), 101, 1), Some(2));
        assert_eq!(scaler.step(&rule(), u64::MAX, 2), Some(5));
        assert_eq!(scaler.step(&rule(), u64::MAX, 5), None);
        assert_eq!(scaler.step(&rule(), u64::MAX, 9), Some(5));
    }

    #[test]
    fn dynos_end_when_three_numbers_in_a_row_ask_for_fewer() {
        let mut scaler = QueueScaler::default();
        assert_eq!(scaler.step(&rule(), 0, 4), None);
        assert_eq!(scaler.step(&rule(), 150, 4), None);
        assert_eq!(scaler.step(&rule(), 0, 4), Some(2));
        assert_eq!(scaler.step(&rule(), 0, 2), None);
        assert_eq!(scaler.step(&rule(), 200, 2), None, "the queue grew");
        assert_eq!(scaler.step(&rule(), 0, 2), None);
        assert_eq!(scaler.step(&rule(), 0, 2), None);
        assert_eq!(scaler.step(&rule(), 0, 2), Some(0));
        assert_eq!(scaler.step(&rule(), 0, 0), None);
    }

    #[test]
    fn invalid_rules_are_rejected() {
        let worker: ProcessType = "worker".parse().unwrap();
        assert!(validate(&worker, &rule()).is_ok());
        let message = |process: &ProcessType, rule: QueueRule| {
            let error = validate(process, &rule).unwrap_err();
            error.to_string()
        };
        let web = message(&ProcessType::web(), rule());
        assert!(web.contains("web cannot be scaled by a queue"), "{web}");
        let bounds = message(&worker, QueueRule { min: 6, ..rule() });
        assert!(bounds.contains("--min is not above --max"), "{bounds}");
        let jobs = QueueRule {
            jobs_per_dyno: 0,
            ..rule()
        };
        assert!(message(&worker, jobs).contains("--jobs-per-dyno"));
        let command = QueueRule {
            command: "a | b".to_owned(),
            ..rule()
        };
        assert!(message(&worker, command).contains("--command: "));
    }
}
