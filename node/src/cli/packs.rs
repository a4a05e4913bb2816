//! `packs`, `packs:prepare` and `packs:prune`: the packs of this machine, listed, prepared ahead of the first push, and removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use corundum_cli::output::{OutputOption, print_json};
use corundum_cli::table::Table;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::pack::OpenStep;
use corundum_pack::PackDir;
use corundum_pack::language::installed::{self, PackStage};
use corundum_pack::language::{LanguageSeries, PackKey};
use corundum_pack::pruning;
use corundum_pack::ruby::{self, Edition, PrepareStep, Series};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use corundum_control::packs::open::{self as packs, PackStep};

/// Steps of opening a pack that the progress bar counts, beside those of building it: split, write, compile, start.
const STEPS: usize = 4;

/// A pack, as `packs --json` prints it.
#[derive(Serialize)]
struct PackInfo {
    name: String,
    language: String,
    series: String,
    state: PackState,
    origin: String,
    version: Option<String>,
    ready: bool,
    default: bool,
    path: String,
    /// Command that makes the pack.
    command: String,
    /// Features that the pack lacks beside one that is built from source.
    lacks: Vec<String>,
}

/// The state of a pack on its way to nodes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum PackState {
    /// A pack of Ruby, which nodes prepare.
    Prepared,
    /// It was built, and nodes do not use it.
    Built,
    /// Nodes use it, and it has passed the conformance kit.
    Installed,
    /// Nodes use it, and it has not passed the conformance kit.
    Untested,
    /// Its directory is missing or damaged.
    Damaged,
}

