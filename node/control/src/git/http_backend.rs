//! Git's smart HTTP protocol, served by git's own `http-backend` (gitprotocol-http(5), RFC 3875).

use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use corundum_abi::cgi::{ResponseHead, ResponseHeadError, take_head};
use corundum_abi::names::AppName;
use corundum_store::{Fault, HasFault, Store, StoreError};
use futures_util::TryStreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::hook;
use super::repository;
use crate::api::response::{ApiBody, text};
use crate::apps::locks::{AppLocks, ReceiveGuard};
use crate::connections::body_deadline::{self, BodyDeadlines};
use crate::connections::places::Place;
use crate::data_dir::DataDir;

/// Bytes of a response that are read at once.
const CHUNK: usize = 16 << 10;
/// The time that git has to end after the end of its output.
const LAST_STEPS: Duration = Duration::from_secs(10);
/// The number of checks, 10 ms apart, for the end of killed processes.
const KILL_CHECKS: u32 = 500;
/// The rest of the path of a push.
const RECEIVE: &str = "git-receive-pack";
/// Deadlines of a request's body. A client may compute for a while between two parts of a pack, and a pack of
/// [`MAX_PUSH`] takes twenty minutes at 1 MB/s.
const BODY: BodyDeadlines = BodyDeadlines {
    idle: Duration::from_secs(60),
    total: Duration::from_secs(60 * 60),
};
/// The default limit of one push, in bytes.
pub const MAX_PUSH: u64 = 1 << 30;

/// A request that git could not serve. The node is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitHttpError {
    /// Git cannot be started, or its pipes fail.
    #[error("git cannot be run: {0}")]
    Io(#[from] io::Error),
    /// The backend ended before the head of its response.
    #[error("git http-backend ended without a response")]
    NoResponse,
    /// The head of the response is invalid.
    #[error("git http-backend: {0}")]
    Head(#[from] ResponseHeadError),
    /// A header of the response is invalid.
    #[error("git http-backend: {0}")]
    Http(#[from] http::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Serves the repositories of apps.
pub struct GitBackend {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    /// Bytes of one push.
    max_push: u64,
}

/// Returns the app and the rest of a path such as `/myapp.git/info/refs`.
pub(crate) fn repository_of(path: &str) -> Option<(AppName, &str)> {
    let (name, rest) = path.strip_prefix('/')?.split_once(".git/")?;
    Some((name.parse().ok()?, rest))
}

impl GitBackend {
    /// Creates a backend for the repositories in `data` that takes pushes of at most `max_push` bytes.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        max_push: u64,
    ) -> Self {
        Self {
            store,
            data,
            locks,
            max_push,
        }
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
        self.locks.end_collecting(app).await;
        let receiving = self.locks.begin_receiving(app, self.data.repository(app));
        // The order matters: a takeover announces itself before it looks for open connections.
        if self.data.is_handed_over() {
            receiving.cancel();
            let message = "The node is being restarted: try again in a few seconds\n";
            return Ok(text(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        // A takeover waits for a push that it may have to build, but not for a client that sends or reads slowly.
        place.set_dispensable(true);
        let is_push = rest == RECEIVE;
        let mut child = self.start(app, rest, &parts)?;
        let no_pipe = || io::Error::other("the process has no pipe");
        let mut input = child.stdin.take().ok_or_else(no_pipe)?;
        let mut output = child.stdout.take().ok_or_else(no_pipe)?;
        let backend = BackendProcess(Some((child, receiving)));
        tokio::spawn(async move {
            let mut pieces = pin!(body_deadline::within(body, BODY));
            loop {
                match pieces.try_next().await {
                    Ok(Some(bytes)) if input.write_all(&bytes).await.is_ok() => {}
                    Ok(None) if is_push => {
                        place.set_dispensable(false);
                        return;
                    }
                    // Git gets the end of its input and rejects what is incomplete.
                    _ => return,
                }
            }
        });
        let mut buffer = BytesMut::new();
        let head = loop {
            if let Some(head) = take_head_with_status(&mut buffer)? {
                break head;
            }
            if output.read_buf(&mut buffer).await? == 0 {
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
                if output.read_buf(&mut bytes).await? == 0 {
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

    /// Starts `git http-backend` in a process group of its own.
    fn start(&self, app: &AppName, rest: &str, parts: &http::request::Parts) -> io::Result<Child> {
        let header = |name: &str| {
            let value = parts.headers.get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        repository::command()
            .arg("http-backend")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "receive.maxInputSize")
            .env("GIT_CONFIG_VALUE_0", self.max_push.to_string())
            .env("GIT_PROJECT_ROOT", self.data.repositories())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "corundum")
            .env("PATH_INFO", format!("/{app}.git/{rest}"))
            .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
            .env("REQUEST_METHOD", parts.method.as_str())
            .env("CONTENT_TYPE", header("content-type"))
            // CONTENT_LENGTH is not set: http-backend would wait for that many bytes for ever when fewer arrive. Without
            // it, the body ends when its pipe is closed.
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env(hook::SOCKET, hook::socket_path(self.data.path()))
            .env(hook::APP, app.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }
}

/// Git's process and those that it has started: `receive-pack`, and the hook, which may wait for a build. Dropping this kills
/// them all.
struct BackendProcess(Option<(Child, ReceiveGuard)>);

impl BackendProcess {
    /// Waits for the end of a process that has written all of its output.
    async fn finish(&mut self) {
        if let Some((child, _)) = &mut self.0
            && tokio::time::timeout(LAST_STEPS, child.wait()).await.is_ok()
        {
            self.0 = None;
        }
    }
}

impl Drop for BackendProcess {
    fn drop(&mut self) {
        let Some((mut child, receiving)) = self.0.take() else {
            return;
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(group) = group else { return };
        let _ = kill_process_group(group, Signal::KILL);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let _ = child.wait().await;
            for _ in 0..KILL_CHECKS {
                if test_kill_process_group(group).is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A killed git leaves its quarantined objects; the guard of the app's last push removes them.
            drop(receiving);
        });
    }
}

/// Takes a CGI head in which `Status` may be absent, which means 200 (RFC 3875 section 6.3.3).
fn take_head_with_status(buffer: &mut BytesMut) -> Result<Option<ResponseHead>, ResponseHeadError> {
    let ended = buffer.windows(4).any(|part| part == b"\r\n\r\n")
        || buffer.windows(2).any(|part| part == b"\n\n");
    if !ended {
        return Ok(None);
    }
    if !buffer.starts_with(b"Status:") {
        let rest = buffer.split();
        buffer.extend_from_slice(b"Status: 200\r\n");
        buffer.extend_from_slice(&rest);
    }
    take_head(buffer)
}
