//! The life of add-ons: what users ask for. [`background`] goes on by itself, and [`callbacks`] serves providers.
//!
//! Each operation writes its step to the store before it acts, so that the next start of the node settles what a kill
//! has interrupted: an add-on that no app's config vars name is removed, and one that they name is complete. An add-on
//! whose server is down stays `deprovisioning` and is tried again.

mod background;
pub(crate) mod callbacks;
mod restoring;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_store::{
    AddonAttachmentRecord, AddonRecord, AddonState, Fault, HasFault, Store, StoreError, now,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use self::background::BackgroundFailure;
use super::server_process::ServerProcesses;
use super::settings::{ServiceSettings, ServiceSettingsError};
use super::{Service, ServiceError, ServiceParts, attachment_names};
use crate::apps::config_vars::ConfigVarChanges;
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;
use crate::logs::Logs;
use crate::outbound::OutboundPolicies;
use crate::releases::changes::ReleaseChanges;
use crate::releases::error::ReleaseError;
use crate::volumes::Volumes;

/// The time for one operation of a service. Services have shorter limits for their steps.
const OPERATION: Duration = Duration::from_secs(180);

/// The time to wait for another operation of an add-on: the check of each minute takes a moment, and a provider may be faster
/// than the end of the node's own request to it.
const BUSY: Duration = Duration::from_secs(10);

/// Add-ons of a node. Each takes a database, a process or a port.
const MAX_ADDONS: usize = 10_000;

/// Attachments of an app.
const MAX_ATTACHMENTS: usize = 50;

/// A refused or failed operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddonError {
    /// The node offers no such service.
    #[error("Couldn't find that add-on service: {0}; see corundum addons:services")]
    NoService(String),
    /// The service has no such plan.
    #[error("Couldn't find that plan: {0}; see corundum addons:plans {1}")]
    NoPlan(String, &'static str),
    /// The name cannot begin the name of a config var.
    #[error("\"{0}\" is not an attachment's name: use A-Z, 0-9 and _, as in --as FOLLOWER")]
    Name(String),
    /// The app has the config var already.
    #[error("the app has a config var {0}: unset it, or choose another name with --as")]
    ConfigVar(String),
    /// All names of the service's attachments are taken.
    #[error("all names for attachments of this service are taken: choose one with --as")]
    NoName,
    /// The node has too many add-ons, or the app too many attachments.
    #[error("too many {0}: remove some first")]
    Many(&'static str),
    /// Another operation of the add-on is in progress.
    #[error("another operation of {0} is in progress: try again when it has ended")]
    Busy(String),
    /// The add-on is not ready.
    #[error("{0} is {1}: it can be used when it is provisioned")]
    NotReady(String, &'static str),
    /// A provider reports the end of a creation that is not in progress.
    #[error("{0} is {1}: the provider creates it no longer")]
    NotPending(String, &'static str),
    /// The attachment does not exist.
    #[error("Couldn't find that attachment: {0}")]
    NoAttachment(String),
    /// The add-on has no page.
    #[error("{0}: its service has no page")]
    NoPage(String),
    /// The add-on cannot be attached to another app.
    #[error("{0} is for the app alone that owns it")]
    OfOneApp(String),
    /// The add-on has no server for a user's client.
    #[error("{0}: its service has no server that your own programs may connect to")]
    NoServer(String),
    /// The confirmation is missing.
    #[error("{0} and its data are removed for good: confirm with --confirm {1}")]
    Unconfirmed(String, AppName),
    /// The service failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The files of its backups cannot be removed.
    #[error("the add-on's backups cannot be removed: {0}")]
    Backups(std::io::Error),
    /// The service took too long.
    #[error("{0}: not finished in 3 minutes; the node goes on to undo it")]
    Late(String),
    /// The release with the config vars failed.
    #[error("{0}")]
    Release(#[from] ReleaseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is shutting down.
    #[error("the node was stopped: try again")]
    Interrupted,
}

impl HasFault for AddonError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoService(_) | Self::NoPlan(..) | Self::NoAttachment(_) | Self::NoPage(_) => {
                Fault::NotFound
            }
            Self::Name(_)
            | Self::ConfigVar(_)
            | Self::NoName
            | Self::Many(_)
            | Self::NoServer(_)
            | Self::OfOneApp(_)
            | Self::Unconfirmed(..) => Fault::Client,
            Self::Busy(_) | Self::NotReady(..) | Self::NotPending(..) => Fault::Conflict,
            Self::Service(error) => error.fault(),
            Self::Release(error) => error.fault(),
            Self::Store(error) => error.fault(),
            Self::Late(_) | Self::Interrupted | Self::Backups(_) => Fault::Node,
        }
    }
}

/// A way to give config vars to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConfigChange {
    /// By a release, if the app has one.
    Release,
    /// In the store only: the caller holds the app's lock and releases it, or the release has failed.
    Stored,
}

/// A request for an add-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAddon {
    /// `SERVICE` or `SERVICE:PLAN`.
    pub(crate) plan: String,
    /// The name of the attachment.
    pub(crate) attachment: Option<String>,
    /// Options for the service.
    pub(crate) options: BTreeMap<String, String>,
}

