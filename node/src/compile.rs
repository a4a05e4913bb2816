//! The compile process: a child of the node that takes one untrusted app tree, under limits of its own.
//!
//! Everything it needs comes on its standard input: a [`Request`] as JSON after its length (so that config vars stand
//! in no argument list and no file), then the app's tree as a tar stream. Its standard output is what the pusher
//! reads; its result is a file in the directory it was given.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use corundum_abi::names::{ProcessType, SlugDigest};
use corundum_compiler::app_json::AppJson;
use corundum_compiler::assets::{self, Serve, Serving};
use corundum_compiler::detect;
use corundum_compiler::gems::{self, GemfileReport, Places, Remote, Store};
use corundum_compiler::process;
use corundum_compiler::procfile::{self, Processes};
use corundum_compiler::report::{Report, human_size};
use corundum_compiler::slug::{self, Description};
use corundum_compiler::slugignore::{self, Slugignore};
use corundum_compiler::tree::Tree;
use corundum_control::builds::protocol::{Limits, NICE, Outcome, REFUSED, Request};
use corundum_host::boot::{self, App, BootError, BootLimits, Samples};
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::LogSink;
use corundum_host::pack::Pack;
use corundum_host::slug::open as open_slug;
use corundum_pack::PackDir;
use corundum_pack::archive::{Archive, ArchiveWriter, FileMode};
use corundum_pack::ruby::Series;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Bytes of a pushed tree: .slugignore may leave out half of it.
const TREE_LIMIT: u64 = 1 << 30;
/// Seconds of processor time beside the Gemfile's and the boot's.
const CPU_SECONDS: u64 = 60;
/// Bytes of memory: a dyno's, its image while it is written, and the program itself.
const DATA_BYTES: u64 = 3 << 30;
/// Bytes of one file it may write.
const FILE_BYTES: u64 = 2 << 30;
/// Open files.
const OPEN_FILES: u64 = 256;
/// Bytes of a request.
const MAX_REQUEST: u32 = 4 << 20;

/// Runs the compile process to its end.
pub(crate) fn run() -> ExitCode {
    end_with_node();
    let mut report = Report::new(std::io::stdout());
    match compile(&mut report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let phase = if error.is::<BootError>() {
                "boot"
            } else {
                "compile"
            };
            report.error(&format!(
                "{error:#}\n\nPush rejected, failed to {phase} Ruby app."
            ));
            ExitCode::from(REFUSED as u8)
        }
    }
}

/// Ends this process when nobody reads its output any more: a node that is killed takes its builds with it.
fn end_with_node() {
    // Without the thread the limits below still end the build in time.
    let _ = std::thread::Builder::new().spawn(|| {
        let output = std::io::stdout();
        let mut polled = [PollFd::new(&output, PollFlags::empty())];
        while poll(&mut polled, None) != Ok(1) {}
        std::process::exit(1);
    });
}

fn boot_limits_of(limits: Limits) -> BootLimits {
    BootLimits {
        boot: limits.boot,
        ..BootLimits::default()
    }
}

fn limit(limits: Limits) -> anyhow::Result<()> {
    let set = |resource, value: u64| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).context("the compile process could not be limited")
    };
    set(Resource::Cpu, CPU_SECONDS + 2 * limits.boot.as_secs())?;
    let _ = rustix::process::nice(NICE);
    set(Resource::Data, DATA_BYTES)?;
    set(Resource::Fsize, FILE_BYTES)?;
    set(Resource::Nofile, OPEN_FILES)?;
    set(Resource::Core, 0)
}

fn compile(report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let mut input = std::io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length).context("no request")?;
    let length = u32::from_le_bytes(length);
    anyhow::ensure!(length <= MAX_REQUEST, "the config vars are too large");
    let mut text = vec![0; length as usize];
    input.read_exact(&mut text).context("no request")?;
    let request: Request = serde_json::from_slice(&text)?;
    limit(request.limits)?;
    let workshop = Workshop::open(&PackDir::open(&request.pack)?)?;
    let (slug, digest, description) = match &request.slug {
        Some(path) => {
            let slug = Arc::new(open_slug(path, None)?);
            let description = describe(&slug)?;
            (slug, None, description)
        }
        None => make_slug(report, input, &request, &workshop)?,
    };
    boot(report, &request, &workshop, slug, &description)?;
    let outcome = Outcome {
        slug: digest,
        description,
    };
    std::fs::write(
        request.directory.join("result.json"),
        serde_json::to_vec(&outcome)?,
    )?;
    Ok(())
}

