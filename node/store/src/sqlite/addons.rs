//! Add-ons and their attachments.

use corundum_abi::names::AppName;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::releases::parsed;
use super::{SqliteStore, uuid_at};
use crate::addons::{AddonAttachmentRecord, AddonRecord, AddonState, AddonStore};
use crate::error::StoreError;
use crate::time::now;

const ADDON: &str = "id, name, service, plan, app, state, data, created_at, updated_at";
const ATTACHMENT: &str = "id, addon, app, name, variables, targets, created_at";

impl AddonStore for SqliteStore {
    fn add_addon(
        &self,
        addon: &AddonRecord,
        attachment: &AddonAttachmentRecord,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        transaction.execute(
            "insert into addons (id, name, service, plan, app, state, data, created_at, updated_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                addon.id.to_string(),
                addon.name,
                addon.service,
                addon.plan,
                addon.app.as_ref().map(AppName::as_str),
                addon.state.as_str(),
                addon.data,
                addon.created_at,
                addon.updated_at,
            ],
        )?;
        insert_attachment(&transaction, attachment)?;
        Ok(transaction.commit()?)
    }

    fn set_addon(&self, addon: &AddonRecord) -> Result<(), StoreError> {
        self.connection().execute(
            "update addons set plan = ?2, state = ?3, data = ?4, updated_at = ?5 where id = ?1",
            params![
                addon.id.to_string(),
                addon.plan,
                addon.state.as_str(),
                addon.data,
                now(),
            ],
        )?;
        Ok(())
    }

    fn remove_addon(&self, id: Uuid) -> Result<(), StoreError> {
        self.connection()
            .execute("delete from addons where id = ?1", [id.to_string()])?;
        Ok(())
    }

    fn addons(&self) -> Result<Vec<AddonRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {ADDON} from addons order by created_at, rowid"
        ))?;
        let rows = statement.query_map([], addon_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn readable_addons(&self) -> Result<(Vec<AddonRecord>, Vec<String>), StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {ADDON} from addons order by created_at, rowid"
        ))?;
        let (mut addons, mut damaged) = (Vec::new(), Vec::new());
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match addon_record(row) {
                Ok(addon) => addons.push(addon),
                Err(error) => {
                    let name: Result<String, _> = row.get(1);
                    damaged.push(format!("{}: {error}", name.unwrap_or_default()));
                }
            }
        }
        Ok((addons, damaged))
    }

    fn addon(&self, id: Uuid) -> Result<AddonRecord, StoreError> {
        let connection = self.connection();
        let query = format!("select {ADDON} from addons where id = ?1");
        let found = connection.query_row(&query, [id.to_string()], addon_record);
        found
            .optional()?
            .ok_or_else(|| StoreError::NoAddon(id.to_string()))
    }

    fn add_attachment(&self, attachment: &AddonAttachmentRecord) -> Result<(), StoreError> {
        insert_attachment(&self.connection(), attachment)
    }

    fn set_attachment(&self, attachment: &AddonAttachmentRecord) -> Result<(), StoreError> {
        self.connection().execute(
            "update addon_attachments set variables = ?2, targets = ?3 where id = ?1",
            params![
                attachment.id.to_string(),
                serde_json::to_string(&attachment.variables)?,
                serde_json::to_string(&attachment.targets)?,
            ],
        )?;
        Ok(())
    }

    fn remove_attachment(&self, id: Uuid) -> Result<(), StoreError> {
        self.connection().execute(
            "delete from addon_attachments where id = ?1",
            [id.to_string()],
        )?;
        Ok(())
    }

    fn attachments(&self) -> Result<Vec<AddonAttachmentRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {ATTACHMENT} from addon_attachments order by created_at, rowid"
        ))?;
        let rows = statement.query_map([], attachment_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn addon_attachments(&self, addon: Uuid) -> Result<Vec<AddonAttachmentRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {ATTACHMENT} from addon_attachments where addon = ?1 order by created_at, rowid"
        ))?;
        let rows = statement.query_map([addon.to_string()], attachment_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn app_attachments(&self, app: &AppName) -> Result<Vec<AddonAttachmentRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {ATTACHMENT} from addon_attachments where app = ?1 order by created_at, rowid"
        ))?;
        let rows = statement.query_map([app.as_str()], attachment_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn insert_attachment(
    connection: &Connection,
    attachment: &AddonAttachmentRecord,
) -> Result<(), StoreError> {
    let inserted = connection.execute(
        "insert into addon_attachments (id, addon, app, name, variables, targets, created_at) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            attachment.id.to_string(),
            attachment.addon.to_string(),
            attachment.app.as_str(),
            attachment.name,
            serde_json::to_string(&attachment.variables)?,
            serde_json::to_string(&attachment.targets)?,
            attachment.created_at,
        ],
    );
    match inserted {
        Ok(_) => Ok(()),
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::ConstraintViolation
                && error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Err(StoreError::AttachmentTaken(attachment.name.clone()))
        }
        Err(error) => Err(error.into()),
    }
}

