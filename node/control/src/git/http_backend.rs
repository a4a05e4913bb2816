//! Repositories, and git's smart HTTP protocol by git's own `http-backend`.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use corundum_abi::cgi::take_head;
use corundum_abi::names::AppName;
use futures_util::TryStreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::api::{ApiBody, text};
use crate::git::hook;
use crate::platform::{Platform, Receiving};

/// Bytes of a response that are read at once.
const PIECE: usize = 16 << 10;
/// git may take this long after its last word.
const LAST_STEPS: Duration = Duration::from_secs(10);
/// How often it is looked whether killed processes have ended, every 10 ms.
const CLEANING: u32 = 500;
/// Bytes of one push, if the operator says nothing else.
pub const MAX_PUSH: u64 = 1 << 30;

/// Makes an app's bare repository, and the hook that all repositories share.
pub(crate) async fn init(repository: &Path, data: &Path) -> anyhow::Result<()> {
    let hooks = data.join("hooks");
    std::fs::create_dir_all(&hooks)?;
    let program = std::env::current_exe()?;
    let script = format!(
        "#!/bin/sh\nexec \"{}\" git-hook pre-receive\n",
        program.display()
    );
    let place = hooks.join("pre-receive");
    // Under another name first: a hook that runs meanwhile must find one whole.
    let new = tempfile::NamedTempFile::new_in(&hooks)?;
    std::fs::write(new.path(), script)?;
    std::fs::set_permissions(
        new.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    new.persist(place)?;
    git(
        &["init", "--quiet", "--bare", "--initial-branch=main"],
        repository,
    )
    .await?;
    for (name, value) in [
        ("http.receivepack", "true"),
        ("transfer.fsckObjects", "true"),
        ("receive.denyDeletes", "true"),
        ("gc.auto", "0"),
        // Nor its frame, whose lock would stay when a client hangs up right after a push.
        ("receive.autogc", "false"),
    ] {
        git(&["config", name, value], repository).await?;
    }
    let hooks = hooks.to_string_lossy();
    git(&["config", "core.hooksPath", &hooks], repository).await
}

/// Removes the objects of pushes that were under way when the node was killed.
pub(crate) fn sweep(repository: &Path) {
    let entries = std::fs::read_dir(repository.join("objects"));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().contains("incoming-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// git, with no settings but a repository's own: neither the machine's nor the node's user's.
pub(crate) fn command() -> Command {
    let mut git = Command::new("git");
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1");
    git
}

async fn git(arguments: &[&str], repository: &Path) -> anyhow::Result<()> {
    let (command, rest) = arguments.split_first().context("no command")?;
    let mut git = self::command();
    if *command == "init" {
        git.arg("init").args(rest).arg(repository);
    } else {
        git.arg("-C").arg(repository).args(arguments);
    }
    let output = git
        .stdin(Stdio::null())
        .output()
        .await
        .context("git cannot be run: is it installed?")?;
    if !output.status.success() {
        bail!(
            "git {command}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The app and the rest of a path such as `/myapp.git/info/refs`.
pub(crate) fn repository_of(path: &str) -> Option<(AppName, &str)> {
    let (name, rest) = path.strip_prefix('/')?.split_once(".git/")?;
    Some((name.parse().ok()?, rest))
}

/// Serves one request of the git protocol.
pub(crate) async fn serve(
    platform: &Arc<Platform>,
    app: &AppName,
    rest: &str,
    request: Request<Incoming>,
) -> anyhow::Result<Response<ApiBody>> {
    if platform.store().app(app).is_err() {
        return Ok(text(
            StatusCode::NOT_FOUND,
            &format!("Couldn't find that app: {app}\n"),
        ));
    }
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let settings = platform.settings();
    let receiving = platform.begin_receiving(app);
    let mut child = command()
        .arg("http-backend")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "receive.maxInputSize")
        .env("GIT_CONFIG_VALUE_0", settings.push.to_string())
        .env("GIT_PROJECT_ROOT", settings.data.join("repos"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "corundum")
        .env("PATH_INFO", format!("/{app}.git/{rest}"))
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        // No CONTENT_LENGTH: told of one, http-backend waits for that many bytes without end when they do not come. The
        // body ends when its pipe is closed.
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env(hook::SOCKET, hook::socket_path(&settings.data))
        .env(hook::APP, app.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("git cannot be run")?;
    let mut input = child.stdin.take().context("no input")?;
    let mut output = child.stdout.take().context("no output")?;
    let backend = Backend(Some((child, receiving)));
    let mut frames = body.into_data_stream();
    tokio::spawn(async move {
        while let Ok(Some(bytes)) = frames.try_next().await {
            if input.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = BytesMut::new();
    let head = loop {
        if let Some(head) = take_head_with_status(&mut buffer)? {
            break head;
        }
        if output.read_buf(&mut buffer).await? == 0 {
            bail!("git http-backend ended without an answer");
        }
    };
    let mut response = Response::builder().status(head.status);
    for (name, value) in &head.headers {
        response = response.header(name.as_ref(), value.as_ref());
    }
    let first = buffer.freeze();
    // The processes live in the body: when the client goes away it is dropped, and they are ended.
    let rest =
        futures_util::stream::try_unfold((output, backend), |(mut output, mut backend)| async {
            let mut bytes = BytesMut::with_capacity(PIECE);
            if output.read_buf(&mut bytes).await? == 0 {
                backend.finish().await;
                return Ok(None);
            }
            Ok(Some((Frame::data(bytes.freeze()), (output, backend))))
        });
    let first = futures_util::stream::iter([Ok(Frame::data(first))]);
    let body = BodyExt::boxed_unsync(StreamBody::new(futures_util::StreamExt::chain(first, rest)));
    Ok(response.body(body)?)
}

/// git's process and those it has started: `receive-pack`, and the hook, which would wait for a build that nobody
/// wants any more.
struct Backend(Option<(Child, Receiving)>);

impl Backend {
    /// Waits for the end of a process that has written everything.
    async fn finish(&mut self) {
        if let Some((child, _)) = &mut self.0
            && tokio::time::timeout(LAST_STEPS, child.wait()).await.is_ok()
        {
            self.0 = None;
        }
    }
}

impl Drop for Backend {
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
            for _ in 0..CLEANING {
                if test_kill_process_group(group).is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // git leaves the objects that it had in quarantine when it is ended; with the last of an app's pushes they go.
            drop(receiving);
        });
    }
}

/// A CGI head in which `Status` may be missing, which means 200 (RFC 3875 section 6.3.3).
fn take_head_with_status(
    buffer: &mut BytesMut,
) -> anyhow::Result<Option<corundum_abi::cgi::ResponseHead>> {
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
    Ok(take_head(buffer)?)
}
