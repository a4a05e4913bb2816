//! First stage: reads the pushed tree and finds out what kind of app it is.

use std::io::{Read, Write};

use corundum_pack::Manifest;
use corundum_pack::language::CompileStep;
use corundum_pack::ruby::{Edition, Series};

use super::env::BuildEnv;
use super::error::BuildError;
use crate::app_json::AppJson;
use crate::detect;
use crate::report::BuildReport;
use crate::ruby_version::{self, VersionFiles};
use crate::sandbox::Sandbox;
use crate::slugignore::{self, Slugignore};
use crate::tree::{MAX_TREE_BYTES, Tree, TreeError};

/// Notes of one kind that the pusher gets.
const MAX_NOTES: usize = 5;

/// An app as it was pushed, without the files that `.slugignore` leaves out.
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
        if let Some(path) = tree.submodules().first() {
            return Err(TreeError::Submodule(path.clone()).into());
        }
        let app_json = match tree.text("app.json")? {
            Some(text) => AppJson::parse(&text)?,
            None => AppJson::default(),
        };
        let manifest = env.sandbox.manifest();
        let profile = manifest.profile();
        if app_json.language.is_none() {
            detect::check(profile, |path| tree.has_file(path))?;
        }
        let (title, language, version) = (&profile.title, &manifest.language, &manifest.version);
        report.topic(&format!("{title} app detected"));
        report.topic(&format!("Using {title} version: {language}-{version}"));
        if profile.compile == CompileStep::Bundler {
            report_lacks(manifest, report);
            if let Some(note) = ruby_version::difference(&version_files(&tree)?, version) {
                report.detail(&note);
            }
        }
        report_differences(&tree, report);
        Ok(Self { tree, app_json })
    }
}

/// Tells the pusher what the app's Ruby lacks beside one that is built from source.
fn report_lacks(manifest: &Manifest, report: &mut BuildReport<impl Write>) {
    let Ok(series) = manifest.series.parse::<Series>() else {
        return;
    };
    let used = Edition::ALL
        .into_iter()
        .find(|edition| edition.series == series && edition.origin.to_string() == manifest.origin);
    let lacks = used.map(Edition::lacks).unwrap_or_default();
    if lacks.is_empty() {
        return;
    }
    // The node moves the app when it has built the series.
    let reason = if series.best().lacks().is_empty() {
        "comes from npm until it is built from source, and lacks until then:".to_owned()
    } else {
        format!(
            "comes from npm and lacks, beside Ruby {}:",
            Series::from_source()
        )
    };
    report.detail(&format!("Ruby {series} {reason}"));
    for item in lacks {
        report.detail(&format!("  {item}"));
    }
}

/// Reads the files that may name a version of Ruby.
fn version_files(tree: &Tree) -> Result<VersionFiles, TreeError> {
    let gemfile = tree.text("Gemfile")?;
    let other = gemfile.as_deref().and_then(ruby_version::other_file);
    let other = other.map(|path| tree.text(&path)).transpose()?;
    Ok(VersionFiles {
        lockfile: tree.text("Gemfile.lock")?,
        gemfile,
        ruby_version: tree.text(".ruby-version")?,
        tool_versions: tree.text(".tool-versions")?,
        other: other.flatten(),
    })
}

/// Tells the pusher where the app's files in a dyno differ from a checkout of the commit.
fn report_differences(tree: &Tree, report: &mut BuildReport<impl Write>) {
    let left_out = tree.left_out().iter();
    let left_out = left_out
        .map(|path| format!("Left out {path}: in a dyno, names and link targets are UTF-8"));
    report_some(left_out, report);
    let links = tree.links_out().map(|(path, target)| {
        format!("The link {path:?} leads out of the app: in a dyno, {target:?} is the dyno's own")
    });
    report_some(links, report);
    let attributes = tree.text(".gitattributes").ok().flatten();
    if attributes.is_some_and(|text| text.contains("filter=lfs")) {
        report.detail("Files under Git LFS are pointers: git push does not send their contents");
    }
}

fn report_some(mut notes: impl Iterator<Item = String>, report: &mut BuildReport<impl Write>) {
    for note in notes.by_ref().take(MAX_NOTES) {
        report.detail(&note);
    }
    let more = notes.count();
    if more > 0 {
        report.detail(&format!("and {more} more like this"));
    }
}
