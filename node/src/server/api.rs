//! The API: JSON over HTTP for the command line, and the door of git.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use corundum_host::grid::RunIo;
use corundum_sdk::names::{AppName, ReleaseVersion};
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::git;
use super::platform::Platform;
use super::store::StoreError;

/// A response's body.
pub(crate) type ApiBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Connections at once: a few people and their scripts.
const CONNECTIONS: usize = 256;
/// Bytes of a request that is not git's.
const MAX_BODY: usize = 4 << 20;

/// A header that no web page can make a browser send here without asking first.
const CLIENT: &str = "x-corundum-client";

/// Serves the listener until the task is ended.
pub(crate) async fn serve(listener: TcpListener, platform: Arc<Platform>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let platform = platform.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let platform = platform.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(platform, peer, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

/// What an endpoint answers with instead of its result.
struct Refusal {
    status: StatusCode,
    id: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            id,
            message: message.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let (status, id) = match &error {
            StoreError::NoApp(_) | StoreError::NoRelease(_) => (StatusCode::NOT_FOUND, "not_found"),
            StoreError::Taken(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
            StoreError::Sqlite(_) | StoreError::Value(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, id, error.to_string())
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StoreError>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "failed",
                format!("{error:#}"),
            ),
        }
    }
}

type Answer = Result<Response<ApiBody>, Refusal>;

async fn answer(
    platform: Arc<Platform>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<ApiBody> {
    let path = request.uri().path().to_owned();
    if let Some((app, rest)) = git::repository_of(&path) {
        if !authorized(&platform, request.headers()) {
            let mut response = text(
                StatusCode::UNAUTHORIZED,
                "A token is needed: corundum login\n",
            );
            let challenge = HeaderValue::from_static("Basic realm=\"corundum\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return response;
        }
        return git::serve(&platform, &app, rest, request)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(error = format!("{error:#}"), "git");
                text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}\n"))
            });
    }
    endpoint(platform, peer, request, &path)
        .await
        .unwrap_or_else(|refusal| {
            let value = json!({"error": {"id": refusal.id, "message": refusal.message}});
            json_response(refusal.status, &value)
        })
}

async fn endpoint(
    platform: Arc<Platform>,
    peer: SocketAddr,
    request: Request<Incoming>,
    path: &str,
) -> Answer {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts == ["v1", "login"] && request.method() == Method::POST {
        return login(&platform, peer, &request);
    }
    if !authorized(&platform, request.headers()) {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A valid token is needed: corundum login",
        ));
    }
    let method = request.method().clone();
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (&method, parts.as_slice()) {
        (&Method::GET, ["v1", "apps"]) => ok(&json!(list_apps(&platform)?)),
        (&Method::POST, ["v1", "apps"]) => {
            let body: Create = read(request).await?;
            let name = match body.name {
                Some(name) => name.parse().map_err(invalid)?,
                None => random_name(),
            };
            platform.create(&name).await?;
            ok(&app_json(&platform, &name)?)
        }
        (_, ["v1", "apps", name, rest @ ..]) => {
            let app: AppName = name.parse().map_err(invalid)?;
            platform.store().app(&app)?;
            of_app(platform, &method, &app, rest, &query, request).await
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("{method} {path} is not served"),
        )),
    }
}

async fn of_app(
    platform: Arc<Platform>,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    query: &str,
    request: Request<Incoming>,
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => ok(&app_json(&platform, app)?),
        (&Method::DELETE, []) => {
            platform.destroy(app)?;
            ok(&json!({"name": app}))
        }
        (&Method::GET, ["config"]) => ok(&json!(platform.store().config(app)?)),
        (&Method::PATCH, ["config"]) => {
            let changes: std::collections::BTreeMap<String, Option<String>> = read(request).await?;
            change_config(&platform, app, changes).await
        }
        (&Method::GET, ["releases"]) => ok(&json!(platform.store().releases(app)?)),
        (&Method::POST, ["rollback"]) => {
            let body: Rollback = read(request).await?;
            roll_back(&platform, app, body.version).await
        }
        (&Method::GET, ["dynos"]) => ok(&dynos_json(&platform, app)),
        (&Method::POST, ["restart"]) => {
            platform.grid().restart(app);
            ok(&json!({}))
        }
        (&Method::PATCH, ["formation"]) => {
            let body: Formation = read(request).await?;
            if body.web > 10_000 {
                return Err(invalid("an app has at most 10000 web dynos"));
            }
            platform.store().set_formation(app, body.web)?;
            platform.grid().set_formation(app, body.web);
            ok(&json!({"web": body.web}))
        }
        (&Method::GET, ["logs"]) => Ok(logs(&platform, app, query)),
        (&Method::POST, ["run"]) => {
            let body: Run = read(request).await?;
            Ok(run(&platform, app, body.command))
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no such endpoint of an app",
        )),
    }
}

