//! Git's smart HTTP protocol, served by git's own `http-backend` (gitprotocol-http(5), RFC 3875).

use std::io::{self, Seek};
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use corundum_abi::cgi::{ResponseHead, ResponseHeadError, take_head};
use corundum_abi::names::AppName;
use corundum_store::{Fault, HasFault, Store, StoreError};
use futures_util::TryStreamExt;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdout;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::command::{self, GitProcess};
use super::hook;
use super::intent::{self, IntentError, PushIntent};
use super::receiving::{OpenPush, ReceivingPushes};
use super::repository;
use super::updates::DEPLOYED;
use crate::api::response::{ApiBody, text};
use crate::apps::locks::{AppLocks, ReceiveGuard};
use crate::connections::body_deadline::{self, BodyDeadlines};
use crate::connections::places::Place;
use crate::data_dir::DataDir;

/// Bytes of a response that are read at once.
const CHUNK: usize = 16 << 10;
/// The time that git has to end after the end of its output.
const LAST_STEPS: Duration = Duration::from_secs(10);
/// The default limit of one push, in bytes.
pub const MAX_PUSH: u64 = 1 << 30;
/// Bytes of a request besides the pushed objects: its updates, or what a client that fetches has.
const MAX_NEGOTIATION: u64 = 16 << 20;
/// Deadlines of a request's body. A client may compute for a while between two parts of a pack, and a pack of
/// [`MAX_PUSH`] takes twenty minutes at 1 MB/s.
const BODY: BodyDeadlines = BodyDeadlines {
    idle: Duration::from_secs(60),
    total: Duration::from_secs(60 * 60),
};
/// The time for an answer to a client that fetches.
const ANSWER: Duration = Duration::from_secs(15 * 60);
/// The time that git has to check the objects of a push.
const RECEIVE: Duration = Duration::from_secs(10 * 60);
/// The number of processes that receive pushes at once. Each may take 512 MiB.
const RECEIVERS: usize = 2;
/// The number of processes that serve fetches at once. They wait for their clients, and most take some megabytes.
const FETCHERS: usize = 4;
/// The number of processes that list branches at once.
const LISTERS: usize = 16;
/// The time that a request waits for one of these processes to end.
const QUEUE: Duration = Duration::from_secs(5 * 60);

