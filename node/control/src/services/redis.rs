//! Redis: a process for each add-on, since Redis cannot keep users to databases and unmodified apps prefix no keys.
//!
//! Apps log in as the default user, which may use all of the data and none of the commands that reach outside it: no
//! administration, no modules, no connections to other servers. The node logs in as a user of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::loopback::{decode, encode, failed, password, target};
use super::server_process::{self, ProcessSpec, ServerProcesses};
use super::settings::{ProcessSettings, ServiceSettingsError};
use super::{Plans, Service, ServiceError, ServiceFuture, ServiceNames};

const SERVICE: &str = "redis";

/// The time for a command of the node.
const COMMAND: Duration = Duration::from_secs(10);

/// Attempts to reach a server that starts, a tenth of a second apart.
const ATTEMPTS: usize = 150;

/// Bytes of a response. `INFO` has a few thousand.
const MAX_RESPONSE: u64 = 256 << 10;

/// The time for which a replaced password stays valid at least.
const GRACE_SECONDS: i64 = 60;

/// The commands that the default user lacks: administration, and those that connect to other servers or load code.
const APP_RIGHTS: &str = "~* &* +@all -@admin -migrate -cluster -module -debug -replicaof -slaveof -psync -sync -failover";

/// A service of Redis servers.
pub(super) struct Redis {
    program: PathBuf,
    plans: Plans,
    processes: Arc<ServerProcesses>,
}

#[derive(Serialize, Deserialize)]
struct RedisData {
    port: u16,
    password: String,
    /// The password of the node's own user.
    admin: String,
    /// Replaced passwords, each with the Unix time of its replacement.
    #[serde(default)]
    replaced: Vec<(String, i64)>,
}

impl RedisData {
    /// Returns the passwords of the default user, the replaced ones included, as `ACL SETUSER` takes them.
    fn valid_passwords(&self) -> Vec<String> {
        let replaced = self.replaced.iter().map(|(password, _)| password);
        let all = replaced.chain([&self.password]);
        all.map(|password| format!(">{password}")).collect()
    }
}

impl Redis {
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
            program: settings.program(SERVICE, "redis-server")?,
            plans: settings.plans(SERVICE)?,
            processes,
        })
    }

    /// Writes the server's configuration, which has the passwords.
    fn write_config(&self, addon: &AddonRecord, data: &RedisData) -> io::Result<()> {
        let limits = self.plans.limits(&addon.plan);
        let text = format!(
            "bind 127.0.0.1\nport {port}\nprotected-mode yes\ndaemonize no\nlogfile \"\"\ndir ./\n\
             appendonly yes\nappendfsync everysec\nsave \"\"\nmaxclients {clients}\nmaxmemory {memory}\n\
             maxmemory-policy noeviction\n\
             user default reset on {passwords} {APP_RIGHTS}\n\
             user node reset on >{admin} ~* &* +@all\n",
            port = data.port,
            // Redis needs some places itself, and the node one.
            clients = limits.connections() + 1,
            memory = limits.memory(),
            passwords = data.valid_passwords().join(" "),
            admin = data.admin,
        );
        let directory = self.processes.directory(addon.id);
        server_process::create_private(&directory)?;
        let new = directory.join("redis.conf.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, directory.join("redis.conf"))
    }

    fn start(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let data: RedisData = decode(SERVICE, addon)?;
        let written = self.write_config(addon, &data);
        let spec = ProcessSpec {
            program: self.program.clone(),
            arguments: vec!["redis.conf".to_owned()],
            directory: self.processes.directory(addon.id),
        };
        let started = written.and_then(|()| self.processes.start(addon.id, spec));
        started.map_err(|error| failed(SERVICE, error))
    }

    async fn create(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let data = RedisData {
            port: server_process::free_port().map_err(|error| failed(SERVICE, error))?,
            password: password(SERVICE)?,
            admin: password(SERVICE)?,
            replaced: Vec::new(),
        };
        let addon = AddonRecord {
            data: encode(SERVICE, &data)?,
            ..addon.clone()
        };
        self.start(&addon)?;
        for _ in 0..ATTEMPTS {
            if command(&data, &["PING"]).await.is_ok() {
                return Ok(addon.data);
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.processes.end(addon.id).await;
        Err(failed(
            SERVICE,
            "its process does not answer: see whether redis-server starts on this machine",
        ))
    }

    /// Gives the default user the passwords of `data`.
    async fn apply(&self, addon: &AddonRecord, data: &RedisData) -> Result<(), ServiceError> {
        self.write_config(addon, data)
            .map_err(|error| failed(SERVICE, error))?;
        let all = data.valid_passwords();
        let mut words = vec!["ACL", "SETUSER", "default", "resetpass"];
        words.extend(all.iter().map(String::as_str));
        command(data, &words).await.map(drop)
    }

    async fn replace_password(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data: RedisData = decode(SERVICE, addon)?;
        let new = password(SERVICE)?;
        let old = std::mem::replace(&mut data.password, new);
        data.replaced.push((old, Timestamp::now().as_second()));
        self.apply(addon, &data).await?;
        encode(SERVICE, &data)
    }

    async fn check(
        &self,
        addon: &AddonRecord,
        values: &[String],
    ) -> Result<Option<String>, ServiceError> {
        let mut data: RedisData = decode(SERVICE, addon)?;
        let now = Timestamp::now().as_second();
        let before = data.replaced.len();
        data.replaced.retain(|(password, at)| {
            now - at < GRACE_SECONDS || values.iter().any(|value| value.contains(password))
        });
        if data.replaced.len() == before {
            return Ok(None);
        }
        self.apply(addon, &data).await?;
        encode(SERVICE, &data).map(Some)
    }

    async fn facts(&self, addon: &AddonRecord) -> Result<Vec<(String, String)>, ServiceError> {
        let data: RedisData = decode(SERVICE, addon)?;
        let info = command(&data, &["INFO"]).await?;
        let named = [
            ("Version", "redis_version"),
            ("Connections", "connected_clients"),
            ("Memory", "used_memory_human"),
            ("Maximum memory", "maxmemory_human"),
            ("Policy", "maxmemory_policy"),
        ];
        let fact = |field: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(name, _)| *name == field)
                .map(|(_, value)| value.trim().to_owned())
        };
        let facts = named
            .iter()
            .filter_map(|(name, field)| Some(((*name).to_owned(), fact(field)?)));
        Ok(facts.collect())
    }
}

