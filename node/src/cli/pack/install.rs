//! `pack build`, `pack install` and `pack uninstall` for packs with a `pack.toml`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::LogSink;
use corundum_host::pack::{OpenStep, Pack};
use corundum_pack::PackDir;
use corundum_pack::language::installed::{self, PackStage};
use corundum_pack::language::{LanguageSeries, build};
use indicatif::{ProgressBar, ProgressStyle};

use super::conformance::{self, KitLength};
use super::name::PackName;

/// Builds the pack whose source is in `directory`, compiles it, and starts it once.
pub(super) fn build(directory: &Path) -> anyhow::Result<ExitCode> {
    let cache = crate::cli::cache()?;
    let (started, bar) = (Instant::now(), spinner()?);
    let built = build::build(directory, &cache, &mut |text| {
        bar.set_message(text.to_owned())
    });
    let opened = built
        .map_err(anyhow::Error::from)
        .and_then(|pack| open(&pack, &bar).map(|()| pack));
    bar.finish_and_clear();
    let pack = opened?;
    let (manifest, seconds) = (pack.manifest(), started.elapsed().as_secs_f64());
    println!(
        "{} {} is built ({seconds:.1} s): {}",
        manifest.profile().title,
        manifest.version,
        manifest.digest
    );
    println!(
        "Next: corundum pack install {}-{}",
        manifest.language, manifest.series
    );
    Ok(ExitCode::SUCCESS)
}

fn spinner() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template(
        "{spinner} {wide_msg} {elapsed}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Prints what a pack writes while it starts.
struct StartOutput;

impl LogSink for StartOutput {
    fn line(&self, line: &[u8]) {
        eprintln!("{}", String::from_utf8_lossy(line));
    }
}

/// Compiles a pack and starts its runtime.
fn open(pack: &PackDir, bar: &ProgressBar) -> anyhow::Result<()> {
    let engine = Engine::new(EngineConfig::on_demand())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let opened = Pack::open(&engine, pack, Arc::new(StartOutput), |step| {
        bar.set_message(match step {
            OpenStep::Compile(module) => format!("compiling {module}"),
            OpenStep::Start => "starting the runtime once".to_owned(),
        });
    });
    runtime.block_on(opened)?;
    Ok(())
}

/// The demand that a pack passes the conformance kit before nodes use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conformance {
    /// It must pass the short kit.
    Required,
    /// It is installed without a test, and listed as untested.
    Waived,
}

impl Conformance {
    pub(super) fn of(untested: bool) -> Self {
        match untested {
            true => Self::Waived,
            false => Self::Required,
        }
    }
}

/// Makes a built pack the one that nodes use.
pub(super) fn install(name: &str, conformance: Conformance) -> anyhow::Result<ExitCode> {
    let cache = crate::cli::cache()?;
    let PackName::Other(series) = PackName::find(name, &cache)? else {
        bail!("{name}: nodes use the packs of Ruby as soon as they are built");
    };
    let built = installed::record(&cache, &series, PackStage::Built)?
        .with_context(|| format!("{series}: not built; run corundum pack build DIRECTORY"))?;
    let pack = PackDir::open(&installed::place(&cache, &series, &built.digest))?;
    finish(&cache, &series, &pack, conformance)
}

/// Makes a pack the one of its series that nodes use.
pub(super) fn finish(
    cache: &Path,
    series: &LanguageSeries,
    pack: &PackDir,
    conformance: Conformance,
) -> anyhow::Result<ExitCode> {
    let manifest = pack.manifest();
    if conformance == Conformance::Required {
        let report = conformance::run(pack, KitLength::Short)?;
        if !report.is_passed() {
            report.finish();
            bail!(
                "{series}: the pack breaks rules, and was not installed; correct it, or install it with --untested"
            );
        }
    }
    let untested = conformance == Conformance::Waived;
    installed::set_record(
        cache,
        series,
        PackStage::Installed,
        &manifest.digest,
        untested,
    )?;
    println!(
        "{} {} is installed: nodes on this machine use it from their next push",
        manifest.profile().title,
        manifest.version
    );
    Ok(ExitCode::SUCCESS)
}

/// Takes a series from nodes. Its apps keep running until their node restarts.
pub(super) fn uninstall(name: &str) -> anyhow::Result<ExitCode> {
    let cache = crate::cli::cache()?;
    let PackName::Other(series) = PackName::find(name, &cache)? else {
        bail!("{name}: the packs of Ruby are part of Corundum");
    };
    if !installed::remove_record(&cache, &series, PackStage::Installed)? {
        bail!("{series}: not installed");
    }
    println!(
        "{series} is no longer installed: nodes on this machine reject new pushes of its apps"
    );
    Ok(ExitCode::SUCCESS)
}
