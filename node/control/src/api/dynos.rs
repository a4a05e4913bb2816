//! Endpoints of dynos.

use std::time::Duration;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{DynoName, ProcessType, ReleaseVersion};
use corundum_api::Identity;
use corundum_api::dyno::{DynoActivity, DynoResource};
use corundum_api::one_off::DetachedRun;
use corundum_api::reference::ReleaseRef;
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_host::grid::{DynoGrid, DynoState, DynoStatus, RunError};
use corundum_router::metrics::{AppMetrics, MetricsRegistry};
use corundum_store::{AppRecord, ReleaseRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::error::ApiError;
use super::metrics;
use super::resources;
use super::response::{ApiResult, accepted, created, drain, ok, read};
use crate::apps::config_vars;
use crate::processes::{DetachedCommand, EXIT_TIMEOUT, ProcessState, Processes, SIGTERM};

/// The parts of a node that know something of dynos.
pub(super) struct DynoParts<'a> {
    pub(super) grid: &'a DynoGrid,
    pub(super) metrics: &'a MetricsRegistry,
    pub(super) store: &'a dyn Store,
    pub(super) processes: &'a Processes,
}

/// Serves an app's `dynos`.
pub(super) async fn serve(
    parts: DynoParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&list(&parts, app)?),
        (&Method::DELETE, []) => {
            drain(request).await;
            parts.grid.restart(&app.name);
            parts.processes.restart(&app.name, |_| true);
            accepted()
        }
        (&Method::POST, []) => {
            let body: DetachedRun = read(request).await?;
            created(&run_detached(&parts, app, body).await?)
        }
        (&Method::GET, [identity]) => ok(&find(&parts, app, identity)?),
        // A supervised dyno that is stopped starts again, as on Heroku: only the formation ends it for good.
        (&Method::DELETE, [identity]) | (&Method::POST, [identity, "actions", "stop"]) => {
            drain(request).await;
            let dyno = find(&parts, app, identity)?.name;
            restart(&parts, app, &dyno)?;
            accepted()
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Starts a one-off dyno without a client.
async fn run_detached(
    parts: &DynoParts<'_>,
    app: &AppRecord,
    body: DetachedRun,
) -> Result<DynoResource, ApiError> {
    if body.attach {
        return Err(ApiError::invalid(
            "attach: not offered here; run the command with corundum run",
        ));
    }
    config_vars::check(&body.env).map_err(|error| ApiError::invalid(error.to_string()))?;
    let line = ProcessCommandLine::parse(&body.command);
    let command = DetachedCommand {
        line: line.map_err(|error| ApiError::invalid(format!("command: {error}")))?,
        environ: body.env.into_iter().collect(),
        size: body.size.unwrap_or_default(),
    };
    let run = parts.processes.run_detached(&app.name, command).await;
    let name = run.map_err(|error| ApiError::invalid(error.to_string()))?;
    let release = parts.store.current_release(&app.name)?;
    let release = release.ok_or_else(|| ApiError::invalid(RunError::Blank.to_string()))?;
    let dyno = waiting_dyno(name, release.version);
    let metrics = parts.metrics.of(&app.name);
    let size = body.size.unwrap_or_default();
    let resource = resource(app, dyno, &release, &metrics, None, size)?;
    Ok(DynoResource {
        command: body.command,
        ..resource
    })
}

/// Returns the state of a dyno that does not exist yet.
fn waiting_dyno(name: DynoName, release: ReleaseVersion) -> DynoStatus {
    DynoStatus {
        name,
        command: None,
        state: DynoState::Starting,
        release,
        age: Duration::ZERO,
        served: 0,
        memory: 0,
        linear_memory: 0,
    }
}

/// Serves the dynos of one process type: `formations/TYPE`.
pub(super) async fn serve_type(
    parts: &DynoParts<'_>,
    method: &Method,
    app: &AppRecord,
    process: &str,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::DELETE, []) | (&Method::POST, ["actions", "stop"]) => {
            drain(request).await;
            let process: ProcessType = process.parse().map_err(ApiError::invalid)?;
            if process == ProcessType::web() {
                parts.grid.restart(&app.name);
                return accepted();
            }
            let restarted = parts
                .processes
                .restart(&app.name, |name| name.process == process);
            if restarted > 0 {
                return accepted();
            }
            let mut one_off = parts.grid.dynos(&app.name);
            one_off.retain(|dyno| dyno.name.process == process);
            if one_off.is_empty() {
                let message = format!("No dynos of the type {process} are running");
                return Err(ApiError::not_found("dyno", message));
            }
            for dyno in one_off {
                stop(parts.grid, app, dyno.name);
            }
            accepted()
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Finds a dyno by its key or its name.
fn find(parts: &DynoParts<'_>, app: &AppRecord, identity: &str) -> Result<DynoResource, ApiError> {
    let identity: Identity<DynoName> = identity.parse().map_err(ApiError::invalid)?;
    let mut dynos = list(parts, app)?.into_iter();
    let found = dynos.find(|dyno| identity.matches(dyno.id, &dyno.name));
    found.ok_or_else(|| {
        let message = format!("Couldn't find that dyno: {identity}");
        ApiError::not_found("dyno", message)
    })
}

/// Replaces a dyno of a process type, or ends a one-off dyno.
fn restart(parts: &DynoParts<'_>, app: &AppRecord, dyno: &DynoName) -> Result<(), ApiError> {
    if dyno.process == ProcessType::web() {
        return Err(ApiError::invalid(
            "web dynos serve any request, so none has a place to come back to: restart all of them with corundum ps:restart web",
        ));
    }
    if parts.processes.restart(&app.name, |name| name == dyno) == 0 {
        stop(parts.grid, app, dyno.clone());
    }
    Ok(())
}

/// Ends the command of a dyno: SIGTERM, and its end after [`EXIT_TIMEOUT`].
fn stop(grid: &DynoGrid, app: &AppRecord, dyno: DynoName) {
    let (grid, app) = (grid.clone(), app.name.clone());
    grid.send_signal(&app, &dyno, SIGTERM);
    tokio::spawn(async move {
        tokio::time::sleep(EXIT_TIMEOUT).await;
        grid.kill(&app, &dyno);
    });
}

fn list(parts: &DynoParts<'_>, app: &AppRecord) -> Result<Vec<DynoResource>, ApiError> {
    let releases = parts.store.releases(&app.name)?;
    let metrics = parts.metrics.of(&app.name);
    let scales = parts.store.process_scales(&app.name)?;
    let size_of = |name: &DynoName| scales.get(&name.process).copied().unwrap_or_default().size;
    let mut states = parts.processes.states(&app.name);
    let dynos = parts.grid.dynos(&app.name).into_iter();
    // A release that the app was just deleted with is in no listing; neither are its dynos.
    let known = dynos.filter_map(|dyno| {
        let mut releases = releases.iter();
        let release = releases.find(|release| release.version == dyno.release)?;
        let state = states.remove(&dyno.name);
        let size = size_of(&dyno.name);
        Some(resource(app, dyno, release, &metrics, state, size))
    });
    let mut dynos: Vec<DynoResource> = known.collect::<Result<_, _>>()?;
    // Dynos that wait for their next start.
    if let Some(release) = releases.first() {
        for (name, state) in states {
            let size = size_of(&name);
            let dyno = waiting_dyno(name, release.version);
            dynos.push(resource(app, dyno, release, &metrics, Some(state), size)?);
        }
    }
    dynos.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(dynos)
}

fn resource(
    app: &AppRecord,
    dyno: DynoStatus,
    release: &ReleaseRecord,
    metrics: &AppMetrics,
    state: Option<ProcessState>,
    size: DynoSize,
) -> Result<DynoResource, ApiError> {
    let age_seconds = dyno.age.as_secs();
    let age = i64::try_from(age_seconds).unwrap_or_default();
    let created_at = Timestamp::from_second(Timestamp::now().as_second() - age).unwrap_or_default();
    let name = dyno.name.to_string();
    Ok(DynoResource {
        id: resources::derived_id(&["dyno", &release.id.to_string(), &name]),
        app: resources::app_ref(app),
        attach_url: None,
        command: match &dyno.command {
            Some(words) if state.is_none() => shell_words::join(words.iter()),
            _ => resources::command(release, &dyno.name.process),
        },
        created_at,
        release: ReleaseRef {
            id: release.id,
            version: release.version,
        },
        size: size.to_string(),
        state: match (state, dyno.state) {
            (Some(state), _) => state.as_str(),
            (None, DynoState::Starting) => "starting",
            (None, DynoState::Busy | DynoState::Idle) => "up",
        }
        .to_owned(),
        process_type: dyno.name.process.clone(),
        updated_at: created_at,
        activity: match dyno.state {
            DynoState::Busy | DynoState::Starting => DynoActivity::Busy,
            DynoState::Idle => DynoActivity::Idle,
        },
        age_seconds,
        served: dyno.served,
        memory_bytes: dyno.memory as u64,
        linear_memory_bytes: dyno.linear_memory as u64,
        metrics: metrics
            .dyno(dyno.name.number)
            .filter(|_| dyno.name.process == ProcessType::web())
            .map(|dyno| metrics::of_dyno(&dyno)),
        name: dyno.name,
    })
}