#[derive(Deserialize)]
struct Create {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Rollback {
    version: Option<ReleaseVersion>,
}

#[derive(Deserialize)]
struct Formation {
    web: u32,
}

#[derive(Deserialize)]
struct Run {
    command: Vec<String>,
}

async fn change_config(
    platform: &Arc<Platform>,
    app: &AppName,
    changes: std::collections::BTreeMap<String, Option<String>>,
) -> Answer {
    let mut config = platform.store().config(app)?;
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for (name, value) in changes {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(plain)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(invalid(format!(
                "\"{name}\" is not a config var's name: use letters, digits and underscores"
            )));
        }
        match value {
            Some(value) if value.contains('\0') => {
                return Err(invalid(format!("{name} has a NUL byte")));
            }
            Some(value) => {
                config.insert(name.clone(), value);
                set.push(name);
            }
            None => {
                config.remove(&name);
                unset.push(name);
            }
        }
    }
    let description = match (set.is_empty(), unset.is_empty()) {
        (false, _) => format!("Set {} config vars", set.join(", ")),
        (true, _) => format!("Unset {} config vars", unset.join(", ")),
    };
    let current = platform.store().releases(app)?.into_iter().next();
    let release = match current {
        None => {
            platform.store().set_config(app, &config)?;
            None
        }
        Some(current) => {
            let _building = begin(platform, app)?;
            Some(
                platform
                    .release_again(app, &current, &config, description)
                    .await?
                    .version,
            )
        }
    };
    ok(&json!({"config": config, "release": release}))
}

async fn roll_back(platform: &Arc<Platform>, app: &AppName, to: Option<ReleaseVersion>) -> Answer {
    let releases = platform.store().releases(app)?;
    let target = match to {
        Some(version) => releases.iter().find(|release| release.version == version),
        None => releases.get(1),
    };
    let target = target.ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such release to roll back to: see corundum releases",
        )
    })?;
    let config = platform.store().release_config(app, target.version)?;
    let _building = begin(platform, app)?;
    let description = format!("Rollback to {}", target.version);
    let release = platform
        .release_again(app, target, &config, description)
        .await?;
    ok(&json!(release))
}

fn begin(platform: &Arc<Platform>, app: &AppName) -> Result<super::platform::Building, Refusal> {
    let busy = || {
        Refusal::new(
            StatusCode::CONFLICT,
            "busy",
            "The app is being built: wait for it, then try again",
        )
    };
    platform.begin_build(app).ok_or_else(busy)
}

fn list_apps(platform: &Platform) -> Result<Vec<Value>, Refusal> {
    let apps = platform.store().apps()?;
    apps.iter()
        .map(|app| app_json(platform, &app.name))
        .collect()
}

fn app_json(platform: &Platform, name: &AppName) -> Result<Value, Refusal> {
    let app = platform.store().app(name)?;
    let release = platform.store().releases(name)?.into_iter().next();
    Ok(json!({
        "name": app.name,
        "created_at": app.created_at,
        "formation": {"web": app.formation},
        "web_url": platform.url(name),
        "git_url": format!("http://{}/{name}.git", platform.settings().api),
        "release": release.as_ref().map(|release| release.version.to_string()),
        "ruby": release.as_ref().map(|release| release.about.ruby),
    }))
}

fn dynos_json(platform: &Platform, app: &AppName) -> Value {
    let dynos = platform.grid().dynos(app).into_iter().map(|dyno| {
        json!({
            "name": dyno.name,
            "state": dyno.state.as_str(),
            "release": dyno.release.to_string(),
            "age_seconds": dyno.age.as_secs(),
            "served": dyno.served,
            "memory_bytes": dyno.memory,
        })
    });
    dynos.collect()
}

/// The last lines as text, and with `tail=1` those to come.
fn logs(platform: &Platform, app: &AppName, query: &str) -> Response<ApiBody> {
    let option = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let count = option("num")
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let (lines, followed) = platform.logs().follow(app, count);
    let frame = |line: String| Ok(Frame::data(Bytes::from(line + "\n")));
    let first = futures_util::stream::iter(lines.into_iter().map(frame));
    let body = if option("tail").is_some() {
        let later = futures_util::stream::unfold(followed, move |mut followed| async move {
            use tokio::sync::broadcast::error::RecvError;
            let line = match followed.recv().await {
                Ok(line) => line,
                Err(RecvError::Lagged(missed)) => format!(
                    "corundum[logs]: Error L10 (output buffer overflow): {missed} messages dropped"
                ),
                Err(RecvError::Closed) => return None,
            };
            Some((frame(line), followed))
        });
        BodyExt::boxed_unsync(StreamBody::new(first.chain(later)))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(first))
    };
    Response::new(body)
}

