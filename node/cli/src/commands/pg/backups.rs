//! `pg:backups` and the commands below it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use corundum_api::addon_backup::{
    AddonBackupCreate, AddonBackupResource, AddonBackupRestore, BackupScheduleCreate,
    BackupScheduleResource,
};
use corundum_api::reference::NamedRef;

use super::DATABASE;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about backups of databases.
#[derive(Subcommand)]
pub enum BackupsCommand {
    /// List the backups of the app's databases
    #[command(name = "pg:backups")]
    List {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Make a backup of a database
    #[command(name = "pg:backups:capture")]
    Capture {
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = DATABASE)]
        database: String,
        /// Return at once; the backup goes on on the node
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        app: AppOption,
    },
    /// Show a backup
    #[command(name = "pg:backups:info")]
    Info {
        /// Name of the backup, as b001 [default: the last complete one]
        backup: Option<String>,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Download a backup: a file for pg_restore
    #[command(name = "pg:backups:download")]
    Download {
        /// Name of the backup, as b001 [default: the last complete one]
        backup: Option<String>,
        /// File to write, which must not exist [default: the backup's name and .dump]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Replace the data of a database by those of a backup
    ///
    /// The data stays as it was if the backup cannot be restored as a whole. Connections to the database end.
    #[command(name = "pg:backups:restore")]
    Restore {
        /// Name of the backup, as b001 [default: the last complete one]
        backup: Option<String>,
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = DATABASE)]
        database: String,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Delete a backup for good
    #[command(name = "pg:backups:delete")]
    Delete {
        /// Name of the backup, as b001
        backup: String,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Have a backup made each day
    ///
    /// The last seven of these backups are kept.
    ///
    /// Example: corundum pg:backups:schedule --at '02:00 Europe/Berlin'
    #[command(name = "pg:backups:schedule")]
    Schedule {
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = DATABASE)]
        database: String,
        /// Time of the day and time zone
        #[arg(long, value_name = "TIME")]
        at: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// End the daily backups of a database
    #[command(name = "pg:backups:unschedule")]
    Unschedule {
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = DATABASE)]
        database: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// List the daily backups of the app
    #[command(name = "pg:backups:schedules")]
    Schedules {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
}

/// Runs a command about backups.
pub(super) fn run(command: BackupsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        BackupsCommand::List { app, output } => list(client, &app.name()?, output),
        BackupsCommand::Capture {
            database,
            detach,
            app,
        } => capture(client, &app.name()?, database, detach),
        BackupsCommand::Info {
            backup,
            app,
            output,
        } => {
            let app = app.name()?;
            let name = named_or_last(client, &app, backup)?;
            let backup: AddonBackupResource = client.get(&backup_path(&app, &name))?;
            if output.json {
                return print_json(&backup);
            }
            say!("=== {}", backup.name);
            say!("Add-on: {}", backup.addon.name);
            say!("State: {}", backup.state);
            say!("Origin: {}", backup.origin);
            say!("Size: {}", megabytes(backup.size_bytes));
            say!("Created: {}", backup.created_at);
            if let Some(at) = backup.finished_at {
                say!("Finished: {at}");
            }
            if let Some(message) = backup.message {
                say!("Message: {message}");
            }
            Ok(())
        }
        BackupsCommand::Download {
            backup,
            output,
            app,
        } => {
            let app = app.name()?;
            let name = named_or_last(client, &app, backup)?;
            let file = output.unwrap_or_else(|| PathBuf::from(format!("{name}.dump")));
            download(
                client,
                &format!("{}/content", backup_path(&app, &name)),
                &file,
            )?;
            say!("Downloaded {name} to {}", file.display());
            Ok(())
        }
        BackupsCommand::Restore {
            backup,
            database,
            confirm,
            app,
        } => {
            let app = app.name()?;
            let name = named_or_last(client, &app, backup)?;
            let request = AddonBackupRestore {
                addon: database.clone(),
                confirm,
            };
            let path = format!("{}/actions/restore", backup_path(&app, &name));
            let restored: AddonBackupResource = client.post(&path, &request)?;
            say!("Restoring {} to {database}... done", restored.name);
            Ok(())
        }
        BackupsCommand::Delete {
            backup,
            confirm,
            app,
        } => {
            let app = app.name()?;
            if confirm.as_deref() != Some(&*app) {
                bail!("{backup} is deleted for good: confirm with --confirm {app}");
            }
            let deleted: AddonBackupResource = client.delete(&backup_path(&app, &backup))?;
            say!("Deleting {}... done", deleted.name);
            Ok(())
        }
        BackupsCommand::Schedule { database, at, app } => {
            let request = BackupScheduleCreate {
                addon: database,
                at,
            };
            let path = app_path(&app.name()?, "/backup-schedules");
            let made: BackupScheduleResource = client.post(&path, &request)?;
            say!(
                "Scheduling backups of {} at {}... done",
                made.addon.name,
                made.at
            );
            Ok(())
        }
        BackupsCommand::Unschedule { database, app } => {
            let path = format!("/backup-schedules/{}", segment(&database));
            let addon: NamedRef = client.delete(&app_path(&app.name()?, &path))?;
            say!("Ending the daily backups of {}... done", addon.name);
            Ok(())
        }
        BackupsCommand::Schedules { app, output } => {
            let path = app_path(&app.name()?, "/backup-schedules");
            let schedules: Vec<BackupScheduleResource> = client.get(&path)?;
            if output.json {
                return print_json(&schedules);
            }
            if schedules.is_empty() {
                say!(
                    "No daily backups. Add some with corundum pg:backups:schedule --at '02:00 UTC'"
                );
                return Ok(());
            }
            let rows = schedules.into_iter().map(|one| [one.addon.name, one.at]);
            Table::new(["Add-on", "Time"]).with_rows(rows).print()?;
            Ok(())
        }
    }
}

