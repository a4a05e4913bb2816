//! Making the apps live when the node starts. The node listens before: requests for an app whose image is still being
//! loaded wait in its queue, and such an app is loaded before those that nobody asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::platform::Platform;
use corundum_store::{AppRecord, ReleaseRecord};

/// An app and the release that it is to run.
pub(crate) struct Expected {
    app: AppRecord,
    release: ReleaseRecord,
}

/// Makes all apps known, and their requests wait; returns those that are to be loaded.
pub(crate) fn announce(platform: &Platform) -> Vec<Expected> {
    let apps = match platform.store().apps() {
        Ok(apps) => apps,
        Err(error) => {
            tracing::error!(%error, "the store");
            return Vec::new();
        }
    };
    let announced = apps.into_iter().filter_map(|app| {
        platform.logs().open(&app.name);
        crate::git::http_backend::sweep(&platform.repository(&app.name));
        platform.grid().set_formation(&app.name, app.formation);
        crate::apps::autoscale::load(platform, &app.name);
        let release = platform.store().current_release(&app.name);
        let release = release.unwrap_or_else(|error| {
            tracing::error!(app = %app.name, %error, "the app's releases");
            None
        });
        if let Some(release) = &release {
            platform.grid().expect(&app.name);
            if let Err(error) = platform.announce_files(&app.name, release) {
                tracing::warn!(app = %app.name, error = format!("{error:#}"), "no static files yet");
            }
        }
        platform.refresh(&app.name);
        Some(Expected {
            app,
            release: release?,
        })
    });
    announced.collect()
}

/// Loads the announced apps, a few at once, then removes what no release names.
pub(crate) async fn run(platform: &Arc<Platform>, mut expected: Vec<Expected>) {
    // Most of a load is reading and checking an image, on a thread of its own.
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    let mut loads = JoinSet::new();
    loop {
        while loads.len() < at_once {
            let asked = |one: &Expected| {
                let status = platform.grid().app(&one.app.name);
                status.is_some_and(|status| status.waiting > 0)
            };
            let index = expected.iter().position(asked).unwrap_or(0);
            if index >= expected.len() {
                break;
            }
            loads.spawn(load(platform.clone(), expected.swap_remove(index)));
        }
        if loads.join_next().await.is_none() {
            break;
        }
    }
    platform.sweep();
}

async fn load(platform: Arc<Platform>, Expected { app, release }: Expected) {
    // A push that comes meanwhile would be undone by the older release.
    let _building = loop {
        match platform.begin_build(&app.name) {
            Some(building) => break building,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if platform.grid().release(&app.name).is_some() {
        return;
    }
    if let Err(error) = platform.load(&app.name, release).await {
        tracing::error!(app = %app.name, error = format!("{error:#}"), "cannot be served");
        platform.grid().give_up(&app.name);
    }
    platform.refresh(&app.name);
}
