//! The schedule of a node: the commands of `cron` in each app's `app.json`, at their times.
//!
//! A run is noted in the store before it starts, so that it never happens twice; a node that is killed in the middle of a run
//! does not repeat it. The clock may be set at any time: due times are compared with it twice a minute at least.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, DynoName, ProcessType};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_compiler::cron::{CronJob, CronSchedule, MissedRuns};
use corundum_host::memory::MemoryLimits;
use corundum_store::StoreError;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::ProcessParts;
use super::jobs::{Job, Jobs};

/// Scheduled commands that run at once on a node. Others wait for their end.
const MAX_RUNNING: usize = 64;
/// Scheduled commands of one app that run at once.
const MAX_RUNNING_OF_APP: u32 = 4;
/// Longest time between two looks at the clock.
const LOOK: Duration = Duration::from_secs(30);
/// Lateness in seconds from which a run counts as missed.
const LATE: i64 = 120;

/// A scheduled command of an app, and its runs.
#[derive(Debug, Clone)]
pub(crate) struct ScheduledCommand {
    pub(crate) job: CronJob,
    /// Time of the next run.
    pub(crate) next: Option<Timestamp>,
    /// Time for which the last run was planned.
    pub(crate) last: Option<Timestamp>,
}

/// The schedule of all apps.
pub(crate) struct CommandSchedule {
    parts: ProcessParts,
    jobs: Arc<Jobs>,
    state: Mutex<ScheduleState>,
    changed: Notify,
    /// Number of the last dyno.
    last: AtomicU32,
}

#[derive(Default)]
struct ScheduleState {
    planned: HashMap<JobKey, PlannedJob>,
    /// Times of runs, the first one on top. Entries whose time is not that of their job any more are stale.
    times: BinaryHeap<Reverse<(Timestamp, JobKey)>>,
    /// Due runs, each with the time that it was planned for.
    due: VecDeque<(JobKey, Timestamp)>,
    /// Running commands by app.
    running: HashMap<AppName, u32>,
    /// True while no command may start.
    is_stopped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct JobKey {
    app: AppName,
    /// A digest of the command and its times.
    digest: String,
}

struct PlannedJob {
    job: CronJob,
    times: CronSchedule,
    next: Option<Timestamp>,
    /// Runs that wait or go on.
    runs: u32,
}

impl ScheduleState {
    fn plan(&mut self, key: &JobKey, next: Option<Timestamp>) {
        if let Some(planned) = self.planned.get_mut(key) {
            planned.next = next;
            self.times
                .extend(next.map(|next| Reverse((next, key.clone()))));
        }
    }

    /// Moves the runs whose time has come to the queue. Returns the lines of the log that say which are left out.
    fn collect_due(&mut self, now: Timestamp) -> Vec<(JobKey, String)> {
        let mut lines = Vec::new();
        while let Some(Reverse((at, key))) = self.times.peek()
            && *at <= now
        {
            let (at, key) = (*at, key.clone());
            self.times.pop();
            let Some(planned) = self
                .planned
                .get_mut(&key)
                .filter(|job| job.next == Some(at))
            else {
                continue;
            };
            let command = &planned.job.command;
            let is_late = now.as_second() - at.as_second() > LATE;
            let line = if is_late && planned.job.missed == MissedRuns::Skip {
                Some(format!(
                    "Scheduled command `{command}` was due at {at} and does not run so late"
                ))
            } else if planned.runs > 0 && !planned.job.overlap {
                Some(format!(
                    "Scheduled command `{command}` still runs: the run of {at} is left out"
                ))
            } else {
                planned.runs += 1;
                self.due.push_back((key.clone(), at));
                None
            };
            lines.extend(line.map(|line| (key.clone(), line)));
            let next = planned.times.next_after(now);
            self.plan(&key, next);
        }
        lines
    }

    /// Takes the first due run that may start.
    fn take_runnable(&mut self) -> Option<(JobKey, Timestamp, CronJob)> {
        loop {
            let running: u32 = self.running.values().sum();
            if self.is_stopped || running as usize >= MAX_RUNNING {
                return None;
            }
            let place = self.due.iter().position(|(key, _)| {
                self.running.get(&key.app).copied().unwrap_or_default() < MAX_RUNNING_OF_APP
            })?;
            let (key, at) = self.due.remove(place)?;
            // The release that asked for it may be gone.
            if let Some(planned) = self.planned.get(&key) {
                let job = planned.job.clone();
                *self.running.entry(key.app.clone()).or_default() += 1;
                return Some((key, at, job));
            }
        }
    }

