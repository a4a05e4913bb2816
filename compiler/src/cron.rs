//! Scheduled commands of `app.json`.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::command_line::{CommandLineError, ProcessCommandLine};

/// Most scheduled commands of an app.
pub const MAX_JOBS: usize = 100;

/// A command and the times at which it runs, as `app.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CronJob {
    /// The times: five fields as in a crontab, or a name such as `@daily`.
    pub schedule: String,
    /// The command line.
    pub command: String,
    /// The time zone of the times, by its IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// True if a run may start while the one before still goes on.
    #[serde(default)]
    pub overlap: bool,
    /// The treatment of runs whose time passed while the node was down.
    #[serde(default)]
    pub missed: MissedRuns,
}

/// The treatment of missed runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissedRuns {
    /// The command runs once for all of them.
    #[default]
    Once,
    /// The command does not run for them.
    Skip,
}

/// A scheduled command that cannot run. The app's author corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The times cannot be read.
    #[error(
        "\"{schedule}\" is not a schedule: {reason}. Write minute, hour, day of month, month and day of week, as in \"30 4 * * *\""
    )]
    Schedule {
        /// The text.
        schedule: String,
        /// Reason.
        reason: String,
    },
    /// No date has the times.
    #[error("\"{0}\" names a time that never comes")]
    Never(String),
    /// The time zone is unknown.
    #[error("\"{0}\" is not a time zone: write a name of the IANA database, as in Europe/Berlin")]
    TimeZone(String),
    /// The command cannot be carried out.
    #[error(transparent)]
    Command(#[from] CommandLineError),
}

impl CronJob {
    /// Reads the schedule, and checks the command.
    ///
    /// # Errors
    ///
    /// [`CronError`].
    pub fn parse(&self) -> Result<CronSchedule, CronError> {
        ProcessCommandLine::parse(&self.command)?;
        CronSchedule::parse(&self.schedule, self.timezone.as_deref())
    }
}

/// The times of a scheduled command.
///
/// Times with a fixed hour are times of the clock on the wall: when it is set forward over one, the command runs as much later,
/// and when it is set back, the command runs once. Times that come each hour, or each few hours, follow the time that passes.
#[derive(Debug)]
pub struct CronSchedule {
    times: Crontab,
    zone: TimeZone,
    has_fixed_hours: bool,
}

impl CronSchedule {
    /// Reads five fields of a crontab, or one of its names; the zone is UTC if none is given.
    ///
    /// # Errors
    ///
    /// [`CronError`].
    pub fn parse(schedule: &str, timezone: Option<&str>) -> Result<Self, CronError> {
        let invalid = |reason: String| CronError::Schedule {
            schedule: schedule.to_owned(),
            reason,
        };
        let name = timezone.unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| CronError::TimeZone(name.to_owned()))?;
        let fields = match schedule.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let count = fields.split_ascii_whitespace().count();
        if count != 5 {
            return Err(invalid(format!("it has {count} fields, not five")));
        }
        let hours = fields.split_ascii_whitespace().nth(1).unwrap_or_default();
        let has_fixed_hours = !hours.starts_with('*');
        // Times of the clock on the wall are computed as if it were UTC, which is never set.
        let clock = if has_fixed_hours { "UTC" } else { name };
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::None;
        let times = parse_crontab_with(&format!("{fields} {clock}"), options)
            .map_err(|error| invalid(first_line(&error.to_string())))?;
        let schedule_of_times = Self {
            times,
            zone,
            has_fixed_hours,
        };
        match schedule_of_times.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule_of_times),
            None => Err(CronError::Never(schedule.to_owned())),
        }
    }

    /// Returns the first time after `after`; `None` if none comes within four years.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if !self.has_fixed_hours {
            let next = self.times.find_next(after.to_string().as_str()).ok()?;
            return Some(next.timestamp());
        }
        let mut clock = self.zone.to_datetime(after);
        loop {
            clock = self.next_on_clock(clock)?;
            // A time that the clock skips moves forward with it; of two, this is the first.
            let next = self.zone.to_timestamp(clock).ok()?;
            if next > after {
                return Some(next);
            }
        }
    }

    fn next_on_clock(&self, after: DateTime) -> Option<DateTime> {
        let after = TimeZone::UTC.to_timestamp(after).ok()?;
        let next = self.times.find_next(after.to_string().as_str()).ok()?;
        Some(next.datetime())
    }
}

fn first_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = CronSchedule::parse(schedule, Some(zone)).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            at = schedule.next_after(at).unwrap();
            times.push(at.to_string());
        }
        times
    }

    #[test]
    fn times_are_those_of_the_fields_in_the_zone() {
        assert_eq!(
            times("30 4 * * 1-5", "Asia/Tokyo", "2026-11-27T00:00:00Z", 2),
            ["2026-11-29T19:30:00Z", "2026-11-30T19:30:00Z"]
        );
        assert_eq!(
            times("@monthly", "UTC", "2026-11-27T00:00:00Z", 1),
            ["2026-12-01T00:00:00Z"]
        );
        assert_eq!(
            times("*/20 * * * *", "UTC", "2026-11-27T00:19:59.5Z", 2),
            ["2026-11-27T00:20:00Z", "2026-11-27T00:40:00Z"]
        );
        assert_eq!(
            times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1),
            ["2028-02-29T00:00:00Z"]
        );
    }

    #[test]
    fn daily_command_runs_once_when_the_clock_is_set() {
        // The clock skips 02:30 on 29 March, and shows 02:30 twice on 25 October.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // A node that starts between the two has missed the first, and the second is none.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn hourly_command_runs_each_hour_that_passes() {
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2026-10-24T23:40:00Z", 3),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:30:00Z"
            ]
        );
    }

    #[test]
    fn schedules_that_cannot_be_are_rejected_with_their_reason() {
        for schedule in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "a * * * *",
            "@often",
            "* * * * * UTC",
        ] {
            let error = CronSchedule::parse(schedule, None).unwrap_err();
            assert!(
                matches!(error, CronError::Schedule { .. }),
                "{schedule}: {error}"
            );
        }
        let error = CronSchedule::parse("0 0 30 2 *", None).unwrap_err();
        assert_eq!(error, CronError::Never("0 0 30 2 *".to_owned()));
        let error = CronSchedule::parse("* * * * *", Some("Mars/Base")).unwrap_err();
        assert_eq!(error, CronError::TimeZone("Mars/Base".to_owned()));
        let job = |command: &str| CronJob {
            schedule: "@daily".to_owned(),
            command: command.to_owned(),
            timezone: None,
            overlap: false,
            missed: MissedRuns::Once,
        };
        assert!(job("rake a").parse().is_ok());
        assert!(matches!(
            job("rake a | b").parse(),
            Err(CronError::Command(_))
        ));
    }
}