fn addon_record(row: &Row<'_>) -> rusqlite::Result<AddonRecord> {
    let app: Option<String> = row.get(4)?;
    Ok(AddonRecord {
        id: uuid_at(row, 0)?,
        name: row.get(1)?,
        service: row.get(2)?,
        plan: row.get(3)?,
        state: match (row.get_ref(5)?.as_str()?, &app) {
            // The foreign key ends with the app, in the transaction that destroys it.
            (_, None) | ("deprovisioning", _) => AddonState::Deprovisioning,
            ("provisioning", _) => AddonState::Provisioning,
            ("provisioned", _) => AddonState::Provisioned,
            (other, _) => {
                return Err(rusqlite::Error::FromSqlConversionFailure(
                    5,
                    Type::Text,
                    format!("unknown state {other:?} of an add-on").into(),
                ));
            }
        },
        app: app.map(|_| parsed(row, 4)).transpose()?,
        data: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

fn attachment_record(row: &Row<'_>) -> rusqlite::Result<AddonAttachmentRecord> {
    Ok(AddonAttachmentRecord {
        id: uuid_at(row, 0)?,
        addon: uuid_at(row, 1)?,
        app: parsed(row, 2)?,
        name: row.get(3)?,
        variables: json(row, 4)?,
        targets: json(row, 5)?,
        created_at: row.get(6)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppStore;

    fn addon(app: &AppName, name: &str) -> AddonRecord {
        AddonRecord {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            service: "postgres".to_owned(),
            plan: "mini".to_owned(),
            app: Some(app.clone()),
            state: AddonState::Provisioned,
            data: "{\"password\":\"secret\"}".to_owned(),
            created_at: now(),
            updated_at: now(),
        }
    }

    fn attachment(addon: &AddonRecord, app: &AppName) -> AddonAttachmentRecord {
        AddonAttachmentRecord {
            id: Uuid::new_v4(),
            addon: addon.id,
            app: app.clone(),
            name: "DATABASE".to_owned(),
            variables: vec!["DATABASE_URL".to_owned()],
            targets: vec!["tcp://127.0.0.1:5432".parse().unwrap()],
            created_at: now(),
        }
    }

    #[test]
    fn addon_outlives_its_app_as_deprovisioning_and_attachments_go_with_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let [one, two] = ["one-app", "two-app"].map(|name| name.parse::<AppName>().unwrap());
        store.create_app(&one, 1).unwrap();
        store.create_app(&two, 1).unwrap();
        let addon = addon(&one, "postgresql-a-1");
        store.add_addon(&addon, &attachment(&addon, &one)).unwrap();
        let of_two = attachment(&addon, &two);
        store.add_attachment(&of_two).unwrap();
        let taken = store.add_attachment(&attachment(&addon, &two));
        assert!(matches!(taken, Err(StoreError::AttachmentTaken(name)) if name == "DATABASE"));
        assert_eq!(store.app_attachments(&two).unwrap(), [of_two]);
        store.delete_app(&two).unwrap();
        assert_eq!(store.attachments().unwrap().len(), 1);
        store.delete_app(&one).unwrap();
        assert_eq!(store.attachments().unwrap(), []);
        let left = store.addon(addon.id).unwrap();
        assert_eq!(
            (left.state, left.app, left.data),
            (AddonState::Deprovisioning, None, addon.data)
        );
        store.remove_addon(addon.id).unwrap();
        assert!(matches!(store.addon(addon.id), Err(StoreError::NoAddon(_))));
    }

    #[test]
    fn debug_text_of_an_addon_has_no_password() {
        let addon = addon(&"one-app".parse().unwrap(), "postgresql-a-1");
        assert!(!format!("{addon:?}").contains("secret"));
    }

    #[test]
    fn damaged_record_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        let [damaged, whole] = ["postgresql-a-1", "postgresql-b-2"].map(|name| addon(&app, name));
        store
            .add_addon(&damaged, &attachment(&damaged, &app))
            .unwrap();
        let of_whole = AddonAttachmentRecord {
            name: "OTHER".to_owned(),
            ..attachment(&whole, &app)
        };
        store.add_addon(&whole, &of_whole).unwrap();
        let damage = "update addons set state = 'x' where name = 'postgresql-a-1'; \
             update addon_attachments set targets = '[' where name = 'DATABASE'";
        store.connection().execute_batch(damage).unwrap();
        let (readable, described) = store.readable_addons().unwrap();
        assert_eq!(readable, std::slice::from_ref(&whole));
        assert!(described.len() == 1 && described[0].starts_with("postgresql-a-1: "));
        assert_eq!(store.addon_attachments(whole.id).unwrap(), [of_whole]);
        assert!(store.addon_attachments(damaged.id).is_err());
    }

    #[test]
    fn damaged_record_is_an_error_and_no_missing_addon() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        let addon = addon(&app, "postgresql-a-1");
        store.add_addon(&addon, &attachment(&addon, &app)).unwrap();
        let damage = "update addons set state = 'x'; update addon_attachments set targets = '['";
        store.connection().execute_batch(damage).unwrap();
        assert!(matches!(store.addons(), Err(StoreError::Sqlite(_))));
        assert!(matches!(store.addon(addon.id), Err(StoreError::Sqlite(_))));
        assert!(store.app_attachments(&app).is_err());
    }
}