fn make_slug(
    report: &mut Report<impl Write>,
    input: impl Read,
    request: &Request,
    workshop: &Workshop,
) -> anyhow::Result<(Arc<Archive>, Option<SlugDigest>, Description)> {
    let mut tree = Tree::read(input, TREE_LIMIT)?;
    if let Some(text) = tree.text(slugignore::FILE)? {
        let ignore = Slugignore::parse(&text)?;
        tree.retain(|path| ignore.leaves_out(path));
    }
    detect::detect(|path| tree.has_file(path))?;
    report.topic("Ruby app detected");
    let manifest = workshop.pack.manifest();
    report.topic(&format!("Using Ruby version: ruby-{}", manifest.version));
    let about = match tree.text("app.json")? {
        Some(text) => AppJson::parse(&text)?,
        None => AppJson::default(),
    };
    if tree.has_file("Gemfile") {
        report.topic("Installing dependencies");
        let gemfile = evaluate_gemfile(workshop, &tree, request.limits)?;
        let store = Store::new(&request.gem_cache, &request.directory);
        let places = Places {
            directories: &request.gems,
            remote: &Remote::new(request.gem_sources.clone(), store),
        };
        gems::install(&mut tree, &gemfile, manifest, &places, |line| {
            report.detail(line)
        })?;
    }
    report.topic("Discovering process types");
    let mut processes: Processes = match tree.text("Procfile")? {
        Some(text) => procfile::parse(&text)?,
        None => Processes::new(),
    };
    let declared: Vec<String> = processes.keys().map(ToString::to_string).collect();
    if declared.is_empty() {
        report.detail("No Procfile, using the default: web: rackup");
    } else {
        report.detail(&format!(
            "Procfile declares types -> {}",
            declared.join(", ")
        ));
    }
    processes
        .entry(ProcessType::web())
        .or_insert_with(|| slug::WEB_COMMAND.to_owned());
    let series: Series = manifest.series.parse()?;
    let description = Description {
        abi: manifest.abi,
        ruby: series,
        processes,
        isolation: about.isolation,
        warm_up: about.warm_up,
        serving: about.serving,
    };
    compress(report, &mut tree, about.serving)?;
    let path = request.directory.join("slug.tar");
    let file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    let finished = slug::write(&tree, &description, request.limits.slug, file)?;
    finished.output.into_inner()?.sync_all()?;
    report.topic(&format!(
        "Compressing... done, {}",
        human_size(finished.length)
    ));
    Ok((
        Arc::new(open_slug(&path, None)?),
        Some(finished.digest),
        description,
    ))
}

/// Adds the encoded forms of what is in `public/`.
fn compress(
    report: &mut Report<impl Write>,
    tree: &mut Tree,
    serving: Serving,
) -> anyhow::Result<()> {
    if serving.serve == Serve::None {
        return Ok(());
    }
    let encoded = assets::encode(tree)?;
    if encoded.files > 0 {
        report.topic(&format!(
            "Compressing static files... done, {} of {}: {} -> {}",
            encoded.files,
            encoded.of,
            human_size(encoded.before),
            human_size(encoded.after)
        ));
    }
    Ok(())
}

/// What the Gemfile says: evaluated in the sandbox, since it is code.
fn evaluate_gemfile(
    workshop: &Workshop,
    tree: &Tree,
    limits: Limits,
) -> anyhow::Result<GemfileReport> {
    let mut writer = ArchiveWriter::new(Vec::new());
    let wanted = |path: &str| {
        ["Gemfile", "Gemfile.lock", ".ruby-version"].contains(&path) || path.ends_with(".gemspec")
    };
    for (path, _) in tree.entries().filter(|(path, _)| wanted(path)) {
        if let Some(text) = tree.text(path)? {
            writer.add_file(path, text.as_bytes(), text.len() as u64, FileMode::Plain)?;
        }
    }
    let app = App {
        slug: Some(Arc::new(Archive::new(writer.finish()?.output)?)),
        arguments: Arc::from(["corundum-gemfile".to_owned()]),
        environ: process::environ([]),
    };
    let log = Arc::new(Words::default());
    let boot_limits = boot_limits_of(limits);
    let run = boot::run(&workshop.engine, &workshop.pack, &app, &boot_limits, log);
    let (status, output) = workshop
        .runtime
        .block_on(run)
        .map_err(|error| match error {
            BootError::Timeout(_) => GemfileError::Timeout(limits.boot),
            other => GemfileError::Ended(other.to_string()),
        })?;
    if output.is_empty() {
        return Err(GemfileError::Ended(format!("it called exit({status})")).into());
    }
    Ok(serde_json::from_slice(&output).map_err(|_| GemfileError::Printed)?)
}

