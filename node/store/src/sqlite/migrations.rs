//! The schema, as the list of migrations that lead to it.

use rusqlite::Connection;
use rusqlite_migration::{Error, M, MigrationDefinitionError, Migrations};

use crate::error::StoreError;

/// An expression that makes a UUID of version 4 for each row.
macro_rules! uuid_v4 {
    () => {
        "lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || \
         substr(lower(hex(randomblob(2))), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || \
         substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6)))"
    };
}

/// All migrations in order. The store's `user_version` counts those that have run. A migration that has been released
/// never changes; a change of the schema is a further migration.
const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

const STEPS: &[M<'_>] = &[
    M::up(
        "create table apps (name text primary key, created_at text not null, formation integer not null) strict;
     create table releases (
        app text not null references apps (name) on delete cascade on update cascade,
        version integer not null, description text not null, created_at text not null,
        git_commit text not null, slug text not null, image text not null, about text not null,
        config text not null, primary key (app, version)) strict;
     create table config (
        app text not null references apps (name) on delete cascade on update cascade,
        name text not null, value text not null, primary key (app, name)) strict;
     create table tokens (hash text primary key, created_at text not null) strict;",
    ),
    M::up(
        "create table domains (
        host text primary key, app text not null references apps (name) on delete cascade on update cascade,
        created_at text not null) strict;
     create index domains_of_app on domains (app);
     create table settings (
        app text not null references apps (name) on delete cascade on update cascade,
        name text not null, value text not null, primary key (app, name)) strict;",
    ),
    M::up(
        "create table certs (
        name text primary key, app text not null references apps (name) on delete cascade on update cascade,
        origin text not null, chain text not null, key text not null, updated_at text not null) strict;
     create index certs_of_app on certs (app);
     create table acme_accounts (directory text primary key, credentials text not null) strict;
     create table acme_hosts (
        host text primary key, app text not null references apps (name) on delete cascade on update cascade,
        failures integer not null, next_attempt integer not null, message text not null) strict;",
    ),
    M::up(
        "create table drains (
        id text primary key, app text not null references apps (name) on delete cascade on update cascade,
        url text not null, token text not null, created_at text not null) strict;
     create index drains_of_app on drains (app);",
    ),
    // Keys beside names, an account, builds, and tokens that can be listed. SQLite makes the keys of existing records:
    // UUIDs of version 4 (RFC 9562 section 5.4).
    M::up(concat!(
        "alter table apps add column id text not null default '';
         update apps set id = ", uuid_v4!(), ";
         create unique index apps_by_id on apps (id);
         alter table releases add column id text not null default '';
         update releases set id = ", uuid_v4!(), ";
         create unique index releases_by_id on releases (id);
         alter table domains add column id text not null default '';
         update domains set id = ", uuid_v4!(), ";
         create unique index domains_by_id on domains (id);
         alter table certs add column id text not null default '';
         alter table certs add column created_at text not null default '';
         update certs set created_at = updated_at, id = ", uuid_v4!(), ";
         create unique index certs_by_id on certs (id);
         alter table tokens add column id text not null default '';
         alter table tokens add column description text not null default 'corundum login';
         alter table tokens add column abridged text not null default '**********';
         alter table tokens add column expires_at text;
         update tokens set id = ", uuid_v4!(), ";
         create unique index tokens_by_id on tokens (id);
         create table accounts (id text primary key, email text not null, created_at text not null) strict;
         insert into accounts values (", uuid_v4!(), ", 'owner@localhost', strftime('%Y-%m-%dT%H:%M:%SZ'));
         create table builds (
            id text primary key, app text not null references apps (name) on delete cascade on update cascade,
            status text not null, git_commit text not null, slug text, release integer,
            created_at text not null, updated_at text not null, output text not null) strict;
         create index builds_of_app on builds (app);"
    )),
    M::up("alter table tokens add column last_used_at text;"),
    // The time of about the last request to an app, for the order in which a node prepares images.
    M::up("alter table apps add column last_used integer not null default 0;"),
    M::up(
        "create table outbound_grants (
        id text primary key, app text not null references apps (name) on delete cascade on update cascade,
        target text not null, created_at text not null, unique (app, target)) strict;",
    ),
    M::up(
        "create table formation (
        app text not null references apps (name) on delete cascade on update cascade,
        process text not null, quantity integer not null, size text not null, primary key (app, process)) strict;
     create table schedule_runs (
        app text not null references apps (name) on delete cascade on update cascade,
        command text not null, planned integer not null, primary key (app, command)) strict;",
    ),
    // An add-on outlives its app until its service has removed it.
    M::up(
        "create table addons (
        id text primary key, name text not null unique, service text not null, plan text not null,
        app text references apps (name) on delete set null on update cascade,
        state text not null, data text not null, created_at text not null, updated_at text not null) strict;
     create index addons_of_app on addons (app);
     create table addon_attachments (
        id text primary key, addon text not null references addons (id) on delete cascade,
        app text not null references apps (name) on delete cascade on update cascade,
        name text not null, variables text not null, targets text not null, created_at text not null,
        unique (app, name)) strict;
     create index attachments_of_addon on addon_attachments (addon);",
    ),
    M::up(
        "create table addon_backups (
        id text primary key, addon text not null references addons (id) on delete cascade,
        number integer not null, origin text not null, state text not null, size integer not null,
        message text not null, created_at text not null, finished_at text) strict;
     create index backups_of_addon on addon_backups (addon);
     create table addon_backup_schedules (
        addon text primary key references addons (id) on delete cascade,
        hour integer not null, minute integer not null, timezone text not null, planned integer not null) strict;",
    ),
    M::up(
        "create table usage (
        app text not null references apps (name) on delete cascade on update cascade,
        day integer not null, requests integer not null, response_bytes integer not null,
        cpu_micros integer not null, megabyte_seconds integer not null, primary key (app, day)) strict;",
    ),
];

