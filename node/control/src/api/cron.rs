//! Endpoint of scheduled commands.

use corundum_api::cron::CronResource;
use corundum_store::AppRecord;

use super::response::{ApiResult, ok};
use crate::processes::Processes;

/// Lists an app's scheduled commands, the next run first.
pub(super) fn list(processes: &Processes, app: &AppRecord) -> ApiResult {
    let commands = processes.schedule().of_app(&app.name)?;
    let resources = commands.into_iter().map(|command| CronResource {
        schedule: command.job.schedule,
        timezone: command.job.timezone.unwrap_or_else(|| "UTC".to_owned()),
        command: command.job.command,
        overlap: command.job.overlap,
        next_at: command.next,
        last_at: command.last,
    });
    ok(&resources.collect::<Vec<_>>())
}
