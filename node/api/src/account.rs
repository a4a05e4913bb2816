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
    /// Whether third parties may track the account: never.
    pub allow_tracking: bool,
    /// Whether the account takes part in beta features: never.
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
    /// Whether an identity provider manages the account: never.
    pub federated: bool,
    /// Always `null`: a node has no identity providers.
    pub identity_provider: Option<NamedRef>,
    /// When a token of the account was last made.
    pub last_login: Option<Timestamp>,
    /// The telephone number for messages.
    pub sms_number: Option<String>,
    /// When the account was suspended.
    pub suspended_at: Option<Timestamp>,
    /// Whether logins need a second factor: never.
    pub two_factor_authentication: bool,
    /// When the account was last changed.
    pub updated_at: Timestamp,
    /// Whether the account is verified: always.
    pub verified: bool,
}
