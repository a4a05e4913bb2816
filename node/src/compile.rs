//! The compile process: a child of the node that takes one untrusted app tree, under limits of its own.
//!
//! Everything it needs comes on its standard input: a [`Request`] as JSON after its length (so that config vars stand
//! in no argument list and no file), then the app's tree as a tar stream. Its standard output is what the pusher
//! reads; its result is a file in the directory it was given.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use corundum_compiler::detect;
use corundum_compiler::image;
use corundum_compiler::procfile::{self, Processes};
use corundum_compiler::report::{Report, human_size};
use corundum_compiler::slug::{self, Description};
use corundum_compiler::tree::Tree;
use corundum_host::boot::BootError;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::LogSink;
use corundum_host::pack::Pack;
use corundum_sdk::archive::Archive;
use corundum_sdk::names::{ProcessType, SlugDigest};
use corundum_sdk::pack::PackDir;
use corundum_sdk::pack::ruby::Series;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Bytes of a slug, as Heroku has it.
const SLUG_LIMIT: u64 = 500 << 20;
/// Seconds of processor time: a boot's minute, and the rest.
const CPU_SECONDS: u64 = 120;
/// Bytes of memory: a dyno's, its image while it is written, and the program itself.
const DATA_BYTES: u64 = 3 << 30;
/// Bytes of one file it may write.
const FILE_BYTES: u64 = 2 << 30;
/// Open files.
const OPEN_FILES: u64 = 256;
/// Bytes of a request.
const MAX_REQUEST: u32 = 4 << 20;

/// What is to be compiled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The pack, prepared.
    pub(crate) pack: PathBuf,
    /// An existing slug, when only the image is to be made; otherwise the tree follows.
    pub(crate) slug: Option<PathBuf>,
    /// Where the results go: `slug.tar`, `image` and `result.json`.
    pub(crate) directory: PathBuf,
    /// The app's config vars.
    pub(crate) config: Vec<(String, String)>,
}

/// What was compiled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The slug's digest, when one was made.
    pub(crate) slug: Option<SlugDigest>,
    /// What the slug says of itself.
    pub(crate) description: Description,
}

impl Request {
    /// Writes the request as [`run`] reads it.
    pub(crate) fn frame(&self) -> anyhow::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let length = u32::try_from(text.len()).context("too many config vars")?;
        Ok([&length.to_le_bytes()[..], &text].concat())
    }
}

/// Runs the compile process to its end.
pub(crate) fn run() -> ExitCode {
    let mut report = Report::new(std::io::stdout());
    match limit().and_then(|()| compile(&mut report)) {
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
            ExitCode::FAILURE
        }
    }
}

fn limit() -> anyhow::Result<()> {
    let set = |resource, value: u64| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).context("the compile process could not be limited")
    };
    set(Resource::Cpu, CPU_SECONDS)?;
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
    let directory = PackDir::open(&request.pack)?;
    let (slug, digest, description) = match &request.slug {
        Some(path) => {
            let slug = read_slug(path)?;
            let description = describe(&slug)?;
            (slug, None, description)
        }
        None => make_slug(report, input, &request, &directory)?,
    };
    boot(report, &request, &directory, slug, &description)?;
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
    pack: &PackDir,
) -> anyhow::Result<(Arc<Archive>, Option<SlugDigest>, Description)> {
    let tree = Tree::read(input, SLUG_LIMIT)?;
    detect::detect(|path| tree.has_file(path))?;
    report.topic("Ruby app detected");
    let manifest = pack.manifest();
    report.topic(&format!("Using Ruby version: ruby-{}", manifest.version));
    let lockfile = tree.text("Gemfile.lock")?.unwrap_or_default();
    if let Some(gem) = first_gem(&lockfile) {
        anyhow::bail!(
            "The app's Gemfile.lock names {gem}, and this version of Corundum does not install gems yet.\n\
             An app without gems runs: a config.ru with run, use and map needs none."
        );
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
        .or_insert_with(|| "rackup".to_owned());
    let series: Series = manifest.series.parse()?;
    let description = Description {
        abi: manifest.abi,
        ruby: series,
        processes,
    };
    let path = request.directory.join("slug.tar");
    let file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    let finished = slug::write(&tree, &description, file)?;
    finished.output.into_inner()?.sync_all()?;
    report.topic(&format!(
        "Compressing... done, {}",
        human_size(finished.length)
    ));
    Ok((read_slug(&path)?, Some(finished.digest), description))
}

/// The first gem of a lockfile that a dyno would need: servers are not among them, since the dyno is one.
fn first_gem(lockfile: &str) -> Option<String> {
    const SERVERS: [&str; 8] = [
        "puma",
        "thin",
        "unicorn",
        "falcon",
        "webrick",
        "nio4r",
        "eventmachine",
        "daemons",
    ];
    let specs = lockfile
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = specs.filter_map(|line| line.trim().split(' ').next());
    names
        .into_iter()
        .find(|name| !SERVERS.contains(name))
        .map(str::to_owned)
}

fn read_slug(path: &Path) -> anyhow::Result<Arc<Archive>> {
    let bytes = std::fs::read(path).with_context(|| format!("the slug {}", path.display()))?;
    Ok(Arc::new(Archive::new(bytes)?))
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
    pack: &PackDir,
    slug: Arc<Archive>,
    description: &Description,
) -> anyhow::Result<()> {
    let words = Arc::new(Words::default());
    let command = description
        .processes
        .get(&ProcessType::web())
        .map_or("rackup", String::as_str);
    let environ = image::environ(request.config.iter().cloned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let booted = runtime.block_on(async {
        let engine = Engine::new(EngineConfig::on_demand())?;
        let pack = Pack::open(&engine, pack, words.clone(), |_| {}).await?;
        let path = request.directory.join("image");
        let made = image::make(&engine, &pack, slug, command, environ, words.clone(), &path);
        Ok::<_, anyhow::Error>(made.await)
    })?;
    let said = words
        .0
        .lock()
        .map(|lines| lines.join("\n"))
        .unwrap_or_default();
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

/// What the app says while it boots, up to a bound.
#[derive(Default)]
struct Words(Mutex<Vec<String>>);

impl LogSink for Words {
    fn line(&self, line: &[u8]) {
        let Ok(mut lines) = self.0.lock() else { return };
        if lines.len() < 500 {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    }
}
