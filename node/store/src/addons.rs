//! Add-ons, and their attachments to apps.

use std::fmt;

use corundum_abi::names::AppName;
use corundum_abi::outbound::OutboundTarget;
use uuid::Uuid;

use crate::error::StoreError;

/// The step of its life that an add-on is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddonState {
    /// The service creates it.
    Provisioning,
    /// Apps use it.
    Provisioned,
    /// The service removes it. Its app may be gone.
    Deprovisioning,
}

impl AddonState {
    /// Returns the name, as Heroku's API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Provisioned => "provisioned",
            Self::Deprovisioning => "deprovisioning",
        }
    }
}

/// An add-on. Its data holds passwords, so printing the record leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct AddonRecord {
    /// The key.
    pub id: Uuid,
    /// The name, as `postgresql-curly-12345`.
    pub name: String,
    /// The name of the service.
    pub service: String,
    /// The name of the plan.
    pub plan: String,
    /// The app that owns it; `None` after that app was destroyed.
    pub app: Option<AppName>,
    /// The step of its life.
    pub state: AddonState,
    /// JSON that only the service reads, with credentials; `null` until the service has created the add-on.
    pub data: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

impl fmt::Debug for AddonRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddonRecord")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// An attachment of an add-on to an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddonAttachmentRecord {
    /// The key.
    pub id: Uuid,
    /// The add-on.
    pub addon: Uuid,
    /// The app.
    pub app: AppName,
    /// The name with which the config vars begin, as `DATABASE`.
    pub name: String,
    /// The names of the config vars that it sets.
    pub variables: Vec<String>,
    /// The targets that the app may reach by it.
    pub targets: Vec<OutboundTarget>,
    /// RFC 3339.
    pub created_at: String,
}

/// Reads and writes add-ons and attachments.
pub trait AddonStore {
    /// Adds an add-on and its first attachment.
    ///
    /// # Errors
    ///
    /// [`StoreError::AttachmentTaken`] if the app has an attachment of the name; the store cannot be written.
    fn add_addon(
        &self,
        addon: &AddonRecord,
        attachment: &AddonAttachmentRecord,
    ) -> Result<(), StoreError>;

    /// Replaces plan, state and data of an add-on.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_addon(&self, addon: &AddonRecord) -> Result<(), StoreError>;

    /// Removes an add-on with its attachments.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_addon(&self, id: Uuid) -> Result<(), StoreError>;

    /// Returns all add-ons, oldest first.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn addons(&self) -> Result<Vec<AddonRecord>, StoreError>;

    /// Returns the add-ons whose records can be read, oldest first, and a description of each damaged record.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn readable_addons(&self) -> Result<(Vec<AddonRecord>, Vec<String>), StoreError>;

    /// Returns an add-on.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoAddon`] if it does not exist; the record is damaged; the store cannot be read.
    fn addon(&self, id: Uuid) -> Result<AddonRecord, StoreError>;

    /// Adds an attachment.
    ///
    /// # Errors
    ///
    /// [`StoreError::AttachmentTaken`] if the app has an attachment of the name; the store cannot be written.
    fn add_attachment(&self, attachment: &AddonAttachmentRecord) -> Result<(), StoreError>;

    /// Replaces config vars and targets of an attachment.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_attachment(&self, attachment: &AddonAttachmentRecord) -> Result<(), StoreError>;

    /// Removes an attachment.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_attachment(&self, id: Uuid) -> Result<(), StoreError>;

    /// Returns the attachments of all apps, oldest first.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn attachments(&self) -> Result<Vec<AddonAttachmentRecord>, StoreError>;

    /// Returns the attachments of an add-on, oldest first.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn addon_attachments(&self, addon: Uuid) -> Result<Vec<AddonAttachmentRecord>, StoreError>;

    /// Returns the attachments of an app, oldest first.
    ///
    /// # Errors
    ///
    /// A record is damaged; the store cannot be read.
    fn app_attachments(&self, app: &AppName) -> Result<Vec<AddonAttachmentRecord>, StoreError>;
}
