//! Boots an app from the text of its `config.ru` and sends it requests through a grid.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_abi::run_stream::WINDOW;
use corundum_abi::scgi::{RequestHead, RequestHeadWriter};
use corundum_exchange::{DynoBody, RequestBody};
use corundum_host::boot::{self, AppProcess, BootLimits, SampleRequests, WarmUp};
use corundum_host::console::{RunOutput, RunSession};
use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_host::grid::{
    DispatchError, DynoGrid, GridLimits, GridLog, GridRelease, Isolation, RunCommand,
};
use corundum_host::image::Image;
use corundum_host::log::LogSink;
use corundum_host::memory::MemoryLimits;
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_host::request::DynoRequest;
use corundum_pack::archive::{Archive, ArchiveWriter, FileMode};
use corundum_pack::ruby::{Edition, Series, prepare};
use futures_util::StreamExt;
use tokio::sync::{OnceCell, mpsc};

/// Settings of a test's app.
pub(crate) struct Options {
    pub(crate) edition: Edition,
    pub(crate) limits: GridLimits,
    pub(crate) isolation: Isolation,
    pub(crate) formation: u32,
    pub(crate) warm_up: WarmUp,
    /// Rules for connections that the app opens.
    pub(crate) outbound: OutboundRules,
    /// Engine of the app alone; `None` for the engine that tests share.
    pub(crate) engine: Option<Engine>,
    /// Names and texts of further files.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Paths and bytes of further files.
    pub(crate) binaries: Vec<(String, Vec<u8>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            edition: series().best(),
            limits: GridLimits::default(),
            isolation: Isolation::App,
            formation: 4,
            // Only the test's own requests run in the app.
            warm_up: WarmUp::None,
            outbound: OutboundRules::closed(),
            engine: None,
            files: &[],
            binaries: Vec::new(),
        }
    }
}

/// Returns the series of apps that ask for none: the one in CORUNDUM_TEST_RUBY, or the default.
fn series() -> Series {
    let set = std::env::var("CORUNDUM_TEST_RUBY");
    set.map_or(Series::DEFAULT, |series| series.parse().unwrap())
}

/// A booted app in a grid of its own.
pub(crate) struct TestApp {
    grid: DynoGrid,
    name: AppName,
    lines: Arc<TestLog>,
}

#[derive(Default)]
struct TestLog(Mutex<Vec<String>>);

impl LogSink for TestLog {
    fn line(&self, line: &[u8]) {
        self.0
            .lock()
            .unwrap()
            .push(String::from_utf8_lossy(line).into_owned());
    }
}

impl GridLog for TestLog {
    fn dyno_line(&self, _app: &AppName, dyno: &DynoName, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        self.0.lock().unwrap().push(format!("{dyno}: {line}"));
    }

    fn platform_line(&self, _app: &AppName, dyno: &DynoName, line: &str) {
        self.0
            .lock()
            .unwrap()
            .push(format!("corundum {dyno}: {line}"));
    }
}

pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("CORUNDUM_CACHE").map(PathBuf::from);
    cache
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/corundum"))
}

/// Returns the engine that all tests share.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let allocation = Allocation::Pooled { dynos: 100 };
        let config = EngineConfig {
            allocation,
            compiles_extensions: true,
            ..EngineConfig::default()
        };
        Engine::new(config).unwrap()
    })
}

/// Returns the pack that all tests of an edition share.
async fn pack(edition: Edition) -> Arc<Pack> {
    static PACKS: [OnceCell<Arc<Pack>>; Edition::ALL.len()] =
        [const { OnceCell::const_new() }; Edition::ALL.len()];
    let index = Edition::ALL.iter().position(|other| *other == edition);
    let open = || open_pack(engine(), edition);
    PACKS[index.unwrap()].get_or_init(open).await.clone()
}

async fn open_pack(engine: &Engine, edition: Edition) -> Arc<Pack> {
    let directory = prepare(edition, &cache(), |_| {}).unwrap();
    let log = Arc::new(TestLog::default());
    Arc::new(Pack::open(engine, &directory, log, |_| {}).await.unwrap())
}

