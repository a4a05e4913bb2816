//! The boot of a release: the app is loaded once, its memory written as an image, and one request tried on a copy.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
pub use corundum_abi::app_options::WarmUp;
use corundum_exchange::RequestBody;
use corundum_pack::archive::Archive;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::dyno::{Dyno, Failure, StartError};
use crate::engine::Engine;
use crate::exchange::{Progress, Request};
use crate::image::{Description, Image, ImageError, changed_pages};
use crate::log::{Discard, LogSink};
use crate::os::{Filesystem, Process, TmpLimits};
use crate::pack::Pack;
use crate::sample;

/// Requests that warm an image: the first fills caches, the second those that only a repetition fills.
const SAMPLES: usize = 3;

/// What is booted.
pub struct App {
    /// Its files; none for a command that needs no app.
    pub slug: Option<Arc<Archive>>,
    /// The process type's command.
    pub arguments: Arc<[String]>,
    /// Config vars and the platform's defaults.
    pub environ: Arc<[(String, String)]>,
}

/// The requests that an app is warmed and tried with.
pub struct Samples {
    /// Where the app will be served: a host name that may have a port.
    pub host: String,
    /// Whether the image is to be warm.
    pub warm_up: WarmUp,
}

/// Bounds of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLimits {
    /// For the app to load (R10). Heroku's boot timeout.
    pub boot: Duration,
    /// For a sample request; one that takes longer is given up.
    pub sample: Duration,
    /// Bytes that a command may print where its output is wanted whole.
    pub output: usize,
}

impl Default for BootLimits {
    fn default() -> Self {
        let (boot, sample) = (Duration::from_secs(60), Duration::from_secs(2));
        Self {
            boot,
            sample,
            output: 4 << 20,
        }
    }
}

/// A release that cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The app's fault: it did not load. Its own words are in the log.
    #[error("{}", not_loaded(.0))]
    App(Failure),
    /// It took too long.
    #[error("the app did not boot within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It asked for more memory than a dyno has.
    #[error("the app needs more than a dyno's {} MB of memory to boot", .0 >> 20)]
    Memory(usize),
    /// A command printed more than is wanted.
    #[error("the command printed more than {} MB", .0 >> 20)]
    Output(usize),
    /// No dyno could be made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The image could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
}

fn not_loaded(failure: &Failure) -> String {
    match failure {
        Failure::Status(_) => "the app did not load: what it said stands above".to_owned(),
        failure => format!("the app {failure} while it was loading"),
    }
}

/// A booted release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booted {
    /// Time the app took to load.
    pub boot: Duration,
    /// Bytes of its memory.
    pub memory: usize,
}

/// Boots `app` and writes its image to `path`, a directory that does not exist yet.
///
/// # Errors
///
/// [`BootError`]; nothing is left at `path` then.
pub async fn boot(
    engine: &Engine,
    pack: &Pack,
    app: &App,
    samples: &Samples,
    limits: &BootLimits,
    log: Arc<dyn LogSink>,
    path: &Path,
) -> Result<Booted, BootError> {
    let started = Instant::now();
    let boot = Boot {
        engine,
        pack,
        app,
        host: &samples.host,
        limits,
        now: SystemTime::now(),
    };
    let count = match samples.warm_up {
        WarmUp::Requests => SAMPLES,
        WarmUp::None => 0,
    };
    let mut dyno = match boot.load(count, &log).await? {
        Some(dyno) => dyno,
        None => {
            let cold = boot.load(0, &log).await?;
            cold.ok_or(BootError::Timeout(limits.boot))?
        }
    };
    let duration = started.elapsed();
    let since = boot.now.duration_since(SystemTime::UNIX_EPOCH);
    let mut description = Description {
        pack: pack.manifest().digest.clone(),
        engine: engine.compatibility_key(),
        born: since.map_or(0, |since| since.as_secs()),
        hot_pages: Arc::default(),
        interrupt: pack.base().interrupt(),
    };
    Image::write(engine, &mut dyno, path, &description)?;
    let image = Image::load(engine, path, &description.pack)?;
    match boot.try_image(&image, &dyno).await {
        Ok(pages) => {
            description.hot_pages = pages.into();
            Image::describe(path, &description)?;
        }
        // The image is as good without: the first requests take their page faults one by one.
        Err(error) => tracing::debug!(%error, "no trial request"),
    }
    Ok(Booted {
        boot: duration,
        memory: dyno.memory_bytes(),
    })
}

