//! Replacing the data of an add-on, during which no other operation of the add-on begins.

use std::path::Path;

use uuid::Uuid;

use super::{AddonError, Addons};
use crate::services::ServiceError;

impl Addons {
    /// Replaces the data of an add-on by those of a file that its service has written.
    ///
    /// # Errors
    ///
    /// [`AddonError`]; the data stays as it was then.
    pub(crate) async fn restore(&self, id: Uuid, from: &Path) -> Result<(), AddonError> {
        let _busy = self.begin_later(id).await?;
        let addon = self.ready(id)?;
        let service = self.service(&addon.service)?;
        let dumps = service.dumps().ok_or(ServiceError::Unsupported {
            service: service.names().name,
            operation: "restoring",
        })?;
        dumps.restore(&addon, from).await?;
        tracing::info!(addon = addon.name, "the data of an add-on was restored");
        Ok(())
    }
}
