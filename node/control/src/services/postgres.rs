//! PostgreSQL: a database for each add-on at the operator's server.
//!
//! A group role owns the objects of a database; apps log in with roles that become the group role, so that credentials are
//! replaced without a change of ownership. The administrator owns the database itself, so that no app can lift its quota.
//! Passwords reach the server as SCRAM verifiers only, which its log may show.

mod backups;
mod tls;

use std::time::Duration;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use jiff::Timestamp;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};

use self::tls::PostgresTls;
use super::settings::{ServerSettings, ServiceSettingsError, invalid};
use super::{DataDump, Plans, Service, ServiceError, ServiceFuture, ServiceNames};
use crate::secret;

const SERVICE: &str = "postgres";

/// The time to connect to a server.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for one step at the server. Creating a database copies a template of some megabytes.
const STEP: Duration = Duration::from_secs(60);

/// The time for which replaced credentials stay valid at least, so that requests in progress end.
const GRACE_SECONDS: i64 = 60;

/// A service of databases at one server.
pub(super) struct Postgres {
    admin: Config,
    /// Absent if connections are not encrypted.
    tls: Option<PostgresTls>,
    host: String,
    port: u16,
    plans: Plans,
}

/// The data of an add-on.
#[derive(Serialize, Deserialize)]
struct PostgresData {
    role: String,
    password: String,
    /// The number in the name of the role.
    number: u32,
    /// Replaced roles, each with the Unix time of its replacement.
    #[serde(default)]
    replaced: Vec<(String, i64)>,
    /// True if the quota has taken the right to insert.
    #[serde(default)]
    is_full: bool,
}

