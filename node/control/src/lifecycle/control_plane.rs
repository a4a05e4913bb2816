//! The ways by which something of a node can be changed: its API, git's hooks, and what it does by itself in the
//! background. They are closed and opened together, since another process may have the data directory meanwhile.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use corundum_router::metrics::TICK;

use crate::acme;
use crate::acme::Proofs;
use crate::api;
use crate::apps::autoscale;
use crate::git::hook;
use crate::lifecycle::listeners::Listeners;
use crate::packs::upgrade;
use crate::platform::Platform;

/// The open doors. They close when this is dropped; requests that are inside go on.
pub(crate) struct Doors(Vec<JoinHandle<()>>);

impl Doors {
    /// Opens them on `runtime`.
    ///
    /// # Errors
    ///
    /// The hooks' socket cannot be made.
    pub(crate) fn open(
        runtime: &Handle,
        platform: &Arc<Platform>,
        listeners: &Listeners,
        proofs: &Proofs,
    ) -> anyhow::Result<Self> {
        let (api, hook) = {
            let _entered = runtime.enter();
            let api = TcpListener::from_std(listeners.again()?.api)?;
            (api, hook::listen(platform)?)
        };
        Ok(Self(vec![
            runtime.spawn(api::serve(api, platform.clone())),
            runtime.spawn(hook::serve(hook, platform.clone())),
            runtime.spawn(upgrade::run(platform.clone())),
            runtime.spawn(acme::run(platform.clone(), proofs.clone())),
            runtime.spawn(tick(platform.clone())),
        ]))
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Moves the figures' windows on, and scales what is to be scaled by them.
async fn tick(platform: Arc<Platform>) {
    let mut interval = tokio::time::interval(TICK);
    // Ticks that were missed have no figures of their own.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        platform.metrics().tick();
        autoscale::step(&platform);
    }
}