/// The parts of a node that add-ons work with.
pub struct AddonParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// Config var changes.
    pub changes: Arc<ReleaseChanges>,
    /// The policies for connections that apps open.
    pub outbound: Arc<OutboundPolicies>,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The address of the API, for providers.
    pub api: SocketAddr,
    /// The apps' volumes.
    pub volumes: Arc<Volumes>,
}

/// Creates, attaches and removes add-ons.
pub struct Addons {
    parts: AddonParts,
    services: Vec<Arc<dyn Service>>,
    processes: Arc<ServerProcesses>,
    /// The add-ons with an operation in progress.
    busy: Mutex<HashSet<Uuid>>,
    /// The failures of each add-on's background work.
    failures: Mutex<HashMap<Uuid, BackgroundFailure>>,
    wake: Notify,
    /// True if a first push gets the add-ons that its gems use.
    is_automatic: bool,
}

/// An operation in progress.
struct BusyGuard<'a> {
    addons: &'a Addons,
    id: Uuid,
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        self.addons.busy().remove(&self.id);
    }
}

impl Addons {
    /// Creates the type with the services that the operator offers.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub fn new(
        parts: AddonParts,
        settings: &ServiceSettings,
        is_automatic: bool,
    ) -> Result<Self, ServiceSettingsError> {
        let processes = Arc::new(ServerProcesses::new(parts.data.path().join("services")));
        Ok(Self {
            services: super::offered(
                settings,
                &ServiceParts {
                    store: &parts.store,
                    processes: &processes,
                    volumes: &parts.volumes,
                    api: parts.api,
                },
            )?,
            parts,
            processes,
            busy: Mutex::default(),
            failures: Mutex::default(),
            wake: Notify::new(),
            is_automatic,
        })
    }

    /// Returns the services.
    pub(crate) fn services(&self) -> &[Arc<dyn Service>] {
        &self.services
    }

    /// Returns whether a first push gets the add-ons that its gems use.
    pub(crate) fn are_automatic(&self) -> bool {
        self.is_automatic
    }

    /// Returns whether an app has a config var that an attachment of the name would set.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn has_variables(
        &self,
        app: &AppName,
        name: &str,
        ends: &[&str],
    ) -> Result<bool, StoreError> {
        let config = self.parts.store.config(app)?;
        Ok(ends
            .iter()
            .any(|end| config.contains_key(&format!("{name}_{end}"))))
    }

    /// Finds a service by one of its names.
    ///
    /// # Errors
    ///
    /// [`AddonError::NoService`].
    pub(crate) fn service(&self, name: &str) -> Result<&Arc<dyn Service>, AddonError> {
        let has_name = |service: &&Arc<dyn Service>| {
            let names = service.names();
            names.name == name || names.aliases.contains(&name)
        };
        let found = self.services.iter().find(has_name);
        found.ok_or_else(|| AddonError::NoService(name.chars().take(80).collect()))
    }

    /// Finds an add-on by its key, its name or the name of one of `app`'s attachments.
    ///
    /// # Errors
    ///
    /// [`AddonError`].
    pub(crate) fn find(
        &self,
        app: Option<&AppName>,
        identity: &str,
    ) -> Result<AddonRecord, AddonError> {
        let store = &self.parts.store;
        let id: Option<Uuid> = identity.parse().ok();
        let (all, _) = store.readable_addons()?;
        let attached = match app {
            Some(app) => store.app_attachments(app)?,
            None => Vec::new(),
        };
        let by_attachment = attached
            .iter()
            .find(|attachment| {
                attachment.name == identity
                    || attachment
                        .variables
                        .iter()
                        .any(|variable| variable == identity)
            })
            .map(|attachment| attachment.addon);
        let is_meant = |addon: &AddonRecord| {
            Some(addon.id) == id || addon.name == identity || Some(addon.id) == by_attachment
        };
        let found = all.into_iter().find(is_meant);
        let shown = || identity.chars().take(80).collect();
        Ok(found.ok_or_else(|| StoreError::NoAddon(shown()))?)
    }

    /// Returns the add-ons that an app owns or is attached to; without an app, all.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(&self, app: Option<&AppName>) -> Result<Vec<AddonRecord>, StoreError> {
        let (mut all, _) = self.parts.store.readable_addons()?;
        if let Some(app) = app {
            let attached = self.parts.store.app_attachments(app)?;
            all.retain(|addon| {
                addon.app.as_ref() == Some(app) || attached.iter().any(|one| one.addon == addon.id)
            });
        }
        Ok(all)
    }

    /// Returns attachments: those of an app, or all.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn attachments(
        &self,
        app: Option<&AppName>,
    ) -> Result<Vec<AddonAttachmentRecord>, StoreError> {
        match app {
            Some(app) => self.parts.store.app_attachments(app),
            None => self.parts.store.attachments(),
        }
    }

    /// Creates an add-on and attaches it to its app. It is finished or undone even if the client disconnects.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; nothing is left of the add-on then, or the node goes on to remove it.
    pub(crate) async fn create(
        self: &Arc<Self>,
        app: &AppName,
        new: NewAddon,
    ) -> Result<AddonRecord, AddonError> {
        let (addons, app) = (self.clone(), app.clone());
        run(async move { addons.create_now(&app, &new, ConfigChange::Release).await }).await
    }

    /// Creates an add-on for a push, which holds the app's lock and releases the config vars itself.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub(crate) async fn create_for_push(
        self: &Arc<Self>,
        app: &AppName,
        new: NewAddon,
    ) -> Result<AddonRecord, AddonError> {
        let (addons, app) = (self.clone(), app.clone());
        run(async move { addons.create_now(&app, &new, ConfigChange::Stored).await }).await
    }

    async fn create_now(
        &self,
        app: &AppName,
        new: &NewAddon,
        by: ConfigChange,
    ) -> Result<AddonRecord, AddonError> {
        let _maintenance = self.parts.locks.begin_maintenance();
        let (service, plan) = self.service_and_plan(&new.plan)?;
        let (known, damaged) = self.parts.store.readable_addons()?;
        if known.len() + damaged.len() >= MAX_ADDONS {
            return Err(AddonError::Many("add-ons on this node"));
        }
        let names = service.names();
        let mut addon = AddonRecord {
            id: Uuid::new_v4(),
            name: attachment_names::random(names.addons),
            service: names.name.to_owned(),
            plan,
            app: Some(app.clone()),
            state: AddonState::Provisioning,
            data: service.prepare(&new.options)?,
            created_at: now(),
            updated_at: now(),
        };
        let mut attachment = self.new_attachment(app, &addon, new.attachment.as_deref())?;
        let _busy = self.begin(&addon)?;
        self.parts.store.add_addon(&addon, &attachment)?;
        let provisioned = within(&addon.name, service.provision(&addon)).await;
        let attached = match provisioned {
            Ok(data) => {
                addon.data = data;
                self.parts.store.set_addon(&addon)?;
                if is_pending(service, &addon) {
                    tracing::info!(%app, addon = addon.name, "a provider creates an add-on");
                    return Ok(addon);
                }
                self.attach_to(service, &addon, &mut attachment, by).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = attached {
            if matches!(error, AddonError::Service(ServiceError::Unavailable { .. })) {
                self.parts.store.remove_addon(addon.id)?;
                return Err(error);
            }
            addon.state = AddonState::Deprovisioning;
            self.parts.store.set_addon(&addon)?;
            if self.remove(&addon).await.is_err() {
                self.wake.notify_one();
            }
            return Err(error);
        }
        addon.state = AddonState::Provisioned;
        self.parts.store.set_addon(&addon)?;
        tracing::info!(%app, addon = addon.name, "add-on created");
        Ok(addon)
    }

    /// Attaches an add-on to a further app, or under a further name.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; nothing has changed then.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        app: &AppName,
        addon: &AddonRecord,
        name: Option<String>,
    ) -> Result<AddonAttachmentRecord, AddonError> {
        let (addons, app, id) = (self.clone(), app.clone(), addon.id);
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let addon = addons.ready(id)?;
            let service = addons.service(&addon.service)?;
            if service.is_of_one_app() && addon.app.as_ref() != Some(&app) {
                return Err(AddonError::OfOneApp(addon.name));
            }
            let mut attachment = addons.new_attachment(&app, &addon, name.as_deref())?;
            addons.parts.store.add_attachment(&attachment)?;
            let by = ConfigChange::Release;
            if let Err(error) = addons.attach_to(service, &addon, &mut attachment, by).await {
                addons.forget_attachment(&attachment)?;
                return Err(error);
            }
            Ok(attachment)
        })
        .await
    }

    /// Takes an attachment from its app.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; nothing has changed then.
    pub(crate) async fn detach(
        self: &Arc<Self>,
        attachment: AddonAttachmentRecord,
    ) -> Result<AddonAttachmentRecord, AddonError> {
        let addons = self.clone();
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(attachment.addon).await?;
            let addon = addons.parts.store.addon(attachment.addon)?;
            addons.detach_from(&addon, &attachment).await?;
            Ok(attachment)
        })
        .await
    }

    /// Removes an add-on with its data from all apps. If its server is down, the record stays `deprovisioning`.
    ///
    /// # Errors
    ///
    /// [`AddonError`].
    pub(crate) async fn destroy(
        self: &Arc<Self>,
        addon: &AddonRecord,
    ) -> Result<AddonRecord, AddonError> {
        let (addons, id) = (self.clone(), addon.id);
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let mut addon = addons.parts.store.addon(id)?;
            for attachment in addons.attachments_of(id)? {
                addons.detach_from(&addon, &attachment).await?;
            }
            addon.state = AddonState::Deprovisioning;
            addons.parts.store.set_addon(&addon)?;
            if let Err(error) = addons.remove(&addon).await {
                tracing::warn!(addon = addon.name, %error, "could not remove an add-on yet");
            }
            Ok(addon)
        })
        .await
    }

    /// Gives an add-on new credentials, and its apps releases with them. The old ones stay valid until no app has them.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; the old credentials stay valid then.
    pub(crate) async fn rotate(
        self: &Arc<Self>,
        addon: &AddonRecord,
    ) -> Result<AddonRecord, AddonError> {
        let (addons, id) = (self.clone(), addon.id);
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let mut addon = addons.ready(id)?;
            let service = addons.service(&addon.service)?;
            addon.data = within(&addon.name, service.rotate(&addon)).await?;
            addons.parts.store.set_addon(&addon)?;
            for mut attachment in addons.attachments_of(id)? {
                let by = ConfigChange::Release;
                addons
                    .attach_to(service, &addon, &mut attachment, by)
                    .await?;
            }
            Ok(addon)
        })
        .await
    }

    /// Changes the plan of an add-on.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; the plan stays then.
    pub(crate) async fn change_plan(
        self: &Arc<Self>,
        addon: &AddonRecord,
        plan: &str,
    ) -> Result<AddonRecord, AddonError> {
        let plan = match plan.contains(':') {
            true => plan.to_owned(),
            false => format!("{}:{plan}", addon.service),
        };
        let (addons, id) = (self.clone(), addon.id);
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let mut addon = addons.ready(id)?;
            let (service, plan) = addons.service_and_plan(&plan)?;
            if service.names().name != addon.service {
                return Err(AddonError::NoPlan(
                    plan,
                    addons.service(&addon.service)?.names().name,
                ));
            }
            addon.plan = plan;
            let before = service.variables(&addon)?;
            addon.data = within(&addon.name, service.change_plan(&addon)).await?;
            addons.parts.store.set_addon(&addon)?;
            if service.variables(&addon)? != before {
                for mut attachment in addons.attachments_of(id)? {
                    let by = ConfigChange::Release;
                    addons
                        .attach_to(service, &addon, &mut attachment, by)
                        .await?;
                }
            }
            Ok(addon)
        })
        .await
    }

    /// Returns what the service tells about an add-on.
    ///
    /// # Errors
    ///
    /// [`AddonError`].
    pub(crate) async fn info(
        &self,
        addon: &AddonRecord,
    ) -> Result<Vec<(String, String)>, AddonError> {
        let addon = self.ready(addon.id)?;
        within(&addon.name, self.service(&addon.service)?.info(&addon)).await
    }

    /// Returns host and port of an add-on's server, if passwords protect it.
    ///
    /// # Errors
    ///
    /// [`AddonError`].
    pub(crate) fn server_address(
        &self,
        addon: &AddonRecord,
    ) -> Result<Option<(String, u16)>, AddonError> {
        let addon = self.ready(addon.id)?;
        Ok(self.service(&addon.service)?.address(&addon)?)
    }

    /// Has the add-ons of a destroyed app removed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Gives the app of an attachment its grants and config vars.
    async fn attach_to(
        &self,
        service: &Arc<dyn Service>,
        addon: &AddonRecord,
        attachment: &mut AddonAttachmentRecord,
        by: ConfigChange,
    ) -> Result<(), AddonError> {
        let is_new = attachment.variables.is_empty();
        let variables = service.variables(addon)?;
        let variables: Vec<(String, String)> = variables
            .into_iter()
            .map(|(end, value)| (format!("{}_{end}", attachment.name), value))
            .collect();
        attachment.variables = variables.iter().map(|(name, _)| name.clone()).collect();
        attachment.targets = service.targets(addon)?;
        // The grant is first, since the release boots the app.
        self.parts.store.set_attachment(attachment)?;
        self.parts.outbound.refresh(&attachment.app)?;
        let changes = variables
            .into_iter()
            .map(|(name, value)| (name, Some(value)));
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            self.change_config(attachment, changes, by).await?;
        }
        let verb = if is_new { "Attach" } else { "Rotate" };
        let line = format!("{verb} {} ({})", attachment.name, addon.name);
        self.parts.logs.add(&attachment.app, "corundum[api]", &line);
        Ok(())
    }

    async fn detach_from(
        &self,
        addon: &AddonRecord,
        attachment: &AddonAttachmentRecord,
    ) -> Result<(), AddonError> {
        self.change_config(attachment, Vec::new(), ConfigChange::Release)
            .await?;
        self.forget_attachment(attachment)?;
        let line = format!("Detach {} ({})", attachment.name, addon.name);
        self.parts.logs.add(&attachment.app, "corundum[api]", &line);
        Ok(())
    }

    /// Sets config vars; with none, unsets those of the attachment.
    async fn change_config(
        &self,
        attachment: &AddonAttachmentRecord,
        set: Vec<(String, Option<String>)>,
        by: ConfigChange,
    ) -> Result<(), AddonError> {
        let (verb, changes): (_, ConfigVarChanges) = match set.is_empty() {
            false => ("Attach", set.into_iter().collect()),
            true => (
                "Detach",
                attachment
                    .variables
                    .iter()
                    .map(|name| (name.clone(), None))
                    .collect(),
            ),
        };
        if changes.is_empty() {
            return Ok(());
        }
        let app = &attachment.app;
        let changed = match by {
            ConfigChange::Release => {
                let description = format!("{verb} {}", attachment.name);
                self.parts
                    .changes
                    .set_addon_config(app, changes, description)
                    .await
            }
            ConfigChange::Stored => self.parts.changes.store_config(app, changes),
        };
        Ok(changed?)
    }

    /// Removes the record of an attachment, and with it the grant.
    fn forget_attachment(&self, attachment: &AddonAttachmentRecord) -> Result<(), StoreError> {
        self.parts.store.remove_attachment(attachment.id)?;
        self.parts.outbound.refresh(&attachment.app)
    }

    /// Makes an attachment whose name and config vars are free.
    fn new_attachment(
        &self,
        app: &AppName,
        addon: &AddonRecord,
        name: Option<&str>,
    ) -> Result<AddonAttachmentRecord, AddonError> {
        let service = self.service(&addon.service)?;
        let names = service.names();
        let ends = names.variables;
        let attached = self.parts.store.app_attachments(app)?;
        if attached.len() >= MAX_ATTACHMENTS {
            return Err(AddonError::Many("attachments of the app"));
        }
        let config = self.parts.store.config(app)?;
        let name = match name {
            Some(name) => {
                if !attachment_names::is_valid(name) {
                    return Err(AddonError::Name(name.chars().take(80).collect()));
                }
                if attached.iter().any(|attachment| attachment.name == name) {
                    return Err(StoreError::AttachmentTaken(name.to_owned()).into());
                }
                let variables = ends.iter().map(|end| format!("{name}_{end}"));
                if let Some(taken) = variables.into_iter().find(|name| config.contains_key(name)) {
                    return Err(AddonError::ConfigVar(taken));
                }
                name.to_owned()
            }
            None => {
                let taken = attached.into_iter().map(|attachment| attachment.name);
                let taken: BTreeSet<String> = taken.chain(config.into_keys()).collect();
                attachment_names::choose(&names, &taken).ok_or(AddonError::NoName)?
            }
        };
        Ok(AddonAttachmentRecord {
            id: Uuid::new_v4(),
            addon: addon.id,
            app: app.clone(),
            name,
            variables: Vec::new(),
            targets: Vec::new(),
            created_at: now(),
        })
    }

    /// Reads `SERVICE` or `SERVICE:PLAN`.
    fn service_and_plan(&self, text: &str) -> Result<(&Arc<dyn Service>, String), AddonError> {
        let (service, plan) = match text.split_once(':') {
            Some((service, plan)) => (service, Some(plan)),
            None => (text, None),
        };
        let service = self.service(service)?;
        let plans = service.plans();
        let plan = plan.unwrap_or(&plans.default);
        if !plans.by_name.contains_key(plan) {
            let shown = plan.chars().take(80).collect();
            return Err(AddonError::NoPlan(shown, service.names().name));
        }
        Ok((service, plan.to_owned()))
    }

    /// Returns an add-on that is provisioned.
    fn ready(&self, id: Uuid) -> Result<AddonRecord, AddonError> {
        let addon = self.parts.store.addon(id)?;
        match addon.state {
            AddonState::Provisioned => Ok(addon),
            state => Err(AddonError::NotReady(addon.name, state.as_str())),
        }
    }

    fn attachments_of(&self, addon: Uuid) -> Result<Vec<AddonAttachmentRecord>, StoreError> {
        self.parts.store.addon_attachments(addon)
    }

    /// Begins an operation when the one in progress has ended.
    async fn begin_later(&self, id: Uuid) -> Result<BusyGuard<'_>, AddonError> {
        let addon = self.parts.store.addon(id)?;
        let deadline = Instant::now() + BUSY;
        loop {
            match self.begin(&addon) {
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
                begun => return begun,
            }
        }
    }

    fn begin(&self, addon: &AddonRecord) -> Result<BusyGuard<'_>, AddonError> {
        match self.busy().insert(addon.id) {
            true => Ok(BusyGuard {
                addons: self,
                id: addon.id,
            }),
            false => Err(AddonError::Busy(addon.name.clone())),
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a provider still creates an add-on.
fn is_pending(service: &Arc<dyn Service>, addon: &AddonRecord) -> bool {
    let provider = service.provider();
    provider.is_some_and(|provider| provider.is_pending(addon))
}

/// Runs an operation to its end, even if its caller goes away.
async fn run<T: Send + 'static>(
    operation: impl Future<Output = Result<T, AddonError>> + Send + 'static,
) -> Result<T, AddonError> {
    tokio::spawn(operation)
        .await
        .unwrap_or(Err(AddonError::Interrupted))
}

/// Awaits a service within the time of an operation.
async fn within<T>(
    addon: &str,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, AddonError> {
    match timeout(OPERATION, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(AddonError::Late(addon.to_owned())),
    }
}