/// Runs a command; its output follows as it comes, and after a NUL its exit status.
fn run(platform: &Arc<Platform>, app: &AppName, command: Vec<String>) -> Response<ApiBody> {
    let (output, received) = mpsc::channel(4);
    let platform = platform.clone();
    let app = app.clone();
    let (status, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let input = futures_util::stream::empty().boxed();
        let gone = output.clone();
        let running = platform
            .grid()
            .run(&app, Arc::from(command), RunIo { input, output });
        let result = tokio::select! {
            result = running => result,
            () = gone.closed() => return,
        };
        let _ = status.send(match result {
            Ok(status) => format!("\0{status}"),
            Err(error) => format!(" !     {error}\n\u{0}1"),
        });
    });
    let pieces = tokio_stream(received).chain(futures_util::stream::once(async move {
        Bytes::from(ended.await.unwrap_or_else(|_| "\u{0}1".to_owned()))
    }));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(
        pieces.map(|bytes| Ok(Frame::data(bytes))),
    )))
}

fn tokio_stream(receiver: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (bytes, receiver))
    })
}

/// Gives a token to the node's own user, on the node's own machine, without one: the kernel says whose the
/// connection is.
fn login(platform: &Platform, peer: SocketAddr, request: &Request<Incoming>) -> Answer {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local_name = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let ours = peer.ip().is_loopback() && local_name && request.headers().contains_key(CLIENT);
    let user = rustix::process::getuid().as_raw();
    if !ours || !owner_of(peer).is_some_and(|owner| owner == user || owner == 0) {
        let message =
            "A first token is given only on the node's own machine, to the user that runs the node";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let token = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    platform.store().add_token(&hash(&token))?;
    ok(&json!({"token": token}))
}

/// The user whose socket has this local address, by proc_net(5).
fn owner_of(peer: SocketAddr) -> Option<u32> {
    let port = format!("{:04X}", peer.port());
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1).and_then(|address| address.rsplit_once(':'));
            // 01 is an established connection; others may be remains of an earlier one.
            if local.is_some_and(|(_, p)| p == port) && fields.get(3) == Some(&"01") {
                return fields.get(7)?.parse().ok();
            }
        }
    }
    None
}

fn hash(token: &str) -> String {
    format!("{:x}", Sha256::digest(token.as_bytes()))
}

/// Whether a request carries a token, as a bearer's or as the password that git sends.
fn authorized(platform: &Platform, headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let token = match value.split_once(' ') {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Some(token.to_owned()),
        Some((kind, encoded)) if kind.eq_ignore_ascii_case("basic") => password(encoded),
        _ => None,
    };
    token.is_some_and(|token| platform.store().has_token(&hash(&token)).unwrap_or(false))
}

/// The password of RFC 7617's credentials.
fn password(encoded: &str) -> Option<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for digit in encoded.trim_end_matches('=').bytes() {
        bits = bits << 6 | DIGITS.iter().position(|d| *d == digit)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

async fn read<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let bytes = body
        .map_err(|_| invalid("the request's body is too large or was cut off"))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(invalid)
}

fn invalid(error: impl ToString) -> Refusal {
    Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_params",
        error.to_string(),
    )
}

fn ok(value: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, value))
}

fn json_response(status: StatusCode, value: &Value) -> Response<ApiBody> {
    let mut response = text(status, &format!("{value}\n"));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A plain response.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<ApiBody> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response
}

/// A name as Heroku makes them: two words and a number.
fn random_name() -> AppName {
    const FIRST: [&str; 12] = [
        "amber", "brisk", "calm", "deep", "early", "fair", "golden", "hidden", "keen", "lucid",
        "quiet", "swift",
    ];
    const SECOND: [&str; 12] = [
        "brook", "cliff", "dawn", "field", "garnet", "harbor", "island", "lattice", "meadow",
        "ridge", "spinel", "valley",
    ];
    loop {
        let bytes = uuid::Uuid::new_v4().into_bytes();
        let (first, second) = (
            FIRST[bytes[0] as usize % 12],
            SECOND[bytes[1] as usize % 12],
        );
        let number = 10_000 + u32::from_le_bytes([bytes[2], bytes[3], bytes[4], 0]) % 90_000;
        if let Ok(name) = format!("{first}-{second}-{number}").parse() {
            return name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::password;

    #[test]
    fn gits_credentials_are_read() {
        // RFC 7617 section 2.
        assert_eq!(
            password("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(),
            Some("open sesame")
        );
        assert_eq!(password("!!"), None);
    }
}
