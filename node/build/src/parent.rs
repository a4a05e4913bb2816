//! The node's side of a build: starts the build process, feeds it, relays its output and limits its time.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use corundum_abi::names::{AppName, SlugDigest};
use corundum_abi::outbound::OutboundPolicy;
use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use corundum_compiler::gems::GemServerUrl;
use corundum_compiler::pipeline::{IMAGE_DIRECTORY, SLUG_FILE};
use corundum_compiler::slug::SlugDescription;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tracing::Instrument;

use crate::limits::BuildLimits;
use crate::protocol::{BuildOutcome, BuildRequest, ProtocolError, REJECTED_STATUS};
use crate::slots::BuildSlot;

/// Time for a build, as on Heroku.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Bytes of output that the pusher gets.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// Control characters that the output of a build keeps.
const SHOWN: AllowedControls = AllowedControls {
    colours: true,
    carriage_returns: false,
};

/// Variables of the node's environment that the build process gets: the log filter, the proxies towards gem servers, and
/// those of the programs that build libraries for native extensions. Code of an app sees none of them.
const INHERITED_VARIABLES: [&str; 12] = [
    "CORUNDUM_DEBIAN_MIRROR",
    "HOME",
    "PATH",
    "CORUNDUM_LOG",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Settings of all builds on a node.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// Directory in which each build gets a directory of its own.
    pub work: PathBuf,
    /// The node's gem cache, on the same file system as `work`.
    pub gem_cache: PathBuf,
    /// Gem directories of the node.
    pub gem_directories: Vec<PathBuf>,
    /// Gem servers that builds may fetch from.
    pub gem_servers: Vec<GemServerUrl>,
    /// Limits of one build.
    pub limits: BuildLimits,
    /// Further arguments of the command `compile`, which the binary defines: the form of its log.
    pub arguments: Vec<String>,
}

/// One build.
#[derive(Debug)]
pub struct BuildJob<'a> {
    /// The app, for the build's span.
    pub app: &'a AppName,
    /// The slot that the build has until it ends.
    pub slot: &'a BuildSlot,
    /// Directory of the prepared pack.
    pub pack: &'a Path,
    /// Input of the build.
    pub source: BuildSource,
    /// Host and port at which the app is served.
    pub host: String,
    /// The app's config vars.
    pub config: Vec<(String, String)>,
    /// The operator's policy for connections that the app opens.
    pub outbound: OutboundPolicy,
}

/// Input of a build.
#[derive(Debug)]
pub enum BuildSource {
    /// An app's tree.
    Tree(TreeStream),
    /// An existing slug, of which the build makes a new image.
    Slug(PathBuf),
}

/// An app's tree as a tar stream.
pub struct TreeStream {
    tar: Box<dyn AsyncRead + Send + Unpin>,
    whole: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl TreeStream {
    /// Creates a stream of `tar`. After its end, `whole` tells whether the stream has the whole tree.
    pub fn new(
        tar: impl AsyncRead + Send + Unpin + 'static,
        whole: impl Future<Output = bool> + Send + 'static,
    ) -> Self {
        Self {
            tar: Box::new(tar),
            whole: Box::pin(whole),
        }
    }
}

impl fmt::Debug for TreeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeStream").finish_non_exhaustive()
    }
}

impl BuildSource {
    fn kind(&self) -> &'static str {
        match self {
            Self::Tree(_) => "tree",
            Self::Slug(_) => "image",
        }
    }
}

/// A finished build.
///
/// Its files lie in a temporary directory. Dropping the value removes those that the caller has not moved elsewhere.
#[derive(Debug)]
pub struct FinishedBuild {
    directory: TempDir,
    /// Digest of the slug; none if the build only made an image.
    pub slug: Option<SlugDigest>,
    /// Description that the slug contains.
    pub description: SlugDescription,
}

impl FinishedBuild {
    /// Returns the path of the slug, if the build made one.
    pub fn slug_path(&self) -> Option<PathBuf> {
        self.slug
            .as_ref()
            .map(|_| self.directory.path().join(SLUG_FILE))
    }

    /// Returns the path of the image.
    pub fn image_path(&self) -> PathBuf {
        self.directory.path().join(IMAGE_DIRECTORY)
    }
}

/// A build without a result.
#[derive(Debug, thiserror::Error)]
pub enum BuildProcessError {
    /// The build process rejected the app and its output says why. The pusher fixes the app, as a rule.
    #[error("the build failed")]
    Rejected,
    /// The build exceeded its time; its app is at fault.
    #[error(
        "build: took longer than {} minutes and was stopped; make it smaller, then push again",
        TIMEOUT.as_secs() / 60
    )]
    Timeout,
    /// A signal ended the build process, which happens when its app exceeds a process limit.
    #[error(
        "Push rejected: the build was stopped by signal {0}; it may have used too much time or memory"
    )]
    Signal(i32),
    /// The build process failed by itself: the platform's fault.
    #[error(
        "Push rejected: the build failed because of the platform ({0}); the node's log has details for its operator"
    )]
    Status(ExitStatus),
    /// git could not write the whole tree: the platform's fault, and often temporary.
    #[error("git could not read the whole pushed tree; push again")]
    IncompleteTree,
    /// The build process cannot be started: the platform's fault.
    #[error("build process: cannot be started: {0}")]
    Start(#[source] io::Error),
    /// The node cannot talk to the build process: the platform's fault, except for config vars that are too large.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The node's disk or a pipe failed: the platform's fault.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BuildProcessError {
    /// Returns whether the operator should look at the error, and not the pusher alone.
    fn is_platform_fault(&self) -> bool {
        !matches!(self, Self::Rejected | Self::Timeout | Self::Signal(_))
    }
}

