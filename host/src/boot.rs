//! The boot of a release: the app is loaded once, its memory is written as an image, and a copy serves one trial
//! request.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use corundum_exchange::{RequestBody, RequestUsage};
use corundum_pack::SampleApp;
use corundum_pack::archive::Archive;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::Instrument;

use crate::dyno::{CallError, Dyno, StartError};
use crate::engine::Engine;
use crate::image::{Image, ImageDescription, ImageError, NewImage, changed_pages};
use crate::log::LogSink;
use crate::os::{Filesystem, GuestProcess, MAX_LAYER, TmpLimits};
use crate::outbound::OutboundRules;
use crate::pack::linked::Pack;
use crate::request::{DynoRequest, RequestProgress};
use crate::sample_request::SampleTarget;
use crate::sample_session::{AnsweredSample, SharedSession};
use crate::tools::ToolRunner;

pub use corundum_abi::app_options::WarmUp;

/// An app's process that is to be booted.
pub struct AppProcess {
    /// Files of the app; `None` for a command that needs no app.
    pub slug: Option<Arc<Archive>>,
    /// Command of the process type.
    pub arguments: Arc<[String]>,
    /// Config vars and the platform's defaults.
    pub environ: Arc<[(String, String)]>,
    /// Rules for connections that the app opens.
    pub outbound: OutboundRules,
}

/// The requests that warm and try an app.
pub struct SampleRequests {
    /// Host name of the app, optionally with a port.
    pub host: String,
    /// Use of sample requests before the image is written.
    pub warm_up: WarmUp,
}

/// Limits of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLimits {
    /// Time for the app to load (R10). Heroku's boot timeout.
    pub boot: Duration,
    /// Time for a sample request; a longer one is abandoned.
    pub sample: Duration,
    /// Time for a new dyno to be restored from the image, which takes a millisecond unless the app has fork hooks.
    pub restore: Duration,
    /// Bytes that [`run_command`] collects.
    pub output: usize,
}

impl Default for BootLimits {
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(60),
            sample: Duration::from_secs(2),
            restore: Duration::from_secs(5),
            output: 4 << 20,
        }
    }
}

/// Failure to boot a release or to run a command.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The app did not load, which is the app's fault. Its own messages are in the log.
    #[error("{}", not_loaded(.0))]
    App(CallError),
    /// The app took too long.
    #[error("the app did not boot within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The app loaded, but a dyno that is restored from its image fails. The messages of its hooks are in the log.
    #[error("{}", not_restored(.0))]
    Restore(CallError),
    /// The app loaded, but a dyno that is restored from its image is not ready in time.
    #[error(
        "restoring a dyno of the app takes longer than {} s: make its fork hooks (Process._fork) return at once, and \
         connect at the first request",
        .0.as_secs()
    )]
    RestoreTimeout(Duration),
    /// The app asked for more memory than a dyno has.
    #[error("the app needs more than a dyno's {} MB of memory to boot", .0 >> 20)]
    Memory(usize),
    /// The app has written more to files while it was loading than an image keeps.
    #[error(
        "the app left {} MB in /app and /tmp while it was loading, and an image keeps {} MB: write less, or remove what \
         no request needs",
        .0.div_ceil(1 << 20), MAX_LAYER >> 20
    )]
    Files(usize),
    /// A command printed more than the limit.
    #[error("the command printed more than {} MB", .0 >> 20)]
    Output(usize),
    /// The dyno could not be created.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The image could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
}

fn not_loaded(error: &CallError) -> String {
    match error {
        CallError::Status(_) => "the app did not load: see its output above".to_owned(),
        error => format!("the app {error} while it was loading"),
    }
}

fn not_restored(error: &CallError) -> String {
    let problem = match error {
        CallError::Status(_) => "failed: see the output above".to_owned(),
        error => error.to_string(),
    };
    format!(
        "the app loaded, but restoring a dyno of it {problem}; check its fork hooks (Process._fork)"
    )
}

/// Result of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootReport {
    /// Time that the app took to load.
    pub boot: Duration,
    /// Bytes of the booted app's memory.
    pub memory: usize,
    /// The answer of a restored dyno to the sample request of the trial, then those of other samples that the app has failed.
    pub samples: Vec<SampleReport>,
}

/// An app's answer to a sample request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleReport {
    /// Path of the request.
    pub path: String,
    /// The status of the response, or the reason why there is none.
    pub status: Result<u16, String>,
    /// First lines that the app logged meanwhile, if this is the trial.
    pub lines: Vec<Vec<u8>>,
}