/// Runs a command as the node's user and returns its response.
async fn command(data: &RedisData, words: &[&str]) -> Result<String, ServiceError> {
    let exchanged = timeout(COMMAND, exchange(data, words)).await;
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let result = exchanged.unwrap_or_else(|_| Err(late()));
    let response = result.map_err(|error| ServiceError::Unavailable {
        service: SERVICE,
        cause: error.to_string(),
    })?;
    response.map_err(|refusal| failed(SERVICE, refusal))
}

async fn exchange(data: &RedisData, words: &[&str]) -> io::Result<Result<String, String>> {
    let stream = TcpStream::connect(("127.0.0.1", data.port)).await?;
    let mut stream = BufReader::new(stream.take(MAX_RESPONSE));
    let login = ["AUTH", "node", &data.admin];
    for words in [&login[..], words] {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream
            .get_mut()
            .get_mut()
            .write_all(request.as_bytes())
            .await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("-", error)) => return Ok(Err(error.to_owned())),
            Some(("$", length)) => {
                let length = length
                    .parse::<u64>()
                    .ok()
                    .filter(|length| *length < MAX_RESPONSE);
                let length = length.ok_or(io::ErrorKind::InvalidData)?;
                let mut text = String::new();
                (&mut stream).take(length).read_to_string(&mut text).await?;
                return Ok(Ok(text));
            }
            Some(("+" | ":", _)) => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(Ok(String::new()))
}

impl Service for Redis {
    fn names(&self) -> ServiceNames {
        ServiceNames {
            name: SERVICE,
            aliases: &["heroku-redis", "key-value-store"],
            addons: "redis",
            attachment: "REDIS",
            further: "HEROKU_REDIS",
            variables: &["URL"],
            title: "Redis",
            gems: &["redis", "redis-client"],
        }
    }

    fn plans(&self) -> &Plans {
        &self.plans
    }

    fn describe(&self, plan: &str) -> String {
        self.plans.limits(plan).describe_cache()
    }

    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.create(addon))
    }

    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            let data: RedisData = decode(SERVICE, addon)?;
            let limits = self.plans.limits(&addon.plan);
            self.write_config(addon, &data)
                .map_err(|error| failed(SERVICE, error))?;
            let memory = limits.memory().to_string();
            let clients = (limits.connections() + 1).to_string();
            command(
                &data,
                &[
                    "CONFIG",
                    "SET",
                    "maxmemory",
                    &memory,
                    "maxclients",
                    &clients,
                ],
            )
            .await?;
            Ok(addon.data.clone())
        })
    }

    fn rotate<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.replace_password(addon))
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

    fn maintain<'a>(
        &'a self,
        addon: &'a AddonRecord,
        values: &'a [String],
    ) -> ServiceFuture<'a, Option<String>> {
        Box::pin(self.check(addon, values))
    }

    fn variables(&self, addon: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError> {
        let data: RedisData = decode(SERVICE, addon)?;
        let url = format!("redis://:{}@127.0.0.1:{}", data.password, data.port);
        Ok(vec![("URL", url)])
    }

    fn targets(&self, addon: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError> {
        let data: RedisData = decode(SERVICE, addon)?;
        Ok(vec![target(SERVICE, data.port)?])
    }

    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>> {
        Box::pin(self.facts(addon))
    }

    fn address(&self, addon: &AddonRecord) -> Result<Option<(String, u16)>, ServiceError> {
        let data: RedisData = decode(SERVICE, addon)?;
        Ok(Some(("127.0.0.1".to_owned(), data.port)))
    }
}
