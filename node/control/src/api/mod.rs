//! The API: JSON over HTTP for the command line, and the door of git.
//!
//! [`auth`] says who may use it; [`streams`] has the answers that go on for a while.

mod acme;
mod auth;
mod cache;
mod certs;
mod domains;
mod drains;
mod figures;
mod settings;
mod streams;

use std::sync::Arc;

use bytes::Bytes;
use corundum_abi::names::{AppName, ReleaseVersion};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::auth::Ends;
use crate::apps::autoscale;
use crate::apps::autoscale::Rule;
use crate::apps::config_vars as config;
use crate::apps::config_vars::Changes;
use crate::git::http_backend as git;
use crate::platform::{MAX_FORMATION, Platform};
use corundum_store::{Fault, HasFault, StoreError};

/// A response's body.
pub(crate) type ApiBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Connections at once: a few people and their scripts.
const CONNECTIONS: usize = 256;
/// Bytes of a request that is not git's.
const MAX_BODY: usize = 4 << 20;

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
        let ends = stream
            .local_addr()
            .map_or(Ends { peer, local: peer }, |local| Ends { peer, local });
        let platform = platform.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let platform = platform.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(platform, ends, request).await) }
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
        let (status, id) = match error.fault() {
            Fault::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Fault::Client => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
            Fault::Conflict => (StatusCode::CONFLICT, "busy"),
            Fault::Node => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
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
    ends: Ends,
    request: Request<Incoming>,
) -> Response<ApiBody> {
    let path = request.uri().path().to_owned();
    if let Some((app, rest)) = git::repository_of(&path) {
        if !auth::authorized(&platform, request.headers()) {
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
    endpoint(platform, ends, request, &path)
        .await
        .unwrap_or_else(|refusal| {
            let value = json!({"error": {"id": refusal.id, "message": refusal.message}});
            json_response(refusal.status, &value)
        })
}

async fn endpoint(
    platform: Arc<Platform>,
    ends: Ends,
    request: Request<Incoming>,
    path: &str,
) -> Answer {
    if platform.is_handed_over() && request.method() != Method::GET {
        let message = "The node is being restarted: try again";
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "restarting",
            message,
        ));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts == ["v1", "login"] && request.method() == Method::POST {
        return auth::login(&platform, ends, &request);
    }
    if !auth::authorized(&platform, request.headers()) {
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
                None => crate::apps::names::random(),
            };
            platform.create(&name).await?;
            ok(&app_json(&platform, &name)?)
        }
        (&Method::GET, ["v1", "cache"]) => ok(&cache::of_all(platform.cache())),
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
        (&Method::GET, []) => {
            let mut info = app_json(&platform, app)?;
            info["figures"] = figures::of_app(&platform, app);
            info["cache"] = cache::of_app(platform.cache(), app);
            ok(&info)
        }
        (&Method::DELETE, []) => {
            let _building = begin(&platform, app)?;
            platform.destroy(app)?;
            ok(&json!({"name": app}))
        }
        (&Method::GET, ["config"]) => ok(&json!(platform.store().config(app)?)),
        (&Method::PATCH, ["config"]) => change_config(&platform, app, read(request).await?).await,
        (&Method::GET, ["releases"]) => ok(&json!(platform.store().releases(app)?)),
        (&Method::POST, ["rollback"]) => {
            let body: Rollback = read(request).await?;
            roll_back(&platform, app, body.version).await
        }
        (_, ["drains"]) => drains::serve(&platform, method, app, request).await,
        (_, ["domains", rest @ ..]) => domains::serve(&platform, method, app, rest, request).await,
        (_, ["cache", rest @ ..]) => cache::serve(&platform, method, app, rest, request).await,
        (_, ["certs", rest @ ..]) => certs::serve(&platform, method, app, rest, request).await,
        (_, ["certs-auto", rest @ ..]) => acme::serve(&platform, method, app, rest),
        (_, ["settings"]) => settings::serve(&platform, method, app, request).await,
        (&Method::GET, ["dynos"]) => ok(&figures::of_dynos(&platform, app)),
        (&Method::POST, ["restart"]) => {
            // What is not read may still be on its way, and costs the client its connection.
            let _ = Limited::new(request.into_body(), MAX_BODY).collect().await;
            platform.grid().restart(app);
            ok(&json!({}))
        }
        (&Method::PATCH, ["formation"]) => {
            let body: Formation = read(request).await?;
            if body.web > MAX_FORMATION {
                return Err(invalid(format!(
                    "an app has at most {MAX_FORMATION} web dynos"
                )));
            }
            platform.scale(app, body.web)?;
            ok(&json!({"web": body.web}))
        }
        (&Method::PUT, ["autoscale"]) => {
            let rule: Rule = read(request).await?;
            autoscale::set(&platform, app, Some(rule.check().map_err(invalid)?))?;
            ok(&json!(rule))
        }
        (&Method::DELETE, ["autoscale"]) => {
            autoscale::set(&platform, app, None)?;
            ok(&json!({}))
        }
        (&Method::GET, ["logs"]) => Ok(streams::logs(&platform, app, query)),
        (&Method::POST, ["run"]) => {
            let body: Run = read(request).await?;
            Ok(streams::run(&platform, app, body.command))
        }
        _ => Err(no_such_endpoint()),
    }
}

fn no_such_endpoint() -> Refusal {
    let message = "no such endpoint of an app";
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
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

async fn change_config(platform: &Arc<Platform>, app: &AppName, changes: Changes) -> Answer {
    // Before they are read: a change that comes meanwhile must not be lost.
    let _building = begin(platform, app)?;
    let mut config = platform.store().config(app)?;
    let description = config::change(&mut config, changes).map_err(invalid)?;
    let current = platform.store().current_release(app)?;
    let release = match current {
        None => {
            platform.store().set_config(app, &config)?;
            None
        }
        Some(current) => Some(
            platform
                .release_again(app, &current, &config, description)
                .await?
                .version,
        ),
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

fn begin(platform: &Arc<Platform>, app: &AppName) -> Result<crate::platform::Building, Refusal> {
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
    let release = platform.store().current_release(name)?;
    Ok(json!({
        "name": app.name,
        "created_at": app.created_at,
        "formation": {"web": app.formation},
        "autoscale": platform.autoscale().rule(name),
        "web_url": platform.url(name),
        "git_url": format!("http://{}/{name}.git", platform.settings().api),
        "release": release.as_ref().map(|release| release.version.to_string()),
        "ruby": release.as_ref().map(|release| release.about.ruby),
    }))
}

async fn read<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let bytes = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("a request may have {} MB", MAX_BODY >> 20),
            ));
        }
        Err(_) => return Err(invalid("the request's body was cut off")),
    };
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
