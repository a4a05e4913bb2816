//! `storage` and `storage:prune`.

use clap::{Args, Subcommand};
use corundum_abi::names::AppName;
use corundum_api::storage::{AppStorage, StoragePrune, StoragePruned, StorageResource};

use crate::client::ApiClient;
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::size;

/// Commands about the node's disk.
#[derive(Subcommand)]
pub enum StorageCommand {
    /// Show what apps and the node take on disk
    ///
    /// A slug that several apps use counts for each of them. The node keeps an app's newest releases (--keep-releases of
    /// corundum server), and refuses pushes to an app that takes more than its quota (--app-quota).
    #[command(name = "storage")]
    Show(OutputOption),
    /// Free disk: remove old releases, collect repositories, sweep what nothing names
    ///
    /// Files go to the trash, which the node empties after --trash-hours. The current release always stays.
    ///
    /// Example: corundum storage:prune --app myapp --keep 3
    #[command(name = "storage:prune")]
    Prune(PruneArguments),
}

/// Arguments of `storage:prune`.
#[derive(Args)]
pub struct PruneArguments {
    /// App to prune [default: all apps]
    #[arg(short, long)]
    app: Option<AppName>,
    /// Keep this many releases of each app [default: --keep-releases of the node]
    #[arg(long, value_name = "NUMBER")]
    keep: Option<u32>,
    /// Delete what is in the trash at once
    #[arg(long)]
    empty_trash: bool,
    #[command(flatten)]
    output: OutputOption,
}

/// Runs a command about the node's disk.
pub(super) fn run(command: StorageCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        StorageCommand::Show(output) => show(client, output),
        StorageCommand::Prune(arguments) => prune(client, arguments),
    }
}

fn show(client: &ApiClient, output: OutputOption) -> anyhow::Result<()> {
    let mut storage: StorageResource = client.get("/v1/storage")?;
    if output.json {
        return print_json(&storage);
    }
    storage.apps.sort_by_key(|app| std::cmp::Reverse(app.bytes));
    Table::new(["App", "Releases", "Repository", "Slugs", "Image", "Total"])
        .with_rows(storage.apps.iter().map(row))
        .print()?;
    say!();
    say!("Store:       {}", size(storage.store));
    say!("Full images: {}", size(storage.full_images));
    say!("Gems:        {}", size(storage.gems));
    say!("Work:        {}", size(storage.work));
    say!("Trash:       {}", size(storage.trash));
    say!("Free:        {}", size(storage.free));
    if let Some(quota) = storage.app_quota {
        say!("An app may take {}.", size(quota));
    }
    for problem in &storage.problems {
        say!(" !    {problem}");
    }
    if !storage.problems.is_empty() {
        say!(" !    The node deletes nothing until this is repaired.");
    }
    Ok(())
}

fn row(storage: &AppStorage) -> [String; 6] {
    [
        storage.app.name.to_string(),
        storage.releases.to_string(),
        size(storage.repository),
        size(storage.slugs),
        size(storage.image),
        size(storage.bytes),
    ]
}

fn prune(client: &ApiClient, arguments: PruneArguments) -> anyhow::Result<()> {
    let request = StoragePrune {
        app: arguments.app,
        keep: arguments.keep,
        empty_trash: arguments.empty_trash,
    };
    let pruned: StoragePruned = client.post("/v1/storage/prune", &request)?;
    if arguments.output.json {
        return print_json(&pruned);
    }
    say!(
        "Pruning... done, {} releases removed, {} repositories collected, {} unused files moved to the trash",
        pruned.releases,
        pruned.repositories,
        pruned.files
    );
    say!(
        "{} deleted, {} in the trash",
        size(pruned.deleted),
        size(pruned.trash)
    );
    Ok(())
}
