//! `redis:info` and `redis:cli`.

use std::process::ExitCode;

use clap::Subcommand;

use super::addons::addon_path;
use super::pg::{info, server_url};
use crate::app_option::AppOption;
use crate::client::ApiClient;
use crate::tunnel::{self, LocalProgram};

/// Commands about Redis.
#[derive(Subcommand)]
pub enum RedisCommand {
    /// Show the Redis servers of the app
    #[command(name = "redis:info")]
    Info {
        #[command(flatten)]
        app: AppOption,
    },
    /// Open a session of redis-cli on a Redis server
    ///
    /// Runs the redis-cli of this machine, which connects through the node. Needs Debian's package redis-tools here.
    ///
    /// Example: corundum redis:cli -- get key
    #[command(name = "redis:cli")]
    Cli {
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = "REDIS_URL")]
        redis: String,
        #[command(flatten)]
        app: AppOption,
        /// Command to run instead of a session, after --
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Runs a command about Redis.
pub(super) fn run(command: RedisCommand, client: &ApiClient) -> anyhow::Result<ExitCode> {
    match command {
        RedisCommand::Info { app } => {
            info(client, &app.name()?, "redis")?;
            Ok(ExitCode::SUCCESS)
        }
        RedisCommand::Cli {
            redis,
            app,
            command,
        } => {
            let app = app.name()?;
            let url = server_url(client, &app, &redis)?;
            let path = format!("{}/tunnel", addon_path(&app, &redis));
            tunnel::run(path, |port| LocalProgram {
                name: "redis-cli",
                package: "redis-tools",
                arguments: ["-h", "127.0.0.1", "-p", &port.to_string()]
                    .map(str::to_owned)
                    .into_iter()
                    .chain(command)
                    .collect(),
                environment: vec![("REDISCLI_AUTH", url.password)],
            })
        }
    }
}