/// A request that git could not serve. The node is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitHttpError {
    /// Git cannot be started, or its pipes fail.
    #[error("git cannot be run: {0}")]
    Io(#[from] io::Error),
    /// The client did not send its whole request, or the disk is full.
    #[error("the request could not be kept: {0}")]
    Body(#[source] io::Error),
    /// The backend ended before the head of its response.
    #[error("git http-backend ended without a response")]
    NoResponse,
    /// The head of the response is invalid.
    #[error("git http-backend: {0}")]
    Head(#[from] ResponseHeadError),
    /// A header of the response is invalid.
    #[error("git http-backend: {0}")]
    Http(#[from] http::Error),
    /// The branch of an interrupted push cannot follow its release.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One of git's two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GitService {
    /// Fetching and cloning.
    UploadPack,
    /// Pushing.
    ReceivePack,
}

impl GitService {
    const ALL: [Self; 2] = [Self::UploadPack, Self::ReceivePack];

    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// A request of the smart protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GitRequest {
    /// List the branches for a service.
    List(GitService),
    /// Call a service.
    Call(GitService),
}

impl GitRequest {
    /// Parses the rest of a repository's URL. Everything else that `http-backend` would serve, such as single files of the
    /// repository, is no part of the smart protocol.
    fn parse(method: &Method, rest: &str, query: Option<&str>) -> Option<Self> {
        let service = |name: &str| {
            let mut all = GitService::ALL.into_iter();
            all.find(|service| service.name() == name)
        };
        match (method, rest) {
            (&Method::GET, "info/refs") => {
                service(query?.strip_prefix("service=")?).map(Self::List)
            }
            (&Method::POST, name) if query.is_none() => service(name).map(Self::Call),
            _ => None,
        }
    }
}

/// Serves the repositories of apps.
pub struct GitBackend {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    receiving: Arc<ReceivingPushes>,
    /// Bytes of one push.
    max_push: u64,
    receivers: Arc<Semaphore>,
    fetchers: Arc<Semaphore>,
    listers: Arc<Semaphore>,
}

/// Returns the app and the rest of a path such as `/myapp.git/info/refs`.
pub(crate) fn repository_of(path: &str) -> Option<(AppName, &str)> {
    let (name, rest) = path.strip_prefix('/')?.split_once(".git/")?;
    Some((name.parse().ok()?, rest))
}

impl GitBackend {
    /// Creates a backend for the repositories in `data` that takes pushes of at most `max_push` bytes.
    ///
    /// # Errors
    ///
    /// Git's hooks cannot be written.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        receiving: Arc<ReceivingPushes>,
        max_push: u64,
    ) -> io::Result<Self> {
        repository::write_hooks(&data.hooks())?;
        Ok(Self {
            store,
            data,
            locks,
            receiving,
            max_push,
            receivers: Arc::new(Semaphore::new(RECEIVERS)),
            fetchers: Arc::new(Semaphore::new(FETCHERS)),
            listers: Arc::new(Semaphore::new(LISTERS)),
        })
    }

    /// Serves one request of the git protocol.
    ///
    /// # Errors
    ///
    /// [`GitHttpError`].
    pub(crate) async fn serve(
        &self,
        app: &AppName,
        rest: &str,
        request: Request<Incoming>,
        place: Arc<Place>,
    ) -> Result<Response<ApiBody>, GitHttpError> {
        match self.store.app(app) {
            Ok(_) => {}
            Err(error) if error.fault() == Fault::NotFound => {
                return Ok(text(StatusCode::NOT_FOUND, &format!("{error}\n")));
            }
            Err(error) => return Err(error.into()),
        }
        let (parts, body) = request.into_parts();
        let Some(asked) = GitRequest::parse(&parts.method, rest, parts.uri.query()) else {
            let message =
                "not a request of git's smart HTTP protocol; use git clone, fetch or push\n";
            return Ok(text(StatusCode::NOT_FOUND, message));
        };
        // A takeover waits for a push that it may have to build, but not for a client that sends or reads slowly.
        place.set_dispensable(true);
        let input = match asked {
            GitRequest::List(_) => None,
            GitRequest::Call(service) => {
                let limit = match service {
                    GitService::ReceivePack => self.max_push.saturating_add(MAX_NEGOTIATION),
                    GitService::UploadPack => MAX_NEGOTIATION,
                };
                match spool(body, &self.data.work(), limit).await {
                    Ok(file) => Some(file),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        let message = "the request was not sent to its end in time\n";
                        return Ok(text(StatusCode::REQUEST_TIMEOUT, message));
                    }
                    Err(error) => return Err(GitHttpError::Body(error)),
                }
            }
        };
        self.locks.end_collecting(app).await;
        let receiving = self.locks.begin_receiving(app, self.data.repository(app));
        // The order matters: a takeover announces itself before it looks for open connections.
        if self.data.is_handed_over() {
            receiving.cancel();
            return Ok(busy(
                "The node is being restarted: try again in a few seconds\n",
            ));
        }
        place.set_dispensable(asked != GitRequest::Call(GitService::ReceivePack));
        self.settle(app).await?;
        let slots = match asked {
            GitRequest::List(_) => &self.listers,
            GitRequest::Call(GitService::UploadPack) => &self.fetchers,
            GitRequest::Call(GitService::ReceivePack) => &self.receivers,
        };
        // Processes of git wait on no client before they begin, so each slot is free again after some time.
        let slot = tokio::time::timeout(QUEUE, slots.clone().acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Ok(busy("The node is busy with other pushes: try again\n"));
        };
        let mut held = HeldSlot::Plain(slot);
        if asked == GitRequest::Call(GitService::ReceivePack) {
            held = held.into_push(&self.receiving);
        }
        let mut process = self.start(app, rest, asked, &parts, input, held.push())?;
        let mut output = process.take_output()?;
        let backend = BackendProcess {
            deadline: Instant::now() + held.time(),
            running: Some((process, held, receiving)),
        };
        let mut buffer = BytesMut::new();
        let head = loop {
            if let Some(head) = take_head_with_status(&mut buffer)? {
                break head;
            }
            if backend.read(&mut output, &mut buffer).await? == 0 {
                return Err(GitHttpError::NoResponse);
            }
        };
        let mut response = Response::builder().status(head.status);
        for (name, value) in &head.headers {
            response = response.header(name.as_ref(), value.as_ref());
        }
        let first = buffer.freeze();
        // The body owns the processes: when the client disconnects, hyper drops the body, which ends them.
        let rest = futures_util::stream::try_unfold(
            (output, backend),
            |(mut output, mut backend)| async {
                let mut bytes = BytesMut::with_capacity(CHUNK);
                if backend.read(&mut output, &mut bytes).await? == 0 {
                    backend.finish().await;
                    return Ok(None);
                }
                Ok(Some((Frame::data(bytes.freeze()), (output, backend))))
            },
        );
        let first = futures_util::stream::iter([Ok(Frame::data(first))]);
        let body =
            BodyExt::boxed_unsync(StreamBody::new(futures_util::StreamExt::chain(first, rest)));
        Ok(response.body(body)?)
    }

    /// Makes the app's branch follow its release, if a push was interrupted between the two and no other one is in progress.
    async fn settle(&self, app: &AppName) -> Result<(), IntentError> {
        if PushIntent::exists(&self.data, app)
            && let Some(_building) = self.locks.begin_build(app)
        {
            intent::reconcile(&self.data, &*self.store, app).await?;
        }
        Ok(())
    }

    /// Starts `git http-backend`.
    fn start(
        &self,
        app: &AppName,
        rest: &str,
        asked: GitRequest,
        parts: &http::request::Parts,
        input: Option<std::fs::File>,
        push: Option<u64>,
    ) -> io::Result<GitProcess> {
        let header = |name: &str| {
            let value = parts.headers.get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        let (hooks, limit) = (self.data.hooks(), self.max_push.to_string());
        let hooks = hooks.to_string_lossy();
        let [main, master] = DEPLOYED;
        let mut git = command::configured(&[
            ("core.hooksPath", &hooks),
            ("http.receivepack", "true"),
            ("receive.denyDeletes", "false"),
            ("receive.maxInputSize", &limit),
            ("receive.procReceiveRefs", main),
            ("receive.procReceiveRefs", master),
        ]);
        let query = match asked {
            GitRequest::List(service) => format!("service={}", service.name()),
            GitRequest::Call(_) => String::new(),
        };
        git.arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.data.repositories())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "corundum")
            .env("PATH_INFO", format!("/{app}.git/{rest}"))
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", parts.method.as_str())
            .env("CONTENT_TYPE", header("content-type"))
            // CONTENT_LENGTH is not set: the body ends with its file.
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env(hook::SOCKET, hook::socket_path(self.data.path()))
            .env(hook::APP, app.as_str())
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(push) = push {
            git.env(hook::PUSH, push.to_string());
        }
        GitProcess::spawn(git)
    }
}

