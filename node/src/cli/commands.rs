//! The commands that talk to a node.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use corundum_abi::run_stream::{self, RunFrame};
use serde_json::{Map, Value, json};

use super::client::{Client, app_name};
use super::{Command, Form, figures, table};

/// Prints a line; a reader that has gone is an error like others, and no panic.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($part)*)?
    }};
}
pub(super) use say;

/// Runs a command of the API.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    let status = ExitCode::SUCCESS;
    match command {
        Command::Create { name } => create(&client, name)?,
        Command::Apps(form) => apps(&client, form)?,
        Command::Info { app, form } => info(&client, &app_name(app.app)?, form)?,
        Command::Destroy { app, confirm } => destroy(&client, &app_name(app.app)?, confirm)?,
        Command::Config { app, form } => config(&client, &app_name(app.app)?, form)?,
        Command::ConfigSet { pairs, app } => config_set(&client, &app_name(app.app)?, &pairs)?,
        Command::ConfigGet { name, app } => config_get(&client, &app_name(app.app)?, &name)?,
        Command::ConfigUnset { names, app } => {
            let changes = names.into_iter().map(|name| (name, Value::Null)).collect();
            change_config(&client, &app_name(app.app)?, changes)?;
        }
        Command::Ps { app, form } => ps(&client, &app_name(app.app)?, form)?,
        Command::PsScale { formation, app } => scale(&client, &app_name(app.app)?, &formation)?,
        Command::PsAutoscale {
            min: Some(min),
            max: Some(max),
            p95_queue,
            app,
            ..
        } => {
            let rule = json!({"min": min, "max": max, "p95_queue_ms": p95_queue});
            autoscale(&client, &app_name(app.app)?, Some(&rule))?;
        }
        Command::PsAutoscale { app, .. } | Command::PsAutoscaleDisable(app) => {
            autoscale(&client, &app_name(app.app)?, None)?;
        }
        Command::PsRestart(app) => {
            let app = app_name(app.app)?;
            client.call("POST", &format!("/v1/apps/{app}/restart"), Some(&json!({})))?;
            say!("Restarting dynos on {app}... done");
            say_url(&client, &app)?;
        }
        Command::Logs { tail, num, app } => {
            let follow = if tail { "&tail=1" } else { "" };
            let path = format!("/v1/apps/{}/logs?num={num}{follow}", app_name(app.app)?);
            let mut lines = client.stream("GET", &path, None)?;
            std::io::copy(&mut lines, &mut std::io::stdout())?;
        }
        Command::Releases { app, form } => releases(&client, &app_name(app.app)?, form)?,
        Command::Rollback { version, app } => rollback(&client, &app_name(app.app)?, version)?,
        Command::Run { app, command } => return one_off(&client, &app_name(app.app)?, &command),
        Command::GitRemote(app) => {
            let app = client.call("GET", &format!("/v1/apps/{}", app_name(app.app)?), None)?;
            add_remote(&app)?;
        }
        Command::Login => {
            client.login()?;
            say!("Logged in: the token is in ~/.netrc");
        }
        Command::OfCerts(_)
        | Command::OfAutoCerts(_)
        | Command::OfCache(_)
        | Command::OfDomains(_)
        | Command::OfDrains(_)
        | Command::OfMaintenance(_)
        | Command::OfSettings(_)
        | Command::Packs(_)
        | Command::PacksPrepare { .. }
        | Command::Pack(_)
        | Command::Server(_)
        | Command::Completions { .. }
        | Command::Compile
        | Command::GitHook { .. } => {
            bail!("not a command of the API");
        }
    }
    Ok(status)
}

