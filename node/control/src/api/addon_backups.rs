//! Endpoints of backups of an app's add-ons, and of their schedules.

use std::sync::Arc;

use bytes::Bytes;
use corundum_api::addon_backup::{
    AddonBackupCreate, AddonBackupResource, AddonBackupRestore, BackupScheduleCreate,
    BackupScheduleResource,
};
use corundum_store::{
    AddonBackupRecord, AddonRecord, AppRecord, BackupOrigin, BackupScheduleRecord, BackupState,
};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::error::ApiError;
use super::resources::{named, time};
use super::response::{ApiResult, created, ok, read};
use crate::services::addons::{AddonError, Addons};
use crate::services::backups::{AddonBackups, BackupOperationError, backup_name};

/// Bytes of a piece of a backup.
const PIECE: usize = 64 << 10;

/// The parts of a node that the endpoints work with.
#[derive(Clone, Copy)]
pub(super) struct AddonBackupParts<'a> {
    pub(super) addons: &'a Arc<Addons>,
    pub(super) backups: &'a Arc<AddonBackups>,
}

/// Serves an app's `addon-backups`.
pub(super) async fn serve(
    parts: AddonBackupParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let AddonBackupParts { addons, backups } = parts;
    match (method, rest) {
        (&Method::GET, []) => {
            let listed = backups.list(&app.name)?;
            let resources = listed.iter().map(|(addon, backup)| resource(addon, backup));
            ok(&resources.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::POST, []) => {
            let body: AddonBackupCreate = read(request).await?;
            let addon = own(addons, app, &body.addon)?;
            let backup = backups.capture(&addon, BackupOrigin::Manual).await?;
            created(&resource(&addon, &backup)?)
        }
        (&Method::GET, [name]) => {
            let (addon, backup) = backups.find(&app.name, name)?;
            ok(&resource(&addon, &backup)?)
        }
        (&Method::DELETE, [name]) => {
            let (addon, backup) = backups.find(&app.name, name)?;
            backups.delete(&backup)?;
            ok(&resource(&addon, &backup)?)
        }
        (&Method::GET, [name, "content"]) => {
            let (addon, backup) = backups.find(&app.name, name)?;
            let path = backups.file(&addon, &backup)?;
            let file = File::open(path).await.map_err(BackupOperationError::from)?;
            Ok(content(file, backup.size))
        }
        (&Method::POST, [name, "actions", "restore"]) => {
            let body: AddonBackupRestore = read(request).await?;
            let (source, backup) = backups.find(&app.name, name)?;
            let target = own(addons, app, &body.addon)?;
            if body.confirm.as_deref() != Some(app.name.as_str()) {
                let (target, app) = (target.name, app.name.clone());
                return Err(AddonError::Unconfirmed(target, app).into());
            }
            backups.restore(&source, &backup, &target).await?;
            ok(&resource(&source, &backup)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Serves an app's `backup-schedules`.
pub(super) async fn serve_schedules(
    parts: AddonBackupParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let AddonBackupParts { addons, backups } = parts;
    match (method, rest) {
        (&Method::GET, []) => {
            let listed = backups.schedules(&app.name)?.into_iter();
            let resources = listed.map(|(addon, schedule)| schedule_resource(&addon, &schedule));
            ok(&resources.collect::<Vec<_>>())
        }
        (&Method::POST, []) => {
            let body: BackupScheduleCreate = read(request).await?;
            let addon = own(addons, app, &body.addon)?;
            let schedule = backups.schedule(&addon, &body.at)?;
            created(&schedule_resource(&addon, &schedule))
        }
        (&Method::DELETE, [identity]) => {
            let addon = own(addons, app, identity)?;
            backups.unschedule(&addon)?;
            ok(&named("addon", &addon.name))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Finds an add-on that an app owns.
fn own(addons: &Addons, app: &AppRecord, identity: &str) -> Result<AddonRecord, ApiError> {
    let addon = addons.find(Some(&app.name), identity)?;
    match &addon.app {
        Some(owner) if *owner == app.name => Ok(addon),
        Some(owner) => Err(ApiError::invalid(format!(
            "{} belongs to {owner}: name that app with --app",
            addon.name
        ))),
        None => Err(ApiError::invalid(format!(
            "{} is being removed",
            addon.name
        ))),
    }
}

/// Makes the response with the file of a backup, which is read as the client takes it.
fn content(file: File, size: u64) -> Response<super::response::ApiBody> {
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Frame::data(Bytes::from(piece)), file)))
    });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    response
}

fn resource(
    addon: &AddonRecord,
    backup: &AddonBackupRecord,
) -> Result<AddonBackupResource, ApiError> {
    Ok(AddonBackupResource {
        id: backup.id,
        addon: named("addon", &addon.name),
        created_at: time(&backup.created_at)?,
        finished_at: backup.finished_at.as_deref().map(time).transpose()?,
        message: Some(backup.message.clone()).filter(|message| !message.is_empty()),
        name: backup_name(backup),
        origin: match backup.origin {
            BackupOrigin::Manual => "manual",
            BackupOrigin::Scheduled => "scheduled",
        }
        .to_owned(),
        size_bytes: backup.size,
        state: match backup.state {
            BackupState::Running => "running",
            BackupState::Completed => "completed",
            BackupState::Failed => "failed",
        }
        .to_owned(),
    })
}

fn schedule_resource(
    addon: &AddonRecord,
    schedule: &BackupScheduleRecord,
) -> BackupScheduleResource {
    let BackupScheduleRecord {
        hour,
        minute,
        timezone,
        ..
    } = schedule;
    BackupScheduleResource {
        addon: named("addon", &addon.name),
        at: format!("{hour:02}:{minute:02} {timezone}"),
    }
}
