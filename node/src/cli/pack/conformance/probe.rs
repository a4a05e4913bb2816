//! The probe app of a pack, booted and deployed in a grid of its own.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_abi::scgi::{RequestHead, RequestHeadWriter};
use corundum_exchange::{DynoBody, RequestBody};
use corundum_host::boot::{
    self, AppProcess, BootError, BootLimits, BootReport, SampleRequests, WarmUp,
};
use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_host::grid::{DispatchError, DynoGrid, GridLimits, GridLog, GridRelease, Isolation};
use corundum_host::image::Image;
use corundum_host::log::LogSink;
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_host::request::DynoRequest;
use corundum_pack::PackDir;
use corundum_pack::archive::{Archive, ArchiveNode};
use tokio::sync::mpsc;

/// Dynos of all apps of the kit.
const DYNOS: u32 = 16;
/// Time until the first byte of a response, after which the grid ends a dyno that computes.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(3);
/// Time for a request that is answered at once.
const ANSWER: Duration = Duration::from_secs(20);

/// Lines of a log.
#[derive(Default)]
pub(super) struct ProbeLog(Mutex<Vec<String>>);

impl ProbeLog {
    pub(super) fn text(&self) -> String {
        self.lines().join("\n")
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A pack that logs without end must not fill the memory.
        if lines.len() < 20_000 {
            lines.push(line);
        }
    }
}

impl LogSink for ProbeLog {
    fn line(&self, line: &[u8]) {
        self.push(String::from_utf8_lossy(line).into_owned());
    }
}

impl GridLog for ProbeLog {
    fn dyno_line(&self, _: &AppName, _: &DynoName, line: &[u8]) {
        self.push(String::from_utf8_lossy(line).into_owned());
    }

    fn platform_line(&self, _: &AppName, _: &DynoName, line: &str) {
        self.push(line.to_owned());
    }
}

/// A pack, and its probe app.
pub(super) struct ProbePack {
    pub(super) engine: Engine,
    pub(super) pack: Arc<Pack>,
    pub(super) slug: Arc<Archive>,
    pub(super) log: Arc<ProbeLog>,
}

impl ProbePack {
    /// Opens a pack. `probe` is the archive of its probe app.
    pub(super) async fn open(directory: &PackDir, probe: Vec<u8>) -> anyhow::Result<Self> {
        let config = EngineConfig {
            allocation: Allocation::Pooled { dynos: DYNOS },
            ..EngineConfig::default()
        };
        let engine = Engine::new(config)?;
        let log = Arc::new(ProbeLog::default());
        let pack = Pack::open(&engine, directory, log.clone(), |_| {}).await;
        let pack = pack.with_context(|| format!("the pack cannot be opened\n{}", log.text()))?;
        Ok(Self {
            engine,
            pack: Arc::new(pack),
            slug: Arc::new(Archive::new(probe)?),
            log,
        })
    }

    /// Returns the process of the probe app with further variables.
    pub(super) fn process(&self, arguments: &[String], environ: &[(&str, &str)]) -> AppProcess {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let profile = self.pack.manifest().profile();
        AppProcess {
            slug: Some(self.slug.clone()),
            arguments: arguments.to_vec().into(),
            environ: profile.environ(environ.iter().map(owned)).into(),
            outbound: OutboundRules::closed(),
        }
    }

    /// Returns the words of the command of the web process.
    pub(super) fn web_command(&self) -> Vec<String> {
        let command = &self.pack.manifest().profile().run.command;
        command
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// Returns the name of the first file in the root of the probe app that starts with a text.
    pub(super) fn file_starting_with(&self, start: &str) -> Option<String> {
        let ArchiveNode::Directory { entries } = self.slug.node(Archive::ROOT) else {
            return None;
        };
        let mut names = entries.iter().map(|(name, _)| name.to_string());
        names.find(|name| name.starts_with(start))
    }

    /// Boots the probe app and writes its image to `path`.
    pub(super) async fn boot(&self, warm_up: WarmUp, path: &Path) -> Result<BootReport, BootError> {
        let app = self.process(&self.web_command(), &[("PROBE", "booted")]);
        let samples = SampleRequests {
            host: "probe.localhost".to_owned(),
            warm_up,
        };
        let (log, limits) = (self.log.clone(), BootLimits::default());
        boot::boot(&self.engine, &self.pack, &app, &samples, &limits, log, path).await
    }

    /// Runs a command of the probe app to its end. Its output goes to the log.
    pub(super) async fn run(&self, arguments: &[String]) -> Result<i32, BootError> {
        let app = self.process(arguments, &[("PROBE", "run")]);
        let (log, limits) = (self.log.clone(), BootLimits::default());
        let run = boot::run_command(&self.engine, &self.pack, &app, None, &limits, log);
        run.await.map(|(status, _)| status)
    }

    /// Deploys an image of the probe app twice: as an app whose dynos keep their state, and as one whose dynos serve one request.
    pub(super) fn deploy(&self, image: &Path) -> anyhow::Result<ProbeApp> {
        let image = Arc::new(Image::load_built(&self.engine, &self.pack, image)?);
        let log = Arc::new(ProbeLog::default());
        let runtime = tokio::runtime::Handle::current();
        let limits = GridLimits {
            first_byte: FIRST_BYTE,
            ..GridLimits::default()
        };
        let grid = DynoGrid::new(self.engine.clone(), limits, log.clone(), runtime);
        let process = self.process(&self.web_command(), &[("PROBE", "restored")]);
        let names: [AppName; 3] = ["keeping".parse()?, "fresh".parse()?, "other".parse()?];
        let kinds = [
            (Isolation::App, 1),
            (Isolation::Request, 4),
            (Isolation::App, 1),
        ];
        for (app, (isolation, formation)) in names.iter().cloned().zip(kinds) {
            grid.set_formation(&app, formation);
            grid.deploy(GridRelease {
                app,
                version: ReleaseVersion(1),
                pack: self.pack.clone(),
                image: image.clone(),
                slug: self.slug.clone(),
                arguments: process.arguments.clone(),
                environ: process.environ.clone(),
                isolation,
                outbound: OutboundRules::closed(),
                volume: Arc::default(),
            });
        }
        Ok(ProbeApp { grid, names, log })
    }
}

/// The deployed probe app.
pub(super) struct ProbeApp {
    grid: DynoGrid,
    /// The names of the deployments, in the order of [`Deployment`].
    names: [AppName; 3],
    pub(super) log: Arc<ProbeLog>,
}

/// The deployment that a request goes to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deployment {
    /// The one whose only dyno keeps its state.
    Keeping,
    /// The one whose dynos serve one request each.
    Fresh,
    /// Another app.
    Other,
}

