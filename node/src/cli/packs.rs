//! Preparing a pack ahead of the first push, with its progress shown.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::pack::Step as OpenStep;
use corundum_sdk::pack::ruby::{Series, Step as PrepareStep};
use indicatif::{ProgressBar, ProgressStyle};

use crate::packs::{self, Step};

/// Prepares the pack of `series` in the cache that all nodes of the machine share.
pub(super) fn prepare(series: Series) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    // Fetch, split, write, compile, start.
    let bar = ProgressBar::new(5);
    let style = "Ruby {prefix}  [{bar:24}] {pos}/{len} {wide_msg} {elapsed}";
    bar.set_style(ProgressStyle::with_template(style)?.progress_chars("=> "));
    bar.set_prefix(series.as_str());
    bar.enable_steady_tick(Duration::from_millis(100));
    let say = |position: u64, text: String| {
        bar.set_position(position);
        bar.set_message(text);
    };
    let engine = Engine::new(EngineConfig::on_demand())?;
    let (directory, _) = packs::open(&engine, series, &super::cache()?, |step| match step {
        Step::Prepare(PrepareStep::Fetch) => say(0, "fetching from npm".to_owned()),
        Step::Prepare(PrepareStep::Split) => say(1, "parting code and memory".to_owned()),
        Step::Prepare(PrepareStep::Write) => say(2, "writing".to_owned()),
        Step::Open(OpenStep::Compile(module)) => say(3, format!("compiling {module}")),
        Step::Open(OpenStep::Start) => say(4, "starting Ruby once".to_owned()),
    })?;
    bar.finish_and_clear();
    println!(
        "Ruby {} is ready ({:.1} s)",
        directory.manifest().version,
        started.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}