/// Prints where the app is served.
fn say_url(client: &Client, app: &str) -> anyhow::Result<()> {
    let app = client.call("GET", &format!("/v1/apps/{app}"), None)?;
    say!("{}", shown(&app["web_url"]));
    Ok(())
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn print_json(value: &Value) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn create(client: &Client, name: Option<String>) -> anyhow::Result<()> {
    let app = client.call("POST", "/v1/apps", Some(&json!({"name": name})))?;
    say!("Creating app... done, {}", shown(&app["name"]));
    say!("{} | {}", shown(&app["web_url"]), shown(&app["git_url"]));
    let inside = std::process::Command::new("git")
        .args(["rev-parse", "--git-dir"])
        .output();
    if inside.is_ok_and(|output| output.status.success()) {
        add_remote(&app)?;
    } else {
        say!(
            "This is no git repository, so no remote was added. In one: corundum git:remote -a {}",
            shown(&app["name"])
        );
    }
    Ok(())
}

fn add_remote(app: &Value) -> anyhow::Result<()> {
    let url = shown(&app["git_url"]);
    let git = |arguments: &[&str]| std::process::Command::new("git").args(arguments).output();
    let set = git(&["remote", "set-url", "corundum", &url])?
        .status
        .success();
    if !set {
        let added = git(&["remote", "add", "corundum", &url])?;
        anyhow::ensure!(
            added.status.success(),
            "git: {}",
            String::from_utf8_lossy(&added.stderr).trim()
        );
    }
    say!("Git remote corundum -> {url}");
    Ok(())
}

fn apps(client: &Client, form: Form) -> anyhow::Result<()> {
    let apps = client.call("GET", "/v1/apps", None)?;
    if form.json {
        return print_json(&apps);
    }
    let rows: Vec<Vec<String>> = apps
        .as_array()
        .into_iter()
        .flatten()
        .map(|app| {
            vec![
                shown(&app["name"]),
                shown(&app["release"]),
                shown(&app["ruby"]),
                shown(&app["web_url"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        say!("There are no apps. Create one with: corundum create");
    } else {
        table::print(&["App", "Release", "Ruby", "URL"], &rows)?;
    }
    Ok(())
}

fn info(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let app = client.call("GET", &format!("/v1/apps/{app}"), None)?;
    if form.json {
        return print_json(&app);
    }
    say!("=== {}", shown(&app["name"]));
    for (label, value) in [
        ("Created At", &app["created_at"]),
        ("Web URL", &app["web_url"]),
        ("Git URL", &app["git_url"]),
        ("Release", &app["release"]),
        ("Ruby", &app["ruby"]),
        ("Web dynos", &app["formation"]["web"]),
    ] {
        say!("{:12} {}", format!("{label}:"), shown(value));
    }
    say!(
        "{:12} {}",
        "Cache hits:",
        super::cache::ratio(&app["cache"])
    );
    say!();
    table::print(&figures::APP_HEADING, &figures::app_rows(&app["figures"]))?;
    Ok(())
}

fn destroy(client: &Client, app: &str, confirm: Option<String>) -> anyhow::Result<()> {
    if confirm.as_deref() != Some(app) {
        bail!(
            "This deletes {app} with all its releases, and cannot be undone.\nIf you mean it: corundum apps:destroy --app {app} --confirm {app}"
        );
    }
    client.call("DELETE", &format!("/v1/apps/{app}"), None)?;
    say!("Destroying {app}... done");
    Ok(())
}

fn config(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let config = client.call("GET", &format!("/v1/apps/{app}/config"), None)?;
    if form.json {
        return print_json(&config);
    }
    say!("=== {app} Config Vars");
    for (name, value) in config.as_object().into_iter().flatten() {
        say!("{name}: {}", shown(value));
    }
    Ok(())
}

fn config_get(client: &Client, app: &str, name: &str) -> anyhow::Result<()> {
    let config = client.call("GET", &format!("/v1/apps/{app}/config"), None)?;
    if let Some(value) = config.get(name) {
        say!("{}", shown(value));
    }
    Ok(())
}

fn config_set(client: &Client, app: &str, pairs: &[String]) -> anyhow::Result<()> {
    let mut changes = Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .with_context(|| format!("\"{pair}\" is invalid: write NAME=VALUE"))?;
        changes.insert(name.to_owned(), json!(value));
    }
    change_config(client, app, changes)
}

fn change_config(client: &Client, app: &str, changes: Map<String, Value>) -> anyhow::Result<()> {
    let names: Vec<String> = changes.keys().cloned().collect();
    let answer = client.call(
        "PATCH",
        &format!("/v1/apps/{app}/config"),
        Some(&Value::Object(changes)),
    )?;
    let release = answer["release"]
        .as_u64()
        .map(|version| format!(", v{version}"))
        .unwrap_or_default();
    say!("Setting {} on {app}... done{release}", names.join(", "));
    say_url(client, app)
}

fn ps(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let dynos = client.call("GET", &format!("/v1/apps/{app}/dynos"), None)?;
    if form.json {
        return print_json(&dynos);
    }
    let rows: Vec<Vec<String>> = dynos
        .as_array()
        .into_iter()
        .flatten()
        .map(|dyno| {
            let memory = dyno["memory_bytes"].as_u64().unwrap_or(0) >> 20;
            let mut row = vec![
                shown(&dyno["name"]),
                shown(&dyno["state"]),
                shown(&dyno["release"]),
                format!("{} s", shown(&dyno["age_seconds"])),
                shown(&dyno["served"]),
                format!("{memory} MB"),
            ];
            row.extend(figures::dyno_cells(dyno));
            row
        })
        .collect();
    if rows.is_empty() {
        say!("No dynos of {app} are up: they start with the first request.");
    } else {
        let mut heading = vec!["Dyno", "State", "Release", "Age", "Served", "Memory"];
        heading.extend(figures::DYNO_HEADING);
        table::print(&heading, &rows)?;
    }
    let info = client.call("GET", &format!("/v1/apps/{app}"), None)?;
    let web = shown(&info["formation"]["web"]);
    match &info["autoscale"] {
        Value::Null => say!("web: {web} dynos at most"),
        rule => say!("web: {web} dynos at most, autoscaled: {}", rule_words(rule)),
    }
    say_url(client, app)
}

fn scale(client: &Client, app: &str, formation: &str) -> anyhow::Result<()> {
    let number = formation
        .strip_prefix("web=")
        .and_then(|number| number.parse::<u32>().ok());
    let number = number
        .with_context(|| format!("\"{formation}\" is invalid: write web=NUMBER, as in web=4"))?;
    client.call(
        "PATCH",
        &format!("/v1/apps/{app}/formation"),
        Some(&json!({"web": number})),
    )?;
    say!("Scaling dynos... done, now running web at {number}");
    say_url(client, app)
}

/// Sets an app's rule, or turns autoscaling off.
fn autoscale(client: &Client, app: &str, rule: Option<&Value>) -> anyhow::Result<()> {
    let method = if rule.is_some() { "PUT" } else { "DELETE" };
    client.call(method, &format!("/v1/apps/{app}/autoscale"), rule)?;
    match rule {
        Some(rule) => say!("Autoscaling web on {app}... done, {}", rule_words(rule)),
        None => say!("Autoscaling web on {app}... off"),
    }
    say_url(client, app)
}

fn rule_words(rule: &Value) -> String {
    let word = |name: &str| shown(&rule[name]);
    format!(
        "{} to {} dynos, for a p95 of waiting of {} ms",
        word("min"),
        word("max"),
        word("p95_queue_ms")
    )
}

fn releases(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let releases = client.call("GET", &format!("/v1/apps/{app}/releases"), None)?;
    if form.json {
        return print_json(&releases);
    }
    let rows: Vec<Vec<String>> = releases
        .as_array()
        .into_iter()
        .flatten()
        .map(|release| {
            vec![
                format!("v{}", shown(&release["version"])),
                shown(&release["description"]),
                shown(&release["created_at"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        say!("{app} has no releases. Make one with: git push corundum main");
    } else {
        table::print(&["Release", "Description", "Created"], &rows)?;
    }
    Ok(())
}

fn rollback(client: &Client, app: &str, version: Option<String>) -> anyhow::Result<()> {
    let version = version
        .map(|text| text.parse::<corundum_abi::names::ReleaseVersion>())
        .transpose()?;
    let release = client.call(
        "POST",
        &format!("/v1/apps/{app}/rollback"),
        Some(&json!({"version": version})),
    )?;
    say!(
        "Rolling back {app}... done, v{} ({})",
        shown(&release["version"]),
        shown(&release["description"])
    );
    say_url(client, app)
}

/// Prints what the command prints, and ends with its status.
fn one_off(client: &Client, app: &str, command: &[String]) -> anyhow::Result<ExitCode> {
    let body = json!({"command": command});
    let mut stream = client.stream("POST", &format!("/v1/apps/{app}/run"), Some(&body))?;
    let mut out = std::io::stdout().lock();
    let gone = "the node went away while the command ran";
    loop {
        let mut head = [0; run_stream::HEAD];
        stream.read_exact(&mut head).context(gone)?;
        match run_stream::parse(head).context("the node does not answer like a Corundum node")? {
            RunFrame::Output(length) => {
                let length = u64::from(length);
                let copied = std::io::copy(&mut stream.by_ref().take(length), &mut out)?;
                anyhow::ensure!(copied == length, gone);
                out.flush()?;
            }
            RunFrame::Status(status) => {
                return Ok(ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1)));
            }
        }
    }
}