/// Lists the packs of all languages.
pub(super) fn list(output: OutputOption) -> anyhow::Result<ExitCode> {
    let cache = super::cache()?;
    let mut listed = of_ruby(&cache);
    listed.extend(of_others(&cache)?);
    if output.json {
        print_json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["Pack", "From", "Version", "State", ""];
    let lacks: Vec<String> = listed.iter().flat_map(|pack| pack.lacks.clone()).collect();
    let rows: Vec<_> = rows(listed).collect();
    Table::new(headings).with_rows(rows).print()?;
    let mut shown = BTreeSet::new();
    let lacks = lacks.into_iter().filter(|item| shown.insert(item.clone()));
    let lacks: Vec<String> = lacks.collect();
    if !lacks.is_empty() {
        println!("\nThe packs of Ruby from npm lack, beside those from source:");
        lacks.iter().for_each(|item| println!("  {item}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Describes the packs of Ruby from all origins.
fn of_ruby(cache: &Path) -> Vec<PackInfo> {
    let listed = Edition::ALL.into_iter().map(|edition| {
        let pack = ruby::prepared(edition, cache);
        PackInfo {
            name: format!("ruby {}", edition.series),
            origin: edition.origin.to_string(),
            version: pack.as_ref().map(|pack| pack.manifest().version.clone()),
            ready: pack.is_some(),
            default: edition == Series::DEFAULT.best(),
            path: ruby::pack_path(edition, cache).display().to_string(),
            language: ruby::LANGUAGE.to_owned(),
            series: edition.series.to_string(),
            state: PackState::Prepared,
            command: edition.command(),
            lacks: edition.lacks().iter().map(ToString::to_string).collect(),
        }
    });
    listed.collect()
}

/// Describes the packs that were built or imported.
fn of_others(cache: &Path) -> anyhow::Result<Vec<PackInfo>> {
    let installed = installed::records(cache, PackStage::Installed)?;
    let mut listed = Vec::new();
    for (series, record) in &installed {
        let state = match record.untested {
            true => PackState::Untested,
            false => PackState::Installed,
        };
        listed.push(describe(cache, series, &record.digest, state));
    }
    for (series, record) in installed::records(cache, PackStage::Built)? {
        let is_installed = installed
            .iter()
            .any(|(other, installed)| *other == series && installed.digest == record.digest);
        if !is_installed {
            listed.push(describe(cache, &series, &record.digest, PackState::Built));
        }
    }
    listed
        .sort_by(|one, other| (&one.language, &one.series).cmp(&(&other.language, &other.series)));
    Ok(listed)
}

fn describe(cache: &Path, series: &LanguageSeries, digest: &str, state: PackState) -> PackInfo {
    let path = installed::place(cache, series, digest);
    let pack = PackDir::open(&path).ok();
    PackInfo {
        name: series.to_string(),
        language: series.language().to_owned(),
        series: series.series().to_owned(),
        origin: "pack".to_owned(),
        version: pack.as_ref().map(|pack| pack.manifest().version.clone()),
        ready: pack.is_some() && state != PackState::Built,
        state: match pack {
            Some(_) => state,
            None => PackState::Damaged,
        },
        default: false,
        path: path.display().to_string(),
        command: format!(
            "corundum pack install {}-{}",
            series.language(),
            series.series()
        ),
        lacks: Vec::new(),
    }
}

/// Makes the rows of the table.
fn rows(listed: Vec<PackInfo>) -> impl Iterator<Item = [String; 5]> {
    listed.into_iter().map(|pack| {
        let state = match (pack.state, pack.ready, pack.origin.as_str()) {
            (PackState::Untested, ..) => "installed, untested",
            (PackState::Damaged, ..) => "damaged: import or build it again",
            (PackState::Built, ..) => &pack.command,
            (PackState::Installed, ..) | (PackState::Prepared, true, _) => "ready",
            (PackState::Prepared, false, "source") => &pack.command,
            (PackState::Prepared, false, _) => "on first use",
        };
        let state = state.to_owned();
        [
            pack.name,
            pack.origin,
            pack.version.unwrap_or_default(),
            state,
            if pack.default { "default" } else { "" }.to_owned(),
        ]
    })
}

/// Prepares the fastest usable pack of `series` in the cache that all nodes of the machine share.
pub(super) fn prepare(series: Series) -> anyhow::Result<ExitCode> {
    make(&PackKey::Ruby(ruby::usable(series, &super::cache()?)))
}

/// Removes what has been unused for `days` from the cache, or lists it.
pub(super) fn prune(days: u32, dry_run: bool) -> anyhow::Result<ExitCode> {
    let cache = super::cache()?;
    let unused = Duration::from_secs(u64::from(days) * 86_400);
    let pruned = pruning::prune(&cache, unused, dry_run)
        .with_context(|| format!("{}: cannot be pruned", cache.display()))?;
    for entry in &pruned {
        println!("{}", entry.path.display());
    }
    let bytes: u64 = pruned.iter().map(|entry| entry.bytes).sum();
    let verb = if dry_run { "Would remove" } else { "Removed" };
    println!("{verb} {} MB (entries: {})", bytes >> 20, pruned.len());
    Ok(ExitCode::SUCCESS)
}

/// Builds, splits and compiles a pack as far as that is not done yet, and shows the progress.
pub(super) fn make(key: &PackKey) -> anyhow::Result<ExitCode> {
    let (started, series) = (Instant::now(), key.series());
    let bar = ProgressBar::new(STEPS as u64);
    let style = "{prefix}  [{bar:24}] {pos}/{len} {wide_msg} {elapsed}";
    bar.set_style(ProgressStyle::with_template(style)?.progress_chars("=> "));
    bar.set_prefix(series.to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut first = 0;
    let say = |position: usize, text: String| {
        bar.set_position(position as u64);
        bar.set_message(text);
    };
    let engine = Engine::new(EngineConfig::on_demand())?;
    let opened = packs::open(&engine, key, &super::cache()?, |step| match step {
        PackStep::Prepare(PrepareStep::Fetch) => {
            first = 1;
            bar.set_length((first + STEPS) as u64);
            say(0, "fetching from npm".to_owned());
        }
        PackStep::Prepare(PrepareStep::Build(progress)) => {
            first = progress.total;
            bar.set_length((first + STEPS) as u64);
            say(progress.done, progress.activity);
        }
        PackStep::Prepare(PrepareStep::Split) => {
            say(first, "separating code and memory".to_owned())
        }
        PackStep::Prepare(PrepareStep::Write) => say(first + 1, "writing".to_owned()),
        PackStep::Open(OpenStep::Compile(module)) => say(first + 2, format!("compiling {module}")),
        PackStep::Open(OpenStep::Start) => say(first + 3, "starting the runtime once".to_owned()),
    });
    bar.finish_and_clear();
    let (directory, _) = opened?;
    println!(
        "{} {} from {} is ready ({:.1} s)",
        directory.manifest().profile().title,
        directory.manifest().version,
        directory.manifest().origin,
        started.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}
