//! MariaDB: a database and a user for each add-on at the operator's server.
//!
//! The node runs Debian's client program, which speaks all versions of the protocol. Passwords reach the server as hashes only,
//! which its log may show. A replaced password stays a second one of the same user, since views and procedures name their user.

use std::path::PathBuf;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::client_program::ClientProgram;
use super::loopback::{decode, encode, password};
use super::server_process::debian_program;
use super::settings::{ServerSettings, ServiceSettingsError, invalid};
use super::{Plans, Service, ServiceError, ServiceFuture, ServiceNames};

const SERVICE: &str = "mariadb";

/// The time for which replaced passwords stay valid at least, so that requests in progress end.
const GRACE_SECONDS: i64 = 60;

/// Rights that a database above its plan's storage lacks. `DELETE` and `DROP` make it smaller.
const GROWTH: &str = "INSERT, UPDATE, CREATE, ALTER, INDEX";

/// A service of databases at one server.
pub(super) struct MariaDb {
    program: PathBuf,
    host: String,
    port: u16,
    user: String,
    password: String,
    plans: Plans,
}

/// The data of an add-on.
#[derive(Serialize, Deserialize)]
struct MariaDbData {
    password: String,
    /// Hashes of replaced passwords and the passwords, each with the Unix time of its replacement.
    #[serde(default)]
    replaced: Vec<(String, i64)>,
    /// True if the quota has taken the rights to grow.
    #[serde(default)]
    is_full: bool,
}