/// Runs the migrations that the store has not seen, each in a transaction.
///
/// # Errors
///
/// [`StoreError::Newer`] if a newer version has migrated the store; SQLite fails.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    MIGRATIONS
        .to_latest(connection)
        .map_err(|error| match error {
            Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
                StoreError::Newer
            }
            other => StoreError::Migration(other),
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::apps::AppStore;
    use crate::releases::ReleaseStore;
    use crate::sqlite::SqliteStore;
    use crate::tokens::TokenStore;

    /// The tables of the first released version, as it wrote them to a file.
    const FIRST_VERSION: &str = "create table apps (name text primary key, created_at text not null, formation integer not null) strict;
     create table releases (
        app text not null references apps (name) on delete cascade on update cascade,
        version integer not null, description text not null, created_at text not null,
        git_commit text not null, slug text not null, image text not null, about text not null,
        config text not null, primary key (app, version)) strict;
     create table config (
        app text not null references apps (name) on delete cascade on update cascade,
        name text not null, value text not null, primary key (app, name)) strict;
     create table tokens (hash text primary key, created_at text not null) strict;";

    #[test]
    fn migrations_are_valid() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn store_of_the_first_version_is_migrated_and_keeps_its_records() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(FIRST_VERSION).unwrap();
        connection
            .execute_batch("pragma user_version = 1; insert into apps values ('one', 'now', 1), ('two', 'now', 1);")
            .unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute_batch("insert into domains (host, app, created_at, id) values ('a.example', 'one', 'now', 'x')")
            .unwrap();
        let mut statement = connection.prepare("select id from apps").unwrap();
        let ids = statement
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap();
        let ids: BTreeSet<Uuid> = ids.map(|id| id.unwrap().parse().unwrap()).collect();
        assert!(
            ids.len() == 2 && ids.iter().all(|id| id.get_version_num() == 4),
            "{ids:?}"
        );
    }

    #[test]
    fn file_of_the_first_version_opens_with_its_apps_config_vars_and_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corundum.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(FIRST_VERSION).unwrap();
        let records = "pragma user_version = 1;
             insert into apps values ('one-app', '2025-01-02T03:04:05Z', 3);
             insert into config values ('one-app', 'A', '1');
             insert into tokens values ('hash', '2025-01-02T03:04:05Z');";
        connection.execute_batch(records).unwrap();
        drop(connection);
        let store = SqliteStore::open(&path).unwrap();
        let name = "one-app".parse().unwrap();
        assert_eq!(store.app(&name).unwrap().formation, 3);
        assert_eq!(store.config(&name).unwrap()["A"], "1");
        let token = store.valid_token("hash").unwrap().unwrap();
        assert_eq!(token.last_used_at, None);
        assert_eq!(store.valid_token("other").unwrap(), None);
    }

    #[test]
    fn store_of_a_newer_version_is_rejected() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("pragma user_version = 1000")
            .unwrap();
        let result = migrate(&mut connection);
        assert!(matches!(result, Err(StoreError::Newer)));
    }
}
