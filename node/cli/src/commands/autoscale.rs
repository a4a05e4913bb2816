//! `ps:autoscale`, `ps:autoscale:enable` and `ps:autoscale:disable`.

use clap::Subcommand;
use corundum_api::app::AppResource;
use corundum_api::autoscale::AutoscaleRule;

use super::apps::print_url;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::say;

/// Commands about autoscaling.
#[derive(Subcommand)]
pub enum AutoscaleCommand {
    /// Scale web dynos by the time that requests wait for one
    ///
    /// While the 95th percentile of queue time exceeds --p95-queue, the most web dynos grow by 50 % every ten seconds, up
    /// to --max and to the node's capacity. After three minutes without waiting, they shrink by one each minute, down to
    /// --min. `corundum ps` shows the rule. [default: off]
    ///
    /// Example: corundum ps:autoscale web --min 2 --max 20 --p95-queue 50
    #[command(name = "ps:autoscale", visible_alias = "ps:autoscale:enable")]
    Enable {
        /// Process type to scale; only web dynos are scaled
        #[arg(default_value = "web", value_parser = ["web"])]
        process: String,
        /// Fewest web dynos
        #[arg(long, required_unless_present = "off")]
        min: Option<u32>,
        /// Most web dynos
        #[arg(long, required_unless_present = "off")]
        max: Option<u32>,
        /// Target for the 95th percentile of queue time, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 100)]
        p95_queue: u32,
        /// Turn autoscaling off; the app keeps its current number of web dynos
        #[arg(long, conflicts_with_all = ["min", "max"])]
        off: bool,
        #[command(flatten)]
        app: AppOption,
    },
    /// Turn autoscaling off
    #[command(name = "ps:autoscale:disable", hide = true)]
    Disable(AppOption),
}

/// Runs a command about autoscaling.
pub(super) fn run(command: AutoscaleCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        AutoscaleCommand::Enable {
            min: Some(min),
            max: Some(max),
            p95_queue,
            app,
            ..
        } => {
            let rule = AutoscaleRule {
                min,
                max,
                p95_queue_ms: p95_queue,
            };
            enable(client, &app.name()?, &rule)
        }
        AutoscaleCommand::Enable { app, .. } | AutoscaleCommand::Disable(app) => {
            disable(client, &app.name()?)
        }
    }
}

/// Describes a rule for people.
pub(super) fn describe(rule: &AutoscaleRule) -> String {
    format!(
        "{} to {} dynos, for a p95 queue time of {} ms",
        rule.min, rule.max, rule.p95_queue_ms
    )
}

fn enable(client: &ApiClient, app: &str, rule: &AutoscaleRule) -> anyhow::Result<()> {
    let app: AppResource = client.call("PUT", &app_path(app, "/autoscale"), Some(rule))?;
    say!(
        "Autoscaling web on {}... done, {}",
        app.name,
        describe(app.autoscale.as_ref().unwrap_or(rule))
    );
    print_url(&app)
}

fn disable(client: &ApiClient, app: &str) -> anyhow::Result<()> {
    let app: AppResource = client.delete(&app_path(app, "/autoscale"))?;
    say!("Autoscaling web on {}... off", app.name);
    print_url(&app)
}
