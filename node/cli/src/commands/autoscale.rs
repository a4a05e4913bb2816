//! `ps:autoscale`, `ps:autoscale:enable` and `ps:autoscale:disable`.

use anyhow::bail;
use clap::Subcommand;
use corundum_abi::names::ProcessType;
use corundum_api::app::AppResource;
use corundum_api::autoscale::{AutoscaleRule, QueueRule};

use super::apps::print_url;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::say;

/// Commands about autoscaling.
#[derive(Subcommand)]
pub enum AutoscaleCommand {
    /// Scale web dynos by the time that requests wait for one, and workers by their queue
    ///
    /// web: While the 95th percentile of queue time exceeds --p95-queue, the most web dynos grow by 50 % every ten seconds,
    /// up to --max and to the node's capacity. After three minutes without waiting, they shrink by one each minute, down to
    /// --min. `corundum ps` shows the rule.
    ///
    /// Other process types: Every half minute, --command runs in a dyno of its own and prints the number of waiting jobs as its
    /// last line. There is a dyno for each --jobs-per-dyno of them, from --min to --max; --min 0 lets the workers sleep while no
    /// job waits.
    ///
    /// Examples:
    ///   corundum ps:autoscale web --min 2 --max 20 --p95-queue 50
    ///   corundum ps:autoscale worker --min 0 --max 5 --command "rake queue:depth" --jobs-per-dyno 50
    ///   corundum ps:autoscale worker --off
    #[command(
        name = "ps:autoscale",
        visible_alias = "ps:autoscale:enable",
        verbatim_doc_comment
    )]
    Enable {
        /// Process type to scale
        #[arg(default_value = "web")]
        process: ProcessType,
        /// Fewest dynos
        #[arg(long, requires = "max")]
        min: Option<u32>,
        /// Most dynos
        #[arg(long, requires = "min")]
        max: Option<u32>,
        /// Target for the 95th percentile of queue time of web, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 100)]
        p95_queue: u32,
        /// Command line that prints the number of waiting jobs
        #[arg(long, value_name = "LINE", requires = "max")]
        command: Option<String>,
        /// Waiting jobs for each dyno
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        jobs_per_dyno: u32,
        /// Turn autoscaling off; the app keeps its current number of dynos
        #[arg(long, conflicts_with_all = ["min", "max", "command"])]
        off: bool,
        #[command(flatten)]
        app: AppOption,
    },
    /// Turn autoscaling off
    #[command(name = "ps:autoscale:disable", hide = true)]
    Disable {
        /// Process type
        #[arg(default_value = "web")]
        process: ProcessType,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about autoscaling.
pub(super) fn run(command: AutoscaleCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        AutoscaleCommand::Enable {
            process,
            min,
            max,
            p95_queue,
            command,
            jobs_per_dyno,
            off,
            app,
        } => {
            let app = app.name()?;
            let is_web = process == ProcessType::web();
            match (min.zip(max), command) {
                (Some((min, max)), None) if is_web => {
                    let rule = AutoscaleRule {
                        min,
                        max,
                        p95_queue_ms: p95_queue,
                    };
                    enable(client, &app, &rule)
                }
                (Some((min, max)), Some(command)) if !is_web => {
                    let rule = QueueRule {
                        min,
                        max,
                        command,
                        jobs_per_dyno,
                    };
                    enable_queue(client, &app, &process, &rule)
                }
                (Some(_), Some(_)) => bail!("--command is for other process types than web"),
                (Some(_), None) => {
                    bail!("--command is needed for {process}: it prints the number of waiting jobs")
                }
                (None, _) if off => disable(client, &app, &process),
                (None, _) => show(client, &app, &process),
            }
        }
        AutoscaleCommand::Disable { process, app } => disable(client, &app.name()?, &process),
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

fn queue_path(app: &str, process: &ProcessType) -> String {
    app_path(app, &format!("/autoscale/{process}"))
}

fn describe_queue(rule: &QueueRule) -> String {
    format!(
        "{} to {} dynos, one for each {} jobs of `{}`",
        rule.min, rule.max, rule.jobs_per_dyno, rule.command
    )
}

fn enable_queue(
    client: &ApiClient,
    app: &str,
    process: &ProcessType,
    rule: &QueueRule,
) -> anyhow::Result<()> {
    let rule: QueueRule = client.call("PUT", &queue_path(app, process), Some(rule))?;
    say!(
        "Autoscaling {process} on {app}... done, {}",
        describe_queue(&rule)
    );
    Ok(())
}

fn show(client: &ApiClient, app: &str, process: &ProcessType) -> anyhow::Result<()> {
    let rule = if *process == ProcessType::web() {
        let app: AppResource = client.get(&app_path(app, ""))?;
        app.autoscale.as_ref().map(describe)
    } else {
        let rule: QueueRule = client.get(&queue_path(app, process))?;
        Some(describe_queue(&rule))
    };
    match rule {
        Some(rule) => say!("{process} on {app}: {rule}"),
        None => say!("{process} on {app} is not scaled: turn it on with --min and --max"),
    }
    Ok(())
}

fn disable(client: &ApiClient, app: &str, process: &ProcessType) -> anyhow::Result<()> {
    if *process != ProcessType::web() {
        let _: QueueRule = client.delete(&queue_path(app, process))?;
        say!("Autoscaling {process} on {app}... off");
        return Ok(());
    }
    let app: AppResource = client.delete(&app_path(app, "/autoscale"))?;
    say!("Autoscaling web on {}... off", app.name);
    print_url(&app)
}
