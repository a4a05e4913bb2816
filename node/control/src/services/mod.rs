//! Add-ons: databases and caches that services provide for apps.
//!
//! [`Addons`](addons::Addons) owns their life: creating, attaching, rotating, removing, and settling after a crash.
//! A [`Service`] creates them somewhere: [`postgres`] and [`mariadb`] at the operator's server, [`redis`] and [`memcached`] as
//! a server process for each add-on, which [`server_process`] keeps running, and [`provider`] at a program that speaks the
//! API of Heroku's partners. [`settings`] is the operator's side.
//!
//! A further service is a file here that implements [`Service`], and a line in [`offered`].

pub mod addons;
pub(crate) mod attachment_names;
pub(crate) mod automatic;
pub mod backups;
mod client_program;
mod loopback;
mod mariadb;
mod memcached;
mod postgres;
pub mod provider;
mod redis;
pub(crate) mod server_process;
pub mod settings;
mod volume;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::{AddonRecord, Fault, HasFault, Store};

use self::mariadb::MariaDb;
use self::memcached::Memcached;
use self::postgres::Postgres;
use self::provider::Provider;
use self::redis::Redis;
use self::server_process::ServerProcesses;
use self::settings::{PlanLimits, ServiceSettings, ServiceSettingsError, invalid};
use self::volume::VolumeService;
use crate::volumes::Volumes;

/// A failed operation of a service. No text has a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The server does not answer; nothing has changed there.
    #[error("{service}: the server does not answer: {cause}; try again when it runs")]
    Unavailable {
        /// The service.
        service: &'static str,
        /// The cause.
        cause: String,
    },
    /// The server refuses.
    #[error("{service}: {cause}")]
    Refused {
        /// The service.
        service: &'static str,
        /// The cause.
        cause: String,
    },
    /// The service refuses what its caller wants.
    #[error("{service}: {cause}")]
    Rejected {
        /// The service.
        service: &'static str,
        /// The cause.
        cause: String,
    },
    /// A provider outside of the node has failed.
    #[error("{service}: the provider failed: {cause}")]
    Provider {
        /// The service.
        service: &'static str,
        /// The cause.
        cause: String,
    },
    /// The service cannot do that.
    #[error("{service}: {operation} is not supported")]
    Unsupported {
        /// The service.
        service: &'static str,
        /// The operation.
        operation: &'static str,
    },
    /// The add-on's data cannot be read.
    #[error("{service}: the add-on's record is damaged: restore a backup (corundum restore)")]
    Damaged {
        /// The service.
        service: &'static str,
    },
}

impl HasFault for ServiceError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unsupported { .. } | Self::Rejected { .. } => Fault::Client,
            Self::Unavailable { .. } | Self::Provider { .. } => Fault::Conflict,
            Self::Refused { .. } | Self::Damaged { .. } => Fault::Node,
        }
    }
}

/// The future of an operation of a service. Services bound their waits themselves.
pub(crate) type ServiceFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, ServiceError>> + Send + 'a>>;

/// The plans of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plans {
    /// The limits by name; never empty.
    pub(crate) by_name: BTreeMap<String, PlanLimits>,
    /// The name of the default plan.
    pub(crate) default: String,
}

impl Plans {
    /// Returns the limits of a plan. An add-on whose plan the operator has removed keeps the default plan's.
    pub(crate) fn limits(&self, plan: &str) -> PlanLimits {
        let of_default = || self.by_name.get(&self.default).copied();
        self.by_name
            .get(plan)
            .copied()
            .or_else(of_default)
            .unwrap_or_default()
    }
}

/// The names that a service is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceNames {
    /// The name, as `postgres`.
    pub(crate) name: &'static str,
    /// Further names that users of other platforms write.
    pub(crate) aliases: &'static [&'static str],
    /// The beginning of its add-ons' names, as `postgresql`.
    pub(crate) addons: &'static str,
    /// The name of an app's first attachment, as `DATABASE`.
    pub(crate) attachment: &'static str,
    /// The beginning of the names of further attachments, before a colour.
    pub(crate) further: &'static str,
    /// The ends of the names of its config vars.
    pub(crate) variables: &'static [&'static str],
    /// The name for people.
    pub(crate) title: &'static str,
    /// Gems that use the service.
    pub(crate) gems: &'static [&'static str],
}

/// A kind of add-on.
///
/// Operations are idempotent: all names at a server are derived from the add-on's key, so that an operation that was
/// interrupted can be repeated or undone. Data is JSON of the service's own form.
pub(crate) trait Service: Send + Sync {
    /// Returns the names.
    fn names(&self) -> ServiceNames;

    /// Returns the plans.
    fn plans(&self) -> &Plans;

    /// Returns the limits of a plan for people.
    fn describe(&self, plan: &str) -> String;

