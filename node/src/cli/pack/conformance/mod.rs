//! The conformance kit: drives the probe app of a pack, and names each rule that the pack breaks with the way to follow it.
//!
//! `docs/pack-conformance.md` specifies the probe app. [`probe`] boots it and sends it requests; each other file has the rules of one
//! group. A rule that fails does not stop the others.

mod bounds;
mod copies;
mod life;
mod probe;
mod request;
mod response;
mod statics;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use corundum_host::boot::WarmUp;
use corundum_pack::PackDir;
use corundum_pack::archive::{ArchiveWriter, FileMode};

use self::probe::{ProbeApp, ProbePack};

/// Time for one rule.
const RULE: Duration = Duration::from_secs(60);

/// The probe app of the packs of Ruby, whose members have none.
const RUBY_PROBE: [(&str, &str); 3] = [
    (
        "command.rb",
        include_str!("../../../../../sdk/probe/ruby/command.rb"),
    ),
    (
        "config.ru",
        include_str!("../../../../../sdk/probe/ruby/config.ru"),
    ),
    (
        "probe.txt",
        include_str!("../../../../../sdk/probe/ruby/probe.txt"),
    ),
];

/// The part of the kit that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KitLength {
    /// Rules that take seconds.
    Short,
    /// All rules.
    Whole,
}

/// The outcome of a rule.
struct RuleResult {
    name: &'static str,
    /// The finding, or the problem.
    found: Result<String, String>,
    /// The way to follow the rule.
    fix: &'static str,
}

/// The outcomes of all rules.
#[derive(Default)]
pub(super) struct ConformanceReport {
    results: Vec<RuleResult>,
}

impl ConformanceReport {
    /// Adds the outcome of a rule that is checked at once.
    fn add(&mut self, name: &'static str, fix: &'static str, found: Result<String, String>) {
        match &found {
            Ok(detail) => println!("ok    {name}{}{detail}", separator(detail)),
            Err(problem) => println!("FAIL  {name}: {problem}\n      {fix}"),
        }
        self.results.push(RuleResult { name, found, fix });
    }

    /// Checks a rule within its time.
    async fn check(
        &mut self,
        name: &'static str,
        fix: &'static str,
        rule: impl Future<Output = Result<String, String>>,
    ) {
        let found = tokio::time::timeout(RULE, rule).await;
        let late = Err(format!("not decided within {} s", RULE.as_secs()));
        self.add(name, fix, found.unwrap_or(late));
    }

    /// Returns whether all rules were followed.
    pub(super) fn is_passed(&self) -> bool {
        self.results.iter().all(|result| result.found.is_ok())
    }

    /// Prints the failures once more and their number, and returns the status of the command.
    pub(super) fn finish(&self) -> ExitCode {
        let failed: Vec<&RuleResult> = self
            .results
            .iter()
            .filter(|result| result.found.is_err())
            .collect();
        println!(
            "{} of {} rules passed",
            self.results.len() - failed.len(),
            self.results.len()
        );
        for result in &failed {
            println!("  {}: {}", result.name, result.fix);
        }
        match failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn separator(detail: &str) -> &'static str {
    match detail.is_empty() {
        true => "",
        false => ": ",
    }
}

/// Drives the kit over a pack.
pub(super) fn run(directory: &PackDir, length: KitLength) -> anyhow::Result<ConformanceReport> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(drive(directory, length));
    // A guest that never yields keeps its thread.
    runtime.shutdown_timeout(Duration::from_secs(1));
    report
}

async fn drive(directory: &PackDir, length: KitLength) -> anyhow::Result<ConformanceReport> {
    let mut report = ConformanceReport::default();
    statics::check(directory, &mut report)?;
    let probe = probe_archive(directory)?;
    let pack = ProbePack::open(directory, probe).await?;
    let work = tempfile::tempdir()?;
    let image = work.path().join("image");
    let booted = pack.boot(WarmUp::Requests, &image).await;
    let is_booted = booted.is_ok();
    report.add(
        "life: the probe app boots",
        "dyno_boot must load the app in /app and return 0; the log has its reason",
        match booted {
            Ok(booted) => Ok(format!("{} ms", booted.boot.as_millis())),
            Err(error) => Err(format!("{error}\n{}", pack.log.text())),
        },
    );
    if !is_booted {
        return Ok(report);
    }
    let app = pack.deploy(&image)?;
    life::check(&pack, &app, work.path(), &mut report).await;
    copies::check(&pack, &app, &image, &mut report).await?;
    request::check(&app, &mut report).await;
    response::check(&app, &mut report).await;
    bounds::check(&app, length, &mut report).await;
    Ok(report)
}

/// Returns the archive of a pack's probe app.
fn probe_archive(directory: &PackDir) -> anyhow::Result<Vec<u8>> {
    let manifest = directory.manifest();
    if let Some(probe) = &manifest.probe {
        return Ok(directory.read(probe)?);
    }
    anyhow::ensure!(
        manifest.language == corundum_pack::ruby::LANGUAGE,
        "the pack has no probe app: write one as docs/pack-conformance.md says, name its folder in pack.toml \
         (probe = \"probe\"), and build the pack again"
    );
    let mut writer = ArchiveWriter::new(Vec::new());
    for (name, text) in RUBY_PROBE {
        let length = text.len() as u64;
        writer.add_file(name, text.as_bytes(), length, FileMode::Plain)?;
    }
    Ok(writer.finish().context("probe app")?.output)
}

/// Returns an error with `problem` unless a condition holds.
fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(problem()),
    }
}

/// Asks for a path, and compares the response with what it must be.
async fn expect(
    app: &ProbeApp,
    to: probe::Deployment,
    target: &str,
    expected: &str,
) -> Result<String, String> {
    let text = app.text(to, target).await?;
    ensure(text == expected, || {
        format!("{target} is {text:?}, not {expected:?}")
    })?;
    Ok(String::new())
}
