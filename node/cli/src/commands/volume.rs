//! `volume:snapshots` and the commands below it.

use anyhow::bail;
use clap::Subcommand;
use corundum_api::volume_snapshot::VolumeSnapshotResource;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about volumes.
#[derive(Subcommand)]
pub enum VolumeCommand {
    /// List the snapshots of the app's volume
    #[command(name = "volume:snapshots")]
    List {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Make a snapshot of the app's volume
    ///
    /// A copy as of one moment, as a power cut would leave the files. The app goes on meanwhile.
    #[command(name = "volume:snapshots:capture", visible_alias = "volume:capture")]
    Capture {
        #[command(flatten)]
        app: AppOption,
    },
    /// Return the app's volume to a snapshot
    ///
    /// Replaces the app's dynos. The data before becomes a snapshot.
    #[command(name = "volume:snapshots:restore", visible_alias = "volume:restore")]
    Restore {
        /// Name of the snapshot, as s001
        snapshot: String,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Delete a snapshot for good
    #[command(name = "volume:snapshots:delete")]
    Delete {
        /// Name of the snapshot, as s001
        snapshot: String,
        /// Name of the app, to confirm
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about volumes.
pub(super) fn run(command: VolumeCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        VolumeCommand::List { app, output } => {
            let path = app_path(&app.name()?, "/volume-snapshots");
            let snapshots: Vec<VolumeSnapshotResource> = client.get(&path)?;
            if output.json {
                return print_json(&snapshots);
            }
            if snapshots.is_empty() {
                say!("No snapshots. Make one with corundum volume:snapshots:capture");
                return Ok(());
            }
            let rows = snapshots.into_iter().rev().map(|one| {
                let size = format!("{:.1} MB", one.size_bytes as f64 / 1_048_576.0);
                [one.name, one.created_at.to_string(), size]
            });
            Table::new(["Snapshot", "Created", "Size"])
                .with_rows(rows)
                .print()?;
            Ok(())
        }
        VolumeCommand::Capture { app } => {
            let path = app_path(&app.name()?, "/volume-snapshots");
            let made: VolumeSnapshotResource = client.post(&path, &())?;
            say!("Capturing {}... done", made.name);
            Ok(())
        }
        VolumeCommand::Restore {
            snapshot,
            confirm,
            app,
        } => {
            let app = app.name()?;
            confirmed(&app, confirm.as_deref(), "the volume's data is replaced")?;
            let path = format!("{}/actions/restore", snapshot_path(&app, &snapshot));
            let kept: VolumeSnapshotResource = client.post(&path, &())?;
            say!(
                "Restoring {snapshot}... done; the data before is {}",
                kept.name
            );
            Ok(())
        }
        VolumeCommand::Delete {
            snapshot,
            confirm,
            app,
        } => {
            let app = app.name()?;
            confirmed(&app, confirm.as_deref(), "the snapshot is deleted for good")?;
            let deleted: VolumeSnapshotResource = client.delete(&snapshot_path(&app, &snapshot))?;
            say!("Deleting {}... done", deleted.name);
            Ok(())
        }
    }
}

fn snapshot_path(app: &str, snapshot: &str) -> String {
    app_path(app, &format!("/volume-snapshots/{}", segment(snapshot)))
}

fn confirmed(app: &str, confirm: Option<&str>, what: &str) -> anyhow::Result<()> {
    if confirm != Some(app) {
        bail!("{what}: confirm with --confirm {app}");
    }
    Ok(())
}
