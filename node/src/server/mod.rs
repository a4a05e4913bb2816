//! The node: one process that takes pushes, keeps releases and serves apps.
//!
//! [`platform`] puts store, packs and grid together; [`api`] and [`git`] are its doors on the API's listener, [`hook`]
//! the one for git's own hooks, [`front`] the router's view of it, with [`sites`] for what it
//! knows of each app. [`deploy`] takes a push to its release by way of
//! [`build`].

mod api;
mod build;
mod config;
mod deploy;
mod domains;
mod front;
mod git;
mod hook;
mod logs;
mod platform;
mod secret;
mod settings;
mod sites;
mod store;
mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use corundum_compiler::gems::GemSource;
use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router};
use tokio::net::TcpListener;

use crate::compile::Limits;

pub(crate) use git::MAX_PUSH;
pub(crate) use hook::pre_receive;

/// Open files that the node keeps for itself, its builds and its API; connections get the rest.
const OWN_FILES: usize = 500;

/// A node's settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where it keeps everything.
    pub(crate) data: PathBuf,
    /// Where prepared packs are, shared by all nodes of the machine.
    pub(crate) cache: PathBuf,
    /// The apps' listener.
    pub(crate) http: SocketAddr,
    /// The apps' listener for TLS.
    pub(crate) https: Option<SocketAddr>,
    /// The listener of the API and git.
    pub(crate) api: SocketAddr,
    /// Directories that builds take gems from.
    pub(crate) gems: Vec<PathBuf>,
    /// Gem servers that builds may fetch from.
    pub(crate) gem_sources: Vec<GemSource>,
    /// Apps are served at `NAME.domain`.
    pub(crate) domain: String,
    /// Bytes of one push.
    pub(crate) push: u64,
    /// Limits of builds.
    pub(crate) build: Limits,
    /// Whether Ruby is built from source beside serving, where it has not been yet.
    pub(crate) build_ruby: bool,
}

/// Runs a node until it is told to stop.
pub(crate) fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Dynos that wait or compute get threads of their own, of lower priority: the router stays responsive.
    let compute = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dyno")
        .on_thread_start(|| {
            let _ = rustix::process::nice(crate::compile::NICE);
        })
        .build()?;
    let result = runtime.block_on(serve(settings, compute.handle().clone()));
    compute.shutdown_background();
    result
}

async fn serve(settings: Settings, compute: tokio::runtime::Handle) -> anyhow::Result<()> {
    let descriptors = raise_open_files().saturating_sub(OWN_FILES);
    let bind = |address: SocketAddr, option: &'static str| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (choose another with {option})"))
    };
    let http = bind(settings.http, "--http").await?;
    let api = bind(settings.api, "--api").await?;
    let settings = Settings {
        http: http.local_addr()?,
        api: api.local_addr()?,
        ..settings
    };
    let platform = Arc::new(platform::Platform::open(settings.clone(), compute)?);
    platform.load_all().await;
    let hook = hook::listen(&platform)?;
    println!(
        "corundum: apps at http://NAME.{}:{}",
        settings.domain,
        settings.http.port()
    );
    println!("corundum: API and git at http://{}", settings.api);
    let front = Arc::new(front::Front::new(platform.clone()));
    let router = Arc::new(Router::new(front));
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = |stop: Arc<tokio::sync::Notify>| async move { stop.notified().await };
    let limits = ServerLimits {
        connections: ServerLimits::default().connections.min(descriptors),
        drain: std::time::Duration::from_secs(10),
        ..ServerLimits::default()
    };
    let serving = tokio::spawn(run_router(http, router, limits, stopped(stop.clone())));
    let doors = tokio::spawn(api::serve(api, platform.clone()));
    let hooks = tokio::spawn(hook::serve(hook, platform.clone()));
    let upgrades = tokio::spawn(upgrade::run(platform));
    wait_for_signal().await?;
    println!("corundum: stopping");
    stop.notify_waiters();
    tokio::select! {
        _ = serving => {}
        // A second signal does not wait for running requests.
        _ = wait_for_signal() => {}
    }
    doors.abort();
    hooks.abort();
    upgrades.abort();
    Ok(())
}

/// Raises the limit of open files as far as the node may, and returns it.
fn raise_open_files() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let raised = getrlimit(Resource::Nofile).current;
    raised.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX))
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
