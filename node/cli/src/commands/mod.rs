//! The commands, each in a file of its topic.

#![allow(
    missing_docs,
    reason = "clap makes the help of comments, and flattened variants and fields have none of their own"
)]

mod access;
mod addons;
mod apps;
mod autoscale;
mod builds;
mod cache;
mod certs;
mod certs_auto;
mod config;
mod cron;
mod domains;
mod drains;
mod git_remote;
mod login;
mod logs;
mod maintenance;
mod outbound;
mod pg;
mod ps;
mod redis;
mod releases;
mod rollback;
mod run;
mod settings;
mod storage;
mod upgrade;
mod usage;
mod volume;

use std::process::ExitCode;

use clap::Subcommand;

use crate::app_option::AppOption;
use crate::client::ApiClient;

/// A command that talks to a node.
#[derive(Subcommand)]
pub enum ClientCommand {
    #[command(flatten)]
    Apps(apps::AppsCommand),
    #[command(flatten)]
    Addons(addons::AddonsCommand),
    #[command(flatten)]
    Pg(pg::PgCommand),
    #[command(flatten)]
    Redis(redis::RedisCommand),
    #[command(flatten)]
    Volume(volume::VolumeCommand),
    #[command(flatten)]
    Access(access::AccessCommand),
    #[command(flatten)]
    Config(config::ConfigCommand),
    #[command(flatten)]
    Domains(domains::DomainsCommand),
    #[command(flatten)]
    Cache(cache::CacheCommand),
    #[command(flatten)]
    Certs(certs::CertsCommand),
    #[command(flatten)]
    CertsAuto(certs_auto::CertsAutoCommand),
    #[command(flatten)]
    Settings(settings::SettingsCommand),
    #[command(flatten)]
    Maintenance(maintenance::MaintenanceCommand),
    #[command(flatten)]
    Drains(drains::DrainsCommand),
    #[command(flatten)]
    Outbound(outbound::OutboundCommand),
    #[command(flatten)]
    Storage(storage::StorageCommand),
    #[command(flatten)]
    Upgrade(upgrade::UpgradeCommand),
    #[command(flatten)]
    Ps(ps::PsCommand),
    #[command(flatten)]
    Autoscale(autoscale::AutoscaleCommand),
    Builds(builds::BuildsArguments),
    Logs(logs::LogsArguments),
    Releases(releases::ReleasesArguments),
    Rollback(rollback::RollbackArguments),
    Cron(cron::CronArguments),
    Usage(usage::UsageArguments),
    Run(run::RunArguments),
    #[command(name = "run:detached")]
    RunDetached(run::detached::DetachedArguments),
    /// Add the git remote of an app to this repository
    #[command(name = "git:remote")]
    GitRemote(AppOption),
    Login(login::LoginArguments),
}

impl ClientCommand {
    /// Runs the command and returns the exit status of its process.
    ///
    /// # Errors
    ///
    /// The node does not answer or refuses the request, or standard output is closed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let client = ApiClient::new();
        match self {
            Self::Apps(command) => apps::run(command, &client)?,
            Self::Addons(command) => addons::run(command, &client)?,
            Self::Pg(command) => return pg::run(command, &client),
            Self::Redis(command) => return redis::run(command, &client),
            Self::Volume(command) => volume::run(command, &client)?,
            Self::Access(command) => access::run(command, &client)?,
            Self::Config(command) => config::run(command, &client)?,
            Self::Domains(command) => domains::run(command, &client)?,
            Self::Cache(command) => cache::run(command, &client)?,
            Self::Certs(command) => certs::run(command, &client)?,
            Self::CertsAuto(command) => certs_auto::run(command, &client)?,
            Self::Settings(command) => settings::run(command, &client)?,
            Self::Maintenance(command) => maintenance::run(command, &client)?,
            Self::Drains(command) => drains::run(command, &client)?,
            Self::Outbound(command) => outbound::run(command, &client)?,
            Self::Storage(command) => storage::run(command, &client)?,
            Self::Upgrade(command) => upgrade::run(command, &client)?,
            Self::Ps(command) => ps::run(command, &client)?,
            Self::Autoscale(command) => autoscale::run(command, &client)?,
            Self::Builds(arguments) => builds::run(arguments, &client)?,
            Self::Logs(arguments) => logs::run(arguments, &client)?,
            Self::Releases(arguments) => releases::run(arguments, &client)?,
            Self::Rollback(arguments) => rollback::run(arguments, &client)?,
            Self::Cron(arguments) => cron::run(arguments, &client)?,
            Self::Usage(arguments) => usage::run(arguments, &client)?,
            Self::Run(arguments) => return run::run(arguments, &client),
            Self::RunDetached(arguments) => run::detached::run(arguments, &client)?,
            Self::GitRemote(app) => git_remote::run(app, &client)?,
            Self::Login(arguments) => login::run(arguments, &client)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
