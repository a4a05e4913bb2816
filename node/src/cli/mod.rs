//! The command line: what a user types, and what it prints.

mod cache;
mod certs;
mod certs_auto;
mod client;
mod commands;
mod domains;
mod drains;
mod figures;
mod maintenance;
mod netrc;
mod pack;
mod packs;
mod server;
mod settings;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// What follows the list of commands in `corundum --help`.
const MANUAL: &str = "\
FIRST STEPS
  In a git repository with a config.ru, while a node runs on this machine:

    corundum create myapp            adds the git remote `corundum`
    git push corundum main           builds and deploys; the output ends with the URL
    curl http://myapp.localhost:8080/
    corundum logs --tail

WHICH APP
  --app NAME, or the environment variable CORUNDUM_APP, or the git remote `corundum` of the
  repository that you are in; in this order.

ENVIRONMENT
  CORUNDUM_API     URL of the node's API [default: http://127.0.0.1:8081]
  CORUNDUM_APP     the app that commands are for
  CORUNDUM_CACHE   where prepared packs are kept [default: $XDG_CACHE_HOME/corundum, or
                   ~/.cache/corundum]
  CORUNDUM_LOG     what `corundum server` logs of itself: error, warn, info, debug [default: warn]

FILES
  ~/.netrc         the node's token, which git reads too
  corundum.toml    settings of `corundum server`, read from the folder it is started in
  Procfile         in an app: its process types, as `web: rackup`
  app.json         in an app: `isolation`, `warm-up`, `env` and `formation`
  .slugignore      in an app: what its slug leaves out

EXIT STATUS
  0 on success, 1 on failure, 2 for a command that is not understood; `corundum run` exits as the
  command does.";