/// Returns the answer of a node that can serve the request later.
fn busy(message: &str) -> Response<ApiBody> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, message);
    let seconds = HeaderValue::from_static("5");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// Writes a request's body to an unnamed file in `folder`, so that a slow client occupies no process.
///
/// A body larger than `limit` is cut there; git then rejects what it has as too large.
async fn spool(body: Incoming, folder: &Path, limit: u64) -> io::Result<std::fs::File> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(folder)?);
    let mut pieces = pin!(body_deadline::within(body, BODY));
    let mut length = 0u64;
    while length <= limit
        && let Some(bytes) = pieces.try_next().await?
    {
        length = length.saturating_add(bytes.len() as u64);
        file.write_all(&bytes).await?;
    }
    file.flush().await?;
    let mut file = file.into_std().await;
    file.rewind()?;
    Ok(file)
}

/// The permission to run git, which a push gives back when git has received its objects.
enum HeldSlot {
    Plain(OwnedSemaphorePermit),
    Push(OpenPush),
}

impl HeldSlot {
    fn into_push(self, receiving: &Arc<ReceivingPushes>) -> Self {
        match self {
            Self::Plain(permit) => Self::Push(receiving.open(permit)),
            Self::Push(push) => Self::Push(push),
        }
    }

    /// Returns the number of the push.
    fn push(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Push(push) => Some(push.number()),
        }
    }

    /// Returns the time for git's work.
    fn time(&self) -> Duration {
        match self {
            Self::Plain(_) => ANSWER,
            Self::Push(_) => RECEIVE,
        }
    }
}

