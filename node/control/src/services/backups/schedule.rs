//! Daily backups.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_compiler::cron::CronSchedule;
use corundum_store::{AddonRecord, BackupOrigin, BackupScheduleRecord, StoreError};
use jiff::Timestamp;
use tokio::time::sleep;

use super::{AddonBackups, BackupOperationError};

/// The time between two looks at the clock, which may be set at any time.
const LOOK: Duration = Duration::from_secs(30);

impl AddonBackups {
    /// Returns the schedules of the add-ons that an app owns.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn schedules(
        &self,
        app: &AppName,
    ) -> Result<Vec<(AddonRecord, BackupScheduleRecord)>, StoreError> {
        let (addons, _) = self.store.readable_addons()?;
        let schedules = self.store.backup_schedules()?.into_iter();
        let listed = schedules.filter_map(|schedule| {
            let mut of_app = addons
                .iter()
                .filter(|addon| addon.app.as_ref() == Some(app));
            let addon = of_app.find(|addon| addon.id == schedule.addon)?;
            Some((addon.clone(), schedule))
        });
        Ok(listed.collect())
    }

    /// Has a backup of an add-on made each day, at a time as `02:00 UTC`.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) fn schedule(
        &self,
        addon: &AddonRecord,
        at: &str,
    ) -> Result<BackupScheduleRecord, BackupOperationError> {
        if self.addons.service(&addon.service)?.dumps().is_none() {
            return Err(BackupOperationError::Unsupported(addon.name.clone()));
        }
        let wrong = || BackupOperationError::Time(at.chars().take(80).collect());
        let (hour, minute, timezone) = parse_time(at).ok_or_else(wrong)?;
        let schedule = BackupScheduleRecord {
            addon: addon.id,
            hour,
            minute,
            timezone,
            planned: Timestamp::now().as_second(),
        };
        times(&schedule).ok_or_else(wrong)?;
        self.store.set_backup_schedule(&schedule)?;
        Ok(schedule)
    }

    /// Ends the daily backups of an add-on. Those that were made stay.
    ///
    /// # Errors
    ///
    /// [`BackupOperationError`].
    pub(crate) fn unschedule(&self, addon: &AddonRecord) -> Result<(), BackupOperationError> {
        match self.store.remove_backup_schedule(addon.id)? {
            true => Ok(()),
            false => Err(BackupOperationError::NoSchedule(addon.name.clone())),
        }
    }

    /// Makes the backups that are due, until the node ends or another process has the store.
    pub(super) async fn follow_schedules(self: &Arc<Self>) {
        while !self.data.is_handed_over() {
            if let Err(error) = self.make_due().await {
                tracing::error!(%error, "could not read the schedules of backups");
            }
            sleep(LOOK).await;
        }
    }

    async fn make_due(self: &Arc<Self>) -> Result<(), StoreError> {
        let now = Timestamp::now();
        for schedule in self.store.backup_schedules()? {
            if !is_due(&schedule, now) {
                continue;
            }
            // Noted before it begins, so that one that kills the node is not tried for ever.
            self.store.set_backup_schedule(&BackupScheduleRecord {
                planned: now.as_second(),
                ..schedule.clone()
            })?;
            let addon = match self.store.addon(schedule.addon) {
                Ok(addon) => addon,
                Err(error) => {
                    tracing::error!(addon = %schedule.addon, %error, "could not begin a daily backup");
                    continue;
                }
            };
            if let Err(error) = self.capture(&addon, BackupOrigin::Scheduled).await {
                tracing::error!(addon = addon.name, %error, "could not begin a daily backup");
            }
        }
        Ok(())
    }
}

/// Returns whether a run is due. Runs that were missed while the node was down are one run.
fn is_due(schedule: &BackupScheduleRecord, now: Timestamp) -> bool {
    let last = Timestamp::from_second(schedule.planned).ok();
    // A clock that was set back does not hold the schedule up.
    let last = last.filter(|last| *last <= now).unwrap_or(now);
    let next = times(schedule).and_then(|times| times.next_after(last));
    next.is_some_and(|next| next <= now)
}

fn times(schedule: &BackupScheduleRecord) -> Option<CronSchedule> {
    let daily = format!("{} {} * * *", schedule.minute, schedule.hour);
    CronSchedule::parse(&daily, Some(&schedule.timezone)).ok()
}

/// Reads a time as `02:00 UTC`; the zone is UTC if none is given.
fn parse_time(text: &str) -> Option<(i8, i8, String)> {
    let (time, timezone) = text.trim().split_once(' ').unwrap_or((text.trim(), "UTC"));
    let (hour, minute) = time.split_once(':').unwrap_or((time, "0"));
    let number = |text: &str, most: i8| {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| text.parse::<i8>().ok())?
            .filter(|number| *number <= most)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    let timezone = timezone.trim();
    let is_zone = (1..=64).contains(&timezone.len()) && timezone.chars().all(plain);
    is_zone.then_some(())?;
    Some((number(hour, 23)?, number(minute, 59)?, timezone.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(at: &str, planned: &str) -> BackupScheduleRecord {
        let (hour, minute, timezone) = parse_time(at).unwrap();
        BackupScheduleRecord {
            addon: uuid::Uuid::new_v4(),
            hour,
            minute,
            timezone,
            planned: planned.parse::<Timestamp>().unwrap().as_second(),
        }
    }

    #[test]
    fn times_have_hour_minute_and_zone() {
        assert_eq!(parse_time("02:30 UTC"), Some((2, 30, "UTC".to_owned())));
        assert_eq!(
            parse_time(" 23:00 Europe/Berlin "),
            Some((23, 0, "Europe/Berlin".to_owned()))
        );
        assert_eq!(parse_time("4"), Some((4, 0, "UTC".to_owned())));
        for text in [
            "",
            "24:00",
            "2:60 UTC",
            "-1:00",
            "2:3x",
            "02:00 a;b",
            "002:00",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert!(times(&schedule("02:00 Nowhere/Else", "2026-01-01T00:00:00Z")).is_none());
    }

    #[test]
    fn each_day_has_one_run_and_missed_ones_are_one() {
        let berlin = schedule("02:30 Europe/Berlin", "2026-01-10T12:00:00Z");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(!is_due(&berlin, at("2026-01-11T01:29:59Z")));
        assert!(is_due(&berlin, at("2026-01-11T01:30:00Z")));
        assert!(is_due(&berlin, at("2026-01-20T00:00:00Z")));
        let again = BackupScheduleRecord {
            planned: at("2026-01-20T00:00:00Z").as_second(),
            ..berlin
        };
        assert!(!is_due(&again, at("2026-01-20T00:00:30Z")));
        // The clock was set back after a run.
        assert!(!is_due(&again, at("2026-01-19T00:00:00Z")));
    }
}
