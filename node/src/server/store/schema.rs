//! The store's tables, and how a store of an older version gets those that came since.

use rusqlite::Connection;

use super::StoreError;

/// What each version of the store added. A step that has been released is never changed: a change is another step.
const STEPS: [&str; 4] = [
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
    "create table domains (
        host text primary key, app text not null references apps (name) on delete cascade on update cascade,
        created_at text not null) strict;
     create index domains_of_app on domains (app);
     create table settings (
        app text not null references apps (name) on delete cascade on update cascade,
        name text not null, value text not null, primary key (app, name)) strict;",
    "create table certs (
        name text primary key, app text not null references apps (name) on delete cascade on update cascade,
        origin text not null, chain text not null, key text not null, updated_at text not null) strict;
     create index certs_of_app on certs (app);
     create table acme_accounts (directory text primary key, credentials text not null) strict;
     create table acme_hosts (
        host text primary key, app text not null references apps (name) on delete cascade on update cascade,
        failures integer not null, next_attempt integer not null, message text not null) strict;",
    "create table drains (
        id text primary key, app text not null references apps (name) on delete cascade on update cascade,
        url text not null, token text not null, created_at text not null) strict;
     create index drains_of_app on drains (app);",
];

/// Takes the steps that the store has not taken yet, each whole or not at all.
///
/// # Errors
///
/// [`StoreError::Newer`] if a newer version wrote the store; SQLite's own.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<(), StoreError> {
    let taken: usize = connection.query_row("pragma user_version", [], |row| row.get(0))?;
    let steps = STEPS.get(taken..).ok_or(StoreError::Newer)?;
    for (step, version) in steps.iter().zip(taken + 1..) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_the_first_version_gets_what_came_since_and_keeps_what_it_has() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection
            .execute_batch("pragma user_version = 1; insert into apps values ('one', 'now', 1);")
            .unwrap();
        bring_up_to_date(&mut connection).unwrap();
        bring_up_to_date(&mut connection).unwrap();
        connection
            .execute_batch("insert into domains values ('a.example', 'one', 'now')")
            .unwrap();
    }

    #[test]
    fn a_store_of_a_newer_version_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("pragma user_version = 1000")
            .unwrap();
        let result = bring_up_to_date(&mut connection);
        assert!(matches!(result, Err(StoreError::Newer)));
    }
}
