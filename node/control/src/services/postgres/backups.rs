//! Backups of databases: `pg_dump` and `pg_restore`, as the app's own role, since a superuser must not run what is in a database.
//!
//! A restore fills a new database, which takes the place of the old one when it is complete. An interrupted one leaves the old
//! database as it was; [`Postgres::remove_leftovers`] removes the new one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use corundum_store::AddonRecord;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{DatabaseNames, Postgres, PostgresData, decode, execute, exists, refused, size};
use crate::services::client_program::ClientProgram;
use crate::services::{DataDump, ServiceError, ServiceFuture};

/// Bytes that a dump may have beyond the plan's storage: it has definitions, too, and the quota is checked once a minute.
const SLACK: u64 = 256 << 20;

/// The time between two attempts to end connections, while a database waits to be renamed.
const PAUSE: Duration = Duration::from_millis(100);

/// Databases of an interrupted restore, by the ends of their names.
const LEFTOVERS: [&str; 2] = ["_new", "_old"];

impl Postgres {
    /// Removes the databases that an interrupted restore has left.
    pub(super) async fn remove_leftovers(
        &self,
        client: &Client,
        names: &DatabaseNames,
    ) -> Result<(), ServiceError> {
        for end in LEFTOVERS {
            let name = format!("{}{end}", names.database);
            if exists(client, &name).await? {
                let name = escape_identifier(&name);
                execute(client, &format!("drop database {name} with (force)")).await?;
            }
        }
        Ok(())
    }

    /// Returns a client program that connects as the app does.
    fn program(
        &self,
        name: &'static str,
        addon: &AddonRecord,
        database: &str,
        arguments: Vec<String>,
    ) -> Result<ClientProgram, ServiceError> {
        let data: PostgresData = decode(addon)?;
        let program = program(name).ok_or_else(|| {
            refused(format!(
                "{name} is not installed on the node: apt-get install postgresql-client"
            ))
        })?;
        let tls = self.tls.as_ref().map(|tls| tls.environment());
        let mut environment = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", data.role),
            ("PGPASSWORD", data.password),
            ("PGDATABASE", database.to_owned()),
            ("PGCONNECT_TIMEOUT", "10".to_owned()),
            ("PGAPPNAME", "corundum".to_owned()),
        ];
        environment.extend(tls.unwrap_or_default());
        Ok(ClientProgram {
            program,
            arguments,
            environment,
            file_size: self.plans.limits(&addon.plan).storage() + SLACK,
            input: String::new(),
        })
    }

    async fn dump_to(&self, addon: &AddonRecord, to: &Path) -> Result<(), ServiceError> {
        let names = DatabaseNames::of(addon);
        let mut arguments: Vec<String> = [
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            "--no-password",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--file={}", to.display()));
        let dumped = self.program("pg_dump", addon, &names.database, arguments)?;
        dumped.run().await.map(drop).map_err(refused)
    }

    async fn restore_from(&self, addon: &AddonRecord, from: &Path) -> Result<(), ServiceError> {
        let names = DatabaseNames::of(addon);
        let client = self.connect(None).await?;
        self.remove_leftovers(&client, &names).await?;
        let new = format!("{}_new", names.database);
        self.create_database(&client, &new, &names.group).await?;
        let filled = async {
            let mut arguments: Vec<String> = [
                "--no-owner",
                "--no-privileges",
                "--no-password",
                "--exit-on-error",
                "--dbname",
            ]
            .map(str::to_owned)
            .into();
            arguments.extend([new.clone(), from.display().to_string()]);
            let restored = self.program("pg_restore", addon, &new, arguments)?;
            restored.run().await.map_err(refused)?;
            self.replace_database(&client, &names).await
        };
        let result = filled.await;
        // After a failure the new database goes, after a success the old one.
        let removed = self.remove_leftovers(&client, &names).await;
        result.and(removed)
    }

    /// Gives the new database the name of the old one. Connections to the old one end.
    async fn replace_database(
        &self,
        client: &Client,
        names: &DatabaseNames,
    ) -> Result<(), ServiceError> {
        let [own, new, old] =
            ["", "_new", "_old"].map(|end| escape_identifier(&format!("{}{end}", names.database)));
        // The first statement locks the database against new connections, and waits some seconds for those that there are.
        let renames = format!(
            "begin; alter database {own} rename to {old}; alter database {new} rename to {own}; commit"
        );
        let other = self.connect(None).await?;
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = {} and pid <> pg_backend_pid()",
            escape_literal(&names.database)
        );
        let ending = async {
            loop {
                let _ = execute(&other, &end).await;
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            renamed = execute(client, &renames) => {
                if renamed.is_err() {
                    execute(client, "rollback").await?;
                }
                renamed
            }
            never = ending => never,
        }
    }
}

impl DataDump for Postgres {
    fn file_end(&self) -> &'static str {
        "dump"
    }

    fn size<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, u64> {
        Box::pin(async {
            let client = self.connect(None).await?;
            size(&client, &DatabaseNames::of(addon)).await
        })
    }

    fn dump<'a>(&'a self, addon: &'a AddonRecord, to: &'a Path) -> ServiceFuture<'a, ()> {
        Box::pin(self.dump_to(addon, to))
    }

    fn restore<'a>(&'a self, addon: &'a AddonRecord, from: &'a Path) -> ServiceFuture<'a, ()> {
        Box::pin(self.restore_from(addon, from))
    }
}

/// Returns the path of a client program: the newest version of Debian's packages, or the one in `/usr/bin`.
fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.exists().then_some((version, path))
        });
    let newest = versions.max_by_key(|(version, _)| *version);
    newest
        .map(|(_, path)| path)
        .or_else(|| crate::services::server_process::debian_program(name))
}