fn head(method: &str, target: &str, length: Option<u64>) -> RequestHead {
    let mut head = RequestHeadWriter::new(Vec::new(), length);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for (key, value) in [
        ("REQUEST_METHOD", method),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("rack.url_scheme", "http"),
    ] {
        head.pair(key.as_bytes(), value.as_bytes());
    }
    head.finish()
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> DynoRequest {
    let head = head(method, path, Some(body.len() as u64));
    let body = match body {
        "" => RequestBody::Empty,
        body => RequestBody::Full(Bytes::copy_from_slice(body.as_bytes())),
    };
    DynoRequest { head, body }
}

/// Creates a request whose body arrives in pieces and has no declared length.
pub(crate) fn chunked(path: &str, pieces: Vec<Bytes>) -> DynoRequest {
    let body = futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed();
    DynoRequest {
        head: head("POST", path, None),
        body: RequestBody::Stream(body),
    }
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct CollectedResponse {
    pub(crate) status: u16,
    /// Headers as `name: value`.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// Returns an app that evaluates the body of each request after `helpers`, and shows the result or the error.
pub(crate) fn evaluating(helpers: &str) -> String {
    let app = r##"
run ->(env) {
  result = begin
    eval(env["rack.input"].read)
  rescue Exception => error
    "#{error.class}: #{error.message}, #{error.backtrace.first(3).join(" ")}"
  end
  [200, {}, [result.inspect]]
}
"##;
    [helpers, app].concat()
}

/// The end of a command, and its output.
#[derive(Debug)]
pub(crate) struct CollectedRun {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Drop for TestApp {
    /// Ends the idle dynos, which take places in the engine that all tests share.
    fn drop(&mut self) {
        self.grid.remove(&self.name);
    }
}

impl TestApp {
    pub(crate) async fn boot(config_ru: &str) -> Self {
        Self::boot_with(config_ru, Options::default()).await
    }

    pub(crate) async fn boot_with(config_ru: &str, options: Options) -> Self {
        Self::build(config_ru, options).await.unwrap()
    }

    /// Boots an app that must fail, and returns the messages for the person who pushed it.
    pub(crate) async fn boot_error(config_ru: &str) -> Option<String> {
        Self::build(config_ru, Options::default()).await.err()
    }

    async fn build(config_ru: &str, options: Options) -> Result<Self, String> {
        let (engine, pack) = match &options.engine {
            Some(own) => (own, open_pack(own, options.edition).await),
            None => (engine(), pack(options.edition).await),
        };
        let mut writer = ArchiveWriter::new(Vec::new());
        let config = [("config.ru", config_ru)];
        let texts = options.files.iter().chain(&config);
        let texts = texts.map(|(name, text)| (*name, text.as_bytes()));
        let binaries = options.binaries.iter();
        let binaries = binaries.map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        // An archive has its paths in order.
        let mut files: Vec<(&str, &[u8])> = texts.chain(binaries).collect();
        files.sort_unstable();
        for (name, bytes) in files {
            // A script that names its interpreter is meant to be run.
            let mode = match bytes.starts_with(b"#!") {
                true => FileMode::Executable,
                false => FileMode::Plain,
            };
            writer
                .add_file(name, bytes, bytes.len() as u64, mode)
                .unwrap();
        }
        let slug = Arc::new(Archive::new(writer.finish().unwrap().output).unwrap());
        let arguments: Arc<[String]> = Arc::from(["rackup".to_owned()]);
        let environ: Arc<[(String, String)]> =
            Arc::from([("SECRET".to_owned(), "s3cret".to_owned())]);
        let app = AppProcess {
            slug: Some(slug.clone()),
            arguments: arguments.clone(),
            environ: environ.clone(),
            outbound: options.outbound.clone(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let lines = Arc::new(TestLog::default());
        let samples = SampleRequests {
            host: "test-app.localhost".to_owned(),
            warm_up: options.warm_up,
        };
        let booted = boot::boot(
            engine,
            &pack,
            &app,
            &samples,
            &BootLimits::default(),
            lines.clone(),
            &path,
        )
        .await;
        if let Err(error) = booted {
            return Err(format!("{}\n{error}", lines.0.lock().unwrap().join("\n")));
        }
        let image = Arc::new(Image::load_built(engine, &pack, &path).unwrap());
        let runtime = tokio::runtime::Handle::current();
        let grid = DynoGrid::new(engine.clone(), options.limits, lines.clone(), runtime);
        let name: AppName = "test-app".parse().unwrap();
        grid.set_formation(&name, options.formation);
        grid.deploy(GridRelease {
            app: name.clone(),
            version: ReleaseVersion(1),
            pack: pack.clone(),
            image,
            slug,
            arguments,
            environ,
            isolation: options.isolation,
            outbound: options.outbound,
            volume: Arc::default(),
        });
        lines.0.lock().unwrap().clear();
        Ok(Self { grid, name, lines })
    }

    /// Deploys the same release as another app of the same grid.
    pub(crate) fn again(&self, name: &str, formation: u32) -> Self {
        let release = self.grid.release(&self.name).unwrap();
        let name: AppName = name.parse().unwrap();
        self.grid.set_formation(&name, formation);
        self.grid.deploy(GridRelease {
            app: name.clone(),
            version: release.version,
            pack: release.pack.clone(),
            image: release.image.clone(),
            slug: release.slug.clone(),
            arguments: release.arguments.clone(),
            environ: release.environ.clone(),
            isolation: release.isolation,
            outbound: release.outbound.clone(),
            volume: release.volume.clone(),
        });
        Self {
            grid: self.grid.clone(),
            name,
            lines: self.lines.clone(),
        }
    }

    /// Returns a handle of another app of the same grid, without deploying it.
    pub(crate) fn again_later(&self, name: &str) -> Self {
        Self {
            grid: self.grid.clone(),
            name: name.parse().unwrap(),
            lines: self.lines.clone(),
        }
    }

    pub(crate) fn grid(&self) -> &DynoGrid {
        &self.grid
    }

    pub(crate) fn name(&self) -> &AppName {
        &self.name
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), DispatchError> {
        self.send(request("GET", path, "")).await
    }

    pub(crate) async fn send(&self, request: DynoRequest) -> Result<(u16, String), DispatchError> {
        let answer = self.answer(request).await?;
        Ok((answer.status, answer.body))
    }

    pub(crate) async fn answer(
        &self,
        request: DynoRequest,
    ) -> Result<CollectedResponse, DispatchError> {
        let served = self.grid.dispatch(&self.name, request).await?;
        let mut bytes = Vec::new();
        match served.response.body {
            DynoBody::Full(body) => bytes.extend_from_slice(&body),
            DynoBody::Stream(mut stream) => {
                while let Some(part) = stream.recv().await {
                    let part =
                        part.map_err(|error| DispatchError::NoResponse(error.to_string()))?;
                    bytes.extend_from_slice(&part);
                }
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = served.response.head;
        let headers = head.headers.iter();
        Ok(CollectedResponse {
            status: head.status,
            headers: headers
                .map(|(name, value)| format!("{}: {}", text(name), text(value)))
                .collect(),
            body: text(&bytes),
        })
    }

    /// Runs a command without input, and returns its status and its output, both streams together.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let run = self.run_with(arguments, b"").await;
        (run.status, run.stdout + &run.stderr)
    }

    /// Runs a command with `input`.
    pub(crate) async fn run_with(&self, arguments: &[&str], input: &[u8]) -> CollectedRun {
        self.run_command(arguments, &[], input).await
    }

    /// Runs a command with variables and `input`, which it sends as the command reads it.
    pub(crate) async fn run_command(
        &self,
        arguments: &[&str],
        environ: &[(&str, &str)],
        input: &[u8],
    ) -> CollectedRun {
        let (output, mut received) = mpsc::channel(4);
        let session = Arc::new(RunSession::new(None, output));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let command = RunCommand {
            dyno: self.grid.one_off_name(&self.name).unwrap(),
            memory: MemoryLimits::hard(EngineConfig::default().memory_limit),
            release: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environ: environ.iter().map(owned).collect(),
            session: session.clone(),
        };
        let running = self.grid.run(&self.name, command);
        let client = session.clone();
        let send = async move {
            let session = client;
            let mut granted = WINDOW as usize;
            for piece in input.chunks(1000) {
                while granted < piece.len() {
                    granted += session.grants().await as usize;
                }
                granted -= piece.len();
                session.receive(piece).unwrap();
            }
            session.end_input();
            std::future::pending::<()>().await;
        };
        let collect = async {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            while let Some(output) = received.recv().await {
                match output {
                    RunOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                    RunOutput::Stderr(bytes) => stderr.extend_from_slice(&bytes),
                }
            }
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (text(stdout), text(stderr))
        };
        // The output ends when the dyno and the client have dropped the session.
        drop(session);
        let ended = async move {
            tokio::select! {
                status = running => status,
                () = send => unreachable!("the input waits for the end"),
            }
        };
        let (status, (stdout, stderr)) = tokio::join!(ended, collect);
        CollectedRun {
            status: status.unwrap(),
            stdout,
            stderr,
        }
    }

    pub(crate) fn scale(&self, formation: u32) {
        self.grid.set_formation(&self.name, formation);
        std::thread::sleep(Duration::from_millis(10));
    }

    pub(crate) fn dyno_count(&self) -> usize {
        self.grid.dynos(&self.name).len()
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }
}
