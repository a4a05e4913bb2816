//! The command line: what a user types, and what it prints.

mod client;
mod commands;
mod netrc;
mod packs;
mod server;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// Corundum: git push a Ruby app, and dynos answer in a millisecond.
///
/// In a git repository: `corundum create myapp`, `git push corundum main`, and the app is served at
/// http://myapp.localhost:8080/. The app is found by `--app`, by CORUNDUM_APP, or by the repository's git remote.
///
/// Files: ~/.netrc holds the token (git reads it too). Environment: CORUNDUM_API is the node
/// (http://127.0.0.1:8081), CORUNDUM_APP the app, CORUNDUM_CACHE where prepared packs are kept.
#[derive(Parser)]
#[command(name = "corundum", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Which app a command is for.
#[derive(Args, Clone)]
struct App {
    /// The app; otherwise that of the git remote `corundum`
    #[arg(short, long, env = "CORUNDUM_APP")]
    app: Option<String>,
}

/// How a listing is printed.
#[derive(Args, Clone, Copy)]
struct Form {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node
    ///
    /// Serves apps on --http, and the API and git on --api, until SIGINT or SIGTERM; running requests then have ten
    /// seconds to end. The first push of an app on a Ruby version prepares its pack, which takes a minute
    /// (`corundum packs:prepare` does it ahead).
    ///
    /// Each setting may also stand in corundum.toml, as in: domain = "apps.example"
    Server(server::Arguments),
    /// Create an app, and the git remote `corundum` in this repository
    #[command(name = "create", visible_alias = "apps:create")]
    Create {
        /// Its name; one is made up if none is given
        name: Option<String>,
    },
    /// List the apps
    Apps(Form),
    /// Show an app
    #[command(name = "apps:info", visible_alias = "info")]
    Info {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Delete an app with its releases
    #[command(name = "apps:destroy", visible_alias = "destroy")]
    Destroy {
        #[command(flatten)]
        app: App,
        /// The app's name once more, since this cannot be undone
        #[arg(long)]
        confirm: Option<String>,
    },
    /// Show the config vars
    Config {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Set config vars: a new release, without a build
    #[command(name = "config:set")]
    ConfigSet {
        /// NAME=VALUE
        #[arg(required = true)]
        pairs: Vec<String>,
        #[command(flatten)]
        app: App,
    },
    /// Show one config var
    #[command(name = "config:get")]
    ConfigGet {
        /// Its name
        name: String,
        #[command(flatten)]
        app: App,
    },
    /// Unset config vars
    #[command(name = "config:unset")]
    ConfigUnset {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: App,
    },
    /// List the dynos
    Ps {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Say how many web dynos an app may have
    #[command(name = "ps:scale")]
    PsScale {
        /// web=NUMBER
        formation: String,
        #[command(flatten)]
        app: App,
    },
    /// Replace the dynos by fresh ones
    #[command(name = "ps:restart", visible_alias = "restart")]
    PsRestart(App),
    /// Show the log
    Logs {
        /// Follow it
        #[arg(short, long)]
        tail: bool,
        /// Lines to begin with
        #[arg(short, long, default_value_t = 100)]
        num: usize,
        #[command(flatten)]
        app: App,
    },
    /// List the releases
    Releases {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Make an older release the current one, under a new number
    Rollback {
        /// Which, as v12; the one before the current if none is given
        version: Option<String>,
        #[command(flatten)]
        app: App,
    },
    /// Run a command in a dyno of its own, as in: corundum run ruby -e 'puts 42'
    Run {
        #[command(flatten)]
        app: App,
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Add the git remote of an app to this repository
    #[command(name = "git:remote")]
    GitRemote(App),
    /// Prepare a Ruby pack, so that no push has to wait for it
    #[command(name = "packs:prepare")]
    PacksPrepare {
        /// The series: 3.2, 3.3, 3.4 or 4.0
        #[arg(default_value = "3.4")]
        series: corundum_sdk::pack::ruby::Series,
    },
    /// Get a token from the node on this machine
    Login,
    /// Print a shell's completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Compile,
    #[command(hide = true, name = "git-hook")]
    GitHook {
        /// Which hook.
        hook: String,
    },
}

/// Runs a command to its exit status.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.command {
        Command::Compile => return crate::compile::run(),
        Command::GitHook { .. } => return crate::server::pre_receive(),
        Command::Server(arguments) => server::run(arguments),
        Command::PacksPrepare { series } => packs::prepare(series),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "corundum",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        command => commands::run(command),
    };
    result.unwrap_or_else(|error| {
        eprintln!(" ▸    {}", format!("{error:#}").replace('\n', "\n ▸    "));
        ExitCode::FAILURE
    })
}

/// Where prepared packs are kept.
fn cache() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = variable("CORUNDUM_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("corundum")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache/corundum")));
    cache.ok_or_else(|| {
        anyhow::anyhow!(
            "set CORUNDUM_CACHE to a directory for prepared packs: HOME is not set either"
        )
    })
}
