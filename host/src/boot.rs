//! The boot of a release: the app is loaded once, its memory written as an image, and one request tried on a copy.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use corundum_sdk::abi::scgi::HeadWriter;
use corundum_sdk::archive::Archive;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::dyno::{Dyno, Failure, StartError};
use crate::engine::Engine;
use crate::exchange::{Request, RequestBody};
use crate::image::{Description, Image, ImageError, changed_pages};
use crate::log::{Discard, LogSink};
use crate::os::{Filesystem, Process, TmpLimits};
use crate::pack::Pack;

/// What is booted.
pub struct App {
    /// Its files; none for a command that needs no app.
    pub slug: Option<Arc<Archive>>,
    /// The process type's command.
    pub arguments: Arc<[String]>,
    /// Config vars and the platform's defaults.
    pub environ: Arc<[(String, String)]>,
}

/// Bounds of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLimits {
    /// For the app to load (R10). Heroku's boot timeout.
    pub boot: Duration,
    /// For the one request that is tried; a slow one is given up.
    pub trial: Duration,
    /// Bytes that a command may print where its output is wanted whole.
    pub output: usize,
}

impl Default for BootLimits {
    fn default() -> Self {
        let (boot, trial) = (Duration::from_secs(60), Duration::from_secs(2));
        Self {
            boot,
            trial,
            output: 4 << 20,
        }
    }
}

/// A release that cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The app's fault: it did not load. Its own words are in the log.
    #[error("the app {0}")]
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
    limits: &BootLimits,
    log: Arc<dyn LogSink>,
    path: &Path,
) -> Result<Booted, BootError> {
    let started = Instant::now();
    let now = SystemTime::now();
    let mut dyno = instantiate(engine, pack, pack.base(), app, now, log).await?;
    let booted = timeout(limits.boot, dyno.boot()).await;
    match booted {
        Ok(Ok(())) => {}
        Ok(Err(_)) if dyno.reached_memory_limit() => {
            return Err(BootError::Memory(engine.config().memory_limit));
        }
        Ok(Err(failure)) => return Err(BootError::App(failure)),
        Err(_) => return Err(BootError::Timeout(limits.boot)),
    }
    let boot = started.elapsed();
    let born = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut description = Description {
        pack: pack.manifest().digest.clone(),
        engine: engine.compatibility_key(),
        born,
        hot_pages: Vec::new(),
    };
    Image::write(engine, &mut dyno, path, &description)?;
    let image = Image::load(engine, path, &description.pack)?;
    match try_request(engine, pack, &image, app, limits, &dyno).await {
        Ok(pages) => {
            description.hot_pages = pages;
            Image::describe(path, &description)?;
        }
        // The image is as good without: the first requests take their page faults one by one.
        Err(error) => tracing::debug!(%error, "no trial request"),
    }
    Ok(Booted {
        boot,
        memory: dyno.memory_bytes(),
    })
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

/// Serves `GET /` in a dyno of the new image, to learn which pages a request writes to. What it answers does not
/// matter, nor what it logs; it changes nothing but its own memory.
async fn try_request(
    engine: &Engine,
    pack: &Pack,
    image: &Image,
    app: &App,
    limits: &BootLimits,
    booted: &Dyno,
) -> Result<Vec<(usize, usize)>, BootError> {
    let log = Arc::new(Discard);
    let mut dyno = instantiate(engine, pack, image, app, image.born(), log).await?;
    let request = async {
        dyno.restore().await?;
        let (answer, _answered) = oneshot::channel();
        let mut head = HeadWriter::new(Vec::new(), Some(0));
        for (key, value) in [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/"),
            ("QUERY_STRING", ""),
            ("REQUEST_URI", "/"),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("rack.url_scheme", "http"),
            ("HTTP_HOST", "localhost"),
        ] {
            head.pair(key.as_bytes(), value.as_bytes());
        }
        let request = Request {
            head: head.finish(),
            body: RequestBody::Empty,
        };
        dyno.handle(request, answer, Arc::default(), |_, _| ())
            .await
    };
    match timeout(limits.trial, request).await {
        Ok(Ok(_)) => Ok(changed_pages(booted.memory(), dyno.memory())),
        Ok(Err(failure)) => Err(BootError::App(failure)),
        Err(_) => Err(BootError::Timeout(limits.trial)),
    }
}
