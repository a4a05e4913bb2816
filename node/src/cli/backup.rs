//! `backup` and `restore`: a node as one archive.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corundum_control::storage::{backup, restore};

/// Arguments of `backup`.
#[derive(Args)]
pub(super) struct BackupArguments {
    /// File to write, as node.tar.zst; it must not exist
    file: PathBuf,
    /// Back up this data directory
    #[arg(
        long,
        value_name = "DIR",
        env = "CORUNDUM_DATA_DIR",
        default_value = "corundum-data"
    )]
    data_dir: PathBuf,
}

/// Arguments of `restore`.
#[derive(Args)]
pub(super) struct RestoreArguments {
    /// File that `corundum backup` has written
    file: PathBuf,
    /// Restore into this directory, which is empty or does not exist
    #[arg(
        long,
        value_name = "DIR",
        env = "CORUNDUM_DATA_DIR",
        default_value = "corundum-data"
    )]
    data_dir: PathBuf,
}

/// Makes a backup.
pub(super) fn back_up(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    let done = backup::run(&arguments.data_dir, &arguments.file)?;
    println!(
        "Backing up {}... done, {} apps, {} files, {:.1} MB in {}",
        arguments.data_dir.display(),
        done.apps,
        done.files,
        done.archive as f64 / f64::from(1 << 20),
        arguments.file.display()
    );
    println!("The archive holds config vars and private keys: keep it as safe as the node.");
    warn(&done.damaged);
    Ok(ExitCode::SUCCESS)
}

/// Restores a backup.
pub(super) fn restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let done = restore::run(&arguments.file, &arguments.data_dir)?;
    let data = arguments.data_dir.display();
    println!(
        "Restoring {data}... done, {} apps as of {}",
        done.apps, done.created_at
    );
    println!("Start the node: corundum server --data-dir {data}");
    warn(&done.damaged);
    Ok(ExitCode::SUCCESS)
}

fn warn(damaged: &[String]) {
    for problem in damaged {
        eprintln!(" !    {problem}");
    }
}
