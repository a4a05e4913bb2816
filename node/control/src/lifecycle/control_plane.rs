//! The tasks that can change something on a node: the API, git's hooks, logins, and the background work.
//!
//! They start and end together, since another process may own the data directory in between; see
//! [`takeover`](super::takeover).

use std::sync::Arc;

use corundum_router::metrics::{MetricsRegistry, TICK};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::listeners::Listeners;
use crate::acme::{AcmeManager, ChallengeResponders};
use crate::api::login::{self, Login};
use crate::api::router::Api;
use crate::api::server;
use crate::apps::autoscale::Autoscaler;
use crate::apps::usage::AppUsage;
use crate::data_dir::DataDir;
use crate::git::hook_server;
use crate::git::push::Pushes;
use crate::packs::upgrade::PackUpgrade;
use crate::processes::Processes;
use crate::services::addons::Addons;
use crate::services::backups::AddonBackups;
use crate::storage::housekeeping::Housekeeping;
use crate::usage::UsageMeter;
use crate::volumes::{Volumes, copies};

/// The parts of the control plane.
pub struct ControlPlane {
    /// The runtime of the tasks.
    pub runtime: Handle,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The HTTP API.
    pub api: Arc<Api>,
    /// The issuer of first tokens.
    pub login: Arc<Login>,
    /// The deployment of pushes.
    pub pushes: Arc<Pushes>,
    /// The move to better packs.
    pub upgrade: Arc<PackUpgrade>,
    /// The background work on the data directory.
    pub housekeeping: Arc<Housekeeping>,
    /// The add-ons.
    pub addons: Arc<Addons>,
    /// The backups of add-ons.
    pub backups: Arc<AddonBackups>,
    /// The volumes.
    pub volumes: Arc<Volumes>,
    /// The automatic certificates.
    pub acme: Arc<AcmeManager>,
    /// The answers to ACME challenges.
    pub responders: ChallengeResponders,
    /// The autoscaler.
    pub autoscaler: Arc<Autoscaler>,
    /// The apps' metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The times of the last requests.
    pub usage: Arc<AppUsage>,
    /// The meter of what apps use.
    pub meter: Arc<UsageMeter>,
    /// The processes beside web.
    pub processes: Arc<Processes>,
}

/// The running tasks of the control plane. Dropping this ends them; requests in progress go on.
pub(crate) struct RunningControlPlane {
    /// The API and the hooks of pushes.
    serving: Vec<JoinHandle<()>>,
    /// Tasks that change something by themselves.
    working: Vec<JoinHandle<()>>,
    meter: Arc<UsageMeter>,
}

impl ControlPlane {
    /// Starts the tasks.
    ///
    /// # Errors
    ///
    /// A socket in the data directory cannot be created.
    pub(crate) fn start(&self, listeners: &Listeners) -> std::io::Result<RunningControlPlane> {
        let runtime = &self.runtime;
        let (api, hooks, logins) = {
            let _entered = runtime.enter();
            let api = TcpListener::from_std(listeners.try_clone()?.api)?;
            (
                api,
                hook_server::listen(&self.data)?,
                login::listen(&self.data)?,
            )
        };
        self.processes.start();
        self.meter.start();
        Ok(RunningControlPlane {
            meter: self.meter.clone(),
            serving: vec![
                runtime.spawn(server::serve(api, self.api.clone())),
                runtime.spawn(hook_server::serve(hooks, self.pushes.clone())),
            ],
            working: vec![
                runtime.spawn(settle(self.pushes.clone())),
                runtime.spawn(self.login.clone().serve(logins)),
                runtime.spawn(self.upgrade.clone().run()),
                runtime.spawn(self.housekeeping.clone().run()),
                runtime.spawn(self.processes.schedule().clone().run()),
                runtime.spawn({
                    let scaling = self.processes.queue_scaling().clone();
                    scaling.run(self.processes.clone())
                }),
                runtime.spawn(self.addons.clone().run()),
                runtime.spawn(self.backups.clone().run()),
                runtime.spawn(copies::serve(self.data.clone(), self.volumes.clone())),
                runtime.spawn(self.acme.clone().run(self.responders.clone())),
                runtime.spawn(tick(
                    self.metrics.clone(),
                    self.autoscaler.clone(),
                    self.usage.clone(),
                    self.meter.clone(),
                )),
            ],
        })
    }
}

impl RunningControlPlane {
    /// Ends the tasks that change something by themselves. The API goes on to answer, and pushes in progress to end.
    pub(crate) fn stop_working(&self) {
        self.working.iter().for_each(JoinHandle::abort);
        self.meter.finish();
    }
}

impl Drop for RunningControlPlane {
    fn drop(&mut self) {
        self.stop_working();
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// Settles the pushes that an earlier process was interrupted in.
async fn settle(pushes: Arc<Pushes>) {
    pushes.settle_interrupted().await;
}

/// Advances the windows of the metrics, scales apps by them, notes the apps in use, and counts what they use.
async fn tick(
    metrics: Arc<MetricsRegistry>,
    autoscaler: Arc<Autoscaler>,
    usage: Arc<AppUsage>,
    meter: Arc<UsageMeter>,
) {
    let mut interval = tokio::time::interval(TICK);
    // A missed tick has no metrics of its own.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        metrics.tick();
        autoscaler.step();
        usage.tick();
        meter.tick();
    }
}
