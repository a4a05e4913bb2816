//! The composition of a node.

use std::sync::Arc;

use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router, run_tls};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::admin::{self, Admin, Readiness};
use crate::config::{NodeConfig, Start};
use crate::lifecycle::listeners::Listeners;
use crate::lifecycle::takeover::Taken;
use crate::lifecycle::{End, Running, Signals, startup, supervisor};
use crate::routing::grid_adapter;
use crate::{acme, certs, platform};

/// Open files that the node keeps for itself, its builds and its API; connections get the rest.
const OWN_FILES: usize = 500;

/// Runs a node until it is told to stop.
pub fn run(settings: NodeConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("router")
        .build()?;
    // The API, builds and what goes on in the background get threads of their own: a flood of requests must not lock the
    // operator out, nor a build hold up requests.
    let control = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("control")
        .build()?;
    // Dynos that wait or compute get threads of their own, of lower priority: the router stays responsive.
    let compute = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dyno")
        .on_thread_start(|| {
            let _ = rustix::process::nice(corundum_build::limits::BACKGROUND_NICENESS);
        })
        .build()?;
    let result = runtime.block_on(serve(
        settings,
        control.handle().clone(),
        compute.handle().clone(),
    ));
    control.shutdown_background();
    compute.shutdown_background();
    result
}

async fn serve(settings: NodeConfig, control: Handle, compute: Handle) -> anyhow::Result<()> {
    let descriptors = raise_open_files().saturating_sub(OWN_FILES);
    let mut signals = Signals::new()?;
    let taken = match settings.start {
        Start::TakeOver => Taken::from_node(&settings.data)?,
        Start::Alone => None,
    };
    let (listeners, taken) = match taken {
        Some((listeners, taken)) => (listeners, Some(taken)),
        None => (Listeners::open(&settings).await?, None),
    };
    let settings = listeners.addresses(settings)?;
    let platform = Arc::new(platform::Platform::open(settings.clone(), compute)?);
    let front = Arc::new(grid_adapter::Front::new(platform.clone()));
    let router = Arc::new(Router::new(front).with_cache(platform.cache().clone()));
    // Each listener has its share, so that no flood of the one closes the other.
    let listening = 1 + usize::from(listeners.https.is_some());
    let limits = ServerLimits {
        connections: ServerLimits::default()
            .connections
            .min(descriptors / listening),
        drain: std::time::Duration::from_secs(10),
        ..ServerLimits::default()
    };
    let readiness = Arc::new(Readiness::default());
    let replaced = Arc::new(Notify::new());
    let told = Admin {
        platform: platform.clone(),
        router: router.metrics().clone(),
        readiness: readiness.clone(),
        connections: limits.connections * listening,
        replaced: replaced.clone(),
    };
    if let Some(files) = &settings.https_cert {
        certs::default_cert::load(&platform, files)?;
        control.spawn(certs::default_cert::watch(platform.clone(), files.clone()));
    }
    let expected = startup::announce(&platform);
    {
        let _entered = control.enter();
        platform.start_drains();
    }
    let mut loading = {
        let (platform, readiness) = (platform.clone(), readiness.clone());
        control.spawn(async move {
            startup::run(&platform, expected).await;
            readiness.set_ready();
        })
    };
    if taken.is_some() {
        // The other node serves until this one has all apps.
        let _ = (&mut loading).await;
    }
    let own = listeners.again()?;
    admin::start(own.admin, told)?;
    let stop = Arc::new(Notify::new());
    let stopped = |stop: Arc<Notify>| async move { stop.notified().await };
    let certificates = platform.shown().certificates().clone();
    let proofs = acme::Proofs {
        http: router.http01_challenges().clone(),
        tls: certificates.clone(),
    };
    let encrypted = own.https.map(TcpListener::from_std).transpose()?;
    let encrypted = encrypted.map(|https| {
        let (router, limits) = (router.clone(), limits.clone());
        run_tls(https, certificates, router, limits, stopped(stop.clone()))
    });
    let http = TcpListener::from_std(own.http)?;
    let plain = run_router(http, router, limits, stopped(stop.clone()));
    let serving = tokio::spawn(async move {
        match encrypted {
            Some(encrypted) => drop(tokio::join!(plain, encrypted)),
            None => plain.await,
        }
    });
    let mut running = Running::new(platform, listeners, proofs, control)?;
    say(&settings);
    if let Some(taken) = taken {
        taken.serving()?;
    }
    supervisor::ready();
    let end = running.until_end(&mut signals).await?;
    match end {
        End::Stopped => println!("corundum: stopping"),
        End::Replaced => println!("corundum: another process has taken over"),
    }
    readiness.set_stopping();
    replaced.notify_one();
    stop.notify_waiters();
    tokio::select! {
        _ = serving => {}
        // A second signal does not wait for running requests.
        () = signals.stop() => {}
    }
    Ok(())
}

/// Says where the node listens.
fn say(settings: &NodeConfig) {
    println!(
        "corundum: apps at http://NAME.{}:{}",
        settings.domain,
        settings.http.port()
    );
    if let Some(https) = settings.https {
        println!("corundum: apps at https://{https}, with the certificates of corundum certs");
    }
    println!("corundum: metrics and health at http://{}", settings.admin);
    println!("corundum: API and git at http://{}", settings.api);
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