/// Builds an app in a process of its own; `report` gets each line for the pusher.
///
/// Dropping the future ends the process and removes the files of the build.
///
/// # Errors
///
/// [`BuildProcessError`].
pub async fn run(
    settings: &BuildSettings,
    job: BuildJob<'_>,
    report: impl FnMut(&str) + Send,
) -> Result<FinishedBuild, BuildProcessError> {
    let span = tracing::info_span!("build", app = %job.app, kind = job.source.kind());
    async {
        let result = build(settings, job, report).await;
        match &result {
            Ok(_) => tracing::info!("build finished"),
            Err(error) if error.is_platform_fault() => tracing::warn!(%error, "build failed"),
            Err(error) => tracing::info!(%error, "build rejected the app"),
        }
        result
    }
    .instrument(span)
    .await
}

async fn build(
    settings: &BuildSettings,
    job: BuildJob<'_>,
    report: impl FnMut(&str) + Send,
) -> Result<FinishedBuild, BuildProcessError> {
    let directory = tempfile::tempdir_in(&settings.work)?;
    let path = directory.path().to_owned();
    let (slug, tree) = match job.source {
        BuildSource::Slug(path) => (Some(path), None),
        BuildSource::Tree(tree) => (None, Some(tree)),
    };
    let request = BuildRequest {
        pack: job.pack.to_owned(),
        slug,
        directory: path.clone(),
        limits: settings.limits,
        urgency: job.slot.urgency(),
        gem_directories: settings.gem_directories.clone(),
        gem_servers: settings.gem_servers.clone(),
        gem_cache: settings.gem_cache.clone(),
        host: job.host,
        config: job.config,
        outbound: job.outbound,
    };
    let request = request.encode()?;
    let mut guard = ChildGuard {
        child: None,
        directory: Some(directory),
    };
    let child = guard.child.insert(start(&path, &settings.arguments)?);
    let no_pipe = || io::Error::other("the build process has no pipe");
    let input = child.stdin.take().ok_or_else(no_pipe)?;
    let output = child.stdout.take().ok_or_else(no_pipe)?;
    let work = async {
        // The process may end before it has read its whole input; its status says why.
        let (sent, relayed) = tokio::join!(send(&request, tree, input), relay(output, report));
        relayed?;
        Ok::<_, io::Error>((sent, child.wait().await?))
    };
    let (sent, status) = match tokio::time::timeout(TIMEOUT, work).await {
        Ok(done) => done?,
        Err(_) => return Err(BuildProcessError::Timeout),
    };
    if matches!(sent, Ok(Transfer::Incomplete)) {
        return Err(BuildProcessError::IncompleteTree);
    }
    check_status(status)?;
    let outcome = BuildOutcome::read(&path)?;
    let directory = guard.directory.take();
    Ok(FinishedBuild {
        directory: directory.ok_or_else(|| io::Error::other("the build has no directory"))?,
        slug: outcome.slug,
        description: outcome.description,
    })
}

/// Options of the build's allocator (jemalloc(3)): it gives memory back at once, since the limit of a build counts address
/// space that it keeps. Writing a large image frees blocks as large as the image.
const ALLOCATOR: &str = "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0";

/// Starts this program's hidden command `compile`, in a process group and an environment of its own.
fn start(directory: &Path, arguments: &[String]) -> Result<Child, BuildProcessError> {
    let program = std::env::current_exe().map_err(BuildProcessError::Start)?;
    let inherited = INHERITED_VARIABLES
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    Command::new(program)
        .arg("compile")
        .args(arguments)
        .env_clear()
        .envs(inherited)
        .env("TMPDIR", directory)
        .env("_RJEM_MALLOC_CONF", ALLOCATOR)
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(BuildProcessError::Start)
}

/// Extent of a transfer to the build process.
enum Transfer {
    Complete,
    Incomplete,
}

/// Writes the request and the tree to the build process.
///
/// The build process cannot tell an incomplete tree from a whole one, so the caller must discard the build then.
async fn send(
    request: &[u8],
    tree: Option<TreeStream>,
    mut input: ChildStdin,
) -> io::Result<Transfer> {
    input.write_all(request).await?;
    if let Some(mut tree) = tree {
        tokio::io::copy(&mut tree.tar, &mut input).await?;
        if !tree.whole.await {
            return Ok(Transfer::Incomplete);
        }
    }
    input.shutdown().await?;
    Ok(Transfer::Complete)
}

async fn relay(
    output: impl AsyncRead + Unpin,
    mut report: impl FnMut(&str) + Send,
) -> io::Result<()> {
    let mut lines = BufReader::new(output.take(MAX_OUTPUT_BYTES)).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        // An app's lines are among them, and the pusher's terminal shows them.
        report(&TerminalText::line(SHOWN, &line));
    }
    Ok(())
}

fn check_status(status: ExitStatus) -> Result<(), BuildProcessError> {
    if status.success() {
        return Ok(());
    }
    Err(match status.signal() {
        Some(signal) => BuildProcessError::Signal(signal),
        None if status.code() == Some(i32::from(REJECTED_STATUS)) => BuildProcessError::Rejected,
        None => BuildProcessError::Status(status),
    })
}

/// A build process and its directory, which must not be removed before the process has ended.
struct ChildGuard {
    child: Option<Child>,
    directory: Option<TempDir>,
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let (Some(mut child), directory) = (self.child.take(), self.directory.take()) else {
            return;
        };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let _ = child.kill().await;
            drop(directory);
        });
    }
}
