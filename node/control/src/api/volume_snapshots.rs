//! Endpoints of the snapshots of an app's volume.

use std::sync::Arc;

use corundum_api::ErrorId;
use corundum_api::volume_snapshot::VolumeSnapshotResource;
use corundum_host::grid::DynoGrid;
use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::response::{ApiResult, created, drain, ok};
use crate::processes::Processes;
use crate::volumes::snapshots::VolumeSnapshot;
use crate::volumes::{VolumeError, Volumes};

/// The parts of a node that the endpoints work with.
#[derive(Clone, Copy)]
pub(super) struct VolumeSnapshotParts<'a> {
    pub(super) volumes: &'a Arc<Volumes>,
    pub(super) grid: &'a DynoGrid,
    pub(super) processes: &'a Processes,
}

/// Serves an app's `volume-snapshots`.
pub(super) async fn serve(
    parts: VolumeSnapshotParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    drain(request).await;
    let name = app.name.clone();
    let volumes = parts.volumes.clone();
    match (method, rest) {
        (&Method::GET, []) => {
            let listed = blocking(move || volumes.snapshots(&name)).await?;
            ok(&listed.into_iter().map(resource).collect::<Vec<_>>())
        }
        (&Method::POST, []) => {
            let made = blocking(move || volumes.capture(&name)).await?;
            created(&resource(made))
        }
        (&Method::DELETE, [snapshot]) => {
            let snapshot = (*snapshot).to_owned();
            let deleted = blocking(move || volumes.delete_snapshot(&name, &snapshot)).await?;
            ok(&resource(deleted))
        }
        (&Method::POST, [snapshot, "actions", "restore"]) => {
            let snapshot = (*snapshot).to_owned();
            let kept = blocking(move || volumes.restore(&name, &snapshot)).await?;
            // Dynos have the data before until they are replaced.
            parts.grid.restart(&app.name);
            parts.processes.restart(&app.name, |_| true);
            ok(&resource(kept))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Runs work that waits for the disk on a thread for that. It goes on if the client disconnects.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, ApiError> {
    let worked = tokio::task::spawn_blocking(work).await;
    let interrupted = |_| ApiError::new(ErrorId::Internal, "the node was stopped: try again");
    Ok(worked.map_err(interrupted)??)
}

fn resource(snapshot: VolumeSnapshot) -> VolumeSnapshotResource {
    VolumeSnapshotResource {
        name: snapshot.name,
        created_at: snapshot.created_at,
        size_bytes: snapshot.bytes,
    }
}