/// A Gemfile that says nothing of its gems.
#[derive(Debug, thiserror::Error)]
enum GemfileError {
    #[error("The Gemfile cannot be evaluated: it takes longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("The Gemfile cannot be evaluated: {0}")]
    Ended(String),
    #[error(
        "The Gemfile cannot be evaluated: it printed something itself, which a Gemfile must not"
    )]
    Printed,
}

/// What builds need: an engine with the pack's code.
struct Workshop {
    engine: Engine,
    pack: Pack,
    runtime: tokio::runtime::Runtime,
}

impl Workshop {
    fn open(directory: &PackDir) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let engine = Engine::new(EngineConfig::on_demand())?;
        let pack = runtime.block_on(Pack::open(
            &engine,
            directory,
            Arc::new(Words::default()),
            |_| {},
        ))?;
        Ok(Self {
            engine,
            pack,
            runtime,
        })
    }
}

/// What a slug says of itself.
pub(crate) fn describe(slug: &Archive) -> anyhow::Result<Description> {
    let node = slug
        .lookup(slug::DESCRIPTION)
        .context("the slug does not say what it is")?;
    Ok(serde_json::from_slice(slug.content(node))?)
}

fn boot(
    report: &mut Report<impl Write>,
    request: &Request,
    workshop: &Workshop,
    slug: Arc<Archive>,
    description: &Description,
) -> anyhow::Result<()> {
    let words = Arc::new(Words::default());
    let app = App {
        slug: Some(slug),
        arguments: process::arguments(description.web_command()),
        environ: process::environ(request.config.iter().cloned()),
    };
    let samples = Samples {
        host: request.host.clone(),
        warm_up: description.warm_up,
    };
    let path = request.directory.join("image");
    let Workshop {
        engine,
        pack,
        runtime,
    } = workshop;
    let limits = boot_limits_of(request.limits);
    let made = boot::boot(engine, pack, &app, &samples, &limits, words.clone(), &path);
    let booted = runtime.block_on(made);
    let said = words.text();
    match booted {
        Ok(booted) => {
            report.detail(&said);
            report.topic(&format!("Booting... done ({} ms)", booted.boot.as_millis()));
            Ok(())
        }
        Err(error) => {
            report.topic("Booting... failed");
            report.detail(&said);
            Err(error.into())
        }
    }
}

/// What the app says while it boots: its first lines and its last, between which a flood is left out.
#[derive(Default)]
struct Words(Mutex<Said>);

#[derive(Default)]
struct Said {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
}

impl Words {
    /// Lines kept of the beginning, and as many of the end: that is where a backtrace stands.
    const LINES: usize = 200;
    /// Bytes of a line that are shown. All lines together are far less than what the node relays.
    const LINE: usize = 4000;

    fn text(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = said.first.clone();
        if said.left_out > 0 {
            lines.push(format!("... ({} lines left out)", said.left_out));
        }
        lines.extend(said.last.iter().cloned());
        lines.join("\n")
    }
}

impl LogSink for Words {
    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(Self::LINE)]).into_owned();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.first.len() < Self::LINES {
            said.first.push(line);
            return;
        }
        if said.last.len() == Self::LINES {
            said.last.pop_front();
            said.left_out += 1;
        }
        said.last.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_the_beginning_and_the_end_are_shown() {
        let words = Words::default();
        for index in 0..100_000 {
            words.line(format!("{index} {}", "x".repeat(9000)).as_bytes());
        }
        let text = words.text();
        assert!(text.len() < 2 << 20, "{}", text.len());
        assert!(text.starts_with("0 x") && text.contains("\n99999 x"));
        assert!(text.contains("\n... (99600 lines left out)\n"));
    }
}
