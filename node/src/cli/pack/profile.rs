//! `pack profile`: recording of the profile that guides the compilation of MRI.
//!
//! Training programs run in dynos of a build with counters: programs of this project (`sdk/ruby/training`), and programs of
//! MRI's own benchmark, which come from its source. Each program counts alike, whatever its length, except for the project's
//! own, which resemble web apps.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_host::boot::BootLimits;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::DiscardLog;
use corundum_host::pack::Pack;
use corundum_pack::mri::{self, MriProfile};
use corundum_pack::ruby::{self, Series};

use super::dyno_runner::{DynoRunner, source_files};

macro_rules! programs {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../sdk/ruby/training/", $name)))),*]
    };
}

/// The program that runs the others.
const HARNESS: (&str, &str) = (
    "harness.rb",
    include_str!("../../../../sdk/ruby/training/harness.rb"),
);
/// Programs of this project.
const PROGRAMS: [(&str, &str); 3] = programs!["web.rb", "text.rb", "objects.rb"];
/// List of programs of MRI's benchmark.
const BENCHMARKS: &str = include_str!("../../../../sdk/ruby/training/benchmarks");

/// Weight of each of the project's programs; those of MRI's benchmark have 1. Together, both halves count alike.
const WEIGHT: f64 = 12.0;
/// Timeout of a program, ten times what the longest takes.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of a program's counters in bytes, several times that of MRI.
const MAX_COUNTERS: usize = 64 << 20;

/// Records a profile of a series of MRI in `file`.
pub(super) fn run(series: Series, file: &Path) -> anyhow::Result<ExitCode> {
    let cache = crate::cli::cache()?;
    let release = mri::release(series.as_str()).context("no source of this series")?;
    let directory = tempfile::tempdir()?;
    println!("building Ruby with counters, which takes some minutes");
    let pack = ruby::prepare_recording(series, &cache, directory.path(), |_| {})?;
    let engine = Engine::new(EngineConfig::on_demand())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pack = runtime.block_on(Pack::open(&engine, &pack, Arc::new(DiscardLog), |_| {}))?;
    drop(runtime);
    let mut files = source_files(series, &cache, &["benchmark"])?;
    for (name, text) in PROGRAMS.iter().chain([&HARNESS]) {
        files.insert((*name).to_owned(), text.as_bytes().to_vec());
    }
    let runner = DynoRunner::new(engine, pack, files)?;
    let benchmarks = BENCHMARKS.lines().filter(|line| !line.starts_with('#'));
    let programs = PROGRAMS
        .iter()
        .map(|(name, _)| (format!("/app/{name}"), WEIGHT))
        .chain(benchmarks.map(|name| (format!("/app/benchmark/{name}.rb"), 1.0)));
    let limits = BootLimits {
        boot: TIMEOUT,
        output: MAX_COUNTERS,
        ..BootLimits::default()
    };
    let mut profile = MriProfile::new(mri::profile_origin(release));
    for (program, weight) in programs {
        println!("running {program}");
        let (lines, ended) = runner.ruby(&["/app/harness.rb", &program], &limits);
        let (status, dump) = ended.with_context(|| program.clone())?;
        if status != 0 {
            bail!("{program} ended with status {status}: {}", lines.join("\n"));
        }
        profile
            .add(&dump, weight)
            .with_context(|| program.clone())?;
    }
    let compressed = profile.compressed()?;
    std::fs::write(file, &compressed).with_context(|| file.display().to_string())?;
    println!(
        "{}: counts of {} functions in {} kB",
        file.display(),
        profile.functions(),
        compressed.len() / 1000
    );
    Ok(ExitCode::SUCCESS)
}
