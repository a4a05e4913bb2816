//! Stage after the gems: compiles the app's assets with its own Rake task, as on Heroku.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use corundum_pack::archive::FileMode;
use corundum_pack::language::CompileStep;
use corundum_pack::ruby;

use super::bundle::BundledApp;
use super::env::BuildEnv;
use super::error::BuildError;
use super::tree_archive;
use crate::boot_output;
use crate::detect;
use crate::made_files;
use crate::process;
use crate::report::BuildReport;
use crate::sandbox::{Sandbox, SandboxApp, SandboxError, SandboxOutbound};
use crate::tree::{Tree, TreeError};

/// Command of the pack that runs the task `assets:precompile` and prints the files that it makes.
const COMMAND: &str = "corundum-assets";

/// Name of the tree's archive in the build's output directory.
const TREE_FILE: &str = "assets.tar";

/// Gems that define the task, or that make Rails define it.
const ASSET_GEMS: [&str; 6] = [
    "hanami-assets",
    "propshaft",
    "shakapacker",
    "sprockets-rails",
    "vite_rails",
    "webpacker",
];

/// Files that tell that the assets were compiled before the push, as on Heroku.
const COMPILED: [&str; 4] = [
    "public/assets/.sprockets-manifest-",
    "public/assets/.manifest.json",
    "public/assets/manifest-",
    "public/vite/",
];

/// Schemes of database URLs by the gem of their driver.
const DATABASES: [(&str, &str); 3] = [
    ("mysql2", "mysql2"),
    ("pg", "postgresql"),
    ("trilogy", "trilogy"),
];

impl BundledApp {
    /// Runs the app's task `assets:precompile` and adds the files that it makes to the tree.
    pub(super) fn compile_assets<S: Sandbox>(
        mut self,
        env: &BuildEnv<'_, S>,
        report: &mut BuildReport<impl Write>,
    ) -> Result<Self, BuildError> {
        let is_ruby = env.sandbox.manifest().profile().compile == CompileStep::Bundler;
        if !is_ruby || !has_asset_task(&self.tree)? {
            return Ok(self);
        }
        if has_compiled_assets(&self.tree) {
            report.topic("Detected manifest file, assuming assets were compiled locally");
            return Ok(self);
        }
        report.topic("Preparing app for the asset pipeline");
        let started = Instant::now();
        let path = env.output.join(TREE_FILE);
        let output = BufWriter::new(File::create(&path)?);
        tree_archive::write(&self.tree, |_| true, output)?;
        let app = SandboxApp {
            files: env.sandbox.open_slug(&path).map_err(BuildError::OpenSlug)?,
            arguments: [COMMAND.to_owned()].into(),
            environ: process::environ(ruby::profile(), variables(env.config, &self.tree)),
            outbound: SandboxOutbound::App {
                list: self.app_json.outbound.clone(),
                policy: env.outbound.clone(),
            },
        };
        let (log, output) = env.sandbox.build(&app, None);
        std::fs::remove_file(&path)?;
        report.detail(&boot_output::shortened(&log));
        let failed = |error: Option<SandboxError>| BuildError::Assets {
            cause: boot_output::cause(&log),
            error,
        };
        let output = match output {
            Ok(output) if output.status == 0 => output.stdout,
            Ok(_) => return Err(failed(None)),
            Err(error) => return Err(failed(Some(error))),
        };
        let made = made_files::parse(&output).ok_or_else(|| failed(None))?;
        for (path, bytes) in &made {
            self.tree.add(path, bytes, FileMode::Plain)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        report.detail(&format!("Asset precompilation completed ({seconds:.2}s)"));
        Ok(self)
    }
}

/// Returns the config vars of the task. It gets a database URL that leads nowhere if the app has none: Rails reads the
/// setting when it starts, and a task that compiles files needs no database.
fn variables(config: &[(String, String)], tree: &Tree) -> Vec<(String, String)> {
    let mut variables = vec![("RAILS_GROUPS".to_owned(), "assets".to_owned())];
    let mut databases = DATABASES.iter();
    if let Some((_, scheme)) = databases.find(|(gem, _)| has_gem(tree, gem)) {
        let url = format!("{scheme}://user:pass@127.0.0.1/dbname");
        variables.push(("DATABASE_URL".to_owned(), url));
    }
    variables.extend(config.iter().cloned());
    variables
}

/// Returns whether a gem is installed in the tree. The lockfile also has gems of groups that are left out.
fn has_gem(tree: &Tree, gem: &str) -> bool {
    let start = format!("{gem}-");
    tree.entries().any(|(path, _)| {
        let name = path.split_once("/specifications/").map(|(_, name)| name);
        let version = name.and_then(|name| name.strip_prefix(&start));
        version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Returns whether the app has the task, as far as its files tell: a Rakefile names it, or the lockfile has a gem that
/// defines it. Starting Rake to find out would take as long as the app takes to load.
fn has_asset_task(tree: &Tree) -> Result<bool, TreeError> {
    let is_rakefile = |path: &str| {
        ["Rakefile", "rakefile", "Rakefile.rb", "rakefile.rb"].contains(&path)
            || (path.starts_with("lib/tasks/") && path.ends_with(".rake"))
    };
    for (path, _) in tree.entries().filter(|(path, _)| is_rakefile(path)) {
        // A file that is too long for a text, or no text, is none that names a task.
        let text = tree.text(path).ok().flatten().unwrap_or_default();
        if text.contains("assets:precompile") {
            return Ok(true);
        }
    }
    let lockfile = tree.text("Gemfile.lock")?.unwrap_or_default();
    Ok(ASSET_GEMS.iter().any(|gem| detect::locks(&lockfile, gem)))
}

fn has_compiled_assets(tree: &Tree) -> bool {
    let is_compiled = |path: &str| COMPILED.iter().any(|start| path.starts_with(start));
    tree.entries().any(|(path, _)| is_compiled(path))
}
