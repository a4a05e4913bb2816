//! `addons` and the commands below it.

mod sign_in;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;
use corundum_api::addon::{
    AddonAttachmentCreate, AddonAttachmentResource, AddonCreate, AddonDelete, AddonFact,
    AddonPlanResource, AddonResource, AddonServiceResource, AddonSignIn, AddonUpdate,
    AttachmentName,
};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// The time that --wait waits.
const WAIT: Duration = Duration::from_secs(600);

/// Commands about add-ons.
#[derive(Subcommand)]
pub enum AddonsCommand {
    /// List the add-ons of the app
    Addons {
        /// List the add-ons of all apps
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Create an add-on and attach it to the app
    ///
    /// Sets the add-on's config vars, which makes a release, and lets the app connect to it. Without a plan, the add-on has
    /// the service's default plan.
    ///
    /// Example: corundum addons:create postgres:mini
    #[command(name = "addons:create")]
    Create {
        /// Service, or service and plan as SERVICE:PLAN
        plan: String,
        /// Name with which the config vars begin [default: the service's, as DATABASE]
        #[arg(long = "as", value_name = "NAME")]
        attachment: Option<String>,
        /// Wait until the add-on is provisioned
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        app: AppOption,
        /// Options for the service's provider, after --, as in -- --region=eu
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Show an add-on
    #[command(name = "addons:info")]
    Info {
        /// Name of the add-on or of its attachment
        addon: String,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Attach an add-on of another app, or under another name
    #[command(name = "addons:attach")]
    Attach {
        /// Name of the add-on
        addon: String,
        /// Name with which the config vars begin [default: the service's, or one with a colour]
        #[arg(long = "as", value_name = "NAME")]
        attachment: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Take an attachment from the app; the add-on and its data stay
    #[command(name = "addons:detach")]
    Detach {
        /// Name of the attachment
        attachment: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Remove an add-on and its data for good
    #[command(name = "addons:destroy")]
    Destroy {
        /// Name of the add-on or of its attachment
        addon: String,
        /// Name of the app that owns the add-on, to confirm
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Give an add-on new credentials
    ///
    /// Releases the attached apps with them. The old credentials stay valid until no app has them.
    #[command(name = "addons:rotate")]
    Rotate {
        /// Name of the add-on or of its attachment
        addon: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Change the plan of an add-on
    #[command(name = "addons:upgrade")]
    Upgrade {
        /// Name of the add-on or of its attachment
        addon: String,
        /// Plan
        plan: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Print the URL of an add-on's page, if its provider has one
    ///
    /// The page is a file that only you can read. A browser that opens it signs you in at the provider, for some minutes.
    #[command(name = "addons:open")]
    Open {
        /// Name of the add-on or of its attachment
        addon: String,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// List the services that the node offers
    #[command(name = "addons:services")]
    Services {
        #[command(flatten)]
        output: OutputOption,
    },
    /// List the plans of a service
    #[command(name = "addons:plans")]
    Plans {
        /// Name of the service
        service: String,
        #[command(flatten)]
        output: OutputOption,
    },
}

/// Runs a command about add-ons.
pub(super) fn run(command: AddonsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        AddonsCommand::Addons {
            all: true, output, ..
        } => list(client, "/v1/addons", output),
        AddonsCommand::Addons { app, output, .. } => {
            list(client, &app_path(&app.name()?, "/addons"), output)
        }
        AddonsCommand::Create {
            plan,
            attachment,
            wait,
            app,
            options,
        } => {
            let request = AddonCreate {
                plan,
                attachment: attachment.map(|name| AttachmentName { name: Some(name) }),
                config: Some(read_options(&options)?).filter(|options| !options.is_empty()),
            };
            create(client, &app.name()?, &request, wait)
        }
        AddonsCommand::Info { addon, app, output } => {
            info(client, &addon_path(&app.name()?, &addon), output)
        }
        AddonsCommand::Attach {
            addon,
            attachment,
            app,
        } => {
            let request = AddonAttachmentCreate {
                addon,
                app: app.name()?,
                name: attachment,
            };
            let made: AddonAttachmentResource = client.post("/v1/addon-attachments", &request)?;
            let (addon, app) = (&made.addon.name, &made.app.name);
            say!("Attaching {addon} as {} to {app}... done", made.name);
            say!("Setting {}", made.config_vars.join(", "));
            Ok(())
        }
        AddonsCommand::Detach { attachment, app } => {
            let path = format!("/addon-attachments/{}", segment(&attachment));
            let removed: AddonAttachmentResource = client.delete(&app_path(&app.name()?, &path))?;
            let (addon, app) = (&removed.addon.name, &removed.app.name);
            say!("Detaching {} ({addon}) from {app}... done", removed.name);
            Ok(())
        }
        AddonsCommand::Destroy {
            addon,
            confirm,
            app,
        } => {
            let path = addon_path(&app.name()?, &addon);
            let removed: AddonResource =
                client.call("DELETE", &path, Some(&AddonDelete { confirm }))?;
            say!("Destroying {}... done", removed.name);
            Ok(())
        }
        AddonsCommand::Rotate { addon, app } => {
            let path = format!("{}/actions/rotate", addon_path(&app.name()?, &addon));
            let rotated: AddonResource = client.post(&path, &())?;
            say!("Rotating the credentials of {}... done", rotated.name);
            Ok(())
        }
        AddonsCommand::Upgrade { addon, plan, app } => {
            let path = addon_path(&app.name()?, &addon);
            let changed: AddonResource = client.patch(&path, &AddonUpdate { plan })?;
            say!("Changing {} to {}... done", changed.name, changed.plan.name);
            Ok(())
        }
        AddonsCommand::Open { addon, app, output } => {
            let path = format!("{}/sso", addon_path(&app.name()?, &addon));
            let form: AddonSignIn = client.get(&path)?;
            if output.json {
                return print_json(&form);
            }
            say!("file://{}", sign_in::write_page(&form)?.display());
            Ok(())
        }
        AddonsCommand::Services { output } => {
            let services: Vec<AddonServiceResource> = client.get("/v1/addon-services")?;
            if output.json {
                return print_json(&services);
            }
            if services.is_empty() {
                say!("The node offers no services: see [services] in docs/addons.md");
                return Ok(());
            }
            let rows = services.into_iter().map(|one| [one.name, one.human_name]);
            Table::new(["Service", "Name"]).with_rows(rows).print()?;
            Ok(())
        }
        AddonsCommand::Plans { service, output } => {
            let path = format!("/v1/addon-services/{}/plans", segment(&service));
            let plans: Vec<AddonPlanResource> = client.get(&path)?;
            if output.json {
                return print_json(&plans);
            }
            let rows = plans.into_iter().map(|plan| {
                let default = if plan.default { "default" } else { "" };
                [plan.name, plan.description, default.to_owned()]
            });
            Table::new(["Plan", "Limits", ""]).with_rows(rows).print()?;
            Ok(())
        }
    }
}

/// Reads options in the form `--NAME=VALUE`.
fn read_options(options: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let read = |option: &String| {
        let pair = option
            .strip_prefix("--")
            .and_then(|pair| pair.split_once('='));
        let pair = pair.with_context(|| format!("{option}: write options as --NAME=VALUE"))?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    };
    options.iter().map(read).collect()
}

/// Returns the path of an add-on of an app.
pub(super) fn addon_path(app: &str, addon: &str) -> String {
    app_path(app, &format!("/addons/{}", segment(addon)))
}

fn list(client: &ApiClient, path: &str, output: OutputOption) -> anyhow::Result<()> {
    let addons: Vec<AddonResource> = client.get(path)?;
    if output.json {
        return print_json(&addons);
    }
    if addons.is_empty() {
        say!(
            "No add-ons. Create one with corundum addons:create; corundum addons:services lists what there is"
        );
        return Ok(());
    }
    let rows = addons.into_iter().map(|addon| {
        let app = addon
            .app
            .map(|app| app.name.to_string())
            .unwrap_or_default();
        [
            addon.name,
            addon.plan.name,
            addon.state,
            app,
            addon.config_vars.join(", "),
        ]
    });
    Table::new(["Add-on", "Plan", "State", "App", "Config vars"])
        .with_rows(rows)
        .print()?;
    Ok(())
}

fn create(client: &ApiClient, app: &str, request: &AddonCreate, wait: bool) -> anyhow::Result<()> {
    let mut addon: AddonResource = client.post(&app_path(app, "/addons"), request)?;
    let deadline = Instant::now() + WAIT;
    while wait && addon.state == "provisioning" {
        if Instant::now() > deadline {
            bail!(
                "{}: still provisioning after ten minutes; see corundum addons:info",
                addon.name
            );
        }
        std::thread::sleep(Duration::from_secs(1));
        addon = client.get(&addon_path(app, &addon.name))?;
    }
    say!("Creating {} on {app}... {}", addon.plan.name, addon.state);
    match addon.state.as_str() {
        "provisioned" => say!("Created {} as {}", addon.name, addon.config_vars.join(", ")),
        "provisioning" => say!(
            "{} gets its config vars, which makes a release, when its provider is ready: see corundum addons:info {0}",
            addon.name
        ),
        state => bail!(
            "{}: its provider could not create it; it is {state}",
            addon.name
        ),
    }
    Ok(())
}

fn info(client: &ApiClient, path: &str, output: OutputOption) -> anyhow::Result<()> {
    let addon: AddonResource = client.get(path)?;
    if output.json {
        return print_json(&addon);
    }
    say!("=== {}", addon.name);
    say!("Plan: {}", addon.plan.name);
    say!("State: {}", addon.state);
    if let Some(app) = &addon.app {
        say!("Owner: {}", app.name);
    }
    say!("Config vars: {}", addon.config_vars.join(", "));
    say!("Created: {}", addon.created_at);
    if addon.state != "provisioned" {
        return Ok(());
    }
    let facts: Vec<AddonFact> = client.get(&format!("{path}/info"))?;
    for fact in facts {
        say!("{}: {}", fact.name, fact.value);
    }
    Ok(())
}