fn backup_path(app: &str, name: &str) -> String {
    app_path(app, &format!("/addon-backups/{}", segment(name)))
}

fn all(client: &ApiClient, app: &str) -> anyhow::Result<Vec<AddonBackupResource>> {
    client.get(&app_path(app, "/addon-backups"))
}

/// Returns the name that a user gives, or the one of the last complete backup.
fn named_or_last(client: &ApiClient, app: &str, name: Option<String>) -> anyhow::Result<String> {
    if let Some(name) = name {
        return Ok(name);
    }
    let mut backups = all(client, app)?.into_iter();
    let last = backups.rfind(|one| one.state == "completed");
    let last = last.context("the app has no complete backup: corundum pg:backups:capture")?;
    Ok(last.name)
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let backups = all(client, app)?;
    if output.json {
        return print_json(&backups);
    }
    if backups.is_empty() {
        say!("No backups. Make one with corundum pg:backups:capture");
        return Ok(());
    }
    let rows = backups.into_iter().rev().map(|backup| {
        [
            backup.name,
            backup.created_at.to_string(),
            backup.message.map_or(backup.state.clone(), |message| {
                format!("{}: {message}", backup.state)
            }),
            megabytes(backup.size_bytes),
            backup.addon.name,
            backup.origin,
        ]
    });
    Table::new(["Backup", "Created", "State", "Size", "Add-on", "Origin"])
        .with_rows(rows)
        .print()?;
    Ok(())
}

fn capture(client: &ApiClient, app: &str, database: String, detach: bool) -> anyhow::Result<()> {
    let request = AddonBackupCreate { addon: database };
    let mut backup: AddonBackupResource =
        client.post(&app_path(app, "/addon-backups"), &request)?;
    let (name, addon) = (backup.name.clone(), backup.addon.name.clone());
    if detach {
        say!("Backing up {addon} to {name}; see corundum pg:backups:info {name}");
        return Ok(());
    }
    while backup.state == "running" {
        std::thread::sleep(Duration::from_millis(300));
        backup = client.get(&backup_path(app, &name))?;
    }
    if backup.state != "completed" {
        bail!("{name} failed: {}", backup.message.unwrap_or_default());
    }
    say!(
        "Backing up {addon} to {name}... done, {}",
        megabytes(backup.size_bytes)
    );
    Ok(())
}

/// Writes a backup to a new file, which only its owner can read; a part of one is removed.
fn download(client: &ApiClient, path: &str, file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let (length, mut content) = client.content(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut to = options
        .open(file)
        .with_context(|| file.display().to_string())?;
    let copied = io::copy(&mut content, &mut to).and_then(|copied| {
        to.flush()?;
        Ok(copied)
    });
    match copied {
        Ok(copied) if length.is_none_or(|length| length == copied) => Ok(()),
        other => {
            let _ = std::fs::remove_file(file);
            other.with_context(|| file.display().to_string())?;
            bail!("the node ended before the backup was complete: try again")
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1_048_576.0)
}