/// A boot that goes on.
struct Boot<'a> {
    engine: &'a Engine,
    pack: &'a Pack,
    app: &'a App,
    host: &'a str,
    limits: &'a BootLimits,
    now: SystemTime,
}

impl Boot<'_> {
    /// A dyno that has loaded the app and served so many sample requests; none if it does not stand them.
    async fn load(
        &self,
        samples: usize,
        log: &Arc<dyn LogSink>,
    ) -> Result<Option<Dyno>, BootError> {
        let Self { pack, limits, .. } = *self;
        let progress = Arc::new(Progress::default());
        let log = Arc::new(LoadingLog {
            log: log.clone(),
            progress: progress.clone(),
        });
        let mut dyno = instantiate(self.engine, pack, pack.base(), self.app, self.now, log).await?;
        let heads = (0..samples).map(|_| sample::head(self.host));
        let stuck = async {
            // The time of a sample begins when it is read; before the first, the app is loading.
            while progress
                .since_moved()
                .is_none_or(|since| since < limits.sample)
            {
                tokio::time::sleep(limits.sample / 20).await;
            }
        };
        let booted = tokio::select! {
            booted = timeout(limits.boot, dyno.boot(heads, progress.clone())) => booted,
            () = stuck => return Ok(None),
        };
        match booted {
            Ok(Ok(())) => Ok(Some(dyno)),
            _ if progress.since_moved().is_some() => Ok(None),
            Ok(Err(_)) if dyno.reached_memory_limit().is_some() => {
                Err(BootError::Memory(self.engine.config().memory_limit))
            }
            Ok(Err(failure)) => Err(BootError::App(failure)),
            Err(_) => Err(BootError::Timeout(limits.boot)),
        }
    }

    /// Serves a sample request in a dyno of the new image, to learn which pages a request writes to. What it answers
    /// does not matter, nor what it logs; it changes nothing but its own memory.
    async fn try_image(
        &self,
        image: &Image,
        booted: &Dyno,
    ) -> Result<Vec<(usize, usize)>, BootError> {
        let (born, log) = (image.born(), Arc::new(Discard));
        let mut dyno = instantiate(self.engine, self.pack, image, self.app, born, log).await?;
        let request = async {
            dyno.restore().await?;
            let (answer, _answered) = oneshot::channel();
            let request = Request {
                head: sample::head(self.host),
                body: RequestBody::Empty,
            };
            dyno.handle(request, answer, Arc::default(), |_, _| ())
                .await
        };
        match timeout(self.limits.sample, request).await {
            Ok(Ok(_)) => Ok(changed_pages(booted.memory(), dyno.memory())),
            Ok(Err(failure)) => Err(BootError::App(failure)),
            Err(_) => Err(BootError::Timeout(self.limits.sample)),
        }
    }
}

/// Passes on what an app says while it loads, but not what its sample requests say.
struct LoadingLog {
    log: Arc<dyn LogSink>,
    progress: Arc<Progress>,
}

impl LogSink for LoadingLog {
    fn line(&self, line: &[u8]) {
        if self.progress.since_moved().is_none() {
            self.log.line(line);
        }
    }
}

/// Runs a command of the pack to its end, without any app booted, and returns its status and what it printed.
///
/// # Errors
///
/// [`BootError`].
pub async fn run(
    engine: &Engine,
    pack: &Pack,
    app: &App,
    limits: &BootLimits,
    log: Arc<dyn LogSink>,
) -> Result<(i32, Vec<u8>), BootError> {
    let mut dyno = instantiate(engine, pack, pack.base(), app, SystemTime::now(), log).await?;
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    let gather = async {
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
    let both = async { tokio::try_join!(work, gather) };
    timeout(limits.boot, both)
        .await
        .map_err(|_| BootError::Timeout(limits.boot))?
}

async fn instantiate(
    engine: &Engine,
    pack: &Pack,
    image: &Image,
    app: &App,
    born: SystemTime,
    log: Arc<dyn LogSink>,
) -> Result<Dyno, StartError> {
    let process = Process::new(app.arguments.clone(), app.environ.clone(), born);
    let root = pack.root().clone();
    let filesystem = Filesystem::new(root, app.slug.clone(), process, TmpLimits::default());
    Dyno::instantiate(engine, pack, image, Arc::new(filesystem), log).await
}