    fn finish(&mut self, key: &JobKey) {
        if let Some(planned) = self.planned.get_mut(key) {
            planned.runs = planned.runs.saturating_sub(1);
        }
        if let Entry::Occupied(mut running) = self.running.entry(key.app.clone()) {
            *running.get_mut() -= 1;
            if *running.get() == 0 {
                running.remove();
            }
        }
    }
}

impl CommandSchedule {
    pub(crate) fn new(parts: ProcessParts, jobs: Arc<Jobs>) -> Self {
        Self {
            parts,
            jobs,
            state: Mutex::default(),
            changed: Notify::new(),
            last: AtomicU32::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, ScheduleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permits commands to start, or holds them back.
    pub(super) fn set_stopped(&self, is_stopped: bool) {
        self.state().is_stopped = is_stopped;
        self.changed.notify_one();
    }

    /// Plans the commands of all apps.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn load_all(&self) -> Result<(), StoreError> {
        for (app, release) in self.parts.store.current_releases()?.releases {
            if !release.about.cron.is_empty() {
                self.set(&app, release.about.cron)?;
            }
        }
        Ok(())
    }

    /// Plans the commands of an app's current release in place of those that it had.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub(crate) fn set(&self, app: &AppName, jobs: Vec<CronJob>) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let store = &self.parts.store;
        let last_runs = store.last_runs(app)?;
        if jobs.is_empty() && last_runs.is_empty() {
            self.forget(app);
            return Ok(());
        }
        let mut wanted = HashMap::new();
        for job in jobs {
            let key = JobKey {
                app: app.clone(),
                digest: digest(&job),
            };
            // The push has checked it; a zone may be gone from the database since.
            let times = match job.parse() {
                Ok(times) => times,
                Err(error) => {
                    tracing::warn!(%app, %error, "could not plan a scheduled command");
                    continue;
                }
            };
            let last = last_runs.get(&key.digest).copied();
            if last.is_none() {
                // Times before the command's first release are not missed.
                store.set_last_run(app, &key.digest, -now.as_second())?;
            }
            let last = last.and_then(|last| Timestamp::from_second(last.saturating_abs()).ok());
            let next = times.next_after(last.unwrap_or(now));
            wanted.insert(key, (job, times, next));
        }
        let kept: Vec<String> = wanted.keys().map(|key| key.digest.clone()).collect();
        store.keep_last_runs(app, &kept)?;
        let mut state = self.state();
        state
            .planned
            .retain(|key, _| key.app != *app || wanted.contains_key(key));
        for (key, (job, times, next)) in wanted {
            match state.planned.entry(key.clone()) {
                // Its next time stays, but whether runs may overlap can have changed.
                Entry::Occupied(mut planned) => planned.get_mut().job = job,
                Entry::Vacant(entry) => {
                    entry.insert(PlannedJob {
                        job,
                        times,
                        next,
                        runs: 0,
                    });
                    state.plan(&key, next);
                }
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Forgets the commands of an app. Those that run go on.
    pub(crate) fn forget(&self, app: &AppName) {
        self.state().planned.retain(|key, _| key.app != *app);
    }

    /// Returns an app's commands, the next run first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn of_app(&self, app: &AppName) -> Result<Vec<ScheduledCommand>, StoreError> {
        let last_runs = self.parts.store.last_runs(app)?;
        let state = self.state();
        let planned = state.planned.iter().filter(|(key, _)| key.app == *app);
        let mut commands: Vec<ScheduledCommand> = planned
            .map(|(key, planned)| ScheduledCommand {
                job: planned.job.clone(),
                next: planned.next,
                last: (last_runs.get(&key.digest))
                    .filter(|at| **at > 0)
                    .and_then(|at| Timestamp::from_second(*at).ok()),
            })
            .collect();
        commands.sort_by_key(|command| command.next);
        Ok(commands)
    }

    /// Starts commands at their times, until the task is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let now = Timestamp::now();
            let (lines, next) = {
                let mut state = self.state();
                let lines = state.collect_due(now);
                let next = state.times.peek().map(|Reverse((at, _))| *at);
                (lines, next)
            };
            for (key, line) in lines {
                self.log(&key.app, &line);
                self.note_run(&key, now);
            }
            while let Some((key, at, job)) = { self.state().take_runnable() } {
                self.start(key, at, job);
            }
            let pause = next.map_or(LOOK, |next| {
                let until = next.duration_since(Timestamp::now());
                Duration::try_from(until).unwrap_or_default().min(LOOK)
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn start(self: &Arc<Self>, key: JobKey, at: Timestamp, job: CronJob) {
        // A late run stands for all that were due before it.
        let noted = self.note_run(&key, at.max(Timestamp::now()));
        let line = ProcessCommandLine::parse(&job.command);
        let line = match (noted, line) {
            (true, Ok(line)) => line,
            (false, _) => return self.state().finish(&key),
            (true, Err(error)) => {
                self.log(
                    &key.app,
                    &format!("Scheduled command does not run: {error}"),
                );
                return self.state().finish(&key);
            }
        };
        let process = "scheduler".parse().unwrap_or_else(|_| ProcessType::web());
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let dyno = DynoName { process, number };
        let log = self.parts.grid.dyno_log(&key.app, &dyno);
        log.platform_line(&format!("Starting process with command `{}`", job.command));
        let schedule = self.clone();
        self.parts.runtime.spawn(async move {
            let job = Job {
                app: key.app.clone(),
                dyno,
                line,
                environ: Vec::new(),
                memory: MemoryLimits::of_process(DynoSize::default().memory()),
            };
            schedule.jobs.run(job).await;
            schedule.state().finish(&key);
            schedule.changed.notify_one();
        });
    }

    /// Notes that a command runs, or is left out, at a time. Returns whether the store has it.
    fn note_run(&self, key: &JobKey, at: Timestamp) -> bool {
        let noted = (self.parts.store).set_last_run(&key.app, &key.digest, at.as_second());
        if let Err(error) = &noted {
            let line = format!("A scheduled command does not run: {error}");
            self.log(&key.app, &line);
        }
        noted.is_ok()
    }

    fn log(&self, app: &AppName, line: &str) {
        self.parts.logs.add(app, "corundum[scheduler]", line);
    }
}

/// Names a scheduled command by what it does and when.
fn digest(job: &CronJob) -> String {
    let mut hash = Sha256::new();
    let zone = job.timezone.as_deref().unwrap_or_default();
    for part in [&job.schedule, &job.command, zone] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(schedule: &str, overlap: bool, missed: MissedRuns) -> CronJob {
        CronJob {
            schedule: schedule.to_owned(),
            command: "rake a".to_owned(),
            timezone: None,
            overlap,
            missed,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Plans a job that runs each minute, with the first run at second 60.
    fn plan(state: &mut ScheduleState, app: &str, job: CronJob) -> JobKey {
        let key = JobKey {
            app: app.parse().unwrap(),
            digest: digest(&job),
        };
        let times = job.parse().unwrap();
        let planned = PlannedJob {
            job,
            times,
            next: None,
            runs: 0,
        };
        state.planned.insert(key.clone(), planned);
        state.plan(&key, Some(at(60)));
        key
    }

    #[test]
    fn command_that_still_runs_is_left_out_unless_it_may_overlap() {
        let mut state = ScheduleState::default();
        let key = plan(
            &mut state,
            "one-app",
            job("* * * * *", false, MissedRuns::Once),
        );
        assert_eq!(state.collect_due(at(59)), []);
        assert_eq!(state.collect_due(at(60)), []);
        assert!(state.take_runnable().is_some());
        let lines = state.collect_due(at(121));
        assert!(lines[0].1.contains("still runs"), "{lines:?}");
        assert!(state.take_runnable().is_none());
        state.finish(&key);
        assert_eq!(state.collect_due(at(181)), []);
        assert!(state.take_runnable().is_some());

        let mut state = ScheduleState::default();
        plan(
            &mut state,
            "one-app",
            job("* * * * *", true, MissedRuns::Once),
        );
        for second in [60, 120, 180] {
            assert_eq!(state.collect_due(at(second)), []);
            assert!(state.take_runnable().is_some());
        }
    }

    #[test]
    fn clock_that_jumps_forward_causes_one_run_or_none() {
        let mut state = ScheduleState::default();
        plan(
            &mut state,
            "one-app",
            job("* * * * *", true, MissedRuns::Once),
        );
        state.collect_due(at(100_000));
        assert!(state.take_runnable().is_some());
        assert!(state.take_runnable().is_none());
        // The clock is set back: nothing runs before the time that comes next.
        assert_eq!(state.collect_due(at(70)), []);
        assert!(state.take_runnable().is_none());
        let mut state = ScheduleState::default();
        plan(
            &mut state,
            "one-app",
            job("* * * * *", true, MissedRuns::Skip),
        );
        let lines = state.collect_due(at(100_000));
        assert!(lines[0].1.contains("does not run so late"), "{lines:?}");
        assert!(state.take_runnable().is_none());
    }

    #[test]
    fn ten_thousand_due_commands_wait_for_places_in_fair_shares() {
        let mut state = ScheduleState::default();
        for number in 0..100 {
            for minute in 0..100 {
                let mut job = job("* * * * *", false, MissedRuns::Once);
                job.command = format!("rake a{minute}");
                plan(&mut state, &format!("app-{number}"), job);
            }
        }
        assert_eq!(state.collect_due(at(60)), []);
        let mut keys = Vec::new();
        while let Some((key, ..)) = state.take_runnable() {
            keys.push(key);
        }
        assert_eq!(keys.len(), MAX_RUNNING);
        let of_one = keys.iter().filter(|key| key.app == keys[0].app).count();
        assert!(of_one <= MAX_RUNNING_OF_APP as usize, "{of_one}");
        let mut runs = keys.len();
        while let Some(key) = keys.pop() {
            state.finish(&key);
            if let Some((key, ..)) = state.take_runnable() {
                runs += 1;
                keys.push(key);
            }
        }
        assert_eq!(runs, 10_000);
        assert!(state.running.is_empty());
    }
}
