//! The command line of the binary: the commands that need an engine or the control plane, beside the client commands of
//! [`corundum_cli`].

mod backup;
mod logging;
mod pack;
mod packs;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use corundum_cli::ClientCommand;
use corundum_cli::output::{OutputOption, report};
use corundum_pack::ruby::Series;

/// Text after the list of commands in `corundum --help`.
const MANUAL: &str = "\
FIRST STEPS
  In a git repository with a config.ru, while a node runs on this machine:

    corundum create myapp            add the git remote `corundum`
    git push corundum main           build and deploy; the output ends with the URL
    curl http://myapp.localhost:8080/
    corundum logs --tail

WHICH APP
  Commands act on the app of --app NAME, otherwise of the environment variable CORUNDUM_APP, otherwise
  of the git remote `corundum` in the current repository.

ENVIRONMENT
  CORUNDUM_API       URL of the node's API [default: http://127.0.0.1:8081]
  CORUNDUM_APP       app that commands act on
  CORUNDUM_CACHE     directory of prepared packs [default: $XDG_CACHE_HOME/corundum, otherwise
                     ~/.cache/corundum]
  CORUNDUM_DATA_DIR  data directory of the node that `corundum login` asks for a token
  CORUNDUM_LOG       events that `corundum server` logs: a level (error, warn, info, debug, trace), or
                     directives as corundum_router=debug,warn [default: warn]

FILES
  ~/.netrc         token of the node, which git reads too
  corundum.toml    options of `corundum server`, read from the directory it is started in
  Procfile         in an app: process types, as `web: rackup`
  app.json         in an app: `isolation`, `warm-up`, `env` and `formation`
  .slugignore      in an app: files that its slug leaves out

EXIT STATUS
  0 on success, 1 on failure, 2 for an invalid command line; `corundum run` exits with the command's
  status.";

/// A self-hosted platform for web apps: git push, and dynos answer in a millisecond.
#[derive(Parser)]
#[command(name = "corundum", version, max_term_width = 100, after_long_help = MANUAL)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: CorundumCommand,
}

#[derive(Subcommand)]
enum CorundumCommand {
    /// Run a node
    ///
    /// Serves apps on --http, and the API and git on --api, until SIGINT or SIGTERM; running requests then have ten
    /// seconds to end. The first push of an app on a Ruby version prepares its pack, which takes a minute
    /// (`corundum packs:prepare` does it ahead). In the background, the node builds Ruby from source unless that has been done:
    /// the default series, and those that apps use. Apps move to the faster pack when it is ready, without losing a request.
    ///
    /// SIGHUP replaces the process by a new one of the same program and arguments, without a refused connection or a failed
    /// request. A second `corundum server --takeover` on the same data directory does the same.
    ///
    /// With systemd's socket activation (LISTEN_FDS), the node uses the sockets that FileDescriptorName= names http, https,
    /// api or admin; it uses unnamed sockets in the order http, api, admin, https. It opens the others itself.
    ///
    /// Each option may also stand in corundum.toml, as in: domain = "apps.example"
    Server(Box<server::ServerArguments>),
    #[command(flatten)]
    Client(ClientCommand),
    /// Back a node up into one archive
    ///
    /// The archive holds the store, the slugs and the repositories as of one moment, whether the node runs or not. Images
    /// are left out, since the node makes them again. Run this command as the user that runs the node. The archive
    /// holds config vars and private keys: keep it as safe as the node.
    ///
    /// Example: corundum backup node.tar.zst --data-dir /var/lib/corundum
    Backup(backup::BackupArguments),
    /// Restore a backup into an empty directory
    ///
    /// Checks the digests of all files before the directory gets its name. Start the node on it afterwards; it boots the
    /// apps again.
    ///
    /// Example: corundum restore node.tar.zst --data-dir /var/lib/corundum
    Restore(backup::RestoreArguments),
    /// List the packs of this machine
    ///
    /// Packs of Ruby are prepared by nodes when apps need them; others are built or imported.
    ///
    /// A Ruby app runs the version that its Gemfile.lock, Gemfile or .ruby-version asks for, otherwise the default. Packs built
    /// from source run several times faster than those from npm, and have sockets, threads and fibers.
    Packs(OutputOption),
    /// Prepare a Ruby pack from npm, so that no push has to wait for it
    ///
    /// Fetches the npm package of that version, separates its code from its memory and compiles it, once for all nodes of
    /// the machine. Does nothing if `corundum pack build` has built the faster pack of the series.
    #[command(name = "packs:prepare")]
    PacksPrepare {
        /// Series of Ruby: 3.2, 3.3, 3.4 or 4.0
        #[arg(default_value_t = Series::DEFAULT)]
        series: Series,
    },
    /// Remove packs, compilers, libraries, extensions and downloads that nothing has used for a time
    ///
    /// A node does so once a day with those that have been unused for 30 days. What this version of Corundum makes, and packs that a
    /// process has open, stay. Everything can be made again.
    ///
    /// Example: corundum packs:prune --unused-days 7 --dry-run
    #[command(name = "packs:prune")]
    PacksPrune {
        /// Days without use [default: 30]
        #[arg(long, value_name = "N", default_value_t = 30, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=3650))]
        unused_days: u32,
        /// List what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Build a pack from source, install and test it, or carry it to another machine
    #[command(subcommand)]
    Pack(pack::PackCommand),
    /// Print completions for a shell
    ///
    /// Example: corundum completions bash > ~/.local/share/bash-completion/completions/corundum
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Compile {
        /// Form of the log on standard error
        #[arg(long, value_enum, default_value_t)]
        log_format: logging::LogFormat,
    },
    #[command(hide = true, name = "git-hook")]
    GitHook {
        /// Name of the hook
        hook: String,
    },
}

/// Runs a command and returns the exit status of the process.
pub(crate) fn run(line: CommandLine) -> ExitCode {
    report(match line.command {
        CorundumCommand::Compile { log_format } => {
            // The node that started this process has checked the filter already.
            let _ = logging::start(log_format);
            return corundum_build::child::run(crate::sandbox::HostSandbox::open);
        }
        CorundumCommand::GitHook { hook } => return corundum_control::git::hook::run(&hook),
        CorundumCommand::Server(arguments) => server::run(*arguments),
        CorundumCommand::Client(command) => command.run(),
        CorundumCommand::Backup(arguments) => backup::back_up(&arguments),
        CorundumCommand::Restore(arguments) => backup::restore(&arguments),
        CorundumCommand::Packs(output) => packs::list(output),
        CorundumCommand::PacksPrepare { series } => packs::prepare(series),
        CorundumCommand::PacksPrune {
            unused_days,
            dry_run,
        } => packs::prune(unused_days, dry_run),
        CorundumCommand::Pack(command) => pack::run(command),
        CorundumCommand::Completions { shell } => {
            let mut command = CommandLine::command();
            clap_complete::generate(shell, &mut command, "corundum", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    })
}

/// Returns the directory of prepared packs.
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
            "CORUNDUM_CACHE: not set, and neither is HOME\nSet CORUNDUM_CACHE to a directory for prepared packs."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn build_process_gets_the_form_of_the_nodes_log() {
        for format in [logging::LogFormat::Text, logging::LogFormat::Json] {
            let mut line = vec!["corundum".to_owned(), "compile".to_owned()];
            line.extend(format.arguments());
            let command = CommandLine::try_parse_from(line).unwrap().command;
            assert!(
                matches!(command, CorundumCommand::Compile { log_format } if log_format == format)
            );
        }
    }
}
