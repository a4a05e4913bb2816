//! memcached: a process for each add-on. Its protocol has no users: the grant of its port is the boundary.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::loopback::{decode, encode, failed, target};
use super::server_process::{self, ProcessSpec, ServerProcesses};
use super::settings::{ProcessSettings, ServiceSettingsError};
use super::{Plans, Service, ServiceError, ServiceFuture, ServiceNames};

const SERVICE: &str = "memcached";

/// Descriptors that memcached needs beside connections: it limits all of its descriptors to the number of connections.
const OWN_DESCRIPTORS: u32 = 44;

/// Attempts to reach a server that starts, a tenth of a second apart.
const ATTEMPTS: usize = 100;

/// A service of caches.
pub(super) struct Memcached {
    program: PathBuf,
    plans: Plans,
    processes: Arc<ServerProcesses>,
}

#[derive(Serialize, Deserialize)]
struct MemcachedData {
    port: u16,
}

impl Memcached {
    /// Creates the service.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn new(
        settings: &ProcessSettings,
        processes: Arc<ServerProcesses>,
    ) -> Result<Self, ServiceSettingsError> {
        Ok(Self {
            program: settings.program(SERVICE, "memcached")?,
            plans: settings.plans(SERVICE)?,
            processes,
        })
    }

    fn start(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let data: MemcachedData = decode(SERVICE, addon)?;
        let directory = self.processes.directory(addon.id);
        server_process::create_private(&directory).map_err(|error| failed(SERVICE, error))?;
        let limits = self.plans.limits(&addon.plan);
        let mut arguments: Vec<String> = [
            "-l",
            "127.0.0.1",
            "-p",
            &data.port.to_string(),
            "-U",
            "0",
            "-m",
            &(limits.memory() >> 20).to_string(),
            "-c",
            &(u32::from(limits.connections()) + OWN_DESCRIPTORS).to_string(),
        ]
        .map(str::to_owned)
        .into();
        if rustix::process::geteuid().is_root() {
            arguments.extend(["-u".to_owned(), "nobody".to_owned()]);
        }
        let spec = ProcessSpec {
            program: self.program.clone(),
            arguments,
            directory,
        };
        let started = self.processes.start(addon.id, spec);
        started.map_err(|error| failed(SERVICE, error))
    }
}

impl Service for Memcached {
    fn names(&self) -> ServiceNames {
        ServiceNames {
            name: SERVICE,
            aliases: &["memcache", "memcachier"],
            addons: "memcached",
            attachment: "MEMCACHE",
            further: "MEMCACHE",
            variables: &["SERVERS", "NAMESPACE"],
            title: "memcached",
            gems: &["dalli"],
        }
    }

    fn plans(&self) -> &Plans {
        &self.plans
    }

    fn describe(&self, plan: &str) -> String {
        self.plans.limits(plan).describe_cache()
    }

    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            let port = server_process::free_port().map_err(|error| failed(SERVICE, error))?;
            let data = encode(SERVICE, &MemcachedData { port })?;
            let addon = AddonRecord {
                data,
                ..addon.clone()
            };
            self.start(&addon)?;
            for _ in 0..ATTEMPTS {
                if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return Ok(addon.data);
                }
                sleep(Duration::from_millis(100)).await;
            }
            self.processes.end(addon.id).await;
            let problem =
                "its process does not answer: see whether memcached starts on this machine";
            Err(failed(SERVICE, problem))
        })
    }

    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            self.processes.end(addon.id).await;
            self.start(addon)?;
            Ok(addon.data.clone())
        })
    }

    fn rotate<'a>(&'a self, _: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async {
            Err(ServiceError::Unsupported {
                service: SERVICE,
                operation: "rotating credentials, of which it has none,",
            })
        })
    }

    fn deprovision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, ()> {
        Box::pin(async move {
            let removed = self.processes.remove(addon.id).await;
            removed.map_err(|error| failed(SERVICE, error))
        })
    }

    fn resume(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        self.start(addon)
    }

    fn variables(&self, addon: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError> {
        let data: MemcachedData = decode(SERVICE, addon)?;
        Ok(vec![
            ("SERVERS", format!("127.0.0.1:{}", data.port)),
            ("NAMESPACE", addon.name.clone()),
        ])
    }

    fn targets(&self, addon: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError> {
        let data: MemcachedData = decode(SERVICE, addon)?;
        Ok(vec![target(SERVICE, data.port)?])
    }

    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>> {
        Box::pin(async move {
            let limits = self.plans.limits(&addon.plan);
            let memory = format!("{} MB", limits.memory() >> 20);
            Ok(vec![
                ("Memory".to_owned(), memory),
                ("Connections".to_owned(), limits.connections().to_string()),
            ])
        })
    }
}
