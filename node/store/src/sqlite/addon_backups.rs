//! Backups of add-ons' data, and their schedules.

use rusqlite::types::Type;
use rusqlite::{Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::addon_backups::{
    AddonBackupRecord, AddonBackupStore, BackupOrigin, BackupScheduleRecord, BackupState,
};
use crate::error::StoreError;
use crate::time::now;

impl AddonBackupStore for SqliteStore {
    fn add_addon_backup(&self, backup: &AddonBackupRecord) -> Result<(), StoreError> {
        self.connection().execute(
            "insert into addon_backups (id, addon, number, origin, state, size, message, created_at, finished_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                backup.id.to_string(),
                backup.addon.to_string(),
                backup.number,
                origin_name(backup.origin),
                state_name(backup.state),
                backup.size,
                backup.message,
                backup.created_at,
                backup.finished_at,
            ],
        )?;
        Ok(())
    }

    fn set_addon_backup(&self, backup: &AddonBackupRecord) -> Result<(), StoreError> {
        self.connection().execute(
            "update addon_backups set state = ?2, size = ?3, message = ?4, finished_at = ?5 where id = ?1",
            params![
                backup.id.to_string(),
                state_name(backup.state),
                backup.size,
                backup.message,
                backup.finished_at,
            ],
        )?;
        Ok(())
    }

    fn remove_addon_backup(&self, id: Uuid) -> Result<(), StoreError> {
        self.connection()
            .execute("delete from addon_backups where id = ?1", [id.to_string()])?;
        Ok(())
    }

    fn addon_backups(&self) -> Result<Vec<AddonBackupRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select id, addon, number, origin, state, size, message, created_at, finished_at \
             from addon_backups order by created_at, number",
        )?;
        let rows = statement.query_map([], backup_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn fail_running_addon_backups(&self, message: &str) -> Result<(), StoreError> {
        self.connection().execute(
            "update addon_backups set state = 'failed', message = ?1, finished_at = ?2 where state = 'running'",
            [message, &now()],
        )?;
        Ok(())
    }

    fn set_backup_schedule(&self, schedule: &BackupScheduleRecord) -> Result<(), StoreError> {
        self.connection().execute(
            "insert or replace into addon_backup_schedules (addon, hour, minute, timezone, planned) \
             values (?1, ?2, ?3, ?4, ?5)",
            params![
                schedule.addon.to_string(),
                schedule.hour,
                schedule.minute,
                schedule.timezone,
                schedule.planned,
            ],
        )?;
        Ok(())
    }

    fn remove_backup_schedule(&self, addon: Uuid) -> Result<bool, StoreError> {
        let removed = self.connection().execute(
            "delete from addon_backup_schedules where addon = ?1",
            [addon.to_string()],
        )?;
        Ok(removed > 0)
    }

    fn backup_schedules(&self) -> Result<Vec<BackupScheduleRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select addon, hour, minute, timezone, planned from addon_backup_schedules order by addon",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(BackupScheduleRecord {
                addon: uuid_at(row, 0)?,
                hour: row.get(1)?,
                minute: row.get(2)?,
                timezone: row.get(3)?,
                planned: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn backup_record(row: &Row<'_>) -> rusqlite::Result<AddonBackupRecord> {
    Ok(AddonBackupRecord {
        id: uuid_at(row, 0)?,
        addon: uuid_at(row, 1)?,
        number: row.get(2)?,
        origin: match row.get_ref(3)?.as_str()? {
            "manual" => BackupOrigin::Manual,
            "scheduled" => BackupOrigin::Scheduled,
            other => return Err(unknown(3, other)),
        },
        state: match row.get_ref(4)?.as_str()? {
            "running" => BackupState::Running,
            "completed" => BackupState::Completed,
            "failed" => BackupState::Failed,
            other => return Err(unknown(4, other)),
        },
        size: row.get(5)?,
        message: row.get(6)?,
        created_at: row.get(7)?,
        finished_at: row.get(8)?,
    })
}

fn unknown(column: usize, value: &str) -> rusqlite::Error {
    let error = format!("unknown value {value:?} of a backup");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn state_name(state: BackupState) -> &'static str {
    match state {
        BackupState::Running => "running",
        BackupState::Completed => "completed",
        BackupState::Failed => "failed",
    }
}

fn origin_name(origin: BackupOrigin) -> &'static str {
    match origin {
        BackupOrigin::Manual => "manual",
        BackupOrigin::Scheduled => "scheduled",
    }
}

#[cfg(test)]
mod tests {
    use corundum_abi::names::AppName;

    use super::*;
    use crate::addons::{AddonAttachmentRecord, AddonRecord, AddonState, AddonStore};
    use crate::apps::AppStore;

    #[test]
    fn backups_and_schedules_end_with_their_addon_and_not_with_its_app() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        let addon = AddonRecord {
            id: Uuid::new_v4(),
            name: "postgresql-a-1".to_owned(),
            service: "postgres".to_owned(),
            plan: "mini".to_owned(),
            app: Some(app.clone()),
            state: AddonState::Provisioned,
            data: "null".to_owned(),
            created_at: now(),
            updated_at: now(),
        };
        let attachment = AddonAttachmentRecord {
            id: Uuid::new_v4(),
            addon: addon.id,
            app: app.clone(),
            name: "DATABASE".to_owned(),
            variables: Vec::new(),
            targets: Vec::new(),
            created_at: now(),
        };
        store.add_addon(&addon, &attachment).unwrap();
        let mut backup = AddonBackupRecord {
            id: Uuid::new_v4(),
            addon: addon.id,
            number: 1,
            origin: BackupOrigin::Manual,
            state: BackupState::Running,
            size: 0,
            message: String::new(),
            created_at: now(),
            finished_at: None,
        };
        store.add_addon_backup(&backup).unwrap();
        backup.state = BackupState::Completed;
        backup.size = 7;
        backup.finished_at = Some(now());
        store.set_addon_backup(&backup).unwrap();
        store.fail_running_addon_backups("stopped").unwrap();
        assert_eq!(
            store.addon_backups().unwrap(),
            std::slice::from_ref(&backup)
        );
        let schedule = BackupScheduleRecord {
            addon: addon.id,
            hour: 2,
            minute: 30,
            timezone: "UTC".to_owned(),
            planned: 5,
        };
        store.set_backup_schedule(&schedule).unwrap();
        store
            .set_backup_schedule(&BackupScheduleRecord {
                hour: 3,
                ..schedule.clone()
            })
            .unwrap();
        assert_eq!(store.backup_schedules().unwrap()[0].hour, 3);
        store.delete_app(&app).unwrap();
        assert_eq!(store.addon_backups().unwrap(), [backup]);
        store.remove_addon(addon.id).unwrap();
        assert_eq!(store.addon_backups().unwrap(), []);
        assert!(!store.remove_backup_schedule(addon.id).unwrap());
    }
}