/// Boots `app` and writes its image to `path`, a directory that does not exist yet.
///
/// # Errors
///
/// Returns a [`BootError`] if the app does not load or the image cannot be written. Nothing is left at `path` then.
pub async fn boot(
    engine: &Engine,
    pack: &Pack,
    app: &AppProcess,
    samples: &SampleRequests,
    limits: &BootLimits,
    log: Arc<dyn LogSink>,
    path: &Path,
) -> Result<BootReport, BootError> {
    let boot = Boot {
        engine,
        pack,
        app,
        host: &samples.host,
        limits,
        now: SystemTime::now(),
    };
    let span = tracing::debug_span!("boot", host = samples.host, warm_up = ?samples.warm_up);
    boot.run(&samples.warm_up, &log, path)
        .instrument(span)
        .await
}

impl AppProcess {
    /// Makes the process of a pack's sample app. Returns `None` if its files are no archive, which is a mistake of the pack.
    pub(crate) fn of_sample(app: &SampleApp) -> Option<Self> {
        Some(Self {
            slug: Some(Arc::new(app.archive().ok()?)),
            arguments: app.arguments.clone().into(),
            environ: app.environ.clone().into(),
            outbound: OutboundRules::closed(),
        })
    }
}

/// Boots a pack's sample app and returns its dyno.
///
/// # Errors
///
/// Returns a [`BootError`] if the app does not load.
pub(crate) async fn boot_sample(
    engine: &Engine,
    pack: &Pack,
    app: &AppProcess,
    log: Arc<dyn LogSink>,
) -> Result<Dyno, BootError> {
    let boot = Boot {
        engine,
        pack,
        app,
        host: "localhost",
        limits: &BootLimits::default(),
        now: SystemTime::now(),
    };
    match boot.load(&["/".to_owned()], &log).await? {
        Loaded::Whole(dyno, _) => Ok(*dyno),
        Loaded::Abandoned(_) => Err(BootError::Timeout(boot.limits.boot)),
    }
}

/// Returns the paths that sample requests ask for.
fn sample_paths(warm_up: &WarmUp) -> Vec<String> {
    match warm_up {
        WarmUp::Requests => vec!["/".to_owned()],
        WarmUp::Paths(paths) => paths.iter().map(|path| path.as_str().to_owned()).collect(),
        WarmUp::None => Vec::new(),
    }
}

/// Returns the report of a sample, unless the app has answered it without an error of its own.
fn failure(sample: &AnsweredSample) -> Option<SampleReport> {
    let status = match sample.status {
        Some(..500) => return None,
        Some(status) => Ok(status),
        None => Err("the app gave no response".to_owned()),
    };
    Some(SampleReport {
        path: sample.path.clone(),
        status,
        lines: Vec::new(),
    })
}

/// A dyno that has loaded an app.
enum Loaded {
    /// It has served all sample requests.
    Whole(Box<Dyno>, SharedSession),
    /// It has failed the sample request for this path, or it takes too long.
    Abandoned(String),
}

/// A dyno that is ready to become an image.
struct WarmDyno {
    dyno: Box<Dyno>,
    /// Target of the request that tries the image.
    trial: SampleTarget,
    failed: Vec<SampleReport>,
}

/// A boot under way.
struct Boot<'a> {
    engine: &'a Engine,
    pack: &'a Pack,
    app: &'a AppProcess,
    host: &'a str,
    limits: &'a BootLimits,
    now: SystemTime,
}