/// Git's process and those that it has started: `receive-pack`, and the hooks, which may wait for a build. Dropping this
/// kills them all.
struct BackendProcess {
    /// The end of the time for git's work. A push that git has received is bounded by the time for its build instead.
    deadline: Instant,
    running: Option<(GitProcess, HeldSlot, ReceiveGuard)>,
}

impl BackendProcess {
    /// Reads a part of git's output. Returns 0 at its end.
    async fn read(&self, output: &mut ChildStdout, buffer: &mut BytesMut) -> io::Result<usize> {
        let late = async {
            tokio::time::sleep_until(self.deadline).await;
            if let Some((_, HeldSlot::Push(push), _)) = &self.running
                && push.is_received()
            {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            read = output.read_buf(buffer) => read,
            () = late => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits for the end of a process that has written all of its output.
    async fn finish(&mut self) {
        if let Some((process, ..)) = &mut self.running
            && tokio::time::timeout(LAST_STEPS, process.wait())
                .await
                .is_ok()
        {
            self.running = None;
        }
    }
}

impl Drop for BackendProcess {
    fn drop(&mut self) {
        let Some((process, held, receiving)) = self.running.take() else {
            return;
        };
        // The build of a push ends here.
        drop(held);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            process.kill().await;
            // A killed git leaves its quarantined objects; the guard of the app's last push removes them.
            drop(receiving);
        });
    }
}

/// Takes a CGI head in which `Status` may be absent, which means 200 (RFC 3875 section 6.3.3). Git writes it anywhere.
fn take_head_with_status(buffer: &mut BytesMut) -> Result<Option<ResponseHead>, ResponseHeadError> {
    let lines = buffer[..].split(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head: Vec<&[u8]> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let is_status = |line: &&[u8]| {
        let name = line.get(..7);
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"status:"))
    };
    let has_status = head.iter().any(is_status);
    // Without a blank line, the iterator has no further line.
    if lines.next().is_some() && !has_status {
        let rest = buffer.split();
        buffer.extend_from_slice(b"Status: 200\r\n");
        buffer.extend_from_slice(&rest);
    }
    take_head(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Option<(u16, usize, String)> {
        let mut buffer = BytesMut::from(text);
        let head = take_head_with_status(&mut buffer).unwrap()?;
        let body = String::from_utf8_lossy(&buffer).into_owned();
        Some((head.status, head.headers.len(), body))
    }

    #[test]
    fn status_may_be_anywhere_in_the_head_or_absent() {
        for (text, expected) in [
            ("Status: 404 Not Found\r\nA: 1\r\n\r\nx", (404, 1, "x")),
            ("A: 1\r\nStatus: 403 Forbidden\r\n\r\nx", (403, 1, "x")),
            ("A: 1\nstatus: 415 No\nB: 2\n\nx\n\n", (415, 2, "x\n\n")),
            ("A: 1\r\nB: 2\r\n\r\nStatus: 1", (200, 2, "Status: 1")),
        ] {
            let (status, headers, body) = expected;
            let expected = (status, headers, body.to_owned());
            assert_eq!(head(text), Some(expected), "{text:?}");
            for end in 0..text.find("x").unwrap_or(10) {
                let part = head(&text[..end]);
                assert!(part.is_none() || part.is_some_and(|(_, _, body)| body.is_empty()));
            }
        }
    }

    #[test]
    fn only_the_smart_protocol_is_served() {
        let parse =
            |method: &str, rest, query| GitRequest::parse(&method.parse().unwrap(), rest, query);
        let push = GitService::ReceivePack;
        let query = Some("service=git-receive-pack");
        assert_eq!(
            parse("GET", "info/refs", query),
            Some(GitRequest::List(push))
        );
        assert_eq!(
            parse("POST", "git-receive-pack", None),
            Some(GitRequest::Call(push))
        );
        for (method, rest, query) in [
            ("GET", "info/refs", None),
            ("GET", "info/refs", Some("service=git-upload-archive")),
            ("GET", "HEAD", None),
            ("GET", "config", None),
            ("GET", "objects/info/packs", None),
            ("GET", "git-receive-pack", None),
            ("POST", "info/refs", query),
            ("POST", "git-upload-archive", None),
            ("GET", "../other.git/info/refs", query),
            ("PUT", "git-receive-pack", None),
        ] {
            assert_eq!(parse(method, rest, query), None, "{method} {rest}");
        }
    }
}
