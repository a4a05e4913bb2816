//! Second stage: installs the libraries that the app needs into its tree, as the profile of its language says.

use std::io::Write;

use corundum_pack::language::CompileStep;

use super::env::BuildEnv;
use super::error::BuildError;
use super::extensions;
use super::gemfile;
use super::source::SourceApp;
use crate::app_json::AppJson;
use crate::gems;
use crate::report::BuildReport;
use crate::sandbox::Sandbox;
use crate::tree::Tree;

/// An app with its libraries.
pub(super) struct BundledApp {
    pub(super) tree: Tree,
    pub(super) app_json: AppJson,
}

impl SourceApp {
    /// Installs the app's libraries. An app of a language without a step for that stays as it is, and so does an app
    /// of Ruby without a Gemfile.
    pub(super) fn install_libraries<S: Sandbox>(
        self,
        env: &BuildEnv<'_, S>,
        report: &mut BuildReport<impl Write>,
    ) -> Result<BundledApp, BuildError> {
        let Self { mut tree, app_json } = self;
        let step = env.sandbox.manifest().profile().compile;
        if step == CompileStep::Bundler && tree.has_file("Gemfile") {
            report.topic("Installing dependencies");
            let gemfile = gemfile::evaluate(env, &tree)?;
            let manifest = env.sandbox.manifest();
            let installed =
                gems::install(&mut tree, &gemfile, manifest, &env.gem_sources, |line| {
                    report.detail(line)
                })?;
            let made = gemfile::specifications(env, &installed.metadata)?;
            gems::add_specifications(&mut tree, &manifest.series, &installed.metadata, &made)?;
            extensions::add(env, &mut tree, &installed.extensions, report)?;
            installed.build_only.remove(&mut tree);
        }
        Ok(BundledApp { tree, app_json })
    }
}