impl Boot<'_> {
    async fn run(
        &self,
        warm_up: &WarmUp,
        log: &Arc<dyn LogSink>,
        path: &Path,
    ) -> Result<BootReport, BootError> {
        let started = Instant::now();
        let WarmDyno {
            mut dyno,
            trial: target,
            failed,
        } = self.warm(sample_paths(warm_up), log).await?;
        let boot = started.elapsed();
        tracing::debug!(elapsed = ?boot, memory = dyno.memory_bytes(), "app loaded");
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH);
        let mut description = ImageDescription {
            pack: self.pack.manifest().digest.clone(),
            born: since.map_or(0, |since| since.as_secs()),
            hot_pages: Arc::default(),
            interrupt: self.pack.base().interrupt(),
            extensions: dyno.extension_records(),
        };
        let memory = dyno.memory_bytes();
        let files = dyno.files().unwrap_or_default();
        if files.len() > MAX_LAYER {
            return Err(BootError::Files(files.len()));
        }
        let snapshot = dyno.snapshot();
        let new = NewImage::write_full(self.engine, &snapshot, files, path)?;
        let image = new.load(self.engine, self.pack, description.clone())?;
        // The image is valid without a response: dynos then take page faults for these pages one by one.
        let (pages, trial) = self.try_image(&image, snapshot.memory, target, log).await?;
        if let Some(pages) = pages {
            description.hot_pages = pages.into();
        }
        new.finish(self.pack.base_memory(), description)?;
        tracing::debug!("image written");
        let mut samples = failed;
        samples.retain(|sample| sample.path != trial.path);
        samples.insert(0, trial);
        Ok(BootReport {
            boot,
            memory,
            samples,
        })
    }

    /// Creates a dyno that has loaded the app and served sample requests for `paths`. A path whose sample is abandoned
    /// is left out, and after a second such path all are.
    async fn warm(
        &self,
        mut paths: Vec<String>,
        log: &Arc<dyn LogSink>,
    ) -> Result<WarmDyno, BootError> {
        let mut failed = Vec::new();
        let first = paths.first().cloned().unwrap_or_else(|| "/".to_owned());
        loop {
            match self.load(&paths, log).await? {
                Loaded::Whole(dyno, session) => {
                    let session = session.lock();
                    failed.extend(session.answered().iter().filter_map(failure));
                    let trial = match paths.first() == Some(&first) {
                        true => session.trial(),
                        false => SampleTarget {
                            path: first,
                            ..SampleTarget::root(self.host)
                        },
                    };
                    return Ok(WarmDyno {
                        dyno,
                        trial,
                        failed,
                    });
                }
                Loaded::Abandoned(path) => {
                    tracing::debug!(path, "sample request abandoned");
                    if paths.is_empty() {
                        return Err(BootError::Timeout(self.limits.boot));
                    }
                    paths.retain(|other| failed.is_empty() && *other != path);
                    failed.push(SampleReport {
                        lines: Vec::new(),
                        status: Err(format!(
                            "the app does not complete its response within {} s",
                            self.limits.sample.as_secs()
                        )),
                        path,
                    });
                }
            }
        }
    }

    /// Creates a dyno that has loaded the app and served sample requests for `paths`.
    async fn load(&self, paths: &[String], log: &Arc<dyn LogSink>) -> Result<Loaded, BootError> {
        let Self { pack, limits, .. } = *self;
        let progress = Arc::new(RequestProgress::default());
        let log = Arc::new(LoadingLog {
            log: log.clone(),
            progress: progress.clone(),
        });
        let mut dyno = instantiate(self.engine, pack, pack.base(), self.app, self.now, log).await?;
        let session = SharedSession::new(self.host, paths);
        let abandoned = || {
            let session = session.lock();
            Loaded::Abandoned(session.unanswered().unwrap_or("/").to_owned())
        };
        let stuck = async {
            // The clock of a sample starts when the guest reads it; before the first one, the app is loading.
            while progress
                .since_moved()
                .is_none_or(|since| since < limits.sample)
            {
                tokio::time::sleep(limits.sample / 20).await;
            }
        };
        let booted = tokio::select! {
            booted = timeout(limits.boot, dyno.boot(session.clone(), progress.clone())) => booted,
            () = stuck => return Ok(abandoned()),
        };
        match booted {
            Ok(Ok(())) => Ok(Loaded::Whole(Box::new(dyno), session)),
            _ if progress.since_moved().is_some() => Ok(abandoned()),
            Ok(Err(_)) if dyno.reached_memory_limit().is_some() => {
                Err(BootError::Memory(self.engine.config().memory_limit))
            }
            Ok(Err(error)) => Err(BootError::App(error)),
            Err(_) => Err(BootError::Timeout(limits.boot)),
        }
    }

    /// Restores a dyno of the new image and serves a sample request in it. Returns the pages that the request writes
    /// to, or `None` if the app fails the request, and the app's answer.
    ///
    /// A dyno that cannot be restored would never serve, so the boot fails with it and with what its hooks log. It
    /// changes nothing but the dyno's own memory.
    async fn try_image(
        &self,
        image: &Image,
        booted: &[u8],
        target: SampleTarget,
        log: &Arc<dyn LogSink>,
    ) -> Result<(Option<Vec<(usize, usize)>>, SampleReport), BootError> {
        let (born, request_log) = (image.booted_at(), Arc::new(RestoreLog::default()));
        let mut dyno = instantiate(
            self.engine,
            self.pack,
            image,
            self.app,
            born,
            request_log.clone(),
        )
        .await?;
        let restored = timeout(self.limits.restore, dyno.restore()).await;
        let lines = request_log.take();
        let failure = match restored {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(BootError::Restore(error)),
            Err(_) => Some(BootError::RestoreTimeout(self.limits.restore)),
        };
        if let Some(failure) = failure {
            lines.iter().for_each(|line| log.line(line));
            return Err(failure);
        }
        let (answer, mut answered) = oneshot::channel();
        let request = DynoRequest {
            head: target.head(),
            body: RequestBody::Empty,
        };
        let usage = RequestUsage::default();
        let handled = dyno.handle(request, answer, Arc::default(), &usage);
        let (pages, problem) = match timeout(self.limits.sample, handled).await {
            Ok(Ok(())) => {
                let pages = changed_pages(booted, dyno.memory());
                tracing::debug!(hot_pages = pages.len(), "trial request served");
                (Some(pages), "the app gave no response".to_owned())
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "trial request failed");
                (None, format!("the app {error}"))
            }
            Err(_) => {
                tracing::debug!("trial request not served in time");
                let seconds = self.limits.sample.as_secs();
                (None, format!("the app takes longer than {seconds} s"))
            }
        };
        // A response that is longer than the host buffers has begun, though nobody reads its end.
        let status = answered.try_recv().map(|response| response.head.status);
        let trial = SampleReport {
            path: target.path,
            status: status.map_err(|_| problem),
            lines: request_log.take(),
        };
        Ok((pages, trial))
    }
}

