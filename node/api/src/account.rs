//! The account that owns the node's apps and tokens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::NamedRef;

/// An account. A node has one today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountResource {
    /// The account's key.
    pub id: Uuid,
    /// The account's e-mail address.
    pub email: String,
    /// The person's name.
    pub name: Option<String>,
    /// Always false: the node lets no third party track the account.
    pub allow_tracking: bool,
    /// Always false: the node has no beta features.
    pub beta: bool,
    /// The country of the account's owner.
    pub country_of_residence: Option<String>,
    /// When the account was created.
    pub created_at: Timestamp,
    /// Always `null`: a node has no organizations.
    pub default_organization: Option<NamedRef>,
    /// Always `null`: a node has no teams.
    pub default_team: Option<NamedRef>,
    /// Always `null`: a node bills nobody.
    pub delinquent_at: Option<Timestamp>,
    /// Always false: no identity provider manages the account.
    pub federated: bool,
    /// Always `null`: a node has no identity providers.
    pub identity_provider: Option<NamedRef>,
    /// When a token of the account was last made.
    pub last_login: Option<Timestamp>,
    /// The telephone number for messages.
    pub sms_number: Option<String>,
    /// When the account was suspended.
    pub suspended_at: Option<Timestamp>,
    /// Always false: logins need no second factor.
    pub two_factor_authentication: bool,
    /// When the account was last changed.
    pub updated_at: Timestamp,
    /// Always true: the node verifies no e-mail addresses.
    pub verified: bool,
}
