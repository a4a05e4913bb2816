//! The schema, as the list of migrations that lead to it.

use rusqlite::Connection;
use rusqlite_migration::{Error, M, MigrationDefinitionError, Migrations};

use crate::error::StoreError;

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
    use super::*;

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
            .execute_batch("pragma user_version = 1; insert into apps values ('one', 'now', 1);")
            .unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute_batch("insert into domains values ('a.example', 'one', 'now')")
            .unwrap();
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
