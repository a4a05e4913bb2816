//! The account.

use super::{SqliteStore, uuid_at};
use crate::account::{AccountRecord, AccountStore};
use crate::error::StoreError;

impl AccountStore for SqliteStore {
    fn account(&self) -> Result<AccountRecord, StoreError> {
        let connection = self.connection();
        let account = connection.query_row(
            "select id, email, created_at from accounts order by rowid limit 1",
            [],
            |row| {
                Ok(AccountRecord {
                    id: uuid_at(row, 0)?,
                    email: row.get(1)?,
                    created_at: row.get(2)?,
                })
            },
        );
        Ok(account?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_keeps_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let account = SqliteStore::open(&path).unwrap().account().unwrap();
        assert_eq!(
            SqliteStore::open(&path).unwrap().account().unwrap(),
            account
        );
        assert_eq!(account.id.get_version_num(), 4);
    }
}