/// A response of the probe app.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// False if the body was interrupted.
    pub(super) is_whole: bool,
}

impl ProbeAnswer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// Builds a request. `length` is that of the body, if it is known.
pub(super) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    length: Option<u64>,
    body: RequestBody,
) -> DynoRequest {
    DynoRequest {
        head: head(method, target, headers, length),
        body,
    }
}

/// Builds a request without a body.
pub(super) fn get(target: &str) -> DynoRequest {
    request("GET", target, &[], Some(0), RequestBody::Empty)
}

/// Builds a request with a body.
pub(super) fn post(target: &str, body: Vec<u8>) -> DynoRequest {
    let length = body.len() as u64;
    let body = RequestBody::Full(Bytes::from(body));
    request("POST", target, &[], Some(length), body)
}

fn head(method: &str, target: &str, headers: &[(&str, &str)], length: Option<u64>) -> RequestHead {
    let mut head = RequestHeadWriter::new(Vec::new(), length);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for (key, value) in [
        ("REQUEST_METHOD", method),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("REQUEST_URI", target),
        ("SERVER_NAME", "probe.localhost"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("rack.url_scheme", "http"),
        ("HTTP_HOST", "probe.localhost"),
    ] {
        head.pair(key.as_bytes(), value.as_bytes());
    }
    for (key, value) in headers {
        head.pair(key.as_bytes(), value.as_bytes());
    }
    head.finish()
}

impl ProbeApp {
    /// Sends a request and reads the response to its end.
    pub(super) async fn send(
        &self,
        to: Deployment,
        request: DynoRequest,
    ) -> Result<ProbeAnswer, String> {
        let answer = tokio::time::timeout(ANSWER, self.answer(to, request));
        match answer.await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no response within {} s", ANSWER.as_secs())),
        }
    }

    /// Requests a path, and returns the text of a response with the status 200.
    pub(super) async fn text(&self, to: Deployment, target: &str) -> Result<String, String> {
        let answer = self.send(to, get(target)).await?;
        match answer.status {
            200 if answer.is_whole => Ok(answer.text()),
            200 => Err(format!("the response to {target} was interrupted")),
            status => Err(format!(
                "{target} has the status {status}: {}",
                answer.text()
            )),
        }
    }

    async fn answer(
        &self,
        to: Deployment,
        request: DynoRequest,
    ) -> Result<ProbeAnswer, DispatchError> {
        let (head, mut parts) = self.begin(to, request).await?;
        let mut answer = ProbeAnswer {
            body: Vec::new(),
            is_whole: true,
            ..head
        };
        while let Some(part) = parts.next().await {
            match part {
                Some(bytes) => answer.body.extend_from_slice(&bytes),
                None => answer.is_whole = false,
            }
        }
        Ok(answer)
    }

    /// Sends a request, and returns the head of the response and its body.
    pub(super) async fn begin(
        &self,
        to: Deployment,
        request: DynoRequest,
    ) -> Result<(ProbeAnswer, AnswerBody), DispatchError> {
        let name = &self.names[to as usize];
        let served = self.grid.dispatch(name, request).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = served.response.head;
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (text(name).to_lowercase(), text(value)));
        let answer = ProbeAnswer {
            status: head.status,
            headers: headers.collect(),
            body: Vec::new(),
            is_whole: true,
        };
        let body = match served.response.body {
            DynoBody::Full(bytes) => AnswerBody::Full(Some(bytes)),
            DynoBody::Stream(stream) => AnswerBody::Stream(stream),
        };
        Ok((answer, body))
    }

    /// Waits until the log has a text.
    pub(super) async fn wait_for_log(&self, text: &str) -> bool {
        for _ in 0..200 {
            if self.log.text().contains(text) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// The body of a response.
pub(super) enum AnswerBody {
    /// The whole body, until it is taken.
    Full(Option<Bytes>),
    /// A body that arrives in pieces.
    Stream(mpsc::Receiver<Result<Bytes, corundum_exchange::BodyInterrupted>>),
}

impl AnswerBody {
    /// Returns the next piece; `Some(None)` if the body was interrupted.
    pub(super) async fn next(&mut self) -> Option<Option<Bytes>> {
        match self {
            Self::Full(bytes) => bytes.take().map(Some),
            Self::Stream(stream) => Some(stream.recv().await?.ok()),
        }
    }
}
