//! `pack test`: MRI's own tests, each file or assertion in a dyno of its own.
//!
//! `known.txt` beside the guest's test runners names the tests that fail, each with its reason. The list may only shrink: a
//! test that passes must be removed from it, and at least as many tests must pass as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use corundum_host::boot::BootLimits;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_pack::language::PackKey;
use corundum_pack::ruby::Series;
use indicatif::{ProgressBar, ProgressStyle};

use corundum_control::packs::open as packs;

use super::dyno_runner::{DynoRunner, source_files};

const UNIT: &str = include_str!("../../../../sdk/ruby/test/unit.rb");
const BOOTSTRAP: &str = include_str!("../../../../sdk/ruby/test/bootstrap.rb");
/// The program of basictest, which writes files to its working directory.
const BASIC: &str = "Dir.chdir('/tmp'); load '/app/basictest/test.rb'";
const KNOWN: &str = include_str!("../../../../sdk/ruby/test/known.txt");

/// Prefix of the reason of a test that the run skips, since it hangs.
const HANGS: &str = "not run:";
/// Timeout of a dyno that runs a file of tests.
const FILE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of a dyno that runs a single assertion.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Dynos that one file may crash before the run skips the rest of it.
const ATTEMPTS: usize = 8;
/// Files that do not apply as a whole: they test parallel threads, processes and compilers, which a dyno does not have.
const ABSENT: [&str; 15] = [
    "test_fork.rb",
    "test_ractor.rb",
    "test_rjit.rb",
    "test_yjit.rb",
    "test_yjit_30k_ifelse.rb",
    "test_yjit_30k_methods.rb",
    "test_yjit_rust_port.rb",
    "test_continuation.rb",
    "test_gc_compact.rb",
    "test_io_buffer.rb",
    "test_process.rb",
    "test_rubyoptions.rb",
    "test_signal.rb",
    "test_system.rb",
    "test_yjit_exit_locations.rb",
];
/// Files of test/ruby in a short run: objects, exceptions, memory.
const SHORT: [&str; 12] = [
    "test_array.rb",
    "test_enum.rb",
    "test_exception.rb",
    "test_gc.rb",
    "test_hash.rb",
    "test_lambda.rb",
    "test_method.rb",
    "test_proc.rb",
    "test_regexp.rb",
    "test_string.rb",
    "test_struct.rb",
    "test_weakmap.rb",
];
/// Files of bootstraptest that also run with a garbage collection at every allocation.
const STRESSED: [&str; 3] = ["test_block.rb", "test_exception.rb", "test_jump.rb"];

/// Runs the tests of a series; a short run takes only some files.
pub(super) fn run(
    series: Series,
    short: bool,
    only: Option<&str>,
    write: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let bench = Bench::open(series)?;
    let mut results = Results {
        series: series.as_str(),
        ..Results::default()
    };
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("[{bar:24}] {pos}/{len} {wide_msg} {elapsed}")?;
    bar.set_style(style.progress_chars("=> "));
    let wanted = |file: &str| only.is_none_or(|only| file.contains(only));
    let files = |folder: &str, in_short: &[&str]| {
        let mut files = bench.runner.files(folder);
        files.retain(|file| {
            file.starts_with("test_")
                && wanted(file)
                && !ABSENT.contains(&file.as_str())
                && (!short || in_short.contains(&file.as_str()))
        });
        files
    };
    let units = files("test/ruby/", &SHORT);
    let programs = files("bootstraptest/", &STRESSED);
    bar.set_length((units.len() + programs.len() + 1) as u64);
    if wanted("basictest") {
        bar.set_message("basictest");
        results.add(bench.basic()?);
    }
    for file in &programs {
        bar.inc(1);
        bar.set_message(file.clone());
        bench.bootstrap(file, false, &mut results)?;
        if STRESSED.contains(&file.as_str()) && !(short && file != "test_exception.rb") {
            bench.bootstrap(file, true, &mut results)?;
        }
    }
    for file in &units {
        bar.inc(1);
        bar.set_message(file.clone());
        let started = Instant::now();
        bench.unit(file, &mut results)?;
        tracing::info!(file, seconds = started.elapsed().as_secs(), "done");
    }
    bar.finish_and_clear();
    if let Some(path) = write {
        std::fs::write(path, results.list())?;
    }
    results.judge(short || only.is_some())
}

/// Returns the tests of known.txt with their reasons. A line may begin with the only series that it is about.
fn known(series: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = KNOWN.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let (first, rest) = line.split_once('\t')?;
        match first.parse::<Series>() {
            Ok(only) if only.as_str() == series => rest.split_once('\t'),
            Ok(_) => None,
            Err(_) => Some((first, rest)),
        }
    })
}

/// A test with its result and a message.
struct Ended {
    name: String,
    result: String,
    said: String,
}

#[derive(Default)]
struct Results {
    series: &'static str,
    passed: usize,
    skipped: BTreeMap<String, String>,
    failed: BTreeMap<String, String>,
    all: BTreeSet<String>,
}

impl Results {
    fn add(&mut self, ended: Vec<Ended>) {
        for Ended { name, result, said } in ended {
            self.all.insert(name.clone());
            match result.as_str() {
                "pass" => self.passed += 1,
                "skip" => drop(self.skipped.insert(name, said)),
                _ => drop(self.failed.insert(name, said)),
            }
        }
    }

    fn list(&self) -> String {
        let lines = self
            .failed
            .iter()
            .map(|(name, said)| format!("{name}\t{said}\n"));
        format!("ran\t{}\n{}", self.passed, lines.collect::<String>())
    }