impl MariaDb {
    /// Creates the service.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, ServiceSettingsError> {
        let (url, file) = settings.url_and_password(SERVICE)?;
        let wrong = |problem: &str| {
            let example = "write one, as in mysql://admin@db.internal:3306";
            invalid(SERVICE, "url", format!("{problem}; {example}"))
        };
        let (scheme, rest) = url.0.split_once("://").ok_or_else(|| wrong("not a URL"))?;
        if !["mysql", "mysql2", "mariadb"].contains(&scheme) {
            return Err(wrong("not the URL of a MariaDB server"));
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (login, address) = authority
            .rsplit_once('@')
            .ok_or_else(|| wrong("it has no user"))?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse().map_err(|_| wrong("its port is not one"))?,
            ),
            _ => (address, 3306),
        };
        let host = match host {
            "localhost" => "127.0.0.1",
            host => host.trim_start_matches('[').trim_end_matches(']'),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if host.is_empty() || user.is_empty() || !user.chars().all(plain) {
            return Err(wrong("it must name one user and one host"));
        }
        let decoded = percent_encoding::percent_decode_str(password).decode_utf8_lossy();
        let program = debian_program("mariadb").or_else(|| debian_program("mysql"));
        let program = program.ok_or_else(|| {
            let missing = "the node needs the client program: apt-get install mariadb-client";
            invalid(SERVICE, "url", missing.to_owned())
        })?;
        let service = Self {
            program,
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: file.map_or_else(|| decoded.into_owned(), |file| file.0),
            plans: settings.plans(SERVICE)?,
        };
        service
            .target()
            .map_err(|_| wrong("apps cannot be granted its host"))?;
        Ok(service)
    }

    fn bracketed_host(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        }
    }

    fn target(&self) -> Result<OutboundTarget, ServiceError> {
        let target = format!("tcp://{}:{}", self.bracketed_host(), self.port).parse();
        target.map_err(|error| refused(format!("{error}")))
    }

    /// Runs statements as the administrator, and returns what they print: a line for each row.
    async fn execute(&self, statements: String) -> Result<String, ServiceError> {
        let port = self.port.to_string();
        let arguments = [
            "--no-defaults",
            "--protocol=TCP",
            "--connect-timeout=10",
            "--batch",
            "--skip-column-names",
            "--host",
            &self.host,
            "--port",
            &port,
            "--user",
            &self.user,
        ];
        let client = ClientProgram {
            program: self.program.clone(),
            arguments: arguments.map(str::to_owned).into(),
            environment: vec![("MYSQL_PWD", self.password.clone())],
            file_size: 0,
            input: statements,
        };
        client.run().await.map_err(|cause| {
            // Numbers of the client's own errors, which say that no statement has run.
            let unreached = ["ERROR 2002", "ERROR 2003", "ERROR 2005"];
            match unreached.iter().any(|number| cause.contains(number)) {
                true => ServiceError::Unavailable {
                    service: SERVICE,
                    cause,
                },
                false => refused(cause),
            }
        })
    }

    /// Returns the statements that give the user exactly these passwords, and the plan's number of connections.
    fn login(&self, addon: &AddonRecord, data: &MariaDbData) -> String {
        let replaced = data.replaced.iter().map(|(password, _)| password);
        let methods = [&data.password].into_iter().chain(replaced);
        let methods: Vec<String> = methods
            .map(|password| format!("mysql_native_password USING '{}'", hash(password)))
            .collect();
        let connections = self.plans.limits(&addon.plan).connections();
        format!(
            "ALTER USER '{}'@'%' IDENTIFIED VIA {} WITH MAX_USER_CONNECTIONS {connections};",
            user(addon),
            methods.join(" OR "),
        )
    }

    async fn create(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let data = MariaDbData {
            password: password(SERVICE)?,
            replaced: Vec::new(),
            is_full: false,
        };
        let (database, user) = (database(addon), user(addon));
        let statements = format!(
            "CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4; \
             CREATE USER IF NOT EXISTS '{user}'@'%'; {} \
             GRANT ALL PRIVILEGES ON `{database}`.* TO '{user}'@'%';",
            self.login(addon, &data)
        );
        self.execute(statements).await?;
        encode(SERVICE, &data)
    }

    async fn limit(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let data: MariaDbData = decode(SERVICE, addon)?;
        self.execute(self.login(addon, &data)).await?;
        Ok(addon.data.clone())
    }

    async fn replace_password(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data: MariaDbData = decode(SERVICE, addon)?;
        let old = std::mem::replace(&mut data.password, password(SERVICE)?);
        data.replaced.push((old, Timestamp::now().as_second()));
        self.execute(self.login(addon, &data)).await?;
        encode(SERVICE, &data)
    }

    async fn remove(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let (database, user) = (database(addon), user(addon));
        // The user cannot log in again while its connections end.
        let statements = format!(
            "DROP USER IF EXISTS '{user}'@'%'; KILL USER '{user}'@'%'; \
             DROP DATABASE IF EXISTS `{database}`;"
        );
        self.execute(statements).await.map(drop)
    }

    /// Ends the passwords that were replaced and that no app uses, and takes or gives the rights to grow by the quota.
    async fn check(
        &self,
        addon: &AddonRecord,
        values: &[String],
    ) -> Result<Option<String>, ServiceError> {
        let mut data: MariaDbData = decode(SERVICE, addon)?;
        let now = Timestamp::now().as_second();
        let before = data.replaced.len();
        data.replaced.retain(|(password, at)| {
            now - at < GRACE_SECONDS || values.iter().any(|value| value.contains(password))
        });
        let mut changed = data.replaced.len() != before;
        if changed {
            self.execute(self.login(addon, &data)).await?;
        }
        let is_full = self.size(addon).await? > self.plans.limits(&addon.plan).storage();
        if is_full != data.is_full {
            let (database, user) = (database(addon), user(addon));
            let (verb, preposition) = match is_full {
                true => ("REVOKE", "FROM"),
                false => ("GRANT", "TO"),
            };
            // A connection keeps the rights with which it has chosen its database.
            self.execute(format!(
                "{verb} {GROWTH} ON `{database}`.* {preposition} '{user}'@'%'; KILL USER '{user}'@'%';"
            ))
            .await?;
            data.is_full = is_full;
            changed = true;
        }
        match changed {
            true => encode(SERVICE, &data).map(Some),
            false => Ok(None),
        }
    }

    /// Returns about the bytes of a database.
    async fn size(&self, addon: &AddonRecord) -> Result<u64, ServiceError> {
        // Statistics may be as old as the last ANALYZE; the tablespaces have the bytes on the disk.
        let database = database(addon);
        let query = format!(
            "SELECT COALESCE(SUM(file_size), 0) FROM information_schema.innodb_sys_tablespaces \
             WHERE name LIKE '{database}/%';"
        );
        let text = self.execute(query).await?;
        let parsed = text
            .trim()
            .split('.')
            .next()
            .and_then(|bytes| bytes.parse().ok());
        parsed.ok_or_else(|| refused("the server answered no size".to_owned()))
    }

    async fn facts(&self, addon: &AddonRecord) -> Result<Vec<(String, String)>, ServiceError> {
        let data: MariaDbData = decode(SERVICE, addon)?;
        let (database, user) = (database(addon), user(addon));
        let query = format!(
            "SELECT VERSION(); \
             SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'; \
             SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{database}';"
        );
        let text = self.execute(query).await?;
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let limits = self.plans.limits(&addon.plan);
        let size = self.size(addon).await?;
        let status = match data.is_full {
            true => "Full: INSERT is revoked until the database is smaller",
            false => "Available",
        };
        let facts = [
            ("Status", status.to_owned()),
            ("MariaDB Version", next()),
            (
                "Connections",
                format!("{}/{}", next(), limits.connections()),
            ),
            ("Tables", next()),
            ("Data Size", limits.describe_size(size)),
        ];
        Ok(facts.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl Service for MariaDb {
    fn names(&self) -> ServiceNames {
        ServiceNames {
            name: SERVICE,
            aliases: &["mysql", "jawsdb-maria", "cleardb"],
            addons: "mariadb",
            attachment: "DATABASE",
            further: "MARIADB",
            variables: &["URL"],
            title: "MariaDB",
            gems: &["mysql2", "trilogy"],
        }
    }

    fn plans(&self) -> &Plans {
        &self.plans
    }

    fn describe(&self, plan: &str) -> String {
        self.plans.limits(plan).describe_database()
    }

    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.create(addon))
    }

    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.limit(addon))
    }

    fn rotate<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.replace_password(addon))
    }

    fn deprovision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, ()> {
        Box::pin(self.remove(addon))
    }

    fn maintain<'a>(
        &'a self,
        addon: &'a AddonRecord,
        values: &'a [String],
    ) -> ServiceFuture<'a, Option<String>> {
        Box::pin(self.check(addon, values))
    }

    fn variables(&self, addon: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError> {
        let data: MariaDbData = decode(SERVICE, addon)?;
        let url = format!(
            "mysql2://{}:{}@{}:{}/{}",
            user(addon),
            data.password,
            self.bracketed_host(),
            self.port,
            database(addon)
        );
        Ok(vec![("URL", url)])
    }

    fn targets(&self, _: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError> {
        Ok(vec![self.target()?])
    }

    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>> {
        Box::pin(self.facts(addon))
    }

    fn address(&self, _: &AddonRecord) -> Result<Option<(String, u16)>, ServiceError> {
        Ok(Some((self.host.clone(), self.port)))
    }
}

/// Returns the name of an add-on's database, which follows from its key and has no wildcard of grants.
fn database(addon: &AddonRecord) -> String {
    format!("d{}", addon.id.simple())
}

/// Returns the name of an add-on's user.
fn user(addon: &AddonRecord) -> String {
    format!("u{}", addon.id.simple())
}

/// Returns the hash of `mysql_native_password`.
fn hash(password: &str) -> String {
    let twice = Sha1::digest(Sha1::digest(password.as_bytes()));
    let digits: String = twice.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("*{digits}")
}

fn refused(cause: String) -> ServiceError {
    ServiceError::Refused {
        service: SERVICE,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_the_server() {
        // SELECT PASSWORD('password')
        assert_eq!(
            hash("password"),
            "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
        );
    }

    #[test]
    fn url_without_one_host_and_user_is_refused_without_its_password() {
        for url in [
            "mysql://127.0.0.1",
            "mysql://:secret@127.0.0.1",
            "mysql://admin:secret@",
            "mysql://admin:secret@a b",
            "mysql://admin:secret@host:port",
            "mysql://ad'min:secret@host",
            "postgres://admin:secret@127.0.0.1",
            "secret",
        ] {
            let error = MariaDb::new(&ServerSettings::of_url(url, &[])).err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.starts_with("[services.mariadb] url: ") && !error.contains("secret"),
                "{url}: {error}"
            );
        }
    }
}