    /// Returns the data of an add-on that is about to be created with a user's options.
    fn prepare(&self, options: &BTreeMap<String, String>) -> Result<String, ServiceError> {
        match options.is_empty() {
            true => Ok("null".to_owned()),
            false => Err(ServiceError::Unsupported {
                service: self.names().name,
                operation: "an option",
            }),
        }
    }

    /// Creates the add-on and returns its data.
    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String>;

    /// Makes the add-on follow its plan, which has changed.
    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String>;

    /// Makes new credentials and returns the data with them. The old ones stay valid until [`maintain`](Self::maintain)
    /// finds them unused.
    fn rotate<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String>;

    /// Removes the add-on with its data. An add-on that does not exist is removed already.
    fn deprovision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, ()>;

    /// Makes ready what a start of the node needs, such as processes. Called once for each add-on.
    fn resume(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let _ = addon;
        Ok(())
    }

    /// Checks quotas and ends old credentials, once a minute. `values` are those of the attached apps' config vars. Returns
    /// the data if it has changed.
    fn maintain<'a>(
        &'a self,
        addon: &'a AddonRecord,
        values: &'a [String],
    ) -> ServiceFuture<'a, Option<String>> {
        let _ = (addon, values);
        Box::pin(async { Ok(None) })
    }

    /// Returns the config vars: for each the end of its name, as `URL`, and its value.
    fn variables(&self, addon: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError>;

    /// Returns the targets that attached apps may reach.
    fn targets(&self, addon: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError>;

    /// Returns facts for people, each with its name.
    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>>;

    /// Returns whether an add-on can be attached to the app alone that owns it.
    fn is_of_one_app(&self) -> bool {
        false
    }

    /// Returns host and port of an add-on's server for a user's own client, if passwords protect it.
    fn address(&self, addon: &AddonRecord) -> Result<Option<(String, u16)>, ServiceError> {
        let _ = addon;
        Ok(None)
    }

    /// Returns the service's way to back the data of add-ons up, if it has one.
    fn dumps(&self) -> Option<&dyn DataDump> {
        None
    }

    /// Returns the provider, if the service is one's.
    fn provider(&self) -> Option<&Provider> {
        None
    }
}

/// A way to back the data of add-ons up. The operations may take an hour.
pub(crate) trait DataDump: Send + Sync {
    /// Returns the end of the files' names.
    fn file_end(&self) -> &'static str;

    /// Returns about the bytes of an add-on's data.
    fn size<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, u64>;

    /// Writes an add-on's data to a new file.
    fn dump<'a>(&'a self, addon: &'a AddonRecord, to: &'a Path) -> ServiceFuture<'a, ()>;

    /// Replaces an add-on's data by those of a file, whole or not at all.
    fn restore<'a>(&'a self, addon: &'a AddonRecord, from: &'a Path) -> ServiceFuture<'a, ()>;
}

/// The parts of a node that services work with.
pub(crate) struct ServiceParts<'a> {
    /// The store.
    pub(crate) store: &'a Arc<dyn Store>,
    /// The processes of add-ons.
    pub(crate) processes: &'a Arc<ServerProcesses>,
    /// The volumes.
    pub(crate) volumes: &'a Arc<Volumes>,
    /// The address of the node's API, for providers.
    pub(crate) api: SocketAddr,
}

/// Makes the services that the operator offers.
///
/// # Errors
///
/// [`ServiceSettingsError`].
pub(crate) fn offered(
    settings: &ServiceSettings,
    parts: &ServiceParts<'_>,
) -> Result<Vec<Arc<dyn Service>>, ServiceSettingsError> {
    let mut services: Vec<Arc<dyn Service>> = Vec::new();
    if let Some(postgres) = &settings.postgres {
        services.push(Arc::new(Postgres::new(postgres)?));
    }
    if let Some(mariadb) = &settings.mariadb {
        services.push(Arc::new(MariaDb::new(mariadb)?));
    }
    if let Some(redis) = &settings.redis {
        services.push(Arc::new(Redis::new(redis, parts.processes.clone())?));
    }
    if let Some(memcached) = &settings.memcached {
        let service = Memcached::new(memcached, parts.processes.clone())?;
        services.push(Arc::new(service));
    }
    if let Some(volume) = &settings.volume {
        let service = VolumeService::new(volume, parts.store.clone(), parts.volumes.clone())?;
        services.push(Arc::new(service));
    }
    for (name, provider) in &settings.providers {
        let provider = Provider::new(name, provider, parts.api)?;
        let own = provider.names();
        let is_taken = services.iter().any(|other| {
            let other = other.names();
            other.aliases.contains(&own.name) || other.attachment == own.attachment
        });
        if is_taken {
            let problem = "another service has its name or its config vars: choose another name";
            return Err(invalid(own.name, "provider", problem.to_owned()));
        }
        services.push(Arc::new(provider));
    }
    Ok(services)
}
