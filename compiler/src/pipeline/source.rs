//! First stage: reads the pushed tree and finds out what kind of app it is.

use std::io::{Read, Write};

use super::env::BuildEnv;
use super::error::BuildError;
use crate::app_json::AppJson;
use crate::detect;
use crate::report::BuildReport;
use crate::sandbox::Sandbox;
use crate::slugignore::{self, Slugignore};
use crate::tree::Tree;

/// Bytes of a pushed tree. `.slugignore` may leave out half of it, so it exceeds the limit of a slug.
const MAX_TREE_BYTES: u64 = 1 << 30;

/// A Ruby app as it was pushed, without the files that `.slugignore` leaves out.
pub(super) struct SourceApp {
    pub(super) tree: Tree,
    pub(super) app_json: AppJson,
}

impl SourceApp {
    /// Reads a tree from a tar stream.
    pub(super) fn read<S: Sandbox>(
        tar: impl Read,
        env: &BuildEnv<'_, S>,
        report: &mut BuildReport<impl Write>,
    ) -> Result<Self, BuildError> {
        let mut tree = Tree::read(tar, MAX_TREE_BYTES)?;
        if let Some(text) = tree.text(slugignore::FILE)? {
            let ignore = Slugignore::parse(&text)?;
            tree.remove_if(|path| ignore.excludes(path));
        }
        detect::detect(|path| tree.has_file(path))?;
        report.topic("Ruby app detected");
        let version = &env.sandbox.manifest().version;
        report.topic(&format!("Using Ruby version: ruby-{version}"));
        let app_json = match tree.text("app.json")? {
            Some(text) => AppJson::parse(&text)?,
            None => AppJson::default(),
        };
        Ok(Self { tree, app_json })
    }
}