    fn judge(&self, partial: bool) -> anyhow::Result<ExitCode> {
        let mut known: BTreeMap<&str, &str> = known(self.series).collect();
        let least = known.remove("passed").unwrap_or("0");
        let least: usize = least.trim().parse().context("known.txt")?;
        println!(
            "{} passed, {} do not apply (they need another process, or skip themselves), {} do not pass",
            self.passed,
            self.skipped.len(),
            self.failed.len()
        );
        let new: Vec<_> = self
            .failed
            .iter()
            .filter(|(name, _)| !known.contains_key(name.as_str()))
            .collect();
        for (name, said) in &new {
            println!("not known to fail: {name}\t{said}");
        }
        let better: Vec<_> = known
            .keys()
            .filter(|name| self.all.contains(**name) && !self.failed.contains_key(**name))
            .collect();
        for name in &better {
            println!("passes by now, take it off known.txt: {name}");
        }
        if !new.is_empty() || !better.is_empty() {
            bail!("the tests did not go as known.txt says");
        }
        if !partial && self.passed < least {
            bail!("only {} tests passed; known.txt says {least}", self.passed);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// MRI's tests, as the files of an app.
struct Bench {
    series: Series,
    runner: DynoRunner,
}

impl Bench {
    fn open(series: Series) -> anyhow::Result<Self> {
        let cache = crate::cli::cache()?;
        let engine = Engine::new(EngineConfig::on_demand())?;
        let (_, pack) = packs::open(&engine, &PackKey::Ruby(series.best()), &cache, |_| {})?;
        let folders = [
            "basictest",
            "bootstraptest",
            "test/ruby",
            "tool/lib",
            "test/lib",
        ];
        let mut files = source_files(series, &cache, &folders)?;
        files.insert(".unit.rb".to_owned(), UNIT.as_bytes().to_vec());
        files.insert(".bootstrap.rb".to_owned(), BOOTSTRAP.as_bytes().to_vec());
        Ok(Self {
            series,
            runner: DynoRunner::new(engine, pack, files)?,
        })
    }

    /// Runs a command in a dyno. Returns its log, its output, and its error if it failed.
    fn ruby(&self, arguments: &[&str], timeout: Duration) -> (Vec<String>, String, Option<String>) {
        let limits = BootLimits {
            boot: timeout,
            ..BootLimits::default()
        };
        let (lines, ended) = self.runner.ruby(arguments, &limits);
        match ended {
            Ok((_, output)) => (lines, String::from_utf8_lossy(&output).into_owned(), None),
            Err(error) => (lines, String::new(), Some(error.to_string())),
        }
    }

    fn basic(&self) -> anyhow::Result<Vec<Ended>> {
        let (lines, _, error) = self.ruby(&["-e", BASIC], FILE_TIMEOUT);
        let has = |words: &str| lines.iter().any(|line| line.contains(words));
        let passed = has("end of test") && !has("not ok");
        Ok(vec![Ended {
            name: "basictest".to_owned(),
            result: if passed { "pass" } else { "fail" }.to_owned(),
            said: error.unwrap_or_else(|| lines.last().cloned().unwrap_or_default()),
        }])
    }

    fn bootstrap(&self, file: &str, stress: bool, results: &mut Results) -> anyhow::Result<()> {
        let path = format!("/app/bootstraptest/{file}");
        let (lines, count, error) = self.ruby(&["/app/.bootstrap.rb", &path], TIMEOUT);
        let Ok(count) = count.parse::<usize>() else {
            bail!(
                "{file} cannot be read: {}{}",
                lines.join("\n"),
                error.unwrap_or_default()
            );
        };
        for index in 0..count {
            let index = index.to_string();
            let mut arguments = vec!["/app/.bootstrap.rb", &path, &index];
            if stress {
                arguments.push("stress");
            }
            let (lines, _, error) = self.ruby(&arguments, TIMEOUT);
            let mut ended = ended(&lines, error.as_deref());
            if stress {
                ended
                    .iter_mut()
                    .for_each(|ended| ended.name += " (GC.stress)");
            }
            results.add(ended);
        }
        Ok(())
    }

    /// Runs a file of tests. A test that crashes its dyno counts as failed, and the rest of the file runs without it.
    fn unit(&self, file: &str, results: &mut Results) -> anyhow::Result<()> {
        let path = format!("/app/test/ruby/{file}");
        // A test that is known to hang would take the whole timeout each time.
        let mut done: Vec<String> = known(self.series.as_str())
            .filter(|(_, reason)| reason.starts_with(HANGS))
            .map(|(name, _)| name.to_owned())
            .collect();
        for _ in 0..ATTEMPTS {
            let mut arguments = vec!["/app/.unit.rb", path.as_str()];
            arguments.extend(done.iter().map(String::as_str));
            let (lines, _, error) = self.ruby(&arguments, FILE_TIMEOUT);
            let ended = ended(&lines, error.as_deref());
            let names: Vec<String> = ended.iter().map(|ended| ended.name.clone()).collect();
            let nothing = names.is_empty();
            results.add(ended);
            done.extend(names);
            if error.is_none() || nothing {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the results of tests in a log. A test that began and did not end has crashed its dyno.
fn ended(lines: &[String], error: Option<&str>) -> Vec<Ended> {
    let mut found = Vec::new();
    let mut started = None;
    for line in lines {
        let words: Vec<&str> = line.split('\t').collect();
        match words[..] {
            ["test", "start", name] => started = Some(name.to_owned()),
            ["test", "end", name, result, ref said @ ..] => {
                started = None;
                found.push(Ended {
                    name: name.to_owned(),
                    result: result.to_owned(),
                    said: said.join(" "),
                });
            }
            _ => {}
        }
    }
    if let Some(name) = started {
        found.push(Ended {
            name,
            result: "fail".to_owned(),
            said: format!("the dyno ended: {}", error.unwrap_or("exit")),
        });
    }
    found
}