/// A self-hosted platform for Ruby apps: git push, and dynos answer in a millisecond.
#[derive(Parser)]
#[command(name = "corundum", version, max_term_width = 100, after_long_help = MANUAL)]
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
    /// (`corundum packs:prepare` does it ahead). In the background, the node builds the default Ruby from source, unless
    /// that is done; apps move to the faster pack when it is ready, without losing a request.
    ///
    /// SIGHUP replaces the process by a new one of the same program and arguments, without a refused connection or a failed
    /// request; so does a second `corundum server --takeover` on the same data directory.
    ///
    /// With systemd's socket activation, the node uses the sockets that are named http, https, api or admin by
    /// FileDescriptorName=; unnamed sockets are used in the order http, api, admin, https. It opens the others itself.
    ///
    /// Each setting may also stand in corundum.toml, as in: domain = "apps.example"
    Server(Box<server::Arguments>),
    /// Create an app, and the git remote `corundum` in this repository
    ///
    /// The name becomes a part of the app's host name: 3 to 30 lower-case letters, digits and dashes. Outside of a git
    /// repository only the app is created; `corundum git:remote --app NAME` adds the remote later.
    ///
    /// Example: corundum create guestbook
    #[command(name = "create", visible_alias = "apps:create")]
    Create {
        /// Its name; one is made up if none is given
        name: Option<String>,
    },
    /// List the apps
    Apps(Form),
    /// Show an app
    ///
    /// Its URL, its git URL, the release that runs, the version of Ruby and how many web dynos it may have; then what its
    /// requests were like in the last minutes.
    #[command(name = "apps:info", visible_alias = "info")]
    Info {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Delete an app with its releases
    ///
    /// Its repository on the node, slugs, config vars and log go with it. This cannot be undone, so the name must be given
    /// twice.
    ///
    /// Example: corundum apps:destroy --app guestbook --confirm guestbook
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
    ///
    /// The app is booted with the new values, which takes as long as it needs to load, and the result becomes a release. If
    /// it does not boot with them, nothing changes. Values are kept in the node's store and in the app's image, which only
    /// the node's user can read; they are in no slug and no log.
    ///
    /// Example: corundum config:set SESSION_SECRET=... RACK_ENV=staging
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
    #[command(flatten)]
    OfDomains(domains::Command),
    #[command(flatten)]
    OfCache(cache::Command),
    #[command(flatten)]
    OfCerts(certs::Command),
    #[command(flatten)]
    OfAutoCerts(certs_auto::Command),
    #[command(flatten)]
    OfSettings(settings::Command),
    #[command(flatten)]
    OfMaintenance(maintenance::Command),
    #[command(flatten)]
    OfDrains(drains::Command),
    /// List the dynos
    ///
    /// Only dynos that exist are listed: they start with the requests that need them, and end after a minute without any.
    /// Memory counts the image, which all dynos of a release share as long as they do not write to it. Requests, errors and
    /// times of serving are those of the last five minutes.
    Ps {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Say how many web dynos an app may have
    ///
    /// Each serves one request at a time. None are started ahead of requests; web=0 takes the app out of service.
    ///
    /// Example: corundum ps:scale web=32
    #[command(name = "ps:scale")]
    PsScale {
        /// web=NUMBER
        formation: String,
        #[command(flatten)]
        app: App,
    },
    /// Let the number of web dynos follow how long requests wait
    ///
    /// While 95 of 100 requests do not get a dyno within --p95-queue milliseconds, the app may have half as many more every ten
    /// seconds, up to --max and to what the node has room for; after three minutes without waiting, one less a minute, down
    /// to --min. Off until it is turned on; `corundum ps` shows it.
    ///
    /// Example: corundum ps:autoscale web --min 2 --max 20 --p95-queue 50
    #[command(name = "ps:autoscale", visible_alias = "ps:autoscale:enable")]
    PsAutoscale {
        /// The process type; only web dynos are scaled
        #[arg(default_value = "web", value_parser = ["web"])]
        process: String,
        /// Web dynos at least
        #[arg(long, required_unless_present = "off")]
        min: Option<u32>,
        /// Web dynos at most
        #[arg(long, required_unless_present = "off")]
        max: Option<u32>,
        /// Milliseconds that 95 of 100 requests may wait for a dyno
        #[arg(long, value_name = "MS", default_value_t = 100)]
        p95_queue: u32,
        /// Turn it off; the app keeps the dynos that it may have now
        #[arg(long, conflicts_with_all = ["min", "max"])]
        off: bool,
        #[command(flatten)]
        app: App,
    },
    /// Turn autoscaling off
    #[command(name = "ps:autoscale:disable", hide = true)]
    PsAutoscaleDisable(App),
    /// Replace the dynos by fresh ones
    #[command(name = "ps:restart", visible_alias = "restart")]
    PsRestart(App),
    /// Show the log
    ///
    /// What the app writes to its standard output and error, and the router's line for each request. The node keeps the last
    /// 1,500 lines of an app, in memory.
    ///
    /// Example: corundum logs --tail --num 20
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
    ///
    /// A release is a slug with config vars. Each push makes one, and so do config:set, config:unset and rollback.
    Releases {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Make an older release the current one, under a new number
    ///
    /// Slug and config vars are those of the older release. The repository on the node stays as it is.
    ///
    /// Example: corundum rollback v12
    Rollback {
        /// Which, as v12; the one before the current if none is given
        version: Option<String>,
        #[command(flatten)]
        app: App,
    },
    /// Run a command in a dyno of its own
    ///
    /// The command sees the app's files and config vars; what it writes to /tmp is gone with it. Its standard output comes
    /// here, its standard error goes to the app's log. A dyno has no shell and starts no processes: the
    /// commands are ruby, rake and Ruby files of the app, with or without `bundle exec`.
    ///
    /// Example: corundum run ruby -e 'puts RUBY_VERSION'
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
    /// List the Ruby packs
    ///
    /// An app gets the one that its Gemfile.lock, Gemfile or .ruby-version asks for, and otherwise the default. Packs from
    /// source run several times faster than those from npm, and have no fibers.
    Packs(Form),
    /// Prepare a Ruby pack from npm, so that no push has to wait for it
    ///
    /// Fetches the npm package of that version, parts its code from its memory and compiles it, once for all nodes of the
    /// machine. For the default version it does nothing if `corundum pack build ruby` has made the faster pack already.
    #[command(name = "packs:prepare")]
    PacksPrepare {
        /// The series: 3.2, 3.3, 3.4 or 4.0
        #[arg(default_value_t = corundum_pack::ruby::Series::DEFAULT)]
        series: corundum_pack::ruby::Series,
    },
    /// Build a pack from source, test it, carry it to another machine
    #[command(subcommand)]
    Pack(pack::Command),
    /// Get a token from the node on this machine
    ///
    /// The node gives it to the user that runs it, and to nobody else; other commands do this by themselves
    /// when the node asks for a token. For another machine, copy the node's entry of ~/.netrc there, under its host name.
    Login,
    /// Print a shell's completions
    ///
    /// Example: corundum completions bash > ~/.local/share/bash-completion/completions/corundum
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
        Command::Compile => return corundum_build::child::run(crate::sandbox::HostSandbox::open),
        Command::GitHook { .. } => return corundum_control::git::hook::pre_receive(),
        Command::Server(arguments) => server::run(*arguments),
        Command::OfDomains(command) => domains::run(command),
        Command::OfCache(command) => cache::run(command),
        Command::OfCerts(command) => certs::run(command),
        Command::OfAutoCerts(command) => certs_auto::run(command),
        Command::OfSettings(command) => settings::run(command),
        Command::OfMaintenance(command) => maintenance::run(command),
        Command::OfDrains(command) => drains::run(command),
        Command::Packs(form) => packs::list(form.json),
        Command::PacksPrepare { series } => packs::prepare(series),
        Command::Pack(command) => pack::run(command),
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
        let gone = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if gone {
            // As in `corundum logs | head`: whoever read has what they wanted.
            return ExitCode::SUCCESS;
        }
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
