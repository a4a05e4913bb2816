//! Volumes as add-ons: the plan's size becomes the app's setting `volume`, and the config var says where the directory is.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_abi::outbound::OutboundTarget;
use corundum_store::{AddonRecord, Store};
use serde::{Deserialize, Serialize};

use super::loopback::{decode, encode, failed};
use super::settings::{ServiceSettingsError, VolumeServiceSettings};
use super::{Plans, Service, ServiceError, ServiceFuture, ServiceNames};
use crate::apps::settings::catalog::{self, VOLUME};
use crate::volumes::{VolumeError, Volumes};

const SERVICE: &str = "volume";

/// The directory in dynos.
const PATH: &str = "/data";

/// A service of volumes.
pub(super) struct VolumeService {
    store: Arc<dyn Store>,
    volumes: Arc<Volumes>,
    plans: Plans,
}

/// The data of an add-on, which says that the volume is the add-on's.
#[derive(Serialize, Deserialize)]
struct VolumeData {
    /// The value of the setting.
    size: String,
}

impl VolumeService {
    /// Creates the service.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn new(
        settings: &VolumeServiceSettings,
        store: Arc<dyn Store>,
        volumes: Arc<Volumes>,
    ) -> Result<Self, ServiceSettingsError> {
        Ok(Self {
            store,
            volumes,
            plans: settings.plans(SERVICE)?,
        })
    }

    /// Gives the add-on's app a volume of the plan's size.
    async fn set(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let Some(app) = addon.app.clone() else {
            return Err(failed(SERVICE, "its app is gone"));
        };
        let bytes = self.plans.limits(&addon.plan).storage();
        let size = format!("{}MB", (bytes >> 20).max(1));
        self.volumes.check_room(&app, bytes).map_err(refused)?;
        self.change(app, Some(size.clone())).await?;
        encode(SERVICE, &VolumeData { size })
    }

    /// Changes the setting and applies it, on a thread that may block.
    async fn change(&self, app: AppName, size: Option<String>) -> Result<(), ServiceError> {
        let changes = [(VOLUME.name.to_owned(), size)].into();
        let changed = self.store.change_settings(&app, &changes);
        changed.map_err(|error| failed(SERVICE, error))?;
        let volumes = self.volumes.clone();
        let applied = tokio::task::spawn_blocking(move || volumes.refresh(&app)).await;
        applied
            .map_err(|error| failed(SERVICE, error))?
            .map_err(refused)
    }

    async fn create(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        if let Some(app) = &addon.app {
            let settings = self.store.settings(app);
            let settings = settings.map_err(|error| failed(SERVICE, error))?;
            if catalog::volume_bytes(&settings).is_some() {
                return Err(ServiceError::Rejected {
                    service: SERVICE,
                    cause: "the app has a volume already, by its setting or another add-on: corundum settings".to_owned(),
                });
            }
        }
        self.set(addon).await
    }

    async fn remove(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        // The volume of a destroyed app is in the trash; one that was never made is not the add-on's.
        let (Some(app), true) = (&addon.app, decode::<VolumeData>(SERVICE, addon).is_ok()) else {
            return Ok(());
        };
        self.change(app.clone(), None).await?;
        self.volumes.discard(app);
        Ok(())
    }
}

fn refused(error: VolumeError) -> ServiceError {
    match error {
        VolumeError::Full { .. } => ServiceError::Rejected {
            service: SERVICE,
            cause: error.to_string(),
        },
        error => failed(SERVICE, error),
    }
}

impl Service for VolumeService {
    fn names(&self) -> ServiceNames {
        ServiceNames {
            name: SERVICE,
            aliases: &[],
            addons: "volume",
            attachment: "VOLUME",
            further: "VOLUME",
            variables: &["PATH"],
            title: "Volume",
            gems: &["sqlite3"],
        }
    }

    fn plans(&self) -> &Plans {
        &self.plans
    }

    fn describe(&self, plan: &str) -> String {
        format!("{} MB at {PATH}", self.plans.limits(plan).storage() >> 20)
    }

    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.create(addon))
    }

    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.set(addon))
    }

    fn rotate<'a>(&'a self, _: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async {
            Err(ServiceError::Unsupported {
                service: SERVICE,
                operation: "rotating credentials",
            })
        })
    }

    fn deprovision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, ()> {
        Box::pin(self.remove(addon))
    }

    fn variables(&self, _: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError> {
        Ok(vec![("PATH", PATH.to_owned())])
    }

    fn targets(&self, _: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError> {
        Ok(Vec::new())
    }

    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>> {
        Box::pin(async {
            let data: VolumeData = decode(SERVICE, addon)?;
            let usage = addon.app.as_ref().and_then(|app| self.volumes.usage(app));
            let mut facts = vec![
                ("Size".to_owned(), data.size),
                ("Path".to_owned(), PATH.to_owned()),
            ];
            if let Some(usage) = usage {
                facts.push(("Used".to_owned(), format!("{} MB", usage.bytes >> 20)));
                facts.push(("Files".to_owned(), usage.nodes.to_string()));
            }
            Ok(facts)
        })
    }

    fn is_of_one_app(&self) -> bool {
        true
    }
}