impl Postgres {
    /// Creates the service.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn new(settings: &ServerSettings) -> Result<Self, ServiceSettingsError> {
        let (mut url, password) = settings.url_and_password(SERVICE)?;
        let wrong = |problem: &str| {
            let example = "write one, as in postgres://admin@db.internal:5432/postgres";
            invalid(SERVICE, "url", format!("{problem}; {example}"))
        };
        let tls = PostgresTls::of_url(&mut url.0, settings.ca_file());
        let tls = tls.map_err(|problem| wrong(&problem))?;
        let mut admin: Config = url
            .0
            .parse()
            .map_err(|_| wrong("not the URL of a PostgreSQL server"))?;
        let host = match admin.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            _ => return Err(wrong("it must name one host that apps can reach")),
        };
        let port = admin.get_ports().first().copied().unwrap_or(5432);
        if let Some(password) = password {
            admin.password(password.0);
        }
        admin
            .connect_timeout(CONNECT)
            .application_name("corundum")
            .options("-c statement_timeout=60000 -c lock_timeout=20000");
        let service = Self {
            admin,
            tls,
            host,
            port,
            plans: settings.plans(SERVICE)?,
        };
        // Every add-on needs the grant: an unusable host is better refused here.
        service
            .target()
            .map_err(|_| wrong("apps cannot be granted its host"))?;
        Ok(service)
    }

    fn target(&self) -> Result<OutboundTarget, ServiceError> {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let host = if host == "localhost" {
            "127.0.0.1".to_owned()
        } else {
            host
        };
        let target = format!("tcp://{host}:{}", self.port).parse();
        target.map_err(|error| refused(format!("{error}")))
    }

    /// Connects as the administrator.
    async fn connect(&self, database: Option<&str>) -> Result<Client, ServiceError> {
        let mut config = self.admin.clone();
        if let Some(database) = database {
            config.dbname(database);
        }
        let connecting = async {
            match &self.tls {
                Some(tls) => open(&config, tls.clone()).await,
                None => open(&config, NoTls).await,
            }
        };
        let connected = timeout(CONNECT, connecting).await;
        let connected = connected.map_err(|_| unavailable("no answer in 10 s".to_owned()))?;
        connected.map_err(|error| match error.as_db_error() {
            Some(error) => refused(error.message().to_owned()),
            None => unavailable(causes(&error)),
        })
    }

    /// Creates a role that logs in as the group role, or gives an existing one the password.
    async fn add_login(
        &self,
        client: &Client,
        names: &DatabaseNames,
        number: u32,
        connections: u16,
    ) -> Result<(String, String), ServiceError> {
        let password = secret::random_hex().map_err(|error| refused(error.to_string()))?;
        let role = names.login(number);
        let login = escape_identifier(&role);
        let group = escape_identifier(&names.group);
        let verifier = escape_literal(&scram_sha_256(password.as_bytes()));
        execute(client, &create_role(&login)).await?;
        execute(
            client,
            &format!(
                "alter role {login} login inherit connection limit {connections} password {verifier}; \
                 grant {group} to {login}; alter role {login} set role to {group}"
            ),
        )
        .await?;
        Ok((role, password))
    }

    async fn create(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let names = DatabaseNames::of(addon);
        let limits = self.plans.limits(&addon.plan);
        let client = self.connect(None).await?;
        execute(&client, &create_role(&escape_identifier(&names.group))).await?;
        let (role, password) = self
            .add_login(&client, &names, 1, limits.connections())
            .await?;
        self.create_database(&client, &names.database, &names.group)
            .await?;
        encode(&PostgresData {
            role,
            password,
            number: 1,
            replaced: Vec::new(),
            is_full: false,
        })
    }

    /// Creates a database that a group role may use, unless it exists.
    async fn create_database(
        &self,
        client: &Client,
        name: &str,
        group: &str,
    ) -> Result<(), ServiceError> {
        let (group, database) = (escape_identifier(group), escape_identifier(name));
        if !exists(client, name).await? {
            let create = format!("create database {database} template template0 encoding 'UTF8'");
            execute(client, &create).await?;
        }
        let rights = format!(
            "revoke all on database {database} from public; \
             grant connect, temporary, create on database {database} to {group}"
        );
        execute(client, &rights).await?;
        let inside = self.connect(Some(name)).await;
        // The database exists: the caller must not take the server for one that was never reached.
        let inside = inside.map_err(|error| refused(error.to_string()))?;
        let rights = format!(
            "revoke all on schema public from public; grant all on schema public to {group}"
        );
        execute(&inside, &rights).await
    }

    async fn limit(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let client = self.connect(None).await?;
        let connections = self.plans.limits(&addon.plan).connections();
        for login in logins(&client, &DatabaseNames::of(addon)).await? {
            let login = escape_identifier(&login);
            let alter = format!("alter role {login} connection limit {connections}");
            execute(&client, &alter).await?;
        }
        Ok(addon.data.clone())
    }

    async fn replace_login(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data: PostgresData = decode(addon)?;
        let client = self.connect(None).await?;
        let connections = self.plans.limits(&addon.plan).connections();
        let number = data.number + 1;
        let names = DatabaseNames::of(addon);
        let (role, password) = self.add_login(&client, &names, number, connections).await?;
        let now = Timestamp::now().as_second();
        data.replaced
            .push((std::mem::replace(&mut data.role, role), now));
        data.password = password;
        data.number = number;
        encode(&data)
    }

    async fn remove(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let names = DatabaseNames::of(addon);
        let client = self.connect(None).await?;
        let logins = logins(&client, &names).await?;
        for login in &logins {
            execute(
                &client,
                &format!("alter role {} nologin", escape_identifier(login)),
            )
            .await?;
        }
        self.remove_leftovers(&client, &names).await?;
        if exists(&client, &names.database).await? {
            let database = escape_identifier(&names.database);
            execute(&client, &format!("drop database {database} with (force)")).await?;
        }
        for login in &logins {
            execute(
                &client,
                &format!("drop role if exists {}", escape_identifier(login)),
            )
            .await?;
        }
        let group = escape_identifier(&names.group);
        execute(&client, &format!("drop role if exists {group}")).await
    }

    /// Ends the roles that were replaced and that no app uses, and takes or gives the right to insert by the quota.
    async fn check(
        &self,
        addon: &AddonRecord,
        values: &[String],
    ) -> Result<Option<String>, ServiceError> {
        let mut data: PostgresData = decode(addon)?;
        let names = DatabaseNames::of(addon);
        let client = self.connect(None).await?;
        self.remove_leftovers(&client, &names).await?;
        let now = Timestamp::now().as_second();
        let mut changed = false;
        let is_old = |role: &str, at: i64| {
            now - at >= GRACE_SECONDS
                && !values
                    .iter()
                    .any(|value| value.contains(&format!("{role}:")))
        };
        for (role, at) in std::mem::take(&mut data.replaced) {
            match is_old(&role, at) {
                true => {
                    self.end_login(&client, &names, &role).await?;
                    changed = true;
                }
                false => data.replaced.push((role, at)),
            }
        }
        let size = size(&client, &names).await?;
        let is_full = size > self.plans.limits(&addon.plan).storage();
        if is_full || data.is_full {
            let inside = self.connect(Some(&names.database)).await?;
            execute(&inside, &write_rights(&names.group, is_full)).await?;
        }
        changed |= is_full != data.is_full;
        data.is_full = is_full;
        Ok(match changed {
            true => Some(encode(&data)?),
            false => None,
        })
    }

    async fn end_login(
        &self,
        client: &Client,
        names: &DatabaseNames,
        role: &str,
    ) -> Result<(), ServiceError> {
        let (login, group) = (escape_identifier(role), escape_identifier(&names.group));
        execute(client, &format!("alter role {login} nologin")).await?;
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = {}",
            escape_literal(role)
        );
        execute(client, &end).await?;
        // An app that has reset its role owns objects by the login.
        let inside = self.connect(Some(&names.database)).await?;
        let give = format!("reassign owned by {login} to {group}; drop owned by {login}");
        execute(&inside, &give).await?;
        execute(client, &format!("drop role if exists {login}")).await
    }

    async fn facts(&self, addon: &AddonRecord) -> Result<Vec<(String, String)>, ServiceError> {
        let names = DatabaseNames::of(addon);
        let data: PostgresData = decode(addon)?;
        let limits = self.plans.limits(&addon.plan);
        let inside = self.connect(Some(&names.database)).await?;
        let row = step(inside.query_one(
            "select current_setting('server_version'), pg_database_size(current_database()), \
             (select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()), \
             (select count(*) from pg_class where relkind = 'r' and relnamespace not in \
              (select oid from pg_namespace where nspname like 'pg\\_%' or nspname = 'information_schema'))",
            &[],
        ))
        .await?;
        let (size, connections, tables): (i64, i64, i64) = (row.get(1), row.get(2), row.get(3));
        let status = match data.is_full {
            true => "Full: INSERT is revoked until the database is smaller",
            false => "Available",
        };
        let facts = [
            ("Status", status.to_owned()),
            (
                "Connections",
                format!("{connections}/{}", limits.connections()),
            ),
            ("PG Version", row.get(0)),
            (
                "Data Size",
                limits.describe_size(u64::try_from(size).unwrap_or_default()),
            ),
            ("Tables", tables.to_string()),
        ];
        Ok(facts.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl Service for Postgres {
    fn names(&self) -> ServiceNames {
        ServiceNames {
            name: SERVICE,
            aliases: &["postgresql", "heroku-postgresql"],
            addons: "postgresql",
            attachment: "DATABASE",
            further: "HEROKU_POSTGRESQL",
            variables: &["URL"],
            title: "PostgreSQL",
            gems: &["pg"],
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
        Box::pin(self.replace_login(addon))
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
        let data: PostgresData = decode(addon)?;
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        // Apps have no authorities of the operator: they encrypt, as the server may demand.
        let mode = self.tls.as_ref().map_or("", |_| "?sslmode=require");
        let url = format!(
            "postgres://{}:{}@{host}:{}/{}{mode}",
            data.role,
            data.password,
            self.port,
            DatabaseNames::of(addon).database
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

    fn dumps(&self) -> Option<&dyn DataDump> {
        Some(self)
    }
}

/// The names of an add-on's database and roles, which follow from its key.
struct DatabaseNames {
    database: String,
    group: String,
}

impl DatabaseNames {
    fn of(addon: &AddonRecord) -> Self {
        let key = addon.id.simple().to_string();
        Self {
            database: format!("d{key}"),
            group: format!("u{key}"),
        }
    }

    fn login(&self, number: u32) -> String {
        format!("{}_{number}", self.group)
    }
}

/// Connects. The task of the connection ends with the client.
async fn open<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Returns the statement that creates a role unless it exists. `role` is quoted.
fn create_role(role: &str) -> String {
    format!(
        "do $$ begin create role {role} nologin; exception when duplicate_object then null; end $$"
    )
}

/// Returns the statements that take the rights to insert and to create from the group role, or give them back.
fn write_rights(group: &str, take: bool) -> String {
    let (verb, preposition) = if take {
        ("revoke", "from")
    } else {
        ("grant", "to")
    };
    let group = escape_literal(group);
    format!(
        "do $$ declare s text; begin \
         for s in select nspname from pg_namespace where nspname not like 'pg\\_%' and nspname <> 'information_schema' loop \
         execute format('{verb} insert, update on all tables in schema %I {preposition} %I', s, {group}); \
         execute format('{verb} create on schema %I {preposition} %I', s, {group}); \
         end loop; \
         execute format('{verb} create on database %I {preposition} %I', current_database(), {group}); \
         end $$"
    )
}

async fn exists(client: &Client, database: &str) -> Result<bool, ServiceError> {
    let query = "select from pg_database where datname = $1";
    let found = step(client.query_opt(query, &[&database])).await?;
    Ok(found.is_some())
}

async fn size(client: &Client, names: &DatabaseNames) -> Result<u64, ServiceError> {
    let query = "select pg_database_size(datname) from pg_database where datname = $1";
    let row = step(client.query_one(query, &[&names.database])).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Returns the roles of an add-on that log in.
async fn logins(client: &Client, names: &DatabaseNames) -> Result<Vec<String>, ServiceError> {
    let prefix = names.login(0);
    let prefix = prefix.trim_end_matches('0');
    let query = "select rolname::text from pg_roles where starts_with(rolname::text, $1)";
    let rows = step(client.query(query, &[&prefix])).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Runs statements.
async fn execute(client: &Client, statements: &str) -> Result<(), ServiceError> {
    step(client.batch_execute(statements)).await
}

/// Awaits a step at the server.
async fn step<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, ServiceError> {
    match timeout(STEP, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error.as_db_error() {
            Some(error) => refused(error.message().to_owned()),
            None => refused(format!("the connection was lost: {}", causes(&error))),
        }),
        Err(_) => Err(refused("no answer in 60 s".to_owned())),
    }
}

/// Returns an error with its causes. The driver's own text is only its kind.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn encode(data: &PostgresData) -> Result<String, ServiceError> {
    serde_json::to_string(data).map_err(|_| ServiceError::Damaged { service: SERVICE })
}

fn decode(addon: &AddonRecord) -> Result<PostgresData, ServiceError> {
    serde_json::from_str(&addon.data).map_err(|_| ServiceError::Damaged { service: SERVICE })
}

fn refused(cause: String) -> ServiceError {
    ServiceError::Refused {
        service: SERVICE,
        cause,
    }
}

fn unavailable(cause: String) -> ServiceError {
    ServiceError::Unavailable {
        service: SERVICE,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_without_one_tcp_host_is_refused_without_its_password() {
        for url in [
            "postgres://admin:secret@/postgres",
            "postgres://admin:secret@a,b/postgres",
            "postgres://admin:secret@a.example/postgres?sslmode=maybe",
            "http://admin:secret@a.example",
            "postgres://admin:secret@a b/x",
        ] {
            let error = Postgres::new(&ServerSettings::of_url(url, &[])).err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.starts_with("[services.postgres] url: ") && !error.contains("secret"),
                "{url}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn server_that_is_down_is_named_in_the_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("postgres://admin:secret@127.0.0.1:{port}/postgres");
        let postgres = Postgres::new(&ServerSettings::of_url(&url, &[])).unwrap();
        let error = postgres.connect(None).await.err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, ServiceError::Unavailable { .. }), "{text}");
        assert!(
            text.contains("try again when it runs") && !text.contains("secret"),
            "{text}"
        );
    }
}
