//! Endpoints of the node's disk.

use std::num::NonZeroU32;
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_api::ErrorId;
use corundum_api::storage::{AppStorage, StoragePrune, StoragePruned, StorageResource};
use corundum_store::{AppRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources;
use super::response::{ApiResult, ok, read};
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;
use crate::git::collection;
use crate::storage::live_files::LiveFiles;
use crate::storage::retention::Retention;
use crate::storage::trash::disk_bytes;
use crate::storage::usage::DiskUsage;

/// The parts of a node that know its disk.
#[derive(Clone)]
pub struct StorageParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The files in use.
    pub files: Arc<LiveFiles>,
    /// The retention of releases.
    pub retention: Arc<Retention>,
    /// The disk of apps.
    pub usage: DiskUsage,
}

/// Serves `storage`.
pub(super) async fn serve(
    parts: &StorageParts,
    method: &Method,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => {
            let parts = parts.clone();
            ok(&blocking(move || measure(&parts)).await?)
        }
        (&Method::POST, ["prune"]) => {
            let request: StoragePrune = read(request).await?;
            ok(&prune(parts, request).await?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| internal("interrupted: the node is shutting down"))?
}

fn internal(error: impl ToString) -> ApiError {
    ApiError::new(ErrorId::Internal, format!("storage: {}", error.to_string()))
}

fn measure(parts: &StorageParts) -> Result<StorageResource, ApiError> {
    let found = parts.store.apps();
    let mut problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    if let Err(error) = parts.files.check() {
        problems.push(error.to_string());
    }
    let mut apps = Vec::with_capacity(found.apps.len());
    for app in &found.apps {
        match parts.usage.of_app(&app.name) {
            Ok(usage) => apps.push(AppStorage {
                app: resources::app_ref(app),
                releases: usage.releases,
                repository: usage.repository,
                slugs: usage.slugs,
                image: usage.image,
                bytes: usage.bytes(),
            }),
            Err(error) => problems.push(error.to_string()),
        }
    }
    problems.dedup();
    let path = parts.data.path();
    let store = parts.data.store_file();
    let mut in_store = 0;
    for ending in ["", "-wal", "-shm"] {
        let mut file = store.clone().into_os_string();
        file.push(ending);
        in_store += disk_bytes(file.as_ref()).map_err(internal)?;
    }
    let filesystem = rustix::fs::statvfs(path).map_err(internal)?;
    Ok(StorageResource {
        apps,
        app_quota: parts.usage.quota(),
        store: in_store,
        full_images: disk_bytes(&parts.data.full_images()).map_err(internal)?,
        gems: disk_bytes(&parts.data.gems()).map_err(internal)?,
        work: disk_bytes(&parts.data.work()).map_err(internal)?,
        trash: parts.files.trash().content().map_err(internal)?.bytes,
        free: filesystem.f_bavail * filesystem.f_frsize,
        problems,
    })
}

async fn prune(parts: &StorageParts, request: StoragePrune) -> Result<StoragePruned, ApiError> {
    let keep = request.keep.map(NonZeroU32::new);
    if keep == Some(None) {
        let message = "keep: an app keeps its current release; give 1 or more";
        return Err(ApiError::invalid(message));
    }
    let keep = keep.flatten();
    let apps: Vec<AppName> = match &request.app {
        Some(app) => vec![parts.store.app(app)?.name],
        None => {
            let apps = parts.store.apps().apps.into_iter();
            apps.map(|AppRecord { name, .. }| name).collect()
        }
    };
    let mut pruned = StoragePruned::default();
    for app in &apps {
        {
            let Some(_building) = parts.locks.begin_build(app) else {
                // One app is asked for: say so. With all of them, an app that is being built applies the rule itself.
                if request.app.is_some() {
                    let message = "the app is being built: wait for the build, then try again";
                    return Err(ApiError::new(ErrorId::Conflict, message));
                }
                continue;
            };
            pruned.releases += match keep {
                Some(keep) => parts.retention.keep_newest(app, keep)?,
                None => parts.retention.apply(app)?,
            };
        }
        let collected = collection::collect(&parts.data, &parts.locks, app).await;
        pruned.repositories += u64::from(collected.map_err(internal)?);
    }
    let parts = parts.clone();
    blocking(move || {
        pruned.files = parts.files.sweep().map_err(internal)?.files;
        if request.empty_trash {
            pruned.deleted = parts.files.trash().delete_all().map_err(internal)?.bytes;
        }
        pruned.trash = parts.files.trash().content().map_err(internal)?.bytes;
        Ok(pruned)
    })
    .await
}