/// First lines that a dyno logs while it is restored, or while it serves the request of its trial.
#[derive(Default)]
struct RestoreLog(Mutex<Vec<Vec<u8>>>);

impl RestoreLog {
    /// Lines kept: a message with its backtrace.
    const LINES: usize = 200;

    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for RestoreLog {
    fn line(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < Self::LINES {
            lines.push(line.to_owned());
        }
    }
}

/// Passes on the log of an app while it loads, but not the log of its sample requests.
struct LoadingLog {
    log: Arc<dyn LogSink>,
    progress: Arc<RequestProgress>,
}

impl LogSink for LoadingLog {
    fn line(&self, line: &[u8]) {
        if self.progress.since_moved().is_none() {
            self.log.line(line);
        }
    }
}

/// Runs a command of the pack to its end, without booting an app, and returns its status and its output. `tools` carries
/// out the commands of a build.
///
/// # Errors
///
/// Returns a [`BootError`] if the command traps, prints too much or takes too long.
pub async fn run_command(
    engine: &Engine,
    pack: &Pack,
    app: &AppProcess,
    tools: Option<Arc<dyn ToolRunner>>,
    limits: &BootLimits,
    log: Arc<dyn LogSink>,
) -> Result<(i32, Vec<u8>), BootError> {
    let mut dyno = instantiate(engine, pack, pack.base(), app, SystemTime::now(), log).await?;
    if let Some(tools) = tools {
        dyno.set_tools(tools);
    }
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    let collect = async {
        let mut output = Vec::new();
        while let Some(piece) = receiver.recv().await {
            if output.len() + piece.len() > limits.output {
                return Err(BootError::Output(limits.output));
            }
            output.extend_from_slice(&piece);
        }
        Ok(output)
    };
    let work = async {
        let input = futures_util::stream::empty().boxed();
        dyno.run(input, sender).await.map_err(BootError::App)
    };
    let both = async { tokio::try_join!(work, collect) };
    timeout(limits.boot, both)
        .await
        .map_err(|_| BootError::Timeout(limits.boot))?
}

async fn instantiate(
    engine: &Engine,
    pack: &Pack,
    image: &Image,
    app: &AppProcess,
    born: SystemTime,
    log: Arc<dyn LogSink>,
) -> Result<Dyno, StartError> {
    let process = GuestProcess::new(app.arguments.clone(), app.environ.clone(), born);
    let root = pack.root().clone();
    let account = engine.account(TmpLimits::default());
    let files = image.files(app.slug.as_deref(), &root);
    let files = files.map_err(StartError::Files)?;
    let filesystem = Filesystem::new(root, app.slug.clone(), files, process, account);
    let (filesystem, outbound) = (Arc::new(filesystem), app.outbound.clone());
    Dyno::instantiate(engine, pack, image, filesystem, outbound, log).await
}
